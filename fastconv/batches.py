# SPDX-License-Identifier: BSD-3-Clause
"""Cutting arrays into batches."""

import numpy as np

from fastconv.arguments import positive_integer


class ArrayBatches:
    """Iterable over (x, y) batches of two arrays, in a new order each time when ``rng`` is given.
    The arrays that it yields are valid until the next batch."""

    def __init__(self, x, y, batch_size, rng=None):
        self.x, self.y, self.rng = x, y, rng
        self.batch_size = positive_integer(batch_size, "batch_size")

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def __iter__(self):
        if self.rng is None:
            for start in range(0, len(self.x), self.batch_size):
                batch = slice(start, start + self.batch_size)
                yield self.x[batch], self.y[batch]
            return
        order = self.rng.permutation(len(self.x))
        x_batch = np.empty((self.batch_size, *self.x.shape[1:]), self.x.dtype)
        y_batch = np.empty((self.batch_size, *self.y.shape[1:]), self.y.dtype)
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            # mode="clip" as the default mode would copy through a temporary
            x = np.take(self.x, chosen, axis=0, out=x_batch[: len(chosen)], mode="clip")
            y = np.take(self.y, chosen, axis=0, out=y_batch[: len(chosen)], mode="clip")
            yield x, y
