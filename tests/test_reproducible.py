# SPDX-License-Identifier: BSD-3-Clause
"""The bits of a result depend on the arguments alone: not on threads, on the other images of the
batch, on where and how the arrays lie in memory, on ``out=``, on the run."""

import hashlib
import os
import subprocess
import sys

import forms
import numpy as np
import problems
import pytest
from compare import same_bits

import fastconv as fc

# Run by Winograd's algorithm in either type: several blocks of tiles, panels of filters, passes of channels, parts of
# sums over pixels; images that end within a tile.
WINOGRAD = [
    "n5 c20 h21 w23 k40 r3x3 p1",
    "n2 c130 h7 w9 k66 r3x3 p2",
    "n2 c17 h9 w11 k35 r3x3 p0:2x1:3",
    "n2 c24 h18 w6 k40 r3x3 g2",
]

# Large enough to be shared among threads, with blocks of every loop left over.
CONV = [
    *WINOGRAD,
    "c64 h28 k64 r3x3 p1",
    "n5 c17 h31 w33 k35 r3x3 s2 p1",
    "c512 h7 k512 r1x1",
    "n3 c130 h14 k70 r1x1",
    "n2 c3 h64 k64 r7x7 s2 p3",
    "n8 c1 h28 k6 r5x5 p2",
    "c4 h200 w210 k8 r3x3 p1",
    "n4 c96 h28 k96 r3x3 p1 g96",
    "n2 c48 h20 w21 k96 r3x3 p2 d2 g4",
    "n33 c16 h5 k120 r5x5",
]
POOL = ["n3 c33 h60 w61 r3x3 s2 p1", "c4 h200 r2x2", "n2 c64 h56 r3x3 s1 p1", "n2 c50 h40 r40x40"]
LINEAR = [(64, 400, 120), (1, 2049, 513), (3000, 33, 17), (7, 1025, 300)]
THREADS = (1, 2, 3, 8)


def how_of(problem, layout):
    """Keyword arguments of its calls."""
    algorithm = "winograd" if problem.text in WINOGRAD else "auto"
    return problem.geometry | {"layout": layout, "algorithm": algorithm}


def conv_results(problem, data, layout):
    """All results of a convolution, forward and backward."""
    how = how_of(problem, layout)
    y = fc.conv2d(data.x, data.weight, data.bias, activation="relu", **how)
    return (y, *fc.conv2d_backward(data.grad_y, data.x, data.weight, **how))


def pool_results(problem, x, grad_y, layout):
    how = {"layout": layout}
    y, indices = fc.max_pool2d(x, **problem.window, **how, return_indices=True)
    return (
        y,
        indices,
        fc.max_pool2d_backward(grad_y, indices, x.shape, **how),
        fc.avg_pool2d(x, **problem.window_of_average, **how),
        fc.avg_pool2d_backward(grad_y, x.shape, **problem.window_of_average, **how),
        fc.global_avg_pool2d(x, **how),
        fc.global_max_pool2d(x, **how),
    )


def pool_data(problem, dtype, layout):
    rng = problems.rng_for(problem)
    x = rng.standard_normal(problem.x_shape(layout)).astype(dtype)
    return x, rng.standard_normal(problem.y_shape(layout)).astype(dtype)


def linear_results(sizes, dtype):
    rows, inputs, outputs = sizes
    rng = np.random.default_rng(sizes)
    shapes = (rows, inputs), (inputs, outputs), (outputs,), (rows, outputs)
    x, weight, bias, grad_y = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    return (fc.linear(x, weight, bias), *fc.linear_backward(grad_y, x, weight))


def assert_same(results, others):
    assert len(results) == len(others)
    for number, (one, other) in enumerate(zip(results, others, strict=True)):
        assert same_bits(one, other), f"result {number} differs"


def with_several_numbers_of_threads(isa, compute):
    """Equal bits each time; the reference is slow and is asked fewer times."""
    results = []
    for threads in THREADS if isa != "reference" else THREADS[::2]:
        with fc.threads(threads):
            results.append(compute())
    for others in results[1:]:
        assert_same(results[0], others)


# ---- threads ------------------------------------------------------------------


@pytest.mark.parametrize("text", CONV)
def test_threads_do_not_change_a_convolution(text, isa, layout, dtype):
    problem = problems.parse(text)
    data = problems.random_conv_data(problem, dtype, layout)
    with_several_numbers_of_threads(isa, lambda: conv_results(problem, data, layout))


