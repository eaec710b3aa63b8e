# SPDX-License-Identifier: BSD-3-Clause
"""The error bounds that are promised, in units of u * S: u is half the distance from 1 to the next
number, S the sum of the absolute values of the terms of an element.

Where S is the measure, cancellation is no excuse and no alibi: the bound is tight for an element
that is small because its terms cancel, and does not grow with the length of the sum.
"""

import functools

import numpy as np
import oracle
import problems
import pytest
from compare import assert_within, errors_in_units, unit_roundoff

import fastconv as fc

LAYERS = [
    "c3 h32 k16 r7x7 s2 p3",
    "c64 h9 k33 r3x3 p1",
    "c512 h4 k20 r3x3 p1",
    "c2048 h3 k16 r1x1",
    "n2 c257 h5 k17 r1x1",
    "c96 h7 k24 r5x5 p2 g2",
    "c33 h9 k33 r3x3 p1 g33",
]
LONG_SUMS_OVER_PIXELS = ["n2 c3 h256 k4 r3x3 p1", "c2 h512 k3 r1x1", "n3 c4 h150 k4 r3x3 p1 g4"]


def uniform(rng, shape):
    return rng.uniform(-1, 1, shape)


def normal(rng, shape):
    return rng.standard_normal(shape)


def rectified(rng, shape):
    """As behind a ReLU: half zeros, nothing negative."""
    return np.maximum(rng.standard_normal(shape), 0)


def with_outliers(rng, shape):
    """A few numbers a million times larger than the rest."""
    numbers = rng.standard_normal(shape)
    numbers[rng.random(shape) < 0.01] *= 1e6
    return numbers


def positive(rng, shape):
    """Of many sizes, nothing cancels: partial sums keep growing and so do their roundings."""
    return np.exp(rng.uniform(-8, 0, shape))


# What x, weight and grad_y are filled with, and how many u are promised for y and grad_x, and for
# the gradients of weights and bias.
DATA = {
    "uniform": ((uniform, uniform, uniform), 4, 8),
    "rectified": ((rectified, normal, rectified), 4, 8),
    "outliers": ((with_outliers, normal, with_outliers), 32, 32),
    "positive": ((positive, positive, positive), 32, 32),
}


def conv_data(problem, fill, dtype, layout):
    rng, (fill_x, fill_weight, fill_grad_y) = problems.rng_for(problem), DATA[fill][0]
    x = fill_x(rng, problem.x_shape("NHWC")).astype(dtype)
    weight = fill_weight(rng, problem.weight_shape("NHWC")).astype(dtype)
    bias = fill_weight(rng, problem.k).astype(dtype)
    grad_y = fill_grad_y(rng, problem.y_shape("NHWC")).astype(dtype)
    data = problems.ConvData(x, weight, bias, grad_y)
    return data if layout == "NHWC" else data.to_nchw()


# Fixtures rather than marks: they vary slowest, so that a truth serves all tests of its problem.


@pytest.fixture(params=LAYERS)
def layer(request):
    return problems.parse(request.param)


@pytest.fixture(params=LONG_SUMS_OVER_PIXELS)
def long_sum(request):
    return problems.parse(request.param)


@pytest.fixture(params=DATA)
def fill(request):
    return request.param


@functools.lru_cache(maxsize=2)
def forward_truth(problem, fill, dtype):
    """y and grad_x in NHWC, each with the sums of the absolute values of its terms."""
    data, how = conv_data(problem, fill, dtype, "NHWC"), problem.geometry
    exact = how | {"accumulate": more_exact_than(dtype)}
    x, weight, bias, grad_y = abs(data.x), abs(data.weight), abs(data.bias), abs(data.grad_y)
    return (
        oracle.conv2d(data.x, data.weight, data.bias, **exact),
        oracle.conv2d(x, weight, bias, **how),
        oracle.conv2d_backward_input(data.grad_y, data.weight, x.shape, **exact),
        oracle.conv2d_backward_input(grad_y, weight, x.shape, **how),
    )


@functools.lru_cache(maxsize=2)
def weight_truth(problem, fill, dtype):
    """grad_weight (RSCK) and grad_bias, each with the sums of the absolute values of its terms."""
    data, how = conv_data(problem, fill, dtype, "NHWC"), problem.geometry
    accumulate = more_exact_than(dtype)
    x, grad_y, shape = abs(data.x), abs(data.grad_y), data.weight.shape
    return (
        oracle.conv2d_backward_weight(data.grad_y, data.x, shape, **how, accumulate=accumulate),
        oracle.conv2d_backward_weight(grad_y, x, shape, **how),
        oracle.conv2d_backward_bias(data.grad_y, accumulate=accumulate),
        oracle.conv2d_backward_bias(grad_y),
    )


