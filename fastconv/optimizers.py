# SPDX-License-Identifier: BSD-3-Clause
"""Optimisers: each updates all parameters of a model in place, as one vector, in one pass."""

import math

import numpy as np

from fastconv import _core
from fastconv.arguments import boolean, keras_names, number, positive_integer

# Where a gradient stays zero, a decaying mean would end among the subnormal numbers, which are slow,
# and stay there. So every so many updates what is too small to matter becomes zero.
NEGLIGIBLE = 1e-30
SWEEP = 128


class CosineDecay:
    """Learning rate that falls from ``lr`` to zero over ``steps`` updates along half a cosine
    (Loshchilov and Hutter, 2017), and then stays there."""

    def __init__(self, lr, steps):
        self.lr = number(lr, "lr", 0)
        self.steps = positive_integer(steps, "steps")

    def __call__(self, step):
        return self.lr * 0.5 * (1 + math.cos(math.pi * min(step / self.steps, 1)))


class Optimizer:
    """What optimisers share. ``lr`` is a number or a CosineDecay; ``iterations`` counts the updates
    since the model was compiled."""

    config_names = ("lr",)  # the constructor arguments that a model file stores
    slots = 0  # vectors of state, each as long as the parameters; the first decays towards zero

    def __init__(self, lr):
        if isinstance(lr, dict):  # as ``config`` writes it
            lr = CosineDecay(**lr)
        self.lr = lr if isinstance(lr, CosineDecay) else number(lr, "lr", 0)
        self.reset()

    def reset(self):
        """Forget the state, as for a new model."""
        self.iterations = 0
        self._state = None

    def learning_rate(self):
        """The learning rate of the next update."""
        return self.lr(self.iterations) if isinstance(self.lr, CosineDecay) else self.lr

    def step(self, parameters, gradients):
        """Update the vector ``parameters`` in place by the vector ``gradients`` of its shape."""
        if self._state is None:
            self._state = [np.zeros_like(parameters) for _ in range(self.slots)]
        least = NEGLIGIBLE if self.iterations % SWEEP == 0 else 0.0
        if not self._update(parameters, gradients, least, *self._state):
            raise ValueError("parameters and gradients must be contiguous vectors of one type, float32 or float64")
        self.iterations += 1

    def _update(self, parameters, gradients, least, *state):
        """One pass over the vectors; ``least``: smaller numbers of the first slot become zero."""
        raise NotImplementedError

    def config(self):
        """Constructor arguments as plain values; a CosineDecay as the dict of its own."""
        config = {name: getattr(self, name) for name in self.config_names}
        if isinstance(self.lr, CosineDecay):
            config["lr"] = {"lr": self.lr.lr, "steps": self.lr.steps}
        return config


class SGD(Optimizer):
    """Stochastic gradient descent, in PyTorch's formulas.

    g = gradient + weight_decay * p; with momentum v = momentum * v + g, and g = v, or with
    ``nesterov`` g = g + momentum * v; p = p - lr * g.
    """

    config_names = ("lr", "momentum", "nesterov", "weight_decay")

    @keras_names(learning_rate="lr")
    def __init__(self, lr=0.01, momentum=0.0, nesterov=False, weight_decay=0.0):
        super().__init__(lr)
        self.momentum = number(momentum, "momentum", 0, 1)
        self.weight_decay = number(weight_decay, "weight_decay", 0)
        self.nesterov = boolean(nesterov, "nesterov")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        self.slots = 1 if self.momentum else 0

    def _update(self, parameters, gradients, least, velocity=None):
        rate, momentum, decay = self.learning_rate(), self.momentum, self.weight_decay
        return _core.sgd_step(parameters, gradients, velocity, rate, momentum, decay, self.nesterov, least)


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015): with m and v the decayed means of g and g * g, both divided by
    1 - beta^t, p = p - lr * m / (sqrt(v) + epsilon)."""

    config_names = ("lr", "beta1", "beta2", "epsilon")
    slots = 2

    @keras_names(learning_rate="lr", beta_1="beta1", beta_2="beta2")
    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8):
        super().__init__(lr)
        self.beta1 = number(beta1, "beta1", 0, 1)
        self.beta2 = number(beta2, "beta2", 0, 1)
        self.epsilon = number(epsilon, "epsilon", 0)

    def _update(self, parameters, gradients, least, m_sum, v_sum):
        # The state holds the sums m / (1 - beta1) and v / (1 - beta2); with their factors taken out,
        # p -= scale * m_sum / (sqrt(v_sum) + epsilon).
        step = self.iterations + 1
        m_factor = (1 - self.beta1) / (1 - self.beta1**step)
        v_factor = math.sqrt((1 - self.beta2) / (1 - self.beta2**step))
        scale, epsilon = self.learning_rate() * m_factor / v_factor, self.epsilon / v_factor
        return _core.adam_step(parameters, gradients, m_sum, v_sum, scale, self.beta1, self.beta2, epsilon, least)


OPTIMIZERS = {"sgd": SGD, "adam": Adam}


def get(optimizer):
    """An optimiser by name, or the Optimizer object itself."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if not isinstance(optimizer, str):
        raise TypeError(f"optimizer must be a name or an Optimizer, got {optimizer!r}")
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {optimizer!r}: one of {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[optimizer]()
