# SPDX-License-Identifier: BSD-3-Clause
"""The gradients are gradients: of the function that conv2d computes, however that came about.

test_exact.py compares them with formulas; here they are compared with conv2d itself, by central
differences and by the adjoint identity, so that a shared misreading of the formulas shows too.
"""

import numpy as np
import oracle
import problems
import pytest
from compare import same_bits
from gradients import central_differences

import fastconv as fc

SMALL = [
    "c2 h4 w5 k3 r3x3 p1",
    "n2 c1 h5 k2 r2x2 s2",
    "c2 h5 w4 k2 r3x2 s2x1 p0:1x2:0",
    "c2 h6 k2 r2x2 p1 d2x3",
    "c4 h4 k6 r3x3 psame g2",
    "c3 h4 k3 r3x3 s2 psame_lower g3",
    "c3 h3 w4 k5 r1x1",
    "c2 h2 k2 r3x3 p3",
]

VARIED = problems.load(
    "conv_pointwise",
    "conv_small_spatial",
    "conv_padding",
    "conv_strided",
    "conv_dilated",
    "conv_grouped",
)


STEP = 1e-3  # a convolution is linear in each argument: the quotient is exact but for rounding, whatever the step


@pytest.mark.parametrize("text", SMALL)
def test_central_differences(text, isa, layout):
    problem = problems.parse(text)
    data = problems.random_conv_data(problem, np.float64, layout)
    geometry = problem.geometry | {"layout": layout}

    def loss():
        return np.vdot(fc.conv2d(data.x, data.weight, data.bias, **geometry), data.grad_y)

    gradients = fc.conv2d_backward(data.grad_y, data.x, data.weight, **geometry)
    for gradient, array in zip(gradients, (data.x, data.weight, data.bias), strict=True):
        numerical = central_differences(loss, array, STEP)
        np.testing.assert_allclose(gradient, numerical, rtol=1e-6, atol=1e-9)


def test_central_differences_of_linear(isa):
    rng = np.random.default_rng(6)
    x, weight, bias, grad_y = (rng.standard_normal(s) for s in ((3, 5), (5, 4), 4, (3, 4)))
    gradients = fc.linear_backward(grad_y, x, weight)
    for gradient, array in zip(gradients, (x, weight, bias), strict=True):
        numerical = central_differences(lambda: np.vdot(fc.linear(x, weight, bias), grad_y), array, STEP)
        np.testing.assert_allclose(gradient, numerical, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("problem", VARIED, ids=str)
def test_adjoint_identity(problem, isa, layout):
    """<conv(x, w), g> = <x, conv_backward_input(g, w)> = <w, conv_backward_weight(g, x)>."""
    data = problems.random_conv_data(problem, np.float64, layout)
    geometry = problem.geometry | {"layout": layout}
    y = fc.conv2d(data.x, data.weight, **geometry)
    gradients = fc.conv2d_backward(data.grad_y, data.x, data.weight, **geometry)
    forward = np.vdot(y, data.grad_y)
    tolerance = 1e-13 * np.linalg.norm(y) * np.linalg.norm(data.grad_y)
    assert abs(forward - np.vdot(data.x, gradients.x)) <= tolerance
    assert abs(forward - np.vdot(data.weight, gradients.weight)) <= tolerance


def test_all_three_in_one_call_are_the_three_calls(isa, layout, dtype):
    problem = problems.parse("n3 c7 h9 w8 k10 r3x3 s2x1 p1")
    data = problems.random_conv_data(problem, dtype, layout)
    geometry = problem.geometry | {"layout": layout}
    gradients = fc.conv2d_backward(data.grad_y, data.x, data.weight, **geometry)
    assert type(gradients).__name__ == "Conv2dGradients"
    assert gradients._fields == ("x", "weight", "bias")
    grad_x = fc.conv2d_backward_input(data.grad_y, data.weight, data.x.shape, **geometry)
    assert same_bits(gradients.x, grad_x)
    grad_weight = fc.conv2d_backward_weight(data.grad_y, data.x, data.weight.shape, **geometry)
    assert same_bits(gradients.weight, grad_weight)
    assert gradients.bias.shape == (problem.k,) and gradients.bias.dtype == dtype


def test_shapes_are_needed_where_the_stride_leaves_them_open():
    """Images of 7 and of 8 pixels give 3 outputs: the gradient has the size it was asked for."""
    weight = np.ones((3, 3, 1, 1), np.float32)
    grad_y = np.ones((1, 3, 3, 1), np.float32)
    for size in (7, 8):
        grad_x = fc.conv2d_backward_input(grad_y, weight, (1, size, size, 1), stride=2)
        truth = oracle.conv2d_backward_input(grad_y, weight, (1, size, size, 1), stride=2)
        np.testing.assert_array_equal(grad_x, truth)
    assert not grad_x[0, 7].any() and grad_x[0, 6].any()


def test_shapes_may_be_lists_and_numpy_integers():
    weight, grad_y = np.ones((3, 3, 1, 2), np.float32), np.ones((1, 3, 3, 2), np.float32)
    x = np.ones((1, 5, 5, 1), np.float32)
    for shape in ([1, 5, 5, 1], (np.int32(1), 5, np.uint8(5), 1)):
        assert fc.conv2d_backward_input(grad_y, weight, shape).shape == (1, 5, 5, 1)
    for shape in ([3, 3, 1, 2], (np.int64(3), 3, 1, 2)):
        assert fc.conv2d_backward_weight(grad_y, x, shape).shape == (3, 3, 1, 2)
