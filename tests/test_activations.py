# SPDX-License-Identifier: BSD-3-Clause
"""Activations as functions: values and gradients over the whole range, along any axis, in any memory."""

import functools
import os

import numpy as np
import oracle
import pytest
from compare import errors_in_units, poisoned, same_bits
from forms import FORMS, WRITABLE
from guard import AVAILABLE, guarded
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv as fc

gelu_tanh = functools.partial(fc.gelu, approximate="tanh")
gelu_tanh_backward = functools.partial(fc.gelu_backward, approximate="tanh")
steep = functools.partial(fc.leaky_relu, slope=0.3)
steep_backward = functools.partial(fc.leaky_relu_backward, slope=0.3)
# name: function, gradient, what that takes
ELEMENTWISE = {
    "relu": (fc.relu, fc.relu_backward, "y"),
    "leaky_relu": (fc.leaky_relu, fc.leaky_relu_backward, "y"),
    "steep": (steep, steep_backward, "y"),
    "sigmoid": (fc.sigmoid, fc.sigmoid_backward, "y"),
    "tanh": (fc.tanh, fc.tanh_backward, "y"),
    "silu": (fc.silu, fc.silu_backward, "x"),
    "gelu": (fc.gelu, fc.gelu_backward, "x"),
    "gelu_tanh": (gelu_tanh, gelu_tanh_backward, "x"),
}
ALONG = {
    "softmax": (fc.softmax, fc.softmax_backward, "y"),
    "log_softmax": (fc.log_softmax, fc.log_softmax_backward, "y"),
}
ALL = ELEMENTWISE | ALONG
TRUTH = {"silu": oracle.silu, "gelu": oracle.gelu, "gelu_tanh": oracle.gelu_tanh} | oracle.ACTIVATIONS
TRUTH |= {"steep": lambda x: np.where(x > 0, x, x * 0.3), "softmax": oracle.softmax, "log_softmax": oracle.log_softmax}
RESULTS = ["sigmoid", "tanh", "silu", "gelu", "gelu_tanh"]
everywhere = pytest.mark.parametrize("name", ALL)
elementwise = pytest.mark.parametrize("name", ELEMENTWISE)
along = pytest.mark.parametrize("name", ALONG)


def whole_range(dtype):
    """Sizes from the smallest normal number on, and where the functions turn and fade away."""
    ends, rng = np.finfo(dtype), np.random.default_rng(0)
    parts = [np.geomspace(ends.tiny, ends.max / 4, 3001), np.linspace(0, 120, 3001), rng.uniform(0, 4, 20001)]
    parts += [rng.uniform(0, 45, 10001), np.linspace(700, 760, 601), [0.0, 1e4]]
    sizes = np.concatenate(parts)
    return np.concatenate([sizes, -sizes]).astype(dtype)


@functools.cache
def truths(name, dtype):
    with np.errstate(all="ignore"):
        x = whole_range(dtype).astype(np.longdouble)
        x = np.clip(x, -1e4, None) if name in oracle.SLOPE_TERMS else x  # -huge * 0
        return TRUTH[name](x)


@functools.cache
def slope_terms(name, dtype):
    with np.errstate(all="ignore"):
        return oracle.SLOPE_TERMS[name](np.clip(whole_range(dtype).astype(np.longdouble), -1e3, 1e3))


def smallest(dtype):
    return np.finfo(dtype).smallest_subnormal


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_within_four_units_everywhere(name, isa, dtype):
    y, truth = ELEMENTWISE[name][0](whole_range(dtype)), truths(name, dtype)
    visible = abs(truth) > 2 * np.finfo(dtype).tiny
    assert errors_in_units(y[visible], truth[visible], abs(truth[visible])).max() <= 4
    assert (abs(y[~visible] - truth[~visible]) <= 4 * smallest(dtype)).all()


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "steep"])
def test_straight_functions_are_exact(name, isa, dtype):
    x = whole_range(dtype)
    slope = {"relu": 0, "leaky_relu": 0.01, "steep": 0.3}[name]
    assert np.array_equal(ELEMENTWISE[name][0](x), np.where(x > 0, x, x * dtype(slope)))
    grad_y = np.random.default_rng(1).normal(size=x.shape).astype(dtype)
    expected = np.where(x > 0, grad_y, grad_y * dtype(slope))
    for at in (x, ELEMENTWISE[name][0](x)):
        assert np.array_equal(ELEMENTWISE[name][1](grad_y, at), expected)


