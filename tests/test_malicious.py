# SPDX-License-Identifier: BSD-3-Clause
"""Inputs that crashed other libraries, or could: each is refused with the right exception, naming
the argument, in less than a millisecond, before anything is written. (The inputs: malicious.py.)

Inputs that are legal and merely used to crash have their result compared with the truth. Of the
same list, M03 is in test_conv2d.py, M40 and M43 in test_memory_safety.py, M41 in shapes/, M44 in
test_nonfinite.py, M45 in test_memory_use.py.
"""

import itertools
import re
import time

import malicious
import numpy as np
import oracle
import pytest
from compare import assert_exact
from malicious import LEGAL, OUT, W, X, broadcast, zeros

import fastconv as fc

REFUSED_WITHIN = 1e-3  # seconds
ATTEMPTS = 5  # of which the fastest counts
GIB = 2**30


@pytest.fixture
def little_memory():
    """At most 8 GiB more than now, so that "too large" does not depend on the machine."""
    resource = pytest.importorskip("resource")
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + 8 * GIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def refusal(exception, function, *arguments, **keywords):
    """The exception that the call raises, in time."""
    seconds = []
    for _ in range(ATTEMPTS):
        start = time.perf_counter()
        with pytest.raises(exception) as caught:
            function(*arguments, **keywords)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < REFUSED_WITHIN
    return caught.value


def answer_or_refusal(function, *arguments, **keywords):
    """The result, or None when the call is refused; either comes in time."""
    seconds, answer = [], None
    for _ in range(ATTEMPTS):
        start = time.perf_counter()
        try:
            answer = function(*arguments, **keywords)
        except (ValueError, MemoryError) as error:
            assert str(error)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < REFUSED_WITHIN
    return answer


@pytest.mark.parametrize("case", list(malicious.all_cases()), ids=str)
def test_refused(case, little_memory):
    function, arguments = getattr(fc, case.function), LEGAL[case.function] | case.changes
    error = refusal(case.exception, function, **arguments)
    if not isinstance(error, MemoryError):
        named = [name for name in case.names if re.search(rf"\b{name}\b", str(error))]
        assert named, f"none of {case.names} in {error!r}"
    if case.function in OUT and "out" not in arguments:
        out = np.full(OUT[case.function], np.nan, np.float32)
        with pytest.raises((TypeError, ValueError, MemoryError)):
            function(**arguments, out=out)
        assert np.isnan(out).all()


@pytest.mark.parametrize("name", LEGAL)
def test_the_legal_call_is_legal(name):
    """Otherwise the cases above would be refused for another reason than their own."""
    getattr(fc, name)(**LEGAL[name])
    if name in OUT:
        out = np.full(OUT[name], np.nan, np.float32)
        assert getattr(fc, name)(**LEGAL[name], out=out) is out
        assert not np.isnan(out).any()


def test_messages_show_both_shapes():
    with pytest.raises(ValueError) as caught:
        fc.conv2d(zeros(1, 8, 8, 5), W)
    assert "(1, 8, 8, 5)" in str(caught.value) and "(3, 3, 4, 6)" in str(caught.value)
    with pytest.raises(ValueError) as caught:
        fc.conv2d(X, W, out=zeros(1, 7, 6, 6))
    assert "(1, 7, 6, 6)" in str(caught.value) and "(1, 6, 6, 6)" in str(caught.value)
    with pytest.raises(ValueError) as caught:
        fc.linear(zeros(5, 3), zeros(4, 6))
    assert "(5, 3)" in str(caught.value) and "(4, 6)" in str(caught.value)


# ---- numbers at the edge of the integers (M26) --------------------------------

