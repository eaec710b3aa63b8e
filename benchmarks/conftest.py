# SPDX-License-Identifier: BSD-3-Clause
"""Options, parameters, fixtures and report of the benchmark suite.

PyTorch and fastconv may share an OpenMP library, which reads its settings once, when it is loaded. fastconv changes
them for itself; so that PyTorch runs as it does by itself, the rivals are imported first, and fastconv only after the
options have been read.
"""

from functools import cache
from importlib import import_module

import pytest
import report
from arrays import LAYOUTS
from contest import PROMISED, Contest, Setting
from layers import SETS, TABLES, select
from rivals import RIVALS, available

SETTING = pytest.StashKey()
RESULTS = pytest.StashKey()


def positive_integers(text):
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise ValueError(text)
    return numbers


def names(text):
    return [part.strip() for part in text.split(",")]


def pytest_addoption(parser):
    add = parser.getgroup("fastconv", "fastconv benchmarks").addoption
    sets, rivals = ", ".join(SETS), ", ".join(RIVALS)
    add("--layers", type=names, default=["all"], metavar="SETS", help=f"all, or some of: {sets}")
    add("--only", type=names, default=[], metavar="WHICH", help="kernels or names: 3x3,conv5.*")
    add("--batch", type=positive_integers, default=[1], metavar="N", help="images in a call: 1,16")
    add("--threads", type=positive_integers, default=[1], metavar="N", help="number of threads: 1,2")
    add("--rivals", type=names, default=["all"], metavar="NAMES", help=f"all, none or: {rivals}")
    add("--isa", default=None, metavar="NAME", help="see fastconv info (the best one)")
    add("--precision", choices=list(PROMISED), default="high", help="of float32 (high)")
    add("--dtype", choices=["float32", "float64"], default="float32", help="of all data (float32)")
    add("--layout", choices=list(LAYOUTS), default="NHWC", help="of fastconv's arrays (NHWC)")
    add("--seconds", type=float, default=0.3, metavar="S", help="time for each case (0.3)")


def pytest_configure(config):
    option = config.option
    option.layers = _chosen(option.layers, SETS, "--layers")
    option.rivals = _rivals(option)
    for name in option.rivals:
        import_module(RIVALS[name].requires[0])
    config.stash[SETTING] = _setting(option)
    config.stash[RESULTS] = []


def _chosen(names, known, option):
    """The names asked for, or all that are known; UsageError for others."""
    if names == ["all"]:
        return tuple(known)
    for name in names:
        if name not in known:
            raise pytest.UsageError(f"{option}: {name!r} is not one of {', '.join(known)}")
    return tuple(names)


def _rivals(option):
    if option.rivals == ["none"]:
        return ()
    chosen = _chosen(option.rivals, available(option.layout, option.dtype), "--rivals")
    if "jax" in chosen and len(option.threads) > 1:
        if option.rivals != ["all"]:
            raise pytest.UsageError("--rivals: jax has one number of threads per process")
        chosen = tuple(name for name in chosen if name != "jax")
    return chosen


def _setting(option):
    import fastconv
    from fastconv import _core

    (isa,) = _chosen([option.isa or _core.get_isa()], fastconv.isas(), "--isa")
    return Setting(
        dtype=option.dtype,
        layout=option.layout,
        precision=option.precision,
        isa=isa,
        seconds=option.seconds,
        rivals=option.rivals,
    )


def pytest_generate_tests(metafunc):
    option = metafunc.config.option
    for kind in TABLES.keys() & set(metafunc.fixturenames):
        layers = select(kind, option.layers, option.only)
        metafunc.parametrize(kind, layers, ids=lambda layer: f"{layer.network}-{layer.name}")
    for name in ("threads", "batch"):
        if name in metafunc.fixturenames:
            values = getattr(option, name)
            metafunc.parametrize(name, values, ids=[f"{name}{value}" for value in values])


@pytest.fixture
def contest(benchmark, threads, request):
    import fastconv as fc

    setting, results = request.config.stash[SETTING], request.config.stash[RESULTS]
    machine = _machine(setting.isa, setting.dtype, threads)
    with fc.using_isa(setting.isa), fc.threads(threads), fc.precision(setting.precision):
        yield Contest(benchmark, setting, machine, threads, results)


@cache
def _machine(isa, dtype, threads):
    from peak import Machine

    return Machine(isa, dtype, threads)


def pytest_terminal_summary(terminalreporter, config):
    results = config.stash[RESULTS]
    if results:
        terminalreporter.write_sep("=", "fastconv benchmarks")
        for line in report.lines(results, config.stash[SETTING]):
            terminalreporter.write_line(line)


def pytest_benchmark_update_machine_info(config, machine_info):
    import fastconv as fc

    machine_info["fastconv"] = {"version": fc.__version__, **vars(config.stash[SETTING])}
