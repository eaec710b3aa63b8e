# SPDX-License-Identifier: BSD-3-Clause
"""Derivatives by central differences, in float64: the judge of every backward pass."""

import numpy as np

STEP = 1e-5


def central_differences(function, array, step=STEP):
    """Gradient of ``function()``, a float, with respect to ``array``, which it reads."""
    gradient = np.empty_like(array)
    for place in np.ndindex(array.shape):
        value = array[place]
        array[place] = value + step
        above = function()
        array[place] = value - step
        below = function()
        array[place] = value
        gradient[place] = (above - below) / (2 * step)
    return gradient


def assert_close(actual, expected, what):
    """Within 1e-7 of the largest expected value; an array of zeros or NaN does not pass."""
    assert actual.shape == expected.shape, f"{what}: {actual.shape} instead of {expected.shape}"
    scale = np.abs(expected).max()
    assert scale > 0, f"{what}: the expected gradient vanishes, the test would see nothing"
    error = np.abs(actual - expected).max() / scale
    assert error < 1e-7, f"{what}: relative error {error:.2e}"
