# SPDX-License-Identifier: BSD-3-Clause
"""The truths of oracle.py against loops without tricks, and against PyTorch where it is there."""

import numpy as np
import oracle
import problems
import pytest

CONV = problems.load("conv_small_spatial", "conv_padding", "conv_strided", "conv_dilated")
CONV += problems.load("conv_grouped")
POOL = problems.load("pool")
POOL_MAX = POOL + problems.load("pool_dilated")


def conv2d_by_scalars(x, weight, stride, padding, dilation, groups):
    """One multiplication at a time, NHWC, on an image with its border written out."""
    borders = oracle.border(padding, x.shape[1:3], weight.shape[:2], stride, dilation)
    x = np.pad(x, ((0, 0), *borders, (0, 0)))
    r_count, s_count, c_count, k_count = weight.shape
    p_count = (x.shape[1] - dilation[0] * (r_count - 1) - 1) // stride[0] + 1
    q_count = (x.shape[2] - dilation[1] * (s_count - 1) - 1) // stride[1] + 1
    y = np.zeros((len(x), p_count, q_count, k_count))
    for n, p, q, k in np.ndindex(y.shape):
        first_channel = k // (k_count // groups) * c_count
        for r, s, c in np.ndindex(r_count, s_count, c_count):
            h, w = p * stride[0] + r * dilation[0], q * stride[1] + s * dilation[1]
            y[n, p, q, k] += x[n, h, w, first_channel + c] * weight[r, s, c, k]
    return y


@pytest.mark.parametrize(
    "problem",
    [
        problems.parse("n2 c4 h4 w5 k6 r3x2 s2x1 p1:0x0:2 d1x2 g2"),
        problems.parse("c2 h3 w4 k2 r2x3 s2 psame g2"),
        problems.parse("c1 h1 k1 r3x3 p1"),
    ],
    ids=str,
)
def test_convolution_is_the_sum_of_its_products(problem):
    data = problems.exact_conv_data(problem, np.float64)
    y = oracle.conv2d(data.x, data.weight, **problem.geometry)
    np.testing.assert_array_equal(y, conv2d_by_scalars(data.x, data.weight, **problem.geometry))


@pytest.mark.parametrize("problem", CONV, ids=str)
def test_gradients_are_adjoint(problem):
    """<conv(x, w), g> = <x, conv'(g, w)> = <w, conv''(g, x)>, exactly on whole numbers."""
    rng = problems.rng_for(problem)
    x, weight, grad_y = (
        rng.integers(-9, 9, size=shape)
        for shape in (
            problem.x_shape("NHWC"),
            problem.weight_shape("NHWC"),
            problem.y_shape("NHWC"),
        )
    )
    forward = np.vdot(oracle.conv2d(x, weight, **problem.geometry), grad_y)
    grad_x = oracle.conv2d_backward_input(grad_y, weight, x.shape, **problem.geometry)
    grad_weight = oracle.conv2d_backward_weight(grad_y, x, weight.shape, **problem.geometry)
    assert forward == np.vdot(x, grad_x) == np.vdot(weight, grad_weight)


def torch_and_padded(torch, x, borders, fill=0.0):
    """The image as a tensor with its border written out: PyTorch pads both sides alike."""
    (top, bottom), (left, right) = borders
    return torch.nn.functional.pad(torch.from_numpy(x), (left, right, top, bottom), value=fill)


@pytest.mark.parametrize("problem", CONV, ids=str)
def test_convolution_agrees_with_pytorch(problem):
    torch = pytest.importorskip("torch")
    data = problems.random_conv_data(problem, np.float64, "NCHW")
    borders = oracle.border(problem.padding, (problem.h, problem.w), problem.kernel, problem.stride, problem.dilation)
    x = torch.from_numpy(data.x).requires_grad_()
    weight = torch.from_numpy(data.weight).requires_grad_()
    bias = torch.from_numpy(data.bias).requires_grad_()
    (top, bottom), (left, right) = borders
    y = torch.nn.functional.conv2d(
        torch.nn.functional.pad(x, (left, right, top, bottom)),
        weight,
        bias,
        problem.stride,
        0,
        problem.dilation,
        problem.groups,
    )
    y.backward(torch.from_numpy(data.grad_y))
    geometry = problem.geometry | {"layout": "NCHW"}
    close = {"rtol": 1e-12, "atol": 1e-12}
    ours = oracle.conv2d(data.x, data.weight, data.bias, **geometry)
    np.testing.assert_allclose(ours, y.detach().numpy(), **close)
    ours = oracle.conv2d_backward_input(data.grad_y, data.weight, data.x.shape, **geometry)
    np.testing.assert_allclose(ours, x.grad.numpy(), **close)
    ours = oracle.conv2d_backward_weight(data.grad_y, data.x, data.weight.shape, **geometry)
    np.testing.assert_allclose(ours, weight.grad.numpy(), **close)
    ours = oracle.conv2d_backward_bias(data.grad_y, layout="NCHW")
    np.testing.assert_allclose(ours, bias.grad.numpy(), **close)


