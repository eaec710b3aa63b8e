# SPDX-License-Identifier: BSD-3-Clause
"""The two limits of the machine, measured beside every case: arithmetic and memory.

Both are given as the seconds that the limit alone would take for the work of the case, so that the share of the limit
is the quotient of two times from the same rounds.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fastconv import _core

FMA_SECONDS = 2e-3
BYTES_PER_THREAD = 1 << 19  # below that, handing work to a second thread costs more than it saves
BANDWIDTH_BYTES = 1 << 28  # half read, half written: larger than the caches that one core gets
BANDWIDTH_ROUNDS = 7


class Machine:
    """The limits of ``threads`` threads that use one instruction set on one dtype."""

    def __init__(self, isa, dtype, threads):
        self.isa, self.dtype, self.threads = isa, np.dtype(dtype), threads
        self._pool = ThreadPoolExecutor(threads)

    def flops_per_second(self):
        """Rate of fused multiply-adds (two operations each) that never leave the registers."""
        if self.threads == 1:
            return self._fma_peak()
        return sum(rate.result() for rate in self._submit(self._fma_peak, self.threads * [()]))

    def _fma_peak(self):
        return _core.fma_peak(self.isa, self.dtype.name, FMA_SECONDS)

    def fma_seconds(self, flops):
        return flops / self.flops_per_second()

    def copy(self, nbytes):
        """A function that copies memory and touches ``nbytes`` bytes: half of them read, half written."""
        source = np.ones(max(nbytes // 2, 1), np.uint8)
        target = np.empty_like(source)
        parts = min(self.threads, max(1, source.size // BYTES_PER_THREAD))
        if parts == 1:
            return lambda: np.copyto(target, source)
        pairs = zip(np.array_split(target, parts), np.array_split(source, parts), strict=True)
        pairs = list(pairs)

        def copy():
            for part in self._submit(np.copyto, pairs):
                part.result()

        return copy

    def bytes_per_second(self):
        """Rate of a copy that is too large for the caches, the best of some."""
        copy, best = self.copy(BANDWIDTH_BYTES), float("inf")
        for _ in range(BANDWIDTH_ROUNDS):
            start = time.perf_counter()
            copy()
            best = min(best, time.perf_counter() - start)
        return BANDWIDTH_BYTES / best

    def _submit(self, function, arguments):
        return [self._pool.submit(function, *values) for values in arguments]
