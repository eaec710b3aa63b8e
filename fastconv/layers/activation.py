# SPDX-License-Identifier: BSD-3-Clause
"""Activation layers, and the derivative of the activations that conv2d and linear fuse.

Every derivative is computed from the result y of the activation: neither a fused activation nor a
layer here has to keep its argument.
"""

import numpy as np

from fastconv import _core
from fastconv.arguments import number
from fastconv.layers.base import Layer, into

LEAKY_SLOPE = 0.01
BOOL = np.dtype(bool)


def relu(x, out=None):
    return np.maximum(x, 0, out=out)


def leaky_relu(x, out=None):
    y = np.multiply(x, LEAKY_SLOPE, out=None if out is x else out)
    return np.maximum(x, y, out=y if out is None else out)


def sigmoid(x, out=None):
    y = np.negative(x, out=out)
    with np.errstate(over="ignore"):  # exp(-x) = inf stands for y = 0
        np.exp(y, out=y)
    y += 1
    return np.reciprocal(y, out=y)


def softmax(x, out=None):
    """exp(x) / sum(exp(x)) over the last axis, for any finite x."""
    y = np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
    np.exp(y, out=y)
    y /= y.sum(axis=-1, keepdims=True)
    return y


def relu_backward(grad_y, y, out=None):
    return np.multiply(grad_y, y > 0, out=out)


def leaky_relu_backward(grad_y, y, out=None):
    slope = np.where(y > 0, y.dtype.type(1), y.dtype.type(LEAKY_SLOPE))
    return np.multiply(grad_y, slope, out=out)


def tanh_backward(grad_y, y, out=None):
    return np.multiply(grad_y, 1 - y * y, out=out)


def sigmoid_backward(grad_y, y, out=None):
    return np.multiply(grad_y, y - y * y, out=out)


def softmax_backward(grad_y, y, out=None):
    total = np.multiply(grad_y, y).sum(axis=-1, keepdims=True)
    grad_x = np.subtract(grad_y, total, out=out)
    return np.multiply(grad_x, y, out=grad_x)


FORWARD = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softmax": softmax,
}
BACKWARD = {
    "relu": relu_backward,
    "leaky_relu": leaky_relu_backward,
    "tanh": tanh_backward,
    "sigmoid": sigmoid_backward,
    "softmax": softmax_backward,
}
FUSED = ("relu", "leaky_relu", "tanh", "sigmoid")  # by conv2d and linear
RELU_LIKE = ("relu", "leaky_relu")


def activation_name(value, allowed):
    """``value`` as one of ``allowed`` or None; Keras's "linear" is None."""
    if value is None or value == "linear":
        return None
    if not isinstance(value, str):
        raise TypeError(f"activation must be a name or None, got {value!r}")
    if value not in allowed:
        raise ValueError(f"activation must be one of {', '.join(allowed)} or None, got {value!r}")
    return value


def activation_gradient(layer, grad_y, y):
    """Gradient before ``layer.activation`` from the one after it and the result y, in place of
    ``grad_y`` in a training step."""
    activation = layer.activation
    if activation is None:
        return grad_y
    out = layer.gradient_place(grad_y)
    if out is None:
        out = np.empty(y.shape, y.dtype)
    if activation != "softmax" and _core.activation_backward(activation, grad_y, y, out):
        return out
    return BACKWARD[activation](grad_y, y, out=out)  # arrays that are no adjacent numbers of one type


def added(a, b, activation, out=None):
    """activation(a + b), for an activation that convolutions fuse or None; ``out`` may be ``a`` or ``b``."""
    if out is None:
        out = np.empty(a.shape, np.result_type(a, b))
    if _core.add(a, b, activation, out):
        return out
    y = np.add(a, b, out=out)
    return y if activation is None else FORWARD[activation](y, out=y)


class Activation(Layer):
    """An activation by name: "relu", "leaky_relu", "tanh", "sigmoid", "softmax" or None."""

    takes_out = True
    config_names = ("activation",)

    def __init__(self, activation, **common):
        super().__init__(**common)
        self.activation = activation_name(activation, FORWARD)

    def forward(self, x, training=False, out=None):
        if self.activation is None:
            y = into(out, x)
        else:
            out = self.buffer("y", x.shape, x.dtype) if training and out is None else out
            y = FORWARD[self.activation](x, out=out)
        if training:
            self._y = y
        return y

    def backward(self, grad_y):
        return activation_gradient(self, grad_y, self._y)

    def logits(self, x, training=False):
        """The argument of the activation, for a loss that contains the activation."""
        return x

    def logits_backward(self, grad_logits):
        return grad_logits


class ReLU(Activation):
    """max(x, 0)."""

    config_names = ()

    def __init__(self, **common):
        super().__init__("relu", **common)


class Softmax(Activation):
    """exp(x) / sum(exp(x)) over the last axis. As the last layer of a model that is compiled with
    "cross_entropy" it is fused with the loss, which then works on the logits."""

    config_names = ()

    def __init__(self, **common):
        super().__init__("softmax", **common)


class Dropout(Layer):
    """While training, sets each value to zero with probability ``rate`` and divides the others by
    1 - rate; otherwise the identity."""

    config_names = ("rate",)

    def __init__(self, rate, **common):
        super().__init__(**common)
        self.rate = number(rate, "rate", 0, 1)
        self.rng = None  # a model gives its layers their own generators

    def initialize(self, rng, input_shape, before_relu=False):
        self.rng = rng

    def forward(self, x, training=False):
        if not training:
            return x
        if self.rng is None:
            self.rng = np.random.default_rng()
        scale = self._scale = self._random(x)
        kept = np.greater_equal(scale, self.rate, out=self.buffer("kept", x.shape, BOOL))
        np.copyto(scale, kept)  # a comparison with a float for its result would convert through a new buffer
        scale *= 1 / (1 - self.rate)
        return np.multiply(x, scale, out=self.buffer("y", x.shape, x.dtype))

    def _random(self, x):
        out = self.buffer("scale", x.shape, x.dtype)
        if out is None:
            return self.rng.random(x.shape, x.dtype)
        return self.rng.random(out=out, dtype=x.dtype)

    def backward(self, grad_y):
        return np.multiply(grad_y, self._scale, out=self.gradient_place(grad_y))
