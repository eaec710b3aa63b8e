# SPDX-License-Identifier: BSD-3-Clause
"""Convolution of text: tell lines of code from lines of prose, both taken from Python's own standard library.

One learns: that a filter slides along a sequence of letters as it does over an image, with the same weights at every
place; that the largest answer, wherever it was, is enough to decide; and which letters the filters came to look for.
"""

import ast
import sysconfig
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fastconv import layers, models

LENGTH, WIDTH = 48, 5  # letters of a line, letters under a filter
LETTERS = [chr(code) for code in range(32, 127)]
rng = np.random.default_rng(0)


def lines_of(path):
    """Lines of prose (docstrings) and of code of a source file, without the white space around them."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    nodes = (node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)))
    texts = {node: ast.get_docstring(node) or "" for node in nodes}
    prose = [line.strip() for text in texts.values() for line in text.splitlines() if ">>>" not in line]
    spans = [range(n.body[0].lineno, n.body[0].end_lineno + 1) for n in texts if texts[n]]
    inside = {number for span in spans for number in span}
    code = [line.strip() for number, line in enumerate(source.splitlines(), 1) if number not in inside]
    return prose, [line for line in code if "#" not in line]


def data_set(files, count):
    """One-hot letters (N, LENGTH, letters), labels 0 prose and 1 code, and the lines."""
    prose, code = (
        sorted({line for line in kind if LENGTH // 2 <= len(line) <= LENGTH and set(line) <= set(LETTERS)})
        for kind in map(lambda lists: sum(lists, []), zip(*map(lines_of, files), strict=True))
    )
    lines = [*rng.choice(prose, count, replace=False), *rng.choice(code, count, replace=False)]
    x = np.zeros((len(lines), LENGTH, len(LETTERS)), np.float32)
    for row, line in enumerate(lines):
        x[row, np.arange(len(line)), [ord(letter) - 32 for letter in line]] = 1
    return x, np.repeat([0, 1], count), lines


files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
x, y, _ = data_set([file for index, file in enumerate(files) if index % 4], 2500)
x_test, y_test, lines = data_set(files[::4], 700)  # other files

model = models.Sequential(
    [
        layers.Conv1D(24, WIDTH, activation="relu"),
        layers.GlobalMaxPooling1D(),  # of each filter the largest answer along the line
        layers.Dense(2),
    ],
    input_shape=x.shape[1:],
    seed=0,
)
model.compile("adam", "cross_entropy", metrics=["accuracy"])
model.fit(x, y, batch_size=64, epochs=8, verbose=0)
print(f"{model.count_params():,} parameters, test accuracy {model.evaluate(x_test, y_test)[1]:.4f}")

# Which letters does each filter look for? Those that excite it most in the test lines, and its largest weights.
answers = model.layers[0].forward(x_test)  # (N, places, filters)
says = model.layers[-1].parameters["weight"] @ np.float32([-1, 1])  # above 0: the filter speaks for code
common = x.mean(axis=(0, 1)) > 0.003  # weights of letters that hardly occur are still those of the start
order = np.argsort(says)
chosen = [*order[:6], *order[-6:]]
figure = Figure(figsize=(11, 6), layout="constrained")
for axis, number in zip(figure.subplots(2, 6).flat, chosen, strict=True):
    kind, colour = ("code", "#2b6cb0") if says[number] > 0 else ("prose", "#dd6b20")
    best = np.argsort(-answers[:, :, number].max(axis=1), kind="stable")
    starts = answers[best, :, number].argmax(axis=1)
    pieces = [lines[i].ljust(LENGTH)[s : s + WIDTH] for i, s in zip(best, starts, strict=True)]
    pieces = list(dict.fromkeys(pieces))[:4]
    print(f"filter {number:>2} speaks for {kind:>5}: {pieces}")
    weight = model.layers[0].parameters["weight"][:, :, number] * common  # (WIDTH, letters)
    for place in range(WIDTH):
        for rank, letter in enumerate(np.argsort(-weight[place])[:4]):
            size = 22 * max(weight[place, letter], 0) / weight.max()
            text = LETTERS[letter].replace(" ", "␣").replace("$", r"\$")
            axis.text(
                place,
                -rank,
                text,
                fontsize=max(size, 4),
                ha="center",
                va="center",
                color=colour,
                family="DejaVu Sans Mono",
            )
    axis.text(
        (WIDTH - 1) / 2,
        -4.3,
        "\n".join(piece.replace(" ", "␣").replace("$", r"\$") for piece in pieces),
        fontsize=11,
        ha="center",
        va="top",
        family="DejaVu Sans Mono",
    )
    axis.set_xlim(-0.7, WIDTH - 0.3)
    axis.set_ylim(-7.6, 0.7)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(f"filter {number}: {kind}", fontsize=10, color=colour)
figure.suptitle(
    "What filters of five letters look for: above, the letters of largest weight at each place (␣ is a space);\n"
    "below, pieces of unseen lines that excite the filter most",
    fontsize=11,
)
figure.savefig("example-text.png", dpi=80)
