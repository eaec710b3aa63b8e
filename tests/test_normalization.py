# SPDX-License-Identifier: BSD-3-Clause
"""Normalisation: against the oracle and PyTorch, its accuracy, its bits, its arguments."""

import numpy as np
import oracle
import pytest
from compare import poisoned, same_bits
from forms import FORMS, WRITABLE
from guard import AVAILABLE, guarded

import fastconv as fc

# (N, pixels ..., C): channels around the width of a vector and of a block, images around the length of a chunk
SHAPES = [
    (4, 6, 7, 5),
    (3, 9, 2, 40),
    (2, 30, 31, 3),
    (9, 17),
    (2, 6, 5),
    (2, 3, 4, 5, 6),
    (40, 1, 130),
    (3, 7, 7, 1),
    (2, 41, 25, 130),
    (37, 7, 7, 33),
]


def batch(shape, layout, dtype, seed=0, mean=3.0):
    """x, grad_y, and weight, bias, running_mean, running_var of one batch."""
    rng = np.random.default_rng(seed)
    x, grad_y = (oracle.channels_back(a, layout).copy() for a in rng.normal(size=(2, *shape)).astype(dtype))
    vectors = rng.normal(size=(3, shape[-1])).astype(dtype)
    return x + dtype(mean), grad_y, *vectors, rng.uniform(0.5, 2, shape[-1]).astype(dtype)


def close(actual, expected, dtype, units=64):
    scale = abs(expected).max()
    assert actual.shape == expected.shape and actual.dtype == dtype
    assert abs(actual - expected).max() <= units * np.finfo(dtype).eps * scale


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_in_training(shape, isa, layout, dtype):
    activation = (None, "relu", "leaky_relu")[SHAPES.index(shape) % 3]
    x, grad_y, weight, bias, running_mean, running_var = batch(shape, layout, dtype)
    before = running_mean.copy(), running_var.copy()
    how = {"layout": layout, "activation": activation}
    y, mean, inverse_std = fc.batch_norm(x, weight, bias, running_mean, running_var, training=True, **how)
    true_mean, true_variance = oracle.batch_statistics(x, layout)
    linear = oracle.batch_norm(x, weight, bias, true_mean, true_variance, layout=layout)
    slope = np.where(linear > 0, 1, {None: 1, "relu": 0, "leaky_relu": 0.01}[activation])
    close(y, linear * slope, dtype)
    close(mean.astype(dtype), true_mean, dtype)
    close(inverse_std.astype(dtype), 1 / np.sqrt(true_variance + 1e-5), dtype)
    count = x.size // shape[-1]
    close(running_mean, 0.9 * before[0] + 0.1 * true_mean, dtype)
    close(running_var, 0.9 * before[1] + 0.1 * true_variance * count / (count - 1), dtype)
    # a number whose sign rounding decides may count on either side: leave it out
    grad_y[abs(linear) < 1e-5] = 0
    expected = oracle.batch_norm_backward(grad_y * slope, x, weight, true_mean, true_variance, layout=layout)
    gradients = fc.batch_norm_backward(grad_y, x, weight, bias, mean, inverse_std, **how)
    close(gradients.x, expected[0], dtype, 512)
    close(gradients.weight, expected[1], dtype, 512)
    close(gradients.bias, expected[2], dtype, 512)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_with_running_statistics(shape, isa, layout, dtype):
    x, grad_y, weight, bias, mean, variance = batch(shape, layout, dtype)
    close(
        fc.batch_norm(x, weight, bias, mean, variance, layout=layout, epsilon=0.01),
        oracle.batch_norm(x, weight, bias, mean, variance, 0.01, layout),
        dtype,
    )
    inverse_std = 1 / np.sqrt(variance.astype(np.float64) + 0.01)
    gradients = fc.batch_norm_backward(grad_y, x, weight, bias, mean, inverse_std, training=False, layout=layout)
    expected = oracle.batch_norm_backward(grad_y, x, weight, mean, variance, 0.01, training=False, layout=layout)
    for got, true in zip(gradients, expected, strict=True):
        close(got, true, dtype, 512)


