# SPDX-License-Identifier: BSD-3-Clause
"""Sequential: structure, parameters in two buffers, passes."""

import copy
import pickle
import threading
import tracemalloc

import numpy as np
import pytest
from gradients import assert_close, central_differences
from small_models import data, small_model

from fastconv import layers, losses, models, optimizers


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
