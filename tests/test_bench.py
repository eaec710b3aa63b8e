# SPDX-License-Identifier: BSD-3-Clause
"""``fastconv bench`` and what it is made of: networks, truths, turns, results, comparison, sweep, pictures."""

import json
import os
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fastconv import cli
from fastconv.bench import compare, machine, networks, options, rivals, sweep, tables, timing, truth, worker
from fastconv.bench import contest as contests
from fastconv.bench.cases import Form
from fastconv.bench.contest import Contest, Setting, WrongResult
from fastconv.bench.layers import Conv, Conv3d, Linear, Norm, Pool, Sequence, Transposed
from fastconv.bench.operations import OPERATIONS
from fastconv.bench.results import SCHEMA, Result, Results, load, load_all
from fastconv.bench.rivals import NOT_ASKED, RIVALS, Rival, Run

CONV = Conv("net", "conv", 7, 6, 20, 24, 3, 3, stride=2, padding=1)
GROUPED = Conv("net", "grouped", 6, 6, 24, 48, 3, 3, padding=1, groups=12)
DEPTHWISE = Conv("net", "dw", 6, 5, 20, 20, 3, 3, padding=1, groups=20)
POOL = Pool("net", "pool", 9, 9, 12, 3, 2, padding=1)
LINEAR = Linear("net", "fc", 30, 20)
VOLUME = Conv3d("net", "volume", 5, 6, 7, 10, 12, 3, 2, 3, stride=2)
LAYERS = {"conv": [CONV, GROUPED, DEPTHWISE], "pool": [POOL], "linear": [LINEAR], "volume": [VOLUME]}
LAYERS["inner_conv"], LAYERS["inner_volume"] = LAYERS["conv"], LAYERS["volume"]
LAYERS["transposed"] = [
    Transposed("net", "up", 8, 7, 20, 24, 3, 3, stride=2, padding=1),
    Transposed("net", "grouped", 8, 8, 24, 48, 2, 2, stride=2, groups=12),
]
LAYERS["norm"] = LAYERS["response"] = [Norm("net", "norm", 6, 7, 24, 8)]
LAYERS["sequence"] = [Sequence("net", "words", 30, 20, 24, 4, 2, 1)]
CASES = [(op, layer) for op, operation in OPERATIONS.items() for layer in LAYERS[operation.kind]]


def setting(**changes):
    default = {"dtype": "float32", "layout": "NHWC", "precision": "high", "isa": "reference", "seconds": 1e-3}
    return Setting(**(default | {"rivals": ()} | changes))


# ---------------------------------------------------------------- networks


def test_networks_have_the_layers_of_their_papers():
    count = {name: len(networks.select("conv", [name])) for name in networks.NETWORKS}
    assert count["resnet50"] == 23 and count["vgg16"] == 9 and count["alexnet"] == 5 and count["mobilenet"] == 19
    names = [(conv.network, conv.name) for conv in networks.CONVS + networks.VOLUMES]
    assert len(set(names)) == len(names)
    assert {layer.network for table in networks.TABLES.values() for layer in table} == set(networks.NETWORKS)
    for kind in ("conv", "pool", "linear"):
        sizes = [(layer.network, *layer.sizes.values()) for layer in networks.TABLES[kind]]
        assert len(set(sizes)) == len(sizes)
    flops = {
        conv.name: 2 * conv.p * conv.q * conv.k * conv.c * conv.r * conv.s // conv.groups
        for conv in networks.select("conv", ["vgg16"])
    }
    assert flops["conv1_2"] == 3_699_376_128 and flops["conv5"] == 924_844_032


def test_selection_by_kernel_and_name():
    assert [conv.name for conv in networks.select("conv", ["alexnet"], ["3x3"])] == ["conv3", "conv4", "conv5"]
    assert [conv.name for conv in networks.select("conv", ["alexnet", "vgg16"], ["conv1*"])] == [
        "conv1_1",
        "conv1_2",
        "conv1",
    ]
    assert not any(conv.reads_image for conv in networks.TABLES["inner_conv"])
    assert len(networks.known("conv")) == len(networks.KNOWN)


def test_inception_modules_fit_together():
    """What the four branches of a module give is what the next one takes."""
    convs = {conv.name: conv for conv in networks.select("conv", ["googlenet"])}
    given = sum(convs[f"3a.{branch}"].k for branch in ("1x1", "3x3", "5x5", "pooled"))
    assert given == convs["3b.1x1"].c == 256


