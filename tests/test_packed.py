# SPDX-License-Identifier: BSD-3-Clause
"""Weights packed once for many calls: the same bits as with the array, whatever the array becomes later; calls for
which they were not packed are refused. (The block itself, to the byte: src_c/tests/test_packed.c.)"""

import copy
import pickle
import threading

import numpy as np
import problems
import pytest
from compare import same_bits
from guard import AVAILABLE, guarded

import fastconv as fc
from fastconv import ops

CONV = problems.load("conv_*")
LINEAR = problems.load("linear")
IMAGE = (2, 7, 7, 24)
FILTERS = (3, 3, 24, 40)
OPERATIONS = ("conv2d", "conv2d_backward_input")


def numbers(shape, dtype=np.float32, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(-1, 1, shape).astype(dtype)


def check_convolution(problem, dtype, layout, **how):
    data, how = problems.random_conv_data(problem, dtype, layout), how | problem.geometry | {"layout": layout}
    one_image = data.x.shape[1:]
    packed = fc.pack_weights(data.weight, one_image, **how)
    y = fc.conv2d(data.x, data.weight, data.bias, activation="relu", **how)
    assert same_bits(fc.conv2d(data.x, packed, data.bias, activation="relu", **how), y)
    packed = fc.pack_weights(data.weight, one_image, operation="conv2d_backward_input", **how)
    grad_x = fc.conv2d_backward_input(data.grad_y, data.weight, data.x.shape, **how)
    assert same_bits(fc.conv2d_backward_input(data.grad_y, packed, data.x.shape, **how), grad_x)


@pytest.mark.parametrize("problem", CONV, ids=str)
def test_convolutions_have_the_same_bits(problem, isa, layout):
    check_convolution(problem, np.float32, layout)


@pytest.mark.parametrize("problem", [p for p in CONV if p not in problems.load("conv_networks")], ids=str)
@pytest.mark.parametrize("algorithm", ["auto", "direct"])
def test_convolutions_have_the_same_bits_in_either_type(problem, algorithm, isa, dtype):
    check_convolution(problem, dtype, "NHWC", algorithm=algorithm)


@pytest.mark.parametrize("problem", LINEAR, ids=str)
def test_dense_layers_have_the_same_bits(problem, isa, dtype):
    shapes = (problem.n, problem.c), (problem.c, problem.k), (problem.k,)
    x, weight, bias = (numbers(shape, dtype) for shape in shapes)
    y = fc.linear(x, weight, bias)
    assert same_bits(fc.linear(x, fc.pack_weights(weight), bias), y)
    packed = fc.pack_weights(weight, operation="linear_backward_input")
    assert same_bits(ops.linear_backward_input(y, packed), ops.linear_backward_input(y, weight))


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 13, 64, 300])
@pytest.mark.parametrize("columns", [1, 40, 700])
def test_any_number_of_rows(rows, columns, isa, dtype):
    x, weight = numbers((rows, 700), dtype), numbers((700, columns), dtype)
    assert same_bits(fc.linear(x, fc.pack_weights(weight)), fc.linear(x, weight))


def test_batch_size_image_size_and_threads_may_change(isa, layout):
    """Also between images that other algorithms are chosen for; infinity makes Winograd's ask the direct one."""
    weight = numbers(FILTERS if layout == "NHWC" else FILTERS[::-1])
    first, how = (7, 7, 24) if layout == "NHWC" else (24, 7, 7), {"padding": 1, "layout": layout}
    for algorithm in ("auto", "winograd", "reference"):
        packed = fc.pack_weights(weight, first, algorithm=algorithm, **how)
        for n, h, w in ((1, 7, 7), (9, 7, 7), (3, 3, 5), (1, 14, 14), (4, 30, 9)):
            x = numbers((n, h, w, 24) if layout == "NHWC" else (n, 24, h, w))
            x[-1, 2, 2, 2] = np.inf
            for threads in (1, 3):
                with fc.threads(threads):
                    y = fc.conv2d(x, weight, stride=1 + n % 2, **how)
                    assert same_bits(fc.conv2d(x, packed, stride=1 + n % 2, **how), y)


def test_nothing_is_packed_in_a_call(vectors):
    """`explain` goes by the call's own plan."""
    for operation in OPERATIONS:
        packed = fc.pack_weights(numbers(FILTERS), IMAGE, operation=operation, padding=1)
        told = [fc.explain(operation, IMAGE, weight, padding=1) for weight in (packed, FILTERS)]
        copied = [[copy.why for copy in one.copies if copy.what == "weight"] for one in told]
        assert copied == [[], ["into panels, as the kernel reads them"]]
        assert told[0].kernel == told[1].kernel
    packed = fc.pack_weights(numbers((500, 300)))
    told = [fc.explain("linear", (10, 500), weight) for weight in (packed, packed.weight)]
    assert [len(one.copies) for one in told] == [0, 1]


# ---- what it is


