# SPDX-License-Identifier: BSD-3-Clause
"""Readers of local data sets, and augmentation: files are written here, whole and damaged."""

import gzip
import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from fastconv import datasets

RNG = np.random.default_rng(0)


def idx(array, code=0x08):
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("separator", "-.")
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_mnist(tmp_path, separator, ending):
    write = gzip.compress if ending else bytes
    parts = []
    for prefix, count in (("train", 7), ("t10k", 3)):
        images = RNG.integers(0, 256, (count, 28, 28), np.uint8)
        labels = RNG.integers(0, 10, count, np.uint8)
        (tmp_path / f"{prefix}-images{separator}idx3-ubyte{ending}").write_bytes(write(idx(images)))
        (tmp_path / f"{prefix}-labels{separator}idx1-ubyte{ending}").write_bytes(write(idx(labels)))
        parts.append((images, labels))
    for (x, y), (images, labels) in zip(datasets.load_mnist(tmp_path), parts, strict=True):
        assert np.array_equal(x[..., 0], images) and x.dtype == np.uint8 and x.flags.writeable
        assert np.array_equal(y, labels) and y.dtype == np.int64
    (tmp_path / f"t10k-labels{separator}idx1-ubyte{ending}").write_bytes(write(idx(labels[:2])))
    with pytest.raises(ValueError, match="no label for each of 3"):
        datasets.load_mnist(tmp_path)
    (tmp_path / f"t10k-labels{separator}idx1-ubyte{ending}").unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels"):
        datasets.load_mnist(tmp_path)


