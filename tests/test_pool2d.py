# SPDX-License-Identifier: BSD-3-Clause
"""Pooling: which element wins, what an average divides by, and what the functions take and give."""

import re

import numpy as np
import oracle
import problems
import pytest
from compare import assert_exact, assert_within, poisoned, same_bits
from forms import FORMS, WRITABLE

import fastconv as fc

POOL = problems.load("pool")
POOL_MAX = POOL + problems.load("pool_dilated")
PROBLEM = problems.parse("n2 c5 h7 w9 r3x2 s2x1 p1:0x1:1")


def both(array, layout):
    """An NHWC array in the layout asked for, contiguous."""
    return np.ascontiguousarray(oracle.from_nhwc(array, layout))


# ---- maxima -------------------------------------------------------------------


def check_max(x, window, layout):
    """Values to the bit and indices, for an image in ``layout``."""
    y, indices = fc.max_pool2d(x, **window, layout=layout, return_indices=True)
    true_y, true_indices = oracle.max_pool2d(x, **window, layout=layout)
    assert y.dtype == x.dtype and indices.dtype == np.int64
    np.testing.assert_array_equal(indices, true_indices)
    assert same_bits(y, np.ascontiguousarray(true_y))
    assert same_bits(fc.max_pool2d(x, **window, layout=layout), y)


@pytest.mark.parametrize("problem", POOL_MAX, ids=str)
def test_winners(problem, isa, layout, dtype):
    """Ties, NaN and borders: of equals the first wins, NaN wins over all, a border never."""
    rng, shape = problems.rng_for(problem), problem.x_shape("NHWC")
    # three values only, one of them zero with either sign: nearly every window has a tie
    ties = rng.choice(np.array([-1.0, -0.0, 0.0, 0.0], dtype), size=shape)
    check_max(both(ties, layout), problem.window, layout)
    nans = rng.integers(-9, 9, size=shape).astype(dtype)
    for value in (np.nan, np.inf, -np.inf):
        nans[rng.random(shape) < 0.1] = value
    check_max(both(nans, layout), problem.window, layout)
    lowest = np.full(problem.x_shape(layout), -np.inf, dtype)
    check_max(lowest, problem.window, layout)


@pytest.mark.parametrize("integer", [np.uint8, np.int8, np.int16])
@pytest.mark.parametrize("problem", POOL_MAX[::3], ids=str)
def test_maxima_of_integers_stay_integers(problem, integer, isa, layout):
    limits, rng = np.iinfo(integer), problems.rng_for(problem)
    shape = problem.x_shape(layout)
    x = rng.integers(limits.min, limits.max, size=shape, endpoint=True, dtype=integer)
    check_max(x, problem.window, layout)
    check_max(np.full(shape, limits.min, integer), problem.window, layout)
    out = np.zeros(problem.y_shape(layout), integer)
    assert fc.max_pool2d(x, **problem.window, layout=layout, out=out) is out
    np.testing.assert_array_equal(out, oracle.max_pool2d(x, **problem.window, layout=layout)[0])


@pytest.mark.parametrize("integer", [np.int32, np.uint16, np.uint32, np.int64, np.uint64])
def test_maxima_of_large_integers_are_exact_or_refused(integer, layout):
    limits, rng = np.iinfo(integer), np.random.default_rng(15)
    shape, most = PROBLEM.x_shape(layout), min(limits.max, 2**53)
    x = rng.integers(max(limits.min, -most), most, size=shape, endpoint=True, dtype=integer)
    check_max(x, PROBLEM.window, layout)
    x = np.full(shape, limits.max, integer)
    x.flat[0] -= 1
    try:
        check_max(x, PROBLEM.window, layout)
    except ValueError as error:
        assert re.search(r"\bx\b", str(error)) and limits.max > 2**53


