# SPDX-License-Identifier: BSD-3-Clause
"""Products by parts, on a matrix unit or on vectors of bfloat16: how exact they are, where numbers that are not finite
and those too small or too large for a part end, and whose bits they have. Without such an instruction set there is
nothing to see; the C tests run the judges of its kernels everywhere."""

import functools
import os
import signal
import subprocess
import sys

import numpy as np
import oracle
import problems
import pytest
from compare import poisoned, same_bits
from guard import AVAILABLE, guarded

import fastconv as fc
from fastconv import datasets, layers, models, optimizers

needs_amx = pytest.mark.skipif("amx" not in fc.isas(), reason="no matrix unit")

PARTS = {"strict": "bf16x3", "high": "bf16x2", "medium": "bf16x1"}
PROMISED = {"strict": 4e-7, "high": 5e-6, "medium": 3e-3}
UNITS = {"amx": list(PARTS), "avx512_bf16": ["medium"]}  # and the precisions in which they are faster than float32
OPERATIONS = ("conv2d", "conv2d_backward_input", "conv2d_backward_weight")
# Every form of packing: lines, short rows that are gathered, strides, dilation, groups, several passes, odd ends.
SHAPES = [
    "n2 c64 h14 k64 r3x3 p1",
    "n2 c130 h16 w19 k70 r3x3 p1",
    "n3 c200 h17 k136 r1x1",
    "n2 c96 h30 w29 k96 r3x3 s2 p1",
    "n2 c128 h28 w30 k128 r2x2 s2",
    "c80 h25 k72 r5x5 p2 d2",
    "c96 h20 w21 k128 r3x3 p1 g2",
    "n3 c70 h40 w10 k80 r3x3 p1",
    "c48 h24 k48 r7x7 p3",
]


@pytest.fixture(params=[isa for isa in UNITS if isa in fc.isas()])
def unit(request):
    with fc.using_isa(request.param):
        yield request.param


@pytest.fixture(
    params=[(isa, precision) for isa in UNITS if isa in fc.isas() for precision in UNITS[isa]], ids=" ".join
)
def precision(request):
    with fc.using_isa(request.param[0]):
        yield request.param[1]


def compute(operation, data, how, **more):
    """By the direct algorithm: where Winograd's is faster, that of parts would not be seen."""
    how = how | {"algorithm": "direct"}
    if operation == "conv2d":
        return fc.conv2d(data.x, data.weight, **how, **more)
    if operation == "conv2d_backward_input":
        return fc.conv2d_backward_input(data.grad_y, data.weight, data.x.shape, **how, **more)
    return fc.conv2d_backward_weight(data.grad_y, data.x, data.weight.shape, **how, **more)


def truth_of(operation, data, how):
    if operation == "conv2d":
        return oracle.conv2d(data.x, data.weight, **how)
    if operation == "conv2d_backward_input":
        return oracle.conv2d_backward_input(data.grad_y, data.weight, data.x.shape, **how)
    return oracle.conv2d_backward_weight(data.grad_y, data.x, data.weight.shape, **how)


def algorithm_of(operation, data, how, algorithm="direct", **more):
    return fc.explain(operation, data.x.shape, data.weight.shape, **how, algorithm=algorithm, **more).algorithm