# ---------------------------------------------------------------- truths and cases


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("op, layer", CASES, ids=lambda value: getattr(value, "name", value))
def test_every_operation_is_what_the_sampled_truth_says(op, layer, layout):
    contest = Contest(setting(layout=layout), 1)
    with contest.running():
        case = OPERATIONS[op].build(contest.form, layer, 3)
        whole = case.back(case.call())
    expected = case.truth()
    contest.check("fastconv", case.pick(whole), expected, 0.0 if case.exact else 1e-6)
    assert 0 < expected.size and case.flops > 0 and case.nbytes > 0
    damaged = np.array(whole)
    damaged[...] *= 1.01  # every element: whichever are looked at, it must be noticed
    with pytest.raises(WrongResult, match="relative L2 error"):
        contest.check("fastconv", case.pick(damaged), expected, 1e-3)


@pytest.mark.parametrize("conv", LAYERS["conv"], ids=lambda conv: conv.name)
def test_a_sample_is_a_part_of_the_whole_truth(conv):
    form = Form("NHWC", "float64")
    x, weight = form.source.normal(conv.x_shape(3)), form.source.weights(conv.weight_shape)
    whole = truth.conv2d(conv, x, weight)
    sample = truth.conv_sample(conv, 3, channels=None)
    np.testing.assert_allclose(truth.conv2d(sample.layer, sample.x(x), sample.weight(weight)), sample.y(whole))
    assert set(sample.images) == {0, 2} and {0, conv.k - 1} <= set(sample.filters)
    grad_y = form.source.normal(conv.y_shape(3))
    whole = truth.conv2d_backward_weight(conv, grad_y, x)
    sample = truth.conv_sample(conv, 3, images=None)
    part = truth.conv2d_backward_weight(sample.layer, sample.y(grad_y), sample.x(x))
    np.testing.assert_allclose(part, sample.weight(whole))
    whole = truth.conv2d_backward_input(conv, grad_y, weight)
    sample = truth.conv_sample(conv, 3, filters=None)
    part = truth.conv2d_backward_input(sample.layer, sample.y(grad_y), sample.weight(weight))
    np.testing.assert_allclose(part, sample.x(whole))


def test_a_result_that_is_not_written_or_wrong_is_not_timed(monkeypatch):
    contest = Contest(setting(), 1)
    build = OPERATIONS["conv2d"].build

    def spoiled(change):
        def build_spoiled(*arguments):
            case = build(*arguments)
            return replace(case, call=lambda: change(case.call()))

        return replace(OPERATIONS["conv2d"], build=build_spoiled)

    def hole(y):
        y[1, 2, 2, 4] = np.nan  # the sample has images 0 and 2
        return y

    monkeypatch.setitem(OPERATIONS, "conv2d", spoiled(hole))
    with contest.running(), pytest.raises(WrongResult, match="not all of it written"):
        contest.run("conv2d", CONV, 3)
    monkeypatch.setitem(OPERATIONS, "conv2d", spoiled(lambda y: y * np.float32(1.001)))
    with contest.running(), pytest.raises(WrongResult, match="relative L2 error"):
        contest.run("conv2d", CONV, 3)


# ---------------------------------------------------------------- rivals


class Fake(Rival):
    """A rival that gives what it is told to give."""

    layouts, dtypes = ("NHWC",), ("float32",)
    lacks = "lacks it"
    factor = 1.0

    def __init__(self, threads, layout):
        self.told = (threads, layout)

    def conv2d(self, layer, x, weight):
        y = self.factor * truth.conv2d(layer, x, weight)
        return Run(lambda: y, lambda result: result)


