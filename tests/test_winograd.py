# SPDX-License-Identifier: BSD-3-Clause
"""Winograd's algorithm: where it puts what is not finite, and when it runs.

How far its results are off is tested in test_winograd_accuracy.py. What it shares with every algorithm is tested with
them: bits in test_reproducible.py, arrays between guard pages in test_memory_safety.py.
"""

import numpy as np
import oracle
import problems
import pytest
from compare import poisoned, same_bits, unit_roundoff

import fastconv as fc
from fastconv import datasets, layers, models, optimizers

pytestmark = pytest.mark.filterwarnings("ignore:(invalid value|overflow)")  # of oracle and NumPy, on purpose

OPERATIONS = ("forward", "input", "weight")


def compute(operation, data, how, **more):
    """y, grad_x or grad_weight."""
    if operation == "forward":
        return fc.conv2d(data.x, data.weight, **how, **more)
    if operation == "input":
        return fc.conv2d_backward_input(data.grad_y, data.weight, data.x.shape, **how, **more)
    return fc.conv2d_backward_weight(data.grad_y, data.x, data.weight.shape, **how, **more)


# Sizes around those of vectors, panels, passes and tiles; borders wider than the filter.
ODD = [
    "n2 c16 h11 w13 k19 r3x3 p1",
    "c19 h10 w21 k17 r3x3",
    "n2 c45 h14 w9 k34 r3x3 p0:2x1:3",
    "c48 h12 w11 k64 r3x3 p2 g2",
    "n3 c16 h1 w103 k16 r3x3 p1",
    "c131 h11 w10 k20 r3x3 p5",
    "c20 h13 w10 k150 r3x3 p1",
]


@pytest.mark.parametrize("text", ODD)
def test_both_layouts_have_the_same_bits(text, dtype, isa):
    odd = problems.parse(text)
    data = problems.random_conv_data(odd, dtype)
    for operation in OPERATIONS:
        one, other = (
            compute(operation, arranged, odd.geometry | {"layout": layout}, algorithm="winograd")
            for arranged, layout in ((data, "NHWC"), (data.to_nchw(), "NCHW"))
        )
        back = oracle.to_rsck if operation == "weight" else oracle.to_nhwc
        assert same_bits(one, np.ascontiguousarray(back(other, "NCHW")))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "sigmoid"])
def test_bias_and_activation(activation, isa, layout, dtype):
    problem = problems.parse("n2 c16 h11 w13 k35 r3x3 p1")
    data = problems.random_conv_data(problem, dtype, layout)
    how = problem.geometry | {"layout": layout, "algorithm": "winograd"}
    y = fc.conv2d(data.x, data.weight, data.bias, activation=activation, **how)
    bias = oracle.from_nhwc(data.bias[None, None, None], layout)
    truth = oracle.ACTIVATIONS[activation](fc.conv2d(data.x, data.weight, **how).astype(np.longdouble) + bias)
    np.testing.assert_allclose(y, truth.astype(np.float64), rtol=20 * unit_roundoff(dtype), atol=unit_roundoff(dtype))


@pytest.mark.parametrize("image_type", [np.uint8, np.int8, np.int16, np.float16, ">f4"])
def test_images_of_other_types_are_converted(image_type, isa, layout):
    problem = problems.parse("n2 c17 h12 w11 k20 r3x3 p1")
    data = problems.exact_conv_data(problem, np.float32, layout)
    how = problem.geometry | {"layout": layout, "algorithm": "winograd"}
    images = (data.x % 100).astype(image_type)
    plain = images.astype(np.float32)
    assert same_bits(fc.conv2d(images, data.weight, **how), fc.conv2d(plain, data.weight, **how))
    one, other = (fc.conv2d_backward_weight(data.grad_y, array, data.weight.shape, **how) for array in (images, plain))
    assert same_bits(one, other)


# ---- numbers that are not finite ----------------------------------------------

POISONS = (np.nan, np.inf, -np.inf)


def kinds(array):
    """0 for a finite number, 1 for NaN, 2 and 3 for the infinities."""
    return np.select([np.isnan(array), np.isposinf(array), np.isneginf(array)], [1, 2, 3])


def assert_as_direct(operation, data, how):
    """What is not finite lies where the direct algorithm of precision "strict" has it, and is the same."""
    ours = compute(operation, data, how, algorithm="winograd")
    direct = compute(operation, data, how, algorithm="direct", precision="strict")
    np.testing.assert_array_equal(kinds(ours), kinds(direct))
    return ours


def with_one(array, place, value):
    copy = array.copy()
    copy[place] = value
    return copy


