# SPDX-License-Identifier: BSD-3-Clause
"""Timing in turns.

The clock of a processor drifts, more than the differences one wants to see, so that two numbers taken a minute apart
say little about each other. Here fastconv, the limits of the machine and all rivals of one case take turns, round by
round, and a ratio is made of numbers from the same rounds only.

A turn is first a warm-up of one or more untimed calls, about ``WARM_SECONDS`` long, which brings caches, threads and
clock back to this contestant, and then a block of calls, about ``BLOCK_SECONDS`` long or one call, timed together. On
several threads a rest follows: worker threads keep spinning for a while after their last call and would share the cores
with whoever comes next.

A case that was disturbed is measured on. Before and after each round the `Canary` looks whether the machine is as fast
as it has been: on a machine whose cores are shared with others there are phases of seconds in which everything takes up
to twice as long, except multiply-adds on registers. Rounds in such a phase do not count, and rounds are added until the
best one of every contestant has been met again, or the `Patience` is at its end.
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
MAX_ROUNDS = 200
REST_SECONDS = 0.015  # after a turn of fastconv, whose OpenMP threads spin 5 to 9 ms where PyTorch loaded the library

# A best round counts as met again when SETTLED_ROUNDS rounds, itself among them, lie within SETTLED_WITHIN of it.
SETTLED_ROUNDS = 3
SETTLED_WITHIN = 0.05

CALM_WITHIN = 0.25  # of the best reading; in quiet, nine readings of ten lie within 0.2
CANARY_LOOPS = 3
CANARY_STEPS = 2000  # 0.1 ms of adding small integers


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

    def median_ratio(self, other):
        """How many times longer ``other`` takes: the median, over the rounds, of the ratio within a round."""
        pairs = zip(self.samples, other.samples, strict=True)
        return statistics.median(theirs / ours for ours, theirs in pairs)

    @property
    def settled(self):
        """True where the best round is no lucky or lonely one."""
        nearest = sorted(self.samples)[:SETTLED_ROUNDS]
        return len(nearest) == SETTLED_ROUNDS and nearest[-1] <= (1 + SETTLED_WITHIN) * self.best


class Calls:
    """A contestant that is timed by calling it; ``rest`` seconds later its threads sleep."""

    def __init__(self, call, rest=0.0, clock=time):
        self.call = call
        self.rest = rest
        self.count = 1
        self.now = clock.perf_counter

    def calibrate(self):
        """Choose how many calls make a block; returns the seconds of a turn."""
        self.warm()
        seconds = self._block(1)
        if seconds < BLOCK_SECONDS:
            seconds = min(self._block(1) for _ in range(5))
            self.count = max(1, round(BLOCK_SECONDS / max(seconds, 1e-7)))
        return max(seconds, WARM_SECONDS) + self.count * seconds

    def warm(self):
        end = self.now() + WARM_SECONDS
        self.call()
        while self.now() < end:
            self.call()

    def turn(self):
        """Seconds per call of one block."""
        self.warm()
        return self._block(self.count) / self.count

    def _block(self, count):
        call, now = self.call, self.now
        start = now()
        for _ in itertools.repeat(None, count):
            call()
        return now() - start


class Gauge:
    """A contestant that measures itself: ``measure()`` returns seconds."""

    rest = 0.0

    def __init__(self, measure, clock=time):
        self.turn = measure
        self.now = clock.perf_counter

    def calibrate(self):
        start = self.now()
        self.turn()
        return self.now() - start


class Canary:
    """Notices that all is slow, by a little work that is always the same."""

    def __init__(self, clock=time):
        self.now = clock.perf_counter
        self.best = float("inf")

    def calm(self):
        """True where the work takes no longer than it has been seen to take."""
        reading = min(self._loop() for _ in range(CANARY_LOOPS))
        self.best = min(self.best, reading)
        return reading <= (1 + CALM_WITHIN) * self.best

    def _loop(self):
        start, total = self.now(), 0
        for number in range(CANARY_STEPS):
            total += number
        return self.now() - start


class Patience:
    """How long disturbed cases may be measured on.

    One of them three times as long as it should take, all of them together no longer than all cases should take, and a
    little more to begin with.
    """

    def __init__(self, seconds):
        self.left = seconds

    def allow(self, seconds):
        """What a case may spend that should take so many seconds."""
        self.left += seconds
        return min(self.left, 2 * seconds)

    def spend(self, seconds):
        self.left -= seconds


CANARY, PATIENCE = Canary(), Patience(2.0)


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


def race(contestants, *, seconds, threads, clock=time, canary=CANARY, patience=PATIENCE):
    """Times by name of all contestants, who take turns; and whether the best rounds are settled.

    ``contestants``: name to Calls or Gauge. ``seconds``: how long the race should take, calibration apart. It takes
    longer when ``MIN_ROUNDS`` need it, and while it is disturbed and there is patience.
    """
    with no_garbage_collection():
        round_seconds = sum(_calibrate(contestant, threads, clock) for contestant in contestants.values())
        wanted = min(max(int(seconds / max(round_seconds, 1e-9)), MIN_ROUNDS), MAX_ROUNDS)
        allowed, spent = patience.allow(max(seconds, MIN_ROUNDS * round_seconds)), 0.0
        rounds, calm, order, before = [], [], list(contestants), canary.calm()
        while True:
            start = clock.perf_counter()
            samples = {}
            for name in order:
                samples[name] = contestants[name].turn()
                _rest(contestants[name], threads, clock)
            order.append(order.pop(0))  # each round begins with another of them
            rounds.append(samples)
            after = canary.calm()
            calm += [samples] if before and after else []
            before = after
            enough = len(calm) >= MIN_ROUNDS
            times = _times(contestants, calm if enough else rounds)
            settled = enough and len(rounds) >= wanted and all(one.settled for one in times.values())
            if len(rounds) > wanted:
                spent += clock.perf_counter() - start
            if settled or len(rounds) >= MAX_ROUNDS or len(rounds) >= wanted and spent >= allowed:
                patience.spend(spent)
                return times, settled


def _calibrate(contestant, threads, clock):
    seconds = contestant.calibrate()
    _rest(contestant, threads, clock)
    return seconds + (contestant.rest if threads > 1 else 0.0)


def _rest(contestant, threads, clock):
    if threads > 1 and contestant.rest:
        clock.sleep(contestant.rest)


def _times(names, rounds):
    return {name: Times(samples[name] for samples in rounds) for name in names}
