# SPDX-License-Identifier: BSD-3-Clause
"""Model files: what is saved comes back; what is damaged or hostile is refused, quickly and cheaply;
saving replaces a file in one step or not at all."""

import copy
import io
import json
import os
import pickle
import signal
import stat
import struct
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from fastconv import archive, atomic, layers, losses, models, optimizers, serialization


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


# ---- round trips

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


# ---- damaged and hostile files


def refused(path):
    """Loading raises ValueError and takes next to no memory or time, nor leaves anything."""
    before = sorted(os.listdir(path.parent))
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(ValueError, match="not a usable model file") as caught:
            models.load(path)
    finally:
        seconds = time.perf_counter() - start
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    size = path.stat().st_size
    assert peak < 2 * size + 2**20, f"{peak} bytes for a file of {size}"
    assert seconds < 0.5 + 2 * size / 2**20
    assert sorted(os.listdir(path.parent)) == before
    return str(caught.value)


def members(model=None):
    """Member names and contents of a good file, in order, as a list of pairs to be spoilt."""
    with zipfile.ZipFile(io.BytesIO(file_bytes(model or small_model()))) as file:
        return [(name, file.read(name)) for name in file.namelist()]


def pack(pairs, compression=zipfile.ZIP_STORED, edit=None, comment=b""):
    """A ZIP file as our writer lays it out; ``edit`` changes the ZipInfo of each member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.comment = comment
        for name, content in pairs:
            info = archive.member_info(name)
            info.compress_type = compression
            if edit:
                edit(info)
            file.writestr(info, content)
    return buffer.getvalue()


def test_the_good_file_of_these_tests_is_good(tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(pack(members()))
    assert_same(models.load(path), small_model())
    small_model().save(path)
    assert path.read_bytes() == pack(members()), "the spoilt files are not made as real ones"


def with_header(header):
    """The file whose first array claims ``header`` (dict text); the data stays."""
    pairs = members()
    name, content = pairs[1]
    length = struct.unpack("<H", content[8:10])[0]
    text = header.encode().ljust(length - 1) + b"\n"
    pairs[1] = (
        name,
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content[10 + length :],
    )
    return pack(pairs)


def with_array(array, allow_pickle=False):
    pairs = members()
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=allow_pickle)
    pairs[1] = pairs[1][0], buffer.getvalue()
    return pack(pairs)


def header(shape, descr="'<f4'", order="False"):
    return with_header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}")


def with_agreeing_lies(units):
    """The file of a layer with very many units, as its headers say too; only the data is missing."""
    pairs = members()
    good = serialization.describe(small_model())
    good["layers"][2]["config"]["units"] = units
    pairs[0] = pairs[0][0], json.dumps(good).encode()
    pairs[3] = pairs[3][0], archive.npy_header(np.float32, (18, units)) + bytes(216)
    pairs[4] = pairs[4][0], archive.npy_header(np.float32, (units,)) + bytes(12)
    return pack(pairs)


def reordered(order):
    pairs = members()
    return pack([pairs[index] for index in order])


def renamed(name):
    pairs = members()
    return pack([*pairs[:-1], (name, pairs[-1][1])])


def with_a_second_directory():
    """A small directory, in whose last comment a ZIP64 record points at one of 50,000 entries."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *[0] * 9, 1, *[0] * 6) + b"x"
    small = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *[0] * 9, 1, 0, 76, *[0] * 4) + b"x"
    size = 50_000 * len(entry) + len(small)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 50_001, 50_001, size, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, size, 1)
    directory = small + record + locator
    end = archive.END_RECORD.pack(b"PK\x05\x06", 0, 0, 1, 1, len(directory), 50_000 * len(entry), 0)
    return 50_000 * entry + directory + end


def members_in_another_order_than_the_directory():
    content = reordered([0, 1, 2, 4, 3])
    start = content.index(b"PK\x01\x02")
    entries = content[start:-22].split(b"PK\x01\x02")[1:]
    entries = [b"PK\x01\x02" + entries[index] for index in (0, 1, 2, 4, 3)]
    return content[:start] + b"".join(entries) + content[-22:]


def with_extra(info):
    info.extra = struct.pack("<HH4s", 0x7075, 4, b"abcd")


def with_comment(info):
    info.comment = b"hello"


def with_zip64_record():
    content = pack(members())
    directory = content.rindex(b"PK\x01\x02", 0, content.index(b"PK\x05\x06"))
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 9, 9, 46, directory)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(content) - 22, 1)
    return content[:-22] + record + locator + content[-22:]


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("pickle_was_executed",)


