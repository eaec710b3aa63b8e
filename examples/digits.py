# SPDX-License-Identifier: BSD-3-Clause
"""The main job in fifteen lines: a network that reads handwritten digits. Then a look into it.

One learns: how a model is put together, trained, judged on images of writers it never saw, and saved; and what its
filters, its feature maps, its mistakes, its view of an image and a single one of its sums look like.
"""

from fastconv import datasets, layers, models, optimizers, plot

(x, y), (x_test, y_test) = datasets.load_digits()
batches = datasets.AffineBatches(x, y, batch_size=64, rotation=0.2, zoom=0.1, shift=0.5, seed=0)

model = models.Sequential(seed=0)
model.add(layers.Rescaling(1 / 16, input_shape=(8, 8, 1)))
model.add(layers.Conv2D(16, 3, padding="same", activation="relu"))
model.add(layers.Conv2D(32, 3, padding="same", activation="relu"))
model.add(layers.MaxPooling2D(2))
model.add(layers.Conv2D(64, 3, padding="same", activation="relu"))
model.add(layers.Flatten())
model.add(layers.Dense(10))
model.summary()

model.compile(optimizers.Adam(optimizers.CosineDecay(4e-3, steps=25 * len(batches))), "cross_entropy", ["accuracy"])
history = model.fit(batches, epochs=25, validation_data=(x_test, y_test), verbose=2)
print(f"test accuracy {model.evaluate(x_test, y_test)[1]:.4f}")
model.save("digits.npz")

# What one can see. Every function returns a matplotlib Figure.
seven = x_test[5]
plot.curves(history).savefig("example-digits-curves.png", dpi=80)
plot.filters(model.layers[1]).savefig("example-digits-filters.png", dpi=80)
plot.feature_maps(model, seven).savefig("example-digits-maps.png", dpi=80)
plot.confusion_matrix(model, x_test, y_test).savefig("example-digits-mistakes.png", dpi=80)
plot.receptive_field(model, seven).savefig("example-digits-field.png", dpi=80)
plot.one_output(model, seven, "conv2d", channel=3).savefig("example-digits-sum.png", dpi=80)
