# SPDX-License-Identifier: BSD-3-Clause
"""What is printed: a table for each operation, network, batch and number of threads, and an overview of all."""

from collections import Counter
from statistics import geometric_mean, median

from fastconv.bench.operations import title
from fastconv.bench.rivals import NOT_ASKED, RIVALS

WIDTH = 104
FEW_ROWS = 12
TIME_COLUMN = 2
SETTING = ("layout", "dtype", "precision", "isa")
EXPLANATION = [
    "time, GFLOP/s: best round (~: rounds kept differing); error: relative L2 against float64",
    "limit: share of the multiply-add peak measured in turns with the layer; with m, where memory is the",
    "  limit, of the speed of a copy that touches as many bytes",
    "x1.50: the rival takes 1.50 times as long as fastconv; *: so does the fastest rival",
]


def setting_key(case):
    return (case.op, case.batch, case.threads, case.layout, case.dtype, case.precision, case.isa)


def by(key, cases):
    """Lists of cases with the same key, in the order in which each list begins."""
    found = {}
    for case in cases:
        found.setdefault(key(case), []).append(case)
    return list(found.values())


def groups(cases):
    """Lists of cases that belong into one table each: those of a network, or of several where they are few.

    ``cases``: Results, or what else has their key, as in a plan.
    """
    tables = []
    for group in by(setting_key, cases):
        tables += [group] if len(group) <= FEW_ROWS else by(lambda case: case.network, group)
    return tables


def networks(group):
    return list(dict.fromkeys(case.network for case in group))


def label(case, group):
    return f"{case.network} {case.layer}" if len(networks(group)) > 1 else case.layer


def heading(group):
    first = group[0]
    parts = [title(first.op), f"batch {first.batch}", count(first.threads, "thread"), first.layout, first.dtype]
    parts += [first.precision] if first.dtype == "float32" else []
    where = f"{first.network}: " if len(networks(group)) == 1 else ""
    return where + ", ".join(parts)


def count(number, noun):
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# ---------------------------------------------------------------- a table


class Columns:
    """The columns of one table, whose widths are known before anything is measured: rows can be printed one by one.

    ``group``: the cases of the table; ``rivals``: the names that may have a time.
    """

    def __init__(self, group, rivals):
        self.group, self.rivals = group, list(rivals)
        self.titles = ["layer", "", "time", "GFLOP/s", "limit", "error", *self.rivals]
        widths = [max(len(name) for name in [*(label(case, group) for case in group), "geomean"])]
        widths += [max(len(case.problem) for case in group), 6, 7, 5, 5]
        widths += [max(len(name), 5) for name in self.rivals]
        self.shown = [True] * len(widths)
        self.shown[TIME_COLUMN] = sum(widths) + len(widths) - 1 <= WIDTH  # GFLOP/s says the same
        width = sum(width for width, shown in zip(widths, self.shown, strict=True) if shown)
        self.separator = "  " if width + 2 * (sum(self.shown) - 1) <= WIDTH else " "
        self.formats = [f"<{widths[0]}", f"<{widths[1]}"] + [f">{width}" for width in widths[2:]]

    def line(self, cells):
        columns = zip(cells, self.formats, self.shown, strict=True)
        return self.separator.join(f"{cell:{form}}" for cell, form, shown in columns if shown).rstrip()

    def header(self):
        return self.line(self.titles)

    def row(self, result):
        speed = ("" if result.settled else "~") + number(result.gflops)
        cells = [label(result, self.group), result.problem, duration(result.best), speed]
        cells += [limit_cell(result), error_cell(result)]
        return self.line(cells + [ratio_cell(result, rival) for rival in self.rivals])

    def mean(self, results):
        """The geometric means of the columns."""
        ratios = [[r.ratio(rival) for r in results if rival in r.seconds] for rival in self.rivals]
        cells = [times(geometric_mean(values)) if values else "-" for values in ratios]
        return self.line(["geomean", "", "", "", percent(geometric_mean(r.share for r in results)), "", *cells])


def limit_cell(result):
    return percent(result.share) + ("m" if result.limit == "copy" else "")


def error_cell(result):
    return f"{result.error:.0e}".replace("e-0", "e-") if result.error else "0"


