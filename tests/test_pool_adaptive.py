# SPDX-License-Identifier: BSD-3-Clause
"""Adaptive pooling and max_unpool2d: against the formulas and PyTorch; what they take and refuse."""

import numpy as np
import pytest
from compare import poisoned, same_bits
from forms import FORMS, WRITABLE

import fastconv as fc

# H, W, P, Q, C
SIZES = [
    (7, 9, 3, 4, 5),
    (6, 8, 3, 2, 17),
    (5, 4, 5, 4, 3),
    (4, 3, 7, 5, 2),
    (13, 13, 6, 6, 33),
    (1, 5, 1, 3, 1),
    (9, 7, 1, 1, 4),
]


def windows(size, outputs):
    """floor(i * size / outputs) .. ceil((i + 1) * size / outputs)."""
    return [slice(i * size // outputs, -(-(i + 1) * size // outputs)) for i in range(outputs)]


def pooled(x, p, q):
    """(means, shares of pixels, maxima, indices) of images with channels last."""
    n, h, w, c = x.shape
    means, maxima = np.zeros((n, p, q, c)), np.zeros((n, p, q, c), x.dtype)
    shares, indices = np.zeros((p, q, h, w)), np.zeros((n, p, q, c), np.int64)
    for i, rows in enumerate(windows(h, p)):
        for j, columns in enumerate(windows(w, q)):
            seen = x[:, rows, columns].reshape(n, -1, c)
            means[:, i, j], maxima[:, i, j] = seen.mean(axis=1, dtype=np.float64), seen.max(axis=1)
            shares[i, j, rows, columns] = 1 / seen.shape[1]
            indices[:, i, j] = np.arange(h * w).reshape(h, w)[rows, columns].ravel()[seen.argmax(axis=1)]
    return means, shares, maxima, indices


def laid_out(array, layout):
    return np.ascontiguousarray(np.moveaxis(array, -1, 1) if layout == "NCHW" else array)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_adaptive_pooling(sizes, isa, layout, dtype):
    h, w, p, q, c = sizes
    rng = np.random.default_rng(h)
    x = rng.integers(-3, 3, size=(2, h, w, c)).astype(dtype)
    means, shares, maxima, indices = pooled(x, p, q)
    grad_y = rng.standard_normal(means.shape).astype(dtype)
    true_grad_x = laid_out(np.einsum("npqc,pqhw->nhwc", grad_y, shares), layout)
    x, grad_y = laid_out(x, layout), laid_out(grad_y, layout)
    tolerance = 2e-6 if dtype == np.float32 else 1e-14
    y = fc.adaptive_avg_pool2d(x, (p, q), layout=layout, out=poisoned(grad_y.shape, dtype))
    np.testing.assert_allclose(y, laid_out(means, layout), rtol=tolerance, atol=tolerance)
    grad_x = fc.adaptive_avg_pool2d_backward(grad_y, x.shape, layout=layout)
    np.testing.assert_allclose(grad_x, true_grad_x, rtol=tolerance, atol=tolerance)
    largest, places = fc.adaptive_max_pool2d(x, (p, q), layout=layout, return_indices=True)
    assert same_bits(largest, laid_out(maxima, layout)) and same_bits(places, laid_out(indices, layout))
    assert same_bits(fc.adaptive_max_pool2d(x[1], (p, q), layout=layout), largest[1])


def test_agreement_with_pytorch():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).standard_normal((2, 3, 11, 13))
    tensor = torch.from_numpy(x)
    for size in (1, 4, (5, 7), (None, 6), (12, 20)):
        ours = fc.adaptive_avg_pool2d(x, size, layout="NCHW")
        theirs = torch.nn.functional.adaptive_avg_pool2d(tensor, size).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)
    y, indices = fc.max_pool2d(x, 2, layout="NCHW", return_indices=True)
    theirs = torch.nn.functional.max_unpool2d(torch.from_numpy(y), torch.from_numpy(indices), 2, output_size=(11, 13))
    np.testing.assert_array_equal(fc.max_unpool2d(y, indices, x.shape, layout="NCHW"), theirs.numpy())


