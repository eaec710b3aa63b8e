# SPDX-License-Identifier: BSD-3-Clause
"""Random problems, about half of them illegal: a call succeeds exactly when it should, is right
when it succeeds and changes nothing when it does not.

Set FASTCONV_FUZZ_EXAMPLES to look longer than the default, and other places than the last time.
"""

import os

import numpy as np
import oracle
import pytest
from compare import assert_exact
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import fastconv as fc

EXAMPLES = int(os.environ.get("FASTCONV_FUZZ_EXAMPLES", "0"))
BUDGET = settings(
    max_examples=EXAMPLES or 250,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

counts = st.integers(1, 5)
channels = st.one_of(counts, st.sampled_from([8, 9, 16, 17, 31, 33]))
sizes = st.one_of(st.integers(1, 9), st.sampled_from([14, 15, 16, 17, 29, 33]))
kernels = st.tuples(st.integers(1, 4), st.integers(1, 4))
steps = st.tuples(st.integers(1, 4), st.integers(1, 4))
sides = st.tuples(st.integers(0, 4), st.integers(0, 4))
paddings = st.one_of(
    st.integers(0, 3),
    sides,
    st.tuples(sides, sides),
    st.sampled_from(["same", "same_lower", "valid"]),
)
rarely_illegal = st.sampled_from([None] * 14 + ["stride", "dilation", "kernel", "padding", "groups", "c"])
BAD = {
    "stride": [0, -1, (0, 1), 2**63, (1, 2, 3), 1.0, "1", None, True],
    "dilation": [0, -3, (1, 0), 2**63, (), 1.5, "1", None],
    "padding": [-1, (0, -1), ((0, 0), (-1, 0)), (1, 2, 3), ((1, 2),), "some", 0.0, None],
    "groups": [0, -1, 7, 2**40, 1.0, None, (1,)],
}
layouts = st.sampled_from(["NHWC", "NCHW"])
dtypes = st.sampled_from([np.float32, np.float64])


def whole_numbers(seed, shape, dtype):
    return np.random.default_rng(seed).integers(-9, 9, size=shape).astype(dtype)


@st.composite
def conv_calls(draw):
    """(x, weight, keyword arguments, whether they are illegal on purpose)."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    kernel, c, k = list(draw(kernels)), draw(channels), draw(channels)
    n, h, w = draw(st.integers(0, 3)), draw(sizes), draw(sizes)
    dtype, layout, fault = draw(dtypes), draw(layouts), draw(rarely_illegal)
    keywords = {"stride": draw(steps), "padding": draw(paddings), "dilation": draw(steps)}
    keywords |= {"groups": groups, "layout": layout}
    x_channels = c * groups
    if fault == "kernel":
        kernel[draw(st.integers(0, 1))] = 0
    elif fault == "c":
        x_channels += 1
    elif fault:
        keywords[fault] = draw(st.sampled_from(BAD[fault]))
    x = whole_numbers(1, (n, h, w, x_channels), dtype)
    weight = whole_numbers(2, (*kernel, c, k * groups), dtype)
    x, weight = oracle.from_nhwc(x, layout), oracle.from_rsck(weight, layout)
    if draw(st.booleans()):
        x, weight = np.ascontiguousarray(x), np.ascontiguousarray(weight)
    return x, weight, keywords, fault


def is_legal(x, weight, keywords, fault):
    """The rules, written down once more: nothing spoiled, and at least one output pixel."""
    if fault:
        return False
    size = oracle.to_nhwc(x, keywords["layout"]).shape[1:3]
    kernel = oracle.to_rsck(weight, keywords["layout"]).shape[:2]
    how = [keywords[name] for name in ("stride", "padding", "dilation")]
    return min(oracle.output_size(size, kernel, *how)) >= 1


def framed(shape, dtype):
    """An array of NaN within a frame of sevens."""
    frame = np.full([length + 2 for length in shape], 7, dtype)
    inside = frame[(slice(1, -1),) * len(shape)]
    inside[...] = np.nan
    return frame, inside


@BUDGET
@given(conv_calls(), st.sampled_from(fc.isas()))
def test_convolution(call, isa):
    x, weight, keywords, _ = call
    with fc.using_isa(isa):
        if not is_legal(*call):
            event("refused")
            frame, out = framed((2, 3, 4, 5), x.dtype)
            for extra in ({}, {"out": out}):
                with pytest.raises((TypeError, ValueError)):
                    fc.conv2d(x, weight, **keywords, **extra)
            assert np.isnan(out).all() and np.isfinite(frame).sum() == frame.size - out.size
            return
        event("computed")
        truth = oracle.conv2d(x, weight, **keywords)
        frame, out = framed(truth.shape, x.dtype)
        assert fc.conv2d(x, weight, **keywords, algorithm="direct", out=out) is out
        assert_exact(out, truth)
        assert (frame == 7).sum() >= frame.size - out.size
        gradients = fc.conv2d_backward(out, x, weight, **keywords, algorithm="direct")
        truth = oracle.conv2d_backward_input(out, weight, x.shape, **keywords)
        assert_exact(gradients.x, truth)
        truth = oracle.conv2d_backward_weight(out, x, weight.shape, **keywords)
        if abs(truth).max(initial=0) < 2**24:
            assert_exact(gradients.weight, truth)


@st.composite
def winograd_calls(draw):
    """(x, weight, keyword arguments) of 3x3 filters with stride 1."""
    groups, layout, dtype = draw(st.sampled_from([1, 1, 2])), draw(layouts), draw(dtypes)
    padding = draw(st.one_of(paddings, st.just("same")))
    smallest = 3 if padding == "valid" else 1
    size = (max(draw(sizes), smallest), max(draw(sizes), smallest))
    x = whole_numbers(1, (draw(st.integers(0, 3)), *size, draw(channels) * groups), dtype)
    weight = whole_numbers(2, (3, 3, x.shape[3] // groups, draw(channels) * groups), dtype)
    x, weight = oracle.from_nhwc(x, layout), oracle.from_rsck(weight, layout)
    if draw(st.booleans()):
        x, weight = np.ascontiguousarray(x), np.ascontiguousarray(weight)
    return x, weight, {"padding": padding, "groups": groups, "layout": layout}


@BUDGET
@given(winograd_calls(), st.sampled_from(fc.isas()))
def test_winograd(call, isa):
    """Results are whole numbers, errors far less than a half: a right result is right when it is rounded."""
    x, weight, keywords = call
    layout = keywords["layout"]
    size, kernel = oracle.to_nhwc(x, layout).shape[1:3], (3, 3)
    if min(oracle.output_size(size, kernel, 1, keywords["padding"])) < 1:
        event("no output")
        return
    how = keywords | {"algorithm": "winograd"}
    with fc.using_isa(isa):
        truth = oracle.conv2d(x, weight, **keywords)
        frame, out = framed(truth.shape, x.dtype)
        fc.conv2d(x, weight, **how, out=out)
        assert_exact(np.rint(out), truth)
        assert (frame == 7).sum() >= frame.size - out.size
        grad_y = whole_numbers(3, truth.shape, x.dtype)
        gradients = fc.conv2d_backward(grad_y, x, weight, **how)
        assert_exact(np.rint(gradients.x), oracle.conv2d_backward_input(grad_y, weight, x.shape, **keywords))
        assert_exact(np.rint(gradients.weight), oracle.conv2d_backward_weight(grad_y, x, weight.shape, **keywords))


@st.composite
def pool_calls(draw):
    """(x, kernel, keyword arguments, whether they are illegal on purpose)."""
    layout, fault = draw(layouts), draw(rarely_illegal)
    x = whole_numbers(3, (draw(st.integers(0, 3)), draw(sizes), draw(sizes), draw(channels)), float)
    x = oracle.from_nhwc(x.astype(draw(dtypes)), layout)
    kernel = draw(kernels)
    keywords = {"stride": draw(st.one_of(st.none(), steps)), "padding": draw(paddings)}
    keywords |= {"dilation": draw(steps), "ceil_mode": draw(st.booleans()), "layout": layout}
    if fault in ("groups", "c"):
        fault = None
    elif fault == "kernel":
        kernel = draw(st.sampled_from([0, (0, 1), -1, 1.0, (2, 2, 2), None, 2**63]))
    elif fault:
        keywords[fault] = draw(st.sampled_from([bad for bad in BAD[fault] if bad is not None]))
    return x, kernel, keywords, fault


def covers_the_image(x, kernel, keywords, fault, dilation):
    """Whether the call is legal: at least one window, and a pixel of the image in each."""
    if fault and not (fault == "dilation" and dilation == 1):
        return False
    size = oracle.to_nhwc(x, keywords["layout"]).shape[1:3]
    how = kernel, keywords["stride"] or kernel, keywords["padding"], dilation
    if min(oracle.output_size(size, *how, keywords["ceil_mode"])) < 1:
        return False
    windows = oracle.windows(size, *how, keywords["ceil_mode"])
    return all(rows and columns for _, _, rows, columns, _ in windows)


@BUDGET
@given(pool_calls(), st.sampled_from(fc.isas()))
def test_pooling(call, isa):
    x, kernel, keywords, fault = call
    average = {name: value for name, value in keywords.items() if name != "dilation"}
    with fc.using_isa(isa):
        if covers_the_image(*call, keywords["dilation"]):
            y, indices = fc.max_pool2d(x, kernel, **keywords, return_indices=True)
            true_y, true_indices = oracle.max_pool2d(x, kernel, **keywords)
            assert_exact(y, true_y)
            np.testing.assert_array_equal(indices, true_indices)
            layout = keywords["layout"]
            grad_x = fc.max_pool2d_backward(y, indices, x.shape, layout=layout)
            assert_exact(grad_x, oracle.max_pool2d_backward(y, indices, x.shape, layout=layout))
        else:
            with pytest.raises((TypeError, ValueError)):
                fc.max_pool2d(x, kernel, **keywords)
        if covers_the_image(x, kernel, average, fault, 1):
            y = fc.avg_pool2d(x, kernel, **average)
            close = {"rtol": 1e-6, "atol": 1e-5}
            np.testing.assert_allclose(y, oracle.avg_pool2d(x, kernel, **average), **close)
            truth = oracle.avg_pool2d_backward(y, x.shape, kernel, **average)
            grad_x = fc.avg_pool2d_backward(y, x.shape, kernel, **average)
            np.testing.assert_allclose(grad_x, truth, **close)
        else:
            with pytest.raises((TypeError, ValueError)):
                fc.avg_pool2d(x, kernel, **average)


@BUDGET
@given(
    st.lists(st.integers(0, 5), max_size=3), channels, channels, st.booleans(), dtypes,
    st.sampled_from(fc.isas()),
)  # fmt: skip
def test_linear(rows, inputs, outputs, fits, dtype, isa):
    x = whole_numbers(4, (*rows, inputs), dtype)
    weight = whole_numbers(5, (inputs if fits else inputs + 1, outputs), dtype)
    with fc.using_isa(isa):
        if not fits:
            with pytest.raises(ValueError, match=r"\bx\b|\bweight\b"):
                fc.linear(x, weight)
            return
        y = fc.linear(x, weight)
        assert_exact(y, oracle.linear(x, weight))
        truths = oracle.linear_backward(y, x, weight)
        for gradient, truth in zip(fc.linear_backward(y, x, weight), truths, strict=True):
            assert_exact(gradient, truth)
