# SPDX-License-Identifier: BSD-3-Clause
"""No byte outside the arrays is read or written, and no byte that is both read and written."""

import mmap
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import oracle
import problems
import pytest
from compare import assert_exact, poisoned, same_bits
from guard import AVAILABLE, guarded

import fastconv as fc

TAILS = range(1, 34)
CONV_FAMILIES = {
    "W 3x3": lambda t: f"c3 h2 w{t} k5 r3x3 p1",
    "W 1x1": lambda t: f"c4 h1 w{t} k3 r1x1",
    "W strided": lambda t: f"c3 h3 w{2 * t} k4 r2x2 s2",
    "W padded on one side": lambda t: f"c16 h4 w{2 * t} k5 r3x3 s2 psame",
    "C 3x3": lambda t: f"c{t} h2 w3 k5 r3x3 p1",
    "C 1x1": lambda t: f"c{t} h2 k3 r1x1",
    "C depthwise": lambda t: f"c{t} h3 w4 k{t} r3x3 p1 g{t}",
    "K 3x3": lambda t: f"c3 h2 w3 k{t} r3x3 p1",
    "K 1x1": lambda t: f"c5 h2 k{t} r1x1",
    "W Winograd": lambda t: f"c5 h3 w{t} k3 r3x3 p1",
    "C Winograd": lambda t: f"c{t} h5 w6 k3 r3x3 p0:2x1:0",
    "K Winograd": lambda t: f"n2 c3 h4 w5 k{t} r3x3 p1",
}
SHAPES = ["conv_pointwise", "conv_small_spatial", "conv_padding", "conv_strided", "conv_dilated", "conv_grouped"]
POOL_FAMILIES = {
    "W": lambda t: f"c2 h3 w{t + 1} r2x2 s1",
    "W strided": lambda t: f"c3 h3 w{t} r3x3 s2 p1",
    "C": lambda t: f"c{t} h3 w4 r2x2 s1",
}

needs_guards = pytest.mark.skipif(not AVAILABLE, reason="needs mprotect")
sides = pytest.mark.parametrize("side", ["start", "end"])


# ---- guard pages (M40) --------------------------------------------------------


@needs_guards
@pytest.mark.parametrize("side, one_too_far", [("start", -1), ("end", 13)])
def test_the_guards_bite(side, one_too_far):
    """Reading one element outside a guarded array kills the process; inside it does not."""
    program = f"""
import ctypes, sys, numpy, guard
array = guard.guarded(numpy.ones(13, numpy.float32), {side!r})
ctypes.c_float.from_address(array.ctypes.data + 4 * int(sys.argv[1])).value
"""
    for element, status in ((0, 0), (12, 0), (one_too_far, -signal.SIGSEGV)):
        command = [sys.executable, "-c", program, str(element)]
        child = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True)
        assert child.returncode == status, child.stderr


def how_of(family, problem, layout):
    """Keyword arguments of the calls on a problem of CONV_FAMILIES or, where it names no algorithm, any other."""
    algorithm = "winograd" if family.endswith("Winograd") else "auto"
    return problem.geometry | {"layout": layout, "algorithm": algorithm}


def check_guarded_convolution(problem, side, layout, dtype, family=""):
    """conv2d and its gradients between guard pages give the bits that they give elsewhere."""
    data = problems.random_conv_data(problem, dtype, layout)
    how = how_of(family, problem, layout)
    x, weight, bias, grad_y = (guarded(array, side) for array in (data.x, data.weight, data.bias, data.grad_y))
    y, grad_x, grad_weight = (guarded(poisoned(array.shape, dtype), side) for array in (grad_y, x, weight))
    fc.conv2d(x, weight, bias, **how, out=y)
    assert same_bits(y, fc.conv2d(data.x, data.weight, data.bias, **how))
    fc.conv2d_backward_input(grad_y, weight, x.shape, **how, out=grad_x)
    fc.conv2d_backward_weight(grad_y, x, weight.shape, **how, out=grad_weight)
    plain = fc.conv2d_backward(data.grad_y, data.x, data.weight, **how)
    assert same_bits(grad_x, plain.x) and same_bits(grad_weight, plain.weight)
    assert not (np.isnan(y).any() or np.isnan(grad_x).any() or np.isnan(grad_weight).any())
    assert same_bits(fc.conv2d_backward(grad_y, x, weight, **how).bias, plain.bias)


@needs_guards
@sides
@pytest.mark.parametrize("family", CONV_FAMILIES)
def test_m40_convolution_stays_within_its_arrays(family, side, isa, layout, dtype):
    for tail in TAILS:
        check_guarded_convolution(problems.parse(CONV_FAMILIES[family](tail)), side, layout, dtype, family)