weight = small_model().parameters["conv2d/weight"]
CONTAINERS = {
    "empty": b"",
    "text": b"This is not a model. " * 20,
    "numpy array": with_array(weight)[60:],
    "pickle": pickle.dumps({"conv2d/weight": weight}),
    "something before": b"#!/bin/sh\n" + pack(members()),
    "something after": pack(members()) + b"\0",
    "two files": pack(members()) * 2,
    "archive comment": pack(members(), comment=b"hello"),
    "member comment": pack(members(), edit=with_comment),
    "extra field": pack(members(), edit=with_extra),
    "deflated": pack(members(), zipfile.ZIP_DEFLATED),
    "zip bomb": pack([*members()[:-1], ("dense/bias.npy", bytes(50 * 2**20))], zipfile.ZIP_DEFLATED),
    "lzma": pack(members(), zipfile.ZIP_LZMA),
    "zip64": with_zip64_record(),
    "no members": pack([]),
    "no text": reordered([1, 2, 3, 4]),
    "no bias": reordered([0, 1, 2, 3]),
    "other order": reordered([0, 1, 2, 4, 3]),
    "order of the directory": members_in_another_order_than_the_directory(),
    "text last": reordered([1, 2, 3, 4, 0]),
    "one more": pack([*members(), ("more.npy", members()[1][1])]),
    "nested": pack([*members(), ("model.npz", pack(members()))]),
    "path upwards": renamed("../dense/bias.npy"),
    "absolute path": renamed("/dense/bias.npy"),
    "backslash": renamed("dense\\bias.npy"),
    "nul in the name": pack(members()).replace(b"dense/bias.npy", b"dense/bias\0npy"),
    "other case": renamed("Dense/bias.npy"),
    "huge text": pack([("config.json", members()[0][1].ljust(2**20 + 1)), *members()[1:]]),
    "second directory": with_a_second_directory(),
}
with pytest.warns(UserWarning, match="Duplicate"):
    CONTAINERS["a name twice"] = pack([*members()[:-1], members()[-2], members()[-1]])
    CONTAINERS["text twice"] = pack([members()[0], *members()])

FORTRAN = np.asfortranarray(np.arange(18, dtype="<f4").reshape(3, 3, 1, 2))
ARRAYS = {
    "objects": with_array(np.array([Bomb()] * 18, object).reshape(3, 3, 1, 2), allow_pickle=True),
    "object header": header((3, 3, 1, 2), "'|O'"),
    "big-endian": with_array(weight.astype(">f4")),
    "float64": with_array(weight.astype(np.float64)),
    "float16 of the same bytes": header((3, 3, 2, 2), "'<f2'"),
    "integers": header((3, 3, 1, 2), "'<i4'"),
    "structured": header((3, 3, 1, 2), "[('a', '<f4')]"),
    "Fortran order": with_array(FORTRAN),
    "other shape, same bytes": header((3, 3, 2, 1)),
    "one row more": with_array(np.zeros((4, 3, 1, 2), np.float32)),
    "no rows": with_array(np.zeros((0, 3, 1, 2), np.float32)),
    "terabytes": header((2**40,)),
    "agreeing terabytes": with_agreeing_lies(2**40),
    "agreeing megabytes": with_agreeing_lies(2**20),
    "product wraps to zero": header((2**33, 2**33)),
    "product wraps to four": header((4194305, 4194305, 211106198978564)),
    "zero times much": header((0, 2**62)),
    "65 axes": header((1,) * 65),
    "negative": header((-3, -3, 1, 2)),
    "float size": header((3.0, 3, 1, 2)),
    "boolean size": header((3, 3, True, 2)),
    "long header": header("(" + "0," * 5000 + ")"),
    "deep header": header("(" * 3000),
    "code in the header": with_header("__import__('os').mkdir('header_was_executed')"),
    "version 2": (lambda pairs: pack([*pairs[:-1], (pairs[-1][0], b"\x93NUMPY\x02" + pairs[-1][1][7:])]))(members()),
    "no header": (lambda pairs: pack([*pairs[:-1], (pairs[-1][0], bytes(12))]))(members()),
    "empty member": (lambda pairs: pack([*pairs[:-1], (pairs[-1][0], b"")]))(members()),
    "longer by a byte": (lambda pairs: pack([*pairs[:-1], (pairs[-1][0], pairs[-1][1] + b"x")]))(members()),
}