def more_exact_than(dtype):
    return np.float64 if dtype == np.float32 else np.longdouble


def test_strict_forward_and_gradient_of_the_input(layer, fill, dtype, isa, layout):
    data = conv_data(layer, fill, dtype, layout)
    how = layer.geometry | {"layout": layout, "precision": "strict"}
    y, y_terms, grad_x, grad_x_terms = (oracle.from_nhwc(truth, layout) for truth in forward_truth(layer, fill, dtype))
    ours = fc.conv2d(data.x, data.weight, data.bias, **how)
    assert_within(ours, y, y_terms, DATA[fill][1])
    ours = fc.conv2d_backward_input(data.grad_y, data.weight, data.x.shape, **how)
    assert_within(ours, grad_x, grad_x_terms, DATA[fill][1])


def check_gradients_of_weights_and_bias(problem, fill, dtype, layout):
    data, units = conv_data(problem, fill, dtype, layout), DATA[fill][2]
    how = problem.geometry | {"layout": layout, "precision": "strict"}
    grad_weight, weight_terms, grad_bias, bias_terms = weight_truth(problem, fill, dtype)
    ours = fc.conv2d_backward(data.grad_y, data.x, data.weight, **how)
    assert_within(oracle.to_rsck(ours.weight, layout), grad_weight, weight_terms, units)
    assert_within(ours.bias, grad_bias, bias_terms, units)
    if fill == "rectified":
        error = np.linalg.norm(oracle.to_rsck(ours.weight, layout) - grad_weight)
        assert error <= 16 * unit_roundoff(dtype) * np.linalg.norm(grad_weight)


def test_strict_gradients_of_weights_and_bias(layer, fill, dtype, isa, layout):
    check_gradients_of_weights_and_bias(layer, fill, dtype, layout)


def test_strict_gradients_over_many_pixels(long_sum, fill, isa, layout):
    """One chain of additions over all pixels would lose a hundred times more."""
    check_gradients_of_weights_and_bias(long_sum, fill, np.float32, layout)


@pytest.mark.parametrize("channels", [256, 511, 767, 4608, 20000])
def test_no_finite_input_is_worse_than_the_provable_bound(channels, isa, dtype):
    """Equal positive terms: the rounding errors of a long chain of additions all have one sign."""
    bound = 264
    for value in (0.1, 1 / 3, 1 + 2 * unit_roundoff(dtype)):
        x, weight = np.full((2, channels), value, dtype), np.full((channels, 3), value, dtype)
        truth = channels * np.longdouble(dtype(value)) ** 2
        assert_within(fc.linear(x, weight, precision="strict"), truth, truth, bound)
        gradients = fc.linear_backward(np.ones((channels, 3), dtype), x[:1].T.copy(), weight[:1])
        truth = channels * np.longdouble(dtype(value))
        assert_within(gradients.weight, truth, truth, bound)
        assert_within(gradients.bias, np.longdouble(channels), channels, bound)


@pytest.mark.parametrize("isa", [name for name in fc.isas() if name != "reference"])
@pytest.mark.parametrize(
    "text, precision, bound",
    [
        ("n64 c56 h56 k256 r1x1 g8", "strict", 32),
        ("n512 c3 h32 k8 r3x3", "strict", 32),
        ("n64 c64 h56 k64 r3x3", "strict", 24),
        ("n64 c16 h56 k16 r3x3 g16", "strict", 12),
        ("n64 c32 h56 k32 r3x3", "high", 8),
    ],
)
def test_sums_over_hundreds_of_chunks_of_pixels(text, precision, bound, isa):
    """Equal terms again, of which the gradients of weights add up 180,000 and more."""
    problem = problems.parse(text)
    x, grad_y = (np.full(shape, 1.0001, np.float32) for shape in (problem.x_shape("NHWC"), problem.y_shape("NHWC")))
    truth = grad_y[..., 0].size * np.float64(x[0, 0, 0, 0]) ** 2
    ours = fc.conv2d_backward_weight(grad_y, x, problem.weight_shape("NHWC"), **problem.geometry, precision=precision)
    assert_within(ours, truth, truth, bound)