@needs_guards
@sides
@pytest.mark.parametrize("name", SHAPES)
def test_m40_every_shape_stays_within_its_arrays(name, side, isa, layout):
    for problem in problems.load(name):
        check_guarded_convolution(problem, side, layout, np.float32)


@needs_guards
@sides
@pytest.mark.parametrize("family", ["W 3x3", "C 3x3", "C 1x1", "C depthwise", "C Winograd"])
@pytest.mark.parametrize("image_type", [np.uint8, np.int8, np.int16, np.float16])
def test_m40_small_images_stay_within_their_arrays(image_type, family, side, isa, layout):
    for tail in TAILS:
        problem = problems.parse(CONV_FAMILIES[family](tail))
        how = how_of(family, problem, layout)
        data = problems.exact_conv_data(problem, np.float32, layout)
        images = (data.x % 100).astype(image_type)
        y = fc.conv2d(guarded(images, side), data.weight, **how)
        assert same_bits(y, fc.conv2d(images, data.weight, **how))
        arguments = data.grad_y, guarded(images, side), data.weight.shape
        grad_weight = fc.conv2d_backward_weight(*arguments, **how)
        arguments = data.grad_y, images, data.weight.shape
        assert same_bits(grad_weight, fc.conv2d_backward_weight(*arguments, **how))


@needs_guards
@pytest.mark.parametrize("family", ["W 3x3", "W strided", "C 1x1", "C depthwise", "K 3x3", "C Winograd", "K Winograd"])
def test_m40_arrays_with_gaps_stay_within_their_arrays(family, isa, layout, dtype):
    """Every second number of a row belongs to the array; the last one touches the page."""
    for tail in TAILS:
        problem = problems.parse(CONV_FAMILIES[family](tail))
        data = problems.random_conv_data(problem, dtype, layout)
        how = how_of(family, problem, layout)
        x, weight, y = (
            guarded(array, "end", [2 * step for step in np.ascontiguousarray(array).strides])
            for array in (data.x, data.weight, poisoned(data.grad_y.shape, dtype))
        )
        fc.conv2d(x, weight, **how, out=y)
        assert same_bits(y, fc.conv2d(data.x, data.weight, **how))


def check_guarded_pooling(problem, side, layout, dtype):
    """Both poolings and their gradients between guard pages give the bits that they give elsewhere."""
    maximum = problem.window | {"layout": layout}
    average = problem.window_of_average | {"layout": layout}
    rng = problems.rng_for(problem)
    plain_x = rng.standard_normal(problem.x_shape(layout)).astype(dtype)
    plain_grad_y = rng.standard_normal(problem.y_shape(layout)).astype(dtype)
    x, grad_y = guarded(plain_x, side), guarded(plain_grad_y, side)
    y, grad_x = (guarded(poisoned(array.shape, dtype), side) for array in (grad_y, x))
    fc.avg_pool2d(x, **average, out=y)
    assert same_bits(y, fc.avg_pool2d(plain_x, **average))
    fc.avg_pool2d_backward(grad_y, x.shape, **average, out=grad_x)
    assert same_bits(grad_x, fc.avg_pool2d_backward(plain_grad_y, x.shape, **average))
    y[...], grad_x[...] = np.nan, np.nan
    indices = fc.max_pool2d(x, **maximum, return_indices=True, out=y)[1]
    plain_y, plain_indices = fc.max_pool2d(plain_x, **maximum, return_indices=True)
    assert same_bits(y, plain_y) and same_bits(indices, plain_indices)
    fc.max_pool2d_backward(grad_y, guarded(indices, side), x.shape, layout=layout, out=grad_x)
    plain = fc.max_pool2d_backward(plain_grad_y, indices, x.shape, layout=layout)
    assert same_bits(grad_x, plain)


@needs_guards
@sides
@pytest.mark.parametrize("family", POOL_FAMILIES)
def test_m40_pooling_stays_within_its_arrays(family, side, isa, layout, dtype):
    for tail in TAILS:
        check_guarded_pooling(problems.parse(POOL_FAMILIES[family](tail)), side, layout, dtype)


@needs_guards
@sides
def test_m40_every_pooling_shape_stays_within_its_arrays(side, isa, layout):
    for problem in problems.load("pool"):
        check_guarded_pooling(problem, side, layout, np.float32)


@needs_guards
@sides
@pytest.mark.parametrize("varied", ["rows", "inputs", "outputs"])
def test_m40_linear_stays_within_its_arrays(varied, side, isa, dtype):
    for tail in TAILS:
        sizes = {"rows": 3, "inputs": 5, "outputs": 4} | {varied: tail}
        n, c, k = sizes.values()
        rng = np.random.default_rng(tail)
        plain = [rng.standard_normal(s).astype(dtype) for s in ((n, c), (c, k), k, (n, k))]
        x, weight, bias, grad_y = (guarded(array, side) for array in plain)
        y = guarded(poisoned((n, k), dtype), side)
        fc.linear(x, weight, bias, out=y)
        assert same_bits(y, fc.linear(*plain[:3]))
        ours = fc.linear_backward(grad_y, x, weight)
        theirs = fc.linear_backward(plain[3], plain[0], plain[1])
        assert all(same_bits(a, b) for a, b in zip(ours, theirs, strict=True))