def test_unpooling(layout, dtype):
    """It puts maxima where they were; its gradient is what stands there."""
    x = laid_out(np.random.default_rng(2).standard_normal((2, 7, 6, 5)).astype(dtype), layout)
    y, indices = fc.max_pool2d(x, 3, 2, padding=1, layout=layout, return_indices=True)
    back = fc.max_unpool2d(y, indices, x.shape, layout=layout)
    assert back.dtype == dtype and set(np.unique(back)) == {0, *np.unique(y)}
    assert np.all((back == x) | (back == 0))
    assert same_bits(fc.max_unpool2d_backward(x, indices, layout=layout), y)
    assert same_bits(fc.max_unpool2d(y[0], indices[0], x.shape[1:], layout=layout), back[0])
    for form in WRITABLE:
        out = FORMS[form](poisoned(x.shape, dtype))
        assert fc.max_unpool2d(FORMS[form](y), FORMS[form](indices), x.shape, layout=layout, out=out) is out
        np.testing.assert_array_equal(out, back)


def test_types_and_batches():
    x = np.arange(2 * 5 * 5, dtype=np.uint8).reshape(5, 5, 2)
    assert fc.adaptive_max_pool2d(x, 2).dtype == np.uint8 and fc.adaptive_avg_pool2d(x, 2).dtype == np.float32
    assert fc.adaptive_avg_pool2d(np.ones((0, 5, 5, 2)), 3).shape == (0, 3, 3, 2)
    big = np.random.default_rng(3).standard_normal((3, 50, 51, 40)).astype(np.float32)
    with fc.threads(1):
        expected = fc.adaptive_avg_pool2d(big, (7, 6))
    with fc.threads(3):
        assert same_bits(fc.adaptive_avg_pool2d(big, (7, 6)), expected)
        assert same_bits(fc.adaptive_avg_pool2d(FORMS["spread"](big), (7, 6)), expected)


X = np.ones((4, 5, 2), np.float32)
INDICES = np.zeros((2, 2, 2), np.int64)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: fc.adaptive_avg_pool2d(X, 0), ValueError, "output_size must be at least 1"),
        (lambda: fc.adaptive_avg_pool2d(X, (1, 2, 3)), ValueError, "output_size needs"),
        (lambda: fc.adaptive_avg_pool2d(X, 1.5), TypeError, "output_size"),
        (lambda: fc.adaptive_avg_pool2d(X, 2**62), ValueError, "output_size=4611686018427387904"),
        (lambda: fc.adaptive_max_pool2d(X[0], 2), ValueError, "x has shape"),
        (lambda: fc.adaptive_max_pool2d(X, 2, return_indices=1), TypeError, "return_indices"),
        (lambda: fc.adaptive_avg_pool2d_backward(X, (4, 5, 3)), ValueError, "do not belong together"),
        (lambda: fc.max_unpool2d(X, INDICES, (4, 4, 2)), ValueError, "indices has shape"),
        (lambda: fc.max_unpool2d(X[:2, :2], INDICES + 16, (4, 4, 2)), ValueError, r"outside 0 \.\. 15"),
        (lambda: fc.max_unpool2d(X[:2, :2], INDICES, (4, 4, 3)), ValueError, "do not belong together"),
        (lambda: fc.max_unpool2d(X[:2, :2], INDICES.astype(np.int32), (4, 4, 2)), TypeError, "int64"),
        (lambda: fc.max_unpool2d(X[:2, :2], INDICES, (4, 4, 2), layout="NWC"), ValueError, "layout"),
        (lambda: fc.max_unpool2d(X[:2, :2], INDICES, (4, 5, 2), out=X), ValueError, "shares memory with y"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()
