# SPDX-License-Identifier: BSD-3-Clause
"""`Sequential.frozen`: packed weights stay with the layers, and no prediction is made with weights of another time."""

import copy
import pickle
import threading

import numpy as np
import pytest
from compare import same_bits
from small_models import data, small_model

import fastconv as fc
from fastconv import layers, models

X, Y = data(12)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("precision", ["strict", "high"])
def test_the_same_bits(layout, dtype, precision):
    model, (x, y) = small_model(layout, dtype), data(12, layout)
    model.compile("sgd", "cross_entropy", ["accuracy"])
    with fc.precision(precision):
        before = model.predict(x), model.forward(x), model.evaluate(x, y)
        with model.frozen() as frozen:
            assert frozen is model
            assert same_bits(model.predict(x), before[0]) and same_bits(model.forward(x), before[1])
            assert same_bits(model.predict(x, batch_size=1), before[0])
            assert model.evaluate(x, y) == before[2]
        assert same_bits(model.predict(x), before[0])


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_the_same_bits_of_other_convolutions(layout):
    """Images that grow, borders that are no zeros, sequences."""
    stacks = {
        (6, 5, 4): [
            layers.Conv2DTranspose(40, 4, 2, 1, "relu"),
            layers.Conv2D(33, 3, padding=1, stride=2, padding_mode="reflect"),
            layers.SeparableConv2D(3, 3),
        ],
        (30, 4): [layers.Conv1D(40, 3, 2, "causal"), layers.Conv1DTranspose(5, 3, 2, "same")],
    }
    for shape, stack in stacks.items():
        shape = shape if layout == "NHWC" else (shape[-1], *shape[:-1])
        model = models.Sequential(stack, input_shape=shape, layout=layout, seed=3)
        x = np.random.default_rng(4).normal(size=(3, *shape)).astype(np.float32)
        before = model.predict(x)
        with model.frozen():
            assert any(layer.packed is not None and layer.packed.isa for layer in model.layers)
            assert same_bits(model.predict(x), before)
            assert same_bits(model.predict(x[1:2]), before[1:2])


def test_layers_keep_packed_weights():
    model = small_model()
    with model.frozen():
        kept = {layer.name: layer.packed for layer in model.layers if layer.packed is not None}
        assert set(kept) == {"conv2d", "depthwise_conv2d", "conv2d_1", "dense", "dense_1"}
        assert all(isinstance(packed, fc.PackedWeights) for packed in kept.values())
        assert kept["dense"].isa == fc.isas()[0]
        model.predict(X)
        assert all(layer.packed is kept.get(layer.name) for layer in model.layers)
    assert all(layer.packed is None for layer in model.layers)


@pytest.mark.parametrize("name", list(small_model().parameters))
def test_what_is_written_before_and_after_counts(name):
    """No result is ever that of other parameters than the model shows."""
    model = small_model()
    array, results = model.parameters[name], []
    for value in (0.5, -0.25):
        array[...] = value
        with model.frozen():
            assert np.all(model.parameters[name] == value)
            results.append(model.predict(X))
        assert model.parameters[name] is array
        assert same_bits(results[-1], model.predict(X))
    assert not same_bits(*results)


@pytest.mark.parametrize("name", list(small_model().parameters))
def test_nothing_can_be_written_within(name):
    model = small_model()
    older = model.parameters[name]
    view, before = older.T, model.predict(X)
    with model.frozen():
        with pytest.raises(ValueError, match="read-only"):
            model.parameters[name][...] = 0
        older[...] = 0.5
        view += 0.25
        assert same_bits(model.predict(X), before)
        assert not np.any(model.parameters[name] == 0.75)
    assert np.all(model.parameters[name] == 0.75)
    assert not same_bits(model.predict(X), before)


def test_training_waits():
    model = small_model()
    model.compile("adam", "cross_entropy")
    with model.frozen():
        for call in (
            lambda: model.fit(X, Y, verbose=0),
            lambda: model.train_step(X, Y),
            lambda: model.forward(X, training=True),
            lambda: model.add(layers.Dense(2)),
        ):
            with pytest.raises(RuntimeError, match="frozen"):
                call()
    twin = small_model()
    twin.compile("adam", "cross_entropy")
    for each in (model, twin):
        each.fit(X, Y, verbose=0, shuffle=False)
    assert same_bits(model.predict(X), twin.predict(X))
    with model.frozen():
        assert same_bits(model.predict(X), twin.predict(X))


def test_blocks_within_blocks_and_errors():
    model = small_model()
    with model.frozen():
        with model.frozen():
            pass
        assert model.layers[1].packed is not None
    with pytest.raises(KeyError), model.frozen():
        raise KeyError
    assert model.layers[1].packed is None and model.parameters["dense/weight"].flags.writeable


def test_blocks_of_several_threads():
    model, results = small_model(), []
    y = model.predict(X)

    def work():
        for _ in range(30):
            with model.frozen():
                results.append(same_bits(model.predict(X), y))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == [True] * 120
    assert model.layers[1].packed is None and model.parameters["dense/weight"].flags.writeable


