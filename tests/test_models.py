# SPDX-License-Identifier: BSD-3-Clause
"""Sequential: structure, parameters in two buffers, passes, fit, evaluate, predict."""

import copy
import itertools
import pickle
import threading
import tracemalloc
import warnings

import numpy as np
import pytest
from gradients import assert_close, central_differences

from fastconv import callbacks, layers, losses, models, optimizers


def keras_program():
    model = models.Sequential()
    model.add(layers.Conv2D(32, (3, 3), activation="relu", input_shape=(32, 32, 3)))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    model.add(layers.Flatten())
    model.add(layers.Dense(10))
    return model


def small_model(layout="NHWC", dtype=np.float32, seed=0, last=None):
    """A network with every kind of layer that passes gradients on, for images of 8 x 8 x 3."""
    return models.Sequential(
        [
            layers.Rescaling(0.5),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.DepthwiseConv2D(3, padding=1),
            layers.ReLU(),
            layers.Conv2D(5, 1, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(6, activation="sigmoid"),
            last or layers.Dense(3),
        ],
        input_shape=(8, 8, 3) if layout == "NHWC" else (3, 8, 8),
        layout=layout,
        seed=seed,
        dtype=dtype,
    )


def data(count=20, layout="NHWC", seed=5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 8, 8, 3)).astype(np.float32)
    return (x if layout == "NHWC" else np.ascontiguousarray(x.transpose(0, 3, 1, 2))), rng.integers(0, 3, count)


# ---- structure


def test_the_keras_program_has_keras_shapes_counts_and_names(capsys):
    model = keras_program()
    model.summary()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["conv2d", "(Conv2D)", "(None,", "30,", "30,", "32)", "896", "777,600", "112.5", "KiB"]
    assert lines[8].split() == ["dense", "(Dense)", "(None,", "10)", "10,250", "10,240", "40", "B"]
    assert lines[-1] == "parameters: 66,570"
    assert len({len(line) for line in lines[:-3] if "never read" not in line}) == 1, "the table is not aligned"
    counts = [sum(array.size for array in layer.parameters.values()) for layer in model.layers]
    model.build()
    counts = [sum(array.size for array in layer.parameters.values()) for layer in model.layers]
    assert counts == [896, 0, 18496, 0, 36928, 0, 10250]
    assert [layer.name for layer in model.layers] == [
        *("conv2d", "max_pooling2d", "conv2d_1", "max_pooling2d_1", "conv2d_2", "flatten", "dense")
    ]
    assert model.output_shape == (10,) and model.count_params() == 66570


def test_default_names_are_those_of_keras():
    chosen = {
        layers.GlobalAveragePooling2D(): "global_average_pooling2d",
        layers.DepthwiseConv2D(3): "depthwise_conv2d",
        layers.AveragePooling2D(): "average_pooling2d",
        layers.ReLU(): "re_lu",
        layers.Activation("relu"): "activation",
        layers.Softmax(): "softmax",
        layers.Dropout(0.5): "dropout",
        layers.Dense(3, name="dense"): "dense",
        layers.Dense(3): "dense_1",
    }
    model = models.Sequential(list(chosen))
    assert [layer.name for layer in model.layers] == list(chosen.values())