@pytest.mark.parametrize("mean", [1e2, 1e4, 1e6])
def test_means_far_above_the_deviation_cost_no_digits(mean, isa, layout):
    """Against the float64 result for the same float32 numbers. The naive sum of squares has no right digit from 1e4 on,
    and a mean rounded to float32 is off by 0.03 deviations at 1e6."""
    x, _, weight, bias, *_ = batch((4, 40, 30, 7), layout, np.float32, mean=mean)
    truth = oracle.batch_norm(x, weight, bias, *oracle.batch_statistics(x, layout), layout=layout)
    y, *_ = fc.batch_norm(x, weight, bias, training=True, layout=layout)
    assert abs(y - truth).max() < 2e-6 * abs(truth).max()


def test_outliers_where_the_sums_begin_cost_few_digits(isa, layout):
    x, _, weight, bias, *_ = batch((4, 40, 30, 7), layout, np.float32, mean=0)
    oracle.channels_last(x, layout)[:, 0, 0] += 1000
    truth = oracle.batch_norm(x, weight, bias, *oracle.batch_statistics(x, layout), layout=layout)
    y, *_ = fc.batch_norm(x, weight, bias, training=True, layout=layout)
    assert abs(y - truth).max() < 1e-5 * abs(truth).max()


@pytest.mark.parametrize("channels", [5, 64, 130])
@pytest.mark.parametrize("offset", [0, 1, 3])
def test_large_results_have_the_bits_of_small_ones(channels, offset, isa, layout, dtype):
    """The large ones go past the caches, images one by one do not."""
    images = 1 + 8_000_000 // (49 * 49 * channels * 8)
    x, grad_y, *vectors = batch((images, 49, 49, channels), layout, dtype)
    out = np.empty(x.size + offset, dtype)[offset:].reshape(x.shape)
    y = fc.batch_norm(x, *vectors, layout=layout, out=out)
    for i in range(images):
        assert same_bits(y[i : i + 1], fc.batch_norm(x[i : i + 1], *vectors, layout=layout))
    how = {"training": False, "layout": layout}
    gradient = fc.batch_norm_backward(grad_y, x, *vectors, out=out, **how).x
    for i in range(images):
        alone = fc.batch_norm_backward(grad_y[i : i + 1], x[i : i + 1], *vectors, **how).x
        assert same_bits(gradient[i : i + 1], alone)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_agrees_with_pytorch(shape, training, layout):
    torch = pytest.importorskip("torch")
    x, grad_y, weight, bias, running_mean, running_var = batch(shape, layout, np.float64)
    first = [np.moveaxis(a, -1, 1).copy() if layout == "NHWC" else a for a in (x, grad_y)]
    leaves = [torch.tensor(a, requires_grad=True) for a in (first[0], weight, bias)]
    running = torch.tensor(running_mean), torch.tensor(running_var)
    y = torch.nn.functional.batch_norm(leaves[0], *running, *leaves[1:], training)
    y.backward(torch.tensor(first[1]))
    how = {"training": training, "layout": layout}
    result = fc.batch_norm(x, weight, bias, running_mean, running_var, **how)
    statistics = result[1:] if training else (running_mean, 1 / np.sqrt(running_var + 1e-5))
    gradients = fc.batch_norm_backward(grad_y, x, weight, bias, *statistics, **how)
    images = [result[0] if training else result, gradients.x]
    got = [np.moveaxis(a, -1, 1) if layout == "NHWC" else a for a in images]
    expected = [y, leaves[0].grad, leaves[1].grad, leaves[2].grad, *running]
    for ours, theirs in zip([*got, *gradients[1:], running_mean, running_var], expected, strict=True):
        truth = theirs.detach().numpy()
        assert abs(ours - truth).max() <= 1e-12 * abs(truth).max()


def everything(x, grad_y, weight, bias, running_mean, running_var, layout, **how):
    """All results of a training step of batch normalisation."""
    running = running_mean.copy(), running_var.copy()
    y, mean, inverse_std = fc.batch_norm(x, weight, bias, *running, training=True, layout=layout, **how)
    gradients = fc.batch_norm_backward(grad_y, x, weight, bias, mean, inverse_std, layout=layout, **how)
    return [y, mean, inverse_std, *running, *gradients]