# ---- memory that is used again -----------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "n2 c5 h7 w9 k6 r3x3 p1",
        "c17 h5 w6 k33 r1x1",
        "c9 h8 k35 r3x3 s2 p0:1x1:0",
        "c300 h3 k20 r3x3 p1",
        "c6 h7 w6 k4 r3x2 s2x1 p2 d2 g2",
        "c8 h6 k8 r3x3 p1 g8",
        "n5 c16 h26 w27 k19 r3x3 p1",
    ],
)
def test_what_an_earlier_call_left_behind_does_not_matter(text, isa, layout, dtype):
    """Scratch memory is kept from call to call: full of NaN, it must not be taken for zeros."""
    problem = problems.parse(text)
    data = problems.random_conv_data(problem, dtype, layout)
    how = problem.geometry | {"layout": layout}

    def compute():
        y = fc.conv2d(data.x, data.weight, data.bias, **how)
        return (y, *fc.conv2d_backward(data.grad_y, data.x, data.weight, **how))

    fc.clear_cache()
    clean = compute()
    for nan_dtype in (np.float32, np.float64):
        x, weight = (np.full(shape, np.nan, nan_dtype) for shape in ((1, 24, 24, 64), (3, 3, 64, 64)))
        fc.conv2d_backward(fc.conv2d(x, weight), x, weight)
    for result, first in zip(compute(), clean, strict=True):
        assert not np.isnan(result).any()
        assert same_bits(result, first)


# ---- aliasing (M43) -----------------------------------------------------------


def shares_a_byte(array):
    """Arrays of the shape of ``array`` that share the whole of it, all but one element, or less."""
    buffer = np.zeros(2 * array.size, array.dtype)
    moved = buffer[: array.size].reshape(array.shape)
    moved[...] = array
    yield moved, moved
    for shift in (1, array.size - 1):
        yield moved, buffer[shift : shift + array.size].reshape(array.shape)


X = np.arange(48, dtype=np.float32).reshape(1, 4, 4, 3)
W = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
G = np.arange(48, dtype=np.float32)[::-1].copy().reshape(1, 4, 4, 3)
INDICES = np.arange(48).reshape(1, 4, 4, 3) % 16
CALLS_ON_AN_IMAGE = {
    "conv2d": lambda x, out: fc.conv2d(x, W, out=out),
    "conv2d relu": lambda x, out: fc.conv2d(x, W, activation="relu", out=out),
    "conv2d_backward_input": lambda g, out: fc.conv2d_backward_input(g, W, X.shape, out=out),
    "linear": lambda x, out: fc.linear(x, W[0, 0], out=out),
    "max_pool2d": lambda x, out: fc.max_pool2d(x, 3, 1, padding=1, out=out),
    "avg_pool2d": lambda x, out: fc.avg_pool2d(x, 3, 1, padding=1, out=out),
    "max_pool2d_backward": lambda g, out: fc.max_pool2d_backward(g, INDICES, X.shape, out=out),
    "avg_pool2d_backward": lambda g, out: fc.avg_pool2d_backward(g, X.shape, 3, 1, padding=1, out=out),
}


@pytest.mark.parametrize("name", CALLS_ON_AN_IMAGE)
def test_m43_out_must_not_share_memory_with_an_image(name):
    for image, out in shares_a_byte(X):
        before = image.copy()
        with pytest.raises(ValueError, match=r"\bout\b"):
            CALLS_ON_AN_IMAGE[name](image, out)
        assert same_bits(image, before)
    out = np.full_like(X, np.nan)
    CALLS_ON_AN_IMAGE[name](X, out)
    assert not np.isnan(out).any()


def test_m43_out_must_not_share_memory_with_weights_or_bias():
    buffer = np.arange(60, dtype=np.float32)
    weight, out = buffer[:9].reshape(1, 1, 3, 3), buffer[8:56].reshape(X.shape)
    before = buffer.copy()
    with pytest.raises(ValueError, match=r"\bout\b"):
        fc.conv2d(X, weight, out=out)
    with pytest.raises(ValueError, match=r"\bout\b"):
        fc.conv2d(X, W, buffer[55:58], out=out)
    with pytest.raises(ValueError, match=r"\bout\b"):
        fc.linear(X, weight[0, 0], out=out)
    with pytest.raises(ValueError, match=r"\bout\b"):
        fc.conv2d_backward_input(G, weight, X.shape, out=out)
    with pytest.raises(ValueError, match=r"\bout\b"):
        fc.conv2d_backward_weight(G, out, W.shape, out=weight)
    assert same_bits(buffer, before)
    fc.conv2d(X, weight, out=buffer[9:57].reshape(X.shape))


