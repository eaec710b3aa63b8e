# SPDX-License-Identifier: BSD-3-Clause
"""Every operation on every problem of shapes/, on whole numbers whose sums are exact.

Where no sum can round, the order of the terms does not matter and a right kernel is right to the
last bit; one term too many, too few or in the wrong place is not. Results go into arrays full of
NaN, so that an element nobody wrote is seen.
"""

import functools

import numpy as np
import oracle
import problems
import pytest
from compare import assert_exact, poisoned

import fastconv as fc

LAYOUTS = ("NHWC", "NCHW")
CONV = problems.load("conv_*")
NETWORKS = problems.load("conv_networks")
POOL = problems.load("pool")
POOL_MAX = POOL + problems.load("pool_dilated")
LINEAR = problems.load("linear")


# Fixtures rather than marks: they vary slowest, so that a truth serves all tests of its problem.


@pytest.fixture(params=CONV, ids=str)
def convolution(request):
    return request.param


@pytest.fixture(params=[problem for problem in CONV if problem not in NETWORKS], ids=str)
def small_convolution(request):
    return request.param


@pytest.fixture(params=POOL_MAX, ids=str)
def max_pooling(request):
    return request.param


@functools.lru_cache(maxsize=2)
def conv_truth(problem, dtype):
    """(y, grad_x, grad_weight, grad_bias) in NHWC for the exact data of a problem."""
    data, geometry = problems.exact_conv_data(problem, dtype), problem.geometry
    return (
        oracle.conv2d(data.x, data.weight, data.bias, **geometry),
        oracle.conv2d_backward_input(data.grad_y, data.weight, data.x.shape, **geometry),
        oracle.conv2d_backward_weight(data.grad_y, data.x, data.weight.shape, **geometry),
        oracle.conv2d_backward_bias(data.grad_y),
    )


def check_all_four(problem, dtype, layout, **how):
    """conv2d and its three gradients against the truth."""
    data = problems.exact_conv_data(problem, dtype, layout)
    y, grad_x, grad_weight, grad_bias = conv_truth(problem, dtype)
    assert np.count_nonzero(grad_weight), "a problem whose answer is zero shows nothing"
    how |= problem.geometry | {"layout": layout}
    ours = poisoned(problem.y_shape(layout), dtype)
    assert fc.conv2d(data.x, data.weight, data.bias, **how, out=ours) is ours
    assert_exact(ours, oracle.from_nhwc(y, layout))
    ours = poisoned(data.x.shape, dtype)
    fc.conv2d_backward_input(data.grad_y, data.weight, data.x.shape, **how, out=ours)
    assert_exact(ours, oracle.from_nhwc(grad_x, layout))
    ours = poisoned(data.weight.shape, dtype)
    fc.conv2d_backward_weight(data.grad_y, data.x, data.weight.shape, **how, out=ours)
    assert_exact(ours, oracle.from_rsck(grad_weight, layout))
    gradients = fc.conv2d_backward(data.grad_y, data.x, data.weight, **how)
    assert_exact(gradients.x, oracle.from_nhwc(grad_x, layout))
    assert_exact(gradients.weight, oracle.from_rsck(grad_weight, layout))
    assert_exact(gradients.bias, grad_bias)


def test_convolution(convolution, dtype, isa):
    for layout in LAYOUTS:
        check_all_four(convolution, dtype, layout, precision="strict")


def test_convolution_by_the_reference(small_convolution, dtype):
    """The plain nest of loops, which judges the kernels, is judged itself."""
    for layout in LAYOUTS:
        check_all_four(small_convolution, dtype, layout, algorithm="reference")


@functools.lru_cache(maxsize=2)
def max_truth(problem, dtype):
    """(x, y, indices) in NHWC."""
    rng = problems.rng_for(problem)
    x = rng.integers(-50, 50, size=problem.x_shape("NHWC")).astype(dtype)
    return x, *oracle.max_pool2d(x, **problem.window)


def test_max_pooling(max_pooling, dtype, isa, layout):
    problem, rng = max_pooling, problems.rng_for(max_pooling)
    x, true_y, true_indices = max_truth(problem, dtype)
    x = np.ascontiguousarray(oracle.from_nhwc(x, layout))
    out = poisoned(problem.y_shape(layout), dtype)
    y, indices = fc.max_pool2d(x, **problem.window, layout=layout, return_indices=True, out=out)
    assert y is out and indices.dtype == np.int64
    assert_exact(y, oracle.from_nhwc(true_y, layout))
    np.testing.assert_array_equal(indices, oracle.from_nhwc(true_indices, layout))
    alone = fc.max_pool2d(x, **problem.window, layout=layout)
    assert_exact(alone, oracle.from_nhwc(true_y, layout))

    grad_y = rng.integers(-50, 50, size=y.shape).astype(dtype)
    grad_x = poisoned(x.shape, dtype)
    fc.max_pool2d_backward(grad_y, indices, x.shape, layout=layout, out=grad_x)
    truth = oracle.max_pool2d_backward(grad_y, indices, x.shape, layout=layout)
    assert_exact(grad_x, truth)


@pytest.mark.parametrize("problem", POOL, ids=str)
def test_average_pooling(problem, isa, layout, dtype):
    """A power of two as divisor keeps the averages exact; other divisors: test_pool2d.py."""
    rng = problems.rng_for(problem)
    x = rng.integers(-50, 50, size=problem.x_shape(layout)).astype(dtype)
    keywords = problem.window_of_average | {"divisor_override": 8, "layout": layout}
    y = poisoned(problem.y_shape(layout), dtype)
    fc.avg_pool2d(x, **keywords, out=y)
    assert_exact(y, oracle.avg_pool2d(x, **keywords))
    grad_y = rng.integers(-50, 50, size=y.shape).astype(dtype)
    grad_x = poisoned(x.shape, dtype)
    fc.avg_pool2d_backward(grad_y, x.shape, **keywords, out=grad_x)
    assert_exact(grad_x, oracle.avg_pool2d_backward(grad_y, x.shape, **keywords))


@pytest.mark.parametrize("problem", LINEAR, ids=str)
def test_linear(problem, isa, dtype):
    rng = problems.rng_for(problem)
    n, c, k = problem.n, problem.c, problem.k
    x, weight, bias, grad_y = (
        problems.exact_integers(rng, shape, max(n, c + 1, k), dtype) for shape in ((n, c), (c, k), k, (n, k))
    )
    y = poisoned((n, k), dtype)
    fc.linear(x, weight, bias, precision="strict", out=y)
    assert_exact(y, oracle.linear(x, weight, bias))
    gradients = fc.linear_backward(grad_y, x, weight, precision="strict")
    truths = oracle.linear_backward(grad_y, x, weight)
    for gradient, truth in zip(gradients, truths, strict=True):
        assert gradient.dtype == dtype
        assert_exact(gradient, truth)
