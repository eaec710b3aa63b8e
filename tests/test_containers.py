# SPDX-License-Identifier: BSD-3-Clause
"""Residual, Concatenate: their layers in a model, its buffers, its training steps and its files."""

import copy
import pickle

import numpy as np
import pytest
from compare import same_bits

import fastconv as fc
from fastconv import layers, losses, models
from fastconv.layers.workspace import Workspace


def network(layout="NHWC", dtype=np.float32, seed=3):
    """Containers one after the other, in each other, with and without layers of their own, for 8 x 8 x 3."""
    return models.Sequential(
        [
            layers.Conv2D(4, 3, padding=1, activation="relu"),
            layers.Residual([layers.Conv2D(4, 3, padding=1, activation="relu"), layers.Conv2D(4, 1)], None, "relu"),
            layers.Residual(
                [layers.Residual([layers.Conv2D(4, 1), layers.ReLU()]), layers.Dropout(0.2), layers.Conv2D(6, 3, 2, 1)],
                [layers.Conv2D(6, 1, 2)],
                "tanh",
            ),
            layers.Concatenate(
                [
                    layers.Conv2D(3, 1, activation="relu"),
                    [layers.Conv2D(2, 1), layers.ReLU(), layers.Conv2D(4, 3, padding=1, activation="leaky_relu")],
                    layers.MaxPooling2D(3, 1, 1),
                    [layers.Rescaling(0.5)],
                    [],
                ]
            ),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Residual(layers.Dense(100)),
            layers.Dense(3),
        ],
        input_shape=(8, 8, 3) if layout == "NHWC" else (3, 8, 8),
        layout=layout,
        dtype=dtype,
        seed=seed,
    )


def data(layout="NHWC", count=12):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(count, 8, 8, 3))
    return (x if layout == "NHWC" else np.ascontiguousarray(x.transpose(0, 3, 1, 2))), rng.integers(0, 3, count)


def test_layers_within_have_names_parameters_and_gradients_in_the_two_buffers():
    model = network()
    names = list(model.parameters)
    assert names[:4] == ["conv2d/weight", "conv2d/bias", "residual/conv2d/weight", "residual/conv2d/bias"]
    assert names[4] == "residual/conv2d_1/weight" and names[-1] == "dense/bias"
    assert {"residual_1/residual/conv2d/weight", "residual_1/conv2d_1/bias", "concatenate/conv2d_2/weight"} <= {*names}
    assert list(model.gradients) == names
    for arrays in (model.parameters, model.gradients):
        base = arrays["conv2d/weight"].base
        assert all(array.base is base and array.ctypes.data % 64 == 0 for array in arrays.values())
    assert model.count_params() == sum(array.size for array in model.parameters.values())
    inner = model.layers[1].body[1]
    assert inner.parameters["weight"] is model.parameters["residual/conv2d_1/weight"]
    assert model.layers[1].parameters["conv2d_1/weight"] is inner.parameters["weight"]
    shapes = {name: array.shape for name, array in model.parameters.items()}
    assert model.parameter_shapes() == shapes


def test_seeds_layouts_and_precisions_are_one_network():
    model = network(dtype=np.float64)
    x, _ = data()
    assert same_bits(network(dtype=np.float64).predict(x), model.predict(x))
    assert not same_bits(network(seed=4, dtype=np.float64).predict(x), model.predict(x))
    channels_first = network("NCHW", np.float64)
    conv, twin = (m.parameters["residual_1/residual/conv2d/weight"] for m in (model, channels_first))
    assert np.array_equal(conv, twin.transpose(2, 3, 1, 0))
    float32 = network().parameters
    for name, array in model.parameters.items():
        assert np.array_equal(array.astype(np.float32), float32[name])