def test_m43_out_must_not_share_memory_with_an_input_that_is_copied_to_be_read():
    """A byte-swapped input is copied first: the copy shares nothing, the caller's array does."""
    out = poisoned(X.shape, np.float32)
    swapped = out.view(out.dtype.newbyteorder())
    swapped[...] = X
    before = swapped.copy()
    for call in CALLS_ON_AN_IMAGE.values():
        with pytest.raises(ValueError, match=r"\bout\b"):
            call(swapped, out)
        assert same_bits(swapped, before)


def test_m43_max_pool2d_backward_out_must_not_share_memory_with_indices():
    indices = np.zeros((1, 4, 4, 6), np.int64)
    out = indices.view(np.float64)
    with pytest.raises(ValueError, match=r"\bout\b"):
        fc.max_pool2d_backward(np.ones(indices.shape), indices, out.shape, out=out)
    assert not indices.any()


@pytest.mark.parametrize("name", CALLS_ON_AN_IMAGE)
def test_m43_out_must_not_overlap_itself_or_be_read_only(name):
    some = poisoned(32, np.float32)
    frozen = poisoned(X.shape, np.float32)
    frozen.flags.writeable = False
    for out in (
        np.lib.stride_tricks.as_strided(some, X.shape, (64, 16, 4, 4)),
        np.lib.stride_tricks.as_strided(some, X.shape, (64, 16, 4, 0)),
        np.broadcast_to(some[0], X.shape),
        frozen,
    ):
        with pytest.raises(ValueError, match=r"\bout\b"):
            CALLS_ON_AN_IMAGE[name](X, out)
        assert np.isnan(out).all()


# ---- indices beyond 32 bits ---------------------------------------------------


def sparse(shape, dtype):
    """Zeros of which a page takes memory only when it is written; more than the machine has."""
    length = int(np.prod(shape)) * np.dtype(dtype).itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    return np.frombuffer(mmap.mmap(-1, length, flags=flags), dtype).reshape(shape)


@pytest.mark.parametrize("image_type", [np.float32, np.uint8])
def test_images_of_more_than_two_to_the_31_elements(image_type, isa, layout):
    """The four corners of an image of 65536 x 32770 pixels, and nothing between them."""
    shape = (1, 65536, 32770, 1) if layout == "NHWC" else (1, 1, 65536, 32770)
    x = sparse(shape, image_type)
    plane = x.reshape(65536, 32770)
    plane[0, 0], plane[0, -1], plane[-1, 0], plane[-1, -1] = 1, 2, 3, 4
    stride, corners = (65535, 32769), np.array([1, 2, 3, 4])
    one = np.full((1, 1, 1, 1), 5, np.float32)
    assert_exact(fc.conv2d(x, one, stride=stride, layout=layout).ravel(), corners * 5)
    y = fc.avg_pool2d(x, 1, stride, layout=layout)
    assert_exact(y.ravel(), corners)
    how = {"stride": stride, "layout": layout}
    assert_exact(fc.conv2d_backward_weight(np.ones_like(y), x, one.shape, **how).ravel(), [10])
    if image_type == np.float32:
        y, indices = fc.max_pool2d(x, 1, **how, return_indices=True)
        assert_exact(y.ravel(), corners)
        last = 65535 * 32770
        np.testing.assert_array_equal(indices.ravel(), [0, 32769, last, last + 32769])


def test_m30_matrix_of_patches_of_more_than_two_to_the_31_bytes(layout):
    """64 channels that are the same plane: their sum has to be the sum of the filters."""
    rng = np.random.default_rng(0)
    plane = rng.integers(-9, 9, size=(600, 601)).astype(np.float32)
    weight = rng.integers(-9, 9, size=(5, 5, 64, 1)).astype(np.float32)
    truth = oracle.conv2d(plane[None, :, :, None], weight.sum(axis=2, keepdims=True), dilation=2, padding=1)
    if layout == "NHWC":
        x = np.broadcast_to(plane[None, :, :, None], (1, 600, 601, 64))
    else:
        x, weight = np.broadcast_to(plane, (1, 64, 600, 601)), oracle.from_rsck(weight, "NCHW")
    y = fc.conv2d(x, weight, dilation=2, padding=1, layout=layout)
    assert x.size * 25 * x.itemsize > 2**31
    assert_exact(y, oracle.from_nhwc(truth, layout))
