# SPDX-License-Identifier: BSD-3-Clause
"""Buffers that a model's passes use again and again: a fresh large array costs page faults."""

import contextlib
import itertools
import math

import numpy as np

from fastconv._core import empty

MOST_VIEWS = 1000  # of one workspace: many batch sizes must not add up


class Workspace:
    """Arrays by key. Each grows to the largest size asked for and stays as long as the workspace.
    The same key, shape and dtype give the same array object, so that a layer can recognise what it
    has made views of. A copy of a workspace is empty."""

    def __init__(self):
        self._storage, self._views = {}, {}
        self._turn, self._turns = 0, 0  # the number of the last gradient, and how many have been in use
        self._held = []  # gradients that may not be overwritten

    def array(self, key, shape, dtype):
        """Uninitialised array that shares memory with every earlier one of the same key."""
        view = self._views.get((key, shape, dtype))
        return self._new_view(key, shape, dtype) if view is None else view

    def _new_view(self, key, shape, dtype):
        size = math.prod(shape)
        storage = self._storage.get(key)
        if storage is None or storage.size < size or storage.dtype != dtype:
            storage = self._storage[key] = empty((size,), dtype)
            self._views = {of: view for of, view in self._views.items() if of[0] != key}
        if len(self._views) >= MOST_VIEWS:
            self._views.clear()
        view = self._views[key, shape, dtype] = storage[:size].reshape(shape)
        return view

    def start(self):
        """A new step begins: its gradients lie where those of the last one lay."""
        self._turn, self._held = 0, []

    def gradient(self, shape, dtype):
        """Array for a gradient. Two that alternate are enough for a backward pass in which each gradient is read once,
        to compute the next; where it branches, as many more as are held at a time."""
        if self._held:
            self._turn = next(turn for turn in itertools.count() if turn != self._turn and not self._is_held(turn))
        else:
            self._turn = 0 if self._turn else 1
        self._turns = max(self._turns, self._turn + 1)
        return self.array(self._turn, shape, dtype)

    @contextlib.contextmanager
    def held(self, *gradients):
        """While it lasts, what a branch of the network computes is not written over these arrays."""
        count = len(self._held)
        self._held += gradients
        try:
            yield
        finally:
            del self._held[count:]

    def read_next(self, gradient):
        """The next gradient is computed from this one, not from the last."""
        for turn in range(self._turns):
            if turn in self._storage and np.may_share_memory(self._storage[turn], gradient):
                self._turn = turn

    def may_overwrite(self, gradient):
        """Whether nobody holds memory of this array."""
        return not any(np.may_share_memory(gradient, held) for held in self._held)

    def _is_held(self, turn):
        return turn in self._storage and not self.may_overwrite(self._storage[turn])

    def __reduce__(self):
        return Workspace, ()
