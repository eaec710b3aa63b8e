# SPDX-License-Identifier: BSD-3-Clause
"""Timing in turns.

The clock of a processor drifts, more than the differences one wants to see, so that two numbers
taken a minute apart say little about each other. Here fastconv, the limits of the machine and all
rivals of one case take turns, round by round, and a ratio is made of numbers from the same rounds
only.

A turn is first a warm-up of one or more untimed calls, about ``WARM_SECONDS`` long, which brings
caches, threads and clock back to this contestant, and then a block of calls, about
``BLOCK_SECONDS`` long or one call, timed together. On several threads a rest follows: worker
threads keep spinning for a while after their last call and would share the cores with whoever comes
next.
"""

import gc
import itertools
import statistics
import time
from contextlib import contextmanager
from functools import cached_property

WARM_SECONDS = 2e-3  # seen: the first call after a rest is slower by up to 40 %, the third is not
BLOCK_SECONDS = 2e-3
MIN_ROUNDS = 5
MAX_ROUNDS = 100
REST_SECONDS = 0.015  # after a turn of fastconv, whose OpenMP threads spin 5 to 9 ms


class Times:
    """Seconds per call of one contestant, one number per round."""

    def __init__(self, samples):
        self.samples = list(samples)

    @cached_property
    def best(self):
        return min(self.samples)

    @cached_property
    def median(self):
        return statistics.median(self.samples)

    def best_ratio(self, other):
        """How many times longer ``other`` takes, from the best round of each."""
        return other.best / self.best

    def median_ratio(self, other):
        """The same from the median, over the rounds, of the ratio within a round."""
        pairs = zip(self.samples, other.samples, strict=True)
        return statistics.median(theirs / ours for ours, theirs in pairs)


class Calls:
    """A contestant that is timed by calling it; ``rest`` seconds later its threads sleep."""

    def __init__(self, call, rest=0.0):
        self.call = call
        self.rest = rest
        self.count = 1
        self.samples = []

    def calibrate(self):
        """Choose how many calls make a block; returns the seconds of a turn."""
        self.warm()
        seconds = self._block(1)
        if seconds < BLOCK_SECONDS:
            seconds = min(self._block(1) for _ in range(5))
            self.count = max(1, round(BLOCK_SECONDS / max(seconds, 1e-7)))
        return max(seconds, WARM_SECONDS) + self.count * seconds

    def warm(self):
        end = time.perf_counter() + WARM_SECONDS
        self.call()
        while time.perf_counter() < end:
            self.call()

    def turn(self):
        self.warm()
        self.samples.append(self._block(self.count) / self.count)

    def _block(self, count):
        call = self.call
        start = time.perf_counter()
        for _ in itertools.repeat(None, count):
            call()
        return time.perf_counter() - start


class Gauge:
    """A contestant that measures itself: ``measure()`` returns seconds."""

    rest = 0.0

    def __init__(self, measure):
        self.measure = measure
        self.samples = []

    def calibrate(self):
        start = time.perf_counter()
        self.measure()
        return time.perf_counter() - start

    def turn(self):
        self.samples.append(self.measure())


@contextmanager
def no_garbage_collection():
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def race(benchmark, call, opponents, *, seconds, threads):
    """Time ``call`` with pytest-benchmark's fixture, and each of ``opponents`` between its rounds.

    ``opponents``: name to Calls or Gauge. ``seconds``: how long the race should take, calibration
    apart; it takes longer when ``MIN_ROUNDS`` need it. Returns Times by name, with ours as
    "fastconv".
    """
    ours = Calls(call, REST_SECONDS)

    def rest_after(contestant):
        if threads > 1:
            time.sleep(contestant.rest)

    def opponents_turn():
        rest_after(ours)
        for opponent in opponents.values():
            opponent.turn()
            rest_after(opponent)
        ours.warm()

    with no_garbage_collection():
        round_seconds = 0.0
        for contestant in (*opponents.values(), ours):
            round_seconds += contestant.calibrate()
            rest_after(contestant)
            round_seconds += contestant.rest if threads > 1 else 0.0
        rounds = min(max(int(seconds / round_seconds), MIN_ROUNDS), MAX_ROUNDS)
        ours.warm()
        benchmark.pedantic(call, teardown=opponents_turn, rounds=rounds, iterations=ours.count)
    # With several iterations pedantic adds one untimed call and its teardown at the end.
    return {
        "fastconv": Times(benchmark.stats.stats.data),
        **{name: Times(opponent.samples[:rounds]) for name, opponent in opponents.items()},
    }
