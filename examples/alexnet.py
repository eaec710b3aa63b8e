# SPDX-License-Identifier: BSD-3-Clause
"""AlexNet on one image: its layers, where its parameters and its work are, and how fast it trains on this machine.

One learns: that the convolutions of a large network do nearly all the work and its dense layers hold nearly all the
parameters; what that means for memory; and how far 224 x 224 pixels shrink. The weights are fresh: nobody trains
AlexNet in a minute, so its maps show what random filters answer.
"""

import math
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

from fastconv import layers, models, plot

photograph = imread(Path(__file__).parent / "data" / "cat.png")[:, :, :3]
image = photograph[40:264, 120:344].astype(np.float32)  # 224 x 224 pixels of the cat

model = models.alexnet(seed=0)
model.build()
model.summary()
print(f"five largest of 1000 scores for the cat, from random weights: {np.sort(model.predict(image[None])[0])[-5:]}")

rows = []  # name, parameters, multiplications, bytes of the result
shape = model.input_shape
for layer in model.layers:
    shape = layer.output_shape(shape)
    if isinstance(layer, (layers.Conv2D, layers.Dense)):
        weight = layer.parameters["weight"].size
        places = shape[0] * shape[1] if isinstance(layer, layers.Conv2D) else 1
        rows.append((layer.name, weight + layer.parameters["bias"].size, weight * places, 4 * math.prod(shape)))

# Training steps: forward, loss, backward, update, on batches of pieces of the photograph with invented labels.
rng = np.random.default_rng(0)
BATCH, STEPS = 8, 4
corners = rng.integers(0, (300 - 224, 451 - 224), (BATCH, 2))
x = np.stack([photograph[top : top + 224, left : left + 224] for top, left in corners]) - 0.5
y = rng.integers(0, 1000, BATCH)
model.compile("sgd", "cross_entropy")
losses = [model.train_step(x, y)]  # the first step allocates
start = time.perf_counter()
losses += [model.train_step(x, y) for _ in range(STEPS)]
seconds = (time.perf_counter() - start) / STEPS
parameters = 4 * model.count_params()
results = BATCH * sum(row[3] for row in rows)
print(f"{1 / seconds:.2f} training steps of {BATCH} images a second; loss {losses[0]:.3f} -> {losses[-1]:.3f}")
print(
    f"memory: parameters {parameters / 2**20:.0f} MiB, as much again for their gradients, "
    f"results of these layers for {BATCH} images {results / 2**20:.0f} MiB"
)

figure = Figure(figsize=(11, 7.6), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(1, 1.5))
titles = ("parameters (millions)", "multiplications for one image (millions)", "memory of one image's results (KiB)")
for column, (axis, title, unit) in enumerate(
    zip(above.subplots(1, 3, sharey=True), titles, (1e6, 1e6, 1024), strict=True), 1
):
    values = [row[column] / unit for row in rows]
    colours = ["#2b6cb0" if row[0].startswith("conv") else "#dd6b20" for row in rows]
    axis.barh([row[0] for row in rows], values, color=colours, height=0.75)
    for place, value in enumerate(values):
        axis.text(value, place, f" {value:.3g}" if value < 100 else f" {value:.0f}", va="center", fontsize=8)
    axis.set_xlim(0, 1.2 * max(values))
    axis.set_title(title, fontsize=10)
    axis.set_xticks([])
    axis.spines[["top", "right", "bottom"]].set_visible(False)
axis.invert_yaxis()
above.suptitle(
    "AlexNet: the convolutions (blue) do the work, the dense layers (orange) hold the parameters", fontsize=12
)
shown = [layer for layer in model.layers if isinstance(layer, (layers.Conv2D, layers.MaxPooling2D))]
plot.feature_maps(model, image, layers=shown[:2] + shown[3:5] + shown[-1:], figure=below)
figure.savefig("example-alexnet.png", dpi=80)