def test_what_decides_the_initial_limits():
    """He uniform in front of a ReLU, also of the one behind the sum."""
    he, glorot = np.sqrt(6 / 300), np.sqrt(6 / 600)

    def largest(activation):
        model = models.Sequential([layers.Residual(layers.Dense(300), None, activation)], input_shape=(300,), seed=0)
        return abs(model.parameters["residual/dense/weight"]).max()

    assert glorot < largest("relu") <= he and largest("tanh") <= glorot


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_training_step_is_forward_loss_backward_update(layout, dtype):
    """The step overwrites gradients; passes without a workspace overwrite nothing."""
    x, y = data(layout)
    quick, slow = network(layout, dtype), network(layout, dtype)
    quick.compile("sgd", "cross_entropy")
    for _ in range(3):
        value, gradient = losses.CrossEntropy().value_and_gradient(slow.forward(x, training=True), y)
        slow.backward(gradient)
        assert quick.train_step(x, y) == value
        for name, gradient in slow.gradients.items():
            assert same_bits(quick.gradients[name], gradient), name
        for name, parameter in slow.parameters.items():
            parameter -= dtype(0.01) * slow.gradients[name]


def test_a_first_layer_that_is_a_container_needs_no_gradient_of_its_input():
    def model():
        body = [layers.Rescaling(2.0), layers.Conv2D(3, 3, padding=1, activation="relu"), layers.Conv2D(3, 1)]
        return models.Sequential(
            [layers.Residual(body), layers.Flatten(), layers.Dense(3)], input_shape=(8, 8, 3), seed=0
        )

    x, y = data()
    quick, slow = model(), model()
    quick.compile("sgd", "cross_entropy")
    quick.train_step(x, y)
    slow.backward(losses.CrossEntropy().value_and_gradient(slow.forward(x, training=True), y)[1])
    for name, gradient in slow.gradients.items():
        assert same_bits(quick.gradients[name], gradient), name


def test_steps_reuse_few_buffers_and_threads_change_no_bit():
    x, y = data(count=40)
    results = []
    for threads in (1, 2, 5):
        model = network()
        model.compile("adam", "cross_entropy")
        with fc.threads(threads):
            steps = [model.train_step(x, y) for _ in range(2)]
            before = {key: array.ctypes.data for key, array in model._workspace._storage.items()}
            steps += [model.train_step(x[:count], y[:count]) for count in (40, 7, 40)]
        assert {key: array.ctypes.data for key, array in model._workspace._storage.items()} == before
        assert sum(isinstance(key, int) for key in before) == 4, "gradients that are alive at the same time"
        results.append((steps, model.predict(x)))
    assert all(steps == results[0][0] and same_bits(y, results[0][1]) for steps, y in results)


def test_branches_write_into_the_one_result():
    """Neither a copy nor a buffer of their own for those whose last layer can write elsewhere."""
    written = []

    class Spy(layers.Conv2D):
        def forward(self, x, training=False, out=None):
            written.append(out)
            return super().forward(x, training, out)

    layer = layers.Concatenate([Spy(3, 1), [layers.ReLU(), Spy(5, 1)]])
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3))
    y = layer.forward(x)
    assert y.shape == (2, 4, 4, 8) and layer.output_shape((4, 4, 3)) == (4, 4, 8)
    assert [out.shape[3] for out in written] == [3, 5] and all(np.shares_memory(y, out) for out in written)
    layer.lend(Workspace(), True)
    written.clear()
    y = layer.forward(x, training=True)
    assert all(np.shares_memory(y, out) for out in written) and layer.forward(x, training=True) is y


def test_copies_files_and_frozen_models_predict_the_same_bits(tmp_path, layout):
    model = network(layout)
    x, y = data(layout)
    model.compile("adam", "cross_entropy")
    model.train_step(x, y)
    expected = model.predict(x)
    model.save(tmp_path / "model.npz")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), models.load(tmp_path / "model.npz")):
        assert same_bits(other.predict(x), expected) and list(other.parameters) == list(model.parameters)
        other.train_step(x, y)
        assert not same_bits(other.predict(x), expected) and same_bits(model.predict(x), expected)
    with model.frozen():
        inner = model.layers[1].body[0]
        assert isinstance(inner.packed, fc.PackedWeights) and not inner.parameters["weight"].flags.writeable
        assert same_bits(model.predict(x), expected)
    assert inner.packed is None and inner.parameters["weight"].flags.writeable


def test_a_layer_that_was_trained_before_keeps_its_weights():
    conv = layers.Conv2D(3, 1)
    conv.build((8, 8, 3), rng=np.random.default_rng(0))
    before = conv.parameters["weight"].copy()
    model = models.Sequential([layers.Residual([layers.Conv2D(3, 1), conv])], input_shape=(8, 8, 3))
    assert np.array_equal(model.parameters["residual/conv2d_1/weight"], before)
    assert np.any(model.parameters["residual/conv2d/weight"] != 0)


