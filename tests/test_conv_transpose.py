# SPDX-License-Identifier: BSD-3-Clause
"""Transposed convolution: its formula, its gradients, PyTorch's numbers, equal bits, errors."""

import numpy as np
import oracle
import pytest
from compare import assert_exact, poisoned, same_bits
from problems import exact_integers

import fastconv as fc


def some_geometry(rng):
    """Shapes and keyword arguments of one problem: strides beyond the kernel, borders that cut into the result."""

    def pair(low, high):
        return tuple(int(number) for number in rng.integers(low, high, 2, endpoint=True))

    groups = int(rng.choice([1, 1, 2, 3]))
    c, k = (groups * int(rng.integers(1, 33 // groups, endpoint=True)) for _ in range(2))
    if rng.integers(5) == 0:
        groups = c = k
    kernel, size, stride, dilation = pair(1, 5), pair(1, 7), pair(1, 4), pair(1, 3)
    padding = str(rng.choice(["same", "same_lower", "valid"])) if rng.integers(4) == 0 else (pair(0, 2), pair(0, 2))
    spans = [d * (r - 1) + 1 for d, r in zip(dilation, kernel, strict=True)]
    if padding in ("same", "same_lower"):
        stride = tuple(min(pair) for pair in zip(stride, spans, strict=True))
    extra = (0, 0)
    if not isinstance(padding, str):
        extra = tuple(int(rng.integers(max(pair))) for pair in zip(stride, dilation, strict=True))
        full = [(p - 1) * s + span + e for p, s, span, e in zip(size, stride, spans, extra, strict=True)]
        if min(length - sum(sides) for length, sides in zip(full, padding, strict=True)) < 1:
            padding = "valid"
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "output_padding": extra}
    return (int(rng.integers(1, 3)), *size, c), (*kernel, k // groups, c), how


GRID = [some_geometry(np.random.default_rng(seed)) for seed in range(24)]
NAMED = [  # DCGAN, U-Net, an autoencoder, pixels that no tap reaches, one pixel, an output padding beyond the stride
    ((1, 4, 4, 33), (4, 4, 17, 33), {"stride": 2, "padding": 1}),
    ((2, 5, 6, 16), (2, 2, 40, 16), {"stride": 2}),
    ((2, 4, 4, 8), (3, 3, 1, 8), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((2, 3, 2, 5), (1, 2, 3, 5), {"stride": (3, 4)}),
    ((2, 1, 1, 40), (4, 4, 20, 40), {}),
    ((1, 20, 20, 16), (3, 3, 16, 16), {"padding": 1, "algorithm": "winograd"}),
    ((1, 3, 4, 2), (2, 3, 3, 2), {"dilation": 3, "output_padding": 2, "stride": (1, 2)}),
]


def arrays_of(case, dtype, layout):
    """x, weight, bias and grad_y of whole numbers that keep all sums exact."""
    x_shape, weight_shape, how = case
    rng = np.random.default_rng(sum(x_shape) + sum(weight_shape))
    how = {name: value for name, value in how.items() if name != "algorithm"}
    y_shape = fc.conv_transpose2d_output_shape(x_shape, weight_shape, **how)
    terms = max(np.prod(x_shape), np.prod(weight_shape), np.prod(y_shape))
    shapes = x_shape, weight_shape, (y_shape[3],), y_shape
    x, weight, bias, grad_y = (exact_integers(rng, shape, terms, dtype) for shape in shapes)
    if layout == "NCHW":
        x, grad_y = (np.ascontiguousarray(oracle.from_nhwc(image, layout)) for image in (x, grad_y))
        weight = np.ascontiguousarray(oracle.from_rsck(weight, layout))
    return x, weight, bias, grad_y


@pytest.mark.parametrize("case", GRID + NAMED, ids=str)
def test_formula(case, isa, layout, dtype):
    """Forward and gradients to the last bit, with an output that holds NaN before."""
    x, weight, bias, grad_y = arrays_of(case, dtype, layout)
    how = case[2] | {"layout": layout}
    plain = {name: value for name, value in how.items() if name != "algorithm"}
    truth = oracle.conv_transpose2d(x, weight, bias, activation="relu", **plain)
    out = poisoned(truth.shape, dtype)
    got = fc.conv_transpose2d(x, weight, bias, activation="relu", out=out, **how)
    if "algorithm" in how:
        np.testing.assert_allclose(got, truth, rtol=1e-4, atol=1e-5 * abs(truth).max())
        return
    assert got is out
    assert_exact(got, truth)
    gradients = fc.conv_transpose2d_backward(grad_y, x, weight, **how)
    assert type(gradients) is fc.ConvTranspose2dGradients and gradients._fields == ("x", "weight", "bias")
    true_x, true_weight = true_gradients(grad_y, x, weight, how)
    assert_exact(gradients.x, true_x)
    assert_exact(gradients.weight, true_weight)
    assert_exact(gradients.bias, oracle.conv2d_backward_bias(grad_y, layout=layout))


def true_gradients(grad_y, x, weight, how):
    """The convolution of grad_y, and the gradient of that convolution's weights; cut to the size of x, which a large
    output padding lets it pass."""
    how = {name: value for name, value in how.items() if name != "output_padding"}
    if how.get("padding") in ("same", "same_lower"):
        grad_x = oracle.conv2d(grad_y, weight, **how)
        return grad_x, oracle.conv2d_backward_weight(x, grad_y, weight.shape, **how)
    grad_x = oracle.conv2d(grad_y, weight, **how)
    cut = tuple(slice(length) for length in x.shape)
    wide = np.zeros(grad_x.shape, x.dtype)
    wide[cut] = x
    return grad_x[cut], oracle.conv2d_backward_weight(wide, grad_y, weight.shape, **how)


@pytest.mark.parametrize("case", GRID, ids=str)
def test_pytorch_agrees(case):
    torch = pytest.importorskip("torch")
    x_shape, weight_shape, how = case
    rng = np.random.default_rng(7)
    y_shape = fc.conv_transpose2d_output_shape(x_shape, weight_shape, **how)
    x, weight, grad_y = (rng.standard_normal(shape) for shape in (x_shape, weight_shape, y_shape))
    bias = rng.standard_normal(y_shape[3])
    tensors = [torch.tensor(array.copy()) for array in (oracle.from_nhwc(x, "NCHW"), oracle.from_rsck(weight, "NCHW"))]
    tensors = [tensor.requires_grad_() for tensor in (*tensors, torch.tensor(bias))]
    geometry = {name: how[name] for name in ("stride", "dilation", "groups")}
    # without padding: PyTorch's is symmetric and cuts the same pixels off
    full = torch.conv_transpose2d(*tensors[:2], None, output_padding=how["output_padding"], **geometry)
    (top, _), (left, _) = sides_of(how, x_shape, weight_shape)
    shape = slice(None), slice(None), slice(top, top + y_shape[1]), slice(left, left + y_shape[2])
    theirs = full[shape] + tensors[2][:, None, None]
    theirs.backward(torch.tensor(oracle.from_nhwc(grad_y, "NCHW")))
    ours = fc.conv_transpose2d(x, weight, bias, **how)
    gradients = fc.conv_transpose2d_backward(grad_y, x, weight, **how)
    for mine, other in (
        (oracle.from_nhwc(ours, "NCHW"), theirs.detach()),
        (oracle.from_nhwc(gradients.x, "NCHW"), tensors[0].grad),
        (oracle.from_rsck(gradients.weight, "NCHW"), tensors[1].grad),
        (gradients.bias, tensors[2].grad),
    ):
        assert np.linalg.norm(mine - other.numpy()) <= 1e-12 * np.linalg.norm(other.numpy())


def sides_of(how, x_shape, weight_shape):
    if how["padding"] == "valid":
        return (0, 0), (0, 0)
    if not isinstance(how["padding"], str):
        return how["padding"]
    axes = zip(how["dilation"], weight_shape[:2], how["stride"], strict=True)
    totals = [d * (r - 1) + 1 - s for d, r, s in axes]
    before = [total // 2 if how["padding"] == "same" else total - total // 2 for total in totals]
    return tuple((first, total - first) for first, total in zip(before, totals, strict=True))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("with_bias", [True, False])
def test_pixels_that_no_tap_reaches_get_bias_and_activation(activation, with_bias, isa, layout, dtype):
    rng = np.random.default_rng(3)
    x, weight = rng.standard_normal((2, 3, 2, 5)).astype(dtype), rng.standard_normal((1, 2, 3, 5)).astype(dtype)
    bias = rng.standard_normal(3).astype(dtype) if with_bias else None
    if layout == "NCHW":
        x, weight = oracle.from_nhwc(x, layout), oracle.from_rsck(weight, layout)
    how = {"stride": (3, 4), "activation": activation, "layout": layout}
    got = fc.conv_transpose2d(x, weight, bias, **how)
    truth = oracle.conv_transpose2d(x, weight, bias, **how)
    np.testing.assert_allclose(got, truth, rtol=1e-5 if dtype == np.float32 else 1e-13, atol=1e-6)


@pytest.mark.parametrize("case", [*NAMED, ((3, 9, 8, 130), (4, 4, 70, 130), {"stride": 2, "padding": 1})], ids=str)
def test_bits_depend_on_neither_threads_nor_batch(case, isa, layout):
    x_shape, weight_shape, how = case
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((2, *x_shape[1:])), rng.standard_normal(weight_shape)
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    if layout == "NCHW":
        x, weight = oracle.from_nhwc(x, layout), oracle.from_rsck(weight, layout)
    results = []
    for threads in (1, 2, 3):
        with fc.threads(threads):
            results.append(fc.conv_transpose2d(x, weight, layout=layout, **how))
    assert all(same_bits(result, results[0]) for result in results[1:])
    assert same_bits(fc.conv_transpose2d(x[1], weight, layout=layout, **how), results[0][1])


def test_it_is_the_gradient_of_the_input(isa, layout, dtype):
    rng = np.random.default_rng(2)
    x_shape, weight_shape = ((2, 9, 8, 7), (3, 4, 7, 6)) if layout == "NHWC" else ((2, 7, 9, 8), (6, 7, 3, 4))
    how = {"stride": 2, "padding": 1, "layout": layout}
    weight = rng.standard_normal(weight_shape).astype(dtype)
    grad_y = rng.standard_normal(fc.conv2d_output_shape(x_shape, weight_shape, **how)).astype(dtype)
    expected = fc.conv2d_backward_input(grad_y, weight, x_shape, **how)
    assert same_bits(fc.conv_transpose2d(grad_y, weight, output_padding=(0, 0), **how), expected)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.float16])
def test_images_of_other_types(kind, layout):
    rng = np.random.default_rng(4)
    x = rng.integers(0, 100, (2, 5, 5, 3)).astype(kind)
    weight, grad_y = rng.standard_normal((3, 3, 2, 3)).astype(np.float32), np.ones((2, 11, 11, 2), np.float32)
    if layout == "NCHW":
        x, grad_y, weight = *(oracle.from_nhwc(a, layout) for a in (x, grad_y)), oracle.from_rsck(weight, layout)
    how = {"stride": 2, "layout": layout}
    as_floats = x.astype(np.float32)
    assert same_bits(fc.conv_transpose2d(x, weight, **how), fc.conv_transpose2d(as_floats, weight, **how))
    ours = fc.conv_transpose2d_backward_weight(grad_y, x, weight.shape, **how)
    assert same_bits(ours, fc.conv_transpose2d_backward_weight(grad_y, as_floats, weight.shape, **how))


def test_packed_weights(isa, layout):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 4, 4, 40)).astype(np.float32)
    weight = rng.standard_normal((4, 4, 33, 40)).astype(np.float32)
    if layout == "NCHW":
        x, weight = oracle.from_nhwc(x, layout).copy(), oracle.from_rsck(weight, layout).copy()
    how = {"stride": 2, "padding": 1, "layout": layout}
    packed = fc.pack_weights(weight, x.shape, operation="conv_transpose2d", **how)
    assert same_bits(fc.conv_transpose2d(x, packed, **how), fc.conv_transpose2d(x, weight, **how))
    with pytest.raises(ValueError, match="padding"):
        fc.conv_transpose2d(x, packed, stride=2, layout=layout)


def test_an_empty_batch():
    x, weight = np.zeros((0, 4, 4, 3), np.float32), np.ones((3, 3, 2, 3), np.float32)
    y = fc.conv_transpose2d(x, weight, stride=2)
    assert y.shape == (0, 9, 9, 2)
    gradients = fc.conv_transpose2d_backward(y, x, weight, stride=2)
    assert gradients.x.shape == x.shape and not gradients.weight.any() and not gradients.bias.any()


X, W = np.ones((2, 5, 6, 4), np.float32), np.ones((3, 3, 2, 4), np.float32)
WRONG = {
    "channels": (lambda: fc.conv_transpose2d(X, W[..., :3]), ValueError, r"4 channels.*\(3, 3, 2, 3\).*made for 3"),
    "layout": (lambda: fc.conv_transpose2d(X, W, layout="NCHW"), ValueError, 'layout="NHWC"'),
    "output_padding": (lambda: fc.conv_transpose2d(X, W, output_padding=1), ValueError, "output_padding=1"),
    "one axis": (lambda: fc.conv_transpose2d(X, W, stride=(1, 2), output_padding=1), ValueError, "output_padding=1"),
    "negative": (lambda: fc.conv_transpose2d(X, W, output_padding=-1), ValueError, "output_padding"),
    "three": (lambda: fc.conv_transpose2d(X, W, output_padding=(0, 0, 0)), ValueError, "output_padding needs"),
    "float": (lambda: fc.conv_transpose2d(X, W, output_padding=0.0), TypeError, "output_padding"),
    "same and more": (
        lambda: fc.conv_transpose2d(X, W, stride=2, padding="same", output_padding=1),
        ValueError,
        "output_padding",
    ),
    "short kernel": (lambda: fc.conv_transpose2d(X, W, stride=4, padding="same"), ValueError, "kernel"),
    "cropped away": (lambda: fc.conv_transpose2d(X, W, padding=4), ValueError, "padding takes more"),
    "negative padding": (lambda: fc.conv_transpose2d(X, W, padding=-1), ValueError, "padding"),
    "groups": (lambda: fc.conv_transpose2d(X, W, groups=3), ValueError, "groups"),
    "bias": (lambda: fc.conv_transpose2d(X, W, np.ones(4, np.float32)), ValueError, r"2 filters"),
    "rank": (lambda: fc.conv_transpose2d(X[0, 0], W), ValueError, "x has shape"),
    "overlap": (lambda: fc.conv_transpose2d(X, W[:1, :1, :1].repeat(4, 2), out=X), ValueError, "shares memory"),
    "out": (lambda: fc.conv_transpose2d(X, W, out=X), ValueError, r"\(2, 7, 8, 2\)"),
    "grad_y": (lambda: fc.conv_transpose2d_backward(X, X, W), ValueError, r"\(2, 7, 8, 2\)"),
    "huge": (lambda: fc.conv_transpose2d(X, W, stride=2**62), ValueError, "63 bits"),
    "huge kernel": (lambda: fc.conv_transpose2d(X, W, dilation=2**62), ValueError, "63 bits"),
    "algorithm": (lambda: fc.conv_transpose2d(X, W, stride=2, algorithm="winograd"), ValueError, "stride 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors(case):
    call, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        call()
