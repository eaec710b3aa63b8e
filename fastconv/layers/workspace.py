# SPDX-License-Identifier: BSD-3-Clause
"""Buffers that a model's passes use again and again: a fresh large array costs page faults."""

import math

import numpy as np

MOST_VIEWS = 1000  # of one workspace: many batch sizes must not add up


class Workspace:
    """Arrays by key. Each grows to the largest size asked for and stays as long as the workspace.
    The same key, shape and dtype give the same array object, so that a layer can recognise what it
    has made views of. A copy of a workspace is empty."""

    def __init__(self):
        self._storage, self._views = {}, {}
        self._turn = 0

    def array(self, key, shape, dtype):
        """Uninitialised array that shares memory with every earlier one of the same key."""
        view = self._views.get((key, shape, dtype))
        return self._new_view(key, shape, dtype) if view is None else view

    def _new_view(self, key, shape, dtype):
        size = math.prod(shape)
        storage = self._storage.get(key)
        if storage is None or storage.size < size or storage.dtype != dtype:
            storage = self._storage[key] = np.empty(size, dtype)
            self._views = {of: view for of, view in self._views.items() if of[0] != key}
        if len(self._views) >= MOST_VIEWS:
            self._views.clear()
        view = self._views[key, shape, dtype] = storage[:size].reshape(shape)
        return view

    def start(self):
        """A new step begins: its gradients lie where those of the last one lay."""
        self._turn = 0

    def gradient(self, shape, dtype):
        """Array for a gradient. The two that alternate are enough for a whole backward pass, in
        which each gradient is read once, to compute the next."""
        self._turn ^= 1
        return self.array(self._turn, shape, dtype)

    def __reduce__(self):
        return Workspace, ()