def has_even_padding(problem):
    """PyTorch pools with the same padding on both sides, of at most half the window."""
    if isinstance(problem.padding, str):
        return problem.padding == "valid"
    axes = zip(problem.padding, problem.kernel, strict=True)
    return all(before == after <= kernel // 2 for (before, after), kernel in axes)


def torch_window(problem):
    borders = oracle.border(problem.padding, (problem.h, problem.w), problem.kernel, problem.stride, problem.dilation)
    return problem.kernel, problem.stride, tuple(before for before, _ in borders)


@pytest.mark.parametrize("problem", [p for p in POOL_MAX if has_even_padding(p)], ids=str)
def test_maxima_agree_with_pytorch(problem):
    torch = pytest.importorskip("torch")
    x = problems.rng_for(problem).integers(-4, 4, size=problem.x_shape("NCHW")).astype(np.float64)
    x[problems.rng_for(problem).random(x.shape) < 0.05] = np.nan
    tensor = torch.from_numpy(x).requires_grad_()
    theirs, their_indices = torch.nn.functional.max_pool2d(
        tensor, *torch_window(problem), problem.dilation, problem.ceil_mode, return_indices=True
    )
    y, indices = oracle.max_pool2d(x, **problem.window, layout="NCHW")
    np.testing.assert_array_equal(y, theirs.detach().numpy())
    settled = ~np.isnan(y)  # of several NaNs PyTorch reports the last, we the first
    np.testing.assert_array_equal(indices[settled], their_indices.numpy()[settled])
    grad_y = problems.rng_for(problem).standard_normal(y.shape)
    theirs.backward(torch.from_numpy(grad_y))
    ours = oracle.max_pool2d_backward(grad_y, their_indices.numpy(), x.shape, layout="NCHW")
    np.testing.assert_allclose(ours, tensor.grad.numpy(), rtol=1e-13)


@pytest.mark.parametrize("divisor", [None, 5])
@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("problem", [p for p in POOL if has_even_padding(p)], ids=str)
def test_averages_agree_with_pytorch(problem, count_include_pad, divisor):
    torch = pytest.importorskip("torch")
    x = problems.rng_for(problem).standard_normal(problem.x_shape("NCHW"))
    tensor = torch.from_numpy(x).requires_grad_()
    theirs = torch.nn.functional.avg_pool2d(
        tensor, *torch_window(problem), problem.ceil_mode, count_include_pad, divisor
    )
    keywords = {"count_include_pad": count_include_pad, "divisor_override": divisor}
    keywords |= problem.window_of_average | {"layout": "NCHW"}
    y = oracle.avg_pool2d(x, **keywords)
    np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=1e-12, atol=1e-13)
    grad_y = problems.rng_for(problem).standard_normal(y.shape)
    theirs.backward(torch.from_numpy(grad_y))
    ours = oracle.avg_pool2d_backward(grad_y, x.shape, **keywords)
    np.testing.assert_allclose(ours, tensor.grad.numpy(), rtol=1e-12, atol=1e-13)


def test_activations_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    y = np.linspace(-50, 50, 1001)
    for name, function in oracle.ACTIVATIONS.items():
        theirs = getattr(torch.nn.functional, name)(torch.from_numpy(y)).numpy() if name else y
        np.testing.assert_allclose(function(y), theirs, rtol=1e-14)


def test_same_padding_by_hand():
    assert oracle.border("same", (8, 7), (3, 3), (2, 2), (1, 1)) == ((0, 1), (1, 1))
    assert oracle.border("same_lower", (8, 7), (3, 3), (2, 2), (1, 1)) == ((1, 0), (1, 1))
    assert oracle.border("same", (5, 5), (2, 4), (1, 1), (1, 1)) == ((0, 1), (1, 2))
    assert oracle.border("same", (9, 9), (2, 2), (3, 3), (1, 1)) == ((0, 0), (0, 0))
    assert oracle.output_size((9, 8), (2, 2), 3, "same") == (3, 3)
