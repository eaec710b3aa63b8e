# SPDX-License-Identifier: BSD-3-Clause
"""Measures cases in a process of their own, one for each number of threads.

Two things want that. PyTorch and fastconv may share an OpenMP library, which reads its settings once, when it is
loaded: fastconv changes them for itself, so that for PyTorch to run as it does by itself it must be imported first.
And JAX takes its number of threads once per process.

The worker gets one JSON document, the job, and answers with a line of JSON for each case.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass

from fastconv.bench import layers
from fastconv.bench.contest import Contest, Setting, WrongResult, machine
from fastconv.bench.results import Result
from fastconv.bench.rivals import RIVALS, load

# Run by a fresh interpreter. What cannot be imported is looked at by `load`, which keeps the reason.
START = """
import contextlib, importlib, json, sys
job = json.load(sys.stdin)
sys.path[:] = job["path"]
for name in job["modules"]:
    with contextlib.suppress(Exception):
        importlib.import_module(name)
from fastconv.bench import worker
sys.exit(worker.main(job))
"""


@dataclass(frozen=True)
class Planned:
    """A case that is to be measured; the names of its key are those of `Result`."""

    op: str
    where: object  # the layer
    batch: int
    threads: int
    setting: Setting

    @property
    def network(self):
        return self.where.network

    @property
    def layer(self):
        return self.where.name

    @property
    def problem(self):
        return str(self.where)

    @property
    def layout(self):
        return self.setting.layout

    @property
    def dtype(self):
        return self.setting.dtype

    @property
    def precision(self):
        return self.setting.precision

    @property
    def isa(self):
        return self.setting.isa

    def as_dict(self):
        kind, layer = type(self.where).__name__, asdict(self.where)
        return {"op": self.op, "kind": kind, "layer": layer, "batch": self.batch, "setting": asdict(self.setting)}


@dataclass(frozen=True)
class Failure:
    """A case whose result was wrong, or for which memory or something else was lacking."""

    case: Planned
    reason: str


def measure(cases):
    """Yield the bandwidth, a float, and then for each case its Result or a Failure. All with one number of threads."""
    threads = cases[0].threads
    rivals = list(dict.fromkeys(name for case in cases for name in case.setting.rivals))
    job = {
        "path": sys.path,
        "modules": [RIVALS[name].requires[0] for name in rivals],
        "rivals": rivals,
        "threads": threads,
        "cases": [case.as_dict() for case in cases],
    }
    with subprocess.Popen(
        [sys.executable, "-c", START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            process.stdin.write(json.dumps(job))
            process.stdin.close()
            yield float(_answer(process))
            for case in cases:
                answer = _answer(process)
                yield Result.of_record(answer) if "error" in answer else Failure(case, answer["failed"])
        finally:
            process.kill()


def _answer(process):
    line = process.stdout.readline()
    if not line:
        raise OSError(f"the measuring process ended with status {process.wait()}")
    return json.loads(line)


def main(job):
    """What the worker does: answers on standard output, to which nothing else may write."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        for answer in work(job):
            print(json.dumps(answer), file=answers, flush=True)
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return 0


def work(job):
    """The answers to a job, one by one."""
    broken = load(job["rivals"])
    cases = [_case(entry, job["threads"]) for entry in job["cases"]]
    first = cases[0].setting
    yield machine(first.isa, first.dtype, job["threads"]).bytes_per_second()
    for case in cases:
        contest = Contest(case.setting, case.threads, broken)
        try:
            with contest.running():
                yield contest.run(case.op, case.where, case.batch).record()
        except (WrongResult, MemoryError) as error:
            yield {"failed": f"{type(error).__name__}: {error}"}


def _case(entry, threads):
    layer = getattr(layers, entry["kind"])(**entry["layer"])
    setting = entry["setting"] | {name: tuple(entry["setting"][name]) for name in ("rivals", "thread_counts")}
    return Planned(entry["op"], layer, entry["batch"], threads, Setting(**setting))
