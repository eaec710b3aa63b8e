# SPDX-License-Identifier: BSD-3-Clause
"""Borders by NumPy's rules, convolutions with them, and windows as matrices."""

import numpy as np
import pytest
from compare import same_bits
from gradients import assert_close, central_differences

import fastconv as fc

MODES = ["constant", "reflect", "symmetric", "edge", "wrap"]
SIDES = [((1, 2), (0, 3)), ((9, 7), (8, 11)), ((0, 0), (2, 2)), ((0, 0), (0, 0))]  # the second: more than the image
REFLECTING = MODES[1:]


def in_layout(x, layout):
    """NHWC images in a layout."""
    return x if layout == "NHWC" else np.moveaxis(x, -1, -3).copy()


def padded(x, sides, mode, layout):
    """The truth: np.pad itself."""
    around = ((0, 0),) * (x.ndim - 3)
    return np.pad(x, (*around, *sides, (0, 0)) if layout == "NHWC" else (*around, (0, 0), *sides), mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(2, 4, 3, 2), (4, 3, 2), (2, 1, 1, 3), (0, 4, 3, 2)], ids=str)
def test_pad2d_is_that_of_numpy(mode, shape, layout):
    x = in_layout(np.random.default_rng(0).standard_normal(shape), layout)
    for sides in SIDES:
        y = fc.pad2d(x, sides, mode=mode, layout=layout)
        assert same_bits(y, padded(x, sides, mode, layout))
        out = np.full((*y.shape, 2), np.nan)[..., 0]
        assert fc.pad2d(x, sides, mode=mode, layout=layout, out=out) is out and np.array_equal(out, y)
        assert not np.shares_memory(y, x)
    numbers = fc.pad2d((100 * x).astype(np.uint8), (2, 1), mode=mode, layout=layout)
    assert same_bits(numbers, padded((100 * x).astype(np.uint8), ((2, 2), (1, 1)), mode, layout))


@pytest.mark.parametrize("mode", MODES)
def test_pad2d_backward_is_its_transpose(mode, layout):
    rng = np.random.default_rng(1)
    x = in_layout(rng.standard_normal((2, 4, 3, 2)), layout)
    for sides in SIDES:
        grad_y = rng.standard_normal(fc.pad2d(x, sides, mode=mode, layout=layout).shape)
        kept = grad_y.copy()
        grad_x = fc.pad2d_backward(grad_y, x.shape, sides, mode=mode, layout=layout)
        forward = np.vdot(padded(x, sides, mode, layout), grad_y)
        assert abs(forward - np.vdot(x, grad_x)) <= 1e-12 * np.linalg.norm(grad_y) * np.linalg.norm(x)
        out = np.full(x.shape, np.nan)
        assert fc.pad2d_backward(grad_y, x.shape, sides, mode=mode, layout=layout, out=out) is out
        assert same_bits(out, grad_x) and same_bits(grad_y, kept)


def test_sequences():
    x = np.random.default_rng(2).standard_normal((2, 5, 3))
    for mode in MODES:
        y = fc.pad1d(x, ((7, 2),), mode=mode)
        assert same_bits(y, np.pad(x, ((0, 0), (7, 2), (0, 0)), mode))
        assert same_bits(fc.pad1d(x.transpose(0, 2, 1), ((7, 2),), mode=mode, layout="NCW"), y.transpose(0, 2, 1))
        assert fc.pad1d_backward(y, x.shape, ((7, 2),), mode=mode).shape == x.shape
    causal = fc.conv1d(x, np.ones((3, 3, 2)), padding="causal", padding_mode="edge")
    assert same_bits(causal, fc.conv1d(fc.pad1d(x, ((2, 0),), mode="edge"), np.ones((3, 3, 2))))


CONVOLUTIONS = [
    {"padding": 1},
    {"padding": (2, 0), "stride": (2, 1)},
    {"padding": ((7, 9), (0, 1)), "groups": 2},
    {"padding": "same", "stride": 2, "dilation": (2, 1)},
    {"padding": "same_lower", "stride": (1, 2)},
    {"padding": "valid"},
]