def test_it_tells_what_it_is(vectors):
    packed = fc.pack_weights(numbers(FILTERS), IMAGE, padding=1)
    assert isinstance(packed, fc.PackedWeights)
    assert (packed.shape, packed.dtype, packed.ndim, packed.groups) == (FILTERS, np.float32, 4, 1)
    assert (packed.operation, packed.layout, packed.algorithm) == ("conv2d", "NHWC", "direct")
    assert packed.isa == vectors
    assert 2 * packed.weight.nbytes < packed.nbytes < 4 * packed.weight.nbytes
    for word in ("(3, 3, 24, 40)", "float32", "conv2d", "NHWC", packed.isa, f"{packed.nbytes:,}"):
        assert word in repr(packed)
    unpacked = fc.pack_weights(numbers(FILTERS), (28, 28, 24), padding=1)
    assert (unpacked.algorithm, unpacked.isa, unpacked.nbytes) == ("winograd", None, unpacked.weight.nbytes)
    assert "winograd" in repr(unpacked)
    assert fc.pack_weights(numbers((8, 9))).operation == "linear"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_never_changes(operation):
    weight = numbers(FILTERS)
    of = (numbers(IMAGE), IMAGE)[operation != "conv2d"]
    grad_y = numbers((2, 7, 7, 40))
    packed = fc.pack_weights(weight, IMAGE, operation=operation, padding=1)

    def compute(weight):
        if operation == "conv2d":
            return fc.conv2d(of, weight, padding=1)
        return fc.conv2d_backward_input(grad_y, weight, of, padding=1)

    before = compute(weight)
    weight[...] = 0
    assert same_bits(compute(packed), before) and not same_bits(compute(weight), before)
    assert same_bits(compute(packed.weight), before)
    with pytest.raises(ValueError, match="read-only"):
        packed.weight[...] = 0
    with pytest.raises(ValueError, match="WRITEABLE"):
        packed.weight.flags.writeable = True
    for name in ("weight", "operation", "nbytes", "anything"):
        with pytest.raises(AttributeError):
            setattr(packed, name, 0)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda packed: pickle.loads(pickle.dumps(packed))])
def test_copies(again, layout):
    shape, image = (FILTERS, IMAGE) if layout == "NHWC" else ((40, 24, 3, 3), (2, 24, 7, 7))
    packed = fc.pack_weights(numbers(shape), image, layout=layout, operation="conv2d_backward_input", stride=2)
    other = again(packed)
    assert repr(other) == repr(packed) and same_bits(other.weight, packed.weight)
    grad_y = numbers((2, 3, 3, 40) if layout == "NHWC" else (2, 40, 3, 3))
    results = [fc.conv2d_backward_input(grad_y, one, image, stride=2, layout=layout) for one in (packed, other)]
    assert same_bits(*results)


def test_any_array_may_be_packed():
    weight, x = numbers(FILTERS), numbers(IMAGE)
    y = fc.conv2d(x, weight)
    wide = np.empty((3, 3, 24, 80), np.float32)
    wide[..., ::2] = weight
    for form in (weight.astype(">f4"), wide[..., ::2], np.asfortranarray(weight), weight[::-1].copy()[::-1]):
        packed = fc.pack_weights(form, IMAGE)
        assert packed.dtype == np.float32 and same_bits(fc.conv2d(x, packed), y)


# ---- other instruction sets, threads


def test_another_instruction_set_reads_the_array(isa):
    """Panels of one instruction set are not read by another: the result is that of the array."""
    x, weight = numbers(IMAGE), numbers(FILTERS)
    packed, dense = fc.pack_weights(weight, IMAGE), fc.pack_weights(numbers((600, 70)))
    assert packed.isa == isa
    for other in fc.isas():
        with fc.using_isa(other):
            assert same_bits(fc.conv2d(x, packed), fc.conv2d(x, weight))
            rows = numbers((9, 600))
            assert same_bits(fc.linear(rows, dense), fc.linear(rows, dense.weight))
    assert same_bits(fc.conv2d(x, packed), fc.conv2d(x, weight))


def test_threads_share_it():
    x, weight = numbers((4, 7, 7, 64)), numbers((3, 3, 64, 96))
    packed, y, results = fc.pack_weights(weight, x.shape), fc.conv2d(x, weight), []

    def work():
        results.append(all(same_bits(fc.conv2d(x, packed), y) for _ in range(50)))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == [True] * 4


# ---- what is refused