@pytest.mark.parametrize("code, dtype", [(0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")])
def test_idx_of_other_types(tmp_path, code, dtype):
    array = RNG.integers(-100, 100, (3, 4)).astype(dtype)
    (tmp_path / "a").write_bytes(idx(array, code))
    got = datasets.read_idx(tmp_path / "a")
    assert np.array_equal(got, array) and got.dtype == np.dtype(dtype).newbyteorder("=")


WHOLE = idx(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
DAMAGED = {
    "empty": b"",
    "text": b"hello, world",
    "type": WHOLE[:2] + b"\x07" + WHOLE[3:],
    "no axes": WHOLE[:3] + b"\0" + WHOLE[4:],
    "cut header": WHOLE[:9],
    "cut": WHOLE[:-1],
    "longer": WHOLE + b"\0",
    "lying header": WHOLE[:4] + b"\xff" * 12 + WHOLE[16:],
    "no image": WHOLE[:4] + b"\0" * 4 + WHOLE[8:],
    "many axes": WHOLE[:3] + b"\xff" + WHOLE[4:] * 30,
    "cut gz": gzip.compress(WHOLE)[:-9],
    "damaged gz": gzip.compress(WHOLE)[:20] + b"\xff\xff\xff" + gzip.compress(WHOLE)[23:],
    "gz of a cut file": gzip.compress(WHOLE[:-1]),
    "gz, lying": gzip.compress(WHOLE[:4] + b"\xff" * 12 + WHOLE[16:]),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_idx_files_are_refused_in_little_memory(tmp_path, case):
    (tmp_path / "a").write_bytes(DAMAGED[case])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"{tmp_path}"):
            datasets.read_idx(tmp_path / "a")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5e6


def records(count, labels, classes):
    images = RNG.integers(0, 256, (count, 32, 32, 3), np.uint8)
    columns = [RNG.integers(0, most, (count, 1), np.uint8) for most in classes]
    content = np.hstack([*columns, images.transpose(0, 3, 1, 2).reshape(count, -1)])
    return images, [column[:, 0] for column in columns], content.tobytes()


def test_cifar_10(tmp_path):
    written = [records(4, 1, [10]) for _ in range(6)]
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    for name, (_, _, content) in zip(names, written, strict=True):
        (tmp_path / name).write_bytes(content)
    (x, y), (x_test, y_test) = datasets.load_cifar10(tmp_path)
    assert np.array_equal(x, np.concatenate([images for images, _, _ in written[:5]]))
    assert np.array_equal(y, np.concatenate([labels[0] for _, labels, _ in written[:5]])) and y.dtype == np.int64
    assert np.array_equal(x_test, written[5][0]) and np.array_equal(y_test, written[5][1][0])
    for content in (b"", written[0][2][:-1], b"\x0a" + written[0][2][1:]):
        (tmp_path / "test_batch.bin").write_bytes(content)
        with pytest.raises(ValueError, match="test_batch.bin"):
            datasets.load_cifar10(tmp_path)


def test_cifar_100(tmp_path):
    written = records(5, 2, [20, 100]), records(3, 2, [20, 100])
    for name, (_, _, content) in zip(("train.bin", "test.bin"), written, strict=True):
        (tmp_path / name).write_bytes(content)
    for coarse in (False, True):
        loaded = datasets.load_cifar100(tmp_path, coarse=coarse)
        for (x, y), (images, labels, _) in zip(loaded, written, strict=True):
            assert np.array_equal(x, images) and np.array_equal(y, labels[0 if coarse else 1])


def test_pickles_are_refused_and_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(pickle, "load", None)
    (tmp_path / "data_batch_1").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(ValueError, match="binary version"):
        datasets.load_cifar10(tmp_path)
    with pytest.raises(FileNotFoundError, match="train.bin"):
        datasets.load_cifar100(tmp_path)


def test_image_folders(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = RNG.integers(0, 256, (3, 6, 5, 3), np.uint8)
    for name, index in (("cats/b.png", 0), ("cats/a.png", 1), ("dogs/c.bmp", 2)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image.fromarray(pixels[index]).save(tmp_path / name)
    (tmp_path / "cats" / "notes.txt").write_text("no image")
    x, y, names = datasets.load_image_folder(tmp_path, (6, 5))
    assert np.array_equal(x, pixels[[1, 0, 2]]) and names == ["cats", "dogs"] and y.tolist() == [0, 0, 1]
    x, _, _ = datasets.load_image_folder(tmp_path, 4, color="grey")
    assert x.shape == (3, 4, 4, 1) and x.dtype == np.uint8
    (tmp_path / "dogs" / "d.png").write_bytes((tmp_path / "cats" / "a.png").read_bytes()[:60])
    with pytest.raises(ValueError, match="d.png"):
        datasets.load_image_folder(tmp_path, 4)
    with pytest.raises(ValueError, match="no images"):
        datasets.load_image_folder(tmp_path / "cats", 4)
    with pytest.raises(ValueError, match="color"):
        datasets.load_image_folder(tmp_path, 4, color="blue")


# ---- augmentation


def images(count=40):
    return RNG.integers(0, 256, (count, 6, 5, 2), np.uint8)


def test_flips():
    x = images()
    flipped = datasets.random_flip(x, np.random.default_rng(0))
    turned = (flipped == x[:, :, ::-1]).all(axis=(1, 2, 3))
    assert 8 < turned.sum() < 32 and np.array_equal(flipped[~turned], x[~turned]) and flipped.dtype == x.dtype
    assert np.array_equal(datasets.random_flip(x, np.random.default_rng(0), 1), x[:, :, ::-1])


def test_crops_are_windows():
    x = images()
    cropped = datasets.random_crop(x, np.random.default_rng(0), (4, 5), padding=1)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    places = set()
    for got, image in zip(cropped, padded, strict=True):
        found = [(i, j) for i in range(5) for j in range(3) if np.array_equal(got, image[i : i + 4, j : j + 5])]
        assert len(found) == 1
        places.update(found)
    assert len(places) > 10 and cropped.shape == (40, 4, 5, 2)


def test_noise():
    x = images(500)
    noise = datasets.random_noise(x, np.random.default_rng(0), 3.0) - x
    assert noise.dtype == np.float32 and abs(noise.mean()) < 0.1 and abs(noise.std() - 3) < 0.05


def test_augmented_batches_are_settled_by_the_seed():
    x, y = images(), np.arange(40)

    def epochs(seed, **kw):
        kw = kw or {"flip": 0.5, "crop": 1, "rotation": 0.1, "noise": 2.0}
        batches = datasets.AugmentedBatches(x, y, 16, **kw, seed=seed)
        return [[(a.copy(), b.copy()) for a, b in batches] for _ in range(2)]

    first, again, other = epochs(0), epochs(0), epochs(1)
    assert all(np.array_equal(a, b) for p, q in zip(first[1], again[1], strict=True) for a, b in zip(p, q, strict=True))
    assert not np.array_equal(first[0][0][0], first[1][0][0]) and not np.array_equal(first[0][0][0], other[0][0][0])
    for batch, labels in epochs(0, flip=1.0)[0]:
        assert np.array_equal(batch, x[labels][:, :, ::-1])


WRONG = {
    "axes": (lambda: datasets.random_flip(np.zeros((6, 5)), RNG), ValueError, "images"),
    "large": (lambda: datasets.random_crop(images(), RNG, 9, padding=1), ValueError, "size"),
    "padding": (lambda: datasets.random_crop(images(), RNG, 3, padding=-1), ValueError, "padding"),
    "deviation": (lambda: datasets.random_noise(images(), RNG, -1), ValueError, "deviation"),
    "flip": (lambda: datasets.AugmentedBatches(images(), np.zeros(40), flip="yes"), TypeError, "flip"),
    "lengths": (lambda: datasets.AugmentedBatches(images(), np.zeros(39)), ValueError, "as long"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named(case):
    call, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        call()