@pytest.mark.parametrize("name", oracle.SLOPE_TERMS)
def test_slopes_from_arguments(name, isa, dtype):
    x, (first, second) = whole_range(dtype), slope_terms(name, dtype)
    slope, sizes = ELEMENTWISE[name][1](np.ones_like(x), x), abs(first) + abs(second)
    visible = sizes > 2 * np.finfo(dtype).tiny
    assert errors_in_units(slope[visible], (first + second)[visible], sizes[visible]).max() <= 6
    assert (abs(slope[~visible]) <= 8 * np.finfo(dtype).tiny).all()


@pytest.mark.parametrize("name, slope", [("sigmoid", lambda y: (1 - y) * y), ("tanh", lambda y: (1 - y) * (1 + y))])
def test_slopes_from_results(name, slope, isa, dtype):
    """Also where the result is so near 1 that 1 - y*y would lose the digits of the difference."""
    y = np.concatenate([np.linspace(0, 1, 1001), 1 - np.geomspace(1e-7, 1, 1001)]).astype(dtype)
    grad_y = np.random.default_rng(1).normal(size=y.shape).astype(dtype)
    truth = grad_y * slope(y.astype(np.longdouble))
    assert errors_in_units(ELEMENTWISE[name][1](grad_y, y), truth, abs(truth)).max() <= 4


LIMITS = {  # at plus and minus infinity: values, slopes from what the gradient takes there
    "relu": ((np.inf, 0), (1, 0)),
    "leaky_relu": ((np.inf, -np.inf), (1, 0.01)),
    "steep": ((np.inf, -np.inf), (1, 0.3)),
    "sigmoid": ((1, 0), (0, 0)),
    "tanh": ((1, -1), (0, 0)),
    "silu": ((np.inf, 0), (1, 0)),
    "gelu": ((np.inf, 0), (1, 0)),
    "gelu_tanh": ((np.inf, 0), (1, 0)),
}


@elementwise
def test_infinities_nan_and_zeros(name, isa, dtype):
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], dtype)
    function, gradient, takes = ELEMENTWISE[name]
    y = function(x)
    zero = 0.5 if name == "sigmoid" else 0
    np.testing.assert_array_equal(y, [*LIMITS[name][0], np.nan, zero, zero])
    slopes = gradient(np.ones_like(x), y if takes == "y" else x)
    np.testing.assert_array_equal(slopes[:2], np.array(LIMITS[name][1], dtype))
    assert np.isnan(slopes[2]) or name in ("relu", "leaky_relu", "steep")


@elementwise
@pytest.mark.parametrize("size", [1e4, 3e38])
def test_no_warning_and_no_overflow_far_away(name, size, isa, dtype):
    with np.errstate(all="raise"):
        y = ELEMENTWISE[name][0](np.array([size, -size], dtype))
        slopes = ELEMENTWISE[name][1](np.ones(2, dtype), np.array([size, -size], dtype) if size == 1e4 else y)
    assert np.isfinite(y).all() and np.isfinite(slopes).all()


# ---- softmax --------------------------------------------------------------------


