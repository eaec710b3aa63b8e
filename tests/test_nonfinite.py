# SPDX-License-Identifier: BSD-3-Clause
"""Infinities, NaN, the largest and the smallest numbers: they appear where the formula puts them
and nowhere else, and nothing hangs, traps or slows down (M44)."""

import time

import numpy as np
import oracle
import problems
import pytest

import fastconv as fc

SHAPES = [
    "n2 c3 h7 w9 k5 r3x3 p1",
    "n2 c17 h5 w6 k33 r3x3 s2 p1",
    "n2 c33 h4 w5 k17 r1x1",
    "c8 h6 w7 k8 r3x3 p1 g8",
    "c6 h7 w6 k4 r3x2 s2x1 p2 d2 g2",
    "c5 h9 k40 r5x5 p2",
]
WITHOUT_BORDER = [
    "n2 c3 h7 w9 k5 r3x3",
    "c17 h5 w6 k33 r3x3",
    "n2 c33 h4 w5 k17 r1x1",
    "c8 h6 w7 k8 r3x3 g8",
]
POISONS = [np.nan, np.inf, -np.inf]


def nonzero_integers(rng, shape, dtype):
    return (rng.integers(1, 9, size=shape) * rng.choice([-1, 1], size=shape)).astype(dtype)


def with_poison(rng, array, value, share=0.02):
    """A copy with ``value`` in at least one and about ``share`` of the places."""
    poisoned = array.copy()
    places = rng.random(array.shape) < share
    places.flat[rng.integers(array.size)] = True
    poisoned[places] = value
    return poisoned


def assert_same_kind(ours, truth):
    """NaN, inf and -inf in the same places, and the finite numbers equal."""
    np.testing.assert_array_equal(ours, truth.astype(ours.dtype))


def arrays(text, dtype, layout):
    problem = problems.parse(text)
    rng = problems.rng_for(problem)
    shapes = problem.x_shape(layout), problem.weight_shape(layout), problem.y_shape(layout)
    return (
        problem.geometry | {"layout": layout},
        rng,
        *(nonzero_integers(rng, shape, dtype) for shape in shapes),
    )


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("text", SHAPES)
def test_in_the_image(text, poison, isa, layout, dtype):
    geometry, rng, x, weight, grad_y = arrays(text, dtype, layout)
    x = with_poison(rng, x, poison)
    y = fc.conv2d(x, weight, **geometry)
    truth = oracle.conv2d(x, weight, **geometry)
    assert 0 < np.isfinite(truth).sum() < truth.size
    assert_same_kind(y, truth)
    grad_weight = fc.conv2d_backward_weight(grad_y, x, weight.shape, **geometry)
    assert_same_kind(grad_weight, oracle.conv2d_backward_weight(grad_y, x, weight.shape, **geometry))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("text", SHAPES + WITHOUT_BORDER)
def test_in_the_gradient(text, poison, isa, layout, dtype):
    """The gradient of the weights only without a border, where zero times infinity is left open."""
    geometry, rng, x, weight, grad_y = arrays(text, dtype, layout)
    grad_y = with_poison(rng, grad_y, poison)
    gradients = fc.conv2d_backward(grad_y, x, weight, **geometry)
    truth = oracle.conv2d_backward_input(grad_y, weight, x.shape, **geometry)
    assert_same_kind(gradients.x, truth)
    assert_same_kind(gradients.bias, oracle.conv2d_backward_bias(grad_y, layout=layout))
    truth = oracle.conv2d_backward_weight(grad_y, x, weight.shape, **geometry)
    if text in WITHOUT_BORDER:
        assert_same_kind(gradients.weight, truth)
    else:
        finite = np.isfinite(gradients.weight)
        np.testing.assert_array_equal(gradients.weight[finite], truth[finite])


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("text", WITHOUT_BORDER)
def test_in_the_weights(text, poison, isa, layout, dtype):
    """Without a border, where zero times infinity is left open."""
    geometry, rng, x, weight, grad_y = arrays(text, dtype, layout)
    weight = with_poison(rng, weight, poison, share=0.005)
    y = fc.conv2d(x, weight, **geometry)
    truth = oracle.conv2d(x, weight, **geometry)
    assert 0 < np.isfinite(truth).sum() < truth.size
    assert_same_kind(y, truth)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("poison", POISONS)
def test_in_the_weights_of_a_gradient_with_stride(poison, isa, layout, dtype):
    """A tap that a pixel never meets does not touch its gradient, however the stride is handled."""
    geometry, _, x, weight, grad_y = arrays("c4 h9 w11 k6 r3x3 s2", dtype, layout)
    oracle.to_rsck(weight, layout)[1, 1, 2, 3] = poison
    grad_x = fc.conv2d_backward_input(grad_y, weight, x.shape, **geometry)
    truth = oracle.conv2d_backward_input(grad_y, weight, x.shape, **geometry)
    assert 0 < np.isfinite(truth).sum() < truth.size
    inside = (slice(None), slice(1, -1), slice(1, -1))
    ours, theirs = oracle.to_nhwc(grad_x, layout)[inside], oracle.to_nhwc(truth, layout)[inside]
    assert_same_kind(ours, theirs)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("poison", POISONS)
