# SPDX-License-Identifier: BSD-3-Clause
"""Convolution layers."""

import math
from collections.abc import Callable
from typing import NamedTuple

from fastconv import borders, ops
from fastconv.arguments import boolean, integer_tuple, keras_names, one_of, positive_integer
from fastconv.initializers import INITIALIZERS, fill
from fastconv.layers.activation import ELEMENTWISE, RELU_LIKE, activated, activation_gradient, activation_name
from fastconv.layers.base import Layer
from fastconv.layers.pixels import split_shape
from fastconv.layers.windows import unread_pixels


class Operation(NamedTuple):
    """The functions of one kind of convolution."""

    name: str
    forward: Callable
    backward_input: Callable
    backward_weight: Callable
    backward_bias: Callable
    output_shape: Callable

    @classmethod
    def named(cls, name, axes):
        parts = ("", "_backward_input", "_backward_weight")
        functions = (getattr(ops, f"{name}{part}") for part in parts)
        return cls(name, *functions, getattr(ops, f"conv{axes}d_backward_bias"), getattr(ops, f"{name}_output_shape"))


class Convolution(Layer):
    """What all of them share; they differ in their operation, and in the number of filters and groups."""

    takes_out = True
    axes = 2  # of pixels
    operation = Operation.named("conv2d", 2)
    padding_mode = "constant"

    def __init__(self, kernel_size, stride, padding, activation, bias, dilation, init, **common):
        super().__init__(**common)
        self.kernel_size = integer_tuple(kernel_size, "kernel_size", self.axes)
        self.stride = integer_tuple(stride, "stride", self.axes)
        self.padding = padding
        self.dilation = integer_tuple(dilation, "dilation", self.axes)
        self.activation = activation_name(activation, ELEMENTWISE)
        self.bias = boolean(bias, "bias")
        self.init = one_of(INITIALIZERS, init, "init")

    def filters_and_groups(self, channels):
        raise NotImplementedError

    def output_shape(self, input_shape):
        channels = self._channels(input_shape)
        weight_shape, geometry = self._weight_shape(channels), self._geometry(channels)
        return self.operation.output_shape((1, *input_shape), weight_shape, **geometry)[1:]

    def parameter_shapes(self, input_shape):
        channels = self._channels(input_shape)
        shapes = {"weight": self._weight_shape(channels)}
        if self.bias:
            shapes["bias"] = (self.filters_and_groups(channels)[0],)
        return shapes

    def multiply_adds(self, input_shape):
        pixels, _ = split_shape(self, self.output_shape(input_shape), self.axes)
        return math.prod(pixels) * math.prod(self._weight_shape(self._channels(input_shape)))

    def unread_pixels(self, input_shape):
        if self.padding_mode != "constant":  # the border repeats pixels
            return super().unread_pixels(input_shape)
        (pixels, _), (outputs, _) = (
            split_shape(self, shape, self.axes) for shape in (input_shape, self.output_shape(input_shape))
        )
        return unread_pixels(pixels, outputs, self.kernel_size, self.stride, self.padding, self.dilation)

    def initialize(self, rng, input_shape, before_relu=False):
        weight = self.parameters["weight"]
        if self.layout == "NCHW":  # one seed is one network in either layout
            weight = weight.transpose(*range(2, weight.ndim), 1, 0)
        fan_in, fan_out = self._fans(self._channels(input_shape))
        before_relu = before_relu or self.activation in RELU_LIKE
        fill(weight, self.parameters.get("bias"), rng, self.init, fan_in, fan_out, before_relu)

    def _fans(self, channels):
        """The weights that meet in one output, and those that leave one input."""
        (filters, groups), taps = self.filters_and_groups(channels), math.prod(self.kernel_size)
        return taps * channels // groups, taps * filters // groups

    def pack(self, input_shape, weight=None):
        geometry, _, border = self.plan((1, *input_shape))
        shape = (1, *input_shape) if border is None else border.shape
        weight = self.parameters["weight"] if weight is None else weight
        return ops.pack_weights(weight, shape, operation=self.operation.name, **geometry)

    def forward(self, x, training=False, out=None):
        self.require_parameters(x)
        geometry, y_shape, border = self.planned(x.shape)
        if border is not None:
            x = border.put(x, self.buffer("x", border.shape, x.dtype) if training else None)
        weight = self.packed or self.parameters["weight"]
        if self.folded:
            bias, activation = self.folded
            return self.operation.forward(x, weight, bias, activation=activation, out=out, **geometry)
        bias = self.parameters.get("bias")

        def product(activation, out):
            return self.operation.forward(x, weight, bias, activation=activation, out=out, **geometry)

        y = activated(self, product, y_shape, x.dtype, training, out)
        if training:
            self._x = x
            self._x_shape = x.shape if border is None else border.inner_shape
        return y

    def backward(self, grad_y):
        x, weight = self._x, self.parameters["weight"]
        geometry, _, border = self.planned(self._x_shape)
        grad = activation_gradient(self, grad_y, self._y)
        self.operation.backward_weight(grad, x, weight.shape, out=self.gradients["weight"], **geometry)
        if self.bias:
            self.operation.backward_bias(grad, layout=geometry["layout"], out=self.gradients["bias"])
        if not self.needs_input_gradient:
            return None
        if border is None:
            out = self.gradient_buffer(x.shape, grad.dtype)
            return self.operation.backward_input(grad, weight, x.shape, out=out, **geometry)
        padded = self.buffer("grad_x", border.shape, grad.dtype)
        padded = self.operation.backward_input(grad, weight, border.shape, out=padded, **geometry)
        return border.fold(padded, self.gradient_buffer(self._x_shape, grad.dtype))

    def plan(self, x_shape):
        """The arguments of the convolution, the shape of its result, the border that is put around x before."""
        channels = self._channels(x_shape[1:])
        geometry, y_shape = self._geometry(channels), (x_shape[0], *self.output_shape(x_shape[1:]))
        if self.padding_mode == "constant":
            return geometry, y_shape, None
        weight_shape = self._weight_shape(channels)
        border = borders.border_of(self.operation.output_shape, x_shape, weight_shape, self.padding_mode, geometry)
        return geometry | {"padding": 0}, y_shape, border

    def _channels(self, input_shape):
        return split_shape(self, input_shape, self.axes)[1]

    def _weight_shape(self, channels):
        filters, groups = self.filters_and_groups(channels)
        if self.layout == "NCHW":
            return (filters, channels // groups, *self.kernel_size)
        return (*self.kernel_size, channels // groups, filters)

    def _geometry(self, channels):
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.filters_and_groups(channels)[1],
            "layout": self.layout or "NHWC",
        }


def grouped_filters(layer, channels):
    """Filters and groups of a layer that has both, checked."""
    if channels % layer.groups or layer.filters % layer.groups:
        raise ValueError(
            f"groups={layer.groups} must divide the input channels ({channels}) and the filters ({layer.filters})"
        )
    return layer.filters, layer.groups


class Conv2D(Convolution):
    """2-D convolution of images with ``filters`` learned filters; see ``fastconv.conv2d``.

    ``activation``: None, "relu", "leaky_relu", "tanh" or "sigmoid", fused into the convolution; "silu" or "gelu".
    ``init``: "auto", "keras" or "torch"; see ``fastconv.initializers``. ``padding_mode``: "constant" (zeros),
    "reflect", "symmetric", "edge" or "wrap". Keras's spellings ``strides``, ``use_bias`` and ``dilation_rate`` are
    understood.
    """

    folds = True
    config_names = (
        *("filters", "kernel_size", "stride", "padding", "activation", "bias"),
        *("dilation", "groups", "init", "padding_mode"),
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
        padding_mode="constant",
        **common,
    ):
        super().__init__(kernel_size, stride, padding, activation, bias, dilation, init, **common)
        self.filters = positive_integer(filters, "filters")
        self.groups = positive_integer(groups, "groups")
        self.padding_mode = borders.check_mode(padding_mode)

    def filters_and_groups(self, channels):
        return grouped_filters(self, channels)


class Conv1D(Conv2D):
    """Convolution of sequences (N, W, C), or (N, C, W) in a model of layout "NCHW"; see ``fastconv.conv1d``. The
    arguments are those of Conv2D with one number in the place of two; ``padding`` may be "causal"."""

    axes = 1
    operation = Operation.named("conv1d", 1)


class Conv3D(Conv2D):
    """Convolution of volumes (N, D, H, W, C), or (N, C, D, H, W) in a model of layout "NCHW"; see ``fastconv.conv3d``.
    The arguments are those of Conv2D with three numbers in the place of two."""

    axes = 3
    folds = False  # into weights that are packed, which these are not
    operation = Operation.named("conv3d", 3)

    def pack(self, input_shape, weight=None):
        return None


class DepthwiseConv2D(Convolution):
    """Convolution of each input channel with ``depth_multiplier`` filters of its own; the other
    arguments are those of Conv2D."""

    folds = True
    config_names = (
        *("kernel_size", "stride", "padding", "depth_multiplier", "activation", "bias"),
        *("dilation", "init", "padding_mode"),
    )

    @keras_names(strides="stride", use_bias="bias", dilation_rate="dilation")
    def __init__(
        self,
        kernel_size,
        stride=1,
        padding=0,
        depth_multiplier=1,
        activation=None,
        bias=True,
        *,
        dilation=1,
        init="auto",
        padding_mode="constant",
        **common,
    ):
        super().__init__(kernel_size, stride, padding, activation, bias, dilation, init, **common)
        self.depth_multiplier = positive_integer(depth_multiplier, "depth_multiplier")
        self.padding_mode = borders.check_mode(padding_mode)

    def filters_and_groups(self, channels):
        return channels * self.depth_multiplier, channels
