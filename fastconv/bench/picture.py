# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of results: bars of the ratio to the fastest rival, and a roofline. They need matplotlib."""

import math
import os
import textwrap
from statistics import geometric_mean, median

from fastconv.bench import machine, tables
from fastconv.bench.operations import title
from fastconv.bench.rivals import RIVALS

FASTER, SLOWER, GREY = "#2b6cb0", "#c53030", "#555555"
LABEL = "56x56x128->256 3x3/2: image of 56 x 56 pixels with 128 channels, 256 filters of 3 x 3, stride 2; dw: depthwise"
NAMES = {
    "torch": "PyTorch",
    "torch-cl": "PyTorch, channels_last",
    "torch-bl": "PyTorch, oneDNN's blocked tensors",
    "torch-bf": "PyTorch, bfloat16",
    "onnxrt": "ONNX Runtime",
    "jax": "JAX",
}
COLOURS = ["#2b6cb0", "#dd6b20", "#2f855a", "#805ad5"]
MARKERS = "osD^vPX*<>"
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}  # behind text that crosses lines
ROWS = 64  # of a picture of bars; more networks go to the next picture
ROW_INCHES = 0.2
LETTERS_PER_INCH = 13


def write(results, folder):
    """Draw everything into the folder; returns the paths of the files."""
    import matplotlib

    matplotlib.use("Agg")
    paths = []
    for family in tables.by(_picture_key, results.results):
        stem = "-".join(str(part) for part in _picture_key(family[0])).replace(" ", "_")
        pages = _pages([result for result in family if result.rivals])
        for number, page in enumerate(pages, 1):
            part = f"-{number}" if len(pages) > 1 else ""
            paths.append(os.path.join(folder, f"ratios-{stem}{part}.png"))
            bars(page, results.machine, paths[-1])
        if family[0].op.startswith("conv2d"):
            paths.append(os.path.join(folder, f"roofline-{stem}.png"))
            roofline(family, results, paths[-1])
    return paths


def _picture_key(result):
    """What the results of one picture have in common: an operation with its gradients is one family."""
    family = result.op.split("_backward")[0]
    threads = f"threads{result.threads}"
    return family, f"batch{result.batch}", threads, result.layout, result.dtype, result.precision, result.isa


def _subtitle(result, description):
    parts = [f"batch {result.batch}", tables.count(result.threads, "thread"), result.layout, result.dtype]
    parts += [f'precision "{result.precision}"'] if result.dtype == "float32" else []
    return ", ".join(parts) + "\n" + machine.one_line(description)


# ---------------------------------------------------------------- bars


def _pages(results):
    """Results for each picture: whole networks, as many as fit."""
    pages, rows = [], ROWS + 1
    for group in tables.by(lambda result: result.network, results):
        need = 2 + max(map(len, tables.by(lambda result: result.op, group)))
        if rows + need > ROWS:
            pages.append([])
            rows = 0
        pages[-1] += group
        rows += need
    return pages


def bars(results, description, path):
    """One panel for each operation: each layer's ratio to its fastest rival, sorted within a network."""
    from matplotlib import pyplot

    panels = tables.by(lambda result: result.op, results)
    rows = max(len(panel) + 2 * len(tables.networks(panel)) for panel in panels)
    size = (1 + 5.6 * len(panels), 2.2 + ROW_INCHES * rows)
    figure, axes = pyplot.subplots(1, len(panels), figsize=size, squeeze=False, layout="constrained")
    low, high = _limits(results)
    for panel, axis in zip(panels, axes[0], strict=True):
        _panel(axis, panel, rows, low, high)
    timed = {name for result in results for name in result.rivals}
    names = "; ".join(f"{name}: {NAMES[name]}" for name in RIVALS if name in timed)
    question = "How many times faster is fastconv than the fastest other library?"
    figure.suptitle(f"{question}\n{_subtitle(results[0], description)}", fontsize=12)
    notes = [textwrap.fill(note, int(LETTERS_PER_INCH * size[0])) for note in (LABEL, f"Other libraries: {names}")]
    figure.supxlabel("\n".join(notes), fontsize=9, color=GREY)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _limits(results):
    """Ends of the axis: all bars, the line at 1, and room for the text at the ends of the bars."""
    ratios = [result.ratio(result.best_rival) for result in results]
    low, high = min(0.8, *ratios), max(1.25, *ratios)
    room = max(1.6, (high / low) ** 0.4)
    return low / room, high * room


