# SPDX-License-Identifier: BSD-3-Clause
"""Layers that change the shape or the scale of their input and learn nothing."""

import math

import numpy as np

from fastconv.arguments import number
from fastconv.layers.base import Layer


class Flatten(Layer):
    """(N, ...) to (N, product of the rest), in memory order of the layout."""

    def output_shape(self, input_shape):
        return (math.prod(input_shape),)

    def forward(self, x, training=False):
        if training:
            self._shape = x.shape
        return self._reshaped("_y", x, (len(x), math.prod(x.shape[1:])))

    def backward(self, grad_y):
        return self._reshaped("_grad_x", grad_y, self._shape)

    def _reshaped(self, name, array, shape):
        """``array`` in that shape, in a training step as the same object while it is given the same one."""
        if self.workspace is None:
            return array.reshape(shape)
        last = getattr(self, name, None)
        if last is None or last[0] is not array:
            last = array, array.reshape(shape)
            setattr(self, name, last)
        return last[1]


class Rescaling(Layer):
    """x * scale + offset, in floating point: turns pixels into the range a network likes, so that a
    saved model takes images as they come."""

    config_names = ("scale", "offset")

    def __init__(self, scale, offset=0.0, **common):
        super().__init__(**common)
        self.scale, self.offset = number(scale, "scale"), number(offset, "offset")

    def forward(self, x, training=False):
        dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
        out = self.buffer("y", x.shape, dtype) if training else None
        y = np.multiply(x, self.scale, out=out, dtype=dtype)
        if self.offset:
            y += self.offset
        return y

    def backward(self, grad_y):
        return np.multiply(grad_y, self.scale, out=self.gradient_place(grad_y))