@along
@pytest.mark.parametrize("classes", [1, 2, 7, 10, 17, 64, 65, 1000, 5003])
def test_softmax(name, classes, isa, dtype):
    rng = np.random.default_rng(classes)
    x = (rng.normal(size=(6, classes)) * [[0.01], [1], [10], [100], [1e4], [1]]).astype(dtype)
    y, truth = ALONG[name][0](x), TRUTH[name](x)
    size = abs(truth) if name == "softmax" else np.maximum(1, abs(truth))
    visible = size > 2 * np.finfo(dtype).tiny
    assert errors_in_units(y[visible], truth[visible], size[visible]).max() <= (8 if name == "softmax" else 4)
    if name == "softmax":
        assert (abs(y.sum(axis=1, dtype=np.longdouble) - 1) <= 4 * np.finfo(dtype).eps).all()
    grad_y = rng.normal(size=x.shape).astype(dtype)
    expected = getattr(oracle, f"{name}_backward")(grad_y, x)
    sizes = abs(expected) + abs(getattr(oracle, f"{name}_backward")(abs(grad_y), x)) + abs(grad_y) * oracle.softmax(x)
    spread = oracle.softmax(x) * abs(grad_y * (truth if name == "softmax" else 1)).sum(axis=1, keepdims=True)
    allowed = 32 * np.finfo(dtype).eps * (sizes + spread) + 4 * np.finfo(dtype).tiny
    assert (abs(ALONG[name][1](grad_y, y) - expected) <= allowed).all()


@along
def test_softmax_at_the_edges(name, isa, dtype):
    rows = [[1e4, -1e4, 0], [np.inf, 0, 1], [-np.inf, 0, 0], [-np.inf] * 3, [np.nan, 0, 1], [3e38, 3e38, -3e38]]
    y = ALONG[name][0](np.array(rows, dtype))
    half = [0, 0.5, 0.5]
    expected = np.array([[1, 0, 0], [np.nan] * 3, half, [np.nan] * 3, [np.nan] * 3, half[::-1]], dtype)
    if name == "log_softmax":
        with np.errstate(divide="ignore"):
            expected = np.log(expected)
        expected[0] = 0, -2e4, -1e4
        expected[5, 2] = y[5, 2] if y[5, 2] < -3e38 else 0  # -6e38 is a float64 only
    np.testing.assert_allclose(y, expected, rtol=1e-6)


@along
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_every_axis_has_the_bits_of_the_last(name, axis, isa, dtype):
    rng = np.random.default_rng(0)
    x, grad_y = rng.normal(size=(2, 19, 37, 21)).astype(dtype)
    y = ALONG[name][0](x, axis)
    last = np.ascontiguousarray(np.moveaxis(x, axis, -1))
    assert same_bits(np.ascontiguousarray(np.moveaxis(y, axis, -1)), ALONG[name][0](last))
    grad = np.ascontiguousarray(np.moveaxis(ALONG[name][1](grad_y, y, axis), axis, -1))
    expected = ALONG[name][1](*(np.ascontiguousarray(np.moveaxis(a, axis, -1)) for a in (grad_y, y)))
    assert same_bits(grad, expected)


# ---- gradients ------------------------------------------------------------------


@everywhere
def test_gradients_are_those_of_central_differences(name):
    function, gradient, takes = ALL[name]
    x = np.random.default_rng(2).normal(size=(5, 7)) * 2
    report = fc.gradcheck(
        function, x, backward=lambda grad_y, x: gradient(grad_y, x if takes == "x" else function(x)), tolerance=1e-6
    )
    assert report, report


PYTORCH = {
    "relu": lambda f, x: f.relu(x),
    "leaky_relu": lambda f, x: f.leaky_relu(x),
    "steep": lambda f, x: f.leaky_relu(x, 0.3),
    "sigmoid": lambda f, x: f.sigmoid(x),
    "tanh": lambda f, x: f.tanh(x),
    "silu": lambda f, x: f.silu(x),
    "gelu": lambda f, x: f.gelu(x),
    "gelu_tanh": lambda f, x: f.gelu(x, approximate="tanh"),
    "softmax": lambda f, x: f.softmax(x, dim=-1),
    "log_softmax": lambda f, x: f.log_softmax(x, dim=-1),
}


@everywhere
def test_agrees_with_pytorch(name):
    torch = pytest.importorskip("torch")
    function, gradient, takes = ALL[name]
    x, grad_y = np.random.default_rng(3).normal(size=(2, 40, 31)) * 3
    judge = torch.tensor(x, requires_grad=True)
    result = PYTORCH[name](torch.nn.functional, judge)
    result.backward(torch.tensor(grad_y))
    y = function(x)
    np.testing.assert_allclose(y, result.detach().numpy(), rtol=1e-12, atol=1e-14)
    got = gradient(grad_y, x if takes == "x" else y)
    np.testing.assert_allclose(got, judge.grad.numpy(), rtol=1e-12, atol=1e-13)


