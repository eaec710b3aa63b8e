# SPDX-License-Identifier: BSD-3-Clause
"""Model files: what is saved comes back, bit by bit."""

import copy
import json
import os
import zipfile

import numpy as np
import pytest
from model_files import assert_same, small_model

from fastconv import layers, losses, models, optimizers

EVERY_LAYER = {
    "image": [
        layers.Rescaling(1 / 3, 0.1),
        layers.Conv2D(4, (3, 2), (1, 2), ((1, 0), (2, 1)), activation="relu", dilation=(1, 2)),
        layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, bias=False),
        layers.Conv2D(6, 1, groups=2, padding=np.int64(0), activation="leaky_relu", bias=False),
        layers.MaxPooling2D(2, 1, padding=1, dilation=1, ceil_mode=True),
        layers.AveragePooling2D(2, padding=(1, 0), count_include_pad=False, divisor_override=3),
        layers.ReLU(),
        layers.Activation("tanh"),
        layers.Dropout(0.3),
        layers.GlobalAveragePooling2D(),
        layers.Dense(5, "sigmoid", init="torch", name="My-layer_1.x"),
        layers.Activation(None),
        layers.Softmax(),
    ],
    "flat": [layers.Flatten(), layers.Reshape((2, -1)), layers.Dense(3, "softmax")],
    "containers": [
        layers.Residual([layers.Conv2D(3, 3, padding=1, name="inner")], activation="leaky_relu", name="outer"),
        layers.Residual(layers.MaxPooling2D(2, ceil_mode=True), [layers.Conv2D(3, 1, 2, "valid")]),
        layers.Concatenate([layers.ReLU(), [], [layers.Residual([layers.Dropout(0.2)]), layers.Conv2D(2, 1)]]),
        layers.Concatenate([[], []], axis=-3),
    ],
    "larger": [
        layers.ZeroPadding2D(((1, 0), (2, 3))),
        layers.Conv2D(4, 3, padding="same", padding_mode="reflect"),
        layers.Conv2DTranspose(6, (3, 4), (2, 1), 1, "relu", output_padding=(1, 0), groups=2),
        layers.SeparableConv2D(5, 3, 2, "same", 2, "tanh", dilation=1),
        layers.UpSampling2D((1, 2)),
        layers.UpSampling2D(2, "bilinear"),
    ],
    "sequence": [
        layers.Conv1D(4, 3, 2, "causal", dilation=(2,), groups=2),
        layers.Conv1D(3, (2,), padding=((1, 0),), padding_mode="wrap", bias=False),
        layers.Conv1DTranspose(2, 3, 2, "same"),
        layers.MaxPooling1D(3, 2, ((1, 0),), dilation=(1,)),
        layers.AveragePooling1D(2, 1, ceil_mode=True),
        layers.GlobalMaxPooling1D(),
    ],
    "short sequence": [layers.GlobalAveragePooling1D()],
    "volume": [
        layers.Conv3D(4, (3, 2, 1), 1, ((1, 0), (1, 1), (0, 2)), "relu", dilation=(1, 2, 1)),
        layers.Conv3DTranspose(6, 3, (2, 1, 1), 1, groups=2, output_padding=(1, 0, 0)),
        layers.MaxPooling3D((2, 1, 2), padding="same"),
        layers.AveragePooling3D(2, 1, divisor_override=5),
        layers.GlobalMaxPooling3D(),
    ],
    "small volume": [layers.GlobalAveragePooling3D()],
    "any size": [
        layers.AdaptiveAveragePooling2D((None, 7)),
        layers.AdaptiveMaxPooling2D(4),
        layers.GlobalMaxPooling2D(),
    ],
    "normalized": [
        layers.BatchNormalization(0.2, 0.01, "relu"),
        layers.LayerNormalization(),
        layers.LayerNormalization("sample", 0.01),
        layers.GroupNormalization(3, 0.02),
        layers.LocalResponseNormalization(4, 0.1, 0.6, 2.0),
        layers.LocalResponseNormalization.alexnet(),
    ],
    "activations": [
        *(layers.LeakyReLU(0.3), layers.Sigmoid(), layers.SiLU(), layers.GELU("tanh"), layers.Tanh()),
        *(layers.Conv2D(3, 1, activation="gelu"), layers.LogSoftmax(2), layers.Softmax(axis=-2)),
    ],
    "integers": [layers.Embedding(9, 4), layers.Flatten()],
}
VOLUME = (4, 5, 6, 2)
SHAPES = {"sequence": (20, 4), "short sequence": (7, 4), "volume": VOLUME, "small volume": VOLUME}  # others: images


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_layer_comes_back(tmp_path, layout, dtype):
    for name, stack in EVERY_LAYER.items():
        shape = SHAPES.get(name, (9, 8, 3))
        shape = shape if layout == "NHWC" else (shape[-1], *shape[:-1])
        fresh = copy.deepcopy(stack)
        model = models.Sequential(fresh, input_shape=shape, layout=layout, seed=1, dtype=dtype)
        model.save(tmp_path / "model.npz")
        loaded = models.load(str(tmp_path / "model.npz"))
        assert_same(model, loaded)
        x = np.random.default_rng(0).normal(size=(2, *shape))
        if stack[0].integer_input:
            x = abs(x).astype(np.int64)
        assert np.array_equal(model.predict(x), loaded.predict(x))
    kinds = {type(layer) for stack in EVERY_LAYER.values() for layer in stack}
    assert kinds == set(layers.BUILT_IN), "a layer is missing from this test"


