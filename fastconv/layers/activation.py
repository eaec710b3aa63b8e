# SPDX-License-Identifier: BSD-3-Clause
"""Activation layers, and the derivative of the activations that other layers have.

Where a derivative can be computed from the result y of the activation, neither a fused activation nor a
layer here has to keep its argument.
"""

from typing import Any, NamedTuple

import numpy as np

from fastconv import _core, ops
from fastconv.arguments import integer, keras_names, number, one_of
from fastconv.layers.base import Layer, into

BOOL = np.dtype(bool)


class Kind(NamedTuple):
    """An activation: its function, the gradient, and whether that takes the argument, not the result."""

    forward: Any
    backward: Any
    from_argument: bool = False


KINDS = {
    "relu": Kind(ops.relu, ops.relu_backward),
    "leaky_relu": Kind(ops.leaky_relu, ops.leaky_relu_backward),
    "tanh": Kind(ops.tanh, ops.tanh_backward),
    "sigmoid": Kind(ops.sigmoid, ops.sigmoid_backward),
    "softmax": Kind(ops.softmax, ops.softmax_backward),
    "log_softmax": Kind(ops.log_softmax, ops.log_softmax_backward),
    "silu": Kind(ops.silu, ops.silu_backward, True),
    "gelu": Kind(ops.gelu, ops.gelu_backward, True),
}
FUSED = ("relu", "leaky_relu", "tanh", "sigmoid")  # by conv2d and linear
ELEMENTWISE = (*FUSED, "silu", "gelu")
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


def activated(layer, product, shape, dtype, training, out):
    """The activation of a layer on what ``product(activation, out)`` gives with an activation that it fuses, or None;
    while training in buffers of the layer, with what the gradient takes in ``layer._y``."""
    activation = layer.activation
    if activation is None or activation in FUSED:
        if training and out is None:
            out = layer.buffer("y", shape, dtype)
        y = kept = product(activation, out)
    elif training and KINDS[activation].from_argument:
        kept = product(None, layer.buffer("z", shape, dtype))
        y = KINDS[activation].forward(kept, out=layer.buffer("y", shape, dtype) if out is None else out)
    else:
        z = product(None, layer.buffer("y", shape, dtype) if training and out is None else out)
        y = kept = KINDS[activation].forward(z, out=z)
    if training:
        layer._y = kept
    return y


def activation_gradient(layer, grad_y, y):
    """Gradient before ``layer.activation`` from the one after it and the result y (or, where it takes that, the
    argument), in place of ``grad_y`` in a training step."""
    if layer.activation is None:
        return grad_y
    return KINDS[layer.activation].backward(grad_y, y, **layer.options, out=layer.gradient_place(grad_y))


def added(a, b, activation, out=None):
    """activation(a + b), for an activation that convolutions fuse or None; ``out`` may be ``a`` or ``b``."""
    if out is None:
        out = np.empty(a.shape, np.result_type(a, b))
    if _core.add(a, b, activation, out):
        return out
    y = np.add(a, b, out=out)
    return y if activation is None else KINDS[activation].forward(y, out=y)


class Activation(Layer):
    """An activation by name: "relu", "leaky_relu", "tanh", "sigmoid", "silu", "gelu", "softmax", "log_softmax" or None:
    the functions of these names in ``fastconv``."""

    takes_out = True
    config_names = ("activation",)

    def __init__(self, activation, **common):
        super().__init__(**common)
        self.activation = activation_name(activation, KINDS)

    def forward(self, x, training=False, out=None):
        if self.activation is None:
            return into(out, x)
        kind = KINDS[self.activation]
        out = self.buffer("y", x.shape, x.dtype) if training and out is None else out
        y = kind.forward(x, **self.options, out=out)
        if training:
            self._y = x if kind.from_argument else y
        return y

    def backward(self, grad_y):
        return grad_y if self.activation is None else activation_gradient(self, grad_y, self._y)

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


class LeakyReLU(Activation):
    """x where it is above 0, else slope * x. ``slope`` is not negative; Keras's spellings ``negative_slope`` and
    ``alpha`` are understood (Keras's default is 0.3, PyTorch's 0.01)."""

    config_names = ("slope",)

    @keras_names(negative_slope="slope", alpha="slope")
    def __init__(self, slope=0.01, **common):
        super().__init__("leaky_relu", **common)
        self.slope = number(slope, "slope", 0)

    @property
    def options(self):
        return {"slope": self.slope}


class Sigmoid(Activation):
    """1 / (1 + exp(-x)). As the last layer of a model that is compiled with "binary_cross_entropy" it is left to the
    loss, which then works on the logits."""

    config_names = ()

    def __init__(self, **common):
        super().__init__("sigmoid", **common)


class Tanh(Activation):
    """The hyperbolic tangent."""

    config_names = ()

    def __init__(self, **common):
        super().__init__("tanh", **common)


class SiLU(Activation):
    """x * sigmoid(x), also known as swish."""

    config_names = ()

    def __init__(self, **common):
        super().__init__("silu", **common)


class GELU(Activation):
    """x times the share of the normal distribution below x; ``approximate="tanh"``: by the formula with tanh. See
    ``fastconv.gelu``."""

    config_names = ("approximate",)

    def __init__(self, approximate="none", **common):
        super().__init__("gelu", **common)
        self.approximate = one_of(("none", "tanh"), approximate, "approximate")

    @property
    def options(self):
        return {"approximate": self.approximate}


class _AlongAxis(Activation):
    """An activation that sums along an axis, counted in arrays with the batch axis."""

    config_names = ("axis",)

    def __init__(self, activation, axis, **common):
        super().__init__(activation, **common)
        self.axis = integer(axis, "axis")
        if self.axis == 0:
            raise ValueError("axis must not be 0, the batch")

    def output_shape(self, input_shape):
        rank = len(input_shape) + 1
        if not -rank < self.axis < rank:
            raise ValueError(f"{type(self).__name__}: no axis {self.axis} besides the batch in {tuple(input_shape)}")
        return tuple(input_shape)

    @property
    def options(self):
        return {"axis": self.axis}


class Softmax(_AlongAxis):
    """exp(x) / sum(exp(x)) over ``axis``. As the last layer of a model that is compiled with
    "cross_entropy" it is fused with the loss, which then works on the logits."""

    def __init__(self, axis=-1, **common):
        super().__init__("softmax", axis, **common)


class LogSoftmax(_AlongAxis):
    """log(softmax(x)) over ``axis``."""

    def __init__(self, axis=-1, **common):
        super().__init__("log_softmax", axis, **common)


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