HUGE = (2**31 - 1, 2**31, 2147483697, 1250999896764, 2**62, 2**63 - 1, 2**63, 10**30)
KEYWORDS = ("stride", "padding", "dilation")
SUBSETS = [names for count in (1, 2, 3) for names in itertools.combinations(KEYWORDS, count)]


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_m26_huge_geometry(names, value, little_memory):
    x = np.arange(64, dtype=np.float32).reshape(1, 8, 8, 1)
    weight = np.arange(1, 10, dtype=np.float32).reshape(3, 3, 1, 1)
    for spelled in (value, (value, 1), (1, value)):
        how = dict.fromkeys(names, spelled)
        y = answer_or_refusal(fc.conv2d, x, weight, **how)
        assert y is None or np.array_equal(y, oracle.conv2d(x, weight, **how))
        shape = answer_or_refusal(fc.conv2d_output_shape, x.shape, weight.shape, **how)
        assert shape is None or shape == (1, *oracle.output_size((8, 8), 3, **how), 1)
        y = answer_or_refusal(fc.max_pool2d, x, 3, **how)
        assert y is None or np.array_equal(y, oracle.max_pool2d(x, 3, **how)[0])
        shape = answer_or_refusal(fc.pool2d_output_shape, x.shape, 3, **how)
        how = {"stride": 3} | how
        assert shape is None or shape == (1, *oracle.output_size((8, 8), 3, **how), 1)


@pytest.mark.parametrize("value", HUGE)
def test_m26_huge_window(value, little_memory):
    x = np.arange(64, dtype=np.float32).reshape(1, 8, 8, 1)
    for kernel in (value, (value, 1), (1, value)):
        for how in ({}, {"stride": 1}, {"stride": value}):
            refusal(ValueError, fc.avg_pool2d, x, kernel, **how)
            for wider in (how, how | {"dilation": value}):
                refusal(ValueError, fc.max_pool2d, x, kernel, **wider)
                refusal(ValueError, fc.pool2d_output_shape, x.shape, kernel, **wider)
                refusal(ValueError, fc.pool2d_output_shape, (2**31, 8, 8, 1), kernel, **wider)


@pytest.mark.parametrize("value", [2**31, 2**40, 2**62])
def test_m26_huge_steps_that_are_legal(value):
    """A stride beyond the image leaves one output; a filter of one pixel has no holes to widen."""
    x = np.arange(1, 65, dtype=np.float32).reshape(1, 8, 8, 1)
    weight = np.arange(9, dtype=np.float32).reshape(3, 3, 1, 1)
    assert_exact(fc.conv2d(x, weight, stride=value), fc.conv2d(x, weight)[:, :1, :1])
    one = np.ones((1, 1, 1, 1), np.float32)
    assert_exact(fc.conv2d(x, one, dilation=value), x)
    assert_exact(fc.max_pool2d(x, 3, value), fc.max_pool2d(x, 3, 1)[:, :1, :1])
    assert_exact(fc.avg_pool2d(x, 3, value), fc.avg_pool2d(x, 3, 1)[:, :1, :1])


# ---- results larger than memory (M31, M36) ------------------------------------


TOO_LARGE = (ValueError, MemoryError)


@pytest.mark.parametrize("side", [2**17, 2**24, 2**30])
def test_m36_results_larger_than_memory(side, little_memory):
    """Inputs of four bytes whose result would fill the machine."""
    x, weight = broadcast(1, side, side, 1), np.ones((3, 3, 1, 1), np.float32)
    refusal(TOO_LARGE, fc.conv2d, x, weight)
    refusal(TOO_LARGE, fc.conv2d, x.transpose(0, 3, 1, 2), weight[:1, :1], layout="NCHW")
    refusal(TOO_LARGE, fc.max_pool2d, x, 2, 1)
    refusal(TOO_LARGE, fc.max_pool2d, x, 2, 1, return_indices=True)
    refusal(TOO_LARGE, fc.avg_pool2d, x, 2, 1)
    refusal(TOO_LARGE, fc.conv2d_backward_input, x, weight, (1, side + 2, side + 2, 1))
    refusal(TOO_LARGE, fc.avg_pool2d_backward, x, (1, side + 1, side + 1, 1), 2, 1)
    refusal(TOO_LARGE, fc.linear, x[0, ..., 0], x[0, ..., 0])
    small = np.ones((1, 4, 4, 1), np.float32)
    assert_exact(fc.conv2d(small, weight), np.full((1, 2, 2, 1), 9))