def described(**changes):
    """The file with top-level entries of its JSON changed."""
    description = serialization.describe(small_model()) | changes
    pairs = members()
    return pack([("config.json", json.dumps(description).encode()), *pairs[1:]])


def text(content):
    return pack([("config.json", content), *members()[1:]])


def layer(index=0, **changes):
    """The file with one layer's description changed."""
    stack = serialization.describe(small_model())["layers"]
    stack[index] = stack[index] | changes
    return described(layers=stack)


def conv(**changes):
    return layer(config=small_model().layers[0].config() | changes)


def residual(depth=0, **changes):
    """The file with containers of the first layer's kind around it, the innermost one's description changed."""
    stack = serialization.describe(small_model())["layers"]
    inner = stack[0] | {"config": stack[0]["config"] | {"padding": 1}}
    config = {"body": [inner], "shortcut": [inner | {"name": "other"}], "activation": None} | changes
    item = {"class": "Residual", "name": "r", "config": config}
    for _ in range(depth):
        item = item | {"config": {"body": [item], "shortcut": None, "activation": None}}
    return described(layers=[item, *stack[1:]])


def concatenate(branches, **changes):
    stack = serialization.describe(small_model())["layers"]
    config = {"branches": branches, "axis": None} | changes
    return described(layers=[{"class": "Concatenate", "name": "c", "config": config}, *stack[1:]])


RELU = {"class": "ReLU", "name": "r", "config": {}}


def training(**changes):
    return described(training=serialization.describe(small_model())["training"] | changes)


GOOD = json.dumps(serialization.describe(small_model()))
DESCRIPTIONS = {
    "no JSON": text(b"model"),
    "not UTF-8": text(b'{"a": "\xff"}'),
    "a list": text(b"[]"),
    "a number": text(b"1"),
    "empty object": text(b"{}"),
    "deep": text(b"[" * 100_000),
    "deep in a layer": text(GOOD.replace('"padding": 0', '"padding": ' + "[" * 900 + "]" * 900).encode()),
    "long number": text(GOOD.replace('"units": 3', '"units": ' + "9" * 5000).encode()),
    "key twice": text(GOOD.replace('"dtype"', '"dtype": "float32", "dtype"', 1).encode()),
    "not a number": text(GOOD.replace("0.001", "NaN").encode()),
    "infinity": text(GOOD.replace("0.001", "Infinity").encode()),
    "infinite number": text(GOOD.replace("0.001", "1e999").encode()),
    "one entry more": described(more=1),
    "other format": described(format="fastconv model 2"),
    "dtype": described(dtype="float16"),
    "dtype of objects": described(dtype="O"),
    "other dtype": described(dtype="float64"),
    "layout": described(layout="HWCN"),
    "other layout": described(layout="NCHW"),
    "no input": described(input_shape=None),
    "input text": described(input_shape="5, 5, 1"),
    "negative input": described(input_shape=[-5, 5, 1]),
    "boolean input": described(input_shape=[5, 5, True]),
    "float input": described(input_shape=[5.0, 5, 1]),
    "huge input": described(input_shape=[2**40, 2**40, 1]),
    "endless input": described(input_shape=[10**30, 5, 1]),
    "other channels": described(input_shape=[5, 5, 2]),
    "small input": described(input_shape=[2, 2, 1]),
    "no layers": described(layers=[]),
    "layers as object": described(layers={"0": {}}),
    "layer as text": described(layers=["Dense"]),
    "layer too few": described(layers=serialization.describe(small_model())["layers"][:2]),
    "os.system": layer(**{"class": "os.system"}),
    "dotted": layer(**{"class": "fastconv.layers.Conv2D"}),
    "builtin": layer(**{"class": "eval"}),
    "dunder": layer(**{"class": "__class__"}),
    "base class": layer(**{"class": "Layer"}),
    "class as list": layer(**{"class": ["Conv2D"]}),
    "other class": layer(**{"class": "Dense"}),
    "path as name": layer(name="../conv2d"),
    "no name": layer(name=None),
    "name twice": layer(2, name="conv2d"),
    "config as list": layer(config=[]),
    "argument more": conv(name="conv2d"),
    "private argument": conv(__class__="x"),
    "filters": conv(filters=3),
    "many filters": conv(filters=2**40),
    "endless filters": conv(filters=10**40),
    "boolean filters": conv(filters=True),
    "float filters": conv(filters=2.0),
    "text filters": conv(filters="2"),
    "no filters": conv(filters=0),
    "kernel": conv(kernel_size=[3, 3, 3]),
    "stride zero": conv(stride=0),
    "padding": conv(padding={"same": 1}),
    "huge padding": conv(padding=2**62),
    "activation": conv(activation="os.system"),
    "groups": conv(groups=2),
    "containers too deep": residual(20),
    "containers far too deep": residual(150),
    "containers without end": text(
        GOOD.replace('"layers": [', '"layers": [' + 30_000 * '{"class": "Residual", "config": {"body": [').encode()
    ),
    "body as text": residual(body="ReLU"),
    "body as number": residual(body=3),
    "body as null": residual(body=None),
    "body of text": residual(body=["ReLU"]),
    "body of lists": residual(body=[[RELU]]),
    "body of half a layer": residual(body=[{"class": "ReLU"}]),
    "body from afar": residual(body=[RELU | {"class": "os.system"}]),
    "body of a list as class": residual(body=[RELU | {"class": ["ReLU"]}]),
    "body of another shape": residual(shortcut=None),
    "body with a path as name": residual(body=[RELU | {"name": "../r"}]),
    "body without a name": residual(body=[RELU | {"name": None}]),
    "one name in both branches": residual(body=[RELU], shortcut=[RELU]),
    "shortcut as text": residual(shortcut="none"),
    "activation of the sum": residual(activation="softmax"),
    "argument of the container": residual(owner=None),
    "no branches": concatenate([]),
    "branches as object": concatenate({"0": RELU}),
    "branches as text": concatenate("ReLU"),
    "branches in lists": concatenate([[[RELU]]]),
    "branches in many lists": concatenate([json.loads("[" * 500 + "]" * 500)]),
    "axis as text": concatenate([RELU], axis="channels"),
    "axis outside": concatenate([RELU], axis=2**70),
    "many channels": concatenate([[RELU | {"name": f"r{i}"}] for i in range(200)]),
    "training as list": described(training=[]),
    "optimizer": training(optimizer={"class": "Adam", "config": {}}),
    "optimizer from afar": training(optimizer={"class": "os.system", "config": {}}),
    "argument of the optimizer": training(optimizer={"class": "sgd", "config": {"lr": "rm"}}),
    "rate as an object": training(
        optimizer={"class": "sgd", "config": optimizers.SGD().config() | {"lr": {"f": "os.system"}}}
    ),
    "loss": training(loss={"class": "eval", "config": {}}),
    "metrics": training(metrics=["os.system"]),
    "metrics as text": training(metrics="accuracy"),
}