# ---- memory ---------------------------------------------------------------------


def sample(dtype, shape=(3, 37, 20)):
    return np.random.default_rng(4).normal(size=(2, *shape)).astype(dtype) * 3


@everywhere
@pytest.mark.parametrize("form", FORMS)
def test_any_form_of_memory_gives_the_same_bits(name, form, dtype):
    x, grad_y = sample(dtype)
    function, gradient, _ = ALL[name]
    y, other = function(x), FORMS[form](x)
    got = function(other)
    assert same_bits(np.ascontiguousarray(got), y) and type(got) is np.ndarray
    assert same_bits(np.ascontiguousarray(gradient(FORMS[form](grad_y), y)), gradient(grad_y, y))
    if form in WRITABLE:
        out = FORMS[form](poisoned(x.shape, dtype))
        assert function(x, out=out) is out and same_bits(np.ascontiguousarray(out), y)
        assert function(other, out=other) is other and same_bits(np.ascontiguousarray(other), y)


@everywhere
def test_slices_of_larger_arrays(name, dtype):
    """Rows of adjacent numbers, some of which are shared by two tasks; whatever lies between them stays."""
    (x, grad_y), (function, gradient, _) = sample(dtype, (90, 19, 20)), ALL[name]
    wide = np.full((90, 19, 50), 7, dtype)
    part = wide[..., 20:40]
    assert function(x, out=part) is part and same_bits(part.copy(), function(x))
    y = part.copy()
    assert gradient(grad_y, part, out=part) is part and same_bits(part.copy(), gradient(grad_y, y))
    part[...] = 7
    assert (wide == 7).all()


@everywhere
def test_threads_do_not_change_bits(name, dtype):
    x, grad_y = sample(dtype, (31, 90, 101))
    function, gradient, _ = ALL[name]
    results = []
    for threads in (1, 2, 3):
        with fc.threads(threads):
            y = function(x)
            results.append((y, gradient(grad_y, y), *([function(x, 0)] if name in ALONG else [])))
    for other in results[1:]:
        assert all(map(same_bits, other, results[0]))


@everywhere
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2), (1, 1, 1), (2, 3, 4, 5, 6)])
def test_shapes(name, shape, dtype):
    function, gradient, _ = ALL[name]
    x = np.full(shape, 0.5, dtype)
    if name in ALONG and not shape:
        with pytest.raises(ValueError, match="axis"):
            function(x)
        return
    y = function(x)
    assert y.shape == shape and y.dtype == dtype and y is not x
    assert gradient(x, y).shape == shape


@pytest.mark.skipif(not AVAILABLE, reason="needs mprotect")
@everywhere
@pytest.mark.parametrize("side", ["start", "end"])
def test_not_a_byte_beside_the_arrays(name, side, isa, dtype):
    function, gradient, _ = ALL[name]
    for count in [*range(1, 35), 100]:
        x, grad_y = sample(dtype, (count,))
        x, grad_y, out = (guarded(of, side) for of in (x, grad_y, np.zeros_like(x)))
        y = function(x, out=out)
        gradient(grad_y, y, out=grad_y)
        if name in ALONG:
            columns = guarded(sample(dtype, (5, count))[0], side)
            function(columns, 0, out=columns)


@everywhere
def test_mixed_types_become_float64(name):
    x, grad_y = sample(np.float64, (40,))
    x = x.astype(np.float32)
    for pair in ((x, grad_y), (grad_y, x)):
        got = ALL[name][1](*pair)
        assert got.dtype == np.float64
        assert same_bits(got, ALL[name][1](*(of.astype(np.float64) for of in pair)))


# ---- refusals -------------------------------------------------------------------


