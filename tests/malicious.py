# SPDX-License-Identifier: BSD-3-Clause
"""Calls that have to be refused: which exception, and which argument its message names.

The ids M01, M02, ... number published crashes of other libraries, phrased for our functions; "args"
are plain mistakes. A case changes some arguments of one legal call.
"""

import itertools
from dataclasses import dataclass

import numpy as np


def zeros(*shape):
    return np.zeros(shape, np.float32)


def broadcast(*shape):
    """A huge array of which every element is the same four bytes."""
    return np.broadcast_to(np.float32(1), shape)


X, W, G = zeros(1, 8, 8, 4), zeros(3, 3, 4, 6), zeros(1, 6, 6, 6)
POOLED, WINNERS = zeros(1, 4, 4, 4), np.zeros((1, 4, 4, 4), np.int64)
LEGAL = {
    "conv2d": {"x": X, "weight": W, "bias": zeros(6)},
    "conv2d_backward_input": {"grad_y": G, "weight": W, "x_shape": X.shape},
    "conv2d_backward_weight": {"grad_y": G, "x": X, "weight_shape": W.shape},
    "conv2d_backward": {"grad_y": G, "x": X, "weight": W},
    "conv2d_output_shape": {"x_shape": X.shape, "weight_shape": W.shape},
    "max_pool2d": {"x": X, "kernel_size": 2},
    "max_pool2d_backward": {"grad_y": POOLED, "indices": WINNERS, "x_shape": X.shape},
    "avg_pool2d": {"x": X, "kernel_size": 2},
    "avg_pool2d_backward": {"grad_y": POOLED, "x_shape": X.shape, "kernel_size": 2},
    "pool2d_output_shape": {"x_shape": X.shape, "kernel_size": 2},
    "global_avg_pool2d": {"x": X},
    "global_max_pool2d": {"x": X},
    "linear": {"x": zeros(5, 4), "weight": zeros(4, 6), "bias": zeros(6)},
    "linear_backward": {"grad_y": zeros(5, 6), "x": zeros(5, 4), "weight": zeros(4, 6)},
}
# the shape of out= in the legal call, for the functions that take one array
OUT = {
    "conv2d": G.shape,
    "conv2d_backward_input": X.shape,
    "conv2d_backward_weight": W.shape,
    "max_pool2d": POOLED.shape,
    "max_pool2d_backward": X.shape,
    "avg_pool2d": POOLED.shape,
    "avg_pool2d_backward": X.shape,
    "linear": (5, 6),
}
ARRAYS = {"x", "weight", "bias", "grad_y", "indices"}
CONV = [name for name in LEGAL if name.startswith("conv2d")]
CONV_BACKWARD = [name for name in CONV if "backward" in name]
POOL = ["max_pool2d", "avg_pool2d", "avg_pool2d_backward", "pool2d_output_shape"]
AVERAGE = ["avg_pool2d", "avg_pool2d_backward"]
POOL_X = ["max_pool2d", "avg_pool2d", "global_max_pool2d", "global_avg_pool2d"]


@dataclass
class Case:
    id: str
    function: str
    changes: dict
    exception: type | tuple
    names: list  # the message has to name one of these arguments

    def __str__(self):
        changes = ",".join(f"{name}={describe(value)}" for name, value in self.changes.items())
        return f"{self.id}-{self.function}-{changes}"


def describe(value):
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}".replace(" ", "")
    return "object" if type(value) is object else repr(value)[:40].replace(" ", "")


def wrong(id, functions, names=None, exception=ValueError, **values):
    """A case for every value of every argument of every function, one changed at a time."""
    for function in [functions] if isinstance(functions, str) else functions:
        for argument, choices in values.items():
            for value in choices:
                named = names.split() if names else [argument]
                yield Case(id, function, {argument: value}, exception, named)


def wrong_together(id, functions, names, exception=ValueError, **changes):
    """A case per function with several arguments changed at once."""
    for function in [functions] if isinstance(functions, str) else functions:
        yield Case(id, function, changes, exception, names.split())