def test_no_rival_is_missing_without_a_reason(monkeypatch):
    class Wrong(Fake):
        factor = 1.01

    class Failing(Fake):
        def conv2d(self, layer, x, weight):
            raise RuntimeError("out of tea")

    class Elsewhere(Fake):
        requires = ("no_such_module",)

    class Alone(Fake):
        one_thread_count = True

    known = {"good": Fake, "wrong": Wrong, "failing": Failing, "elsewhere": Elsewhere, "alone": Alone}
    known |= {"double": type("Double", (Fake,), {"dtypes": ("float64",)}), "unasked": Fake, "broken": Fake}
    for module in (rivals, contests):
        monkeypatch.setattr(module, "RIVALS", known)
    asked = tuple(name for name in known if name != "unasked")
    contest = Contest(setting(rivals=asked, thread_counts=(1, 2)), 1, {"broken": "cannot be imported: why"})
    with contest.running():
        result = contest.run("conv2d", CONV, 1)
        gradient = contest.run("conv2d_backward_input", CONV, 1)
    assert result.rivals == ["good"] and result.rival_error["good"] < 1e-12
    assert set(result.absent) == set(known) - {"good"}
    reasons = ["wrong result", "out of tea", "no_such_module", "one number of threads", "float32", NOT_ASKED, "why"]
    for reason, found in zip(reasons, result.absent.values(), strict=True):
        assert reason in found
    assert gradient.absent["good"] == "lacks it"
    assert any("lacks it" in line for line in tables.absences([gradient]))


def test_known_rivals_agree_with_the_truth():
    """In a process of its own, since other libraries change what a process shares: threads, rounding, signals."""
    cases = [worker.Planned(op, layer, 2, 1, setting(rivals=tuple(RIVALS))) for op, layer in CASES]
    _, *answers = worker.measure(cases)
    for answer in answers:
        assert isinstance(answer, Result), answer.reason
        for name, rival in RIVALS.items():
            allowed = [rival.lacks] if getattr(rival, answer.op, None) is None else []
            allowed += [f"needs {' and '.join(rival.missing())}, not installed here"] if rival.missing() else []
            assert name in answer.seconds or answer.absent[name] in allowed, (answer.op, answer.layer, answer.absent)


# ---------------------------------------------------------------- turns