TRAININGS = [
    (optimizers.Adam(0.003, 0.8, 0.99, 1e-6), losses.CrossEntropy(0.1), ["accuracy"]),
    (optimizers.SGD(0.3, 0.9, True, 1e-4), losses.MeanSquaredError(), []),
    (optimizers.SGD(optimizers.CosineDecay(0.1, 50)), losses.CrossEntropy(), []),
    (
        optimizers.AdamW(optimizers.OneCycle(0.1, 50), clipnorm=1),
        losses.CrossEntropy(0.1, [1, 2.5, 0]),
        ["top_5_accuracy"],
    ),
    (optimizers.RMSprop(optimizers.StepDecay(0.1, [5, 9]), clipvalue=1), losses.MeanAbsoluteError(), ["mse"]),
]


@pytest.mark.parametrize("training", TRAININGS)
def test_the_arguments_of_compile_come_back(tmp_path, training):
    model = small_model(compiled=False)
    model.compile(*training)
    model.save(tmp_path / "model.npz")
    loaded = models.load(tmp_path / "model.npz")
    assert_same(model, loaded)
    x = np.random.default_rng(0).normal(size=(3, 5, 5, 1))
    y = np.eye(3, dtype=int)
    assert loaded.evaluate(x, y) == model.evaluate(x, y)
    assert loaded.train_step(x, y) == model.train_step(x, y)
    assert_same(model, loaded)


def test_equal_models_are_equal_bytes(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    small_model().save(paths[0])
    small_model().save(paths[1])
    models.load(paths[0]).save(paths[2])
    contents = [path.read_bytes() for path in paths]
    assert contents[0] == contents[1] == contents[2]
    with zipfile.ZipFile(paths[0]) as file:
        assert {member.date_time for member in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert file.testzip() is None


def test_numpy_reads_the_file(tmp_path):
    model = small_model()
    model.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        assert json.loads(file["config.json"])["input_shape"] == [5, 5, 1]
        arrays = {name: file[name] for name in file.files if name != "config.json"}
    assert arrays.keys() == model.parameters.keys()
    assert all(np.array_equal(array, arrays[name]) for name, array in model.parameters.items())


def test_values_survive_bit_by_bit(tmp_path):
    model = small_model()
    model.parameters["dense/bias"][:] = [np.nan, -0.0, np.float32(1e-45)]
    model.save(tmp_path / "model.npz")
    assert_same(model, models.load(tmp_path / "model.npz"))


def test_what_cannot_be_saved_leaves_the_old_file(tmp_path):
    class Custom(layers.Layer):
        pass

    path = tmp_path / "model.npz"
    path.write_bytes(b"old")
    for model in (
        models.Sequential([Custom()], input_shape=(3,)),
        models.Sequential([layers.ReLU()]),
    ):
        with pytest.raises(ValueError, match="Custom|input shape"):
            model.save(path)
    model = small_model()
    model.loss = type("Mine", (losses.CrossEntropy,), {})()
    with pytest.raises(ValueError, match="Mine"):
        model.save(path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["model.npz"]