@pytest.mark.parametrize("again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_not_frozen(again, tmp_path):
    model = small_model()
    model.compile("sgd", "cross_entropy")
    y = model.predict(X)
    with model.frozen():
        other = again(model)
        model.save(tmp_path / "model.npz")
    for one in (other, models.load(tmp_path / "model.npz")):
        assert same_bits(one.predict(X), y)
        one.parameters["dense/weight"][...] = 0
        one.train_step(X, Y)
        assert not same_bits(one.predict(X), y)
    assert same_bits(model.predict(X), y)


def test_a_model_without_a_shape_says_so():
    with pytest.raises(ValueError, match="input shape"), models.Sequential([layers.Dense(3)]).frozen():
        pass


# ---- batch normalisation ------------------------------------------------------


def normalized_model(layout, dtype):
    """Batch normalisation behind every kind of layer that it can be folded into, and where it cannot be."""
    stack = [
        layers.BatchNormalization(),  # nothing before it
        layers.Conv2D(8, 3, bias=False),
        layers.BatchNormalization(activation="relu"),
        layers.DepthwiseConv2D(3),
        layers.BatchNormalization(epsilon=0.01, activation="leaky_relu"),
        layers.Residual([layers.Conv2D(8, 1, groups=2), layers.BatchNormalization()], activation="relu"),
        layers.BatchNormalization(),  # behind a container
        layers.Conv2D(4, 1, activation="tanh"),
        layers.BatchNormalization(),  # behind an activation
        layers.Flatten(),
        layers.Dense(7),
        layers.BatchNormalization(),
        layers.Dense(3),
    ]
    shape = (9, 8, 3) if layout == "NHWC" else (3, 9, 8)
    model = models.Sequential(stack, input_shape=shape, layout=layout, seed=0, dtype=dtype)
    rng = np.random.default_rng(4)
    for name, array in model.parameters.items():
        array[...] = rng.uniform(0.5, 2, array.shape) if name.endswith("var") else rng.normal(0, 0.5, array.shape)
    return model, rng.normal(size=(5, *shape)).astype(dtype)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_normalisation_is_folded(layout, dtype):
    model, x = normalized_model(layout, dtype)
    expected, shown = model.predict(x), {name: array.copy() for name, array in model.parameters.items()}
    with model.frozen():
        folded = [leaf.name for leaf in model.leaves() if leaf.layer.folded is True]
        assert folded == [
            "batch_normalization_1",
            "batch_normalization_2",
            "residual/batch_normalization",
            "batch_normalization_5",
        ]
        assert all(same_bits(array, shown[name]) for name, array in model.parameters.items())
        result = model.predict(x)
    assert abs(result - expected).max() <= (1e-6 if dtype == np.float32 else 1e-14) * abs(expected).max()
    assert same_bits(model.predict(x), expected) and not any(leaf.layer.folded for leaf in model.leaves())


def test_a_dense_layer_on_pixels_of_nchw_keeps_its_normalisation():
    stack = [layers.Dense(4), layers.BatchNormalization()]
    model = models.Sequential(stack, input_shape=(4, 5, 6), layout="NCHW", seed=0)
    model.parameters["batch_normalization/weight"][...] = range(4)
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 6)).astype(np.float32)
    expected = model.predict(x)
    with model.frozen():
        assert same_bits(model.predict(x), expected)


@pytest.mark.parametrize("parts", ["all", "none"])
def test_fold_batch_norm(parts):
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(3, 3, 2, 5)), rng.normal(size=(2, 8, 8, 2))
    bias, gamma, beta = rng.normal(size=(3, 5)) if parts == "all" else (None,) * 3
    mean, variance = rng.normal(size=5), rng.uniform(0.5, 2, 5)
    expected = fc.batch_norm(fc.conv2d(x, weight, bias), gamma, beta, mean, variance, epsilon=0.1)
    folded = fc.fold_batch_norm(weight, bias, gamma, beta, mean, variance, epsilon=0.1)
    np.testing.assert_allclose(fc.conv2d(x, *folded), expected, rtol=1e-12, atol=1e-12)
    first, _ = fc.fold_batch_norm(weight.transpose(3, 2, 0, 1), bias, gamma, beta, mean, variance, epsilon=0.1, axis=0)
    assert np.array_equal(first.transpose(2, 3, 1, 0), folded[0])
    with pytest.raises(ValueError, match="running_mean has shape"):
        fc.fold_batch_norm(weight, None, None, None, mean[:3], variance)


@pytest.mark.parametrize("name", ["Conv3D", "Conv3DTranspose"])
def test_layers_that_do_not_pack_can_be_frozen(name):
    volume = getattr(layers, name)(2, 2)
    model = models.Sequential([volume, layers.BatchNormalization(), layers.Flatten(), layers.Dense(2)], seed=0)
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 1)).astype(np.float32)
    expected = model.predict(x)
    with model.frozen():
        assert same_bits(model.predict(x), expected)
