# SPDX-License-Identifier: BSD-3-Clause
"""Every example runs in a folder of its own, in under two minutes, prints what it promises and draws its picture."""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

import fastconv as fc

pytest.importorskip("matplotlib")

from matplotlib.image import imread

REPOSITORY = Path(__file__).parent.parent
EXAMPLES = REPOSITORY / "examples"
PROGRAMS = sorted(path.name for path in EXAMPLES.glob("*.py"))
LIMIT = 120  # seconds
LARGEST = 150_000  # bytes of a committed picture


def run(folder, *command, **environment):
    """What a command prints; the package is the one under test wherever the command runs."""
    path = os.pathsep.join([str(Path(fc.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path} | environment
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=LIMIT, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def started(request, tmp_path_factory):
    """The examples that the tests of this run look at: the folder of each, and what it will have printed.

    One on each processor, with one thread each: sooner done than one after the other with all threads.
    """
    pool = ThreadPoolExecutor(os.cpu_count())
    runs = {}
    for item in request.session.items:
        program = EXAMPLES / f"{item.name.removeprefix('test_')}.py"
        if item.path == request.path and program.is_file():
            folder = tmp_path_factory.mktemp(program.stem)
            runs[program.stem] = folder, pool.submit(run, folder, sys.executable, program, FASTCONV_NUM_THREADS="1")
    yield runs
    pool.shutdown(cancel_futures=True)


@pytest.fixture
def example(started):
    """What an example prints, and its folder; its pictures are looked at as far as a program can."""

    def look_at(name):
        folder, printed = started[name]
        printed = printed.result()
        pictures = sorted(folder.glob("example-*.png"))
        assert pictures and all(path.stem.startswith(f"example-{name}") for path in pictures)
        for path in pictures:
            picture = imread(path)
            assert picture.shape[0] >= 150 and picture.shape[1] >= 400
            assert 0.002 < picture[..., :3].std() and len(set(picture[..., 0].flat)) > 20
            assert (REPOSITORY / "docs" / path.name).is_file()
        return printed, folder

    return look_at


def number(pattern, text):
    """The number that the group of ``pattern`` finds."""
    return float(re.search(pattern, text)[1].replace(",", ""))


def table(printed, names, row):
    """The numbers behind each name."""
    return {name: [float(n.replace(",", "")) for n in re.search(rf"{name} +{row}", printed).groups()] for name in names}


def test_cat(example):
    printed = example("cat")[0]
    assert "(75, 112, 16) -> 32 filters (3, 3, 16), ReLU, pooling -> (37, 56, 32)" in printed
    assert 1 < number(r"edges: ([\d.]+)%", printed) < 20


def test_digits(example):
    printed, folder = example("digits")
    assert number(r"test accuracy ([\d.]+)", printed) >= 0.95
    assert len(list(folder.glob("*.png"))) == 6


def test_shapes(example):
    printed = example("shapes")[0]
    for text in (
        "28x28x6          456",
        "55x55x96       34,944",
        "2x2x1           10",
        "56x56x32        2,080",
        "112x112x64        9,472",
        "105,705,600",
        "30,001,000",
    ):
        assert text in printed


def test_translation(example):
    rows = table(
        example("translation")[0],
        ("convolutional:", "dense:"),
        r"([\d,]+) parameters, accuracy ([\d.]+) on the left, ([\d.]+)",
    )
    convolutional, dense = rows["convolutional:"], rows["dense:"]
    assert abs(convolutional[0] - dense[0]) < 0.02 * dense[0]
    assert convolutional[2] - dense[2] >= 0.3  # 30 points ahead on the side that neither has seen
    assert convolutional[1] > 0.8 and dense[1] > 0.5


def test_pooling(example):
    printed = example("pooling")[0]
    ways = table(
        printed, ("none", "stride 2", "max pooling", "average pooling"), r"([\d,]+) +([\d.]+) +([\d.]+) +([\d.]+)"
    )
    assert ways["stride 2"][0] == ways["max pooling"][0] == ways["average pooling"][0] < ways["none"][0]
    assert ways["max pooling"][3] > 0.75
    losses = table(printed, ("without dropout:", "with dropout:"), r"loss ([\d.]+) in training, ([\d.]+) in the test")
    without, with_dropout = losses["without dropout:"], losses["with dropout:"]
    assert with_dropout[1] < without[1] and with_dropout[0] > without[0]


def test_one_by_one(example):
    names = ("3x3 alone", "1x1 to 32, then 3x3", "1x1 to 16, then 3x3")
    rows = table(example("one_by_one")[0], names, r"([\d,]+) +([\d,]+) +([\d.]+) +([\d.]+)")
    alone, half, quarter = (rows[name] for name in names)
    assert alone[0] > 1.5 * half[0] > 2.5 * quarter[0] and alone[1] > 1.5 * half[1] > 2.5 * quarter[1]
    assert min(alone[3], half[3], quarter[3]) > 0.75


def test_lenet5(example):
    printed = example("lenet5")[0]
    row = r"([\d,]+) parameters in C3, ([\d,]+) in all, test accuracy ([\d.]+)"
    rows = table(printed, ("connections of 1998:", "all connections:"), row)
    assert rows["connections of 1998:"][:2] == [1516, 60806] and rows["all connections:"][:2] == [2416, 61706]
    assert all(accuracy > 0.85 for *_, accuracy in rows.values())


def test_alexnet(example):
    printed = example("alexnet")[0]
    assert "61,100,840" in printed and "parameters 233 MiB" in printed
    assert number(r"([\d.]+) training steps", printed) > 0
    before, after = map(float, re.search(r"loss ([\d.]+) -> ([\d.]+)", printed).groups())
    assert after < before


def test_text(example):
    assert number(r"test accuracy ([\d.]+)", example("text")[0]) > 0.9


def test_video(example):
    printed = example("video")[0]
    assert number(r"test accuracy ([\d.]+)", printed) > 0.85
    assert number(r"shuffled ([\d.]+)", printed) < 0.65


def test_generate(example):
    printed = example("generate")[0]
    assert number(r"test images ([\d.]+)", printed) < 0.4 * number(r"mean image ([\d.]+)", printed)


# ---- fastconv inside somebody else's project ------------------------------------

RESULT = [[0, 0, 1, 1, 0, 0, 0, 0], [0, 0, 2, 2, 0, 0, 0, 0], [0, 0, 3, 3, 0, 0, 0, 0]]
RESULT += RESULT[::-1]


def numbers(lines):
    return [[int(n) for n in re.findall(r"\d+", line)] for line in lines]


def test_embed_autograd(example):
    pytest.importorskip("autograd")
    printed = example("embed_autograd")[0]
    by_autograd, by_differences = map(float, re.search(r"(-?[\d.]+) by autograd, (-?[\d.]+) by", printed).groups())
    assert abs(by_autograd - by_differences) < 1e-6
    assert number(r"largest error of the filter that was found: ([\d.]+)", printed) < 0.05


@pytest.mark.skipif(
    find_spec("Cython") is None or find_spec("setuptools") is None, reason="needs Cython and setuptools"
)
def test_embed_cython(tmp_path):
    folder = shutil.copytree(EXAMPLES / "embed_cython", tmp_path / "project")
    run(folder, sys.executable, "setup.py", "-q", "build_ext", "--inplace")
    lines = run(folder, sys.executable, "run.py").splitlines()
    assert numbers(lines[:-1]) == RESULT and lines[-1] == "equal to fastconv.conv2d"


@pytest.mark.skipif(not (shutil.which("make") and shutil.which("cc")), reason="needs make and a C compiler")
def test_embed_c(tmp_path):
    folder = shutil.copytree(EXAMPLES / "embed_c", tmp_path / "project")
    run(folder, "make", "-s", "-j2", f"PYTHON={sys.executable}", CFLAGS="-O0")
    lines = run(folder, folder / "edges").splitlines()
    assert lines[0].endswith("6 x 8 results") and lines[0].split()[0] in fc.isas()
    assert numbers(lines[1:]) == RESULT


# ---- the gallery ------------------------------------------------------------------


def test_every_example_is_tested_and_in_the_gallery():
    gallery = (EXAMPLES / "README.md").read_text()
    for name in [*PROGRAMS, "embed_c", "embed_cython"]:
        assert f"test_{name.removesuffix('.py')}" in globals() and f"({name}" in gallery
    pictures = {path.name for path in (REPOSITORY / "docs").glob("example-*.png")}
    assert set(re.findall(r"\.\./docs/(example-[\w-]+\.png)", gallery)) == pictures
    for name in pictures:
        assert (REPOSITORY / "docs" / name).stat().st_size < LARGEST, name
