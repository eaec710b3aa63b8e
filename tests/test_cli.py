# SPDX-License-Identifier: BSD-3-Clause
"""The command line, run as a user runs it."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

import fastconv as fc
from fastconv import cli, datasets, layers, models


def run(*arguments, cwd):
    """Exit status, standard output and standard error of ``python -m fastconv``."""
    command = [sys.executable, "-m", "fastconv", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a model of two epochs, and what the training printed."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, run("train", "--epochs", 2, "--seed", 1, "--threads", 2, cwd=folder)


def test_train_ends_with_the_accuracy_of_the_model_it_saved(trained):
    folder, (status, out, _) = trained
    assert status == 0
    lines = out.splitlines()
    assert re.fullmatch(r"epoch 2/2 - \d+\.\d\d s - loss \d\.\d{4} - accuracy 0\.\d{4}", lines[-3])
    assert lines[-2] == f"saved the model to {folder / 'fastconv-digits.npz'}"
    match = re.fullmatch(r"test accuracy (0\.\d{4}) \((\d+)/360\)", lines[-1])
    _, (x, y) = datasets.load_digits()
    model = models.load(folder / "fastconv-digits.npz")
    correct = np.sum(model.predict(x).argmax(axis=1) == y)
    assert int(match[2]) == correct and match[1] == f"{correct / 360:.4f}"
    assert correct > 300


def test_train_shows_a_progress_bar(trained):
    pytest.importorskip("tqdm")
    assert "46/46" in trained[1][2] and "loss" in trained[1][2]


def test_train_is_settled_by_the_seed_whatever_the_threads(trained):
    folder = trained[0]
    arguments = "train", "--epochs", 2, "--threads", 1, "--save", "again.npz", "--seed"
    assert run(*arguments, 1, cwd=folder)[1].splitlines()[-1] == trained[1][1].splitlines()[-1]
    first, again = folder / "fastconv-digits.npz", folder / "again.npz"
    assert first.read_bytes() == again.read_bytes()
    assert run(*arguments, 2, cwd=folder)[0] == 0
    assert first.read_bytes() != again.read_bytes()


def test_predict(trained):
    folder = trained[0]
    _, (x, y) = datasets.load_digits()
    np.save(folder / "one.npy", x[0, :, :, 0])
    np.save(folder / "float.npy", x[0].astype(float))
    np.save(folder / "many.npy", x[:40])
    status, out, err = run("predict", "fastconv-digits.npz", "one.npy", "float.npy", "many.npy", cwd=folder)
    assert status == 0 and err == ""
    lines = out.splitlines()
    assert len(lines) == 42
    assert lines[0].replace("one", "float") == lines[1]
    digit, probability = re.fullmatch(r"one.npy: (\d) \(probability (\d\.\d{4})\)", lines[0]).groups()
    assert int(digit) == y[0] and 0.3 < float(probability) <= 1
    found = [int(re.fullmatch(rf"many.npy\[{i}\]: (\d) .*", line)[1]) for i, line in enumerate(lines[2:])]
    assert np.mean(found == y[:40]) > 0.8
    assert lines[2].split(": ")[1] == lines[0].split(": ")[1]


def test_predict_with_a_model_of_probabilities_in_the_other_layout(tmp_path, capsys):
    model = models.Sequential(
        [layers.Flatten(), layers.Dense(3, "softmax")], input_shape=(1, 2, 2), layout="NCHW", seed=0
    )
    model.save(tmp_path / "model.npz")
    x = np.float32([[1, 2], [3, 4]])
    np.save(tmp_path / "x.npy", x)
    assert cli.main(["predict", str(tmp_path / "model.npz"), str(tmp_path / "x.npy")]) == 0
    scores = model.predict(x[None, None])[0]
    expected = f"x.npy: {scores.argmax()} (probability {scores.max():.4f})\n"
    assert capsys.readouterr().out.endswith(expected)


def test_info(tmp_path):
    status, out, _ = run("info", cwd=tmp_path)
    assert status == 0 and fc.__version__ in out and fc.isas()[0] in out


def broken_files(folder):
    np.savez(folder / "two.npz", a=np.zeros(3), b=np.zeros(3))
    np.save(folder / "objects.npy", np.array([None]), allow_pickle=True)
    np.save(folder / "wrong.npy", np.zeros((9, 9)))
    np.save(folder / "text.npy", np.full((8, 8), "x"))
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**40}, 8, 8), }}".encode()
    (folder / "bomb.npy").write_bytes(b"\x93NUMPY\x01\x00" + bytes([len(header) + 1, 0]) + header + b"\n")


ERRORS = {
    "no model": (["predict", "none.npz", "one.npy"], "none.npz"),
    "no image": (["predict", "fastconv-digits.npz", "none.npy"], "none.npy"),
    "no model file": (["predict", "two.npz", "wrong.npy"], "not a usable model file"),
    "two arrays": (["predict", "fastconv-digits.npz", "two.npz"], "two.npz"),
    "pickle": (["predict", "fastconv-digits.npz", "objects.npy"], "objects"),
    "size": (["predict", "fastconv-digits.npz", "wrong.npy"], "(9, 9)"),
    "text": (["predict", "fastconv-digits.npz", "text.npy"], "numbers"),
    "lying header": (["predict", "fastconv-digits.npz", "bomb.npy"], "bomb.npy"),
    "folder": (["train", "--epochs", "1", "--save", "no/such/folder/x.npz"], "no/such/folder"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line_and_an_exit_status(trained, monkeypatch, capsys, case):
    folder = trained[0]
    monkeypatch.chdir(folder)
    broken_files(folder)
    arguments, text = ERRORS[case]
    assert cli.main(arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and len(shown.err.splitlines()) == 1
    assert shown.err.startswith("fastconv: error: ") and text in shown.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["trian"],
        ["train", "--epochs", "0"],
        ["train", "--seed", "-1"],
        ["train", "--threads", "x"],
    ],
)
def test_wrong_arguments_are_explained(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2 and "usage: fastconv" in capsys.readouterr().err


def test_help_and_version(capsys):
    for argument, text in (("--help", "train"), ("--version", fc.__version__)):
        with pytest.raises(SystemExit) as caught:
            cli.main([argument])
        assert caught.value.code == 0 and text in capsys.readouterr().out
    assert os.path.exists(fc.__file__)