def test_all_parameters_are_views_of_one_buffer_and_all_gradients_of_another():
    model = keras_program()
    for arrays in (model.parameters, model.gradients):
        assert list(arrays)[:3] == ["conv2d/weight", "conv2d/bias", "conv2d_1/weight"]
        base = next(iter(arrays.values())).base
        assert base.ndim == 1 and base.size < 66570 + 16 * (len(arrays) + 1) and base.flags.c_contiguous
        starts = [array.ctypes.data for array in arrays.values()]
        ends = [array.ctypes.data + array.nbytes for array in arrays.values()]
        assert all(array.base is base for array in arrays.values())
        assert all(start % 64 == 0 for start in starts), "not on a cache line"
        assert starts[1:] == [-(-end // 64) * 64 for end in ends[:-1]], "the arrays do not lie side by side"
    assert model.count_params() == 66570
    assert not np.shares_memory(model.parameters["dense/bias"], model.gradients["dense/bias"])


def test_one_seed_is_one_model_whatever_comes_after():
    first, second, other = keras_program(), keras_program(), keras_program()
    seeds = [models.Sequential(seed=seed) for seed in (4, 4, np.random.default_rng(4), 5)]
    weights = []
    for model in seeds:
        model.add(layers.Dense(7, input_shape=(5,)))
        weights.append(model.parameters["dense/weight"].copy())
        model.add(layers.Dense(2))
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[3]) and not np.array_equal(weights[0], weights[2])
    assert np.array_equal(seeds[0].parameters["dense/weight"], weights[0]), "adding changed it"
    assert np.array_equal(*(m.parameters["dense_1/weight"] for m in seeds[:2]))
    unseeded = [m.parameters["dense/weight"] for m in (first, second, other)]
    assert not np.array_equal(unseeded[0], unseeded[1]) and len(unseeded) == 3


def test_a_relu_layer_after_a_layer_makes_its_weights_he_uniform():
    def largest(*following):
        model = models.Sequential([layers.Dense(300), *following], input_shape=(300,), seed=0)
        return abs(model.parameters["dense/weight"]).max()

    he, glorot = np.sqrt(6 / 300), np.sqrt(6 / 600)
    assert glorot < largest(layers.ReLU()) <= he
    assert glorot < largest(layers.Activation("leaky_relu")) <= he
    assert largest() <= glorot and largest(layers.Activation("tanh")) <= glorot


def test_the_input_shape_may_come_with_the_first_data():
    model = models.Sequential([layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)])
    lines = []
    model.summary(lines.append)
    assert "?" in lines[0] and model.parameters == {} and model.output_shape is None
    assert model.predict(np.zeros((3, 6, 6, 1))).shape == (3, 2)
    assert model.input_shape == (6, 6, 1) and model.output_shape == (2,)
    with pytest.raises(ValueError, match="6, 6, 1"):
        model.predict(np.zeros((3, 7, 7, 1)))


def test_a_layer_that_was_used_before_keeps_its_weights():
    layer = layers.Dense(4)
    layer.build((3,), rng=np.random.default_rng(0))
    before = layer.parameters["weight"].copy()
    model = models.Sequential([layer], input_shape=(3,))
    assert np.array_equal(model.parameters["dense/weight"], before)
    other = layers.Dense(4)
    other.build((5,))
    with pytest.raises(ValueError, match="holds arrays"):
        models.Sequential([other], input_shape=(3,)).build()


used = layers.Dense(3)
models.Sequential([used])
STRUCTURE_ERRORS = {
    "no layer": (lambda m: m.add("dense"), TypeError, "layers"),
    "a class": (lambda m: m.add(layers.Dense), TypeError, "layers"),
    "twice": (lambda m: m.add(m.layers[0]), ValueError, "already"),
    "of another model": (lambda m: m.add(used), ValueError, "already"),
    "same name": (lambda m: m.add(layers.Dense(3, name="first")), ValueError, "first"),
    "slash": (lambda m: m.add(layers.Dense(3, name="a/b")), ValueError, "a/b"),
    "other layout": (lambda m: m.add(layers.Flatten(layout="NCHW")), ValueError, "NCHW"),
    "does not fit": (lambda m: m.add(layers.Conv2D(3, 3)), ValueError, "takes images"),
    "other input": (lambda m: m.add(layers.Dense(3, input_shape=(9,))), ValueError, "9"),
    "layout": (lambda m: models.Sequential(layout="HWC"), ValueError, "HWC"),
    "dtype": (lambda m: models.Sequential(dtype=np.float16), ValueError, "float16"),
    "seed": (lambda m: models.Sequential(seed=-1), ValueError, "-1"),
    "float seed": (lambda m: models.Sequential(seed=1.5), TypeError, "1.5"),
    "input": (lambda m: models.Sequential(input_shape=5), TypeError, "5"),
    "no axes": (lambda m: models.Sequential(input_shape=()), ValueError, "at least one axis"),
    "zero input": (lambda m: models.Sequential(input_shape=(0, 3, 3)), ValueError, "0"),
    "empty": (lambda m: models.Sequential().predict(np.zeros((1, 2))), ValueError, "no layers"),
}


@pytest.mark.parametrize("case", STRUCTURE_ERRORS)
def test_errors_of_structure_leave_the_model_as_it_was(case):
    call, error, text = STRUCTURE_ERRORS[case]
    model = models.Sequential([layers.Dense(4, name="first")], input_shape=(7,), seed=0)
    with pytest.raises(error, match=text):
        call(model)
    assert len(model.layers) == 1 and model.output_shape == (4,)
    assert model.add(layers.Dense(2)) is None and model.predict(np.zeros((1, 7))).shape == (1, 2)