def adversarial(data, kind, rng):
    """Numbers of many magnitudes, or sums that nearly cancel."""
    for array in (data.x, data.weight, data.grad_y):
        if kind == "magnitudes":
            array *= np.exp2(rng.integers(-12, 12, array.shape)).astype(np.float32)
        elif kind == "positive":
            np.abs(array, out=array)
        elif kind == "cancelling":
            array[..., 1::2] = -array[..., : array.shape[-1] // 2 * 2 : 2]
            array *= 1 + np.float32(2**-11) * rng.standard_normal(array.shape, np.float32)


@functools.lru_cache(maxsize=1)  # for all precisions in turn
def adversarial_problem(text, kind):
    """Arrays, geometry, and of each operation the truth and the sums of the magnitudes of its terms."""
    problem = problems.parse(text)
    data, how = problems.random_conv_data(problem, np.float32), problem.geometry
    adversarial(data, kind, np.random.default_rng(3))
    sizes = problems.ConvData(abs(data.x), abs(data.weight), data.bias, abs(data.grad_y))
    truths = {operation: [truth_of(operation, each, how) for each in (data, sizes)] for operation in OPERATIONS}
    return data, how, truths


@pytest.mark.parametrize("kind", ["normal", "positive", "magnitudes", "cancelling"])
@pytest.mark.parametrize("text", SHAPES)
def test_errors(text, kind, precision):
    """Relative to the result; where sums cancel, to the sums of magnitudes, and componentwise everywhere."""
    data, how, truths = adversarial_problem(text, kind)
    for operation in OPERATIONS:
        if algorithm_of(operation, data, how, precision=precision) != PARTS[precision]:
            continue
        ours = compute(operation, data, how, precision=precision)
        truth, terms = truths[operation]
        scale = np.linalg.norm(terms if kind == "cancelling" else truth)
        assert np.linalg.norm(ours - truth) <= PROMISED[precision] * scale
        of_terms = {"strict": 32 * 2**-24, "high": 2**-15, "medium": 7.9e-3}[precision]
        assert (abs(ours - truth) <= of_terms * terms).all()


@needs_amx
@pytest.mark.parametrize("text", SHAPES)
def test_three_parts_are_as_exact_as_float32(text):
    """Not more than a tenth above the error of the vector units."""
    problem = problems.parse(text)
    data, how = problems.random_conv_data(problem, np.float32), problem.geometry
    for operation in OPERATIONS:
        with fc.using_isa("amx"):
            if algorithm_of(operation, data, how, precision="strict") != "bf16x3":
                continue
            ours = compute(operation, data, how, precision="strict")
        truth = truth_of(operation, data, how)
        with fc.using_isa("avx512"):
            vectors = compute(operation, data, how, precision="strict")
        assert np.linalg.norm(ours - truth) <= 1.1 * np.linalg.norm(vectors - truth)


def test_every_form_is_taken(precision):
    """The shapes above would show nothing if float32 did them."""
    for operation in OPERATIONS:
        taken = 0
        for text in SHAPES:
            problem = problems.parse(text)
            data = problems.random_conv_data(problem, np.float32)
            taken += algorithm_of(operation, data, problem.geometry, precision=precision) == PARTS[precision]
        assert taken >= (3 if operation == "conv2d_backward_weight" else 6)


def test_auto_takes_what_is_fastest(unit):
    """On vectors Winograd's algorithm, which needs a quarter of the products, is faster than one part."""
    for text, winograds in (("c64 h14 k64 r3x3 p1", unit != "amx"), ("c64 h14 k64 r1x1", False)):
        problem = problems.parse(text)
        data = problems.random_conv_data(problem, np.float32)
        for operation in OPERATIONS:
            chosen = algorithm_of(operation, data, problem.geometry, "auto", precision="medium")
            assert chosen == ("winograd" if winograds else "bf16x1")
            assert algorithm_of(operation, data, problem.geometry, "auto", precision="strict") in ("direct", "bf16x3")


@pytest.mark.parametrize("text", SHAPES)
def test_bits_depend_on_the_image_alone(text, precision, layout):
    problem = problems.parse(text)
    data, how = problems.random_conv_data(problem, np.float32), problem.geometry
    one = {operation: compute(operation, data, how, precision=precision) for operation in OPERATIONS}
    for threads in (1, 2, 3):
        with fc.threads(threads):
            for operation in OPERATIONS:
                assert same_bits(compute(operation, data, how, precision=precision), one[operation])
    for i in range(len(data.x)):
        alone = fc.conv2d(data.x[i : i + 1], data.weight, **how, precision=precision, algorithm="direct")
        assert same_bits(alone[0], one["conv2d"][i])
    seen = data.x.transpose(0, 3, 1, 2).copy().transpose(0, 2, 3, 1)
    assert same_bits(fc.conv2d(seen, data.weight, **how, precision=precision, algorithm="direct"), one["conv2d"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38])
def test_numbers_that_have_no_parts(precision, value):
    """The image is that of the vector units to the last bit, the others do not notice."""
    problem = problems.parse("n3 c64 h14 k64 r3x3 p1")
    data, how = problems.random_conv_data(problem, np.float32), problem.geometry | {"algorithm": "direct"}
    clean = fc.conv2d(data.x, data.weight, **how, precision=precision)
    for place in ((1, 0, 0, 0), (1, 7, 6, 33), (1, 13, 13, 63)):
        bad = data.x.copy()
        bad[place] = value
        y = fc.conv2d(bad, data.weight, **how, precision=precision)
        gradient = fc.conv2d_backward_weight(data.grad_y, bad, data.weight.shape, **how, precision=precision)
        with fc.using_isa("avx512"):
            direct = fc.conv2d(bad, data.weight, **how, precision="strict")
            direct_gradient = fc.conv2d_backward_weight(data.grad_y, bad, data.weight.shape, **how, precision="strict")
        assert same_bits(y[1], direct[1]) and same_bits(y[::2], clean[::2])
        np.testing.assert_array_equal(np.isnan(gradient), np.isnan(direct_gradient))
        np.testing.assert_array_equal(np.isinf(gradient), np.isinf(direct_gradient))


def test_small_numbers(precision):
    """Subnormal parts may be lost: of normal numbers as small as 2**-100 none is."""
    problem = problems.parse("n2 c64 h14 k64 r3x3 p1")
    data, how = problems.random_conv_data(problem, np.float32), problem.geometry | {"algorithm": "direct"}
    y = fc.conv2d(data.x, data.weight, **how, precision=precision)
    small = fc.conv2d(data.x * np.float32(2**-90), data.weight, **how, precision=precision)
    assert same_bits(small, y * np.float32(2**-90))
    tiny = fc.conv2d(np.full_like(data.x, 1e-42), data.weight, **how, precision=precision)
    assert np.abs(tiny).max() <= 1e-39


@needs_amx
def test_signals_and_forks():
    """A signal may come while tiles are in use, and a fork after: bits stay."""
    x = np.random.default_rng(0).standard_normal((2, 28, 28, 64), np.float32)
    weight = np.random.default_rng(1).standard_normal((3, 3, 64, 64), np.float32)
    with fc.using_isa("amx"):
        expected = fc.conv2d(x, weight, padding=1, precision="strict")
        seen = []

        def handler(*_):
            signal.setitimer(signal.ITIMER_REAL, 0)
            seen.append(same_bits(fc.conv2d(x, weight, padding=1, precision="strict"), expected))
            signal.setitimer(signal.ITIMER_REAL, 0.001)

        before = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        try:
            while len(seen) < 20:
                assert same_bits(fc.conv2d(x, weight, padding=1, precision="strict"), expected)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert all(seen)
        child = os.fork()
        if child == 0:
            os._exit(0 if same_bits(fc.conv2d(x, weight, padding=1, precision="strict"), expected) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@needs_amx
def test_a_small_signal_stack_means_vectors(tmp_path):
    """The system refuses tiles then; nothing else changes, and show_config tells why."""
    code = """
import ctypes
class Stack(ctypes.Structure):
    _fields_ = [("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
memory = ctypes.create_string_buffer(8192)
assert ctypes.CDLL(None).sigaltstack(ctypes.byref(Stack(ctypes.addressof(memory), 0, 8192)), None) == 0
import numpy as np
import fastconv as fc
assert "amx" not in fc.isas()
fc.conv2d(np.ones((1, 28, 28, 64), np.float32), np.ones((3, 3, 64, 64), np.float32))
fc.show_config()
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "amx (the operating system refuses it to this process)" in run.stdout


@pytest.mark.skipif(not AVAILABLE, reason="needs mprotect")
@pytest.mark.parametrize("side", ["start", "end"])
@pytest.mark.parametrize(
    "text", ["n2 c70 h14 k81 r3x3 p1", "c65 h14 w15 k127 r3x3 p1", "n2 c321 h13 k225 r1x1", "c97 h27 k98 r3x3 s2 p1"]
)
def test_nothing_beyond_arrays(text, precision, side, layout):
    """Odd numbers of channels and filters, between pages that nobody may touch."""
    problem = problems.parse(text)
    data, how = problems.random_conv_data(problem, np.float32, layout), problem.geometry | {"layout": layout}
    inside = problems.ConvData(*(guarded(array, side) for array in (data.x, data.weight, data.bias, data.grad_y)))
    for operation, like in zip(OPERATIONS, (data.grad_y, data.x, data.weight), strict=True):
        if operation == "conv2d":
            assert algorithm_of(operation, data, how, precision=precision) == PARTS[precision]
        out = guarded(poisoned(like.shape, np.float32), side)
        compute(operation, inside, how, precision=precision, out=out)
        assert same_bits(out, compute(operation, data, how, precision=precision))


def test_digits_are_learnt_in_every_precision(unit):
    (x, y), (test_x, test_y) = datasets.load_digits()
    x, test_x = (np.kron(images, np.ones((1, 2, 2, 1), np.float32)) for images in (x[:768], test_x))
    accuracy = {}
    for precision in PARTS:
        with fc.precision(precision):
            model = models.Sequential(seed=3)
            model.add(layers.Conv2D(64, (3, 3), padding="same", activation="relu", input_shape=x.shape[1:]))
            model.add(layers.Conv2D(64, (3, 3), strides=2, padding="same", activation="relu"))
            model.add(layers.Flatten())
            model.add(layers.Dense(10))
            model.compile(optimizer=optimizers.Adam(4e-3), loss="cross_entropy", metrics=["accuracy"])
            model.fit(x, y[:768], batch_size=64, epochs=4, verbose=0)
            accuracy[precision] = np.mean(np.argmax(model.predict(test_x), axis=-1) == test_y)
    assert min(accuracy.values()) > 0.85 and max(accuracy.values()) - min(accuracy.values()) < 0.03, accuracy
