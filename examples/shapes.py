# SPDX-License-Identifier: BSD-3-Clause
"""The arithmetic of convolution, told on real arrays: sizes and numbers of parameters.

One learns: how large a result is, output = (input + padding - kernel) / stride + 1, rounded down; that padding "same"
keeps the size; what a stride never reads; that a 1x1 filter mixes channels; and why filters that are shared between
all places make a layer ten thousand times smaller than one where every output has weights of its own.
"""

import numpy as np
from matplotlib.figure import Figure

import fastconv as fc

rng = np.random.default_rng(0)
HEAD = f"{'image':>14}   {'filters':>18}   {'stride':>6}  {'padding':>7}   {'result':>13}   {'parameters':>10}   note"


def convolve(image, filters, stride=1, padding="valid", note=""):
    """One row of a table: the convolution is computed, and what is printed is the shape of its result."""
    x = rng.random(image, np.float32)
    weight, bias = rng.random((*filters[:2], image[2], filters[2]), np.float32), np.zeros(filters[2], np.float32)
    y = fc.conv2d(x, weight, bias, stride=stride, padding=padding)
    count = weight.size + bias.size
    kernels = f"{filters[2]} of {'x'.join(map(str, weight.shape[:3]))}"
    print(
        f"{'x'.join(map(str, image)):>14} * {kernels:>18}   {stride:>6}  {padding!s:>7} = "
        f"{'x'.join(map(str, y.shape)):>13}   {count:>10,}   {note}"
    )
    return y.shape, count


print("\nA filter is as deep as the image; each filter makes one channel of the result\n" + HEAD)
convolve((32, 32, 3), (5, 5, 1), note="32 - 5 + 1 = 28 places in each direction")
six, _ = convolve((32, 32, 3), (5, 5, 6), note="six filters: six channels; 6 * (5*5*3 + 1) parameters")
convolve(six, (5, 5, 10), note="the next layer's filters are 6 deep")

print("\nPadding: zeros around the image\n" + HEAD)
convolve((7, 7, 1), (3, 3, 1), note="valid: no padding, the image shrinks by kernel - 1")
convolve((7, 7, 1), (3, 3, 1), padding="same", note="same: a result as large as the image")
convolve((7, 7, 1), (3, 3, 1), padding=2, note="two zeros on each side: the image grows")
convolve((32, 32, 3), (5, 5, 10), padding=2, note="(kernel - 1) / 2 on each side is the same as same")

print("\nStride: how far the filter moves\n" + HEAD)
convolve((7, 7, 1), (3, 3, 1), stride=2, note="(7 - 3) / 2 + 1 = 3")
convolve(
    (7, 7, 1), (3, 3, 1), stride=3, note="(7 - 3) / 3 + 1 = 2.33, rounded down: the last row and column are unread"
)
convolve((224, 224, 3), (7, 7, 64), stride=2, padding=3, note="the first layer of a ResNet")
alexnet, shared = convolve((227, 227, 3), (11, 11, 96), stride=4, note="the first layer of AlexNet")

print("\n1x1: no look at the neighbours, only another mixture of the channels\n" + HEAD)
convolve((56, 56, 64), (1, 1, 32), note="64 channels become 32, each a mixture of the 64")
convolve((56, 56, 64), (3, 3, 64), padding="same", note="a 3x3 layer, for comparison")
convolve((56, 56, 32), (3, 3, 64), padding="same", note="the same after the 1x1 layer: half the parameters")

places = alexnet[0] * alexnet[1]
unshared = places * shared
dense = fc.linear(rng.random(100 * 100 * 3, np.float32), rng.random((100 * 100 * 3, 1000), np.float32))
dense_count = 100 * 100 * 3 * dense.size + dense.size
_, small = (
    convolve((100, 100, 3), (5, 5, 100), note="100 filters on 100x100x3") if not print(f"\nSharing\n{HEAD}") else 0
)
print(f"\n{'AlexNet, layer 1, filters shared by all places:':<60} {shared:>14,} parameters")
print(f"{f'the same with filters of its own for each of {places} places:':<60} {unshared:>14,}")
print(f"{'100x100x3, 100 filters of 5x5x3:':<60} {small:>14,}")
print(f"{'100x100x3, a dense layer of 1000 units:':<60} {dense_count:>14,}")

figure = Figure(figsize=(9, 3.2), layout="constrained")
axis = figure.subplots()
names = [
    "AlexNet's first layer:\nfilters shared by all places",
    "filters of its own\nfor every place",
    "100×100×3 image:\n100 shared filters of 5×5×3",
    "dense layer\nof 1000 units",
]
counts = [shared, unshared, small, dense_count]
axis.barh(names, counts, color=["#2b6cb0", "#c53030"] * 2, height=0.7)
for place, count in enumerate(counts):
    axis.text(count * 1.15, place, f"{count:,}", va="center", fontsize=9)
axis.set_xscale("log")
axis.set_xlim(1e3, 3e9)
axis.invert_yaxis()
axis.set_xlabel("parameters (each step of the axis is ten times as many)")
axis.set_title("What sharing saves", fontsize=11)
figure.savefig("example-shapes.png", dpi=80)
