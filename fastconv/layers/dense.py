# SPDX-License-Identifier: BSD-3-Clause
"""The fully connected layer."""

import math

from fastconv import ops
from fastconv.arguments import boolean, keras_names, one_of, positive_integer
from fastconv.initializers import INITIALIZERS, fill
from fastconv.layers.activation import (
    KINDS,
    RELU_LIKE,
    activated,
    activation_gradient,
    activation_name,
)
from fastconv.layers.base import Layer


class Dense(Layer):
    """activation(x @ weight + bias) over the last axis: (..., C) to (..., units).

    ``activation``: None, "relu", "leaky_relu", "tanh", "sigmoid", which are fused into the product,
    "silu", "gelu", "softmax" or "log_softmax". ``init`` as in Conv2D. Keras's spelling ``use_bias`` is understood.
    """

    takes_out = True
    folds = True
    config_names = ("units", "activation", "bias", "init")

    @keras_names(use_bias="bias")
    def __init__(self, units, activation=None, bias=True, *, init="auto", **common):
        super().__init__(**common)
        self.units = positive_integer(units, "units")
        self.activation = activation_name(activation, KINDS)
        self.bias = boolean(bias, "bias")
        self.init = one_of(INITIALIZERS, init, "init")

    def output_shape(self, input_shape):
        if not input_shape:
            raise ValueError("Dense takes arrays (N, ..., C), got one without C")
        return (*input_shape[:-1], self.units)

    def parameter_shapes(self, input_shape):
        shapes = {"weight": (input_shape[-1], self.units)}
        if self.bias:
            shapes["bias"] = (self.units,)
        return shapes

    def multiply_adds(self, input_shape):
        return math.prod(input_shape) * self.units

    def initialize(self, rng, input_shape, before_relu=False):
        weight, bias = self.parameters["weight"], self.parameters.get("bias")
        before_relu = before_relu or self.activation in RELU_LIKE
        fill(weight, bias, rng, self.init, *weight.shape, before_relu)

    def pack(self, input_shape, weight=None):
        return ops.pack_weights(self.parameters["weight"] if weight is None else weight)

    def forward(self, x, training=False, out=None):
        def product(activation, out):
            return self._product(x, training, activation, out)

        return activated(self, product, (*x.shape[:-1], self.units), x.dtype, training, out)

    def backward(self, grad_y):
        return self.logits_backward(activation_gradient(self, grad_y, self._y))

    def logits(self, x, training=False, out=None):
        """What ``forward`` gives without its activation, for a loss that contains the activation."""
        if training and out is None:
            out = self.buffer("y", (*x.shape[:-1], self.units), x.dtype)
        return self._product(x, training, None, out)

    def _product(self, x, training, activation, out):
        self.require_parameters(x)
        weight, bias = self.packed or self.parameters["weight"], self.parameters.get("bias")
        if self.folded:
            bias, activation = self.folded
        if training:
            self._x = x
        return ops.linear(x, weight, bias, activation=activation, out=out)

    def logits_backward(self, grad_logits):
        x, weight = self._x, self.parameters["weight"]
        ops.linear_backward_weight(grad_logits, x, out=self.gradients["weight"])
        if self.bias:
            ops.linear_backward_bias(grad_logits, out=self.gradients["bias"])
        if not self.needs_input_gradient:
            return None
        return ops.linear_backward_input(grad_logits, weight, out=self.gradient_buffer(x.shape, grad_logits.dtype))