@pytest.mark.parametrize("fill", ["uniform", "rectified"])
@pytest.mark.parametrize("precision, promised", [("strict", 1e-6), ("high", 5e-6), ("medium", 3e-3)])
def test_relative_l2_error(precision, promised, fill, isa):
    """Relative to the result, or where sums cancel within 200 u of the norm of S."""
    for text in LAYERS:
        problem = problems.parse(text)
        data = conv_data(problem, fill, np.float32, "NHWC")
        how = problem.geometry
        sizes = [abs(array) for array in (data.x, data.weight, data.grad_y)]
        ours = fc.conv2d_backward(data.grad_y, data.x, data.weight, **how, precision=precision)
        y = fc.conv2d(data.x, data.weight, **how, precision=precision)
        truths = (
            oracle.conv2d(data.x, data.weight, **how),
            oracle.conv2d_backward_input(data.grad_y, data.weight, data.x.shape, **how),
            oracle.conv2d_backward_weight(data.grad_y, data.x, data.weight.shape, **how),
        )
        terms = (
            oracle.conv2d(sizes[0], sizes[1], **how),
            oracle.conv2d_backward_input(sizes[2], sizes[1], data.x.shape, **how),
            oracle.conv2d_backward_weight(sizes[2], sizes[0], data.weight.shape, **how),
        )
        results = y, ours.x, ours.weight
        for result, truth, term in zip(results, truths, terms, strict=True):
            error = np.linalg.norm(result - truth)
            allowed = promised * np.linalg.norm(truth)
            if precision != "medium":
                allowed = max(allowed, 200 * unit_roundoff(np.float32) * np.linalg.norm(term))
            assert error <= allowed


def test_linear(fill, dtype, isa):
    accumulate = more_exact_than(dtype)
    for rows, inputs, outputs in ((1, 400, 120), (7, 2500, 10), (1500, 9, 33)):
        rng = np.random.default_rng(rows)
        shapes = (rows, inputs), (inputs, outputs), (outputs,), (rows, outputs)
        fill_x, fill_weight, fill_grad_y = DATA[fill][0]
        fills = fill_x, fill_weight, fill_weight, fill_grad_y
        x, weight, bias, grad_y = (
            numbers(rng, shape).astype(dtype) for numbers, shape in zip(fills, shapes, strict=True)
        )
        y = fc.linear(x, weight, bias, precision="strict")
        truth = oracle.linear(x, weight, bias, accumulate=accumulate)
        terms = oracle.linear(abs(x), abs(weight), abs(bias))
        assert_within(y, truth, terms, DATA[fill][1])
        ours = fc.linear_backward(grad_y, x, weight, precision="strict")
        truths = oracle.linear_backward(grad_y, x, weight, accumulate=accumulate)
        terms = oracle.linear_backward(abs(grad_y), abs(x), abs(weight))
        forward, backward = DATA[fill][1:]
        for units, *gradient in zip((forward, backward, backward), ours, truths, terms, strict=True):
            assert_within(*gradient, units)


# ---- activations --------------------------------------------------------------

FUNCTIONS = ["relu", "leaky_relu", "tanh", "sigmoid"]


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_activations_over_their_whole_range(activation, isa, dtype):
    """Relative error of a function of one number, which a filter of one pixel hands through."""
    ends = np.finfo(dtype)
    sizes = np.concatenate([np.geomspace(ends.tiny, ends.max / 4, 5001), np.linspace(0, 110, 5001)])
    x = np.concatenate([sizes, -sizes, [0.0, -0.0]]).astype(dtype)[:, None]
    y = fc.linear(x, np.ones((1, 1), dtype), activation=activation, precision="strict")
    with np.errstate(over="ignore", under="ignore"):
        truth = oracle.ACTIVATIONS[activation](x.astype(np.longdouble))
    visible = abs(truth) > 4 * ends.tiny  # below it are subnormal numbers
    assert errors_in_units(y[visible], truth[visible], abs(truth[visible])).max() <= 8
    assert (abs(y[~visible]) <= 8 * ends.tiny).all()


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_activations_of_infinities_and_nan(activation, isa, dtype):
    x = np.array([[np.inf], [-np.inf], [np.nan]], dtype)
    y = fc.linear(x, np.ones((1, 1), dtype), activation=activation).ravel()
    ends = {
        "relu": (np.inf, 0),
        "leaky_relu": (np.inf, -np.inf),
        "tanh": (1, -1),
        "sigmoid": (1, 0),
    }
    np.testing.assert_array_equal(y, [*ends[activation], np.nan])


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize("isa", [name for name in fc.isas() if name != "reference"])
def test_products_are_not_rounded_before_they_are_added(isa, dtype, rows):
    """Fused multiply-add: (1 + e)^2 - (1 + 2e) is e^2, which a rounded square would lose."""
    e = dtype(2.0**-12 if dtype == np.float32 else 2.0**-27)
    x = np.repeat(np.array([[1, 0, 1 + e]], dtype), rows, axis=0)
    weight = np.repeat(np.array([[-(1 + 2 * e)], [0], [1 + e]], dtype), 40, axis=1)
    with fc.using_isa(isa):
        assert (fc.linear(x, weight, precision="strict") == e * e).all()