def test_half_precision(isa, layout):
    """The maximum is one of the numbers and keeps their type, the average is a float32."""
    x = np.random.default_rng(16).integers(-2048, 2048, size=PROBLEM.x_shape(layout)).astype(np.float16)
    check_max(x, PROBLEM.window, layout)
    keywords = PROBLEM.window_of_average | {"divisor_override": 4, "layout": layout}
    y = fc.avg_pool2d(x, **keywords)
    assert y.dtype == np.float32
    assert_exact(y, oracle.avg_pool2d(x, **keywords))


def test_backward_adds_where_windows_share_a_winner(isa, layout, dtype):
    x = np.zeros((1, 3, 3, 2), dtype)
    x[0, 1, 1] = 1
    x = both(x, layout)
    y, indices = fc.max_pool2d(x, 2, 1, layout=layout, return_indices=True)
    np.testing.assert_array_equal(indices, np.full_like(indices, 4))
    grad_x = fc.max_pool2d_backward(np.ones_like(y), indices, x.shape, layout=layout)
    assert_exact(grad_x, x * 4)


def test_backward_takes_anybodys_indices(isa, layout, dtype):
    """Indices need not come from a window: each gradient goes where its index says."""
    rng = np.random.default_rng(7)
    grad_y = rng.integers(-9, 9, size=(2, 3, 4, 5)).astype(dtype)
    x_shape = (2, 6, 7, 5) if layout == "NHWC" else (2, 3, 6, 7)
    indices = rng.integers(0, 6 * 7, size=grad_y.shape)
    grad_x = fc.max_pool2d_backward(grad_y, indices, x_shape, layout=layout)
    truth = oracle.max_pool2d_backward(grad_y, indices, x_shape, layout=layout)
    assert_exact(grad_x, truth)
    views = grad_y[::-1, ::-1], indices[::-1, ::-1]
    grad_x = fc.max_pool2d_backward(*views, x_shape, layout=layout)
    assert_exact(grad_x, oracle.max_pool2d_backward(*views, x_shape, layout=layout))


def test_backward_writes_zeros_into_a_used_array(isa, layout, dtype):
    x_shape = (1, 4, 4, 3) if layout == "NHWC" else (1, 3, 4, 4)
    y_shape = (1, 1, 1, 3) if layout == "NHWC" else (1, 3, 1, 1)
    out = poisoned(x_shape, dtype)
    indices = np.full(y_shape, 15)
    fc.max_pool2d_backward(np.ones(y_shape, dtype), indices, x_shape, layout=layout, out=out)
    assert not np.isnan(out).any() and out.sum() == 3


# ---- averages -----------------------------------------------------------------


@pytest.mark.parametrize("problem", POOL, ids=str)
def test_averages(problem, isa, layout, dtype):
    for count_include_pad in (None, True, False):
        keywords = problem.window_of_average | {"layout": layout}
        check_average(problem, keywords | {"count_include_pad": count_include_pad}, dtype)


def check_average(problem, keywords, dtype):
    """Both directions, within 4 u of the average of the absolute values."""
    layout, rng = keywords["layout"], problems.rng_for(problem)
    x = both(rng.standard_normal(problem.x_shape("NHWC")).astype(dtype), layout)
    y = poisoned(problem.y_shape(layout), dtype)
    fc.avg_pool2d(x, **keywords, out=y)
    truth = oracle.avg_pool2d(x, **keywords, accumulate=np.longdouble)
    assert_within(y, truth, oracle.avg_pool2d(abs(x), **keywords), 4)
    grad_y = both(rng.standard_normal(problem.y_shape("NHWC")).astype(dtype), layout)
    grad_x = poisoned(x.shape, dtype)
    fc.avg_pool2d_backward(grad_y, x.shape, **keywords, out=grad_x)
    truth = oracle.avg_pool2d_backward(grad_y, x.shape, **keywords, accumulate=np.longdouble)
    terms = oracle.avg_pool2d_backward(abs(grad_y), x.shape, **keywords)
    assert_within(grad_x, truth, terms, 4)


