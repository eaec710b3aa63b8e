# SPDX-License-Identifier: BSD-3-Clause
"""``fastconv bench``: what its options do."""

import os

from fastconv.bench import compare, machine, sweep, tables
from fastconv.bench.contest import Setting
from fastconv.bench.networks import NETWORKS, known, select
from fastconv.bench.operations import OPERATIONS
from fastconv.bench.results import Results, load, load_all
from fastconv.bench.rivals import why_not
from fastconv.bench.worker import Failure, Planned, measure


def run(arguments):
    """Exit status: 1 where a comparison found something slower, or a result was wrong."""
    if arguments.compare:
        comparison = compare.Comparison(*map(load, arguments.compare), arguments.threshold)
        print("\n".join(comparison.lines()))
        return 1 if comparison.slower else 0
    check_places(arguments)
    if arguments.load:
        results, failures = load_all(arguments.load), []
        print("\n".join([machine.one_line(results.machine), *tables.lines(results.results)]))
        print("\n".join(sweep.lines(results.results)))
    else:
        results, failures = time_all(plan(arguments), arguments.json)
        print_end(results, failures)
    if arguments.json and arguments.load:
        results.save(arguments.json)
    if arguments.report:
        from fastconv.bench import report

        for path in report.write(results, arguments.report):
            print(f"wrote {path}")
    return 1 if failures else 0


def check_places(arguments):
    """Say before the work, not after it, that its results cannot be kept."""
    directory = os.path.dirname(os.path.abspath(arguments.json or "."))
    if arguments.json and not os.access(directory, os.W_OK):
        raise OSError(f"cannot write to the directory {directory}")
    if arguments.report:
        from fastconv.bench import report

        report.check(arguments.report)


def plan(arguments):
    """All cases, those with the same number of threads together, those of one table together."""
    cases = []
    for threads in arguments.threads:
        here = []
        for setting in settings(arguments, threads):
            for op in arguments.op:
                layers = chosen(arguments, OPERATIONS[op].kind)
                here += [Planned(op, layer, batch, threads, setting) for layer, batch in layers]
        cases += [case for group in tables.groups(here) for case in group]
    if not cases:
        raise ValueError("no layer fits --network, --only and --op")
    return cases


def settings(arguments, threads):
    for isa in arguments.isa or [machine.config()["instruction set"]]:
        for dtype in arguments.dtype:
            for layout in arguments.layout:
                for precision in arguments.precision if dtype == "float32" else arguments.precision[:1]:
                    yield Setting(dtype, layout, precision, isa, arguments.seconds, arguments.rivals, (threads,))


def chosen(arguments, kind):
    """Pairs (layer, batch)."""
    if arguments.sweep:
        return sweep.cases() if kind in ("conv", "inner_conv") else []
    if arguments.network or arguments.only:
        layers = select(kind, arguments.network or list(NETWORKS), arguments.only)
    else:
        layers = known(kind)
    return [(layer, batch) for batch in arguments.batch for layer in layers]


def time_all(cases, path=None):
    """Results and Failures; prints each table as it comes. What is measured is written to ``path`` in any case."""
    results, failures = Results(machine.describe(), []), []
    print(machine.one_line(results.machine))
    print("\n".join(tables.EXPLANATION))
    try:
        for same in tables.by(lambda case: case.threads, cases):
            answers = measure(same)
            results.bandwidth[same[0].threads] = next(answers)
            for group in tables.groups(same):
                time_table(group, answers, results.results, failures)
    finally:
        if path and results.results:
            results.save(path)
    return results, failures


def time_table(group, answers, results, failures):
    """Take the answers of one table, print them one by one, and add them to the results and failures."""
    first, done = group[0], []
    op = OPERATIONS[first.op].like or first.op
    how = first.layout, first.dtype, first.precision, op
    shown = [name for name in first.setting.rivals if not why_not(name, *how)]
    columns = tables.Columns(group, shown)
    print("", tables.heading(group), columns.header(), sep="\n")
    for case in group:
        answer = next(answers)
        if isinstance(answer, Failure):
            failures.append(answer)
            print(f"{tables.label(case, group)}: {answer.reason}", flush=True)
        else:
            results.append(answer)
            done.append(answer)
            print(columns.row(answer), flush=True)
    if len(done) > 1:
        print(columns.mean(done))


def print_end(results, failures):
    print()
    for line in sweep.lines(results.results):
        print(line)
    for failure in failures:
        case = failure.case
        print(f"FAILED {case.op} {case.network} {case.layer}, batch {case.batch}: {failure.reason}")
    if results.results:
        print("\n".join([*tables.peaks(results.results), *tables.absences(results.results)]))
        print(tables.summary(results.results))
