# SPDX-License-Identifier: BSD-3-Clause
"""Normalisation layers."""

from fastconv import ops
from fastconv.arguments import number
from fastconv.layers.activation import activation_name
from fastconv.layers.base import Layer

FUSED = ("relu", "leaky_relu")


class BatchNormalization(Layer):
    """Normalises each channel by the mean and variance of the batch while training, else by their running means; then
    scales and shifts it by what it has learned. See ``fastconv.batch_norm``.

    ``momentum``: the share of the way that the running statistics move to those of a batch, as in PyTorch (Keras counts
    the rest: 1 - momentum). ``activation``: None, "relu" or "leaky_relu", fused. The running statistics are states: a
    model shows and saves them with its parameters, no optimiser sees them.
    """

    config_names = ("momentum", "epsilon", "activation")

    def __init__(self, momentum=0.1, epsilon=1e-5, activation=None, **common):
        super().__init__(**common)
        self.momentum = number(momentum, "momentum", 0)
        if self.momentum > 1:
            raise ValueError(f"momentum must be from 0 to 1, got {momentum}")
        self.epsilon = number(epsilon, "epsilon", 0)
        self.activation = activation_name(activation, FUSED)

    def output_shape(self, input_shape):
        if not input_shape:
            raise ValueError("BatchNormalization takes arrays (N, ..., C), got one without C")
        return tuple(input_shape)

    def parameter_shapes(self, input_shape):
        channels = input_shape[0 if self.layout == "NCHW" else -1]
        return {"weight": (channels,), "bias": (channels,)}

    def state_shapes(self, input_shape):
        channels = input_shape[0 if self.layout == "NCHW" else -1]
        return {"running_mean": (channels,), "running_var": (channels,)}

    def initialize(self, rng, input_shape, before_relu=False):
        self.parameters["weight"][...] = 1
        self.states["running_var"][...] = 1

    def forward(self, x, training=False):
        if self.folded:
            return x
        self.require_parameters(x)
        out = self.buffer("y", x.shape, x.dtype) if training else None
        arrays = *self.parameters.values(), *self.states.values()
        result = ops.batch_norm(x, *arrays, training=training, momentum=self.momentum, out=out, **self._how())
        if not training:
            return result
        self._x = x
        y, *self._statistics = result
        return y

    def backward(self, grad_y):
        gradients = ops.batch_norm_backward(
            grad_y,
            self._x,
            *self.parameters.values(),
            *self._statistics,
            input_gradient=self.needs_input_gradient,
            out=self.gradient_buffer(self._x.shape, grad_y.dtype) if self.needs_input_gradient else None,
            activation=self.activation,
            layout=self.layout or "NHWC",
        )
        self.gradients["weight"][...] = gradients.weight
        self.gradients["bias"][...] = gradients.bias
        return gradients.x

    def _how(self):
        return {"epsilon": self.epsilon, "activation": self.activation, "layout": self.layout or "NHWC"}