class Clock:
    """Time that passes only where something takes it."""

    def __init__(self):
        self.time = self.slept = 0.0

    def perf_counter(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds
        self.slept += seconds


class Calm:
    """A canary that sings as it is told, and then is calm."""

    def __init__(self, *readings):
        self.readings = list(readings)

    def calm(self):
        return self.readings.pop(0) if self.readings else True


def contestant(clock, seconds, rest=0.0):
    """A contestant that takes so long; ``seconds`` may be an endless function of the number of the call."""
    calls = [0]

    def call():
        clock.time += seconds(calls[0]) if callable(seconds) else seconds
        calls[0] += 1

    return timing.Calls(call, rest, clock)


def test_turns_give_each_contestant_the_same_rounds():
    clock = Clock()
    race = {"a": contestant(clock, 0.004, 0.01), "b": contestant(clock, 0.008), "c": contestant(clock, 1e-4)}
    times, settled = timing.race(
        race, seconds=0.5, threads=2, clock=clock, canary=Calm(), patience=timing.Patience(0.0)
    )
    assert settled and {len(one.samples) for one in times.values()} == {len(times["a"].samples)}
    assert times["a"].best == pytest.approx(0.004) and times["b"].median == pytest.approx(0.008)
    assert times["a"].median_ratio(times["b"]) == pytest.approx(2)
    assert race["a"].count == 1 and race["c"].count == 20  # a block of 2 ms
    assert clock.slept == pytest.approx(0.01 * (1 + len(times["a"].samples)))
    assert 0.4 < clock.time < 0.7


def test_a_lucky_round_is_measured_again_until_patience_ends():
    clock = Clock()
    lucky = contestant(clock, lambda call: 0.002 if call == 11 else 0.004)
    patience = timing.Patience(0.2)
    times, settled = timing.race({"a": lucky}, seconds=0.04, threads=1, clock=clock, canary=Calm(), patience=patience)
    assert not settled and times["a"].best == pytest.approx(0.002)
    assert len(times["a"].samples) > timing.MIN_ROUNDS and patience.left < 0.2
    assert clock.time < 0.04 + 3 * 0.04 + 0.05
    again = contestant(clock, lambda call: 0.002 if call % 4 == 1 else 0.004)
    times, settled = timing.race(
        {"a": again}, seconds=0.04, threads=1, clock=clock, canary=Calm(), patience=timing.Patience(9.0)
    )
    assert settled and times["a"].best == pytest.approx(0.002)


def test_rounds_of_a_slow_phase_do_not_count():
    clock = Clock()
    slow_until = 0.2
    canary = SimpleNamespace(calm=lambda: clock.time > slow_until)
    phase = contestant(clock, lambda call: 0.008 if clock.time < slow_until else 0.004)
    times, settled = timing.race(
        {"a": phase}, seconds=0.1, threads=1, clock=clock, canary=canary, patience=timing.Patience(9.0)
    )
    assert settled and times["a"].median == pytest.approx(0.004) and max(times["a"].samples) < 0.005


def test_a_canary_notices_slowness():
    clock = Clock()
    canary = timing.Canary(clock)
    steps = iter(3 * [1e-4] + 3 * [1.1e-4] + 3 * [2e-4] + 3 * [1e-4])
    canary._loop = lambda: next(steps)
    assert [canary.calm() for _ in range(4)] == [True, True, False, True]


# ---------------------------------------------------------------- results


def result(name="conv", share=0.8, rivals=(("torch", 1.5),), network="net", **changes):
    """A result whose peak is 100 GFLOP/s."""
    seconds = {"fma": 1.0, "fastconv": 1.0 / share}
    seconds |= {rival: ratio / share for rival, ratio in rivals}
    known = {name: {"best": value, "median": 1.1 * value} for name, value in seconds.items()}
    values = {
        "network": network, "layer": name, "op": "conv2d", "layout": "NHWC", "dtype": "float32", "precision": "high",
        "isa": "avx2", "batch": 1, "threads": 1, "problem": "8x8x4->4 3x3", "sizes": {"h": 8}, "flops": 10**11,
        "bytes": 10**9, "limit": "fma", "error": 2e-7, "rounds": 9, "settled": True, "seconds": known,
        "ratio_median": dict(rivals), "rival_error": {}, "absent": {"jax": "is not here"},
    }  # fmt: skip
    return Result(**(values | changes))


def file_of(path, *results):
    Results(machine.describe(), list(results), {1: 1e10}).save(path)
    return str(path)


def test_a_result_file_has_everything_and_comes_back(tmp_path):
    before = result()
    path = file_of(tmp_path / "a.json", before)
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["schema"] == SCHEMA and content["machine"]["cpu"] and content["machine"]["versions"]["numpy"]
    (record,) = content["records"]
    assert record["gflops"] == pytest.approx(80) and record["peak_gflops"] == pytest.approx(100)
    assert record["share_of_peak"] == pytest.approx(0.8) and record["ratio_best"]["torch"] == pytest.approx(1.5)
    assert record["absent"] == {"jax": "is not here"}
    after = load(path)
    assert after.results == [before] and after.bandwidth == {1: 1e10}
    again = file_of(tmp_path / "b.json", result(share=0.5), result("other"))
    assert [one.share for one in load_all([path, again]).results] == [0.5, 0.8]


@pytest.mark.parametrize(
    "content, text",
    [
        ("{", "no JSON"),
        ("[1]", "no results"),
        ('{"records": [], "schema": 99}', "schema 99"),
        (json.dumps({"schema": SCHEMA, "records": [{}]}), "without"),
    ],
)
def test_other_files_are_refused(tmp_path, capsys, content, text):
    (tmp_path / "x.json").write_text(content)
    assert cli.main(["bench", "--load", str(tmp_path / "x.json")]) == 1
    assert text in capsys.readouterr().err


def test_tables_fit_and_say_what_is_worst():
    many = [(name, 1.25 + number / 10) for number, name in enumerate(RIVALS)]
    group = [result("a" * 13, rivals=many, problem="14x14x1024->2048 1x1/2"), result("b", 0.5, many, settled=False)]
    group.append(replace(result("dw", 0.1, []), limit="copy"))
    group[2].seconds["copy"] = {"best": 2.0, "median": 2.0}
    lines = list(tables.lines(group))
    assert max(map(len, lines)) <= tables.WIDTH
    text = "\n".join(lines)
    assert "*1.25" in text and "x1.35" in text and "~50" in text and "20%m" in text
    assert "80%" in text and "jax is not here (3 cases)" in text
    assert "3 cases: 43% of the limit (least 20%), x1.25 the best rival's speed (least x1.25: net " in lines[-1]
    assert [tables.duration(value) for value in (1.5, 0.9999, 0.0123, 2.5e-6)] == ["1.50s", "1.00s", "12.3ms", "2.50us"]


# ---------------------------------------------------------------- comparison


def test_comparison_finds_what_became_slower(tmp_path, capsys):
    old = file_of(tmp_path / "old.json", result("a"), result("b"), result("c"))
    same = file_of(tmp_path / "same.json", result("a", 0.73), result("b", 0.9), result("d"))
    assert cli.main(["bench", "--compare", old, same]) == 0
    text = capsys.readouterr().out
    assert "only in the old file: 1 case" in text and "No case is slower by more than 10 %" in text
    slow = file_of(tmp_path / "slow.json", result("a", 0.71), result("b", 0.8))
    assert cli.main(["bench", "--compare", old, slow]) == 1
    text = capsys.readouterr().out
    assert "net a" in text and "net b" not in text and "-11%" in text
    assert cli.main(["bench", "--compare", old, slow, "--threshold", "15"]) == 0


def test_comparison_does_not_look_at_the_clock():
    """Twice the time beside half the peak is the same speed."""
    slower_clock = result()
    slower_clock.seconds = {name: {"best": 2 * v["best"], "median": 1.0} for name, v in result().seconds.items()}
    assert compare.change(result(), slower_clock) == pytest.approx(1)


def test_files_without_a_common_case_cannot_be_compared(tmp_path, capsys):
    paths = file_of(tmp_path / "a.json", result()), file_of(tmp_path / "b.json", result(batch=2))
    assert cli.main(["bench", "--compare", *paths]) == 1
    assert "no case in common" in capsys.readouterr().err


# ---------------------------------------------------------------- sweep


def test_sweep_finds_the_worst_fall():
    shares = {"n1": 0.5, "n2": 0.8, "n4": 0.4, "n8": 0.7}
    results = [
        result(f"batch 3x3 {name}", share, network="sweep", flops=10**9 * 2**index)
        for index, (name, share) in enumerate(shares.items())
    ]
    for one in results:
        one.seconds["fma"]["best"] = one.share * one.best  # the share is what counts, whatever the work
    ((key, (fall, before, after)),) = sweep.falls(results[::-1]).items()
    assert key[0] == "batch 3x3" and fall == pytest.approx(0.5)
    assert (before.layer, after.layer) == ("batch 3x3 n2", "batch 3x3 n4")
    assert "n2 80% -> n4 40%  TOO MUCH" in "\n".join(sweep.lines(results))
    assert not list(sweep.lines([result()]))


def test_sweep_grows_one_thing_at_a_time():
    cases = sweep.cases()
    work = {}
    for conv, batch in cases:
        work.setdefault(conv.name.rsplit(" ", 1)[0], []).append(batch * conv.p * conv.q * conv.c * conv.k)
    assert len(work) == 6 and all(values == sorted(set(values)) for values in work.values())
    assert {batch for _, batch in cases} >= {1, 64} and {conv.h for conv, _ in cases} >= {8, 224}
    assert {conv.c for conv, _ in cases} >= {16, 512}


# ---------------------------------------------------------------- the command


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


# ---------------------------------------------------------------- pictures


def test_report_has_tables_and_pictures(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    ops = ("conv2d", "conv2d_backward_input", "conv2d_backward_weight")
    group = [
        result(name, share, [("torch", 1.3), ("onnxrt", 0.7 + share)], network=network, op=op)
        for op in ops
        for network in ("one", "two")
        for name, share in (("a", 0.4), ("b", 0.7), ("c", 0.9))
    ]
    path = file_of(tmp_path / "r.json", *group, result(op="max_pool2d"), result(op="linear", rivals=[]))
    folder = tmp_path / "report"
    assert cli.main(["bench", "--load", path, "--report", str(folder)]) == 0
    names = sorted(os.listdir(folder))
    stem = "batch1-threads1-NHWC-float32-high-avx2.png"
    assert names == [
        "overview.md",
        f"ratios-conv2d-{stem}",
        f"ratios-max_pool2d-{stem}",
        "results.json",
        f"roofline-conv2d-{stem}",
        "tables.txt",
    ]
    for name in names:
        assert (folder / name).stat().st_size > 500
        assert not name.endswith("png") or (folder / name).read_bytes().startswith(b"\x89PNG")
    overview = (folder / "overview.md").read_text().splitlines()
    assert sum(line.startswith("| one | convolution, ") for line in overview) == 3
    assert "| 3 | 63% | 40% a | x1.23 | x1.10 a (onnxrt) |" in overview[4]


def test_many_layers_are_spread_over_pictures():
    from fastconv.bench import picture

    group = [result(f"l{i}", network=f"n{i % 4}") for i in range(120)]
    pages = picture._pages(group)
    assert len(pages) == 2 and sum(map(len, pages)) == 120
    assert all(len({one.network for one in page}) == 2 for page in pages)


# ---------------------------------------------------------------- the suite


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