@pytest.mark.parametrize("divisor", [1, 7, 2**31])
def test_divisor_override(divisor, isa, layout, dtype):
    keywords = PROBLEM.window_of_average | {"divisor_override": divisor, "layout": layout}
    x = np.random.default_rng(8).standard_normal(PROBLEM.x_shape(layout)).astype(dtype)
    y = fc.avg_pool2d(x, **keywords)
    truth = oracle.avg_pool2d(x, **keywords, accumulate=np.longdouble)
    assert_within(y, truth, oracle.avg_pool2d(abs(x), **keywords), 4)


@pytest.mark.parametrize("integer", [np.uint8, np.int8, np.int16])
def test_averages_of_integers_are_float32(integer, isa, layout):
    limits = np.iinfo(integer)
    x = np.random.default_rng(9).integers(
        limits.min, limits.max, size=PROBLEM.x_shape(layout), endpoint=True, dtype=integer
    )
    keywords = PROBLEM.window_of_average | {"divisor_override": 4, "layout": layout}
    y = fc.avg_pool2d(x, **keywords)
    assert y.dtype == np.float32
    assert_exact(y, oracle.avg_pool2d(x, **keywords))


def test_divisors_by_hand():
    """A 3 x 3 image of ones under 2 x 2 windows with a border of one pixel."""
    x = np.ones((1, 3, 3, 1), np.float32)

    def corner_and_middle(**keywords):
        y = fc.avg_pool2d(x, 2, 1, **keywords)
        return float(y[0, 0, 0, 0]), float(y[0, 1, 1, 0])

    assert corner_and_middle(padding=1) == (0.25, 1)
    assert corner_and_middle(padding=1, count_include_pad=True) == (0.25, 1)
    assert corner_and_middle(padding=1, count_include_pad=False) == (1, 1)
    assert corner_and_middle(padding=1, divisor_override=2) == (0.5, 2)
    assert corner_and_middle(padding="same_lower") == (1, 1)
    assert corner_and_middle(padding="same_lower", count_include_pad=True) == (0.25, 1)


def test_positions_beyond_the_border_are_never_counted():
    """Three pixels, windows of two: the second window hangs over by one under ``ceil_mode``."""
    x = np.ones((1, 1, 3, 1), np.float32)
    y = fc.avg_pool2d(x, (1, 2), ceil_mode=True)
    assert_exact(y.ravel(), [1, 1])
    y = fc.avg_pool2d(x, (1, 2), ceil_mode=True, padding=((0, 0), (0, 1)))
    assert_exact(y.ravel(), [1, 0.5])


# ---- both ---------------------------------------------------------------------


@pytest.mark.parametrize("problem", POOL_MAX, ids=str)
def test_output_shape(problem, layout):
    shape = fc.pool2d_output_shape(problem.x_shape(layout), **problem.window, layout=layout)
    assert type(shape) is tuple and shape == problem.y_shape(layout)


def test_stride_defaults_to_the_window():
    x = np.zeros((1, 6, 6, 1), np.float32)
    assert fc.max_pool2d(x, 2).shape == fc.avg_pool2d(x, 2).shape == (1, 3, 3, 1)
    assert fc.max_pool2d(x, (3, 2)).shape == fc.avg_pool2d(x, [3, 2]).shape == (1, 2, 3, 1)
    assert fc.avg_pool2d_backward(np.zeros((1, 3, 3, 1)), x.shape, 2).shape == x.shape
    assert fc.pool2d_output_shape(x.shape, np.int64(2)) == (1, 3, 3, 1)


def test_padding_may_exceed_half_the_window():
    """Legal as long as every window covers a pixel."""
    x = np.random.default_rng(10).integers(-9, 9, size=(1, 5, 5, 3)).astype(np.float32)
    check_max(x, {"kernel_size": 3, "stride": 2, "padding": 2}, "NHWC")
    y = fc.avg_pool2d(x, 3, 2, padding=2, divisor_override=1)
    assert_exact(y, oracle.avg_pool2d(x, 3, 2, padding=2, divisor_override=1))