def pixels(problem, isa, size):
    """Every pixel, so every place in a tile and on the border; the reference is slow and is asked for fewer."""
    return list(np.ndindex(size))[:: 1 if isa != "reference" else 13]


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("text", ["n3 c17 h9 w10 k19 r3x3 p1", "n2 c34 h7 w11 k36 r3x3 p0:3x2:0 g2"])
def test_one_number_of_an_image_is_not_finite(text, poison, isa, dtype):
    """The other images keep the bits that they have without it; its own gets those of the direct algorithm."""
    problem = problems.parse(text)
    data, how = problems.random_conv_data(problem, dtype), problem.geometry
    clean = {operation: compute(operation, data, how, algorithm="winograd") for operation in OPERATIONS}
    for h, w in pixels(problem, isa, (problem.h, problem.w)):
        bad = problems.ConvData(with_one(data.x, (1, h, w, 3), poison), data.weight, data.bias, data.grad_y)
        y = assert_as_direct("forward", bad, how)
        assert same_bits(y[0::2], clean["forward"][0::2])
        assert same_bits(y[1], fc.conv2d(bad.x, data.weight, **how, algorithm="direct")[1])
        assert_as_direct("weight", bad, how)
    for p, q in pixels(problem, isa, problem.output_size):
        bad = problems.ConvData(data.x, data.weight, data.bias, with_one(data.grad_y, (1, p, q, 2), poison))
        grad_x = assert_as_direct("input", bad, how)
        assert same_bits(grad_x[0::2], clean["input"][0::2])
        assert_as_direct("weight", bad, how)


@pytest.mark.parametrize("poison", POISONS)
def test_one_weight_is_not_finite(poison, isa, dtype):
    problem = problems.parse("n2 c5 h6 w7 k18 r3x3 p1")
    data, how = problems.random_conv_data(problem, dtype), problem.geometry
    for r, s in np.ndindex(3, 3):
        weight = with_one(data.weight, (r, s, 4, 17), poison)
        bad = problems.ConvData(data.x, weight, data.bias, data.grad_y)
        assert_as_direct("forward", bad, how)
        assert_as_direct("input", bad, how)


@pytest.mark.parametrize("affected", [[0], [4], [1, 2], [0, 2, 4], [1, 3, 4], [0, 1, 2, 3, 4]])
def test_any_of_several_images_is_not_finite(affected, isa, layout):
    """Neither a bias nor an activation that hides infinities hides them from the algorithm."""
    problem = problems.parse("n5 c16 h10 w10 k16 r3x3 p1")
    data = problems.random_conv_data(problem, np.float32, layout)
    how = problem.geometry | {"layout": layout, "activation": "relu"}
    x = data.x.copy()
    x[affected, 5, 5, 5] = -np.inf
    clean, y, direct = (
        fc.conv2d(images, data.weight, data.bias, **how, algorithm=algorithm)
        for images, algorithm in ((data.x, "winograd"), (x, "winograd"), (x, "direct"))
    )
    for n in range(5):
        assert same_bits(y[n], (direct if n in affected else clean)[n])
    assert np.isinf(y[affected]).any() and (y[affected] == 0).any()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_overflow_of_intermediate_results(operation, isa):
    """From 1e36 to the largest number: some tiles overflow where no result does, in some the results do."""
    problem = problems.parse("n2 c16 h9 w10 k17 r3x3 p1")
    finite = 0
    for turn in range(60 if isa != "reference" else 6):
        rng = np.random.default_rng(turn)
        size, largest = 10 ** rng.uniform(36, 38.5), np.finfo(np.float32).max
        x, weight, grad_y = (
            rng.standard_normal(shape(*where)) * scale
            for shape, where, scale in (
                (problem.x_shape, ("NHWC",), size if operation != "input" else 1),
                (problem.weight_shape, ("NHWC",), 10 ** rng.uniform(-2.5, 0.3)),
                (problem.y_shape, ("NHWC",), size if operation == "input" else 10 ** rng.uniform(-2.5, 0.3)),
            )
        )
        arrays = (np.clip(array, -largest, largest).astype(np.float32) for array in (x, weight, grad_y))
        x, weight, grad_y = arrays
        if turn % 3 == 0:
            x[rng.random(x.shape) < 0.98] *= np.float32(1e-8)
        ours = assert_as_direct(operation, problems.ConvData(x, weight, weight[0, 0, 0], grad_y), problem.geometry)
        finite += np.isfinite(ours).all()
    assert 0 < finite < turn


# ---- which algorithm runs -----------------------------------------------------

REFUSED = {
    "3x3": ["c4 h9 k4 r5x5", "c4 h9 k4 r3x1", "c4 h9 k4 r1x1"],
    "stride": ["c4 h9 k4 r3x3 s2", "c4 h9 k4 r3x3 s1x2"],
    "dilation": ["c4 h9 k4 r3x3 d2", "c4 h9 k4 r3x3 d2x1"],
}


