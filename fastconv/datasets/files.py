# SPDX-License-Identifier: BSD-3-Clause
"""Readers of data sets that lie on this machine: MNIST and its relatives, CIFAR-10 and CIFAR-100.

Nothing is downloaded, nothing is unpickled, and no memory is taken on the word of a header: a file has to be exactly as
long as its header says, or it is refused with a ValueError.
"""

import gzip
import math
import os
import struct
import zlib

import numpy as np

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CHUNK = 2**20  # bytes decompressed at a time

MNIST_PARTS = (("train-images", "train-labels"), ("t10k-images", "t10k-labels"))
CIFAR_SIDE = 32
CIFAR10_FILES = ([f"data_batch_{number}.bin" for number in range(1, 6)], ["test_batch.bin"])
CIFAR100_FILES = (["train.bin"], ["test.bin"])


def load_mnist(folder):
    """((x_train, y_train), (x_test, y_test)) from the four IDX files of MNIST, Fashion-MNIST, KMNIST or QMNIST's like
    in ``folder``: "train-images-idx3-ubyte" and so on, also with ".gz" or a dot before "idx".

    x is (N, 28, 28, 1) uint8 from 0 to 255, y (N,) int64. ValueError where a file is damaged or does not fit the
    others; FileNotFoundError where one is missing.
    """
    return tuple(_mnist_part(folder, *names) for names in MNIST_PARTS)


def _mnist_part(folder, images_name, labels_name):
    images_path = _find(folder, [f"{images_name}{dot}idx3-ubyte{gz}" for dot in "-." for gz in ("", ".gz")])
    labels_path = _find(folder, [f"{labels_name}{dot}idx1-ubyte{gz}" for dot in "-." for gz in ("", ".gz")])
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(f"{images_path} holds no images (N, H, W) of uint8, but {images.dtype} {images.shape}")
    if labels.shape != images.shape[:1] or labels.dtype != np.uint8:
        raise ValueError(
            f"{labels_path} holds {labels.dtype} {labels.shape}, no label for each of {len(images)} images"
        )
    return images[..., np.newaxis], labels.astype(np.int64)


def read_idx(path):
    """The array of an IDX file, the format of MNIST, compressed by gzip or not."""
    with _opened(path) as file:
        try:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in IDX_TYPES or not head[3]:
                raise ValueError(f"{path} is not an IDX file: it begins with {head!r}")
            dtype, rank = np.dtype(IDX_TYPES[head[2]]), head[3]
            sizes = file.read(4 * rank)
            if len(sizes) < 4 * rank or rank > 8:
                raise ValueError(f"{path} is cut off, or has {rank} axes")
            shape = struct.unpack(f">{rank}I", sizes)
            if not all(shape):
                raise ValueError(f"{path} is empty: its shape is {shape}")
            content = _exactly(file, math.prod(shape) * dtype.itemsize, path)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    array = np.frombuffer(content, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=not array.flags.writeable)


def load_cifar10(folder):
    """((x_train, y_train), (x_test, y_test)) from the "binary version" of CIFAR-10 in ``folder``: data_batch_1.bin to
    data_batch_5.bin and test_batch.bin. x is (N, 32, 32, 3) uint8, y (N,) int64 from 0 to 9.

    The "python version" is refused: its files are pickles, and reading a pickle runs whatever it says.
    """
    return _cifar(folder, CIFAR10_FILES, labels=1, classes=10, pickles=("data_batch_1", "test_batch"))


def load_cifar100(folder, *, coarse=False):
    """The same of CIFAR-100: train.bin and test.bin. y is from 0 to 99; with ``coarse`` the superclass, 0 to 19."""
    pickles, column = ("train", "test"), 0 if coarse else 1
    return _cifar(folder, CIFAR100_FILES, labels=2, classes=20 if coarse else 100, pickles=pickles, column=column)


def _cifar(folder, names, labels, classes, pickles, column=0):
    if not os.path.exists(os.path.join(folder, names[0][0])):
        found = [name for name in pickles if os.path.exists(os.path.join(folder, name))]
        if found:
            raise ValueError(
                f"{os.path.join(folder, found[0])} is of CIFAR's python version, a pickle, which is not read: reading "
                'it would run whatever it says. Take the "binary version" from the same page'
            )
    parts = ([_cifar_file(_find(folder, [name]), labels, classes, column) for name in part] for part in names)
    return tuple(tuple(map(np.concatenate, zip(*part, strict=True))) for part in parts)


def _cifar_file(path, labels, classes, column):
    """Images and labels of one file: for each image its labels, a byte each, and three planes of pixels."""
    record = labels + 3 * CIFAR_SIDE**2
    size = os.path.getsize(path)
    if not size or size % record:
        raise ValueError(f"{path} has {size} bytes, which is no number of images of {record} bytes each")
    records = np.fromfile(path, np.uint8).reshape(-1, record)
    found = records[:, column].astype(np.int64)
    if found.max() >= classes:
        raise ValueError(f"{path} holds the label {found.max()}, there are {classes} classes")
    images = records[:, labels:].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), found


def _find(folder, names):
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    raise FileNotFoundError(f"there is no {names[0]} in {os.fspath(folder)!r}")


def _opened(path):
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if compressed else open(path, "rb")


def _exactly(file, size, path):
    """The rest of ``file``, which must be ``size`` bytes. Memory grows with what is there, not with the promise."""
    parts, left = [], size
    while left:
        part = file.read(min(CHUNK, left))
        if not part:
            raise ValueError(f"{path} holds {size - left} bytes of the {size} that its header promises")
        parts.append(part)
        left -= len(part)
    if file.read(1):
        raise ValueError(f"{path} holds more than the {size} bytes that its header promises")
    return b"".join(parts)