@pytest.mark.parametrize("form", FORMS)
def test_any_memory_layout_is_read(form, isa, layout, dtype):
    change, rng = FORMS[form], np.random.default_rng(11)
    plain = rng.integers(-9, 9, size=PROBLEM.x_shape(layout)).astype(dtype)
    maximum = PROBLEM.window | {"layout": layout, "return_indices": True}
    average = PROBLEM.window_of_average | {"layout": layout}
    y, indices = fc.max_pool2d(plain, **maximum)
    theirs = fc.max_pool2d(change(plain), **maximum)
    assert same_bits(theirs[0], y) and same_bits(theirs[1], indices)
    assert same_bits(fc.avg_pool2d(change(plain), **average), fc.avg_pool2d(plain, **average))
    grad_y = rng.integers(-9, 9, size=y.shape).astype(dtype)
    grad_x = fc.max_pool2d_backward(grad_y, indices, plain.shape, layout=layout)
    changed = change(grad_y), change(indices)
    assert same_bits(fc.max_pool2d_backward(*changed, plain.shape, layout=layout), grad_x)
    grad_x = fc.avg_pool2d_backward(grad_y, plain.shape, **average)
    assert same_bits(fc.avg_pool2d_backward(change(grad_y), plain.shape, **average), grad_x)


@pytest.mark.parametrize("form", WRITABLE)
def test_out_may_have_any_strides(form, isa, layout, dtype):
    rng = np.random.default_rng(12)
    x = rng.integers(-9, 9, size=PROBLEM.x_shape(layout)).astype(dtype)
    grad_y = rng.integers(-9, 9, size=PROBLEM.y_shape(layout)).astype(dtype)
    average = PROBLEM.window_of_average | {"layout": layout, "divisor_override": 4}
    maximum = PROBLEM.window | {"layout": layout}
    indices = oracle.max_pool2d(x, **maximum)[1]
    calls = (
        lambda out: fc.max_pool2d(x, **maximum, out=out),
        lambda out: fc.avg_pool2d(x, **average, out=out),
        lambda out: fc.max_pool2d_backward(grad_y, indices, x.shape, layout=layout, out=out),
        lambda out: fc.avg_pool2d_backward(grad_y, x.shape, **average, out=out),
    )
    for call, shape in zip(calls, (grad_y.shape,) * 2 + (x.shape,) * 2, strict=True):
        plain = call(poisoned(shape, dtype))
        out = FORMS[form](poisoned(shape, dtype))
        assert call(out) is out
        assert same_bits(out, plain)
        if "spread" in form:
            assert (out.base == 99).sum() == out.base.size - out.size


