# SPDX-License-Identifier: BSD-3-Clause
"""One case: compared with the truth, then timed in turns with the limits and the rivals."""

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

import fastconv as fc
from fastconv.bench import timing
from fastconv.bench.cases import Form
from fastconv.bench.operations import OPERATIONS
from fastconv.bench.peak import Machine
from fastconv.bench.results import Result
from fastconv.bench.rivals import NOT_ASKED, RIVALS, why_not
from fastconv.bench.truth import PROMISED, PROMISED_FLOAT64

# The error of the worst element, relative to the largest element, over the L2 error.
LARGEST_OVER_L2 = 20


class Entrant(NamedTuple):
    """A rival's call, the context it is made in, and its error."""

    call: Callable
    context: Callable
    error: float


class WrongResult(AssertionError):
    """A result that is not what the operation promises: nothing to be timed."""


@dataclass(frozen=True)
class Setting:
    """What cases are done with. ``thread_counts``: all that this process measures."""

    dtype: str
    layout: str
    precision: str
    isa: str
    seconds: float
    rivals: tuple
    thread_counts: tuple = (1,)

    @property
    def promised(self):
        return PROMISED_FLOAT64 if self.dtype == "float64" else PROMISED[self.precision]


@cache
def machine(isa, dtype, threads):
    return Machine(isa, dtype, threads)


class Contest:
    """Compares and times cases, all with one setting and one number of threads.

    ``broken``: rivals whose library cannot be loaded, with the reason.
    """

    def __init__(self, setting, threads, broken=None):
        self.setting = setting
        self.threads = threads
        self.broken = broken or {}
        self.machine = machine(setting.isa, setting.dtype, threads)
        self.form = Form(setting.layout, setting.dtype)

    @property
    def layout(self):
        return self.form.layout

    @property
    def source(self):
        return self.form.source

    @contextmanager
    def running(self):
        """fastconv as the setting has it."""
        setting = self.setting
        with fc.using_isa(setting.isa), fc.threads(self.threads), fc.precision(setting.precision):
            yield

    def run(self, op, layer, batch):
        """The Result of one operation on one layer; WrongResult if it is not what it should be."""
        case = OPERATIONS[op].build(self.form, layer, batch)
        expected = case.truth()
        whole = case.back(case.call())
        if np.isnan(whole.sum()):
            raise WrongResult("fastconv: NaN in the result, or not all of it written")
        error = self.check("fastconv", case.pick(whole), expected, 0.0 if case.exact else self.setting.promised)
        entrants, absent = self._entrants(case, expected)
        with ExitStack() as contexts:
            for entrant in entrants.values():  # now: a context may forbid what preparing needs
                contexts.enter_context(entrant.context())
            return self.time(
                op,
                layer,
                batch,
                case.call,
                {name: entrant.call for name, entrant in entrants.items()},
                error=error,
                flops=case.flops,
                nbytes=case.nbytes,
                limit=case.limit,
                rival_error={name: entrant.error for name, entrant in entrants.items()},
                absent=absent,
            )

    def rival(self, name):
        """The rival of that name, told the number of threads."""
        return RIVALS[name](self.threads, self.setting.layout)

    def _entrants(self, case, expected):
        """The rivals that are prepared and right, and for all others the reason why they are not timed."""
        entrants, absent = {}, {}
        for name in RIVALS:
            reason = self._why_not(name, case.op)
            if reason is None:
                try:
                    entrants[name] = self._prepare(name, case, expected)
                except WrongResult as wrong:
                    reason = f"gave a wrong result, {wrong}"
                except Exception as error:  # another library can fail in any way; it must not end the run
                    reason = f"failed: {type(error).__name__}: {error}"
            if reason is not None:
                absent[name] = reason
        return entrants, absent

    def _why_not(self, name, op):
        setting = self.setting
        if name not in setting.rivals:
            return NOT_ASKED
        how = setting.layout, setting.dtype, setting.precision, op, setting.thread_counts
        return self.broken.get(name) or why_not(name, *how)

    def _prepare(self, name, case, expected):
        rival = self.rival(name)
        run = getattr(rival, case.op)(case.layer, *case.data)
        with rival.context():
            actual = case.pick(run.to_numpy(run.call()))
        error = self.check(name, actual, expected, rival.errors[self.setting.dtype])
        return Entrant(run.call, rival.context, error)

    def check(self, name, actual, expected, tolerance):
        """The relative L2 error; WrongResult if that or the largest error is too large, or the shape another."""
        if actual.shape != expected.shape:
            raise WrongResult(f"{name}: shape {actual.shape}, not {expected.shape}")
        difference = np.abs(actual - expected)
        l2 = float(np.linalg.norm(difference) / np.linalg.norm(expected))
        if not l2 <= tolerance:
            raise WrongResult(f"{name}: relative L2 error {l2:.1e}, more than {tolerance:.0e}")
        largest, limit = float(difference.max() / np.abs(expected).max()), LARGEST_OVER_L2 * tolerance
        if not largest <= limit:
            raise WrongResult(f"{name}: largest error {largest:.1e}, more than {limit:.0e}")
        return l2

    def time(self, op, layer, batch, call, rivals, *, error, flops, nbytes=None, limit="fma", **more):
        """The Result of ``call`` timed in turns with the limits and the rivals' calls.

        ``limit``: what bounds the speed, "fma" or "copy"; the multiply-add peak is always measured.
        """
        contestants = {"fma": timing.Gauge(lambda: self.machine.fma_seconds(flops))}
        if limit == "copy":
            contestants["copy"] = timing.Calls(self.machine.copy(nbytes))
        contestants["fastconv"] = timing.Calls(call, timing.REST_SECONDS)
        for name, rival_call in rivals.items():
            contestants[name] = timing.Calls(rival_call, RIVALS[name].rest_seconds)
        times, settled = self.race(contestants)
        return self._result(
            op, layer, batch, times, settled=settled, error=error, flops=flops, bytes=nbytes, limit=limit, **more
        )

    def race(self, contestants):
        return timing.race(contestants, seconds=self.setting.seconds, threads=self.threads)

    def _result(self, op, layer, batch, times, **more):
        setting, ours = self.setting, times["fastconv"]
        return Result(
            network=layer.network,
            layer=layer.name,
            op=op,
            layout=setting.layout,
            dtype=setting.dtype,
            precision=setting.precision,
            isa=setting.isa,
            batch=batch,
            threads=self.threads,
            problem=str(layer),
            sizes=getattr(layer, "sizes", {}),
            rounds=len(ours.samples),
            seconds={name: {"best": one.best, "median": one.median} for name, one in times.items()},
            ratio_median={name: ours.median_ratio(one) for name, one in times.items() if name in RIVALS},
            **more,
        )
