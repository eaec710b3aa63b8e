# SPDX-License-Identifier: BSD-3-Clause
"""LeNet-5, with the connections of its second convolution as in the paper of 1998, and as it is written today.

One learns: the network that read cheques; why its sixteen maps did not all see all six maps below (two fifths of the
weights are saved, and the maps are forced to differ); how a layer of one's own is written. With the folder of MNIST's
four files as its argument it trains on those, else on the bundled digits, enlarged to MNIST's size.
"""

import sys

import numpy as np
from matplotlib.figure import Figure

from fastconv import datasets, layers, models, optimizers

# Table I of LeCun, Bottou, Bengio and Haffner: which maps of S2 (rows) each of the sixteen maps of C3 (columns) sees.
TABLE = np.array(
    [[character == "X" for character in row] for row in (
        "X...XXX..XXXX.XX",
        "XX...XXX..XXXX.X",
        "XXX...XXX..X.XXX",
        ".XXX..XXXX..X.XX",
        "..XXX..XXXX.XX.X",
        "...XXX..XXXX.XXX",
    )]
)  # fmt: skip


class TableConv2D(layers.Conv2D):
    """A convolution whose filters see only the channels that TABLE allows: the other weights begin as 0 and stay 0."""

    def initialize(self, rng, input_shape, before_relu=False):
        super().initialize(rng, input_shape, before_relu)
        self.parameters["weight"] *= TABLE  # (5, 5, 6, 16) times (6, 16)

    def backward(self, grad_y):
        grad_x = super().backward(grad_y)
        self.gradients["weight"] *= TABLE
        return grad_x


def lenet5(second):
    """LeNet-5 around the second convolution that is given."""
    return models.Sequential(
        [
            layers.Rescaling(1 / 255),
            layers.Conv2D(6, 5, padding=2, activation="tanh"),  # C1; the padding makes 32 x 32 of 28 x 28
            layers.AveragePooling2D(2),  # S2
            second,  # C3
            layers.AveragePooling2D(2),  # S4
            layers.Flatten(),
            layers.Dense(120, activation="tanh"),  # C5
            layers.Dense(84, activation="tanh"),  # F6
            layers.Dense(10),
        ],
        input_shape=(28, 28, 1),
        seed=0,
    )


if len(sys.argv) > 1:
    (x, y), (x_test, y_test) = datasets.load_mnist(sys.argv[1])
    epochs = 2
else:
    (x, y), (x_test, y_test) = datasets.enlarged_digits(28)
    epochs = 15

found = {}
for name, second in (
    ("connections of 1998", TableConv2D(16, 5, activation="tanh")),
    ("all connections", layers.Conv2D(16, 5, activation="tanh")),
):
    model = lenet5(second)
    model.compile(optimizers.Adam(2e-3), "cross_entropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=64, epochs=epochs, validation_data=(x_test, y_test), verbose=0)
    used = np.count_nonzero(second.parameters["weight"]) + 16
    total = model.count_params() - second.parameters["weight"].size - 16 + used
    found[name] = history.history["val_accuracy"], second.parameters["weight"].copy()
    accuracy = history.history["val_accuracy"][-1]
    print(f"{name:>20}: {used:,} parameters in C3, {total:,} in all, test accuracy {accuracy:.4f}")
print(f"today's network is fastconv.models.lenet5(padding=2): {models.lenet5((28, 28, 1), padding=2).count_params():,}")

figure = Figure(figsize=(11, 4.2), layout="constrained")
left, *sheets = figure.subplots(1, 3, width_ratios=(0.9, 1, 1))
for (name, (accuracies, weight)), axis, colour in zip(found.items(), sheets, ("#2b6cb0", "#dd6b20"), strict=True):
    epoch = range(1, epochs + 1)
    left.plot(epoch, accuracies, ".-", color=colour, label=f"{name}: {accuracies[-1]:.3f}")
    sheet = np.full((6 * 6 - 1, 16 * 6 - 1), np.nan)
    for row in range(6):
        for column in range(16):
            if weight[:, :, row, column].any():
                sheet[row * 6 : row * 6 + 5, column * 6 : column * 6 + 5] = weight[:, :, row, column]
    axis.imshow(sheet, cmap="RdBu_r", vmin=-0.4, vmax=0.4, aspect="auto", interpolation="nearest")
    axis.set_xticks(np.arange(16) * 6 + 2, range(16), fontsize=7)
    axis.set_yticks(np.arange(6) * 6 + 2, range(6), fontsize=7)
    axis.set_xlabel("map of C3")
    axis.set_ylabel("map of S2")
    axis.set_title(f"filters of C3, {name}", fontsize=10)
left.set_title("test accuracy", fontsize=10)
left.set_xlabel("epoch")
left.xaxis.get_major_locator().set_params(integer=True)
left.legend(fontsize=8, loc="lower right")
left.grid(alpha=0.3)
figure.suptitle(
    "LeNet-5: sixteen maps that see some of the six maps below (white: no connection), or all of them", fontsize=12
)
figure.savefig("example-lenet5.png", dpi=80)
