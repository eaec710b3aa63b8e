# SPDX-License-Identifier: BSD-3-Clause
"""What ``fastconv bench`` measures with: networks, truths, rivals, turns."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from bench_results import setting

from fastconv.bench import contest as contests
from fastconv.bench import networks, rivals, tables, timing, truth, worker
from fastconv.bench.cases import Form
from fastconv.bench.contest import Contest, WrongResult
from fastconv.bench.layers import Conv, Conv3d, Linear, Norm, Pool, Sequence, Transposed
from fastconv.bench.operations import OPERATIONS
from fastconv.bench.results import Result
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


@pytest.mark.parametrize("precision, asked", [("high", tuple(RIVALS)), ("medium", ("torch-bf",))])
def test_known_rivals_agree_with_the_truth(precision, asked):
    """In a process of its own, since other libraries change what a process shares: threads, rounding, signals."""
    cases = [worker.Planned(op, layer, 2, 1, setting(rivals=asked, precision=precision)) for op, layer in CASES]
    _, *answers = worker.measure(cases)
    for answer in answers:
        assert isinstance(answer, Result), answer.reason
        for name in asked:
            rival = RIVALS[name]
            allowed = [rival.lacks] if getattr(rival, answer.op, None) is None else []
            allowed += [] if precision in rival.precisions else ['is less exact than "high"']
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