@pytest.mark.parametrize("number", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("form", WRITABLE)
def test_out_may_be_a_pair(form, number, layout):
    """As of NumPy's functions of two results: (y, indices), either of which may be None."""
    x = np.random.default_rng(14).integers(-9, 9, size=PROBLEM.x_shape(layout)).astype(number)
    keywords = PROBLEM.window | {"layout": layout, "return_indices": True}
    plain = fc.max_pool2d(x, **keywords)
    y, indices = FORMS[form](np.zeros_like(plain[0])), FORMS[form](np.full_like(plain[1], -1))
    result = fc.max_pool2d(x, **keywords, out=(y, indices))
    assert result[0] is y and result[1] is indices
    assert same_bits(y, plain[0]) and same_bits(indices, plain[1])
    indices[...] = -1
    result = fc.max_pool2d(x, **keywords, out=(None, indices))
    assert result[1] is indices and same_bits(result[0], plain[0]) and same_bits(indices, plain[1])
    y[...] = 0
    result = fc.max_pool2d(x, **keywords, out=(y, None))
    assert result[0] is y and same_bits(y, plain[0]) and same_bits(result[1], plain[1])


WRONG_PAIRS = {
    "three": (lambda y, i, x: (y, i, y), ValueError, "3 entries"),
    "one": (lambda y, i, x: (y,), ValueError, "1 entries"),
    "list": (lambda y, i, x: [y, i], TypeError, "out"),
    "dtype": (lambda y, i, x: (y, i.astype(np.int32)), TypeError, r"out\[1\] has dtype int32"),
    "shape": (lambda y, i, x: (y, i[:-1]), ValueError, r"out\[1\] has shape"),
    "read-only": (lambda y, i, x: (y, np.broadcast_to(np.int64(0), i.shape)), ValueError, "read-only"),
    "in x": (lambda y, i, x: (y, x.ravel().view(np.int64)[: i.size].reshape(i.shape)), ValueError, "with x"),
    "in y": (lambda y, i, x: (i.ravel().view(x.dtype)[: y.size].reshape(y.shape), i), ValueError, r"out\[0\]"),
}


@pytest.mark.parametrize("number", [np.float64, np.int64])
@pytest.mark.parametrize("case", WRONG_PAIRS)
def test_wrong_pairs(case, number):
    make, error, text = WRONG_PAIRS[case]
    x = np.zeros((2, 6, 6, 4), number)
    y, indices = np.full((2, 3, 3, 4), 7, number), np.full((2, 3, 3, 4), 7)
    with pytest.raises(error, match=text):
        fc.max_pool2d(x, 2, return_indices=True, out=make(y, indices, x))
    assert (y == 7).all() and (indices == 7).all() and not x.any()
    with pytest.raises(TypeError, match="out"):
        fc.max_pool2d(x, 2, out=(y, indices))


def test_backward_of_strips_and_of_scattered_indices_agree_to_the_bit(isa, dtype):
    """Indices that stray far apart take another path than those of a pooling; both add in the order of the windows."""
    rng = np.random.default_rng(21)
    x_shape, y_shape = (2, 24, 23, 37), (2, 12, 12, 37)
    x = rng.standard_normal(x_shape).astype(dtype)
    for window in ({"kernel_size": 2, "ceil_mode": True}, {"kernel_size": 3, "stride": 2, "padding": 1}):
        y, indices = fc.max_pool2d(x, **window, return_indices=True)
        assert y.shape == y_shape
        grad_y = rng.standard_normal(y_shape).astype(dtype)
        near = fc.max_pool2d_backward(grad_y, indices, x_shape)
        strayed = indices.copy()
        strayed[:, :, :, 5] = rng.integers(0, 24 * 23, size=(2, 12, 12))
        far = fc.max_pool2d_backward(grad_y, strayed, x_shape)
        stray = grad_y[..., 5:6], strayed[..., 5:6], (*x_shape[:3], 1)
        terms = oracle.max_pool2d_backward(abs(stray[0]), *stray[1:])
        assert_within(far[..., 5:6], oracle.max_pool2d_backward(*stray), terms, 4)
        assert same_bits(np.delete(far, 5, axis=3), np.delete(near, 5, axis=3))


@pytest.mark.parametrize("place", [-1, 24 * 23, -(2**40), 2**40, 2**63 - 1, -(2**63)])
def test_one_bad_index_among_many_is_found_before_anything_is_written(place, isa, layout):
    x_shape = (2, 24, 23, 37) if layout == "NHWC" else (2, 37, 24, 23)
    x = np.random.default_rng(22).standard_normal(x_shape).astype(np.float32)
    y, indices = fc.max_pool2d(x, 2, layout=layout, return_indices=True)
    out = np.full(x_shape, 7, np.float32)
    for at in ((0, 0, 0, 0), tuple(n - 1 for n in y.shape), tuple(n // 2 for n in y.shape)):
        wrong = indices.copy()
        wrong[at] = place
        with pytest.raises(ValueError, match="indices"):
            fc.max_pool2d_backward(y, wrong, x_shape, layout=layout, out=out)
        assert (out == 7).all()


def test_one_image_without_batch_axis(isa, layout, dtype):
    x = np.random.default_rng(13).standard_normal(PROBLEM.x_shape(layout)).astype(dtype)
    batch = fc.max_pool2d(x, **PROBLEM.window, layout=layout, return_indices=True)
    one = fc.max_pool2d(x[1], **PROBLEM.window, layout=layout, return_indices=True)
    assert same_bits(one[0], batch[0][1]) and same_bits(one[1], batch[1][1])
    average = PROBLEM.window_of_average | {"layout": layout}
    assert same_bits(fc.avg_pool2d(x[1], **average), fc.avg_pool2d(x, **average)[1])
    grad_x = fc.max_pool2d_backward(*one, x[1].shape, layout=layout)
    batch_grad_x = fc.max_pool2d_backward(*batch, x.shape, layout=layout)
    assert same_bits(grad_x, batch_grad_x[1])
    grad_x = fc.avg_pool2d_backward(one[0], x[1].shape, **average)
    assert same_bits(grad_x, fc.avg_pool2d_backward(batch[0], x.shape, **average)[1])
    shape = fc.pool2d_output_shape(x[1].shape, **PROBLEM.window, layout=layout)
    assert shape == one[0].shape


def test_no_images(layout, dtype):
    """M03, M18: an empty batch is legal and has an empty result."""
    x = np.zeros((0, *PROBLEM.x_shape(layout)[1:]), dtype)
    y_shape = (0, *PROBLEM.y_shape(layout)[1:])
    y, indices = fc.max_pool2d(x, **PROBLEM.window, layout=layout, return_indices=True)
    assert y.shape == indices.shape == y_shape and y.dtype == dtype
    assert fc.max_pool2d_backward(y, indices, x.shape, layout=layout).shape == x.shape
    average = PROBLEM.window_of_average | {"layout": layout}
    assert fc.avg_pool2d(x, **average).shape == y_shape
    assert fc.avg_pool2d_backward(y, x.shape, **average).shape == x.shape


# ---- whole images -------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (7, 7), (3, 50), (112, 112)])
@pytest.mark.parametrize("channels", [1, 3, 17, 32])
def test_global_pooling(size, channels, isa, layout, dtype):
    rng = np.random.default_rng(channels)
    x = both(rng.standard_normal((2, *size, channels)).astype(dtype) + dtype(1), layout)
    pixels = (1, 2) if layout == "NHWC" else (2, 3)
    average = fc.global_avg_pool2d(x, layout=layout)
    assert average.shape == (2, channels) and average.dtype == dtype
    truth = x.mean(axis=pixels, dtype=np.longdouble)
    assert_within(average, truth, abs(x).mean(axis=pixels, dtype=np.longdouble), 4)
    maximum = fc.global_max_pool2d(x, layout=layout)
    assert same_bits(maximum, x.max(axis=pixels))
    kept = fc.global_avg_pool2d(x, keepdims=True, layout=layout)
    assert kept.shape == x.mean(axis=pixels, keepdims=True).shape
    assert same_bits(kept.reshape(2, channels), average)
    kept = fc.global_max_pool2d(x, keepdims=True, layout=layout)
    assert same_bits(kept, x.max(axis=pixels, keepdims=True))


def test_global_pooling_of_one_image_and_of_integers(layout):
    x = np.random.default_rng(14).integers(0, 255, size=(4, 5, 6)).astype(np.uint8)
    pixels = (0, 1) if layout == "NHWC" else (1, 2)
    maximum = fc.global_max_pool2d(x, layout=layout)
    assert same_bits(maximum, x.max(axis=pixels))
    average = fc.global_avg_pool2d(x, layout=layout)
    assert average.dtype == np.float32 and average.shape == maximum.shape
    np.testing.assert_allclose(average, x.mean(axis=pixels), rtol=1e-6)
