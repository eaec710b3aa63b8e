# SPDX-License-Identifier: BSD-3-Clause
"""A contest that pytest-benchmark hears of.

pytest-benchmark times one function; here several take turns. So the turns are timed by `fastconv.bench.timing`, and
pytest-benchmark is shown the rounds of fastconv afterwards, on a clock that goes by what was measured.
"""

from fastconv.bench.contest import Contest

_clock = [0.0]


def replayed_seconds():
    """The timer that pytest-benchmark is given."""
    return _clock[0]


class Entry(Contest):
    """What a benchmark function gets as ``contest``: ``run`` for an operation, ``time`` for anything else."""

    def __init__(self, benchmark, setting, threads, broken, results):
        super().__init__(setting, threads, broken)
        self.benchmark = benchmark
        self.results = results

    def time(self, op, layer, batch, call, rivals, **more):
        """See `Contest.time`; with ``--benchmark-disable`` nothing is timed, but all results have been checked."""
        if self.benchmark.disabled:
            self.benchmark.pedantic(call)
            return None
        self.benchmark.group = f"{op} {layer.network}"
        result = super().time(op, layer, batch, call, rivals, **more)
        self.benchmark.extra_info |= result.record()
        self.results.append(result)
        return result

    def race(self, contestants):
        times, settled = super().race(contestants)
        samples = iter(times["fastconv"].samples)

        def replay():
            _clock[0] += next(samples)

        self.benchmark.pedantic(replay, rounds=len(times["fastconv"].samples))
        return times, settled