def ratio_cell(result, rival):
    if rival not in result.seconds:
        return "-"
    text = times(result.ratio(rival))
    return text.replace("x", "*") if rival == result.best_rival else text


def number(value):
    """Three digits or more."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def times(ratio):
    return f"x{number(ratio)}"


def percent(share):
    if share is None:
        return "-"
    return f"{share:.0%}" if share >= 0.0995 else f"{share:.1%}"


def duration(seconds):
    units = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6))
    unit, scale = next((pair for pair in units if seconds >= 0.9995 * pair[1]), units[-1])
    return f"{number(seconds / scale)}{unit}"


def table(group):
    """The lines of one finished table."""
    rivals = [name for name in RIVALS if any(name in result.seconds for result in group)]
    columns = Columns(group, rivals)
    yield heading(group)
    yield columns.header()
    for result in group:
        yield columns.row(result)
    if len(group) > 1:
        yield columns.mean(group)


# ---------------------------------------------------------------- all of them


def lines(results):
    """Explanation, peaks, all tables, overview: line by line."""
    yield from EXPLANATION
    yield from peaks(results)
    for group in groups(results):
        yield ""
        yield from table(group)
    yield ""
    yield from overview(results)
    yield from absences(results)
    yield summary(results)


def peaks(results):
    """The multiply-add peaks that were measured: far apart, they tell of a busy machine."""
    for group in by(lambda result: (result.threads, result.dtype, result.isa), results):
        found, first = [result.peak_gflops for result in group], group[0]
        span = f"median {median(found):.0f}, {min(found):.0f} to {max(found):.0f}"
        where = f"{count(first.threads, 'thread')}, {first.dtype}, {first.isa}"
        yield f"multiply-add peak beside the layers, GFLOP/s: {span} ({where})"


def overview(results):
    """Per table: geometric mean and worst layer of the share of the limit and of the ratio to the fastest rival."""
    rivals = any(result.rivals for result in results)
    rows = [["", "batch", "threads", "layers", "share", "worst", "in"]]
    rows[0] += ["ratio", "worst", "in"] if rivals else []
    varying = [name for name in SETTING if len({getattr(result, name) for result in results}) > 1]
    for group in groups(results):
        first, slowest = group[0], min(group, key=lambda result: result.share)
        name = " ".join(["/".join(networks(group)), first.op, *(getattr(first, name) for name in varying)])
        row = [name, str(first.batch), str(first.threads), str(len(group))]
        row += [percent(geometric_mean(r.share for r in group)), percent(slowest.share), slowest.layer]
        rows.append(row + (_against_best(group) if rivals else []))
    yield "Geometric mean and worst layer" + (", ratio: to the fastest rival of each layer" if rivals else "")
    yield from aligned(rows, "<>>>>><>><")


def _against_best(group):
    pairs = [(result.ratio(result.best_rival), result) for result in group if result.rivals]
    if not pairs:
        return ["-", "-", ""]
    worst, where = min(pairs, key=lambda pair: pair[0])
    return [times(geometric_mean(ratio for ratio, _ in pairs)), times(worst), f"{where.layer} ({where.best_rival})"]


def absences(results):
    """Why rivals have no time, for all that were asked for."""
    asked = [reason for result in results for reason in result.absent.items() if reason[1] != NOT_ASKED]
    for (name, reason), cases in Counter(asked).items():
        yield f"{name} {reason} ({count(cases, 'case')})"


def summary(results):
    """All in one line: geometric means and the least."""
    share = geometric_mean(result.share for result in results)
    worst = min(results, key=lambda result: result.share)
    text = f"{count(len(results), 'case')}: {percent(share)} of the limit (least {percent(worst.share)}"
    pairs = [(result.ratio(result.best_rival), result) for result in results if result.rivals]
    if not pairs:
        return f"{text}: {worst.network} {worst.layer})"
    least, where = min(pairs, key=lambda pair: pair[0])
    mean = geometric_mean(ratio for ratio, _ in pairs)
    return f"{text}), {times(mean)} the best rival's speed (least {times(least)}: {where.network} {where.layer})"


def aligned(rows, alignment):
    """Rows of cells as lines; ``alignment`` has "<" or ">" for each column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, alignment, widths, strict=False)
        yield "  ".join(f"{cell:{side}{width}}" for cell, side, width in cells).rstrip()
