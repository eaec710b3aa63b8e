# SPDX-License-Identifier: BSD-3-Clause
"""Pooling of sequences and volumes: against the formulas, PyTorch and, by way of the adjoint identity, itself."""

from itertools import product

import numpy as np
import oracle
import oracle_volumes
import pytest
from compare import assert_exact, poisoned, same_bits
from forms import FORMS, WRITABLE

import fastconv as fc

# size (D, H, W), window, keywords
VOLUMES = [
    ((4, 6, 5), 2, {}),
    ((5, 6, 7), (3, 2, 3), {"stride": (2, 1, 2), "padding": (1, 0, 1)}),
    ((4, 5, 6), 3, {"stride": 2, "padding": "same"}),
    ((5, 4, 6), 2, {"stride": 3, "padding": ((1, 0), (0, 1), (1, 1)), "ceil_mode": True}),
    ((3, 4, 5), (3, 4, 5), {}),
    ((6, 5, 4), (1, 2, 1), {"stride": (3, 1, 2), "padding": "same_lower"}),
    ((7, 6, 6), (2, 3, 2), {"dilation": (3, 2, 1)}),
]
LAYOUTS = {1: ("NWC", "NCW"), 3: ("NDHWC", "NCDHW")}


def windows(size, kernel, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The outputs along each axis: (places seen, places in image or border)."""
    axes = (oracle_volumes.all_axes(one) for one in (kernel, kernel if stride is None else stride, dilation))
    kernel, stride, dilation = axes
    borders = oracle_volumes.border(padding, size, kernel, stride, dilation)
    for length, taps, step, spread, (before, after) in zip(size, kernel, stride, dilation, borders, strict=True):
        count = oracle.output_length(length, taps, step, spread, (before, after), ceil_mode)
        reach = [[o * step - before + t * spread for t in range(taps)] for o in range(count)]
        yield [([i for i in w if 0 <= i < length], sum(i < length + after for i in w)) for w in reach]


def max_pool(x, kernel, **keywords):
    """(maxima, indices) of volumes with channels last."""
    size = x.shape[1:4]
    axes = list(windows(size, kernel, **keywords))
    y = np.zeros((len(x), *map(len, axes), x.shape[-1]), x.dtype)
    indices = np.zeros(y.shape, np.int64)
    for place in np.ndindex(y.shape[1:4]):
        seen = [axis[i][0] for axis, i in zip(axes, place, strict=True)]
        values = x[np.ix_(range(len(x)), *seen)].reshape(len(x), -1, x.shape[-1])
        flat = np.array([(d * size[1] + h) * size[2] + w for d, h, w in product(*seen)])
        best = values.argmax(axis=1)
        at = (slice(None), *place)
        y[at] = np.take_along_axis(values, best[:, None], axis=1)[:, 0]
        indices[at] = flat[best]
    return y, indices


def avg_pool(x, kernel, count_include_pad=None, divisor_override=None, padding=0, **keywords):
    """(means, divisors) of volumes with channels last."""
    axes = list(windows(x.shape[1:4], kernel, padding=padding, **keywords))
    y = np.zeros((len(x), *map(len, axes), x.shape[-1]))
    shares = np.zeros((*y.shape[1:4], *x.shape[1:4]))  # of each pixel in each window
    for place in np.ndindex(y.shape[1:4]):
        seen = [axis[i][0] for axis, i in zip(axes, place, strict=True)]
        counts = [np.prod([len(s) for s in seen]), np.prod([axis[i][1] for axis, i in zip(axes, place, strict=True)])]
        divisor = oracle.average_divisor(*counts, padding, count_include_pad, divisor_override)
        shares[(*place, *np.ix_(*seen))] = 1 / divisor
        y[(slice(None), *place)] = x[np.ix_(range(len(x)), *seen)].sum(axis=(1, 2, 3)) / divisor
    return y, shares


def laid_out(array, layout):
    return np.ascontiguousarray(np.moveaxis(array, -1, 1) if layout.startswith("NC") else array)


def with_ties_and_nans(rng, shape, dtype):
    x = rng.integers(-2, 2, size=shape).astype(dtype)
    x[rng.random(shape) < 0.03] = np.nan
    return x


@pytest.mark.parametrize("layout", LAYOUTS[3])
@pytest.mark.parametrize("number", range(len(VOLUMES)))
def test_maxima_of_volumes(number, layout, dtype):
    size, kernel, keywords = VOLUMES[number]
    x = with_ties_and_nans(np.random.default_rng(number), (2, *size, 5), dtype)
    true_y, true_indices = (laid_out(array, layout) for array in max_pool(x, kernel, **keywords))
    x = laid_out(x, layout)
    y, indices = fc.max_pool3d(x, kernel, **keywords, layout=layout, return_indices=True)
    np.testing.assert_array_equal(indices, true_indices)
    assert same_bits(y, true_y)
    assert same_bits(fc.max_pool3d(x, kernel, **keywords, layout=layout), y)
    assert fc.pool3d_output_shape(x.shape, kernel, **keywords, layout=layout) == y.shape
    assert same_bits(fc.max_pool3d(x[0], kernel, **keywords, layout=layout), y[0])
    grad_y = np.random.default_rng(1).integers(-4, 4, size=y.shape).astype(dtype)
    grad_x = fc.max_pool3d_backward(grad_y, indices, x.shape, layout=layout)
    truth = np.zeros(x.shape)
    planes, winners = (np.moveaxis(a, 1 if layout == "NCDHW" else -1, 1).reshape(2, 5, -1) for a in (grad_y, indices))
    flat = np.zeros((2, 5, np.prod(size)))
    for n, c in np.ndindex(2, 5):
        np.add.at(flat[n, c], winners[n, c], planes[n, c])
    truth = flat.reshape(2, 5, *size)
    assert_exact(grad_x, truth if layout == "NCDHW" else np.moveaxis(truth, 1, -1))


@pytest.mark.parametrize("channels", [7, 19, 40])
def test_gradients_of_maxima_are_sums_over_their_windows(channels, dtype):
    """Whether pixels gather, which the strips in which indices of a pooling lie make possible, or windows scatter."""
    rng = np.random.default_rng(channels)
    for (size, kernel, keywords), place in product([*VOLUMES, ((8, 9, 10), 3, {"stride": 2})], [None, 0]):
        x = with_ties_and_nans(rng, (2, *size, channels), dtype)
        y, indices = fc.max_pool3d(x, kernel, **keywords, return_indices=True)
        if place is not None:  # far from its window
            indices[1, 0, 0, 0, 5], indices[1, -1, -1, -1, 6] = np.prod(size) - 1, 0
        grad_y = rng.integers(-4, 4, size=y.shape).astype(dtype)
        truth = np.zeros((2, np.prod(size), channels), dtype)
        n, _, _, _, c = np.indices(y.shape)
        np.add.at(truth, (n, indices, c), grad_y)
        out = poisoned((2, *size, channels + 1), dtype)[..., :channels]
        for threads in (1, 3):
            with fc.threads(threads):
                assert fc.max_pool3d_backward(grad_y, indices, x.shape, out=out) is out
            assert_exact(out, truth.reshape(x.shape))
        indices[1, 0, 0, 0, 0] = np.prod(size)
        with pytest.raises(ValueError, match="outside 0"):
            fc.max_pool3d_backward(grad_y, indices, x.shape)


@pytest.mark.parametrize("layout", LAYOUTS[3])
@pytest.mark.parametrize(("include", "divisor"), [(None, None), (True, None), (False, None), (None, 5)])
@pytest.mark.parametrize("number", [n for n, (_, _, keywords) in enumerate(VOLUMES) if "dilation" not in keywords])
def test_means_of_volumes(number, include, divisor, layout, dtype):
    size, kernel, keywords = VOLUMES[number]
    keywords = keywords | {"count_include_pad": include, "divisor_override": divisor}
    rng = np.random.default_rng(number)
    x = rng.standard_normal((2, *size, 3)).astype(dtype)
    truth, shares = avg_pool(x, kernel, **keywords)
    grad_y = rng.standard_normal(truth.shape).astype(dtype)
    true_grad_x = np.einsum("nopqc,opqdhw->ndhwc", grad_y, shares)
    tolerance = 3e-6 if dtype == np.float32 else 1e-13
    y = fc.avg_pool3d(laid_out(x, layout), kernel, **keywords, layout=layout)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, laid_out(truth, layout), rtol=tolerance, atol=tolerance)
    grad_x = fc.avg_pool3d_backward(
        laid_out(grad_y, layout), laid_out(x, layout).shape, kernel, **keywords, layout=layout
    )
    np.testing.assert_allclose(grad_x, laid_out(true_grad_x, layout), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layout", LAYOUTS[1])
def test_sequences_are_images_of_height_one(layout, dtype):
    rng = np.random.default_rng(3)
    shape = (2, 17, 5) if layout == "NWC" else (2, 5, 17)
    height = 1 if layout == "NWC" else 2
    image = {"layout": "NHWC" if layout == "NWC" else "NCHW"}
    x = with_ties_and_nans(rng, shape, dtype)
    tall = np.expand_dims(x, height)
    for kernel, keywords, tall_keywords in [
        (2, {}, {}),
        (3, {"stride": 2, "padding": 1}, {"stride": (1, 2), "padding": (0, 1)}),
        (4, {"stride": 1, "padding": ((1, 2),)}, {"stride": 1, "padding": ((0, 0), (1, 2))}),
        ([3], {"stride": (3,), "padding": "same"}, {"stride": (1, 3), "padding": "same"}),
    ]:
        tall_kernel = (1, kernel[0] if isinstance(kernel, list) else kernel)
        tall_keywords = {"stride": (1, tall_kernel[1])} | tall_keywords | image
        y, indices = fc.max_pool1d(x, kernel, **keywords, layout=layout, return_indices=True)
        twins = fc.max_pool2d(tall, tall_kernel, **tall_keywords, return_indices=True)
        assert same_bits(y, twins[0].squeeze(height)) and same_bits(indices, twins[1].squeeze(height))
        assert fc.pool1d_output_shape(x.shape, kernel, **keywords, layout=layout) == y.shape
        grad_x = fc.max_pool1d_backward(y, indices, x.shape, layout=layout)
        twin = fc.max_pool2d_backward(*twins, tall.shape, **image)
        assert same_bits(grad_x, twin.squeeze(height))
        mean = fc.avg_pool1d(x, kernel, **keywords, layout=layout)
        assert same_bits(mean, fc.avg_pool2d(tall, tall_kernel, **tall_keywords).squeeze(height))
        grad_x = fc.avg_pool1d_backward(mean, x.shape, kernel, **keywords, layout=layout)
        twin = fc.avg_pool2d_backward(np.expand_dims(mean, height), tall.shape, tall_kernel, **tall_keywords)
        assert same_bits(grad_x, twin.squeeze(height))
    out = poisoned(y.shape, dtype), np.zeros(y.shape, np.int64)
    assert fc.max_pool1d(x, kernel, **keywords, layout=layout, return_indices=True, out=out)[0] is out[0]
    assert same_bits(out[0], y) and same_bits(out[1], indices)


@pytest.mark.parametrize("axes", [1, 3])
def test_global_pooling(axes, dtype):
    x = np.random.default_rng(4).standard_normal((2, *(4, 3, 5)[:axes], 7)).astype(dtype)
    pixels = tuple(range(1, axes + 1))
    for layout in LAYOUTS[axes]:
        arranged, at = laid_out(x, layout), pixels if layout.endswith("C") else tuple(range(2, axes + 2))
        for keepdims in (False, True):
            largest = getattr(fc, f"global_max_pool{axes}d")(arranged, keepdims=keepdims, layout=layout)
            assert same_bits(largest, arranged.max(axis=at, keepdims=keepdims))
            mean = getattr(fc, f"global_avg_pool{axes}d")(arranged, keepdims=keepdims, layout=layout)
            np.testing.assert_allclose(mean, arranged.mean(axis=at, keepdims=keepdims), rtol=1e-5, atol=1e-6)
            assert mean.shape == largest.shape


@pytest.mark.parametrize("form", FORMS)
def test_memory_forms(form):
    rng = np.random.default_rng(5)
    x = rng.integers(-9, 9, size=(2, 4, 5, 6, 3)).astype(np.float32)
    strange = FORMS[form](x)
    keywords = {"stride": 2, "padding": 1}
    y, indices = max_pool(x, 3, **keywords)
    for result, truth in zip(fc.max_pool3d(strange, 3, **keywords, return_indices=True), (y, indices), strict=True):
        np.testing.assert_array_equal(result, truth)
    mean = fc.avg_pool3d(x, 3, **keywords)
    assert same_bits(fc.avg_pool3d(strange, 3, **keywords), mean)
    grad_x = fc.max_pool3d_backward(y, indices, x.shape)
    assert_exact(fc.max_pool3d_backward(FORMS[form](y), FORMS[form](indices), x.shape), grad_x)
    if form in WRITABLE:
        out = FORMS[form](poisoned(y.shape, np.float32)), FORMS[form](np.zeros(y.shape, np.int64))
        assert fc.max_pool3d(x, 3, **keywords, return_indices=True, out=out)[0] is out[0]
        np.testing.assert_array_equal(out[0], y)
        np.testing.assert_array_equal(out[1], indices)
        out = FORMS[form](poisoned(x.shape, np.float32))
        assert_exact(fc.max_pool3d_backward(y, indices, x.shape, out=out), grad_x)
        out = FORMS[form](poisoned(y.shape, np.float32))
        assert_exact(fc.avg_pool3d(x, 3, **keywords, out=out), mean)


def test_agreement_with_pytorch():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(6).standard_normal((2, 3, 7, 8, 9))
    tensor = torch.from_numpy(x).requires_grad_()
    theirs, their_indices = torch.nn.functional.max_pool3d(tensor, 3, 2, 1, ceil_mode=True, return_indices=True)
    ours = fc.max_pool3d(x, 3, 2, padding=1, ceil_mode=True, return_indices=True, layout="NCDHW")
    np.testing.assert_array_equal(ours[0], theirs.detach().numpy())
    np.testing.assert_array_equal(ours[1], their_indices.numpy())
    theirs.sum().backward()
    ones = np.ones_like(ours[0])
    np.testing.assert_array_equal(fc.max_pool3d_backward(ones, ours[1], x.shape, layout="NCDHW"), tensor.grad.numpy())
    theirs = torch.nn.functional.avg_pool3d(tensor.detach(), 3, 2, 1, ceil_mode=True).numpy()
    ours = fc.avg_pool3d(x, 3, 2, padding=1, ceil_mode=True, layout="NCDHW")
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


def test_types_and_batches():
    x = np.arange(2 * 4 * 4 * 4, dtype=np.int16).reshape(4, 4, 4, 2)
    assert fc.max_pool3d(x, 2).dtype == np.int16 and fc.avg_pool3d(x, 2).dtype == np.float32
    assert fc.max_pool1d(x[0, 0], 2).dtype == np.int16
    assert fc.max_pool3d(np.ones((0, 4, 4, 4, 2), np.float32), 2).shape == (0, 2, 2, 2, 2)
    with fc.threads(1):
        y = fc.avg_pool3d(x, 2)
    with fc.threads(3):
        assert same_bits(fc.avg_pool3d(x, 2), y)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: fc.max_pool3d(x[0], 2), ValueError, "x has shape"),
        (lambda x: fc.max_pool3d(x, (2, 2)), ValueError, "kernel_size needs"),
        (lambda x: fc.max_pool3d(x, 9), ValueError, r"\(4, 4, 4, 2\) \(NDHWC\)"),
        (lambda x: fc.max_pool3d(x, 2.0), TypeError, "kernel_size"),
        (lambda x: fc.max_pool3d(x, 2, layout="NWC"), ValueError, "NDHWC"),
        (lambda x: fc.max_pool3d(x, 2, padding=(1, 1)), ValueError, "padding"),
        (lambda x: fc.max_pool3d(x, 2, out=np.ones((2, 2, 2, 3), np.float32)), ValueError, "out has shape"),
        (lambda x: fc.max_pool3d(x, 1, out=x), ValueError, "shares memory with x"),
        (lambda x: fc.avg_pool3d(x, 2, divisor_override=0), ValueError, "divisor_override"),
        (lambda x: fc.avg_pool3d(list(x), 2), TypeError, "x must be a numpy array"),
        (lambda x: fc.avg_pool3d_backward(x, (4, 4, 4, 2), 2), ValueError, "grad_y has shape"),
        (lambda x: fc.max_pool3d_backward(x, np.full(x.shape, 64), (4, 4, 4, 2)), ValueError, "indices"),
        (lambda x: fc.max_pool1d(x, 2), ValueError, "x has shape"),
        (lambda x: fc.max_pool1d(x[0, 0], (2, 2)), ValueError, "kernel_size needs"),
        (lambda x: fc.max_pool1d(x[0, 0], 2, padding=(1, 2)), ValueError, "padding"),
        (lambda x: fc.avg_pool1d(x[0, 0], 2, layout="NHCW"), ValueError, "NWC"),
        (lambda x: fc.avg_pool1d(x[0, 0], 1, out=x[0, 0]), ValueError, "shares memory with x"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(np.ones((4, 4, 4, 2), np.float32))