@everywhere
def test_refusals(name):
    function, gradient, _ = ALL[name]
    x = np.ones((4, 6), np.float32)
    for bad in (None, 1.0, [1.0], x.astype(np.float16), x.astype(int), x.astype(complex), np.ma.masked_array(x)):
        with pytest.raises(TypeError, match="x"):
            function(bad)
        with pytest.raises(TypeError, match="grad_y"):
            gradient(bad, x)
        with pytest.raises(TypeError):
            gradient(x, bad)
    with pytest.raises(ValueError, match=r"\(4, 6\).*\(6, 4\)"):
        gradient(x, np.ones((6, 4), np.float32))
    for out, error in (
        (np.zeros((4, 6)), TypeError),
        (np.zeros((4, 5), np.float32), ValueError),
        ([], TypeError),
        (np.broadcast_to(np.zeros(6, np.float32), (4, 6)), ValueError),
        (np.lib.stride_tricks.as_strided(np.zeros(12, np.float32), (4, 6), (8, 4)), ValueError),
    ):
        with pytest.raises(error, match="out"):
            function(x, out=out)


@everywhere
def test_partial_overlap_is_refused(name):
    function, gradient, _ = ALL[name]
    buffer = np.full(30, 0.5, np.float32)
    before = buffer.copy()
    x, shifted, other = buffer[:24].reshape(4, 6), buffer[1:25].reshape(4, 6), np.ones((4, 6), np.float32)
    backwards = x[::-1]
    for out in (shifted, backwards):
        for call, argument in (
            (lambda out: function(x, out=out), "x"),
            (lambda out: gradient(x, other, out=out), "grad_y"),
            (lambda out: gradient(other, x, out=out), "[xy]"),
        ):
            with pytest.raises(ValueError, match=f"out shares memory with {argument}"):
                call(out)
    assert same_bits(buffer, before)


def test_wrong_options():
    x = np.ones((3, 4), np.float32)
    for bad in ("0.1", None, True):
        with pytest.raises(TypeError, match="slope"):
            fc.leaky_relu(x, bad)
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="slope"):
            fc.leaky_relu_backward(x, x, bad)
    with pytest.raises(ValueError, match="approximate"):
        fc.gelu(x, approximate="erf")
    with pytest.raises(TypeError, match="approximate"):
        fc.gelu_backward(x, x, approximate=None)
    for function in (fc.softmax, functools.partial(fc.log_softmax_backward, x)):
        for bad in (2, -3, 2**40):
            with pytest.raises(ValueError, match=r"axis .* \(3, 4\)"):
                function(x, bad)
        with pytest.raises(TypeError, match="axis"):
            function(x, 1.0)


# ---- at random --------------------------------------------------------------------

EXAMPLES = int(os.environ.get("FASTCONV_FUZZ_EXAMPLES", "0"))


@settings(max_examples=EXAMPLES or 80, derandomize=not EXAMPLES, database=None, deadline=None)
@given(
    name=st.sampled_from([*ALL]),
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
    seed=st.integers(0, 1000),
)
def test_random_views(name, shape, order, seed):
    """Axes in any order, steps of any sign, written into such views."""

    def view(of):
        axes = [*range(len(shape))]
        order.shuffle(axes)
        wide = np.full([3 * shape[axis] for axis in axes], 7, of.dtype)
        cut = wide[tuple(slice(1, None, 3) if order.random() < 0.5 else slice(None, shape[a]) for a in axes)]
        cut = cut[tuple(slice(None, None, order.choice([1, -1])) for _ in axes)].transpose(np.argsort(axes))
        cut[...] = of
        return cut, wide

    x, grad_y = np.random.default_rng(seed).normal(size=(2, *shape)).astype(order.choice([np.float32, np.float64]))
    function, gradient, _ = ALL[name]
    options = (order.randrange(-len(shape), len(shape)),) if name in ALONG else ()
    y = function(x, *options)
    (target, wide), untouched = view(poisoned(shape, x.dtype)), (view(x)[0], view(grad_y)[0])
    function(untouched[0], *options, out=target)
    assert same_bits(target.copy(order="C"), y)
    assert same_bits(gradient(untouched[1], target, *options).copy(order="C"), gradient(grad_y, y, *options))
    target[...] = 7
    assert (wide == 7).all()
