# SPDX-License-Identifier: BSD-3-Clause
"""What `explain` tells is what the call does: algorithm, scratch memory, copies, errors."""

import numpy as np
import problems
import pytest
from compare import same_bits

import fastconv as fc
from fastconv import _core

MORE = ["n3 c16 h14 k16 r3x3 p1", "n2 c24 h24 k40 r3x3 p1", "c16 h40 w30 k33 r3x3 psame", "n5 c64 h7 k70 r1x1"]
PROBLEMS = problems.load("conv_*") + [problems.parse(text) for text in MORE]
OPERATIONS = ("conv2d", "conv2d_backward_input", "conv2d_backward_weight")


def scratch_taken(call):
    """The scratch memory that a call takes, and its result."""
    fc.clear_cache()
    result = call()
    return _core.scratch_kept(), result


def call_and_explanation(operation, data, **how):
    """The call, its result, and what is told of it by its arrays."""
    if operation == "conv2d":
        given, bias, out = (data.x, data.weight, data.bias), data.bias, np.empty_like(data.grad_y)
        x, weight, y = data.x, data.weight, out
    elif operation == "conv2d_backward_input":
        given, bias, out = (data.grad_y, data.weight, data.x.shape), None, np.empty_like(data.x)
        x, weight, y = out, data.weight, data.grad_y
    else:
        given, bias, out = (data.grad_y, data.x, data.weight.shape), None, np.empty_like(data.weight)
        x, weight, y = data.x, out, data.grad_y
    explanation = fc.explain(operation, x, weight, bias=bias, y=y, **how)
    return lambda **more: getattr(fc, operation)(*given, out=out, **(how | more)), explanation


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_algorithm_and_scratch_memory_are_those_of_the_call(operation, problem, layout, isa):
    data = problems.random_conv_data(problem, np.float32)
    data, how = data if layout == "NHWC" else data.to_nchw(), problem.geometry | {"layout": layout}
    for precision in ("high", "strict"):
        call, explanation = call_and_explanation(operation, data, precision=precision, **how)
        taken, result = scratch_taken(call)
        assert -(-explanation.workspace // 64) * 64 == taken
        if explanation.algorithm in ("direct", "winograd"):
            result = result.copy()
            assert same_bits(call(algorithm=explanation.algorithm), result)


TRANSPOSED = [
    ((2, 7, 9, 16), (3, 3, 20, 16), {"stride": 2, "padding": 1, "output_padding": (1, 0)}),
    ((3, 5, 6, 33), (4, 2, 8, 33), {"stride": (3, 1), "groups": 3}),
    ((2, 14, 14, 64), (3, 3, 64, 64), {"padding": 1}),
    ((2, 9, 24), (4, 17, 24), {"stride": 2, "padding": ((1, 2),), "output_padding": 1}),
]
SEQUENCES = [
    ((2, 40, 16), (3, 16, 33), {"padding": "causal", "dilation": 2}),
    ((3, 25, 32), (5, 16, 40), {"stride": 2, "groups": 2, "padding": "same"}),
]


@pytest.mark.parametrize("shapes", TRANSPOSED + SEQUENCES, ids=str)
@pytest.mark.parametrize("part", ["", "_backward_input", "_backward_weight"])
def test_sequences_and_transposed_convolutions(shapes, part, layout, isa):
    """Scratch memory, algorithm and dtype are those of the calls; with channels first, of arrays seen so."""
    x_shape, weight_shape, how = shapes
    name = ("conv_transpose" if shapes in TRANSPOSED else "conv") + f"{len(x_shape) - 2}d"
    x, weight = np.ones(x_shape, np.float32), np.ones(weight_shape, np.float32)
    how, axes = how | {"layout": layout}, tuple(range(len(x_shape) - 2))
    if layout == "NCHW":
        x = np.ascontiguousarray(np.moveaxis(x, -1, 1))
        weight = np.ascontiguousarray(weight.transpose(-1, -2, *axes))
    y = getattr(fc, name)(x, weight, **how)
    function = getattr(fc, name + part)
    given = {"": (x, weight), "_backward_input": (y, weight, x.shape), "_backward_weight": (y, x, weight.shape)}[part]
    arrays = fc.explain(name + part, x, weight, y=y, **how)
    assert -(-arrays.workspace // 64) * 64 == scratch_taken(lambda: function(*given, **how))[0]
    assert fc.explain(name + part, x.shape, weight.shape, **how).copies == arrays.copies
    assert arrays.dtype == "float32" and sum(arrays.bytes.values()) == x.nbytes + weight.nbytes + y.nbytes
    assert list(arrays.bytes)[{"": 2, "_backward_input": 0, "_backward_weight": 1}[part]].startswith(
        "grad" if part else "y"
    )
    result = function(*given, **how)
    if arrays.algorithm in ("direct", "winograd"):
        assert same_bits(function(*given, **how, algorithm=arrays.algorithm), result)


def test_transposed_convolutions_have_bias_and_activation():
    shapes, bias = ((2, 7, 9, 16), (3, 3, 20, 16)), np.ones(20)
    explanation = fc.explain("conv_transpose2d", *shapes, bias=bias, activation="relu", stride=2)
    assert explanation.dtype == "float64" and explanation.multiplications == 2 * 63 * 9 * 16 * 20
    packed = fc.pack_weights(np.ones(shapes[1], np.float32), shapes[0], operation="conv_transpose2d", stride=2)
    assert "panels" not in reasons(fc.explain("conv_transpose2d", shapes[0], packed, stride=2)).get("weight", "")
    with pytest.raises(ValueError, match="bias"):
        fc.explain("conv_transpose2d", *shapes, bias=bias[:16])
    with pytest.raises(ValueError, match="output_padding"):
        fc.explain("conv_transpose2d", *shapes, output_padding=3)
    with pytest.raises(ValueError, match="out has shape"):
        fc.explain("conv_transpose1d", (2, 7, 16), (3, 20, 16), y=(2, 8, 20))


def test_threads_take_scratch_memory():
    shapes = (4, 32, 32, 64), (3, 3, 64, 64)
    x, weight = (np.zeros(shape, np.float32) for shape in shapes)
    workspaces = []
    for threads in (1, 2, 3):
        explanation = fc.explain("conv2d", *shapes, padding=1, threads=threads)
        assert explanation.threads == threads
        with fc.threads(threads):
            taken, _ = scratch_taken(lambda: fc.conv2d(x, weight, padding=1))
        assert taken == explanation.workspace
        workspaces.append(explanation.workspace)
    assert workspaces == sorted(set(workspaces))
    assert fc.explain("conv2d", (1, 8, 8, 1), (3, 3, 1, 4), threads=8).threads == 1
    assert fc.get_num_threads() != 3 or fc.explain("conv2d", *shapes).threads == 3


def test_nothing_is_taken_and_calls_go_on():
    x, weight = np.ones((1, 9, 9, 17), np.float32), np.ones((3, 3, 17, 5), np.float32)
    before = fc.conv2d(x, weight)
    fc.clear_cache()
    for algorithm in ("auto", "direct", "winograd", "reference"):
        fc.explain("conv2d", x, weight, algorithm=algorithm)
    assert _core.scratch_kept() == 0
    assert same_bits(fc.conv2d(x, weight), before)


def test_sizes_beyond_memory_cost_nothing(vectors):
    explanation = fc.explain("conv2d", (10**6, 500, 500, 64), (3, 3, 64, 64), padding=1)
    assert explanation.multiplications == 10**6 * 500 * 500 * 9 * 64 * 64
    assert explanation.bytes["x"] == 10**6 * 500 * 500 * 64 * 4
    assert explanation.algorithm == "winograd"
    assert fc.explain("conv2d", (0, 5, 5, 3), (3, 3, 3, 2)).workspace == 0


def reasons(explanation):
    return {copy.what: copy.why for copy in explanation.copies}


def test_copies_and_their_reasons(vectors):
    weight = (1, 1, 64, 96)
    plain = np.zeros((2, 8, 8, 64), np.float32)
    assert reasons(fc.explain("conv2d", plain, weight)).keys() == {"weight"}
    assert "zeros" in reasons(fc.explain("conv2d", plain, weight, padding=1))["x"]
    assert "type" in reasons(fc.explain("conv2d", plain.astype(np.uint8), weight))["x"]
    assert "4096" in reasons(fc.explain("conv2d", (1, 8, 8, 1024), (1, 1, 1024, 8)))["x"]
    swapped = reasons(fc.explain("conv2d", plain.astype(">f4"), weight))
    assert "order" in swapped["x"]
    nchw = reasons(fc.explain("conv2d", (2, 64, 8, 8), (96, 64, 1, 1), layout="NCHW"))
    assert "adjacent" in nchw["x"] and "adjacent" in nchw["y"]
    seen_as_nchw = fc.explain("conv2d", plain.transpose(0, 3, 1, 2), (96, 64, 1, 1), layout="NCHW")
    assert "x" not in reasons(seen_as_nchw)
    out = np.empty((2, 96, 8, 8), np.float32).transpose(0, 2, 3, 1)
    assert "adjacent" in reasons(fc.explain("conv2d", plain, weight, y=out))["y"]
    gradient = fc.explain("conv2d_backward_input", (2, 10, 10, 64), (3, 3, 64, 96), precision="strict")
    assert "zeros" in reasons(gradient)["grad_y"] and "grad_x" not in reasons(gradient)
    assert not fc.explain("linear", (1, 512), (512, 512)).copies


@pytest.mark.parametrize(
    "x, weight, how",
    [
        ((1, 5, 5, 3), (3, 3, 4, 8), {}),
        ((1, 5, 5, 3), (7, 7, 3, 8), {}),
        ((1, 5, 5), (3, 3, 5), {}),
        ((5, 5), (3, 3, 5, 5), {}),
        ((1, 5, 5, 3), (3, 3, 3, 8), {"stride": 0}),
        ((1, 5, 5, 3), (3, 3, 3, 8), {"padding": "full"}),
        ((1, 5, 5, 4), (3, 3, 2, 5), {"groups": 2}),
        ((1, 5, 5, 3), (5, 5, 3, 8), {"algorithm": "winograd"}),
        ((1, 5, 5, 3), (3, 3, 3, 8), {"layout": "CHWN"}),
        ((1, 5, 5, 3), (3, 3, 3, 8), {"precision": 3}),
        ((1, 5, 5, 3), (3, 3, 3, 8), {"activation": "swish"}),
    ],
)
def test_errors_are_those_of_the_call(x, weight, how):
    arrays = np.zeros(x, np.float32), np.zeros(weight, np.float32)
    with pytest.raises((TypeError, ValueError)) as ours:
        fc.conv2d(*arrays, **how)
    with pytest.raises(ours.type) as told_by_arrays:
        fc.explain("conv2d", *arrays, **how)
    assert str(told_by_arrays.value) == str(ours.value)
    with pytest.raises((TypeError, ValueError)):
        fc.explain("conv2d", x, weight, **how)


def test_more_errors():
    shapes = (1, 5, 5, 3), (3, 3, 3, 8)
    with pytest.raises(ValueError, match="operation"):
        fc.explain("conv3d", *shapes)
    with pytest.raises(TypeError, match="operation"):
        fc.explain(3, *shapes)
    with pytest.raises(TypeError, match="dtype"):
        fc.explain("conv2d", *shapes, dtype=np.int32)
    with pytest.raises(TypeError, match="weight"):
        fc.explain("conv2d", shapes[0], np.zeros(shapes[1], np.int32))
    with pytest.raises(ValueError, match="out has shape"):
        fc.explain("conv2d", *shapes, y=(1, 4, 4, 8))
    with pytest.raises(TypeError, match="out has dtype"):
        fc.explain("conv2d", *shapes, y=np.zeros((1, 3, 3, 8)))
    with pytest.raises(ValueError, match="grad_y has shape"):
        fc.explain("conv2d_backward_weight", *shapes, y=(1, 4, 4, 8))
    with pytest.raises(ValueError, match="bias"):
        fc.explain("conv2d", *shapes, bias=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="weight"):
        fc.explain("linear", (2, 3), (1, 3, 4))
    with pytest.raises(ValueError, match="threads"):
        fc.explain("conv2d", *shapes, threads=0)


def test_the_text_is_for_people(vectors):
    explanation = fc.explain("conv2d", (16, 56, 56, 64), (3, 3, 64, 64), padding=1)
    text = str(explanation)
    assert repr(explanation) == text
    for word in ("winograd", "not direct", "kernel", "workspace", "threads", "3e-6", "copies", "MiB"):
        assert word in text
    assert explanation.products * 4 == explanation.multiplications
    assert explanation.others.keys() >= {"direct", "depthwise", "reference"}
    strict = fc.explain("conv2d", (16, 56, 56, 64), (3, 3, 64, 64), padding=1, precision="strict")
    assert strict.algorithm == "direct" and "strict" in strict.others["winograd"]
    with fc.precision("strict"):
        assert fc.explain("conv2d", (16, 56, 56, 64), (3, 3, 64, 64), padding=1) == strict
    assert fc.explain("conv2d", (1, 9, 9, 64), (1, 1, 64, 8), algorithm="direct").reason == "it was named outright"
    assert fc.explain("conv2d", (1, 9, 9, 8), (3, 3, 1, 8), groups=8).algorithm == "depthwise"


def test_number_types():
    shapes = (2, 9, 9, 16), (3, 3, 16, 16)
    assert fc.explain("conv2d", *shapes, dtype=np.float64).dtype == "float64"
    image = fc.explain("conv2d", *shapes, dtype=np.uint8)
    assert image.dtype == "float32" and image.bytes["x"] == 2 * 9 * 9 * 16
    assert fc.explain("conv2d", shapes[0], np.zeros(shapes[1])).dtype == "float64"
    assert fc.explain("conv2d", *shapes, bias=np.zeros(16)).dtype == "float64"


def test_dense_layers_and_pooling():
    dense = fc.explain("linear", (3, 5, 64), (64, 10))
    assert dense.multiplications == 15 * 640 and dense.bytes == {"x": 3840, "weight": 2560, "y": 600}
    assert fc.explain("linear_backward_weight", (3, 64), (64, 10)).multiplications == 3 * 640
    pool = fc.explain("max_pool2d", (2, 9, 9, 16), 3, stride=2)
    assert pool.windows == 2 * 4 * 4 * 16 and pool.bytes == {"x": 4 * 2592, "y": 4 * 512}
    assert "windows" in str(pool)
    backward = fc.explain("max_pool2d_backward", (2, 9, 9, 16), 3, stride=2)
    assert backward.bytes == {"grad_x": 4 * 2592, "grad_y": 4 * 512, "indices": 8 * 512}
    with pytest.raises(ValueError):
        fc.explain("avg_pool2d", (2, 2, 2, 16), 3)
