# SPDX-License-Identifier: BSD-3-Clause
"""Convolution layers."""

import math

from fastconv import ops
from fastconv.arguments import boolean, integer_pair, keras_names, one_of, positive_integer
from fastconv.initializers import INITIALIZERS, fill
from fastconv.layers.activation import FUSED, RELU_LIKE, activation_gradient, activation_name
from fastconv.layers.base import Layer
from fastconv.layers.windows import unread_pixels


class _Convolution(Layer):
    """What the two layers share; they differ in the number of filters and groups."""

    takes_out = True

    def __init__(self, kernel_size, stride, padding, activation, bias, dilation, init, **common):
        super().__init__(**common)
        self.kernel_size = integer_pair(kernel_size, "kernel_size")
        self.stride = integer_pair(stride, "stride")
        self.padding = padding
        self.dilation = integer_pair(dilation, "dilation")
        self.activation = activation_name(activation, FUSED)
        self.bias = boolean(bias, "bias")
        self.init = one_of(INITIALIZERS, init, "init")

    def filters_and_groups(self, channels):
        raise NotImplementedError

    def output_shape(self, input_shape):
        channels = self._channels(input_shape)
        shape = ops.conv2d_output_shape((1, *input_shape), self._weight_shape(channels), **self._geometry(channels))
        return shape[1:]

    def parameter_shapes(self, input_shape):
        channels = self._channels(input_shape)
        shapes = {"weight": self._weight_shape(channels)}
        if self.bias:
            shapes["bias"] = (self.filters_and_groups(channels)[0],)
        return shapes

    def multiply_adds(self, input_shape):
        pixels = self._pixels(self.output_shape(input_shape))
        return math.prod(pixels) * math.prod(self._weight_shape(self._channels(input_shape)))

    def unread_pixels(self, input_shape):
        pixels, outputs = (self._pixels(shape) for shape in (input_shape, self.output_shape(input_shape)))
        return unread_pixels(pixels, outputs, self.kernel_size, self.stride, self.padding, self.dilation)

    def _pixels(self, shape):
        return shape[1:] if self.layout == "NCHW" else shape[:-1]

    def initialize(self, rng, input_shape, before_relu=False):
        filters, groups = self.filters_and_groups(self._channels(input_shape))
        weight = self.parameters["weight"]
        if self.layout == "NCHW":
            weight = weight.transpose(2, 3, 1, 0)  # one seed is one network in either layout
        taps = math.prod(self.kernel_size)
        fan_in, fan_out = taps * weight.shape[2], taps * filters // groups
        before_relu = before_relu or self.activation in RELU_LIKE
        fill(weight, self.parameters.get("bias"), rng, self.init, fan_in, fan_out, before_relu)

    def pack(self, input_shape):
        geometry = self._geometry(self._channels(input_shape))
        return ops.pack_weights(self.parameters["weight"], (1, *input_shape), **geometry)

    def forward(self, x, training=False, out=None):
        self.require_parameters(x)
        geometry, y_shape = self.planned(x.shape)
        if training and out is None:
            out = self.buffer("y", y_shape, x.dtype)
        y = ops.conv2d(
            x,
            self.packed or self.parameters["weight"],
            self.parameters.get("bias"),
            activation=self.activation,
            out=out,
            **geometry,
        )
        if training:
            self._x, self._y = x, y
        return y

    def backward(self, grad_y):
        x, weight = self._x, self.parameters["weight"]
        geometry, _ = self.planned(x.shape)
        grad = activation_gradient(self, grad_y, self._y)
        ops.conv2d_backward_weight(grad, x, weight.shape, out=self.gradients["weight"], **geometry)
        if self.bias:
            ops.conv2d_backward_bias(grad, layout=geometry["layout"], out=self.gradients["bias"])
        if not self.needs_input_gradient:
            return None
        out = self.gradient_buffer(x.shape, grad.dtype)
        return ops.conv2d_backward_input(grad, weight, x.shape, out=out, **geometry)

    def plan(self, x_shape):
        """The arguments of the convolution, the shape of its result."""
        geometry = self._geometry(self._channels(x_shape[1:]))
        return geometry, (x_shape[0], *self.output_shape(x_shape[1:]))

    def _channels(self, input_shape):
        if len(input_shape) != 3:
            axes = "(C, H, W)" if self.layout == "NCHW" else "(H, W, C)"
            raise ValueError(f"{type(self).__name__} takes images {axes}, got the shape {tuple(input_shape)}")
        return input_shape[0 if self.layout == "NCHW" else 2]

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


class Conv2D(_Convolution):
    """2-D convolution of images with ``filters`` learned filters; see ``fastconv.conv2d``.

    ``activation``: None, "relu", "leaky_relu", "tanh" or "sigmoid", fused into the convolution.
    ``init``: "auto", "keras" or "torch"; see ``fastconv.initializers``. Keras's spellings
    ``strides``, ``use_bias`` and ``dilation_rate`` are understood.
    """

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
        if channels % self.groups or self.filters % self.groups:
            raise ValueError(
                f"groups={self.groups} must divide the input channels ({channels}) and the filters ({self.filters})"
            )
        return self.filters, self.groups


class DepthwiseConv2D(_Convolution):
    """Convolution of each input channel with ``depth_multiplier`` filters of its own; the other
    arguments are those of Conv2D."""

    config_names = (
        *("kernel_size", "stride", "padding", "depth_multiplier", "activation", "bias"),
        *("dilation", "init"),
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
        **common,
    ):
        super().__init__(kernel_size, stride, padding, activation, bias, dilation, init, **common)
        self.depth_multiplier = positive_integer(depth_multiplier, "depth_multiplier")

    def filters_and_groups(self, channels):
        return channels * self.depth_multiplier, channels
