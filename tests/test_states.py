# SPDX-License-Identifier: BSD-3-Clause
"""States: what layers keep and do not learn. Models show and save them with the parameters; no optimiser sees them."""

import copy
import pickle

import numpy as np
import pytest
from gradients import assert_close, central_differences

from fastconv import layers, models, optimizers


class Counter(layers.Layer):
    """Adds a learned offset, and counts the inputs that it was trained on."""

    def parameter_shapes(self, input_shape):
        return {"offset": (3,)}

    def state_shapes(self, input_shape):
        return {"count": (1,), "last": (3,)}

    def initialize(self, rng, input_shape, before_relu=False):
        self.parameters["offset"][...] = 2
        self.states["last"][...] = 7

    def forward(self, x, training=False):
        self.require_parameters(x)
        if training:
            self.states["count"] += len(x)
            self.states["last"][...] = x[-1]
        return x + self.parameters["offset"]

    def backward(self, grad_y):
        self.gradients["offset"][...] = grad_y.sum(axis=0)
        return grad_y


def make():
    return models.Sequential([layers.Dense(3), Counter(name="a"), Counter(name="b")], input_shape=(4,), seed=0)


def test_states_stand_with_the_parameters_of_their_layer():
    model = make()
    names = ["dense/weight", "dense/bias", "a/offset", "a/count", "a/last", "b/offset", "b/count", "b/last"]
    assert list(model.parameters) == list(model.parameter_shapes()) == names
    assert list(model.gradients) == [name for name in names if not name.endswith(("count", "last"))]
    assert {name: array.shape for name, array in model.parameters.items()} == model.parameter_shapes()
    assert model.count_params() == 4 * 3 + 3 + 3 + 3
    assert (model.parameters["b/last"] == 7).all() and (model.parameters["b/count"] == 0).all()


def test_all_arrays_lie_in_one_buffer_and_the_learned_ones_first():
    model = make()
    addresses = {name: array.ctypes.data for name, array in model.parameters.items()}
    assert len({id(array.base) for array in model.parameters.values()}) == 1
    learned = [addresses[name] for name in model.gradients]
    assert max(learned) < min(address for name, address in addresses.items() if name not in model.gradients)


@pytest.mark.parametrize("optimizer", [optimizers.SGD(0.1, weight_decay=0.1), "adam"], ids=["sgd", "adam"])
def test_no_optimiser_touches_them(optimizer):
    """Weight decay would: their gradient is zero, should they have one."""
    model = make()
    model.compile(optimizer, "mean_squared_error")
    x = np.random.default_rng(1).normal(size=(5, 4))
    for step in range(1, 4):
        offset = model.parameters["a/offset"].copy()
        model.train_step(x, np.zeros((5, 3), np.float32))
        assert model.parameters["a/count"] == 5 * step
        assert not np.array_equal(model.parameters["a/offset"], offset)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_have_states_of_their_own(again):
    model = make()
    model.forward(np.ones((2, 4)), training=True)
    other = again(model)
    other.forward(np.ones((3, 4)), training=True)
    assert model.parameters["a/count"] == 2 and other.parameters["a/count"] == 5


def test_a_frozen_model_keeps_them_as_they_were():
    model = make()
    count = model.parameters["a/count"]
    count[...] = 4
    with model.frozen():
        assert model.parameters["a/count"] == 4
        with pytest.raises(ValueError, match="read-only"):
            model.parameters["a/count"][...] = 5
        count[...] = 6
        assert model.parameters["a/count"] == 4
    assert model.parameters["a/count"] == 6


def test_a_layer_by_itself_has_states():
    layer = Counter()
    layer.forward(np.ones((2, 3)), training=True)
    assert layer.states["count"] == 2 and layer.states["count"].dtype == np.float64


def test_a_layer_that_only_has_states_keeps_them_when_the_model_grows():
    class Seen(Counter):
        def parameter_shapes(self, input_shape):
            return {}

        def initialize(self, rng, input_shape, before_relu=False):
            self.states["last"][...] = 7

    model = models.Sequential([Seen()], input_shape=(3,), seed=0)
    model.parameters["seen/last"][...] = 1
    model.add(layers.Dense(2))
    assert (model.parameters["seen/last"] == 1).all() and model.parameters["dense/weight"].any()


# ---- batch normalisation ------------------------------------------------------


def normalizing(layout="NHWC", dtype=np.float32):
    """A model with batch normalisation behind a convolution and behind a dense layer."""
    shape = (6, 5, 3) if layout == "NHWC" else (3, 6, 5)
    stack = [
        layers.Conv2D(4, 3, bias=False),
        layers.BatchNormalization(activation="relu"),
        layers.Flatten(),
        layers.Dense(8),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Dense(2),
    ]
    return models.Sequential(stack, input_shape=shape, layout=layout, seed=1, dtype=dtype)


def data(model, count=16):
    rng = np.random.default_rng(5)
    x = rng.normal(2, 3, (count, *model.input_shape)).astype(np.float32)
    return x, (x.reshape(count, -1).mean(axis=1) > 2).astype(np.int64)


def test_names_and_counts_are_those_of_keras(layout):
    model = normalizing(layout)
    names = ["weight", "bias", "running_mean", "running_var"]
    assert list(model.parameters)[1:5] == [f"batch_normalization/{name}" for name in names]
    assert list(model.parameters)[7:11] == [f"batch_normalization_1/{name}" for name in names]
    assert model.count_params() == 3 * 9 * 4 + 2 * 4 + (4 * 3 * 4 * 8 + 8) + 2 * 8 + (8 * 2 + 2)
    for name, value in zip(names, (1, 0, 0, 1), strict=True):
        assert (model.parameters[f"batch_normalization/{name}"] == value).all()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_moves_the_running_statistics_and_they_serve_prediction(optimizer, layout):
    model = normalizing(layout)
    x, y = data(model)
    model.compile(optimizer, "cross_entropy", metrics=["accuracy"])
    first = model.evaluate(x, y)[0]
    model.fit(x, y, batch_size=16, epochs=60, verbose=0)
    assert model.evaluate(x, y)[0] < 0.5 * first
    inside = model.layers[0].forward(x)
    mean = inside.mean(axis=(0, 1, 2) if layout == "NHWC" else (0, 2, 3))
    assert np.allclose(model.parameters["batch_normalization/running_mean"], mean, atol=0.3)


def test_one_seed_is_one_training(tmp_path):
    results = []
    for _ in range(2):
        model = normalizing()
        x, y = data(model)
        model.compile("adam", "cross_entropy")
        model.fit(x, y, batch_size=4, epochs=2, verbose=0)
        results.append({name: array.copy() for name, array in model.parameters.items()})
    assert all(np.array_equal(results[0][name], results[1][name]) for name in results[0])
    model.save(tmp_path / "model.npz")
    again = models.load(tmp_path / "model.npz")
    assert all(np.array_equal(again.parameters[name], results[0][name]) for name in results[0])
    assert np.array_equal(again.predict(x), model.predict(x))


def test_gradients_of_a_model_with_batch_normalisation(layout):
    model = normalizing(layout, np.float64)
    x = data(model, 4)[0].astype(np.float64)
    r = np.random.default_rng(2).normal(size=model.forward(x, training=True).shape)
    model.backward(r)
    for name in ("conv2d/weight", "batch_normalization/weight", "batch_normalization_1/bias"):
        found = central_differences(lambda: float(np.sum(model.forward(x, True) * r)), model.parameters[name])
        assert_close(model.gradients[name], found, name)