@pytest.mark.parametrize(
    "group, case",
    [("containers", c) for c in CONTAINERS]
    + [("arrays", c) for c in ARRAYS]
    + [("descriptions", c) for c in DESCRIPTIONS],
)
def test_bad_files_are_refused(tmp_path, monkeypatch, group, case):
    def executed(*_):
        raise AssertionError("a pickle was read")

    monkeypatch.chdir(tmp_path)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, executed)
    content = {"containers": CONTAINERS, "arrays": ARRAYS, "descriptions": DESCRIPTIONS}[group][case]
    assert content != pack(members())
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    refused(path)


def test_refusals_say_what_is_wrong(tmp_path):
    path = tmp_path / "model.npz"
    for content, words in (
        (ARRAYS["one row more"], "'conv2d/weight' is not float32 of shape (3, 3, 1, 2)"),
        (CONTAINERS["no bias"], "dense/bias.npy"),
        (DESCRIPTIONS["os.system"], "unknown class 'os.system'"),
        (DESCRIPTIONS["other format"], "'fastconv model 2'"),
    ):
        path.write_bytes(content)
        assert words in refused(path)


def test_no_flipped_byte_goes_unnoticed(tmp_path):
    content, path, model = pack(members()), tmp_path / "model.npz", small_model()
    harmless = 0
    for place in range(len(content)):
        spoilt = bytearray(content)
        spoilt[place] ^= 1 << place % 8
        path.write_bytes(spoilt)
        try:
            assert_same(models.load(path), model)
            harmless += 1
        except ValueError:
            pass
    assert harmless < 0.1 * len(content), "only dates and attributes of members do not matter"


def test_no_cut_goes_unnoticed(tmp_path):
    content, path = pack(members()), tmp_path / "model.npz"
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="not a usable model file"):
            models.load(path)


