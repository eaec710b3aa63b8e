# SPDX-License-Identifier: BSD-3-Clause
"""Layers that change the shape or the scale of their input and learn nothing."""

import math

import numpy as np

from fastconv.arguments import integer, number
from fastconv.layers.base import Layer


class _Reshaping(Layer):
    """The same numbers in the same order in another shape, without a copy where that can be."""

    def forward(self, x, training=False):
        if training:
            self._shape = x.shape
        return self._reshaped("_y", x, (len(x), *self.output_shape(x.shape[1:])))

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


class Flatten(_Reshaping):
    """(N, ...) to (N, product of the rest), in memory order of the layout."""

    def output_shape(self, input_shape):
        return (math.prod(input_shape),)


class Reshape(_Reshaping):
    """(N, ...) to (N, *target_shape), in memory order of the layout. One number may be -1: as many as are left."""

    config_names = ("target_shape",)

    def __init__(self, target_shape, **common):
        super().__init__(**common)
        if not isinstance(target_shape, (tuple, list)):
            raise TypeError(f"target_shape must be a tuple, got {target_shape!r}")
        sizes = [integer(size, "target_shape") for size in target_shape]
        if any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1:
            raise ValueError(f"target_shape holds positive numbers and at most one -1, got {target_shape}")
        self.target_shape = tuple(sizes)

    def output_shape(self, input_shape):
        size, known = math.prod(input_shape), abs(math.prod(self.target_shape))
        rest, missing = divmod(size, known)
        if missing or (-1 not in self.target_shape and rest != 1):
            raise ValueError(f"target_shape={self.target_shape} does not hold the {size} numbers of {input_shape}")
        return tuple(rest if size == -1 else size for size in self.target_shape)


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
