# SPDX-License-Identifier: BSD-3-Clause
"""One case of the suite: compared with the truth, then timed in turns with limit and rivals."""

from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from arrays import LAYOUTS, Source
from rivals import RIVALS
from timing import Calls, Gauge, Times, race

# Relative L2 errors that fastconv promises for float32, by precision, and for float64.
PROMISED = {"strict": 1e-6, "high": 5e-6, "medium": 3e-3}
PROMISED_FLOAT64 = 1e-13
# The error of the worst element, relative to the largest element, over the L2 error.
LARGEST_OVER_L2 = 20
# A rival further off than this does something else than we think.
RIVAL_ERROR = {"float32": 1e-4, "float64": 1e-10}


@dataclass(frozen=True)
class Setting:
    """What the whole run is done with."""

    dtype: str
    layout: str
    precision: str
    isa: str
    seconds: float
    rivals: tuple

    @property
    def promised(self):
        return PROMISED_FLOAT64 if self.dtype == "float64" else PROMISED[self.precision]


@dataclass
class Result:
    """Times of one case, by contestant; ``limit``, "fma" or "copy", is one of them."""

    op: str
    layer: object
    batch: int
    threads: int
    flops: int
    nbytes: int | None
    limit: str
    error: float
    times: dict[str, Times] = field(repr=False)

    @property
    def ours(self):
        return self.times["fastconv"]

    @property
    def rivals(self):
        return [name for name in self.times if name not in ("fastconv", self.limit)]

    @property
    def share(self):
        """Part of the limit that fastconv reaches."""
        return 1.0 / self.times[self.limit].best_ratio(self.ours)

    def ratio(self, rival):
        return self.ours.best_ratio(self.times[rival])

    @property
    def best_rival(self):
        return min(self.rivals, key=lambda name: self.times[name].best, default=None)

    def as_dict(self):
        """Plain numbers for the JSON file of pytest-benchmark."""
        ours = self.ours
        return {
            "op": self.op,
            "network": self.layer.network,
            "layer": self.layer.name,
            "problem": str(self.layer),
            "batch": self.batch,
            "threads": self.threads,
            "gflops_per_second": self.flops / ours.best / 1e9,
            "gbytes_per_second": self.nbytes and self.nbytes / ours.best / 1e9,
            "error": self.error,
            "limit": self.limit,
            "share_of_limit": self.share,
            "share_of_limit_median": 1.0 / self.times[self.limit].median_ratio(ours),
            "seconds_best": {name: times.best for name, times in self.times.items()},
            "seconds_median": {name: times.median for name, times in self.times.items()},
            "ratio_best": {name: self.ratio(name) for name in self.rivals},
            "ratio_median": {name: ours.median_ratio(self.times[name]) for name in self.rivals},
        }


class Contest:
    """What a benchmark function gets: data, and ``run`` to compare and time one case."""

    def __init__(self, benchmark, setting, machine, threads, results):
        self.benchmark = benchmark
        self.setting = setting
        self.machine = machine
        self.threads = threads
        self.results = results
        self.layout = LAYOUTS[setting.layout]
        self.source = Source(setting.dtype)

    def empty_image(self, nhwc_shape):
        return np.empty(self.layout.image_shape(nhwc_shape), self.setting.dtype)

    def run(self, op, layer, batch, *, call, result, truth, data, error=None, **work):
        """Compare ``result(call())`` and every rival with ``truth()``, then time them in turns.

        ``data``: arguments for the rivals' method named ``op``. ``error``: the largest relative L2
        error to accept, by default the promise of the run's precision. ``work``: see ``time``.
        """
        expected = truth()
        tolerance = self.setting.promised if error is None else error
        seen = self.check("fastconv", result(call()), expected, tolerance)
        with ExitStack() as contexts:
            runs = self._prepare_rivals(op, data, contexts)
            for name, run in runs.items():
                actual = run.to_numpy(run.call())
                self.check(name, actual, expected, RIVAL_ERROR[self.setting.dtype])
            del expected
            calls = {name: run.call for name, run in runs.items()}
            self.time(op, layer, batch, call, calls, error=seen, **work)

    def rival(self, name):
        """The rival of that name, told the number of threads."""
        return RIVALS[name](self.threads, self.setting.layout)

    def _prepare_rivals(self, op, data, contexts):
        runs, entered = {}, []
        for name in self.setting.rivals:
            rival = self.rival(name)
            prepare = getattr(rival, op, None)
            if prepare is not None:
                runs[name] = prepare(*data)
                entered.append(rival.context)
        for context in entered:  # now: a context may forbid what preparing needs
            contexts.enter_context(context())
        return runs

    def time(self, op, layer, batch, call, rivals, *, error, flops, nbytes=None, limit="fma"):
        """Time ``call`` and the rivals' calls in turns, with the limit: "fma" or "copy"."""
        if self.benchmark.disabled:
            self.benchmark.pedantic(call)
            return
        opponents = {limit: self._limit(limit, flops, nbytes)}
        for name, rival_call in rivals.items():
            opponents[name] = Calls(rival_call, RIVALS[name].rest_seconds)
        self.benchmark.group = f"{op} {layer.network}"
        times = race(self.benchmark, call, opponents, seconds=self.setting.seconds, threads=self.threads)
        result = Result(op, layer, batch, self.threads, flops, nbytes, limit, error, times)
        self.benchmark.extra_info |= result.as_dict()
        self.results.append(result)

    def _limit(self, limit, flops, nbytes):
        if limit == "fma":
            return Gauge(lambda: self.machine.fma_seconds(flops))
        return Calls(self.machine.copy(nbytes))

    def check(self, name, actual, expected, tolerance):
        """Return the relative L2 error, or fail if that or the largest error is too large."""
        assert actual.shape == expected.shape, f"{name}: shape {actual.shape}, not {expected.shape}"
        difference = np.abs(actual - expected)
        l2 = float(np.linalg.norm(difference) / np.linalg.norm(expected))
        assert l2 <= tolerance, f"{name}: relative L2 error {l2:.1e}, more than {tolerance:.0e}"
        largest, limit = float(difference.max() / np.abs(expected).max()), LARGEST_OVER_L2 * tolerance
        assert largest <= limit, f"{name}: largest error {largest:.1e}, more than {limit:.0e}"
        return l2