@pytest.mark.parametrize(
    "text",
    [
        "c65 h9 w14 k6 r5x5 p2",
        "n3 c40 h20 w15 k50 r3x3 p1",
        "c65 h18 w14 k1 r5x5 p2",
        "c1 h35 w27 k65 r5x5 s2 p2",
        "c64 h1 w700 k6 r1x9 p0x4",
    ],
)
def test_threads_do_not_change_where_infinity_meets_the_border(text, isa, layout, dtype):
    """A weight that is infinite, times the zeros around the image, is NaN."""
    problem = problems.parse(text)
    data = problems.random_conv_data(problem, dtype)
    data.weight[:2] = np.inf
    data = data if layout == "NHWC" else data.to_nchw()
    with np.errstate(invalid="ignore"):
        with_several_numbers_of_threads(isa, lambda: conv_results(problem, data, layout))


@pytest.mark.parametrize("text", POOL)
def test_threads_do_not_change_a_pooling(text, isa, layout, dtype):
    problem = problems.parse(text)
    data = pool_data(problem, dtype, layout)
    with_several_numbers_of_threads(isa, lambda: pool_results(problem, *data, layout))


@pytest.mark.parametrize("sizes", LINEAR, ids=str)
def test_threads_do_not_change_a_linear_layer(sizes, isa, dtype):
    with_several_numbers_of_threads(isa, lambda: linear_results(sizes, dtype))


def test_a_hundred_runs_agree(isa):
    problem = problems.parse("n3 c33 h28 k35 r3x3 p1")
    data = problems.random_conv_data(problem, np.float32)
    first = conv_results(problem, data, "NHWC")
    for _ in range(100 if isa != "reference" else 5):
        assert_same(conv_results(problem, data, "NHWC"), first)


def digest():
    """One line that stands for the bits of many results of this process."""
    results = []
    for layout in ("NHWC", "NCHW"):
        for problem in map(problems.parse, CONV[::2]):
            data = problems.random_conv_data(problem, np.float32, layout)
            results += conv_results(problem, data, layout)
        for problem in map(problems.parse, POOL[:2]):
            results += pool_results(problem, *pool_data(problem, np.float32, layout), layout)
    results += linear_results(LINEAR[0], np.float64)
    return hashlib.sha256(b"".join(result.tobytes() for result in results)).hexdigest()


@pytest.fixture(scope="module")
def digest_here():
    return digest()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"FASTCONV_NUM_THREADS": "1"},
        {"OMP_NUM_THREADS": "3"},
        {"OMP_THREAD_LIMIT": "1", "FASTCONV_NUM_THREADS": "8"},
        {"OMP_THREAD_LIMIT": "3", "FASTCONV_NUM_THREADS": "8"},
        {"OMP_DYNAMIC": "true", "FASTCONV_NUM_THREADS": "16"},
        {"OMP_STACKSIZE": "64k", "OMP_WAIT_POLICY": "PASSIVE", "OMP_SCHEDULE": "dynamic,1"},
    ],
    ids=lambda variables: " ".join(f"{name}={value}" for name, value in variables.items()),
)
def test_processes_agree(variables, digest_here):
    program = "import test_reproducible; print(test_reproducible.digest())"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    child = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | variables,
        cwd=os.path.dirname(__file__),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.strip() == digest_here


# ---- batches and rows ---------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *WINOGRAD,
        "n5 c17 h9 w11 k35 r3x3 p1",
        "n5 c64 h7 k64 r1x1",
        "n5 c3 h17 k33 r3x3 s2",
        "n5 c1 h28 k6 r5x5",
        "n5 c16 h6 k16 r3x3 p1 g16",
        "n5 c12 h3 k10 r3x3 p1 g2",
        "n5 c300 h1 k70 r1x1",
    ],
)
def test_an_image_does_not_see_its_batch(text, isa, layout, dtype):
    problem = problems.parse(text)
    data = problems.random_conv_data(problem, dtype, layout)
    how = how_of(problem, layout)
    y = fc.conv2d(data.x, data.weight, data.bias, **how)
    grad_x = fc.conv2d_backward_input(data.grad_y, data.weight, data.x.shape, **how)
    for n in range(problem.n):
        image = data.x[n : n + 1]
        assert same_bits(fc.conv2d(image, data.weight, data.bias, **how)[0], y[n])
        assert same_bits(fc.conv2d(data.x[n], data.weight, data.bias, **how), y[n])
        grad_y = data.grad_y[n : n + 1]
        one = fc.conv2d_backward_input(grad_y, data.weight, image.shape, **how)
        assert same_bits(one[0], grad_x[n])
        one = fc.conv2d_backward_input(data.grad_y[n], data.weight, data.x[n].shape, **how)
        assert same_bits(one, grad_x[n])
    first, last = fc.conv2d(data.x[:2], data.weight, data.bias, **how), y[:2]
    assert same_bits(first, last)


def test_one_image_of_a_batch_without_axis_gives_equal_gradients_of_weights(isa, layout, dtype):
    problem = problems.parse("c9 h8 w7 k20 r3x3 p1")
    data = problems.random_conv_data(problem, dtype, layout)
    how = how_of(problem, layout)
    batch = fc.conv2d_backward(data.grad_y, data.x, data.weight, **how)
    one = fc.conv2d_backward(data.grad_y[0], data.x[0], data.weight, **how)
    assert_same((one.x, one.weight, one.bias), (batch.x[0], batch.weight, batch.bias))


