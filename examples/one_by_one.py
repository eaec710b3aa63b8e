# SPDX-License-Identifier: BSD-3-Clause
"""The same network with and without interspersed 1x1 convolutions.

One learns: that a 1x1 convolution, which looks at one pixel at a time and only mixes its channels, makes the expensive
3x3 layers behind it cheap by handing them fewer channels; what that saves, and what it costs in accuracy when the
channels become too few.
"""

import time

from matplotlib.figure import Figure

from fastconv import datasets, layers, models, optimizers

(x, y), (x_test, y_test) = datasets.shifted_digits(12, seed=0)  # on canvases of 12 x 12 pixels


def network(squeeze):
    """Three 3x3 layers; with ``squeeze`` the second and third are fed by a 1x1 layer of so many filters."""
    parts = [layers.Rescaling(1 / 16, input_shape=(12, 12, 1))]
    for filters in (64, 64, 128):
        if squeeze and len(parts) > 1:
            parts.append(layers.Conv2D(squeeze, 1, activation="relu"))
        parts.append(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        parts.append(layers.MaxPooling2D(2))
    return models.Sequential([*parts, layers.Flatten(), layers.Dense(10)], seed=0)


def multiplications(model):
    """Of one image: for each layer, its weights times the places at which they are used."""
    shape, count = model.input_shape, 0
    for layer in model.layers:
        shape = layer.output_shape(shape)
        if isinstance(layer, layers.Conv2D):
            count += layer.parameters["weight"].size * shape[0] * shape[1]
        elif isinstance(layer, layers.Dense):
            count += layer.parameters["weight"].size
    return count


rows = []
print(f"{'':>24} {'parameters':>10}  {'multiplications':>15}  {'seconds':>7}  {'test accuracy':>13}")
for name, squeeze in (("3x3 alone", 0), ("1x1 to 32, then 3x3", 32), ("1x1 to 16, then 3x3", 16)):
    model = network(squeeze)
    model.compile(optimizers.Adam(2e-3), "cross_entropy", metrics=["accuracy"])
    start = time.perf_counter()
    model.fit(x, y, batch_size=64, epochs=15, verbose=0)
    seconds = time.perf_counter() - start
    accuracy = model.evaluate(x_test, y_test)[1]
    rows.append((name, model.count_params(), multiplications(model), seconds, accuracy))
    print(f"{name:>24} {model.count_params():>10,}  {multiplications(model):>15,}  {seconds:>7.2f}  {accuracy:>13.3f}")
model.summary()

figure = Figure(figsize=(11, 2.7), layout="constrained")
titles = (("parameters", "{:,}"), ("multiplications for an image", "{:,}"), ("seconds to train", "{:.1f}"))
titles += (("test accuracy", "{:.3f}"),)
for column, (axis, (title, text)) in enumerate(zip(figure.subplots(1, 4, sharey=True), titles, strict=True), 1):
    values = [row[column] for row in rows]
    axis.barh([row[0] for row in rows], values, color=["#a0aec0", "#2b6cb0", "#2f855a"], height=0.7)
    for place, value in enumerate(values):
        axis.text(value, place, " " + text.format(value), va="center", fontsize=9)
    axis.set_xlim(0, 1.5 * max(values))
    axis.set_title(title, fontsize=10)
    axis.set_xticks([])
    axis.tick_params(labelsize=9)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
axis.invert_yaxis()
figure.suptitle("With and without 1×1 convolutions between the 3×3 ones", fontsize=12)
figure.savefig("example-one_by_one.png", dpi=80)