def assert_same(results, others):
    for one, other in zip(results, others, strict=True):
        assert same_bits(one, other)


@pytest.mark.parametrize("shape", [(37, 7, 7, 33), (2, 41, 25, 130), (64, 24, 24, 18)], ids=str)
def test_threads_do_not_change_batch_norm(shape, isa, layout, dtype):
    arrays = batch(shape, layout, dtype)
    with fc.threads(1):
        alone = everything(*arrays, layout, activation="relu")
    for threads in (2, 3, 8):
        with fc.threads(threads):
            assert_same(everything(*arrays, layout, activation="relu"), alone)


@pytest.mark.parametrize("shape", SHAPES[1:10:2], ids=str)
def test_the_memory_of_the_other_layout_does_not_change_batch_norm(shape, isa, layout, dtype):
    x, grad_y, *vectors = batch(shape, layout, dtype)
    there, back = (1, -1) if layout == "NCHW" else (-1, 1)
    turned = [np.moveaxis(np.moveaxis(a, there, back).copy(), back, there) for a in (x, grad_y)]
    expected = everything(x, grad_y, *vectors, layout)
    assert_same(everything(*turned, *vectors, layout), expected)
    assert_same(everything(turned[0], grad_y, *vectors, layout), expected)


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_memory_does_not_change_batch_norm(form, layout, dtype):
    x, grad_y, *vectors = batch((3, 9, 8, 20), layout, dtype)
    expected = everything(x, grad_y, *vectors, layout)
    formed = [FORMS[form](a) for a in (x, grad_y, vectors[0], vectors[1])]
    assert_same(everything(*formed, *vectors[2:], layout), expected)
    if form in WRITABLE:
        out = FORMS[form](poisoned(x.shape, dtype))
        y, mean, inverse_std = fc.batch_norm(x, *vectors[:2], training=True, layout=layout, out=out)
        assert y is out and np.array_equal(y, expected[0])
        out = FORMS[form](poisoned(x.shape, dtype))
        fc.batch_norm_backward(grad_y, x, *vectors[:2], mean, inverse_std, layout=layout, out=out)
        assert np.array_equal(out, expected[5])


@pytest.mark.skipif(not AVAILABLE, reason="needs mprotect")
@pytest.mark.parametrize("side", ["start", "end"])
@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (1, 35, 20, 33), (3, 1, 17), (2, 5, 5, 16)], ids=str)
def test_batch_norm_stays_within_its_arrays(shape, side, isa, layout, dtype):
    arrays = batch(shape, layout, dtype)
    x, grad_y, weight, bias, *_ = (guarded(a, side) for a in arrays)
    y, grad_x = (guarded(poisoned(x.shape, dtype), side) for _ in range(2))
    _, mean, inverse_std = fc.batch_norm(x, weight, bias, training=True, layout=layout, activation="relu", out=y)
    how = {"layout": layout, "activation": "relu"}
    gradients = fc.batch_norm_backward(grad_y, x, weight, bias, mean, inverse_std, out=grad_x, **how)
    assert_same([y, mean, inverse_std], everything(*arrays, layout, activation="relu")[:3])
    assert not np.isnan(grad_x).any() and gradients.x is grad_x


def test_images_of_integers_and_mixed_types():
    x = np.arange(48, dtype=np.uint8).reshape(2, 4, 2, 3)
    ones = np.ones(3, np.float32)
    y, *_ = fc.batch_norm(x, training=True)
    assert y.dtype == np.float32 and same_bits(y, fc.batch_norm(x.astype(np.float32), training=True)[0])
    y = fc.batch_norm(x.astype(np.float32), ones.astype(np.float64), None, ones, ones)
    assert y.dtype == np.float64


def test_no_images_and_no_gradient_of_the_input():
    x, running = np.zeros((0, 4, 4, 3), np.float32), np.zeros(3, np.float32)
    y, mean, inverse_std = fc.batch_norm(x, None, None, running, running.copy(), training=True)
    gradients = fc.batch_norm_backward(x, x, None, None, mean, inverse_std)
    assert y.shape == gradients.x.shape == x.shape and not gradients.weight.any() and not running.any()
    x, grad_y, *vectors = batch((2, 3, 3, 4), "NHWC", np.float32)
    _, *statistics = fc.batch_norm(x, *vectors[:2], training=True)
    full = fc.batch_norm_backward(grad_y, x, *vectors[:2], *statistics)
    part = fc.batch_norm_backward(grad_y, x, *vectors[:2], *statistics, input_gradient=False)
    assert part.x is None
    assert_same(part[1:], full[1:])