@pytest.mark.parametrize("mode", REFLECTING)
@pytest.mark.parametrize("how", CONVOLUTIONS, ids=str)
def test_convolutions_with_such_a_border(mode, how, layout):
    """Those of images that have it already; gradients by central differences."""
    rng = np.random.default_rng(3)
    x, weight = rng.standard_normal((2, 5, 6, 4)), rng.standard_normal((3, 2, 4 // how.get("groups", 1), 2))
    if layout == "NCHW":
        x, weight = in_layout(x, layout), weight.transpose(3, 2, 0, 1).copy()
    bias, how = rng.standard_normal(2), how | {"layout": layout, "padding_mode": mode}
    y = fc.conv2d(x, weight, bias, activation="tanh", **how)
    plain = {name: value for name, value in how.items() if name != "padding_mode"}
    assert y.shape == fc.conv2d_output_shape(x.shape, weight.shape, **plain)
    sides = {"padding": ((1, 1), (1, 1))} if how["padding"] == 1 else {}
    if sides:
        expected = fc.conv2d(padded(x, sides["padding"], mode, layout), weight, bias, activation="tanh", layout=layout)
        assert same_bits(y, expected)
    grad_y = rng.standard_normal(y.shape)
    gradients = fc.conv2d_backward(grad_y, x, weight, **how)

    def loss():
        return float(np.vdot(fc.conv2d(x, weight, bias, **how), grad_y))

    assert_close(gradients.x, central_differences(loss, x), "gradient of x")
    assert_close(gradients.weight, central_differences(loss, weight), "gradient of the weights")
    assert_close(gradients.bias, central_differences(loss, bias), "gradient of the bias")
    for function, arguments, expected in (
        (fc.conv2d_backward_input, (grad_y, weight, x.shape), gradients.x),
        (fc.conv2d_backward_weight, (grad_y, x, weight.shape), gradients.weight),
    ):
        out = np.full(expected.shape, np.nan)
        assert function(*arguments, out=out, **how) is out and same_bits(out, expected)


@pytest.mark.parametrize("mode", REFLECTING)
def test_volumes_with_such_a_border(mode, layout):
    """Convolved, they are volumes that np.pad has given it; gradients, by the transpose of the map."""
    rng = np.random.default_rng(6)
    sides = ((1, 2), (0, 3), (2, 1))
    x, weight = rng.standard_normal((2, 3, 4, 5, 4)), rng.standard_normal((2, 3, 2, 2, 4))
    wide = np.pad(x, ((0, 0), *sides, (0, 0)), mode)
    how = {"stride": (1, 2, 1), "groups": 2, "layout": layout}
    if layout == "NCHW":
        x, wide, weight = np.moveaxis(x, -1, 1).copy(), np.moveaxis(wide, -1, 1), weight.transpose(4, 3, 0, 1, 2)
    expected = fc.conv3d(wide, weight, **how)
    how |= {"padding": sides, "padding_mode": mode}
    y = fc.conv3d(x, weight, **how)
    assert same_bits(y, expected)
    grad_y = rng.standard_normal(y.shape)
    gradients = fc.conv3d_backward(grad_y, x, weight, **how)
    assert_close(gradients.bias, grad_y.sum((0, 1, 2, 3) if layout == "NHWC" else (0, 2, 3, 4)), "gradient of the bias")
    dx, dweight = rng.standard_normal(x.shape), rng.standard_normal(weight.shape)
    for gradient, change, changed in (
        (gradients.x, dx, fc.conv3d(dx, weight, **how)),
        (gradients.weight, dweight, fc.conv3d(x, dweight, **how)),
    ):
        assert abs(np.vdot(gradient, change) - np.vdot(grad_y, changed)) <= 1e-12 * np.linalg.norm(grad_y) * 30
    for function, arguments, of in (
        (fc.conv3d_backward_input, (grad_y, weight, x.shape), gradients.x),
        (fc.conv3d_backward_weight, (grad_y, x, weight.shape), gradients.weight),
    ):
        out = np.full(of.shape, np.nan)
        assert function(*arguments, out=out, **how) is out and same_bits(out, of)
    with pytest.raises(ValueError, match="padding_mode"):
        fc.conv3d(x, weight, **how | {"padding_mode": "zeros"})


def test_pytorch_agrees():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    x, weight = rng.standard_normal((2, 6, 7, 3)), rng.standard_normal((3, 3, 3, 4))
    for ours, theirs in (("reflect", "reflect"), ("edge", "replicate"), ("wrap", "circular")):
        wide = torch.nn.functional.pad(torch.tensor(in_layout(x, "NCHW")), (2, 1, 1, 2), mode=theirs)
        expected = torch.conv2d(wide, torch.tensor(weight.transpose(3, 2, 0, 1).copy())).numpy().transpose(0, 2, 3, 1)
        got = fc.conv2d(x, weight, padding=((1, 2), (2, 1)), padding_mode=ours)
        assert np.linalg.norm(got - expected) <= 1e-12 * np.linalg.norm(expected)


@pytest.mark.parametrize("padding", [0, (1, 2), "same", ((0, 3), (1, 0))], ids=str)
@pytest.mark.parametrize("stride, dilation", [(1, 1), ((2, 3), (1, 2))])
def test_windows_are_convolutions(padding, stride, dilation, layout, dtype):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 7, 8, 3)).astype(dtype)
    weight = rng.standard_normal((3, 2, 3, 4)).astype(dtype)
    how = {"stride": stride, "padding": padding, "dilation": dilation, "layout": layout}
    if layout == "NCHW":
        x, weight = in_layout(x, layout), weight.transpose(3, 2, 0, 1).copy()
    windows = fc.im2col(x, (3, 2), **how)
    assert not windows.flags.writeable and np.shares_memory(windows, x) == (padding == 0)
    y = fc.conv2d(x, weight, **how)
    if layout == "NHWC":
        product = windows.reshape(-1, 18) @ weight.reshape(18, 4)
        grad_windows = (y.reshape(-1, 4) @ weight.reshape(18, 4).T).reshape(windows.shape)
    else:
        product = weight.reshape(4, 18) @ windows.reshape(2, 18, -1)
        grad_windows = (weight.reshape(4, 18).T @ y.reshape(2, 4, -1)).reshape(windows.shape)
    accurate = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(product.reshape(y.shape), y, **accurate)
    grad_x = fc.col2im(grad_windows, x.shape, (3, 2), **how)
    np.testing.assert_allclose(grad_x, fc.conv2d_backward_input(y, weight, x.shape, **how), **accurate)
    assert same_bits(fc.im2col(x[1], (3, 2), **how), np.ascontiguousarray(windows[1]))


