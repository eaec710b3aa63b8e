# SPDX-License-Identifier: BSD-3-Clause
"""Which way does a digit move? Convolution over time as well as over the image.

One learns: that a filter of a 3-D convolution spans several frames and so can see motion. The digits leave the image
on one side and come in on the other, so that no single frame tells a direction. With its frames in random order
the same network can at best tell along which axis a digit moves.
"""

import numpy as np
from matplotlib.figure import Figure

from fastconv import datasets, layers, models

FRAMES, SIZE = 6, 12
NAMES = ("right", "down", "left", "up")
(x, y), (x_test, y_test) = datasets.moving_digits(FRAMES, SIZE, count=(1500, 300), seed=0)
order = np.random.default_rng(0).permuted(np.tile(np.arange(FRAMES), (len(x_test), 1)), axis=1)
shuffled = x_test[np.arange(len(x_test))[:, None], order]

model = models.Sequential(
    [
        layers.Rescaling(1 / 16),
        layers.Conv3D(16, (3, 5, 5), stride=(1, 2, 2), padding="same", activation="relu"),
        layers.Conv3D(32, 3, stride=2, padding="same", activation="relu"),
        layers.Flatten(),
        layers.Dense(4),
    ],
    input_shape=x.shape[1:],
    seed=0,
)
model.compile("adam", "cross_entropy", metrics=["accuracy"])
history = model.fit(x, y, batch_size=64, epochs=10, validation_data=(x_test, y_test), verbose=0)
accuracy, without = model.evaluate(x_test, y_test)[1], model.evaluate(shuffled, y_test)[1]
print(f"{model.count_params():,} parameters, test accuracy {accuracy:.3f}; with the frames shuffled {without:.3f}")

figure = Figure(figsize=(11, 6.2), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(1.5, 1))
said = model.predict(x_test).argmax(axis=1)
axes = left.subplots(4, FRAMES)
for direction, row in enumerate(axes):
    number = np.flatnonzero(y_test == direction)[0]
    for frame, axis in enumerate(row):
        axis.imshow(x_test[number, frame, :, :, 0], cmap="gray")
        axis.set_xticks([])
        axis.set_yticks([])
        if direction == 0:
            axis.set_title(f"frame {frame}", fontsize=9)
    row[0].set_ylabel(f"{NAMES[direction]}\n(said: {NAMES[said[number]]})", fontsize=9)
left.suptitle("One video of each direction", fontsize=11)

above, below = right.subplots(2, 1)
above.bar(
    ["frames\nin order", "frames\nshuffled", "guessing"],
    [accuracy, without, 0.25],
    color=["#2b6cb0", "#c53030", "#a0aec0"],
)
for place, value in enumerate((accuracy, without, 0.25)):
    above.text(place, value, f"{value:.2f}", ha="center", va="bottom", fontsize=9)
above.set_ylim(0, 1.15)
above.set_title("test accuracy", fontsize=10)
weight = model.layers[1].parameters["weight"][..., 0, :]  # (3, 5, 5, filters)
change = np.abs(weight[0] - weight[2]).sum(axis=(0, 1)) / np.abs(weight).sum(axis=(0, 1, 2))
best = np.argsort(-change)[:4]
sheet = np.full((4 * 6 - 1, 3 * 6 - 1), np.nan)
for place, number in enumerate(best):
    for frame in range(3):
        sheet[place * 6 : place * 6 + 5, frame * 6 : frame * 6 + 5] = weight[frame, :, :, number]
below.imshow(sheet.T, cmap="RdBu_r", vmin=-np.nanmax(abs(sheet)), vmax=np.nanmax(abs(sheet)))
below.set_xticks(np.arange(4) * 6 + 2, [f"filter {number}" for number in best], fontsize=9)
below.set_yticks(np.arange(3) * 6 + 2, ["frame before", "frame", "frame after"], fontsize=9)
below.set_title("filters that change most from frame to frame", fontsize=10)
figure.savefig("example-video.png", dpi=80)
