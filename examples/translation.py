# SPDX-License-Identifier: BSD-3-Clause
"""Digits are seen on the left half of a canvas only, and then shown on the right.

One learns: why images are convolved. Filters are the same at every place and pooling forgets the place, so what was
learned on the left holds on the right. A dense network of as many parameters learns each place for itself: where it
has seen no digit, it guesses.
"""

import numpy as np
from matplotlib.figure import Figure

from fastconv import datasets, layers, models

HEIGHT, WIDTH, DIGIT = 12, 32, 8
LAST_LEFT = WIDTH // 2 - DIGIT  # a digit that begins here ends with the left half
(x, y), _ = datasets.shifted_digits((HEIGHT, WIDTH), columns=(0, LAST_LEFT), seed=0)
(more_x, more_y), _ = datasets.shifted_digits((HEIGHT, WIDTH), columns=(0, LAST_LEFT), seed=1)
x, y = np.concatenate([x, more_x]), np.concatenate([y, more_y])
# The digits of other writers, at each column of the canvas in turn.
tests = [datasets.shifted_digits((HEIGHT, WIDTH), columns=c, seed=2)[1] for c in range(WIDTH - DIGIT + 1)]

convolutional = models.Sequential(
    [
        layers.Rescaling(1 / 16),
        layers.Conv2D(24, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(48, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10),
    ],
    input_shape=x.shape[1:],
    seed=0,
)
dense = models.Sequential(
    [
        layers.Rescaling(1 / 16),
        layers.Flatten(),
        layers.Dense(98, activation="relu"),
        layers.Dense(10),
    ],
    input_shape=x.shape[1:],
    seed=0,
)

figure = Figure(figsize=(9, 5.2), layout="constrained")
above, below = figure.subplots(2, 1, height_ratios=(1, 2.2))
above.imshow(np.concatenate([tests[3][0][7], tests[20][0][7]], axis=0)[..., 0], cmap="gray")
above.axhline(HEIGHT - 0.5, color="white", linewidth=1)
above.axvline(WIDTH / 2 - 0.5, color="#dd6b20", linewidth=1.5, linestyle="--")
above.set_axis_off()
above.set_title("Trained on digits in the left half only; tested on digits of other writers everywhere", fontsize=11)

for name, model, colour in (("convolutional", convolutional, "#2b6cb0"), ("dense", dense, "#c53030")):
    model.compile("adam", "cross_entropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=64, epochs=20, verbose=0)
    accuracy = np.array([model.evaluate(*test)[1] for test in tests])
    seen, unseen = accuracy[: LAST_LEFT + 1].mean(), accuracy[WIDTH // 2 :].mean()
    print(
        f"{name:>13}: {model.count_params():,} parameters, accuracy {seen:.3f} on the left, {unseen:.3f} on the right"
    )
    below.plot(100 * accuracy, ".-", color=colour, label=f"{name} network, {model.count_params():,} parameters")

below.axhline(10, color="#555555", linewidth=0.8, linestyle=":")
below.text(12, 11.5, "guessing", ha="center", fontsize=8, color="#555555")
below.axvspan(0, LAST_LEFT, color="#2f855a", alpha=0.12, linewidth=0)
below.text(0.2, 3, "columns seen in training", fontsize=9, color="#2f855a")
below.axvspan(WIDTH // 2, WIDTH - DIGIT, color="#dd6b20", alpha=0.12, linewidth=0)
below.text(WIDTH // 2 + 0.2, 65, "right half: never seen", fontsize=9, color="#dd6b20")
below.set_xlim(0, WIDTH - DIGIT)
below.set_ylim(0, 100)
below.set_xlabel("column where the digit begins")
below.set_ylabel("test accuracy (%)")
below.legend(loc="center right", fontsize=9)
below.grid(alpha=0.3)
figure.savefig("example-translation.png", dpi=80)
