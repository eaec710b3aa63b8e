# SPDX-License-Identifier: BSD-3-Clause
"""Layers that make images larger without learning: borders, repetition."""

import numpy as np

from fastconv import borders, ops
from fastconv.arguments import integer_tuple, one_of
from fastconv.layers.base import Layer
from fastconv.layers.pixels import joined_shape, split_shape


class ZeroPadding2D(Layer):
    """Zeros around images: ``padding`` pixels, (vertical, horizontal) or ((top, bottom), (left, right))."""

    config_names = ("padding",)

    def __init__(self, padding=1, **common):
        super().__init__(**common)
        sides = borders.each(padding, 2)
        if len(sides) != 2:
            raise ValueError(f"padding must be an integer or two, got {padding!r}")
        self.padding = tuple(integer_tuple(side, "padding", 2, least=0) for side in sides)

    def output_shape(self, input_shape):
        size, channels = split_shape(self, input_shape)
        return joined_shape(self, [n + sum(side) for n, side in zip(size, self.padding, strict=True)], channels)

    def plan(self, x_shape):
        self.output_shape(x_shape[1:])
        return borders.Border(x_shape, self.layout or "NHWC", self.padding, "constant")

    def forward(self, x, training=False):
        border = self.planned(x.shape)
        if training:
            self._x_shape = x.shape
        return border.put(x, self.buffer("y", border.shape, x.dtype) if training else None)

    def backward(self, grad_y):
        return self.planned(self._x_shape).fold(grad_y, self.gradient_buffer(self._x_shape, grad_y.dtype))


class UpSampling2D(Layer):
    """Images ``size`` times as large, an integer or (vertical, horizontal).

    ``interpolation``: "nearest" repeats each pixel; "bilinear" lays straight lines between the centres of the pixels,
    beyond the outermost the image goes on as it ends (Keras's rule, PyTorch's with ``align_corners=False``).
    """

    config_names = ("size", "interpolation")

    def __init__(self, size=2, interpolation="nearest", **common):
        super().__init__(**common)
        self.size = integer_tuple(size, "size", 2)
        self.interpolation = one_of(("nearest", "bilinear"), interpolation, "interpolation")

    def output_shape(self, input_shape):
        size, channels = split_shape(self, input_shape)
        return joined_shape(self, [n * times for n, times in zip(size, self.size, strict=True)], channels)

    def plan(self, x_shape):
        """The shape of the result and, for straight lines, of each axis its matrix in both dtypes."""
        matrices = None
        if self.interpolation == "bilinear":
            size, _ = split_shape(self, x_shape[1:])
            matrices = [interpolation_matrix(n, times) for n, times in zip(size, self.size, strict=True)]
        return (x_shape[0], *self.output_shape(x_shape[1:])), matrices

    def forward(self, x, training=False):
        y_shape, matrices = self.planned(x.shape)
        if training:
            self._x_shape = x.shape
        out = self.buffer("y", y_shape, x.dtype) if training else None
        if matrices is None:
            return self._repeat(x, np.empty(y_shape, x.dtype) if out is None else out)
        return self._interpolate(x, matrices, out)

    def backward(self, grad_y):
        out = self.gradient_buffer(self._x_shape, grad_y.dtype)
        _, matrices = self.planned(self._x_shape)
        if matrices is None:
            kernel = {"kernel_size": self.size, "divisor_override": 1, "layout": self.layout or "NHWC"}
            return ops.avg_pool2d(grad_y, out=out, **kernel)  # the sum over the copies of each pixel
        return self._interpolate(grad_y, [matrix.T for matrix in matrices], out)

    def _repeat(self, x, out):
        first = 2 if self.layout == "NCHW" else 1
        (height, width), (down, across) = x.shape[first : first + 2], self.size
        copies = out.reshape(*out.shape[:first], height, down, width, across, *out.shape[first + 2 :])
        pixels = (slice(None),) * first + (slice(None), None, slice(None), None)
        copies[...] = x[pixels]
        return out

    def _interpolate(self, x, matrices, out):
        """One axis after the other, each the product with its matrix."""
        rows, columns = (matrix.astype(x.dtype, copy=False) for matrix in matrices)
        if self.layout == "NCHW":
            return np.matmul(rows, x @ columns.T, out=out)
        n, height, width, channels = x.shape
        lines = np.matmul(rows, x.reshape(n, height, width * channels)).reshape(n, len(rows), width, channels)
        return np.matmul(columns, lines, out=out)


def interpolation_matrix(size, times):
    """(size * times, size): the weights of the pixels in each place between them, half a pixel from the edges on."""
    places = np.clip((np.arange(size * times) + 0.5) / times - 0.5, 0, size - 1)
    lower = np.minimum(places.astype(int), max(size - 2, 0))
    matrix = np.zeros((size * times, size))
    matrix[np.arange(size * times), lower] = 1 - (places - lower)
    matrix[np.arange(size * times), np.minimum(lower + 1, size - 1)] += places - lower
    return matrix