def all_cases():
    return itertools.chain(
        empty_arrays(),
        numbers_out_of_range(),
        not_whole_numbers(),
        wrong_counts(),
        shapes_that_do_not_fit(),
        wrong_ranks(),
        indices_outside(),
        dtypes(),
        words(),
        no_arrays(),
        outs(),
    )


def empty_arrays():
    filters = [zeros(0, 3, 4, 6), zeros(3, 0, 4, 6), zeros(3, 3, 0, 6), zeros(3, 3, 4, 0)]
    images = [(1, 0, 8, 4), (1, 8, 0, 4), (1, 8, 8, 0)]
    nothing = zeros(0, 0, 0, 0)
    yield from wrong_together("M01", "conv2d", "x weight", x=nothing, weight=nothing, bias=None, padding="same")
    for weight in filters:
        yield from wrong_together("M02", "conv2d", "weight", weight=weight, bias=None)
        yield from wrong("M02", "conv2d_output_shape", weight_shape=[weight.shape])
        yield from wrong("M11", ["conv2d_backward_input", "conv2d_backward"], weight=[weight])
    yield from wrong_together("M02", "linear", "weight", weight=zeros(4, 0), bias=None)
    yield from wrong_together("M02", "linear", "x weight", x=zeros(5, 0), weight=zeros(0, 6))
    yield from wrong_together(
        "M04",
        "conv2d_backward_weight",
        "grad_y x weight_shape",
        grad_y=nothing,
        x=nothing,
        weight_shape=(0, 0, 0, 0),
    )
    yield from wrong("M07", "conv2d_backward_input", x_shape=[*images, (-1, 8, 8, 4)])
    yield from wrong_together(
        "M09",
        "conv2d_backward_input",
        "grad_y",
        grad_y=zeros(3, 3, 1, 0),
        x_shape=(3, 2, 1, 1),
        weight=zeros(1, 1, 1, 1),
    )
    yield from wrong("M11", CONV_BACKWARD, grad_y=[zeros(0, 6, 6, 6), zeros(1, 0, 6, 6)])
    images = [zeros(*shape) for shape in images]
    yield from wrong("M11", ["conv2d", *POOL_X], x=images)
    images += [zeros(0, 8, 8, 4)]
    yield from wrong("M11", ["conv2d_backward_weight", "conv2d_backward"], "x grad_y", x=images)
    yield from wrong("M11", "linear_backward", grad_y=[zeros(0, 6), zeros(5, 0)])
    yield from wrong_together("M16", "max_pool2d_backward", "grad_y indices", grad_y=nothing, x_shape=(1, 1, 1, 1))


def numbers_out_of_range():
    steps = [0, -1, (1, 0), (0, 1), (-1, 1), (1, -(2**62)), -(10**30)]
    yield from wrong("M08", CONV, groups=[0, -1, 3, 4, 5, 2**62, 2**63, -(10**30)])
    yield from wrong("M12", CONV, stride=steps, dilation=steps)
    yield from wrong("M12", POOL, stride=steps)
    yield from wrong("M12", "max_pool2d", dilation=steps)
    yield from wrong_together("M13", "max_pool2d", "stride", kernel_size=3, stride=0)
    yield from wrong_together("M14", CONV, "stride dilation groups", stride=(0, 0), dilation=(0, 0), groups=0)
    yield from wrong("M15", POOL, kernel_size=[0, (2, 0), (0, 2), -1, (2, -2)])
    negative = [-1, (0, -1), ((0, -1), (0, 0)), ((0, 0), (-(2**62), 0))]
    yield from wrong("M26", [*CONV, *POOL], padding=negative)
    yield from wrong("M26", AVERAGE, divisor_override=[0, -1, -(2**62), 10**30])
    yield from wrong("M32", "conv2d", "weight x", weight=[zeros(9, 3, 4, 6), zeros(3, 9, 4, 6)])
    yield from wrong("M32", CONV, "dilation weight weight_shape", dilation=[4, (4, 1), (1, 4)])
    yield from wrong("M32", POOL, kernel_size=[9, (9, 1), (1, 9)])
    uncovered = {"kernel_size": 2, "stride": 3, "padding": 2}
    yield from wrong_together("M39", POOL, "padding kernel_size", **uncovered)
    yield from wrong_together("M39", POOL, "padding kernel_size", **uncovered, ceil_mode=True)
    yield from wrong_together("M39", POOL, "padding kernel_size", stride=1, padding=((0, 0), (2, 0)))