@pytest.mark.parametrize("text", ["n4 c5 h7 w9 r3x3 s2 p1", "n4 c33 h8 r2x2"])
def test_a_pooled_image_does_not_see_its_batch(text, isa, layout, dtype):
    problem = problems.parse(text)
    x, grad_y = pool_data(problem, dtype, layout)
    whole = pool_results(problem, x, grad_y, layout)
    for n in range(problem.n):
        one = pool_results(problem, x[n : n + 1], grad_y[n : n + 1], layout)
        assert_same([result[0] for result in one], [result[n] for result in whole])


@pytest.mark.parametrize("sizes", [(40, 17, 33), (15, 400, 9), (29, 1030, 65), (17, 5, 1)], ids=str)
def test_a_row_does_not_see_the_others(sizes, isa, dtype):
    rows, inputs, outputs = sizes
    rng = np.random.default_rng(sizes)
    shapes = (rows, inputs), (inputs, outputs), (outputs,), (rows, outputs)
    x, weight, bias, grad_y = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    y, grad_x = fc.linear(x, weight, bias), fc.linear_backward(grad_y, x, weight).x
    for n in range(rows):
        assert same_bits(fc.linear(x[n : n + 1], weight, bias)[0], y[n])
        assert same_bits(fc.linear(x[n], weight, bias), y[n])
        assert same_bits(fc.linear_backward(grad_y[n], x[n], weight).x, grad_x[n])
    for part in (slice(None, None, 2), slice(3, 11), slice(None, None, -1)):
        assert same_bits(fc.linear(x[part], weight, bias), y[part])


# ---- memory -------------------------------------------------------------------


def at_offset(array, offset):
    """A copy ``offset`` bytes behind a multiple of 64."""
    room = np.empty(array.nbytes + 128, np.uint8)
    start = -room.ctypes.data % 64 + offset
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.parametrize("text", ["c17 h9 w11 k35 r3x3 p1", "c64 h7 k33 r1x1", "c16 h8 k16 r3x3 g16", WINOGRAD[2]])
def test_alignment_does_not_matter(text, isa, layout, dtype):
    problem = problems.parse(text)
    data = problems.random_conv_data(problem, dtype, layout)
    first, how = conv_results(problem, data, layout), how_of(problem, layout)
    step = np.dtype(dtype).itemsize
    for offset in (*range(0, 64, step), 1, 2, 3):
        moved = problems.ConvData(
            at_offset(data.x, offset),
            at_offset(data.weight, 64 - offset),
            at_offset(data.bias, offset),
            at_offset(data.grad_y, offset),
        )
        assert_same(conv_results(problem, moved, layout), first)
        if offset % step == 0:
            out = at_offset(np.zeros_like(first[0]), offset)
            arguments = moved.x, moved.weight, moved.bias
            fc.conv2d(*arguments, activation="relu", **how, out=out)
            assert same_bits(out, first[0])


@pytest.mark.parametrize("form", forms.FORMS)
@pytest.mark.parametrize("text", ["n2 c17 h9 w11 k35 r3x3 p1", "n2 c64 h7 k33 r1x1", "c8 h8 k8 r3x3 g8", WINOGRAD[3]])
def test_strides_do_not_matter(text, form, isa, layout, dtype):
    problem, change = problems.parse(text), forms.FORMS[form]
    data = problems.random_conv_data(problem, dtype, layout)
    first, how = conv_results(problem, data, layout), how_of(problem, layout)
    arrays = data.x, data.weight, data.bias, data.grad_y
    moved = problems.ConvData(*(change(array) for array in arrays))
    assert_same(conv_results(problem, moved, layout), first)
    if form in forms.WRITABLE:
        out = change(np.zeros_like(first[0]))
        fc.conv2d(*arrays[:3], activation="relu", **how, out=out)
        assert same_bits(out, first[0])


@pytest.mark.parametrize("text", ["n2 c19 h9 w11 k35 r3x3 s2 p1", *WINOGRAD[2:]])
def test_the_memory_of_the_other_layout_does_not_matter(text, isa, layout, dtype):
    """An NHWC buffer seen as NCHW, or the reverse, gives the bits of a copy in order."""
    problem = problems.parse(text)
    data = problems.random_conv_data(problem, dtype, layout)
    there, back = ((0, 3, 1, 2), (0, 2, 3, 1)) if layout == "NHWC" else ((0, 2, 3, 1), (0, 3, 1, 2))
    x, grad_y = (a.transpose(there).copy().transpose(back) for a in (data.x, data.grad_y))
    moved = problems.ConvData(x, data.weight, data.bias, grad_y)
    assert_same(conv_results(problem, moved, layout), conv_results(problem, data, layout))
