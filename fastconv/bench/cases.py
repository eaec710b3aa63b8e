# SPDX-License-Identifier: BSD-3-Clause
"""What is timed of an operation: one call on one layer, and what all convolutions have in common."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastconv._core import empty
from fastconv.bench.arrays import LAYOUTS, Source


@dataclass
class Case:
    """One operation on one layer and so many images."""

    op: str
    layer: object
    batch: int
    call: Callable  # does it once with fastconv; returns the result
    back: Callable  # brings that result to NHWC or (R, S, C/groups, K)
    pick: Callable  # the sample of such an array ...
    truth: Callable  # ... and what it must be, in float64
    data: tuple  # what the rivals get after the layer
    flops: int
    nbytes: int
    limit: str  # "fma" or "copy": what bounds the speed
    exact: bool = False


class Form:
    """Layout and dtype of fastconv's arrays, and reproducible data for them."""

    def __init__(self, layout, dtype):
        self.layout = LAYOUTS[layout]
        self.source = Source(dtype)

    @property
    def itemsize(self):
        return self.source.dtype.itemsize

    def empty(self, shape):
        """An array for a result; what a call does not write is NaN and will be noticed."""
        array = empty(shape, self.source.dtype)
        array.fill(np.nan)
        return array

    def empty_image(self, nhwc_shape):
        return self.empty(self.layout.image_shape(nhwc_shape))

    def empty_weight(self, hwio_shape):
        return self.empty(self.layout.weight_shape(hwio_shape))


def count(*shapes):
    """Numbers in arrays of these shapes."""
    return sum(int(np.prod(shape)) for shape in shapes)


def conv_case(op, form, conv, batch, **case):
    """Convolutions and their gradients have the same arithmetic: a product for each filter value and pixel."""
    return Case(
        op,
        conv,
        batch,
        flops=2 * count(conv.y_shape(batch)) * count(conv.weight_shape[:-1]),
        nbytes=form.itemsize * count(conv.x_shape(batch), conv.weight_shape, conv.y_shape(batch)),
        limit="copy" if conv.depthwise else "fma",
        **case,
    )