def not_whole_numbers():
    numbers = [0.5, 2.0, float("nan"), 2j, np.float64(2.0), np.float32(2), np.array(2.0)]
    numbers += [True, np.True_, (2, 2.0), (1, False), b"2", object()]
    strings = ["2", "33", ("1", "1")]
    how = {"exception": TypeError}
    both = numbers + strings
    yield from wrong("M23", CONV, stride=[*both, None], dilation=[*both, None], **how)
    yield from wrong("M23", CONV, groups=[*both, None, (1, 1)], **how)
    yield from wrong("M23", [*CONV, *POOL], padding=[*numbers, None], **how)
    yield from wrong("M23", POOL, kernel_size=[*both, None], stride=both, **how)
    yield from wrong("M23", "max_pool2d", dilation=[*both, None], **how)
    yield from wrong("M23", AVERAGE, divisor_override=[0.5, 2.0, "2", True, (1, 1)], **how)


def wrong_counts():
    counts = [[], (), (1,), (1, 2, 3)]
    yield from wrong("M33", CONV, stride=counts, dilation=counts)
    yield from wrong("M33", POOL, kernel_size=counts, stride=counts)
    sides = [((1, 2),), ((1, 2), (3,)), ((1, 2), (1, 2), (1, 2)), ((1, 2, 3), (1, 2, 3))]
    yield from wrong("M33", [*CONV, *POOL], padding=counts + sides)
    either = (TypeError, ValueError)
    nested = [{}, ((2, 2), 2), ((2, 2), (2, 2)), [[2]]]
    yield from wrong("M33", CONV, stride=nested, dilation=nested, exception=either)
    yield from wrong("M33", POOL, kernel_size=nested, stride=nested, exception=either)


def shapes_that_do_not_fit():
    shapes = [(-1, 8, 8, 4), (2, 8, 8, 4), (1, 8, 8, 5), (1, 2**40, 2**40, 4)]
    shapes += [(1, 2**62, 2**62, 4), (1, 8, 8, 2**63), (10**30, 8, 8, 4)]
    backward = ["avg_pool2d_backward", "max_pool2d_backward", "conv2d_backward_input"]
    large = (ValueError, MemoryError)
    yield from wrong("M20", backward, "x_shape grad_y weight", x_shape=shapes, exception=large)
    backward.remove("max_pool2d_backward")
    yield from wrong("M20", backward, "x_shape grad_y", x_shape=[(1, 7, 12, 4)])
    sizes = [(1, 5, 4, 4), (1, 4, 5, 4), (1, 400, 400, 4), (2, 4, 4, 4), (1, 4, 4, 5)]
    larger = [zeros(*size) for size in sizes]
    yield from wrong("M21", "avg_pool2d_backward", grad_y=larger)
    yield from wrong("M21", "max_pool2d_backward", "grad_y indices", grad_y=larger)
    larger = [zeros(*size) for size in ((1, 7, 6, 6), (1, 6, 7, 6), (1, 6, 6, 7), (2, 6, 6, 6))]
    yield from wrong("M21", CONV_BACKWARD, grad_y=larger)
    biases = [zeros(5), zeros(7), zeros(0), zeros(6, 1), zeros(1, 6), zeros()]
    yield from wrong("M25", ["conv2d", "linear"], bias=biases)
    yield from wrong("M25", "conv2d", "x weight", x=[zeros(1, 8, 8, 3), zeros(1, 4, 8, 8)])
    yield from wrong("M25", "linear", "x weight", x=[zeros(5, 3), zeros(4)[:3], zeros(4, 5)])


