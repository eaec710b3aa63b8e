# SPDX-License-Identifier: BSD-3-Clause
"""Four ways to make feature maps smaller, or not; and dropout against overfitting.

One learns: what pooling and strides cost and save in parameters and time, and what they do to the accuracy; and how a
network that has seen few images learns them by heart, and what helps.
"""

import time

from matplotlib.figure import Figure

from fastconv import datasets, layers, models, optimizers

# Each digit somewhere on a canvas of 12 x 12 pixels.
(x, y), (x_test, y_test) = datasets.shifted_digits(12, seed=0)


def network(smaller, stride=1):
    """Two convolutions, each followed by what makes its maps smaller, and a dense layer."""
    parts = [layers.Rescaling(1 / 16, input_shape=(12, 12, 1))]
    for filters in (16, 32):
        parts += [layers.Conv2D(filters, 3, stride=stride, padding="same", activation="relu"), *smaller()]
    return models.Sequential([*parts, layers.Flatten(), layers.Dense(10)], seed=0)


ways = {
    "none": network(lambda: []),
    "stride 2": network(lambda: [], stride=2),
    "max pooling": network(lambda: [layers.MaxPooling2D(2)]),
    "average pooling": network(lambda: [layers.AveragePooling2D(2)]),
}
print(f"{'':>16} {'parameters':>10}  {'seconds':>7}  {'training':>8}  {'test':>6}")
rows = []
for name, model in ways.items():
    model.compile(optimizers.Adam(3e-3), "cross_entropy", metrics=["accuracy"])
    start = time.perf_counter()
    model.fit(x, y, batch_size=64, epochs=20, verbose=0)
    seconds = time.perf_counter() - start
    training, test = model.evaluate(x, y)[1], model.evaluate(x_test, y_test)[1]
    rows.append((name, model.count_params(), seconds, training, test))
    print(f"{name:>16} {model.count_params():>10,}  {seconds:>7.2f}  {training:>8.3f}  {test:>6.3f}")

# Few samples: half of the digits. Dropout silences half of the values at random in each training step,
# so that the network cannot rely on any one of them.
few_x, few_y = x[:700], y[:700]
histories = {}
for name, rate in (("without dropout", 0.0), ("with dropout", 0.5)):
    model = models.Sequential(
        [
            layers.Rescaling(1 / 16, input_shape=(12, 12, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dropout(rate),
            layers.Dense(128, activation="relu"),
            layers.Dropout(rate),
            layers.Dense(10),
        ],
        seed=0,
    )
    model.compile("adam", "cross_entropy", metrics=["accuracy"])
    history = model.fit(few_x, few_y, epochs=40, validation_data=(x_test, y_test), verbose=0)
    histories[name] = history.history
    last = {key: values[-1] for key, values in history.history.items()}
    print(
        f"{name:>16}: loss {last['loss']:.4f} in training, {last['val_loss']:.3f} in the test; "
        f"test accuracy {last['val_accuracy']:.3f}"
    )

figure = Figure(figsize=(11, 6.4), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(1, 1.15))
panels = (
    ("parameters", "{:,}"),
    ("seconds to train", "{:.2f}"),
    ("training accuracy", "{:.3f}"),
    ("test accuracy", "{:.3f}"),
)
for column, (axis, (title, text)) in enumerate(zip(above.subplots(1, 4, sharey=True), panels, strict=True), 1):
    values = [row[column] for row in rows]
    axis.barh([row[0] for row in rows], values, color=["#a0aec0", "#2b6cb0", "#2f855a", "#805ad5"], height=0.7)
    for place, value in enumerate(values):
        axis.text(value, place, " " + text.format(value), va="center", fontsize=9)
    axis.set_xlim(0, 1.4 * max(values))
    axis.set_title(title, fontsize=10)
    axis.set_xticks([])
    axis.tick_params(labelsize=9)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
axis.invert_yaxis()
above.suptitle("Four ways to make feature maps smaller, or not", fontsize=12)
loss, accuracy = below.subplots(1, 2)
for (name, history), colour in zip(histories.items(), ("#c53030", "#2b6cb0"), strict=True):
    epochs = range(1, len(history["loss"]) + 1)
    loss.plot(epochs, history["loss"], "--", color=colour, label=f"training, {name}")
    loss.plot(epochs, history["val_loss"], color=colour, label=f"test, {name}")
    accuracy.plot(epochs, history["val_accuracy"], color=colour, label=f"test, {name}")
loss.set_yscale("log")
loss.set_title("loss: the gap between the lines of one colour is overfitting", fontsize=10)
accuracy.set_title("accuracy", fontsize=10)
accuracy.set_ylim(0.5, 1)
for axis in (loss, accuracy):
    axis.set_xlabel("epoch")
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)
below.suptitle("Dropout against overfitting: trained on 700 digits", fontsize=12)
figure.savefig("example-pooling.png", dpi=80)