X, W = np.ones((2, 5, 6, 4), np.float32), np.ones((3, 3, 4, 2), np.float32)
WRONG = {
    "mode": (lambda: fc.conv2d(X, W, padding=1, padding_mode="zeros"), ValueError, "padding_mode 'zeros'.*'edge'"),
    "no text": (lambda: fc.conv2d(X, W, padding=1, padding_mode=None), TypeError, "padding_mode"),
    "mode of pad2d": (lambda: fc.pad2d(X, 1, mode="mean"), ValueError, "mode 'mean'"),
    "list": (lambda: fc.conv2d(X.tolist(), W, padding=1, padding_mode="edge"), TypeError, "x must be a numpy array"),
    "complex": (lambda: fc.conv2d(X + 0j, W, padding=1, padding_mode="edge"), TypeError, "complex"),
    "channels": (lambda: fc.conv2d(X, W[:, :, :3], padding=1, padding_mode="edge"), ValueError, "4 channels"),
    "negative": (lambda: fc.conv2d(X, W, padding=-1, padding_mode="edge"), ValueError, "negative"),
    "overlap": (lambda: fc.conv2d(X, W[:, :, :, [0] * 4], padding=1, padding_mode="edge", out=X), ValueError, "memory"),
    "negative pad2d": (lambda: fc.pad2d(X, (1, -1)), ValueError, "negative"),
    "named": (lambda: fc.pad2d(X, "same"), TypeError, "padding"),
    "rank": (lambda: fc.pad2d(X[0, 0], 1), ValueError, r"\(6, 4\)"),
    "out": (lambda: fc.pad2d(X, 1, out=X), ValueError, r"\(2, 7, 8, 4\)"),
    "pad2d overlap": (lambda: fc.pad2d(X, 0, out=X), ValueError, "memory"),
    "grad_y": (lambda: fc.pad2d_backward(X, X.shape, 1), ValueError, r"\(2, 7, 8, 4\)"),
    "windows": (lambda: fc.col2im(X, X.shape, 3), ValueError, r"\(2, 3, 4, 3, 3, 4\)"),
    "kernel": (lambda: fc.im2col(X, 0), ValueError, "at least 1"),
    "large kernel": (lambda: fc.im2col(X, 7), ValueError, "larger"),
    "float kernel": (lambda: fc.im2col(X, 2.0), TypeError, "integer"),
    "layout": (lambda: fc.im2col(X, 2, layout="HWCN"), ValueError, "layout"),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors(case):
    call, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        call()
