# SPDX-License-Identifier: BSD-3-Clause
"""Arguments of operations that stand on those for images: one entry for each of their own axes of pixels."""

import numpy as np

from fastconv import errors


def is_channels_first(layout, axes):
    if not isinstance(layout, str):
        raise errors.not_a_string("layout", layout)
    last, first = errors.LAYOUTS[axes]
    if layout not in (last, first, "NHWC", "NCHW"):
        raise errors.unknown_name("layout", layout, (last, first))
    return layout in (first, "NCHW")


def per_axis(value, name, axes):
    """One entry for each axis."""
    if isinstance(value, (tuple, list)):
        if len(value) != axes:
            raise errors.wrong_count(name, value, axes)
        return tuple(value)
    return (value,) * axes


def paddings(padding, axes):
    """A padding for each axis: a name, a number, or a pair of numbers."""
    return (padding,) * axes if isinstance(padding, str) else per_axis(padding, "padding", axes)


def joined(first, second):
    """The padding of an image from those of its axes."""
    if isinstance(first, str):
        return first
    pairs = isinstance(first, (tuple, list)) or isinstance(second, (tuple, list))
    return (
        tuple(one if isinstance(one, (tuple, list)) else (one, one) for one in (first, second))
        if pairs
        else (
            first,
            second,
        )
    )


def shape_of(x, name, axes):
    """The shape of an array of so many axes of pixels; TypeError or ValueError for anything else."""
    if not isinstance(x, np.ndarray):
        raise errors.not_an_array(name, x)
    if x.ndim not in (axes + 1, axes + 2):
        raise errors.wrong_rank(name, x.shape, axes + 1, axes + 2)
    return x.shape


def checked_shape(shape, name, axes):
    if not isinstance(shape, (tuple, list)):
        raise errors.not_a_shape(name, shape)
    if len(shape) not in (axes + 1, axes + 2):
        raise errors.wrong_rank_of_shape(name, shape, axes + 1, axes + 2)
    return tuple(shape)
