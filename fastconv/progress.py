# SPDX-License-Identifier: BSD-3-Clause
"""Where a training stands."""

import numpy as np


class Means:
    """Running means of figures, weighted by the number of images."""

    def __init__(self):
        self.count, self.sums = 0, {}

    def add(self, count, figures):
        self.count += count
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + count * value

    def values(self):
        return {name: total / self.count for name, total in self.sums.items()}


class Progress:
    """``epoch`` epochs are finished, and ``step`` batches of the next, whose figures are in ``means``.

    ``batches`` yields the batches of an epoch each time it is gone through; where it draws anything random it has a
    Generator ``rng``, and ``order`` is the state of that as the epoch began: from there the same batches come again.
    """

    def __init__(self, epoch, batches, callbacks):
        self.epoch, self.batches, self.callbacks = epoch, batches, callbacks
        self.steps = len(batches) if hasattr(batches, "__len__") else None
        self.step, self.means, self.order = 0, Means(), None

    @property
    def rng(self):
        rng = getattr(self.batches, "rng", None)
        return rng if isinstance(rng, np.random.Generator) else None

    def begin_epoch(self):
        self.order = None if self.rng is None else self.rng.bit_generator.state

    def end_epoch(self):
        self.epoch, self.step, self.means = self.epoch + 1, 0, Means()
        self.begin_epoch()

    def close(self):
        """The training is over: keep what a checkpoint needs, not the data."""
        self.callbacks = [callback for callback in self.callbacks if callback.state_names or callback.vector_names]
        self.batches = None
