# SPDX-License-Identifier: BSD-3-Clause
"""Transposed convolution."""

import math

from fastconv.arguments import integer_tuple, keras_names, positive_integer
from fastconv.layers.base import Layer
from fastconv.layers.conv import Convolution, Operation, grouped_filters
from fastconv.layers.pixels import split_shape


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
        pixels, channels = split_shape(self, input_shape, self.axes)
        return math.prod(pixels) * math.prod(self._weight_shape(channels))

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

    axes = 1
    operation = Operation.named("conv_transpose1d", 1)


class Conv3DTranspose(Conv2DTranspose):
    """Transposed convolution of volumes; see ``fastconv.conv_transpose3d``. The arguments are those of Conv2DTranspose
    with three numbers in the place of two."""

    axes = 3
    operation = Operation.named("conv_transpose3d", 3)

    def pack(self, input_shape, weight=None):
        return None
