# SPDX-License-Identifier: BSD-3-Clause
"""A small network of many kinds of layers, and images for it."""

import numpy as np

from fastconv import layers, models


def small_model(layout="NHWC", dtype=np.float32, seed=0, last=None):
    """A network with every kind of layer that passes gradients on, for images of 8 x 8 x 3."""
    return models.Sequential(
        [
            layers.Rescaling(0.5),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.DepthwiseConv2D(3, padding=1),
            layers.ReLU(),
            layers.Conv2D(5, 1, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(6, activation="sigmoid"),
            last or layers.Dense(3),
        ],
        input_shape=(8, 8, 3) if layout == "NHWC" else (3, 8, 8),
        layout=layout,
        seed=seed,
        dtype=dtype,
    )


def data(count=20, layout="NHWC", seed=5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 8, 8, 3)).astype(np.float32)
    return (x if layout == "NHWC" else np.ascontiguousarray(x.transpose(0, 3, 1, 2))), rng.integers(0, 3, count)
