# SPDX-License-Identifier: BSD-3-Clause
"""Normalisation layers."""

from fastconv import ops
from fastconv.arguments import number, one_of, positive_integer
from fastconv.layers.activation import activation_name
from fastconv.layers.base import Layer

FUSED = ("relu", "leaky_relu")


def with_channels(layer, input_shape):
    """The shape of the result, that of the input; ValueError where there are no channels."""
    if not input_shape:
        raise ValueError(f"{type(layer).__name__} takes arrays (N, ..., C), got one without C")
    return tuple(input_shape)


def channels_of(layer, input_shape):
    return input_shape[0 if layer.layout == "NCHW" else -1]


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
        return with_channels(self, input_shape)

    def parameter_shapes(self, input_shape):
        return dict.fromkeys(("weight", "bias"), (channels_of(self, input_shape),))

    def state_shapes(self, input_shape):
        return dict.fromkeys(("running_mean", "running_var"), (channels_of(self, input_shape),))

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


class SampleNormalization(Layer):
    """What layers share that normalise each image by itself: the same result whether or not they train.

    A layer says how its function is called: ``normalize(x, out)`` and ``gradients_of(grad_y, x, **how)``.
    """

    def output_shape(self, input_shape):
        return with_channels(self, input_shape)

    def parameter_shapes(self, input_shape):
        return dict.fromkeys(("weight", "bias"), (channels_of(self, input_shape),))

    def initialize(self, rng, input_shape, before_relu=False):
        self.parameters["weight"][...] = 1

    def forward(self, x, training=False):
        self.require_parameters(x)
        if training:
            self._x = x
        return self.normalize(x, self.buffer("y", x.shape, x.dtype) if training else None)

    def backward(self, grad_y):
        needed = self.needs_input_gradient
        out = self.gradient_buffer(self._x.shape, grad_y.dtype) if needed else None
        gradients = self.gradients_of(grad_y, self._x, input_gradient=needed, out=out)
        self.gradients["weight"][...] = gradients.weight
        self.gradients["bias"][...] = gradients.bias
        return gradients.x

    def _how(self):
        return {"epsilon": self.epsilon, "layout": self.layout or "NHWC"}


class LayerNormalization(SampleNormalization):
    """Normalises each pixel by the mean and variance of its channels (``axes="channels"``, as in Keras), or each image
    by those of all its numbers (``axes="sample"``, as ``torch.nn.LayerNorm(shape of the image)``); then scales and
    shifts it by what it has learned, for each channel or for each number of an image. See ``fastconv.layer_norm``."""

    config_names = ("axes", "epsilon")

    def __init__(self, axes="channels", epsilon=1e-5, **common):
        super().__init__(**common)
        self.axes = one_of(ops.normalization.LAYER_AXES, axes, "axes")
        self.epsilon = number(epsilon, "epsilon", 0)

    def parameter_shapes(self, input_shape):
        if self.axes == "sample":
            return dict.fromkeys(("weight", "bias"), tuple(input_shape))
        return super().parameter_shapes(input_shape)

    def normalize(self, x, out):
        return ops.layer_norm(x, *self.parameters.values(), axes=self.axes, out=out, **self._how())

    def gradients_of(self, grad_y, x, **how):
        return ops.layer_norm_backward(grad_y, x, self.parameters["weight"], axes=self.axes, **how, **self._how())


class GroupNormalization(SampleNormalization):
    """Normalises each of ``groups`` groups of adjacent channels of each image by its mean and variance; then scales and
    shifts each channel by what it has learned. See ``fastconv.group_norm``."""

    config_names = ("groups", "epsilon")

    def __init__(self, groups=32, epsilon=1e-5, **common):
        super().__init__(**common)
        self.groups = positive_integer(groups, "groups")
        self.epsilon = number(epsilon, "epsilon", 0)

    def output_shape(self, input_shape):
        shape = super().output_shape(input_shape)
        channels = channels_of(self, shape)
        if channels % self.groups:
            raise ValueError(f"GroupNormalization: {channels} channels cannot be cut into {self.groups} groups")
        return shape

    def normalize(self, x, out):
        return ops.group_norm(x, self.groups, *self.parameters.values(), out=out, **self._how())

    def gradients_of(self, grad_y, x, **how):
        return ops.group_norm_backward(grad_y, x, self.groups, self.parameters["weight"], **how, **self._how())


class LocalResponseNormalization(Layer):
    """Divides each number by a power of the squares of its neighbours among the channels. See
    ``fastconv.local_response_norm``, whose formula and defaults are PyTorch's."""

    config_names = ("size", "alpha", "beta", "k")

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0, **common):
        super().__init__(**common)
        self.size = positive_integer(size, "size")
        self.alpha, self.beta = number(alpha, "alpha", 0), number(beta, "beta", 0)
        self.k = number(k, "k", 0)

    @classmethod
    def alexnet(cls, **common):
        """With the constants of AlexNet (Krizhevsky, Sutskever and Hinton, 2012): n = 5, alpha = 1e-4, beta = 0.75,
        k = 2. The paper does not divide alpha by n as this formula does, so alpha is 5e-4 here."""
        return cls(5, 5e-4, 0.75, 2.0, **common)

    def output_shape(self, input_shape):
        return with_channels(self, input_shape)

    def forward(self, x, training=False):
        if training:
            self._x = x
        out = self.buffer("y", x.shape, x.dtype) if training else None
        return ops.local_response_norm(x, *self._formula(), layout=self.layout or "NHWC", out=out)

    def backward(self, grad_y):
        if not self.needs_input_gradient:
            return None
        how = {"layout": self.layout or "NHWC", "out": self.gradient_buffer(self._x.shape, grad_y.dtype)}
        return ops.local_response_norm_backward(grad_y, self._x, *self._formula(), **how)

    def _formula(self):
        return self.size, self.alpha, self.beta, self.k