def test_tens_of_thousands_of_members_are_refused_at_once(tmp_path):
    content = pack([(f"{index:040}.npy", b"") for index in range(60_000)])
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    start = time.perf_counter()
    assert "directory" in refused(path)
    assert time.perf_counter() - start < 0.2


def test_very_many_layers(tmp_path):
    def model(name):
        stack = [layers.ReLU(name=f"{name}{index}") for index in range(9000)]
        return models.Sequential(stack, input_shape=(3,))

    path = tmp_path / "model.npz"
    model("r").save(path)
    start = time.perf_counter()
    models.load(path)
    assert time.perf_counter() - start < 1.5, f"{path.stat().st_size} bytes"
    with pytest.raises(ValueError, match="too large"):
        model("r" * 90).save(path)


def test_files_that_cannot_be_opened(tmp_path):
    with pytest.raises(FileNotFoundError):
        models.load(tmp_path / "none.npz")
    with pytest.raises(OSError):
        models.load(tmp_path)


# ---- saving


def test_an_error_while_saving_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    old, new = small_model(1), small_model(2)
    old.save(path)

    def fail(*_, **__):
        raise OSError("No space left on device")

    def write_half(file, text, arrays):
        file.write(b"half")
        fail()

    for module, name, broken in (
        (archive, "write", write_half),
        (os, "fsync", fail),
        (os, "replace", fail),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, broken)
            with pytest.raises(OSError, match="No space"):
                new.save(path)
        assert os.listdir(tmp_path) == ["model.npz"]
        assert_same(models.load(path), old)
    new.save(path)
    assert_same(models.load(path), new)


def test_the_content_is_on_disk_before_the_name_changes(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a)))
    small_model().save(tmp_path / "model.npz")
    assert calls == ["fsync", "replace", "fsync"] if atomic.flock else ["fsync", "replace"]


def test_a_link_is_followed_and_the_mode_kept(tmp_path):
    target, link = tmp_path / "target.npz", tmp_path / "link.npz"
    link.symlink_to(target)
    small_model().save(link)
    assert link.is_symlink() and not target.is_symlink()
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask
    target.chmod(0o640)
    small_model(2).save(link)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert_same(models.load(link), small_model(2))


def test_savers_at_once_do_not_mix(tmp_path):
    path = tmp_path / "model.npz"
    contents = {file_bytes(small_model(seed)) for seed in range(4)}
    small_model(0).save(path)
    done, seen = threading.Event(), []

    def save(seed):
        for _ in range(15):
            small_model(seed).save(path)

    def watch():
        while not done.is_set():
            seen.append(path.read_bytes())

    savers = [threading.Thread(target=save, args=[seed]) for seed in range(4)]
    watcher = threading.Thread(target=watch)
    for thread in (watcher, *savers):
        thread.start()
    for thread in savers:
        thread.join()
    done.set()
    watcher.join()
    assert seen and set(seen) <= contents
    assert os.listdir(tmp_path) == ["model.npz"]


KILLED_SAVERS = textwrap.dedent("""
    import os, random, signal, sys, time
    sys.path.insert(0, sys.argv[2])
    from test_serialization import assert_same, small_model
    from fastconv import models

    path = sys.argv[1]
    both = [small_model(0), small_model(1)]
    both[0].save(path)
    chance, seen, orphans, kills = random.Random(0), set(), 0, 0
    while kills < 60 or seen != {0, 1} or not orphans:  # some must come while a file is written
        kills += 1
        assert kills < 2000
        child = os.fork()
        if not child:
            while True:
                both[1].save(path)
                both[0].save(path)
        time.sleep(chance.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        orphans += len(os.listdir(os.path.dirname(path))) - 1
        loaded = models.load(path).parameters["dense/weight"].tobytes()
        matches = [loaded == model.parameters["dense/weight"].tobytes() for model in both]
        assert any(matches)
        seen.add(matches.index(True))
    both[0].save(path)
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_killed_saver_leaves_a_whole_file(tmp_path):
    assert hasattr(signal, "SIGKILL")
    here = os.path.dirname(__file__)
    subprocess.run(
        [sys.executable, "-c", KILLED_SAVERS, str(tmp_path / "model.npz"), here],
        cwd=tmp_path,  # not the checkout: its fastconv/ may lack the compiled half
        check=True,
        timeout=60,
    )