def test_images_groups_and_filters_do_not_infect_each_other(poison, isa, layout, dtype):
    geometry, _, x, weight, _ = arrays("n3 c6 h5 w6 k9 r3x3 p1 g3", dtype, layout)
    clean = oracle.to_nhwc(fc.conv2d(x, weight, **geometry), layout)
    oracle.to_nhwc(x, layout)[1, :, :, 2:4] = poison  # image 1, group 1
    y = oracle.to_nhwc(fc.conv2d(x, weight, **geometry), layout)
    assert not np.isfinite(y[1, :, :, 3:6]).any()
    for others in ((slice(0, 3, 2),), (1, ..., slice(0, 3)), (1, ..., slice(6, 9))):
        np.testing.assert_array_equal(y[others], clean[others])


@pytest.mark.filterwarnings("ignore:invalid value")
def test_zero_times_infinity_is_nan(isa, dtype):
    x, weight = np.zeros((1, 3, 3, 2), dtype), np.full((3, 3, 2, 2), np.inf, dtype)
    assert np.isnan(fc.conv2d(x, weight)).all()
    assert np.isnan(fc.linear(np.full((2, 3), np.inf, dtype), np.zeros((3, 2), dtype))).all()


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("poison", POISONS)
def test_linear(poison, isa, dtype):
    rng = np.random.default_rng(0)
    x, weight, grad_y = (nonzero_integers(rng, s, dtype) for s in ((20, 35), (35, 17), (20, 17)))
    for poisoned in range(3):
        trio = [x, weight, grad_y]
        trio[poisoned] = with_poison(rng, trio[poisoned], poison, share=0.001)
        assert_same_kind(fc.linear(*trio[:2]), oracle.linear(*trio[:2]))
        ours = fc.linear_backward(trio[2], *trio[:2])
        for gradient, truth in zip(ours, oracle.linear_backward(trio[2], *trio[:2]), strict=True):
            assert_same_kind(gradient, truth)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("problem", problems.load("pool")[::2], ids=str)
def test_average_pooling(problem, poison, isa, layout, dtype):
    keywords = problem.window_of_average | {"layout": layout, "divisor_override": 2}
    rng = problems.rng_for(problem)
    x = with_poison(rng, nonzero_integers(rng, problem.x_shape(layout), dtype), poison)
    assert_same_kind(fc.avg_pool2d(x, **keywords), oracle.avg_pool2d(x, **keywords))
    grad_y = with_poison(rng, nonzero_integers(rng, problem.y_shape(layout), dtype), poison)
    ours = fc.avg_pool2d_backward(grad_y, x.shape, **keywords)
    assert_same_kind(ours, oracle.avg_pool2d_backward(grad_y, x.shape, **keywords))


def test_activations_hand_nan_on(isa, layout, dtype):
    x = np.full((1, 4, 4, 4), np.nan, dtype)
    for activation in (None, "relu", "leaky_relu", "tanh", "sigmoid"):
        y = fc.conv2d(x, np.ones((1, 1, 4, 4), dtype), activation=activation, layout="NHWC")
        assert np.isnan(y).all()


def test_signalling_nan_is_just_a_nan(isa):
    x = np.full(16, 0x7F800001, np.uint32).view(np.float32).reshape(1, 4, 4, 1)
    assert np.isnan(fc.conv2d(x, np.ones((2, 2, 1, 1), np.float32))).all()
    assert np.isnan(fc.max_pool2d(x, 2)).all()


# ---- the ends of the finite numbers -------------------------------------------


def test_the_largest_numbers_overflow_no_sooner_than_they_must(isa, dtype):
    largest = np.finfo(dtype).max
    x = np.full((1, 5, 5, 3), largest, dtype)
    weight = np.zeros((3, 3, 3, 20), dtype)
    weight[1, 1, 1] = 1
    assert (fc.conv2d(x, weight) == largest).all()
    weight[1, 1, 2] = 1
    assert (fc.conv2d(x, weight) == np.inf).all()
    assert (fc.max_pool2d(x, 2) == largest).all()
    assert (fc.max_pool2d(-x, 2) == -largest).all()


def test_subnormal_numbers_are_kept_in_strict(isa, dtype):
    """And in float64 always. (In "high" they may be flushed to zero.)"""
    tiny = np.finfo(dtype).smallest_subnormal * dtype(12345)
    x, weight = np.full((1, 5, 6, 3), tiny, dtype), np.ones((2, 2, 3, 17), dtype)
    assert (fc.conv2d(x, weight, precision="strict") == tiny * dtype(12)).all()
    grad_x = fc.conv2d_backward_input(np.full((1, 4, 5, 17), tiny, dtype), weight, x.shape, precision="strict")
    assert grad_x[0, 2, 2, 0] == tiny * dtype(4 * 17)
    assert (fc.linear(x, weight[0, 0], precision="strict") == tiny * dtype(3)).all()
    assert (fc.max_pool2d(x, 2) == tiny).all()
    if dtype == np.float64:
        assert (fc.conv2d(x, weight) == tiny * dtype(12)).all()


def test_subnormal_numbers_do_not_slow_a_kernel_down():
    """In the default precision: a processor may take a hundred times longer for each of them."""
    weight = np.full((3, 3, 32, 32), 1e-3, np.float32)
    seconds = {1.0: [], 1e-40: []}
    for _ in range(7):
        for value, times in seconds.items():
            x = np.full((4, 16, 16, 32), value, np.float32)
            start = time.perf_counter()
            fc.conv2d(x, weight, padding=1)
            times.append(time.perf_counter() - start)
    assert min(seconds[1e-40]) <= 3 * min(seconds[1.0])
