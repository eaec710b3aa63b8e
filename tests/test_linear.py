# SPDX-License-Identifier: BSD-3-Clause
"""What linear and linear_backward take and give. (Sizes: test_exact.py.)"""

import numpy as np
import oracle
import pytest
from compare import assert_exact, assert_within, poisoned, same_bits
from forms import FORMS, WRITABLE

import fastconv as fc


def whole(shape, dtype, seed=0):
    return np.random.default_rng([seed, *np.shape(shape)]).integers(-99, 99, size=shape).astype(dtype)


@pytest.mark.parametrize("rows", [(), (1,), (7,), (3, 5), (2, 3, 4), (0,), (2, 0)])
def test_axes_before_the_last_are_rows(rows, isa, dtype):
    x, weight, bias = whole((*rows, 9), dtype), whole((9, 5), dtype), whole(5, dtype)
    y = fc.linear(x, weight, bias)
    assert y.shape == (*rows, 5) and y.dtype == dtype
    assert_exact(y, oracle.linear(x, weight, bias))
    gradients = fc.linear_backward(y, x, weight)
    assert type(gradients).__name__ == "LinearGradients"
    assert gradients._fields == ("x", "weight", "bias")
    assert gradients.x.shape == x.shape
    for gradient, truth in zip(gradients, oracle.linear_backward(y, x, weight), strict=True):
        assert gradient.dtype == dtype
        assert_exact(gradient, truth)


def test_bias_may_be_left_out(isa, dtype):
    x, weight = whole((4, 6), dtype), whole((6, 33), dtype)
    assert_exact(fc.linear(x, weight), oracle.linear(x, weight))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "sigmoid"])
def test_activation(activation, isa, dtype):
    rng = np.random.default_rng(1)
    x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in ((6, 17), (17, 19), 19))
    y = fc.linear(x, weight, bias, activation=activation, precision="strict")
    truth = oracle.linear(x, weight, bias, activation=activation, accumulate=np.longdouble)
    terms = oracle.linear(abs(x), abs(weight), abs(bias))
    assert_within(y, truth, terms + 1, 8)


@pytest.mark.parametrize("image_type", [np.uint8, np.int8, np.int16, np.float16])
def test_number_types(image_type):
    x, weight = whole((5, 7), image_type), whole((7, 3), np.float32)
    y = fc.linear(x, weight)
    assert y.dtype == np.float32
    assert_exact(y, oracle.linear(x, weight))
    for wide_x, wide_weight in ((np.float64, np.float32), (np.float32, np.float64)):
        y = fc.linear(whole((5, 7), wide_x), whole((7, 3), wide_weight))
        assert y.dtype == np.float64
        assert_exact(y, oracle.linear(whole((5, 7), wide_x), whole((7, 3), wide_weight)))


@pytest.mark.parametrize("form", FORMS)
def test_any_memory_layout_is_read(form, isa, dtype):
    change = FORMS[form]
    x, weight, bias, grad_y = (whole(s, dtype) for s in ((4, 3, 10), (10, 9), 9, (4, 3, 9)))
    plain = fc.linear(x, weight, bias)
    assert same_bits(fc.linear(change(x), change(weight), change(bias)), plain)
    theirs = fc.linear_backward(grad_y, x, weight)
    ours = fc.linear_backward(change(grad_y), change(x), change(weight))
    assert all(same_bits(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("form", WRITABLE)
@pytest.mark.parametrize("rows", [(), (6,), (2, 3)])
def test_out_may_have_any_strides(rows, form, isa, dtype):
    x, weight = whole((*rows, 10), dtype), whole((10, 9), dtype)
    out = FORMS[form](poisoned((*rows, 9), dtype))
    assert fc.linear(x, weight, out=out) is out
    assert_exact(out, oracle.linear(x, weight))
    if "spread" in form:
        assert (out.base == 99).sum() == out.base.size - out.size


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_a_matrix_is_an_array():
    x = np.matrix([[1.0, 2.0], [3.0, 4.0]])
    assert_exact(fc.linear(x, np.asarray(x)), np.asarray(x) @ np.asarray(x))


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize("sizes", [(700, 300), (33, 17), (1, 129), (1600, 1)])
def test_few_rows_have_the_bits_of_many(rows, sizes, isa, dtype):
    """A few rows read the weights where they lie, many rows read packed ones."""
    rng = np.random.default_rng(5)
    c, k = sizes
    x, weight, bias = (rng.standard_normal(shape).astype(dtype) for shape in ((300, c), (c, k), (k,)))
    for activation in (None, "relu", "tanh"):
        many = fc.linear(x, weight, bias, activation=activation)
        few = fc.linear(x[:rows], weight, bias, activation=activation)
        assert np.array_equal(few, many[:rows])
