# SPDX-License-Identifier: BSD-3-Clause
"""The mean of the parameters over a training."""

import contextlib

from fastconv import _core
from fastconv.arguments import integer, number, positive_integer
from fastconv.callbacks.base import Callback


class WeightAveraging(Callback):
    """Keeps a mean of the parameters over the updates, which often predicts better than the last ones.

    ``decay``: after each update mean = decay * mean + (1 - decay) * parameters (an exponential moving average); None
    gives all their equal share (stochastic weight averaging, Izmailov et al., 2018). ``start``: updates before the
    first that counts; ``every``: count one update of so many. The validation of an epoch is of the mean, which the
    model takes on for good when the training ends; ``applied`` lends it to the model before. What layers keep
    besides, such as running means, is that of the last update.
    """

    state_names = ("count", "updates")
    vector_names = ("mean",)

    def __init__(self, decay=0.999, *, start=0, every=1):
        self.decay = None if decay is None else number(decay, "decay", 0, 1)
        self.start, self.every = integer(start, "start", 0), positive_integer(every, "every")
        self.count, self.updates, self.mean = 0, 0, None
        self._own = None

    def vector_size(self, model):
        return model._parameters.size

    def on_train_begin(self, logs=None):
        self.count, self.updates, self.mean = 0, 0, None

    def on_train_batch_end(self, batch, logs=None):
        self.updates += 1
        if self.updates <= self.start or (self.updates - self.start) % self.every:
            return
        parameters = self.model._parameters
        self.count += 1
        if self.mean is None:
            self.mean = parameters.copy()
            return
        share = 1 / self.count if self.decay is None else 1 - self.decay
        # mean += share * (parameters - mean) is a descent with the gradient `parameters` and the decay -1
        _core.sgd_step(self.mean, parameters, None, -share, 0, -1, False, 0)

    @contextlib.contextmanager
    def applied(self):
        """Within the block the model has the mean for its parameters: to evaluate, predict or save."""
        self._swap_in()
        try:
            yield self.model
        finally:
            self._swap_out()

    def _swap_in(self):
        if self.mean is not None and self._own is None:
            self._own = self.model._parameters.copy()
            self.model._parameters[:] = self.mean

    def _swap_out(self):
        if self._own is not None:
            self.model._parameters[:] = self._own
            self._own = None

    def on_test_begin(self, logs=None):
        self._swap_in()

    def on_test_end(self, logs=None):
        self._swap_out()

    def on_train_end(self, logs=None):
        if self.mean is not None:
            self.model._parameters[:] = self.mean
