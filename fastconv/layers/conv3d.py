# SPDX-License-Identifier: BSD-3-Clause
"""Convolution layers of volumes: video, scans."""

from fastconv.arguments import keras_names, positive_integer
from fastconv.layers.conv import Convolution, Operation, grouped_filters
from fastconv.layers.transposed import Conv2DTranspose


class Conv3D(Convolution):
    """Convolution of volumes (N, D, H, W, C), or (N, C, D, H, W) in a model of layout "NCHW"; see ``fastconv.conv3d``.
    The arguments are those of Conv2D with three numbers in the place of two; borders are zeros."""

    axes, kind = 3, "volumes"
    operation = Operation.named("conv3d", 3)
    config_names = (
        *("filters", "kernel_size", "stride", "padding", "activation", "bias"),
        *("dilation", "groups", "init"),
    )

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
        **common,
    ):
        super().__init__(kernel_size, stride, padding, activation, bias, dilation, init, **common)
        self.filters = positive_integer(filters, "filters")
        self.groups = positive_integer(groups, "groups")

    def filters_and_groups(self, channels):
        return grouped_filters(self, channels)

    def pack(self, input_shape, weight=None):
        return None


class Conv3DTranspose(Conv2DTranspose):
    """Transposed convolution of volumes; see ``fastconv.conv_transpose3d``. The arguments are those of Conv2DTranspose
    with three numbers in the place of two."""

    axes, kind = 3, "volumes"
    operation = Operation.named("conv_transpose3d", 3)

    def pack(self, input_shape, weight=None):
        return None
