# SPDX-License-Identifier: BSD-3-Clause
"""What conv2d and conv2d_output_shape take and give: number types, memory layouts, geometry as
users write it, bias and activation, ``out=``. (Sizes: test_exact.py.)"""

import dataclasses

import numpy as np
import oracle
import problems
import pytest
from compare import assert_exact, assert_within, poisoned, same_bits
from forms import FORMS, WRITABLE

import fastconv as fc

PROBLEM = problems.parse("n2 c5 h7 w9 k6 r3x2 s2x1 p1:0x1:1")


@pytest.fixture
def data(dtype, layout):
    return problems.exact_conv_data(PROBLEM, dtype, layout)


def images(rng, shape, dtype):
    """Random images that use the whole range of a small integer type."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, size=shape, endpoint=True, dtype=dtype)
    return rng.integers(-2048, 2048, size=shape).astype(dtype)


# ---- number types -------------------------------------------------------------


@pytest.mark.parametrize("image_type", [np.uint8, np.int8, np.int16, np.float16])
def test_small_images_with_float32_weights_give_float32(image_type, isa, layout):
    rng = np.random.default_rng(1)
    for text in ("c3 h6 w7 k5 r3x3 p1", "c1 h28 k6 r5x5", "c17 h5 k33 r1x1", "c8 h6 k8 r3x3 g8"):
        problem = problems.parse(text)
        geometry = problem.geometry | {"layout": layout}
        x = images(rng, problem.x_shape(layout), image_type)
        weight = rng.integers(-4, 4, size=problem.weight_shape(layout)).astype(np.float32)
        y = poisoned(problem.y_shape(layout), np.float32)
        assert fc.conv2d(x, weight, **geometry, out=y) is y
        assert_exact(y, oracle.conv2d(x, weight, **geometry))
        assert fc.conv2d(x, weight, **geometry).dtype == np.float32
        grad_y = rng.integers(-4, 4, size=y.shape).astype(np.float32)
        grad_weight = fc.conv2d_backward_weight(grad_y, x, weight.shape, **geometry)
        assert grad_weight.dtype == np.float32
        truth = oracle.conv2d_backward_weight(grad_y, x, weight.shape, **geometry)
        assert_exact(grad_weight, truth)


@pytest.mark.parametrize("image_type", [np.uint8, np.int8, np.int16, np.float16])
def test_small_images_with_float64_weights_give_float64(image_type, layout):
    x = images(np.random.default_rng(2), PROBLEM.x_shape(layout), image_type)
    weight = problems.exact_conv_data(PROBLEM, np.float64, layout).weight
    y = fc.conv2d(x, weight, **PROBLEM.geometry, layout=layout)
    assert y.dtype == np.float64
    assert_exact(y, oracle.conv2d(x, weight, **PROBLEM.geometry, layout=layout))


@pytest.mark.parametrize("wide", ["x", "weight"])
def test_mixed_float32_and_float64_computes_in_float64(wide, layout):
    narrow = problems.exact_conv_data(PROBLEM, np.float32, layout)
    arrays = {"x": narrow.x, "weight": narrow.weight}
    arrays[wide] = getattr(problems.exact_conv_data(PROBLEM, np.float64, layout), wide)
    y = fc.conv2d(**arrays, **PROBLEM.geometry, layout=layout)
    assert y.dtype == np.float64
    assert_exact(y, oracle.conv2d(**arrays, **PROBLEM.geometry, layout=layout))


@pytest.mark.parametrize("filters", [PROBLEM.k, 40])  # with 40, whole panels of weights and of gradients
@pytest.mark.parametrize("wide", ["grad_y", "x", "weight"])
def test_mixed_gradients_compute_in_float64(wide, filters):
    problem = dataclasses.replace(PROBLEM, k=filters)
    narrow = problems.exact_conv_data(problem, np.float32)
    arrays = {name: getattr(narrow, name) for name in ("grad_y", "x", "weight")}
    arrays[wide] = getattr(problems.exact_conv_data(problem, np.float64), wide)
    grad_y, x, weight, geometry = *arrays.values(), problem.geometry
    if wide != "x":
        grad_x = fc.conv2d_backward_input(grad_y, weight, x.shape, **geometry)
        assert grad_x.dtype == np.float64
        assert_exact(grad_x, oracle.conv2d_backward_input(grad_y, weight, x.shape, **geometry))
    if wide != "weight":
        grad_weight = fc.conv2d_backward_weight(grad_y, x, weight.shape, **geometry)
        assert grad_weight.dtype == np.float64
        truth = oracle.conv2d_backward_weight(grad_y, x, weight.shape, **geometry)
        assert_exact(grad_weight, truth)


def test_float64_bias_makes_the_result_float64():
    x, weight = np.ones((1, 3, 3, 1), np.float32), np.ones((3, 3, 1, 1), np.float32)
    y = fc.conv2d(x, weight, np.array([2.0**-40]))
    assert y.dtype == np.float64 and y[0, 0, 0, 0] == 9 + 2.0**-40


@pytest.mark.parametrize("image_type", [np.uint8, np.int8, np.int16, np.float16])
def test_every_number_of_a_small_type_is_converted_exactly(image_type, isa, layout):
    """All bit patterns, those of float16 with its subnormal numbers, infinities and NaNs."""
    bits = np.dtype(image_type).itemsize * 8
    patterns = np.arange(2**bits, dtype=f"u{bits // 8}").view(image_type)
    side = 2 ** (bits // 2)
    x = patterns.reshape((1, side, side, 1) if layout == "NHWC" else (1, 1, side, side))
    one = np.ones((1, 1, 1, 1), np.float32)
    y = fc.conv2d(x, one, layout=layout, precision="strict")
    np.testing.assert_array_equal(y, x.astype(np.float32))
    y = fc.linear(patterns.reshape(-1, 64), np.eye(64, dtype=np.float32)[:, :1], precision="strict")
    finite = np.isfinite(patterns.reshape(-1, 64).astype(np.float32)).all(axis=1)
    np.testing.assert_array_equal(y[finite, 0], patterns[::64][finite].astype(np.float32))


# ---- memory layouts -----------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_any_memory_layout_is_read(form, isa, layout, dtype):
    """M42: the bits are those of the plain array, and the argument is left alone."""
    data, change = problems.exact_conv_data(PROBLEM, dtype, layout), FORMS[form]
    geometry = PROBLEM.geometry | {"layout": layout}
    plain = fc.conv2d(data.x, data.weight, data.bias, **geometry)
    assert_exact(plain, oracle.conv2d(data.x, data.weight, data.bias, **geometry))
    x, weight, grad_y = change(data.x), change(data.weight), change(data.grad_y)
    bias = change(data.bias)
    before = [array.tobytes() for array in (x, weight, bias, grad_y)]
    assert same_bits(fc.conv2d(x, weight, bias, **geometry), plain)
    theirs = fc.conv2d_backward(data.grad_y, data.x, data.weight, **geometry)
    ours = fc.conv2d_backward(grad_y, x, weight, **geometry)
    for gradient, plain_gradient in zip(ours, theirs, strict=True):
        assert same_bits(gradient, plain_gradient)
    assert before == [array.tobytes() for array in (x, weight, bias, grad_y)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("image_type", [np.uint8, np.int16, np.float16])
def test_any_memory_layout_of_small_images_is_read(image_type, form, layout):
    x = images(np.random.default_rng(6), PROBLEM.x_shape(layout), image_type)
    data = problems.exact_conv_data(PROBLEM, np.float32, layout)
    geometry, change = PROBLEM.geometry | {"layout": layout}, FORMS[form]
    y = fc.conv2d(change(x), data.weight, **geometry)
    assert same_bits(y, fc.conv2d(x, data.weight, **geometry))
    arguments = data.grad_y, change(x), data.weight.shape
    grad_weight = fc.conv2d_backward_weight(*arguments, **geometry)
    arguments = data.grad_y, x, data.weight.shape
    assert same_bits(grad_weight, fc.conv2d_backward_weight(*arguments, **geometry))


def test_zero_strides_are_read(isa, layout, dtype):
    """One image for the whole batch, one number for a whole filter."""
    geometry = PROBLEM.geometry | {"layout": layout}
    rng = np.random.default_rng(3)
    x_shape, weight_shape = PROBLEM.x_shape(layout), PROBLEM.weight_shape(layout)
    one = rng.integers(-9, 9, size=(1, *x_shape[1:])).astype(dtype)
    x = np.broadcast_to(one, x_shape)
    weight = np.broadcast_to(dtype(3), weight_shape)
    assert_exact(fc.conv2d(x, weight, **geometry), oracle.conv2d(x, weight, **geometry))
    grad_y = np.broadcast_to(dtype(1), PROBLEM.y_shape(layout))
    gradients = fc.conv2d_backward(grad_y, x, weight, **geometry)
    truth = oracle.conv2d_backward_input(grad_y, weight, x.shape, **geometry)
    assert_exact(gradients.x, truth)
    truth = oracle.conv2d_backward_weight(grad_y, x, weight.shape, **geometry)
    assert_exact(gradients.weight, truth)


def test_layouts_are_views_of_each_other(isa, dtype):
    """The keyword renames the axes: transposed views of the same memory give the same bits."""
    data = problems.exact_conv_data(PROBLEM, dtype)
    y = fc.conv2d(data.x, data.weight, data.bias, **PROBLEM.geometry)
    x = oracle.from_nhwc(data.x, "NCHW")
    weight = oracle.from_rsck(data.weight, "NCHW")
    z = fc.conv2d(x, weight, data.bias, **PROBLEM.geometry, layout="NCHW")
    assert same_bits(z, oracle.from_nhwc(y, "NCHW").copy())


def test_weight_and_image_may_be_the_same_array(isa, layout):
    """M43: reading the same memory twice is no overlap."""
    both = np.arange(-40, 41, dtype=np.float32).reshape(3, 3, 3, 3)
    y = fc.conv2d(both, both, padding=1, layout=layout)
    assert_exact(y, oracle.conv2d(both, both, padding=1, layout=layout))


# ---- out= ---------------------------------------------------------------------


@pytest.mark.parametrize("form", WRITABLE)
def test_out_may_have_any_strides(form, isa, data, layout, dtype):
    geometry = PROBLEM.geometry | {"layout": layout}
    for truth, call in every_call_with_out(data, geometry):
        out = FORMS[form](poisoned(truth.shape, dtype))
        assert call(out) is out
        assert_exact(out, truth)
        if "spread" in form:
            assert (out.base == 99).sum() == out.base.size - out.size


def every_call_with_out(data, geometry):
    """(truth, call) for conv2d, conv2d_backward_input and conv2d_backward_weight."""
    x, weight, bias, grad_y = data.x, data.weight, data.bias, data.grad_y
    backward_input = (grad_y, weight, x.shape)
    backward_weight = (grad_y, x, weight.shape)
    return (
        (
            oracle.conv2d(x, weight, bias, **geometry),
            lambda out: fc.conv2d(x, weight, bias, **geometry, out=out),
        ),
        (
            oracle.conv2d_backward_input(*backward_input, **geometry),
            lambda out: fc.conv2d_backward_input(*backward_input, **geometry, out=out),
        ),
        (
            oracle.conv2d_backward_weight(*backward_weight, **geometry),
            lambda out: fc.conv2d_backward_weight(*backward_weight, **geometry, out=out),
        ),
    )


def test_out_may_be_interleaved_with_an_input(isa):
    """Every second number belongs to x, the others to y: nothing is shared."""
    buffer = np.full((1, 6, 6, 8), np.nan, np.float32)
    x, out = buffer[..., 0::2], buffer[..., 1::2]
    x[...] = np.random.default_rng(4).integers(-9, 9, size=x.shape)
    before = x.copy()
    weight = np.random.default_rng(5).integers(-9, 9, size=(3, 3, 4, 4)).astype(np.float32)
    fc.conv2d(x, weight, padding=1, out=out)
    assert_exact(out, oracle.conv2d(x, weight, padding=1))
    assert same_bits(x.copy(), before)


# ---- geometry as users write it -----------------------------------------------


@pytest.mark.parametrize("padding", [1, (1, 1), [1, 1], ((1, 1), (1, 1)), np.int64(1), "same"])
@pytest.mark.parametrize("stride", [1, (1, 1), [1, 1], np.uint8(1), (np.int64(1), 1)])
def test_spellings_of_one_geometry(padding, stride):
    x, weight = np.ones((1, 5, 6, 2), np.float32), np.ones((3, 3, 2, 3), np.float32)
    y = fc.conv2d(x, weight, padding=padding, stride=stride, dilation=np.int16(1))
    assert_exact(y, oracle.conv2d(x, weight, padding=1))


def test_axes_are_vertical_then_horizontal():
    x, weight = np.ones((1, 20, 30, 1), np.float32), np.ones((2, 3, 1, 1), np.float32)
    assert fc.conv2d(x, weight, stride=(2, 3)).shape == (1, 10, 10, 1)
    assert fc.conv2d(x, weight, dilation=(4, 5)).shape == (1, 16, 20, 1)
    assert fc.conv2d(x, weight, padding=(1, 2)).shape == (1, 21, 32, 1)
    assert fc.conv2d(x, weight, padding=((1, 0), (0, 4))).shape == (1, 20, 32, 1)


def test_filters_are_not_flipped():
    x = np.zeros((1, 3, 3, 1), np.float32)
    x[0, 1, 1, 0] = 1
    weight = np.arange(9, dtype=np.float32).reshape(3, 3, 1, 1)
    assert_exact(fc.conv2d(x, weight, padding=1)[0, :, :, 0], weight[::-1, ::-1, 0, 0])


@pytest.mark.parametrize("problem", problems.load("conv_*"), ids=str)
def test_output_shape(problem, layout):
    shapes = problem.x_shape(layout), problem.weight_shape(layout)
    shape = fc.conv2d_output_shape(*shapes, **problem.geometry, layout=layout)
    assert type(shape) is tuple and shape == problem.y_shape(layout)
    assert all(type(length) is int for length in shape)
    assert (
        fc.conv2d_output_shape(list(shapes[0][1:]), list(shapes[1]), **problem.geometry, layout=layout) == (shape[1:])
    )


def test_one_image_without_batch_axis(isa, data, layout, dtype):
    geometry = PROBLEM.geometry | {"layout": layout}
    y = fc.conv2d(data.x[1], data.weight, data.bias, **geometry)
    batch = fc.conv2d(data.x, data.weight, data.bias, **geometry)
    assert same_bits(y, batch[1])
    out = poisoned(y.shape, dtype)
    assert fc.conv2d(data.x[1], data.weight, data.bias, **geometry, out=out) is out
    assert same_bits(out, y)
    grad_y, x_shape = data.grad_y[1], data.x[1].shape
    grad_x = fc.conv2d_backward_input(grad_y, data.weight, x_shape, **geometry)
    assert_exact(
        grad_x[None],
        oracle.conv2d_backward_input(grad_y[None], data.weight, (1, *x_shape), **geometry),
    )
    grad_weight = fc.conv2d_backward_weight(grad_y, data.x[1], data.weight.shape, **geometry)
    truth = oracle.conv2d_backward_weight(grad_y[None], data.x[1:], data.weight.shape, **geometry)
    assert_exact(grad_weight, truth)


def test_no_images(layout, dtype):
    """M03: an empty batch is legal, has an empty result and zero gradients."""
    x = np.zeros((0, 6, 7, 3) if layout == "NHWC" else (0, 3, 6, 7), dtype)
    weight = np.ones((3, 3, 3, 4) if layout == "NHWC" else (4, 3, 3, 3), dtype)
    y = fc.conv2d(x, weight, np.ones(4, dtype), layout=layout)
    assert y.shape == ((0, 4, 5, 4) if layout == "NHWC" else (0, 4, 4, 5)) and y.dtype == dtype
    gradients = fc.conv2d_backward(y, x, weight, layout=layout)
    assert gradients.x.shape == x.shape
    assert_exact(gradients.weight, np.zeros_like(weight))
    assert_exact(gradients.bias, np.zeros(4))
    out = poisoned(weight.shape, dtype)
    fc.conv2d_backward_weight(y, x, weight.shape, layout=layout, out=out)
    assert_exact(out, np.zeros_like(weight))


# ---- bias and activation ------------------------------------------------------

# The last two have sums so long that they are added up in several passes: the bias belongs to one
# of them, and the activation behind the last.
FUSED = [
    "n2 c5 h7 w9 k6 r3x3 p1",
    "c9 h5 k33 r1x1",
    "c8 h6 k8 r3x3 g8",
    "c1030 h3 k35 r1x1",
    "c130 h4 k20 r3x3 p1",
]


@pytest.mark.parametrize("text", FUSED)
def test_bias_is_added(text, isa, layout, dtype):
    problem = problems.parse(text)
    data = problems.exact_conv_data(problem, dtype, layout)
    geometry = problem.geometry | {"layout": layout}
    without = fc.conv2d(data.x, data.weight, **geometry)
    assert_exact(without, oracle.conv2d(data.x, data.weight, **geometry))
    with_bias = fc.conv2d(data.x, data.weight, data.bias, **geometry)
    per_filter = data.bias if layout == "NHWC" else data.bias[:, None, None]
    assert_exact(with_bias, without + per_filter)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("text", FUSED)
def test_relu_is_exact(text, biased, isa, layout, dtype):
    problem = problems.parse(text)
    data = problems.exact_conv_data(problem, dtype, layout)
    how = problem.geometry | {"layout": layout, "activation": "relu"}
    bias = data.bias if biased else None
    y = fc.conv2d(data.x, data.weight, bias, **how)
    truth = oracle.conv2d(data.x, data.weight, bias, **how)
    assert 0 < np.count_nonzero(truth) < truth.size
    assert_exact(y, truth)


@pytest.mark.parametrize("activation", ["leaky_relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("text", FUSED)
def test_smooth_activations(text, activation, isa, layout, dtype):
    """Within a few roundings: none of the three is steeper than 1. The function itself over its
    whole range: test_accuracy.py."""
    problem = problems.parse(text)
    data = problems.random_conv_data(problem, dtype, layout)
    how = problem.geometry | {"layout": layout, "activation": activation}
    y = fc.conv2d(data.x, data.weight, data.bias, **how, precision="strict")
    truth = oracle.conv2d(data.x, data.weight, data.bias, **how, accumulate=np.longdouble)
    sizes = abs(data.x), abs(data.weight), abs(data.bias)
    terms = oracle.conv2d(*sizes, **(how | {"activation": None}))
    assert_within(y, truth, terms + 1, 8)


def test_activation_of_zero_filters_is_that_of_the_bias():
    x, weight = np.ones((1, 4, 4, 2), np.float32), np.zeros((1, 1, 2, 2), np.float32)
    bias = np.array([-2, 3], np.float32)
    y = fc.conv2d(x, weight, bias, activation="leaky_relu")
    np.testing.assert_allclose(y[0, 0, 0], [-0.02, 3], rtol=1e-7)


# ---- precision and algorithm --------------------------------------------------


@pytest.mark.parametrize("precision", ["strict", "high", "medium", None])
@pytest.mark.parametrize("algorithm", ["auto", "direct", "reference"])
def test_every_precision_and_algorithm(precision, algorithm, dtype):
    problem = problems.parse("n2 c16 h9 k12 r3x3 p1")
    data = problems.random_conv_data(problem, dtype)
    how = {"precision": precision, "algorithm": algorithm}
    y = fc.conv2d(data.x, data.weight, **problem.geometry, **how)
    truth = oracle.conv2d(data.x, data.weight, **problem.geometry, accumulate=np.longdouble)
    promised = {"strict": 1e-6, "high": 5e-6, "medium": 3e-3, None: 5e-6}[precision]
    promised = 1e-14 if dtype == np.float64 else promised
    assert np.linalg.norm(y - truth) <= promised * np.linalg.norm(truth)