def test_whole_numbers_and_mixed_precisions():
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    layer = layers.Concatenate([layers.Conv2D(2, 1), layers.Conv2D(3, 1, activation="relu")])
    assert layer.forward(images).dtype == np.float32
    assert same_bits(layer.forward(images), layer.forward(images.astype(np.float32)))
    layer = layers.Concatenate([layers.Conv2D(2, 1)])
    layer.build((4, 4, 3), np.float64)
    assert layer.forward(images).dtype == np.float64


def deep(count):
    layer = layers.ReLU()
    for _ in range(count):
        layer = layers.Residual([layer])
    return layer


free = layers.ReLU()
owned = layers.Dense(3)
models.Sequential([owned])
ERRORS = {
    "no list": (lambda: layers.Residual("conv"), TypeError, "body"),
    "no layer": (lambda: layers.Residual([free, "conv"]), TypeError, "layers"),
    "a class": (lambda: layers.Residual([layers.ReLU]), TypeError, "layers"),
    "shortcut": (lambda: layers.Residual([free], 5), TypeError, "shortcut"),
    "owned": (lambda: layers.Residual([free, owned]), ValueError, "already"),
    "twice": (lambda: layers.Residual([free], [free]), ValueError, "twice"),
    "softmax": (lambda: layers.Residual([free], None, "softmax"), ValueError, "activation"),
    "one name": (lambda: layers.Concatenate([free, layers.Dense(2, name="re_lu")]), ValueError, "re_lu"),
    "two layouts": (
        lambda: layers.Concatenate([free, layers.ReLU(layout="NCHW"), layers.ReLU(layout="NHWC")]),
        ValueError,
        "NCHW and NHWC",
    ),
    "no branch": (lambda: layers.Concatenate([]), ValueError, "at least one"),
    "branches": (lambda: layers.Concatenate(free), TypeError, "branches"),
    "axis": (lambda: layers.Concatenate([free], axis=1.0), TypeError, "axis"),
    "depth": (lambda: deep(21), ValueError, "20 deep"),
    "target": (lambda: layers.Reshape(5), TypeError, "target_shape"),
    "target size": (lambda: layers.Reshape((2, 0)), ValueError, "target_shape"),
    "two sizes left": (lambda: layers.Reshape((-1, -1)), ValueError, "target_shape"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_of_structure_leave_the_layers_free(case):
    call, error, text = ERRORS[case]
    with pytest.raises(error, match=text):
        call()
    assert free.owner is None and free.name is None and free.layout is None


FITS = {
    "sum": (lambda: layers.Residual(layers.Conv2D(5, 1)), r"\(6, 6, 5\), the shortcut \(6, 6, 4\)"),
    "branches": (lambda: layers.Concatenate([layers.ReLU(), layers.Conv2D(2, 3)]), "side by side"),
    "axis": (lambda: layers.Concatenate([layers.ReLU(), layers.ReLU()], axis=4), "axis=4"),
    "batch": (lambda: layers.Concatenate([layers.ReLU(), layers.ReLU()], axis=0), "axis=0"),
    "reshape": (lambda: layers.Reshape((5, -1)), "144 numbers"),
    "layout": (lambda: layers.Residual(layers.ReLU(layout="NCHW")), "NCHW"),
    "within": (lambda: layers.Residual(layers.Residual(layers.Conv2D(5, 1))), "cannot be added"),
}


@pytest.mark.parametrize("case", FITS)
def test_what_does_not_fit_is_refused_when_it_is_added(case):
    make, text = FITS[case]
    model = models.Sequential([layers.ReLU()], input_shape=(6, 6, 4))
    with pytest.raises(ValueError, match=text):
        model.add(make())
    assert len(model.layers) == 1 and model.output_shape == (6, 6, 4)


def test_containers_can_be_twenty_deep(tmp_path):
    model = models.Sequential([deep(20)], input_shape=(4,))
    x = np.arange(8.0, dtype=np.float32).reshape(2, 4)
    assert np.array_equal(model.predict(x), 21 * x)
    model.save(tmp_path / "model.npz")
    assert same_bits(models.load(tmp_path / "model.npz").predict(x), model.predict(x))