# ---- passes


def test_gradients_of_a_whole_model(layout):
    model = small_model(layout, np.float64)
    rng = np.random.default_rng(1)
    for array in model.parameters.values():
        array[...] = rng.normal(size=array.shape) * 0.7
    x = rng.normal(size=(2, *model.input_shape))
    r = rng.normal(size=(2, 3))

    def loss():
        return float(np.sum(model.forward(x) * r))

    model.forward(x, training=True)
    grad_x = model.backward(r)
    assert_close(grad_x, central_differences(loss, x), "gradient of x")
    for name, parameter in model.parameters.items():
        assert_close(model.gradients[name], central_differences(loss, parameter), name)


def test_the_layouts_are_one_network():
    x, y = data()
    results = []
    for layout in ("NHWC", "NCHW"):
        model = small_model(layout, np.float64)
        model.compile("sgd", "cross_entropy")
        x_layout = x if layout == "NHWC" else x.transpose(0, 3, 1, 2)
        steps = [model.train_step(x_layout, y) for _ in range(3)]
        results.append((steps, model.predict(x_layout)))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-12)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-10)


def test_results_are_never_overwritten():
    model = small_model()
    x, y = data()
    model.compile("sgd", "cross_entropy")
    model.train_step(x, y)
    held = [model.forward(x), model.forward(x, training=True), model.backward(np.ones((20, 3)))]
    held += [model.predict(x)]
    copies = [array.copy() for array in held]
    for _ in range(2):
        model.train_step(x[::-1], y)
        model.forward(2 * x, training=True)
        model.backward(np.full((20, 3), 7.0))
        model.predict(3 * x)
    assert all(np.array_equal(array, kept) for array, kept in zip(held, copies, strict=True))


def test_a_training_step_is_forward_loss_backward_update():
    x, y = data()
    quick, slow = small_model(), small_model()
    quick.compile(optimizers.SGD(0.1), "cross_entropy")
    for _ in range(3):
        value, gradient = losses.CrossEntropy().value_and_gradient(slow.forward(x, training=True), y)
        slow.backward(gradient)
        for name, parameter in slow.parameters.items():
            parameter -= np.float32(0.1) * slow.gradients[name]
        assert quick.train_step(x, y) == value
    for name, parameter in slow.parameters.items():
        np.testing.assert_array_equal(quick.parameters[name], parameter)


