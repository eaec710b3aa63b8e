# SPDX-License-Identifier: BSD-3-Clause
"""Layers that make images larger: transposed convolution, repetition, borders."""

import math

import numpy as np

from fastconv import borders, ops
from fastconv.arguments import integer_tuple, keras_names, one_of, positive_integer
from fastconv.layers.base import Layer
from fastconv.layers.conv import Convolution, Operation, grouped_filters


class Conv2DTranspose(Convolution):
    """Transposed convolution with ``filters`` learned filters; see ``fastconv.conv_transpose2d``.

    The weight is (R, S, filters/groups, C), as Keras has it, or (C, filters/groups, R, S) with "NCHW", as PyTorch has
    it. ``output_padding``: pixels more at the bottom and the right; None (Keras's default) is 0. ``padding="same"``
    gives ``stride`` times the size. The other arguments are those of Conv2D.
    """

    config_names = (
        *("filters", "kernel_size", "stride", "padding", "activation", "bias"),
        *("dilation", "groups", "init", "output_padding"),
    )
    operation = Operation.named("conv_transpose2d", 2)

    @keras_names(strides="stride", use_bias="bias", dilation_rate="dilation")
    def __init__(
        self,
        filters,
        kernel_size,
        stride=1,
        padding=0,
        activation=None,
        bias=True,
        *,
        dilation=1,
        groups=1,
        init="auto",
        output_padding=None,
        **common,
    ):
        super().__init__(kernel_size, stride, padding, activation, bias, dilation, init, **common)
        self.filters = positive_integer(filters, "filters")
        self.groups = positive_integer(groups, "groups")
        self.output_padding = integer_tuple(output_padding or 0, "output_padding", self.axes, least=0)

    def filters_and_groups(self, channels):
        return grouped_filters(self, channels)

    def multiply_adds(self, input_shape):
        return math.prod(self._pixels(input_shape)) * math.prod(self._weight_shape(self._channels(input_shape)))

    def unread_pixels(self, input_shape):
        return Layer.unread_pixels(self, input_shape)  # all are read

    def _weight_shape(self, channels):
        filters, groups = self.filters_and_groups(channels)
        if self.layout == "NCHW":
            return (channels, filters // groups, *self.kernel_size)
        return (*self.kernel_size, filters // groups, channels)

    def _fans(self, channels):
        """Of the taps only every stride-th meets in one output. PyTorch's bound counts what its weight's shape says."""
        (filters, groups), taps = self.filters_and_groups(channels), math.prod(self.kernel_size)
        if self.init == "torch":
            return taps * filters // groups, taps * channels // groups
        met = taps if self.init == "keras" else max(1, taps // math.prod(self.stride))
        return met * channels // groups, taps * filters // groups

    def _geometry(self, channels):
        return super()._geometry(channels) | {"output_padding": self.output_padding}


class Conv1DTranspose(Conv2DTranspose):
    """Transposed convolution of sequences; see ``fastconv.conv_transpose1d``. The arguments are those of
    Conv2DTranspose with one number in the place of two."""

    axes, kind = 1, "sequences"
    operation = Operation.named("conv_transpose1d", 1)


def image_size(layer, input_shape):
    """(height, width) of images of this shape."""
    if len(input_shape) != 3:
        axes = "(C, H, W)" if layer.layout == "NCHW" else "(H, W, C)"
        raise ValueError(f"{type(layer).__name__} takes images {axes}, got the shape {tuple(input_shape)}")
    return tuple(input_shape[1:] if layer.layout == "NCHW" else input_shape[:2])


def resized(layer, input_shape, size):
    """The shape of images of another size."""
    return (input_shape[0], *size) if layer.layout == "NCHW" else (*size, input_shape[2])


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
        size = image_size(self, input_shape)
        return resized(self, input_shape, [n + sum(side) for n, side in zip(size, self.padding, strict=True)])

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
        size = image_size(self, input_shape)
        return resized(self, input_shape, [n * times for n, times in zip(size, self.size, strict=True)])

    def plan(self, x_shape):
        """The shape of the result and, for straight lines, of each axis its matrix in both dtypes."""
        matrices = None
        if self.interpolation == "bilinear":
            size = image_size(self, x_shape[1:])
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
