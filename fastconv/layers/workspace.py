# SPDX-License-Identifier: BSD-3-Clause
"""Buffers that a model's passes use again and again: a fresh large array costs page faults."""

import math

import numpy as np


class Workspace:
    """Arrays by key. Each grows to the largest size asked for and stays as long as the workspace.
    A copy of a workspace is empty."""

    def __init__(self):
        self._storage = {}
        self._turn = 0

    def array(self, key, shape, dtype):
        """Uninitialised array that shares memory with every earlier one of the same key."""
        size = math.prod(shape)
        storage = self._storage.get(key)
        if storage is None or storage.size < size or storage.dtype != dtype:
            storage = self._storage[key] = np.empty(size, dtype)
        return storage[:size].reshape(shape)

    def gradient(self, shape, dtype):
        """Array for a gradient. The two that alternate are enough for a whole backward pass, in
        which each gradient is read once, to compute the next."""
        self._turn ^= 1
        return self.array(self._turn, shape, dtype)

    def __reduce__(self):
        return Workspace, ()
