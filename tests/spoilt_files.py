# SPDX-License-Identifier: BSD-3-Clause
"""Model files that are damaged or hostile: a good one and whatever can be done to it."""

import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from model_files import file_bytes, small_model

from fastconv import archive, optimizers, serialization


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