def test_training_steps_reuse_their_memory():
    model = small_model()
    model.compile("adam", "cross_entropy")
    x, y = data(64)

    def buffers():
        return {key: array.ctypes.data for key, array in model._workspace._storage.items()}

    model.train_step(x, y)
    model.train_step(x, y)
    before = buffers()
    for count in (64, 5, 64):
        model.train_step(x[:count], y[:count])
    assert buffers() == before and len(before) > 8


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_training_step_allocates_no_array(layout, optimizer):
    """After the first: what remains are Python's own numbers. The smallest array of the step has 2560 bytes."""
    model = models.Sequential(
        [
            layers.Conv2D(12, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.DepthwiseConv2D(3, padding=1, activation="leaky_relu"),
            layers.Dropout(0.1),
            layers.Conv2D(8, 3, padding=1),
            layers.ReLU(),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(16, activation="tanh"),
            layers.Dense(12, activation="sigmoid"),
            layers.Dense(10, activation="softmax"),
        ],
        input_shape=(16, 16, 3) if layout == "NHWC" else (3, 16, 16),
        layout=layout,
        seed=1,
    )
    model.compile(optimizer, "cross_entropy")
    x = np.random.default_rng(2).standard_normal((64, *model.input_shape), np.float32)
    y = np.arange(64) % 10
    for _ in range(3):
        model.train_step(x, y)
    tracemalloc.start()
    try:
        model.train_step(x, y)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        model.train_step(x, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 2500, peak - before


def test_only_a_whole_training_pass_can_be_followed_by_backward():
    model = small_model()
    with pytest.raises(RuntimeError, match="forward"):
        model.backward(np.zeros((2, 3)))
    model.forward(np.zeros((2, 8, 8, 3)), training=True)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        model.backward(np.zeros((3, 3)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64, ">f4", bool])
def test_inputs_of_any_real_type_are_converted(dtype):
    model = small_model()
    x = np.random.default_rng(0).integers(0, 2, (4, 8, 8, 3))
    assert np.array_equal(model.predict(x.astype(dtype)), model.predict(x.astype(np.float32)))
    model.compile("sgd", "cross_entropy")
    assert np.isfinite(model.train_step(x.astype(dtype), [0, 1, 2, 0]))


INPUT_ERRORS = {
    "complex": (np.zeros((2, 8, 8, 3), complex), TypeError, "complex"),
    "object": (np.full((2, 8, 8, 3), None), TypeError, "object"),
    "no batch axis": (np.zeros((8, 8, 3)), ValueError, r"x\[None\]"),
    "other layout": (np.zeros((2, 3, 8, 8)), ValueError, "NHWC"),
    "other size": (np.zeros((2, 9, 8, 3)), ValueError, "9"),
    "a number": (1.0, ValueError, "shape"),
    "numbers": (np.zeros(3), ValueError, "shape"),
}


@pytest.mark.parametrize("case", INPUT_ERRORS)
def test_wrong_inputs(case):
    x, error, text = INPUT_ERRORS[case]
    model = small_model()
    for call in (model.predict, model.forward):
        with pytest.raises(error, match=text):
            call(x)


def test_predictions_do_not_depend_on_the_batch_size():
    model = small_model()
    x, _ = data(23)
    expected = model.forward(x)
    for batch_size in (1, 7, 23, 100):
        assert np.array_equal(model.predict(x, batch_size=batch_size), expected)
    assert model.predict(x[:0]).shape == (0, 3)
    assert model.predict(x, verbose=0).dtype == np.float32


def test_predictions_while_another_thread_trains():
    model, still = small_model(), small_model()
    x, y = data(32)
    model.compile(optimizers.SGD(0.0), "cross_entropy")  # trains, but moves nothing
    expected = still.predict(x)
    stop = threading.Event()

    def train():
        while not stop.is_set():
            model.train_step(x[::-1], y)

    trainer = threading.Thread(target=train)
    trainer.start()
    try:
        assert all(np.array_equal(model.predict(x), expected) for _ in range(50))
    finally:
        stop.set()
        trainer.join()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_a_model_of_its_own(duplicate):
    model = small_model()
    x, y = data()
    model.compile(optimizers.SGD(0.1, momentum=0.9), "cross_entropy")
    model.train_step(x, y)
    twin = duplicate(model)
    before = model.predict(x)
    assert twin.train_step(x, y) == model.train_step(x, y)
    assert np.array_equal(twin.predict(x), model.predict(x))
    twin.train_step(x, y)
    assert not np.array_equal(twin.predict(x), model.predict(x))
    assert not np.array_equal(before, model.predict(x))
    assert len({id(array.base) for array in twin.parameters.values()}) == 1
    with pytest.raises(RuntimeError, match="forward"):
        duplicate(model).backward(np.zeros((20, 3)))


# ---- compile, fit, evaluate


@pytest.mark.parametrize("last", ["dense", "softmax layer", "activation layer"])
def test_a_last_softmax_is_fused_with_cross_entropy(last):
    logits, probabilities = small_model(), small_model()
    if last == "dense":
        probabilities = small_model(last=layers.Dense(3, activation="softmax"))
    else:
        softmax = layers.Softmax() if last == "softmax layer" else layers.Activation("softmax")
        probabilities.add(softmax)
    x, y = data()
    for model in (logits, probabilities):
        model.compile(optimizers.SGD(0.5, momentum=0.9), "cross_entropy", metrics=["accuracy"])
    for _ in range(3):
        assert logits.train_step(x, y) == probabilities.train_step(x, y)
    assert logits.evaluate(x, y) == probabilities.evaluate(x, y)
    rows = probabilities.predict(x)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(rows, layers.Softmax().forward(logits.predict(x)), rtol=1e-6)
    for parameters in (logits.parameters, probabilities.parameters):
        parameters["dense_1/bias"][:] = [0, 0, 3000]  # a probability of exp(-3000) is zero
    assert probabilities.evaluate(x, y) == logits.evaluate(x, y)
    assert 1000 < probabilities.evaluate(x, y)[0] < 3000


def test_two_softmaxes_before_cross_entropy_are_warned_of():
    model = small_model(last=layers.Dense(3, activation="softmax"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.compile("sgd", "cross_entropy")
    model.add(layers.Softmax())
    with pytest.warns(UserWarning, match="2 softmax"):
        model.compile("sgd", "cross_entropy")


def test_fit_reports_what_evaluate_computes(capsys):
    model = small_model()
    x, y = data(50)
    model.compile(optimizers.SGD(0.0), "cross_entropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=8, epochs=2, validation_data=(x[:9], y[:9]), verbose=0)
    assert capsys.readouterr() == ("", "")
    assert history.epoch == [0, 1]
    assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    expected = model.evaluate(x, y, return_dict=True)
    expected.update({f"val_{k}": v for k, v in model.evaluate(x[:9], y[:9], return_dict=True).items()})
    for name, values in history.history.items():
        np.testing.assert_allclose(values, [expected[name]] * 2, rtol=1e-6)
    scores = model.predict(x).astype(np.float64)
    reference = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(50), y]
    assert model.evaluate(x, y) == [expected["loss"], expected["accuracy"]]
    np.testing.assert_allclose(expected["loss"], reference.mean(), rtol=1e-6)
    assert expected["accuracy"] == (scores.argmax(axis=1) == y).mean()
    model.compile("sgd", "cross_entropy")
    np.testing.assert_allclose(model.evaluate(x, y, batch_size=50), expected["loss"], rtol=1e-6)


def test_fit_takes_the_batches_in_order_or_shuffled():
    seen = []

    class Probe(layers.Layer):
        def forward(self, x, training=False):
            if training:
                seen.append(x[:, 0].tolist())
            return x

        def backward(self, grad_y):
            return grad_y

    def order(**kw):
        seen.clear()
        model = models.Sequential([Probe(), layers.Dense(2)], input_shape=(1,), seed=3)
        model.compile("sgd", "cross_entropy")
        model.fit(x, y, batch_size=4, verbose=0, **kw)
        return [list(map(int, batch)) for batch in seen]

    x, y = np.arange(10.0)[:, None], np.zeros(10, int)
    assert order(shuffle=False) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    shuffled = order(epochs=2)
    first, second = (list(itertools.chain(*batches)) for batches in (shuffled[:3], shuffled[3:]))
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert first != list(range(10)) and order(epochs=2) == shuffled, "one seed, two orders"
    assert sum(map(len, order(shuffle=False, validation_split=0.3))) == 7
    assert seen[-1] == [4, 5, 6], "the split must take the end"


def test_fit_takes_batches_from_an_iterable():
    x, y = data(12)
    arrays, batches = small_model(), small_model()
    for model in (arrays, batches):
        model.compile("sgd", "cross_entropy")
    history = arrays.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    pairs = [(x[start : start + 4], y[start : start + 4]) for start in (0, 4, 8)]
    assert batches.fit(pairs, epochs=2, verbose=0).history == history.history
    with pytest.raises(ValueError, match="nothing to train on"):
        batches.fit([], verbose=0)


def test_callbacks_see_every_event_and_can_stop():
    class Log(callbacks.Callback):
        def __init__(self):
            self.events = []

        def __getattribute__(self, name):
            if name.startswith("on_"):
                return lambda *args: self.note(name, *args)
            return super().__getattribute__(name)

        def note(self, name, *args):
            self.events.append((name, args[0] if args else None))
            if name == "on_epoch_end" and args[0] == 1:
                assert set(args[1]) == {"loss"}
                self.model.stop_training = True

    log = Log()
    x, y = data(8)
    model = small_model()
    model.compile("sgd", "cross_entropy")
    history = model.fit(x, y, batch_size=4, epochs=9, callbacks=[log], verbose=0)
    assert log.params == {"epochs": 9, "steps": 2} and history.epoch == [0, 1]
    epoch = ["on_epoch_begin", "on_train_batch_end", "on_train_batch_end", "on_epoch_end"]
    names = [name for name, _ in log.events]
    assert names == ["on_train_begin", *epoch, *epoch, "on_train_end"]


def test_verbose_2_prints_a_line_per_epoch(capsys):
    x, y = data(8)
    model = small_model()
    model.compile("sgd", "cross_entropy", metrics=["accuracy"])
    model.fit(x, y, epochs=2, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert " - loss " in lines[0] and " - accuracy " in lines[0]


def test_verbose_1_shows_a_bar_with_tqdm_and_lines_without(capsys, monkeypatch):
    x, y = data(8)
    model = small_model()
    model.compile("sgd", "cross_entropy")
    tqdm = pytest.importorskip("tqdm")
    model.fit(x, y, epochs=2)
    shown = capsys.readouterr()
    assert shown.out.count("epoch ") == 2 and "batch/s" in shown.err and "2/2" in shown.err
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    model.fit(x, y, epochs=2)
    shown = capsys.readouterr()
    assert shown.out.count("epoch ") == 2 and shown.err == "" and tqdm is not None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_ends_the_training(value):
    model = small_model()
    x, y = data(16)
    x[8:] = value
    model.compile("adam", "cross_entropy")
    model.fit(x[:8], y[:8], batch_size=4, verbose=0)
    with pytest.warns(RuntimeWarning, match="training stopped"):
        history = model.fit(x, y, batch_size=4, epochs=5, shuffle=False, verbose=0)
    assert len(history.epoch) == 1 and not np.isfinite(history.history["loss"][0])
    assert all(np.isfinite(array).all() for array in model.parameters.values())


TRAINING_ERRORS = {
    "not compiled": (lambda m, x, y: m.fit(x, y), RuntimeError, "compile"),
    "step": (lambda m, x, y: m.train_step(x, y), RuntimeError, "compile"),
    "evaluate": (lambda m, x, y: m.evaluate(x, y), RuntimeError, "compile"),
    "optimizer": (lambda m, x, y: m.compile("sdg", "mse"), ValueError, "sdg"),
    "loss": (lambda m, x, y: m.compile("sgd", "crossentropy"), ValueError, "crossentropy"),
    "loss object": (lambda m, x, y: m.compile("sgd", abs), TypeError, "loss"),
    "optimizer object": (lambda m, x, y: m.compile(0.1, "mse"), TypeError, "optimizer"),
    "metric": (lambda m, x, y: m.compile("sgd", "mse", metrics=["acc"]), ValueError, "acc"),
    "metric list": (lambda m, x, y: m.compile("sgd", "mse", metrics="accuracy"), TypeError, "list"),
}
FIT_ERRORS = {
    "lengths": (lambda m, x, y: m.fit(x, y[:-1]), ValueError, "as long"),
    "nothing": (lambda m, x, y: m.fit(x[:0], y[:0]), ValueError, "0"),
    "label": (lambda m, x, y: m.fit(x, y + 1), ValueError, "0 to 2"),
    "label, one step": (lambda m, x, y: m.train_step(x, y - 1), ValueError, "-1"),
    "float label": (lambda m, x, y: m.fit(x, y + 0.5), TypeError, "integers"),
    "validation": (lambda m, x, y: m.fit(x, y, validation_data=(x, y + 9)), ValueError, "0 to 2"),
    "split": (lambda m, x, y: m.fit(x, y, validation_split=1.0), ValueError, "validation_split"),
    "split of batches": (
        lambda m, x, y: m.fit([(x, y)], validation_split=0.5),
        ValueError,
        "arrays",
    ),
    "all split off": (lambda m, x, y: m.fit(x, y, validation_split=0.999), ValueError, "no image"),
    "epochs": (lambda m, x, y: m.fit(x, y, epochs=0), ValueError, "epochs"),
    "batch size": (lambda m, x, y: m.fit(x, y, batch_size=0), ValueError, "batch_size"),
    "verbose": (lambda m, x, y: m.fit(x, y, verbose=3), ValueError, "verbose"),
    "evaluated": (lambda m, x, y: m.evaluate(x, y[:3]), ValueError, "as long"),
}


@pytest.mark.parametrize("case", [*TRAINING_ERRORS, *FIT_ERRORS])
def test_training_errors_come_before_any_training(case):
    model = small_model()
    x, y = data(8)
    call, error, text = (TRAINING_ERRORS | FIT_ERRORS)[case]
    if case in FIT_ERRORS:
        model.compile("sgd", "cross_entropy")
    before = {name: array.copy() for name, array in model.parameters.items()}
    with pytest.raises(error, match=text):
        call(model, x, y)
    for name, array in model.parameters.items():
        assert np.array_equal(array, before[name])