def test_values_that_are_not_finite_stay_in_their_channel(isa, layout, dtype):
    x, *_ = batch((2, 9, 9, 5), layout, dtype)
    for value in (np.nan, np.inf):
        oracle.channels_last(x, layout)[1, 4, 4, 2] = value
        y, *_ = fc.batch_norm(x, training=True, layout=layout)
        bad = np.isnan(oracle.channels_last(y, layout))
        assert bad[..., 2].all() and not bad[..., [0, 1, 3, 4]].any()


X = np.zeros((2, 3, 3, 4), np.float32)
V = np.ones(4, np.float32)
FIXED = V.copy()
FIXED.flags.writeable = False
WRONG = {
    "list": (lambda: fc.batch_norm([1.0], training=True), TypeError, "x must be a numpy array"),
    "complex": (lambda: fc.batch_norm(X.astype(complex), training=True), TypeError, "complex"),
    "one axis": (lambda: fc.batch_norm(V, training=True), ValueError, "2 axes"),
    "no pixels": (lambda: fc.batch_norm(X[:, :0], training=True), ValueError, "at least 1"),
    "one value": (lambda: fc.batch_norm(X[:1, :1, :1], training=True), ValueError, "one value per channel"),
    "weight": (lambda: fc.batch_norm(X, V[:3], training=True), ValueError, r"weight has shape \(3,\)"),
    "bias of the other layout": (
        lambda: fc.batch_norm(X, V, V, training=True, layout="NCHW"),
        ValueError,
        "3 channels",
    ),
    "no statistics": (lambda: fc.batch_norm(X), ValueError, "running_mean"),
    "one statistic": (lambda: fc.batch_norm(X, running_mean=V), ValueError, "running_var"),
    "read-only": (
        lambda: fc.batch_norm(X, None, None, FIXED, V, training=True),
        ValueError,
        "running_mean is read-only",
    ),
    "swapped": (
        lambda: fc.batch_norm(X, None, None, V.astype(">f4"), V, training=True),
        ValueError,
        "running_mean is updated",
    ),
    "momentum": (lambda: fc.batch_norm(X, training=True, momentum=1.5), ValueError, "momentum"),
    "momentum text": (lambda: fc.batch_norm(X, training=True, momentum="0.1"), TypeError, "momentum"),
    "epsilon": (lambda: fc.batch_norm(X, training=True, epsilon=-1e-5), ValueError, "epsilon"),
    "epsilon nan": (lambda: fc.batch_norm(X, training=True, epsilon=float("nan")), ValueError, "epsilon"),
    "training": (lambda: fc.batch_norm(X, training=1), TypeError, "training"),
    "activation": (lambda: fc.batch_norm(X, training=True, activation="tanh"), ValueError, "leaky_relu"),
    "layout": (lambda: fc.batch_norm(X, training=True, layout="CHWN"), ValueError, "layout"),
    "out shape": (lambda: fc.batch_norm(X, training=True, out=X[:1].copy()), ValueError, "out has shape"),
    "out dtype": (lambda: fc.batch_norm(X, training=True, out=X.astype(np.float64)), TypeError, "float32"),
    "out is x": (lambda: fc.batch_norm(X, training=True, out=X), ValueError, "shares memory with x"),
    "grad shape": (lambda: fc.batch_norm_backward(X[:1], X, V, V, V, V), ValueError, "grad_y"),
    "mean": (lambda: fc.batch_norm_backward(X, X, V, V, V[:2], V), ValueError, "mean has shape"),
    "no mean": (lambda: fc.batch_norm_backward(X, X, V, V, None, V), TypeError, "mean"),
    "grad is out": (lambda: fc.batch_norm_backward(X, X.copy(), V, V, V, V, out=X), ValueError, "grad_y"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    call, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        call()
    assert (V == 1).all() and not X.any()
