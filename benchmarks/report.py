# SPDX-License-Identifier: BSD-3-Clause
"""The tables at the end of a run: one per operation and network, and an overview of all."""

from statistics import geometric_mean, median

LIMIT_TITLES = {"fma": "of peak", "copy": "of copy"}


def lines(results, setting):
    """All tables, line by line."""
    groups = {}
    for result in results:
        key = (result.op, result.layer.network, result.batch, result.threads)
        groups.setdefault(key, []).append(result)
    yield from _explanation(setting)
    yield from _peaks(results)
    for group in groups.values():
        yield ""
        yield from _table(group, setting.rivals)
    yield ""
    yield from _overview(groups.values(), setting.rivals)


def _explanation(setting):
    yield f"{setting.dtype} {setting.layout}, {setting.isa}, precision {setting.precision}"
    yield "time, GFLOP/s, GB/s: best round; error: relative L2 against float64"
    yield "of peak: share of the fused multiply-add peak measured in turns with the layer"
    yield "of copy: share of the speed of a copy that touches as many bytes, likewise"
    if setting.rivals:
        yield "x1.50: the rival takes 1.50 times as long as fastconv; *: the fastest rival"


def _peaks(results):
    """The multiply-add peaks that were measured: far apart, they tell of a busy machine."""
    for threads in sorted({result.threads for result in results}):
        peaks = [r.flops / r.times["fma"].best / 1e9 for r in results if r.threads == threads and r.limit == "fma"]
        if peaks:
            span = f"median {median(peaks):.0f}, from {min(peaks):.0f} to {max(peaks):.0f}"
            yield f"multiply-add peak beside the layers, {_count(threads, 'thread')}, GFLOP/s: {span}"


def _table(group, rivals):
    first = group[0]
    rivals = [name for name in rivals if any(name in result.times for result in group)]
    yield f"{_title(first)}, batch {first.batch}, {_count(first.threads, 'thread')}"
    rows = [["layer", "", "time", "GFLOP/s", "GB/s", LIMIT_TITLES[first.limit], "error"]]
    rows[0] += [f"{name} " for name in rivals]
    rows += [_row(result, rivals) for result in group]
    if len(group) > 1:
        rows.append(_mean_row(group, rivals))
    yield from _aligned(rows, "<<>>>>>" + ">" * len(rivals))


def _title(result):
    return f"{result.op}, {result.layer.network}"


def _count(number, noun):
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _row(result, rivals):
    seconds = result.ours.best
    return [
        result.layer.name,
        str(result.layer),
        _time(seconds),
        f"{result.flops / seconds / 1e9:.1f}",
        f"{result.nbytes / seconds / 1e9:.1f}" if result.nbytes else "-",
        _percent(result.share),
        f"{result.error:.0e}" if result.error else "0",
        *(_ratio(result, rival) for rival in rivals),
    ]


def _ratio(result, rival):
    if rival not in result.times:
        return "- "
    mark = "*" if rival == result.best_rival and len(result.rivals) > 1 else " "
    return f"x{result.ratio(rival):.2f}{mark}"


def _mean_row(group, rivals):
    row = ["geometric mean", "", "", "", "", _percent(geometric_mean(r.share for r in group)), ""]
    for rival in rivals:
        ratios = [result.ratio(rival) for result in group if rival in result.times]
        row.append(f"x{geometric_mean(ratios):.2f} ")
    return row


def _overview(groups, rivals):
    rows = [["", "batch", "threads", "layers", "limit", "share", "worst", "in"]]
    if rivals:
        rows[0] += ["ratio", "worst", "in"]
    for group in groups:
        first = group[0]
        slowest = min(group, key=lambda result: result.share)
        row = [_title(first), *map(str, (first.batch, first.threads, len(group))), first.limit]
        row += [_percent(geometric_mean(r.share for r in group))]
        row += [_percent(slowest.share), slowest.layer.name]
        rows.append(row + (_against_best(group) if rivals else []))
    ratio = ", ratio to the fastest rival of each layer" if rivals else ""
    yield "Geometric mean and worst layer: share of the limit" + ratio
    yield from _aligned(rows, "<>>><>><>><")


def _against_best(group):
    pairs = [(result.ratio(result.best_rival), result) for result in group if result.rivals]
    if not pairs:
        return ["-", "-", ""]
    worst, where = min(pairs, key=lambda pair: pair[0])
    mean = geometric_mean(ratio for ratio, _ in pairs)
    return [f"x{mean:.2f}", f"x{worst:.2f}", f"{where.layer.name} ({where.best_rival})"]


def _time(seconds):
    units = (("s ", 1.0), ("ms", 1e-3), ("us", 1e-6))
    unit, scale = next((pair for pair in units if seconds >= pair[1]), units[-1])
    return f"{seconds / scale:.2f} {unit}"


def _percent(share):
    return f"{share:.0%}" if share >= 0.0995 else f"{share:.1%}"


def _aligned(rows, alignment):
    """Rows of cells as lines; ``alignment`` has "<" or ">" for each column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, alignment, widths, strict=False)
        yield "  ".join(f"{cell:{side}{width}}" for cell, side, width in cells).rstrip()