def test_m36_products_of_sizes_that_wrap_around(little_memory):
    """height * width * channels is 4 modulo 2**64."""
    height, channels = 4194305, 211106198978564
    assert height * height * channels % 2**64 == 4
    shape = (1, height, height, channels)
    arguments = zeros(1, 2, 2, 1), broadcast(1, 1, channels, 1), shape
    refusal(TOO_LARGE, fc.conv2d_backward_input, *arguments, stride=height - 1)
    grad_y = broadcast(1, 1, 1, channels)
    indices = np.broadcast_to(np.int64(0), grad_y.shape)
    refusal(TOO_LARGE, fc.max_pool2d_backward, grad_y, indices, shape)
    refusal(TOO_LARGE, fc.avg_pool2d_backward, grad_y, shape, 1, height)
    x, grad_y = broadcast(1, 8, 8, 2**32), broadcast(1, 6, 6, 2**32)
    refusal(TOO_LARGE, fc.conv2d_backward_weight, grad_y, x, (3, 3, 2**32, 2**32))
    rows, weight = broadcast(5, 2**30), broadcast(2**30, 2**30)
    refusal(TOO_LARGE, fc.linear_backward, rows, rows, weight)


def test_m31_empty_and_giant_at_once():
    """No images, each of them giant: the empty result or a refusal."""
    for shape in ((0, 2**30, 2**28, 4), (0, 2**58, 1, 4), (0, 2**40, 1, 4)):
        x = np.lib.stride_tricks.as_strided(X, shape, (0, 0, 0, 0))
        y = answer_or_refusal(fc.conv2d, x, W[:1, :1])
        assert y is None or y.shape == (*shape[:3], 6)
        y = answer_or_refusal(fc.max_pool2d, x, 1)
        assert y is None or y.shape == shape


# ---- objects that are nearly arrays (M42) -------------------------------------


class Hostile:
    """Pretends to be an array and fails when asked for it."""

    shape, dtype, ndim = (1, 8, 8, 4), np.dtype(np.float32), 4

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("not today")

    def __dlpack__(self, **_):
        raise RuntimeError("not today")


class Flattening(np.ndarray):
    """A subclass whose copies have another shape than they should."""

    def __array_finalize__(self, other):
        if self.ndim == 4 and self.flags.owndata:
            self.shape = (self.size,)


def test_m42_no_array():
    for strange in (Hostile(), memoryview(b"1234"), np.float32(1), range(4)):
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            fc.conv2d(strange, W)


def test_m42_masked_arrays_and_odd_subclasses():
    """The plain numbers, or a TypeError: never an answer that is neither."""
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 9, size=X.shape).astype(np.float32)
    weight = rng.integers(-9, 9, size=W.shape).astype(np.float32)
    for strange in (np.ma.masked_array(x, x > 0), x.view(Flattening)):
        try:
            y = fc.conv2d(strange, weight)
        except TypeError:
            continue
        assert_exact(np.asarray(y), oracle.conv2d(x, weight))


def test_m42_byte_swapped_out_is_refused_or_right():
    x, weight = np.ones((1, 3, 3, 1), np.float32), np.ones((3, 3, 1, 1), np.float32)
    out = np.zeros((1, 1, 1, 1), np.dtype(np.float32).newbyteorder())
    try:
        fc.conv2d(x, weight, out=out)
    except TypeError:
        assert not out.any()
    else:
        assert out[0, 0, 0, 0] == 9


def test_m42_unaligned_out_is_refused_or_right():
    x, weight = np.ones((1, 3, 3, 1), np.float32), np.ones((3, 3, 1, 1), np.float32)
    out = np.zeros(5, np.uint8)[1:].view(np.float32).reshape(1, 1, 1, 1)
    try:
        fc.conv2d(x, weight, out=out)
    except ValueError:
        assert not out.any()
    else:
        assert out[0, 0, 0, 0] == 9
