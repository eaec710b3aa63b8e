# SPDX-License-Identifier: BSD-3-Clause
"""Embedding: lookup and gradient, the layer, models that take integers."""

import numpy as np
import pytest
from compare import poisoned, same_bits
from gradients import assert_close, central_differences

import fastconv as fc
from fastconv import layers, models


@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (2, 0)])
@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int16])
def test_lookup_and_gradient(shape, kind, dtype):
    rng = np.random.default_rng(0)
    weight, indices = rng.normal(size=(11, 4)).astype(dtype), rng.integers(0, 11, shape).astype(kind)
    indices = np.asarray(indices)
    y = fc.embedding(indices, weight)
    assert y.dtype == dtype and np.array_equal(y, weight[indices])
    grad_y = rng.normal(size=y.shape).astype(dtype)
    expected = np.zeros((11, 4), dtype)
    for place in np.ndindex(shape):  # in their order
        expected[indices[place]] += grad_y[place]
    assert same_bits(fc.embedding_backward(grad_y, indices, weight.shape), expected)
    out = poisoned(y.shape, dtype)
    assert fc.embedding(indices, weight, out=out) is out and np.array_equal(out, y)
    wide = poisoned((*shape, 8), dtype)
    fc.embedding(indices, weight, out=wide[..., ::2])
    assert np.array_equal(wide[..., ::2], y) and np.isnan(wide[..., 1::2]).all()
    out = poisoned((11, 4), dtype)
    assert fc.embedding_backward(grad_y, indices, weight.shape, out=out) is out and same_bits(out, expected)


W = np.ones((5, 3), np.float32)
INDICES = np.arange(5)
FIXED = np.ones((5, 3), np.float32)
FIXED.flags.writeable = False
WRONG = {
    "list": (lambda: fc.embedding([1], W), TypeError, "indices"),
    "floats": (lambda: fc.embedding(INDICES.astype(float), W), TypeError, "float64"),
    "too large": (lambda: fc.embedding(INDICES + 1, W), ValueError, r"0 \.\. 4"),
    "negative": (lambda: fc.embedding(INDICES - 1, W), ValueError, r"0 \.\. 4"),
    "weight rank": (lambda: fc.embedding(INDICES, W[0]), ValueError, "weight"),
    "weight type": (lambda: fc.embedding(INDICES, W.astype(int)), TypeError, "weight"),
    "out shape": (lambda: fc.embedding(INDICES, W, out=W[:2].copy()), ValueError, "out has shape"),
    "out type": (lambda: fc.embedding(INDICES, W, out=W.astype(np.float64)), TypeError, "out has dtype"),
    "out is weight": (lambda: fc.embedding(INDICES, W, out=W), ValueError, "shares memory with weight"),
    "out is read-only": (lambda: fc.embedding(INDICES, W, out=FIXED), ValueError, "read-only"),
    "grad shape": (lambda: fc.embedding_backward(W[:2], INDICES, (5, 3)), ValueError, "grad_y"),
    "grad index": (lambda: fc.embedding_backward(W, INDICES + 3, (5, 3)), ValueError, r"0 \.\. 4"),
    "grad is out": (lambda: fc.embedding_backward(W, INDICES, (5, 3), out=W), ValueError, "grad_y"),
    "no vectors": (lambda: layers.Embedding(0, 3), ValueError, "input_dim"),
    "float size": (lambda: layers.Embedding(4, 3.0), TypeError, "output_dim"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    call, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        call()
    assert (W == 1).all()


def make(dtype=np.float32):
    stack = [layers.Embedding(9, 4), layers.Flatten(), layers.Dense(2)]
    return models.Sequential(stack, input_shape=(6,), seed=0, dtype=dtype)


def test_gradient_in_a_model():
    model = make(np.float64)
    x = np.random.default_rng(1).integers(0, 9, (5, 6))
    r = np.random.default_rng(2).normal(size=model.forward(x, training=True).shape)
    assert model.backward(r) is None
    weight = model.parameters["embedding/weight"]
    found = central_differences(lambda: float(np.sum(model.forward(x) * r)), weight)
    assert_close(model.gradients["embedding/weight"], found, "weight")


def test_a_model_learns_from_integers(tmp_path):
    model = make()
    x = np.random.default_rng(1).integers(0, 9, (64, 6)).astype(np.int16)
    y = (x[:, 0] > 4).astype(np.int64)
    model.compile("adam", "cross_entropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=16, epochs=80, verbose=0)
    assert model.evaluate(x, y)[1] > 0.95
    model.save(tmp_path / "model.npz")
    assert same_bits(models.load(tmp_path / "model.npz").predict(x), model.predict(x))
    with pytest.raises(TypeError, match="integers"):
        model.predict(x.astype(np.float32))
    with pytest.raises(ValueError, match="outside"):
        model.predict(x + 9)
