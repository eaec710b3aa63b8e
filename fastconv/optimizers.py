# SPDX-License-Identifier: BSD-3-Clause
"""Optimisers: each updates all parameters of a model in place, as one vector, in one pass.

All clip gradients where asked to: ``clipvalue`` brings each number into +-clipvalue; ``clipnorm`` scales all gradients
down together where their joint Euclidean norm exceeds it (PyTorch's clip_grad_norm_, Keras's global_clipnorm, which is
understood too). The model's ``gradients`` stay as they are: clipping is part of the update.
"""

import math

import numpy as np

from fastconv import _core
from fastconv.arguments import boolean, keras_names, number
from fastconv.schedules import CosineDecay, OneCycle, Schedule, StepDecay, from_config

__all__ = ["Adam", "AdamW", "CosineDecay", "OneCycle", "Optimizer", "RMSprop", "SGD", "StepDecay", "get"]

# Where a gradient stays zero, a decaying mean would end among the subnormal numbers, which are slow,
# and stay there. So every so many updates what is too small to matter becomes zero.
NEGLIGIBLE = 1e-30
SWEEP = 128


class Optimizer:
    """What optimisers share. ``lr`` is a number or a schedule; ``iterations`` counts the updates since the model was
    compiled."""

    config_names = ("lr", "clipnorm", "clipvalue")  # the constructor arguments that a model file stores
    slots = ()  # names of the vectors of state, each as long as the parameters

    def __init__(self, lr, clipnorm=None, clipvalue=None):
        if isinstance(lr, dict):  # as ``config`` writes it
            lr = from_config(lr)
        self.lr = lr if isinstance(lr, Schedule) else number(lr, "lr", 0)
        self.clipnorm, self.clipvalue = threshold(clipnorm, "clipnorm"), threshold(clipvalue, "clipvalue")
        if clipnorm is not None and clipvalue is not None:
            raise ValueError("clipnorm and clipvalue exclude each other, give one")
        self.reset()

    def reset(self):
        """Forget the state, as for a new model."""
        self.iterations = 0
        self._state = None

    def learning_rate(self):
        """The learning rate of the next update."""
        return self.lr(self.iterations) if isinstance(self.lr, Schedule) else self.lr

    def state(self, parameters):
        """Name of slot to vector, which the updates of ``parameters`` change in place."""
        if self._state is None:
            self._state = [np.zeros_like(parameters) for _ in self.slots]
        return dict(zip(self.slots, self._state, strict=True))

    def step(self, parameters, gradients):
        """Update the vector ``parameters`` in place by the vector ``gradients`` of its shape."""
        state = self.state(parameters)
        least = NEGLIGIBLE if self.iterations % SWEEP == 0 else 0.0
        factor, limit = self._clip(gradients)
        if not self._update(parameters, gradients, *state.values(), least=least, factor=factor, limit=limit):
            raise ValueError("parameters and gradients must be contiguous vectors of one type, float32 or float64")
        self.iterations += 1

    def _clip(self, gradients):
        """What gradients are multiplied with, and the limit of their absolute values, 0 for none."""
        if self.clipnorm is None:
            return 1.0, self.clipvalue or 0.0
        norm = global_norm(gradients)
        return (self.clipnorm / norm if norm > self.clipnorm else 1.0), 0.0

    def _update(self, parameters, gradients, *state, least, factor, limit):
        """One pass over the vectors; smaller numbers of the slots than ``least`` become zero where zero lies ahead;
        gradients are multiplied with ``factor`` and kept within +-``limit``."""
        raise NotImplementedError

    def config(self):
        """Constructor arguments as plain values; a schedule as the dict of its own."""
        config = {name: getattr(self, name) for name in self.config_names}
        if isinstance(self.lr, Schedule):
            config["lr"] = self.lr.config()
        return config


def threshold(value, name):
    if value is None:
        return None
    value = number(value, name, 0)
    if not value:
        raise ValueError(f"{name} must be above 0: it would leave no gradient")
    return value


def global_norm(gradients):
    """Euclidean norm of a vector as a float. The order of the sum depends on its length alone, not on threads."""
    square = _core.square_sum(gradients)
    if square is None:
        raise ValueError("gradients must be a contiguous vector, float32 or float64")
    if not math.isfinite(square):  # a square may be too large where its root is not
        largest = float(np.max(np.abs(gradients)))
        if math.isfinite(largest):
            return largest * math.sqrt(float(np.sum(np.square(gradients / gradients.dtype.type(largest)))))
    return math.sqrt(square)


