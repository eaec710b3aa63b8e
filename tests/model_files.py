# SPDX-License-Identifier: BSD-3-Clause
"""A small model, its file, and when two models are the same."""

import io
import json

import numpy as np

from fastconv import archive, layers, models, serialization


def small_model(seed=0, dtype=np.float32, compiled=True):
    model = models.Sequential(
        [layers.Conv2D(2, 3, activation="relu"), layers.Flatten(), layers.Dense(3)],
        input_shape=(5, 5, 1),
        seed=seed,
        dtype=dtype,
    )
    if compiled:
        model.compile("adam", "cross_entropy", metrics=["accuracy"])
    return model


def file_bytes(model):
    file = io.BytesIO()
    text = json.dumps(serialization.describe(model), sort_keys=True)
    archive.write(file, text.encode(), model.parameters)
    return file.getvalue()


def assert_same(model, other):
    first, second = (json.dumps(serialization.describe(m), default=int) for m in (model, other))
    assert first == second
    assert model.parameters.keys() == other.parameters.keys()
    for name, array in model.parameters.items():
        assert array.dtype == other.parameters[name].dtype
        assert array.tobytes() == other.parameters[name].tobytes(), name