def wrong_ranks():
    for function, arguments in LEGAL.items():
        for array in ARRAYS & arguments.keys():
            legal = arguments[array]
            ranks = [rank for rank in (0, 1, 2, 5, 6) if rank != legal.ndim]
            if (function, array) == ("linear", "x"):
                ranks = [0]
            others = [np.zeros((2,) * rank, legal.dtype) for rank in ranks]
            yield from wrong("M22", function, f"{array} grad_y", **{array: others})
        for shape in {"x_shape", "weight_shape"} & arguments.keys():
            others = [(), (8,), (8, 8), (1, 1, 8, 8, 4)]
            yield from wrong("M22", function, f"{shape} grad_y", **{shape: others})
    yield from wrong("M31", "conv2d", "x", x=[broadcast(*(1,) * rank) for rank in (5, 6, 32)])


def indices_outside():
    arrays = []
    for value in (-1, 64, 2**31, 2**62, -(2**63)):
        indices = WINNERS.copy()
        indices[0, -1, -1, -2] = value  # near the end: writing while reading would be too early
        arrays.append(indices)
    yield from wrong("M18", "max_pool2d_backward", indices=arrays)
    arrays = [WINNERS.astype(dtype) for dtype in (float, complex, object)]
    yield from wrong("M18", "max_pool2d_backward", indices=arrays, exception=TypeError)


def dtypes():
    how = {"exception": TypeError}
    no_number = [complex, object, "S4", "M8[s]"]
    for function in ("conv2d", "linear"):
        legal = LEGAL[function]
        for array in ("x", "weight"):
            others = [legal[array].astype(dtype) for dtype in (int, np.uint64, *no_number)]
            yield from wrong("M35", function, **{array: others}, **how)
        yield from wrong("M35", function, bias=[legal["bias"].astype(t) for t in no_number], **how)
        whole = {array: legal[array].astype(np.uint8) for array in ("x", "weight")}
        yield from wrong_together("M35", function, "x weight", TypeError, **whole)
    yield from wrong("M35", CONV_BACKWARD, grad_y=[G.astype(t) for t in (int, *no_number)], **how)
    yield from wrong("M35", POOL_X, x=[X.astype(dtype) for dtype in no_number], **how)
    backward = ["avg_pool2d_backward", "max_pool2d_backward"]
    yield from wrong("M35", backward, grad_y=[POOLED.astype(t) for t in no_number], **how)


def words():
    how = {"exception": TypeError}
    images = [name for name in LEGAL if not name.startswith("linear")]
    yield from wrong("args", images, layout=["nhwc", "NCWH", "", "NHW", "NHWC\0"])
    yield from wrong("args", images, layout=[None, 1, b"NHWC", ("N", "H", "W", "C")], **how)
    names = ["Same", "SAME", "full", "", "same\0", "causal"]
    yield from wrong("args", [*CONV, *POOL], padding=names)
    products = ["conv2d", *CONV_BACKWARD, "linear", "linear_backward"]
    yield from wrong("args", products, precision=["exact", "", "Strict"])
    yield from wrong("args", products, precision=[1, 1.0, b"high"], **how)
    products = ["conv2d", *CONV_BACKWARD]
    yield from wrong("args", products, algorithm=["fft", "", "Direct"])
    yield from wrong("args", products, algorithm=[1, b"direct"], **how)
    yield from wrong("args", ["conv2d", "linear"], activation=["gelu", "", "ReLU"])
    yield from wrong("args", ["conv2d", "linear"], activation=[1, abs], **how)


def no_arrays():
    shapes = [None, 8, "1884", (1, 8.0, 8, 4), (1, True, 8, 4), (1, "8", 8, 4), (1, None, 8, 4)]
    how = {"exception": TypeError}
    for function, arguments in LEGAL.items():
        for argument in arguments:
            if argument.endswith("_shape"):
                yield from wrong("args", function, **{argument: shapes}, **how)
            elif argument in ARRAYS - {"bias"}:
                yield from wrong("args", function, **{argument: [None, "x", {}, object()]}, **how)


def outs():
    for function, shape in OUT.items():
        sizes = [(shape[0] + 1, *shape[1:]), shape[1:], (*shape, 1), (*shape[:-1], shape[-1] - 1)]
        yield from wrong("M43", function, out=[zeros(*size) for size in sizes])
        types = (np.float64, np.float16, np.int32, complex, object)
        others = [np.zeros(shape, dtype) for dtype in types]
        yield from wrong("M43", function, out=[*others, [], "out", 0], exception=TypeError)