class SGD(Optimizer):
    """Stochastic gradient descent, in PyTorch's formulas.

    g = gradient + weight_decay * p; with momentum v = momentum * v + g, and g = v, or with
    ``nesterov`` g = g + momentum * v; p = p - lr * g.
    """

    config_names = ("lr", "momentum", "nesterov", "weight_decay", "clipnorm", "clipvalue")

    @keras_names(learning_rate="lr", global_clipnorm="clipnorm")
    def __init__(self, lr=0.01, momentum=0.0, nesterov=False, weight_decay=0.0, *, clipnorm=None, clipvalue=None):
        super().__init__(lr, clipnorm, clipvalue)
        self.momentum = number(momentum, "momentum", 0, 1)
        self.weight_decay = number(weight_decay, "weight_decay", 0)
        self.nesterov = boolean(nesterov, "nesterov")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        self.slots = ("velocity",) if self.momentum else ()

    def _update(self, parameters, gradients, velocity=None, *, least, factor, limit):
        rate, momentum, decay = self.learning_rate(), self.momentum, self.weight_decay
        return _core.sgd_step(
            parameters, gradients, velocity, rate, momentum, decay, self.nesterov, least, factor, limit
        )


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), in PyTorch's formulas.

    g = gradient + weight_decay * p; with m and v the decayed means of g and g * g, both divided by
    1 - beta^t, p = p - lr * m / (sqrt(v) + epsilon).
    """

    config_names = ("lr", "beta1", "beta2", "epsilon", "weight_decay", "clipnorm", "clipvalue")
    slots = ("m", "v")
    decoupled = False

    @keras_names(learning_rate="lr", beta_1="beta1", beta_2="beta2", global_clipnorm="clipnorm")
    def __init__(
        self, lr=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0, *, clipnorm=None, clipvalue=None
    ):
        super().__init__(lr, clipnorm, clipvalue)
        self.beta1 = number(beta1, "beta1", 0, 1)
        self.beta2 = number(beta2, "beta2", 0, 1)
        self.epsilon = number(epsilon, "epsilon", 0)
        self.weight_decay = number(weight_decay, "weight_decay", 0)

    def _update(self, parameters, gradients, m_sum, v_sum, *, least, factor, limit):
        # The state holds the sums m / (1 - beta1) and v / (1 - beta2); with their factors taken out,
        # p -= scale * m_sum / (sqrt(v_sum) + epsilon).
        step, rate = self.iterations + 1, self.learning_rate()
        m_factor = (1 - self.beta1) / (1 - self.beta1**step)
        v_factor = math.sqrt((1 - self.beta2) / (1 - self.beta2**step))
        scale, epsilon = rate * m_factor / v_factor, self.epsilon / v_factor
        decay, keep = (0.0, 1 - rate * self.weight_decay) if self.decoupled else (self.weight_decay, 1.0)
        betas = self.beta1, self.beta2
        return _core.adam_step(
            parameters, gradients, m_sum, v_sum, scale, *betas, epsilon, decay, keep, least, factor, limit
        )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), in PyTorch's formulas: p = p - lr * weight_decay
    * p, and then Adam's update by the gradient alone."""

    decoupled = True

    @keras_names(learning_rate="lr", beta_1="beta1", beta_2="beta2", global_clipnorm="clipnorm")
    def __init__(
        self, lr=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.01, *, clipnorm=None, clipvalue=None
    ):
        super().__init__(lr, beta1, beta2, epsilon, weight_decay, clipnorm=clipnorm, clipvalue=clipvalue)


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, 2012), in PyTorch's formulas.

    g = gradient + weight_decay * p; s = alpha * s + (1 - alpha) * g * g; d = g / (sqrt(s) + epsilon);
    with momentum v = momentum * v + d, and d = v; p = p - lr * d.
    """

    config_names = ("lr", "alpha", "epsilon", "momentum", "weight_decay", "clipnorm", "clipvalue")

    @keras_names(learning_rate="lr", rho="alpha", global_clipnorm="clipnorm")
    def __init__(
        self, lr=0.01, alpha=0.99, epsilon=1e-8, momentum=0.0, weight_decay=0.0, *, clipnorm=None, clipvalue=None
    ):
        super().__init__(lr, clipnorm, clipvalue)
        self.alpha = number(alpha, "alpha", 0, 1)
        self.epsilon = number(epsilon, "epsilon", 0)
        self.momentum = number(momentum, "momentum", 0, 1)
        self.weight_decay = number(weight_decay, "weight_decay", 0)
        self.slots = ("squares", "velocity") if self.momentum else ("squares",)

    def _update(self, parameters, gradients, squares, velocity=None, *, least, factor, limit):
        # The state holds the sums s / (1 - alpha) and v * sqrt(1 - alpha): one factor at the end serves both.
        root = math.sqrt(1 - self.alpha)
        scale, epsilon = self.learning_rate() / root, self.epsilon / root
        more = self.momentum, self.weight_decay, least, factor, limit
        return _core.rmsprop_step(parameters, gradients, squares, velocity, scale, self.alpha, epsilon, *more)


OPTIMIZERS = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop}


def get(optimizer):
    """An optimiser by name, or the Optimizer object itself."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if not isinstance(optimizer, str):
        raise TypeError(f"optimizer must be a name or an Optimizer, got {optimizer!r}")
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {optimizer!r}: one of {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[optimizer]()
