# SPDX-License-Identifier: BSD-3-Clause
"""Options, parameters, fixtures and report of the benchmark suite.

The measuring is `fastconv.bench`'s, the same as behind ``fastconv bench``. PyTorch and fastconv may share an OpenMP
library, which reads its settings once, when it is loaded. fastconv changes them for itself; so that PyTorch runs as it
does by itself, the rivals are imported first, and fastconv only after the options have been read.
"""

from argparse import ArgumentTypeError
from contextlib import suppress
from importlib import import_module

import pytest

RIVAL_MODULES = ("torch", "onnxruntime", "jax")
RESULTS = pytest.StashKey()
BROKEN = pytest.StashKey()
SETTINGS = pytest.StashKey()


def pytest_addoption(parser):
    add = parser.getgroup("fastconv", "fastconv benchmarks, with the options of `fastconv bench`").addoption
    add("--network", "--layers", dest="network", default="all", metavar="NAMES", help="all, or resnet50,vgg16 ...")
    add("--only", default="", metavar="WHICH", help="kernels or names: 3x3,conv5.*")
    add("--sweep", action="store_true", help="growing batch, channels, images instead of networks")
    add("--batch", default="1", metavar="N", help="images in a call: 1,16")
    add("--threads", default="1", metavar="N", help="number of threads: 1,2")
    add("--layout", default="NHWC", metavar="L", help="of fastconv's arrays: NHWC,NCHW (NHWC)")
    add("--dtype", default="float32", metavar="D", help="of all data: float32,float64 (float32)")
    add("--precision", default="high", metavar="P", help="of float32: strict,high,medium (high)")
    add("--isa", default=None, metavar="NAME", help="see fastconv info (the best one)")
    add("--rivals", default="all", metavar="NAMES", help="all, none or torch,torch-cl,torch-bl,onnxrt,jax")
    add("--seconds", type=float, default=0.3, metavar="S", help="time for each case (0.3)")
    add("--json", default=None, metavar="FILE", help="write all results to FILE")
    add("--report", default=None, metavar="DIR", help="write tables and pictures to DIR")


def pytest_configure(config):
    option = config.option
    if option.rivals != "none":
        for module in RIVAL_MODULES:
            with suppress(Exception):  # the reason is kept by `load` below
                import_module(module)
    try:
        _read(option)
    except (ArgumentTypeError, ValueError) as error:
        raise pytest.UsageError(str(error)) from error
    from fastconv.bench import rivals

    config.stash[BROKEN] = rivals.load([name for name in option.rivals if not rivals.RIVALS[name].missing()])
    config.stash[RESULTS] = []


def _read(option):
    """Turn texts into what they name; ArgumentTypeError or ValueError for others."""
    import fastconv
    from fastconv.bench import machine, options
    from fastconv.bench.networks import NETWORKS
    from fastconv.bench.truth import PROMISED

    option.network = options.names(NETWORKS)(option.network)
    option.only = options.texts(option.only) if option.only else []
    option.batch, option.threads = options.numbers(option.batch), options.numbers(option.threads)
    option.layout = options.names(["NHWC", "NCHW"])(option.layout)
    option.dtype = options.names(["float32", "float64"])(option.dtype)
    option.precision = options.names(PROMISED)(option.precision)
    option.isa = options.names(fastconv.isas())(option.isa or machine.config()["instruction set"])
    option.rivals = options.rivals(option.rivals)
    option.seconds = options.seconds(option.seconds)


def pytest_ignore_collect(collection_path, config):
    """``--sweep`` runs the sweep alone, and without it the sweep stays out."""
    name = collection_path.name
    if name.startswith("bench_") and (name == "bench_sweep.py") != config.option.sweep:
        return True
    return None


def pytest_collection_modifyitems(items):
    from entry import replayed_seconds

    for item in items:
        if "contest" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.benchmark(timer=replayed_seconds))


def pytest_generate_tests(metafunc):
    from layers import TABLES, select

    option = metafunc.config.option
    for kind in TABLES.keys() & set(metafunc.fixturenames):
        layers = select(kind, option.network, option.only)
        metafunc.parametrize(kind, layers, ids=lambda layer: f"{layer.network}-{layer.name}")
    for name in ("isa", "precision", "dtype", "layout", "threads", "batch"):
        if name in metafunc.fixturenames:
            values = getattr(option, name)
            ids = [f"{name}{value}" if name in ("threads", "batch") else value for value in values]
            metafunc.parametrize(name, values, ids=ids)


@pytest.fixture
def contest(benchmark, threads, layout, dtype, precision, isa, request):
    from entry import Entry

    from fastconv.bench.contest import Setting

    config = request.config
    option = config.option
    setting = Setting(dtype, layout, precision, isa, option.seconds, option.rivals, tuple(option.threads))
    entry = Entry(benchmark, setting, threads, config.stash[BROKEN], config.stash[RESULTS])
    with entry.running():
        yield entry


def pytest_terminal_summary(terminalreporter, config):
    results = config.stash[RESULTS]
    if not results:
        return
    from fastconv.bench import sweep, tables

    terminalreporter.write_sep("=", "fastconv benchmarks")
    for line in [*tables.lines(results), *sweep.lines(results)]:
        terminalreporter.write_line(line)
    for path in _write(config.option, results):
        terminalreporter.write_line(f"wrote {path}")


def _write(option, results):
    """Write the files that were asked for; returns their names."""
    if not option.json and not option.report:
        return []
    from fastconv.bench import machine
    from fastconv.bench.contest import machine as limits
    from fastconv.bench.results import Results

    first = results[0]
    counts = sorted({result.threads for result in results})
    bandwidth = {threads: limits(first.isa, first.dtype, threads).bytes_per_second() for threads in counts}
    everything = Results(machine.describe(), results, bandwidth)
    written = []
    if option.json:
        everything.save(option.json)
        written.append(option.json)
    if option.report:
        from fastconv.bench import report

        written += report.write(everything, option.report)
    return written


def pytest_benchmark_update_machine_info(config, machine_info):
    from fastconv.bench import machine

    machine_info["fastconv"] = machine.describe()
