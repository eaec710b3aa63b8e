# SPDX-License-Identifier: BSD-3-Clause
"""A photograph through hand-made filters: convolution, ReLU and 2x2 max pooling, three times.

One learns: what a filter is (a few numbers that one can write down), that it answers where the image looks like it,
and how an image shrinks and deepens on its way through a convolutional network. Nothing here is trained.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

import fastconv as fc

photograph = imread(Path(__file__).parent / "data" / "cat.png")[:, :, :3]  # 300 x 451 pixels, 3 channels, 0 to 1

# Filters for grey images, 3 x 3 numbers each. Their sum is 0, so that they are silent where the image is flat.
edge = np.float32([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4  # dark on the left, bright on the right
spot = np.float32([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]) / 8  # bright in the middle
blur = np.float32([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16  # the only one that sums to 1
grey, red_green, blue_yellow = np.float32([[1, 1, 1], [3, -3, 0], [-1.5, -1.5, 3]]) / 3  # mixtures of the channels

# The first layer: each filter has 3 x 3 numbers for each of the three channels, a shape times a mixture of colours.
first = {
    "blur": (blur, grey),
    "edge, bright right": (edge, grey),
    "edge, bright left": (-edge, grey),
    "edge, bright below": (edge.T, grey),
    "edge, bright above": (-edge.T, grey),
    "bright spot": (spot, grey),
    "redder than green": (blur, red_green),
    "yellow, not blue": (blur, -blue_yellow),
}
weight_1 = np.stack([shape[:, :, None] * mixture for shape, mixture in first.values()], axis=-1)


# Later layers: two filters for each channel there is. One blurs the channel, one looks for spots in it.
def deeper(channels):
    weight = np.zeros((3, 3, channels, 2 * channels), np.float32)
    for channel in range(channels):
        weight[:, :, channel, 2 * channel] = blur
        weight[:, :, channel, 2 * channel + 1] = 2 * spot
    return weight


stages, x = [photograph], photograph
for weight in (weight_1, deeper(8), deeper(16)):
    before = x.shape
    x = fc.conv2d(x, weight, padding="same", activation="relu")  # a filter may answer below zero: ReLU makes that 0
    x = fc.max_pool2d(x, 2)  # of each 2 x 2 pixels the largest: half the height, half the width
    print(f"{before} -> {weight.shape[3]} filters {weight.shape[:3]}, ReLU, pooling -> {x.shape}")
    stages.append(x)
edges = stages[1][:, :, 1]
print(
    f"edges: {np.mean(edges > 0.1):.1%} of the pixels answer with more than 0.1, {np.mean(edges == 0):.0%} are silent"
)

figure = Figure(figsize=(11, 7.6), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.05))

# Above: every stage in its true proportions; the channels lie on one another like cards.
axis = top.subplots()
axis.set_axis_off()
axis.set_aspect("equal")
left = 0
for stage in stages:
    height, width, channels = stage.shape
    cards = [stage] if channels == 3 else [stage[:, :, k] / max(stage[:, :, k].max(), 1e-6) for k in range(channels)]
    step = 90 / len(cards) if len(cards) > 1 else 0
    for k, card in enumerate(cards):
        x0, y0 = left + step * k, -step * k * 0.6
        axis.imshow(card, cmap="gray", vmin=0, vmax=1, extent=(x0, x0 + width, y0 - height, y0), zorder=k)
        axis.plot([x0, x0 + width, x0 + width], [y0, y0, y0 - height], color="white", linewidth=0.4, zorder=k)
    axis.text(left, 12, f"{height} × {width} × {channels}", fontsize=10)
    left += width + step * (len(cards) - 1) + 50
axis.set_xlim(-5, left)
axis.set_ylim(-305, 40)
axis.set_title("Shrinking and deepening: after each layer half as high, half as wide, and more channels", fontsize=12)

# Below: what each filter of the first layer answered.
for axis, name, answer in zip(bottom.subplots(2, 4).flat, first, np.moveaxis(stages[1], -1, 0), strict=True):
    axis.imshow(answer, cmap="gray", vmin=0, vmax=np.quantile(answer, 0.995))
    axis.set_title(name, fontsize=10)
    axis.set_axis_off()
bottom.suptitle(
    "The eight channels after the first layer: bright where the filter found what it looks for", fontsize=12
)
figure.savefig("example-cat.png", dpi=72)
