# SPDX-License-Identifier: BSD-3-Clause
"""Model files that are damaged or hostile are refused, quickly and cheaply."""

import os
import pickle
import time
import tracemalloc

import pytest
from model_files import assert_same, small_model
from spoilt_files import ARRAYS, CONTAINERS, DESCRIPTIONS, members, pack

from fastconv import layers, models


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


def test_the_good_file_of_these_tests_is_good(tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(pack(members()))
    assert_same(models.load(path), small_model())
    small_model().save(path)
    assert path.read_bytes() == pack(members()), "the spoilt files are not made as real ones"


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
