# SPDX-License-Identifier: BSD-3-Clause
"""What the tests mean by right: exact, within so many units of rounding, or the same bits."""

import numpy as np


def poisoned(shape, dtype):
    """An array to be given as ``out=``: an element that nobody writes stays NaN."""
    return np.full(shape, np.nan, dtype)


def assert_exact(got, truth):
    """Equal numbers. NaN is looked for first, because array comparisons treat two NaNs as equal."""
    assert not np.isnan(got).any(), f"{np.isnan(got).sum()} of {got.size} elements are NaN"
    if not np.array_equal(got, truth):
        np.testing.assert_array_equal(got, truth)  # slower: says where they differ
        raise AssertionError(f"shapes {got.shape} and {np.shape(truth)}")


def unit_roundoff(dtype):
    """u: half the distance from 1 to the next larger number."""
    return np.finfo(dtype).eps / 2


def errors_in_units(got, truth, magnitude):
    """abs(got - truth) in units of u * magnitude, where magnitude is the sum of the absolute values
    of the terms of each element. An element without terms has to be exact."""
    difference = abs(got.astype(np.longdouble) - truth)
    assert not np.isnan(difference).any()
    allowed = unit_roundoff(got.dtype) * np.broadcast_to(magnitude, difference.shape)
    assert not difference[allowed == 0].any()
    return difference[allowed > 0] / allowed[allowed > 0]


def assert_within(got, truth, magnitude, units):
    worst = errors_in_units(got, truth, magnitude).max(initial=0)
    assert worst <= units, f"an error of {float(worst):.3g} u of S, promised: {units} u"


def same_bits(a, b):
    """Equal shape, dtype and bits: unlike ==, tells 0.0 from -0.0 and compares NaNs."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