@pytest.mark.parametrize("reason, text", [(reason, text) for reason, texts in REFUSED.items() for text in texts])
def test_what_it_cannot_do_is_refused_with_the_reason(reason, text, layout):
    problem = problems.parse(text)
    data = problems.random_conv_data(problem, np.float32, layout)
    how = problem.geometry | {"layout": layout, "algorithm": "winograd"}
    outs = [poisoned(array.shape, np.float32) for array in (data.grad_y, data.x, data.weight)]
    calls = [
        lambda: fc.conv2d(data.x, data.weight, **how, out=outs[0]),
        lambda: fc.conv2d_backward_input(data.grad_y, data.weight, data.x.shape, **how, out=outs[1]),
        lambda: fc.conv2d_backward_weight(data.grad_y, data.x, data.weight.shape, **how, out=outs[2]),
        lambda: fc.conv2d_backward(data.grad_y, data.x, data.weight, **how),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"winograd.*{reason}"):
            call()
    assert all(np.isnan(out).all() for out in outs)


def test_it_is_refused_before_memory_is_asked_for():
    x = np.broadcast_to(np.float32(1), (1, 2**20, 2**20, 4))
    with pytest.raises(ValueError, match="3x3"):
        fc.conv2d(x, np.ones((5, 5, 4, 4), np.float32), algorithm="winograd")


def algorithm_of(operation, data, how, **more):
    """The algorithm whose bits a call has."""
    ours = compute(operation, data, how, **more)
    precision = more.get("precision")
    given = {
        name: compute(operation, data, how, algorithm=name, precision=precision) for name in ("winograd", "direct")
    }
    same = [name for name, result in given.items() if same_bits(ours, result)]
    assert len(same) == 1, same
    return same[0]


# Channels and filters a group, pixels of the result, and the part of the tiles' area that they use.
CHOICES = {
    "c16 h10 k16 r3x3 p1": "winograd",
    "c15 h10 k16 r3x3 p1": "direct",
    "c16 h10 k15 r3x3 p1": "direct",
    "c16 h9 w11 k16 r3x3 p1": "direct",
    "c16 h3 w34 k16 r3x3 p1": "winograd",
    "c16 h1 w120 k16 r3x3 p1": "direct",
    "c32 h10 k32 r3x3 p1 g2": "winograd",
    "c32 h10 k32 r3x3 p1 g4": "direct",
}


@pytest.mark.parametrize("text", CHOICES)
def test_the_choice_does_not_see_batch_and_threads(text):
    for images in (1, 2, 5):
        problem = problems.parse(f"n{images} {text}")
        data = problems.random_conv_data(problem, np.float32)
        for threads in (1, 2, 3):
            with fc.threads(threads):
                chosen = {algorithm_of(operation, data, problem.geometry) for operation in OPERATIONS}
            assert chosen == {CHOICES[text]}


def test_the_choice_goes_by_the_pixels_of_the_result():
    """A gradient of the input has those of the image."""
    problem = problems.parse("c16 h11 k16 r3x3")
    data = problems.random_conv_data(problem, np.float32)
    chosen = [algorithm_of(operation, data, problem.geometry) for operation in OPERATIONS]
    assert chosen == ["direct", "winograd", "direct"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_precision_and_type_choose_unless_it_is_named(operation, isa):
    problem = problems.parse("c16 h10 k16 r3x3 p1")
    data, how = problems.random_conv_data(problem, np.float32), problem.geometry
    for precision, algorithm in (("strict", "direct"), ("high", "winograd"), ("medium", "winograd")):
        if isa == "amx" and precision == "medium":
            algorithm = "direct"  # in one part
        assert algorithm_of(operation, data, how, precision=precision) == algorithm
        with fc.precision(precision):
            assert algorithm_of(operation, data, how) == algorithm
        assert algorithm_of(operation, data, how, precision=precision, algorithm="winograd") == "winograd"
    data = problems.random_conv_data(problem, np.float64)
    assert algorithm_of(operation, data, how) == "direct"


# ---- training -----------------------------------------------------------------


def losses_of_200_steps(precision):
    """Digits with a border, so that two of three convolutions are Winograd's where that is allowed. No maximum is
    taken: of two that are equal but for their roundings it makes the one or the other, and float32 by the direct
    algorithm is 5e-3 away from float64 then."""
    (x, y), _ = datasets.load_digits()
    x = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))) / np.float32(16)
    model = models.Sequential(
        [
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(24, 3, activation="relu"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(10),
        ],
        input_shape=x.shape[1:],
        seed=5,
    )
    model.compile(optimizers.SGD(0.008), "cross_entropy")
    with fc.precision(precision):
        steps = (slice(start, start + 64) for start in np.arange(200) * 64 % (len(x) - 64))
        return np.array([model.train_step(x[step], y[step]) for step in steps])


def test_training_takes_the_same_course():
    """A11: the losses of direct algorithm and Winograd's within 1e-3 of each other."""
    direct, winograd = losses_of_200_steps("strict"), losses_of_200_steps("high")
    assert direct[-20:].mean() < 0.5 * direct[0], "nothing was learnt"
    assert not np.array_equal(direct, winograd), "the same algorithm twice"
    assert np.abs(winograd / direct - 1).max() <= 1e-3
