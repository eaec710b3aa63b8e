# SPDX-License-Identifier: BSD-3-Clause
"""An autoencoder that draws digits: eight numbers in, an image out.

One learns: what a transposed convolution is for (it goes from small maps to large ones, the way back of a convolution
with a stride), that a network can learn without labels, and that between two digits lie images that look like digits.
"""

import numpy as np
from matplotlib.figure import Figure

from fastconv import datasets, layers, losses, models, optimizers

(x, y), (x_test, y_test) = datasets.load_digits()
x, x_test = (images.astype(np.float32) / 16 for images in (x, x_test))
CODE = 8

encoder = [
    layers.Conv2D(16, 3, stride=2, padding="same", activation="relu"),  # 8 x 8 to 4 x 4
    layers.Conv2D(32, 3, stride=2, padding="same", activation="relu"),  # to 2 x 2
    layers.Flatten(),
    layers.Dense(CODE, name="code"),
]
decoder = [
    layers.Dense(2 * 2 * 32, activation="relu"),
    layers.Reshape((2, 2, 32)),
    layers.Conv2DTranspose(16, 4, stride=2, padding="same", activation="relu"),  # 2 x 2 to 4 x 4
    layers.Conv2DTranspose(1, 4, stride=2, padding="same", activation="sigmoid"),  # to 8 x 8
]
model = models.Sequential([*encoder, *decoder], input_shape=x.shape[1:], seed=0)
model.summary()
model.compile(optimizers.Adam(optimizers.CosineDecay(4e-3, steps=60 * 23)), losses.MeanSquaredError())
history = model.fit(x, x, batch_size=64, epochs=60, verbose=0)  # what shall come out is what went in
error = model.evaluate(x_test, x_test)
print(
    f"mean squared error on test images {error:.4f}; of drawing the mean image {np.mean((x_test - x.mean(0)) ** 2):.4f}"
)


def run(parts, array):
    for layer in parts:
        array = layer.forward(array)
    return array


codes = run(encoder, x)
figure = Figure(figsize=(9, 7.4), layout="constrained")
first, second, third = figure.subfigures(3, 1, height_ratios=(2.1, 3, 2.1))


def show(part, images, columns, title, labels=()):
    for axis, image in zip(part.subplots(len(images) // columns, columns).flat, images, strict=True):
        axis.imshow(image[:, :, 0], cmap="gray", vmin=0, vmax=1)
        axis.set_axis_off()
    for axis, label in zip(part.axes, labels, strict=False):
        axis.set_title(label, fontsize=9)
    part.suptitle(title, fontsize=11)


chosen = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
again = model.predict(x_test[chosen])
show(first, [*x_test[chosen], *again], 10, f"test images, and below them what comes out of {CODE} numbers")
walks = []
for start, end in ((0, 6), (1, 7), (3, 8)):
    begin, finish = (codes[y == digit].mean(axis=0) for digit in (start, end))
    walks += [begin + share * (finish - begin) for share in np.linspace(0, 1, 10, dtype=np.float32)]
show(
    second,
    run(decoder, np.stack(walks)),
    10,
    "from the mean code of one digit to that of another: 0 to 6, 1 to 7, 3 to 8",
)
rng = np.random.default_rng(0)
drawn = []
for digit in [*range(10), *range(10)]:
    mine = codes[y == digit]
    drawn.append(rng.multivariate_normal(mine.mean(axis=0), 0.5 * np.cov(mine.T)).astype(np.float32))
show(third, run(decoder, np.stack(drawn)), 10, "new digits, drawn from random codes", range(10))
figure.savefig("example-generate.png", dpi=80)
