# SPDX-License-Identifier: BSD-3-Clause
"""Cost as the work grows: batch, channels or image get larger step by step, and the speed must not fall.

A library that picks its block sizes well has no cliff: where the work grows, GFLOP/s rise or stay. `fall` is how much
they go down from one case to the next larger one, as shares of the peak measured beside each, so that a slower clock
does not count.
"""

from itertools import pairwise

from fastconv.bench.layers import Conv

BATCHES = (1, 2, 4, 8, 16, 32, 64)
CHANNELS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
IMAGES = (8, 10, 14, 20, 28, 40, 56, 80, 112, 160, 224)
KERNELS = (1, 3)
MOST = 0.25  # the largest fall that is accepted


def _conv(axis, name, size, channels, kernel):
    name = f"{axis} {kernel}x{kernel} {name}"
    return Conv("sweep", name, size, size, channels, channels, kernel, kernel, padding=kernel // 2)


def cases():
    """Pairs (layer, batch) along each axis, for 1x1 and 3x3 filters."""
    pairs = []
    for kernel in KERNELS:
        pairs += [(_conv("batch", f"n{batch}", 14, 64, kernel), batch) for batch in BATCHES]
        pairs += [(_conv("channels", f"c{channels}", 14, channels, kernel), 4) for channels in CHANNELS]
        pairs += [(_conv("image", f"{size}x{size}", size, 32, kernel), 4) for size in IMAGES]
    return pairs


def axis_of(result):
    """Axis and kernel of a sweep's result: ``batch 3x3``."""
    return result.layer.rsplit(" ", 1)[0]


def falls(results):
    """{(axis and kernel, op, threads and setting): (fall, from, to)}, the worst step of each, from sweep results.

    ``fall``: 0.1 where the share of the limit goes down by a tenth; negative where it never does.
    """
    series = {}
    for result in results:
        if result.network == "sweep":
            setting = (result.threads, result.layout, result.dtype, result.precision, result.isa)
            series.setdefault((axis_of(result), result.op, *setting), []).append(result)
    worst = {}
    for key, group in series.items():
        group.sort(key=lambda result: result.flops)
        steps = [(1 - after.share / before.share, before, after) for before, after in pairwise(group)]
        if steps:
            worst[key] = max(steps, key=lambda step: step[0])
    return worst


def lines(results):
    """The worst step of each axis, kernel and operation; nothing without a sweep."""
    found = falls(results)
    if not found:
        return
    yield f"Worst fall of the speed from one case to the next larger one (at most {MOST:.0%} is good)"
    for (axis, op, threads, *_), (fall, *step) in found.items():
        where = " -> ".join(f"{result.layer.rsplit(' ', 1)[1]} {result.share:.0%}" for result in step)
        mark = "  TOO MUCH" if fall > MOST else ""
        yield f"{axis:<12}  {op:<22}  threads {threads}  {max(fall, 0):>4.0%}  {where}{mark}"
