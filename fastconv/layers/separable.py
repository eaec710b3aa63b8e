# SPDX-License-Identifier: BSD-3-Clause
"""Separable convolution."""

import math

from fastconv import ops
from fastconv.arguments import boolean, integer_pair, keras_names, one_of, positive_integer
from fastconv.initializers import INITIALIZERS, fill
from fastconv.layers.activation import ELEMENTWISE, RELU_LIKE, activated, activation_gradient, activation_name
from fastconv.layers.base import Layer
from fastconv.layers.pixels import split_shape


class SeparableConv2D(Layer):
    """A depthwise convolution, ``depth_multiplier`` filters for each channel, and a 1x1 convolution of its results.

    Parameters, under Keras's names: ``depthwise_kernel`` (R, S, 1, C*depth_multiplier), ``pointwise_kernel``
    (1, 1, C*depth_multiplier, filters) and ``bias`` (filters), which with the activation follows the second; in "NCHW"
    (C*depth_multiplier, 1, R, S) and (filters, C*depth_multiplier, 1, 1). The other arguments are those of Conv2D.
    """

    config_names = (
        *("filters", "kernel_size", "stride", "padding", "depth_multiplier", "activation", "bias"),
        *("dilation", "init"),
    )

    @keras_names(strides="stride", use_bias="bias", dilation_rate="dilation")
    def __init__(
        self,
        filters,
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
        super().__init__(**common)
        self.filters = positive_integer(filters, "filters")
        self.kernel_size = integer_pair(kernel_size, "kernel_size")
        self.stride = integer_pair(stride, "stride")
        self.padding = padding
        self.depth_multiplier = positive_integer(depth_multiplier, "depth_multiplier")
        self.activation = activation_name(activation, ELEMENTWISE)
        self.bias = boolean(bias, "bias")
        self.dilation = integer_pair(dilation, "dilation")
        self.init = one_of(INITIALIZERS, init, "init")

    def output_shape(self, input_shape):
        return self.plan((1, *input_shape))[2][1:]

    def parameter_shapes(self, input_shape):
        channels = self._channels(input_shape)
        middle = channels * self.depth_multiplier
        if self.layout == "NCHW":
            shapes = (middle, 1, *self.kernel_size), (self.filters, middle, 1, 1)
        else:
            shapes = (*self.kernel_size, 1, middle), (1, 1, middle, self.filters)
        shapes = dict(zip(("depthwise_kernel", "pointwise_kernel"), shapes, strict=True))
        return shapes | {"bias": (self.filters,)} if self.bias else shapes

    def multiply_adds(self, input_shape):
        _, middle_shape, _ = self.plan((1, *input_shape))
        return math.prod(middle_shape) * (math.prod(self.kernel_size) + self.filters)

    def initialize(self, rng, input_shape, before_relu=False):
        taps, middle = math.prod(self.kernel_size), self._channels(input_shape) * self.depth_multiplier
        kernels = [self.parameters[name] for name in ("depthwise_kernel", "pointwise_kernel")]
        if self.layout == "NCHW":  # one seed is one network in either layout
            kernels = [kernel.transpose(2, 3, 1, 0) for kernel in kernels]
        fill(kernels[0], None, rng, self.init, taps, taps * self.depth_multiplier, False)
        before_relu = before_relu or self.activation in RELU_LIKE
        fill(kernels[1], self.parameters.get("bias"), rng, self.init, middle, self.filters, before_relu)

    def forward(self, x, training=False):
        self.require_parameters(x)
        geometry, middle_shape, y_shape = self.planned(x.shape)
        out = self.buffer("middle", middle_shape, x.dtype) if training else None
        depthwise, pointwise = self.parameters["depthwise_kernel"], self.parameters["pointwise_kernel"]
        middle = ops.conv2d(x, depthwise, out=out, **geometry)
        layout, bias = geometry["layout"], self.parameters.get("bias")

        def product(activation, out):
            return ops.conv2d(middle, pointwise, bias, layout=layout, activation=activation, out=out)

        if training:
            self._x, self._middle = x, middle
        return activated(self, product, y_shape, x.dtype, training, None)

    def backward(self, grad_y):
        x, middle = self._x, self._middle
        geometry, layout = self.planned(x.shape)[0], self.layout or "NHWC"
        depthwise, pointwise = self.parameters["depthwise_kernel"], self.parameters["pointwise_kernel"]
        gradients = self.gradients
        grad = activation_gradient(self, grad_y, self._y)
        ops.conv2d_backward_weight(grad, middle, pointwise.shape, layout=layout, out=gradients["pointwise_kernel"])
        if self.bias:
            ops.conv2d_backward_bias(grad, layout=layout, out=gradients["bias"])
        out = self.buffer("grad_middle", middle.shape, grad.dtype)
        grad = ops.conv2d_backward_input(grad, pointwise, middle.shape, layout=layout, out=out)
        ops.conv2d_backward_weight(grad, x, depthwise.shape, out=gradients["depthwise_kernel"], **geometry)
        if not self.needs_input_gradient:
            return None
        out = self.gradient_buffer(x.shape, grad.dtype)
        return ops.conv2d_backward_input(grad, depthwise, x.shape, out=out, **geometry)

    def plan(self, x_shape):
        """The arguments of the depthwise convolution, the shapes of both results."""
        channels, layout = self._channels(x_shape[1:]), self.layout or "NHWC"
        geometry = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        geometry |= {"groups": channels, "layout": layout}
        shapes = self.parameter_shapes(x_shape[1:])
        middle = ops.conv2d_output_shape(x_shape, shapes["depthwise_kernel"], **geometry)
        return geometry, middle, ops.conv2d_output_shape(middle, shapes["pointwise_kernel"], layout=layout)

    def _channels(self, input_shape):
        return split_shape(self, input_shape)[1]