@pytest.mark.parametrize("image", [(7, 7, 24), (28, 28, 24)], ids=["panels", "as an array"])
def test_calls_it_was_not_packed_for(image):
    weight, x = numbers((24, 24, 24, 24)), numbers((1, 24, 24, 24))  # shapes fit every layout and operation
    square, how = (1, *image), {"padding": 1}
    packed = fc.pack_weights(numbers(FILTERS), square, **how)
    with pytest.raises(ValueError, match=r"weight \(3, 3, 24, 40\) was packed with dtype='float32'.*dtype='float64'"):
        fc.conv2d(numbers(IMAGE, np.float64), packed)
    with pytest.raises(ValueError, match="dtype"):
        fc.conv2d(numbers(IMAGE), packed, numbers((40,), np.float64))
    with pytest.raises(ValueError, match="operation='forward'.*operation='backward_input'"):
        fc.conv2d_backward_input(numbers((2, 5, 5, 40)), packed, IMAGE)
    with pytest.raises(ValueError, match="layout='NHWC'.*layout='NCHW'"):
        fc.conv2d(x, fc.pack_weights(weight, x.shape), layout="NCHW")
    grouped = fc.pack_weights(numbers((3, 3, 12, 40)), (7, 7, 24), groups=2)
    with pytest.raises(ValueError, match="groups=2.*groups=1"):
        fc.conv2d(numbers((7, 7, 12)), grouped)
    with pytest.raises(ValueError, match="channels"):
        fc.conv2d(numbers((7, 7, 25)), packed)
    with pytest.raises(ValueError, match="axes"):
        fc.linear(numbers((2, 24)), packed)


def test_a_gradient_with_another_stride():
    grad_y, weight, x_shape = numbers((2, 5, 5, 40)), numbers(FILTERS), (2, 9, 9, 24)
    packed = fc.pack_weights(weight, x_shape, operation="conv2d_backward_input", stride=2, padding=1)
    fc.conv2d_backward_input(grad_y, packed, x_shape, stride=2, padding=1)
    with pytest.raises(ValueError, match=r"stride=\(2, 2\).*stride=\(1, 1\)"):
        fc.conv2d_backward_input(grad_y, packed, (2, 7, 7, 24))
    with pytest.raises(ValueError, match=r"padding=\(\(1, 1\), \(1, 1\)\).*padding=\(\(0, 0\), \(0, 0\)\)"):
        fc.conv2d_backward_input(grad_y, packed, (2, 11, 11, 24), stride=2)
    with pytest.raises(ValueError, match=r"dilation=\(1, 1\).*dilation=\(2, 2\)"):
        fc.conv2d_backward_input(grad_y, packed, (2, 11, 11, 24), stride=2, padding=1, dilation=2)
    for shape in ((2, 10, 9, 24), (2, 9, 10, 24)):
        y = fc.conv2d_backward_input(grad_y, weight, shape, stride=2, padding=1)
        assert same_bits(fc.conv2d_backward_input(grad_y, packed, shape, stride=2, padding=1), y)


def test_a_gradient_of_an_image_smaller_than_the_stride():
    """It has fewer phases: the panels of a larger image do not fit."""
    weight, grad_y = numbers((1, 1, 24, 40)), numbers((1, 1, 40))
    packed = fc.pack_weights(weight, (9, 9, 24), operation="conv2d_backward_input", stride=3)
    with pytest.raises(ValueError, match="packed"):
        fc.conv2d_backward_input(grad_y, packed, (2, 3, 24), stride=3)
    small = fc.pack_weights(weight, (2, 3, 24), operation="conv2d_backward_input", stride=3)
    assert same_bits(
        fc.conv2d_backward_input(grad_y, small, (2, 3, 24), stride=3),
        fc.conv2d_backward_input(grad_y, weight, (2, 3, 24), stride=3),
    )


def test_bad_arguments():
    weight = numbers(FILTERS)
    for error, text, arguments, how in (
        (TypeError, "weight must be a numpy array", ([1.0], IMAGE), {}),
        (TypeError, "weight has dtype int64", (np.ones(FILTERS, np.int64), IMAGE), {}),
        (ValueError, "weight has shape", (weight[0], IMAGE), {}),
        (TypeError, "x_shape is needed", (weight,), {}),
        (TypeError, "x_shape must be a tuple", (weight, 7), {}),
        (ValueError, "x_shape .* channels", (weight, (7, 7, 25)), {}),
        (ValueError, "operation 'conv3d' is unknown", (weight, IMAGE), {"operation": "conv3d"}),
        (TypeError, "operation must be a string", (weight, IMAGE), {"operation": 3}),
        (ValueError, "weight has shape", (weight,), {"operation": "linear"}),
        (ValueError, "algorithm 'winograd' cannot", (weight, IMAGE), {"algorithm": "winograd", "stride": 2}),
        (ValueError, "layout 'HWC' is unknown", (weight, IMAGE), {"layout": "HWC"}),
        (ValueError, "groups", (weight, IMAGE), {"groups": 5}),
    ):
        with pytest.raises(error, match=text):
            fc.pack_weights(*arguments, **how)


@pytest.mark.skipif(not AVAILABLE, reason="needs mprotect")
@pytest.mark.parametrize("side", ["start", "end"])
@pytest.mark.parametrize("size", [1, 15, 16, 17, 31, 32, 33, 70])
def test_packing_reads_nothing_outside_the_array(side, size, isa, dtype):
    for operation in OPERATIONS:
        for shape in ((3, 3, 2, size), (3, 3, size, 2)):
            weight = numbers(shape, dtype)
            how = {"operation": operation, "algorithm": "direct"}
            packed = fc.pack_weights(guarded(weight, side), (7, 7, shape[2]), **how)
            assert same_bits(packed.weight, weight)
