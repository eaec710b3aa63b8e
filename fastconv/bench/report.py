# SPDX-License-Identifier: BSD-3-Clause
"""A folder that shows the results of a run: ``results.json``, ``tables.txt``, ``overview.md`` and pictures."""

import os
from importlib.util import find_spec
from statistics import geometric_mean

from fastconv.atomic import replacing
from fastconv.bench import machine, sweep, tables
from fastconv.bench.operations import title


def check(folder):
    """ValueError or OSError where the report could not be written."""
    if find_spec("matplotlib") is None:
        raise ValueError("--report draws with matplotlib, which is not installed: pip install matplotlib")
    os.makedirs(folder, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise OSError(f"cannot write to the directory {folder}")


def write(results, folder):
    """Write the report; returns the paths of its files."""
    from fastconv.bench import picture

    check(folder)
    texts = {
        "tables.txt": [machine.one_line(results.machine), "", *tables.lines(results.results)],
        "overview.md": overview(results),
    }
    texts["tables.txt"] += sweep.lines(results.results)
    paths = []
    for name, lines in texts.items():
        paths.append(os.path.join(folder, name))
        with replacing(paths[-1]) as file:
            file.write(("\n".join(lines) + "\n").encode())
    paths.append(os.path.join(folder, "results.json"))
    results.save(paths[-1])
    return paths + picture.write(results, folder)


def overview(results):
    """A Markdown table: for each network, operation, batch and number of threads, all layers in one row."""
    versions = ", ".join(f"{name} {version}" for name, version in results.machine["versions"].items())
    yield f"{machine.one_line(results.machine)}; {results.machine['system']}; {versions}."
    yield ""
    several_isas = len({result.isa for result in results.results}) > 1
    columns = ["network", "operation", "batch", "threads", "layers"]
    columns += ["share of the limit", "worst", "ratio to the best rival", "worst"]
    yield "| " + " | ".join(columns) + " |"
    yield "|" + len(columns) * "---|"
    for group in tables.by(lambda result: (result.network, *tables.setting_key(result)), results.results):
        first, slowest = group[0], min(group, key=lambda result: result.share)
        share = tables.percent(geometric_mean(result.share for result in group))
        cells = [first.network, _operation(first, several_isas), first.batch, first.threads, len(group), share]
        cells += [f"{tables.percent(slowest.share)} {slowest.layer}", *_ratios(group)]
        yield "| " + " | ".join(map(str, cells)) + " |"


def _operation(result, several_isas):
    setting = [result.layout] if result.layout != "NHWC" else []
    setting += [result.dtype] if result.dtype != "float32" else []
    setting += [result.precision] if result.precision != "high" else []
    setting += [result.isa] if several_isas else []
    return ", ".join([title(result.op), *setting])


def _ratios(group):
    found = [result for result in group if result.rivals]
    if not found:
        return ["-", "-"]
    worst = min(found, key=lambda result: result.ratio(result.best_rival))
    mean = geometric_mean(result.ratio(result.best_rival) for result in found)
    least = f"{tables.times(worst.ratio(worst.best_rival))} {worst.layer} ({worst.best_rival})"
    return [tables.times(mean), least]