def _panel(axis, panel, rows, low, high):
    y, ticks, labels = 0, [], []
    for group in tables.by(lambda result: result.network, panel):
        ratios = [result.ratio(result.best_rival) for result in group]
        text = f"{group[0].network}: geometric mean ×{geometric_mean(ratios):.2f}"
        place = {"transform": axis.get_yaxis_transform(), "va": "center", "bbox": PAPER}
        axis.text(0.015, y + 0.1, text, fontsize=9, weight="bold", **place)
        y += 1
        for ratio, result in sorted(zip(ratios, group, strict=True), key=lambda pair: -pair[0]):
            axis.barh(y, ratio - 1, left=1, height=0.75, color=FASTER if ratio >= 1 else SLOWER)
            faster = ratio >= 1
            axis.annotate(
                f"×{ratio:.2f} {result.best_rival}",
                (ratio, y),
                xytext=(3 if faster else -3, 0),
                textcoords="offset points",
                ha="left" if faster else "right",
                va="center",
                fontsize=7,
                color=GREY,
            )
            ticks.append(y)
            labels.append(f"{result.layer}  {result.problem}")
            y += 1
        y += 1
    axis.axvline(1, color="black", linewidth=1)
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    axis.set_ylim(rows - 0.5, -0.8)
    axis.set_yticks(ticks, labels, fontsize=7)
    steps = [step for step in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if low < step < high]
    axis.set_xticks(steps, [f"×{step:g}" for step in steps])
    axis.minorticks_off()
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.set_title(title(panel[0].op), fontsize=11)
    axis.set_xlabel("time of the fastest other library / time of fastconv\n← fastconv is slower | fastconv is faster →")


# ---------------------------------------------------------------- roofline


def roofline(family, results, path):
    """Arithmetic intensity against speed: a dot for each layer and operation, under the machine's two limits."""
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(10, 6.8), layout="constrained")
    networks = tables.networks(family)
    for colour, group in zip(COLOURS, tables.by(lambda result: result.op, family), strict=False):
        for index, network in enumerate(networks):
            mine = [result for result in group if result.network == network]
            axis.plot(
                [result.flops / result.bytes for result in mine],
                [result.gflops for result in mine],
                MARKERS[index % len(MARKERS)],
                color=colour,
                markersize=6,
                alpha=0.75,
                markeredgewidth=0,
            )
    _roof(axis, family, results.bandwidth.get(family[0].threads))
    _legends(axis, family, networks)
    axis.set_xlabel("arithmetic intensity of the layer: operations per byte of its arrays, each touched once (FLOP/B)")
    axis.set_ylabel("speed of fastconv (GFLOP/s)")
    figure.suptitle(
        "How close is fastconv to what this machine can do? Each dot is a layer; the lines are the limits\n"
        + _subtitle(family[0], results.machine),
        fontsize=12,
    )
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _roof(axis, family, bandwidth):
    """The two limits, and axes that hold them and all dots."""
    peaks = [result.peak_gflops for result in family]
    peak = median(peaks)
    intensities = [result.flops / result.bytes for result in family]
    left, right = min(intensities) / 1.6, max(intensities) * 1.6
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.axhspan(min(peaks), max(peaks), color="black", alpha=0.1, linewidth=0)
    axis.axhline(peak, color="black", linewidth=1.2)
    text = (
        f"multiply-adds on registers: {peak:.0f} GFLOP/s (seen beside the layers: {min(peaks):.0f} to {max(peaks):.0f})"
    )
    axis.text(right / 1.03, max(peaks) * 1.05, text, fontsize=9, ha="right", va="bottom")
    bottom = min(result.gflops for result in family) / 1.6
    if bandwidth:
        rate = bandwidth / 1e9
        left = min(left, 0.15 * peak / rate)
        bottom = min(bottom, rate * left)
        axis.plot([left, peak / rate], [rate * left, peak], color="black", linewidth=1.2, linestyle="--")
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, 1.8 * max(max(peaks), *(result.gflops for result in family)))
    axis.grid(which="both", alpha=0.2)
    if bandwidth:
        _along(axis, (left, rate * left), (peak / rate, peak), f"memory: a copy moves {rate:.1f} GB/s")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(lambda value, _: f"{value:g}")


def _along(axis, start, end, text):
    """A text above the middle of a line, as steep as the line is drawn."""
    axis.figure.draw_without_rendering()  # the layout decides how steep
    (x0, y0), (x1, y1) = axis.transData.transform([start, end])
    middle = axis.transData.inverted().transform(((x0 + x1) / 2, (y0 + y1) / 2))
    angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
    turned = {"rotation": angle, "rotation_mode": "anchor", "ha": "center", "va": "bottom"}
    axis.annotate(text, middle, xytext=(-6, 5), textcoords="offset points", fontsize=9, **turned)


def _legends(axis, family, networks):
    from matplotlib.lines import Line2D

    ops = list(dict.fromkeys(result.op for result in family))
    colours = [Line2D([], [], marker="s", linestyle="", color=colour) for colour in COLOURS]
    first = axis.legend(colours[: len(ops)], [title(op) for op in ops], loc="lower right", fontsize=8, title="colour")
    if len(networks) > 1:
        axis.add_artist(first)
        shapes = [Line2D([], [], marker=marker, linestyle="", color=GREY) for marker in MARKERS]
        axis.legend(shapes[: len(networks)], networks, loc="lower center", fontsize=8, title="shape", ncols=2)
