# SPDX-License-Identifier: BSD-3-Clause
"""``fastconv bench`` as a command, and the same under pytest-benchmark."""

import json
import os
import sys

import pytest
from bench_results import result, setting

from fastconv import cli
from fastconv.bench import networks, options, tables, worker
from fastconv.bench.results import load
from fastconv.bench.rivals import RIVALS


def test_bench_measures_prints_and_writes(tmp_path, capsys):
    path = tmp_path / "r.json"
    status = cli.main(
        ["bench", "--network", "tiny", "--rivals", "none", "--seconds", "0.001", "--json", str(path)]
        + ["--layout", "NHWC,NCHW", "--threads", "1,2"]
    )
    text = capsys.readouterr().out
    assert status == 0 and max(map(len, text.splitlines()[1:])) <= tables.WIDTH
    results = load(path)
    assert len(results.results) == 8 and set(results.bandwidth) == {1, 2}
    assert {(one.layout, one.threads) for one in results.results} == {
        (layout, threads) for layout in ("NHWC", "NCHW") for threads in (1, 2)
    }
    assert all(0 < one.share < 1.5 and one.error < 1e-6 and one.rounds >= 5 for one in results.results)
    assert all(set(one.absent) == set(RIVALS) for one in results.results)
    assert "tiny: convolution, forward, batch 1, 1 thread, NHWC" in text
    assert text.splitlines()[-1].startswith("8 cases: ")


def test_bench_keeps_what_it_has_when_it_ends_early(tmp_path, monkeypatch, capsys):
    from fastconv.bench import command

    def measure(cases):
        yield 1e10
        yield result(cases[0].layer, op=cases[0].op, network=cases[0].network)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "measure", measure)
    assert cli.main(["bench", "--network", "lenet5", "--json", str(tmp_path / "r.json")]) == 130
    assert len(load(tmp_path / "r.json").results) == 1
    assert "interrupted" in capsys.readouterr().err


def test_a_wrong_result_is_said_and_ends_in_status_1(monkeypatch, capsys):
    from fastconv.bench import command

    def measure(cases):
        yield 1e10
        for case in cases:
            yield worker.Failure(case, "WrongResult: fastconv: relative L2 error 1.0")

    monkeypatch.setattr(command, "measure", measure)
    assert cli.main(["bench", "--network", "tiny"]) == 1
    assert "FAILED conv2d tiny conv, batch 1: WrongResult" in capsys.readouterr().out


def test_a_worker_that_dies_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr(worker, "START", "import sys; sys.stdin.read(); sys.exit(7)")
    assert cli.main(["bench", "--network", "tiny", "--rivals", "none"]) == 1
    assert "status 7" in capsys.readouterr().err


CHATTY = """
import os
work = worker.work
def chatty(job):
    for answer in work(job):
        os.write(1, b"hello")
        print("hello")
        yield answer
worker.work = chatty
sys.exit("""


def test_nothing_that_a_library_prints_gets_into_the_answers(monkeypatch):
    monkeypatch.setattr(worker, "START", worker.START.replace("sys.exit(", CHATTY))
    case = worker.Planned("conv2d", networks.select("conv", ["tiny"])[0], 1, 1, setting())
    bandwidth, answer = worker.measure([case])
    assert bandwidth > 0 and answer.key[:3] == ("tiny", "conv", "conv2d")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--network", "lenet6"],
        ["--op", "convolve"],
        ["--batch", "0"],
        ["--threads", "x"],
        ["--layout", "NWHC"],
        ["--rivals", "tensorflow"],
        ["--seconds", "0"],
        ["--threshold", "100"],
        ["--compare", "one.json"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_wrong_options_are_explained(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["bench", *arguments])
    assert caught.value.code == 2 and "usage: fastconv bench" in capsys.readouterr().err


def test_places_that_cannot_be_written_are_told_before_the_work(tmp_path, capsys):
    assert cli.main(["bench", "--json", str(tmp_path / "no" / "r.json")]) == 1
    assert "cannot write" in capsys.readouterr().err
    assert cli.main(["bench", "--network", "tiny", "--only", "9x9"]) == 1
    assert "no layer fits" in capsys.readouterr().err


def test_default_run_is_short_and_of_known_layers():
    from fastconv.bench import command

    parser = cli.parser()
    arguments = parser.parse_args(["bench"])
    cases = command.plan(arguments)
    assert {case.op for case in cases} == set(options.SHORT.values()) and len(cases) * arguments.seconds < 15
    assert not any(case.where.reads_image for case in cases if case.op == "conv2d_backward_input")


def test_the_suite_runs_under_pytest_benchmark(tmp_path):
    pytest.importorskip("pytest_benchmark")
    import subprocess

    folder = os.path.join(os.path.dirname(__file__), "..", "benchmarks")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        folder,
        "--network",
        "tiny",
        "--rivals",
        "none",
    ]
    command += ["--seconds", "0.001", "--json", tmp_path / "r.json", "--benchmark-json", tmp_path / "b.json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    results = {one.op: one for one in load(tmp_path / "r.json").results}
    assert set(results) == {"conv2d", "conv2d_packed", "conv2d_backward_weight"}
    told = {entry["extra_info"]["op"]: entry for entry in json.loads((tmp_path / "b.json").read_text())["benchmarks"]}
    for op, one in results.items():
        stats = told[op]["stats"]
        assert stats["rounds"] == one.rounds and stats["min"] == pytest.approx(one.best)
    assert "geometric mean" in done.stdout.lower()


def test_training_steps_run_beside_pytorch():
    pytest.importorskip("pytest_benchmark")
    pytest.importorskip("torch")
    import subprocess

    folder = os.path.join(os.path.dirname(__file__), "..", "benchmarks", "networks")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", folder, "--rivals", "torch,torch-cl"]
    done = subprocess.run([*command, "--seconds", "0.001"], capture_output=True, text=True, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout and "torch-cl" in done.stdout
