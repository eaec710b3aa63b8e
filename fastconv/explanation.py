# SPDX-License-Identifier: BSD-3-Clause
"""What a call will do, told before it is made: the choice that the call itself makes, from the same code."""

import math
from typing import NamedTuple

import numpy as np

from fastconv import _core, errors, runtime
from fastconv.geometry import problem_string

_FORWARD, _BACKWARD_INPUT, _BACKWARD_WEIGHT = range(3)
_ROLES = {"": _FORWARD, "_backward_input": _BACKWARD_INPUT, "_backward_weight": _BACKWARD_WEIGHT}
_CONVOLUTIONS = {  # axes of pixels, role, whether transposed
    f"{name}{axes}d{part}": (axes, role, name == "conv_transpose")
    for axes in (2, 1)
    for name in ("conv", "conv_transpose")
    for part, role in _ROLES.items()
}
_DENSE = {f"linear{part}": role for part, role in _ROLES.items()}
_POOLING = ("max_pool2d", "max_pool2d_backward", "avg_pool2d", "avg_pool2d_backward")
_NAMES = {  # what the call computes x, weight and y for, or from
    _FORWARD: ("x", "weight", "y"),
    _BACKWARD_INPUT: ("grad_x", "weight", "grad_y"),
    _BACKWARD_WEIGHT: ("x", "grad_weight", "grad_y"),
}


class Copy(NamedTuple):
    """Something that is copied on its way to a kernel or from it."""

    what: str
    bytes: int
    why: str


class Explanation(NamedTuple):
    """What `explain` tells; printed, it is a text.

    ``multiplications`` counts what the definition asks for, ``products`` what the kernel does, with lanes whose result
    is dropped; ``bytes`` are those of the arrays, ``copies`` what is written besides, at most; ``intensity`` is
    operations (a multiplication and an addition are two) per byte of the arrays. Of pooling ``windows`` is told.
    """

    operation: str
    problem: str
    dtype: str
    algorithm: str
    reason: str
    others: dict
    kernel: str
    windows: int
    multiplications: int
    products: int
    bytes: dict
    copies: tuple
    workspace: int | None
    threads: int | None
    error: str
    intensity: float

    def __str__(self):
        lines = (f"  {name:<16}{text}".rstrip() for name, text in _lines(self))
        return "\n".join((f"{self.operation} of {self.problem}, {self.dtype}", *lines))

    __repr__ = __str__


def explain(operation, x, weight, *, bias=None, y=None, stride=None, padding=0, output_padding=0, dilation=1, groups=1,
            ceil_mode=False, layout="NHWC", activation=None, precision=None, algorithm="auto", dtype=np.float32,
            threads=None):  # fmt: skip
    """Tell what a call will do: algorithm, kernel, arithmetic, bytes, copies, scratch memory, threads, error.

    Nothing is computed, no array is read or written. ``print(fc.explain("conv2d", (1, 56, 56, 64), (3, 3, 64, 64)))``

    Parameters
    ----------
    operation : str
        "conv2d", "conv2d_backward_input", "conv2d_backward_weight", the same of "conv1d", "conv_transpose2d",
        "conv_transpose1d" and "linear"; "max_pool2d", "max_pool2d_backward", "avg_pool2d", "avg_pool2d_backward".
    x, weight : arrays or shapes
        The image and the filters; for a gradient, the shape of what is computed. Arrays are looked at for their
        dtype and strides, shapes stand for arrays in C order. weight may be `PackedWeights`. For pooling, weight is
        kernel_size.
    bias : array or None
    y : array, shape or None
        ``out`` of the forward function, grad_y of a backward one.
    stride, padding, output_padding, dilation, groups, ceil_mode, layout, activation, precision, algorithm
        As the function takes them; ``stride=None`` is its default.
    dtype : dtype of what is given as a shape
        uint8, int8, int16 and float16 are meant for the image, beside float32 weights.
    threads : int or None
        With at most so many; None: as many as the next call.

    Returns
    -------
    Explanation

    Raises
    ------
    TypeError, ValueError
        Where the call would.
    """
    if not isinstance(operation, str):
        raise errors.not_a_string("operation", operation)
    known = (*_CONVOLUTIONS, *_DENSE, *_POOLING)
    if operation not in known:
        raise errors.unknown_name("operation", operation, known)
    dtype = np.dtype(dtype)
    if operation in _POOLING:
        return _pooling(operation, x, weight, stride, padding, dilation, ceil_mode, layout, dtype)
    stride = 1 if stride is None else stride
    packed = weight
    if isinstance(packed, _core.PackedWeights):
        weight = packed.weight
    options = (stride, padding, output_padding, dilation, groups, layout, activation, precision, algorithm)
    if operation in _DENSE:
        x, weight, y = _as_images(_DENSE[operation], x, weight, y)
        kind = (2, _DENSE[operation], False)
    else:
        kind = _CONVOLUTIONS[operation]
    with runtime.threads(runtime.get_num_threads() if threads is None else threads):
        told = _core.explain_convolution(*kind, x, weight, packed, bias, y, *_type_numbers(dtype), *options)
    return _explanation(operation, kind[1], told, options)


def _type_numbers(dtype):
    """Of the image and of the other arrays."""
    if dtype.char not in "fdebBh":
        raise errors.wrong_dtype("what is given as a shape", dtype, True)
    return dtype.num, dtype.num if dtype.char in "fd" else np.dtype(np.float32).num


def _as_images(role, x, weight, y):
    """Arguments of a dense layer as those of a convolution of images of one pixel."""
    if len(_shape(weight, "weight")) != 2:
        raise errors.not_a_matrix("weight", _shape(weight, "weight"))
    if isinstance(weight, np.ndarray):
        weight = weight[np.newaxis, np.newaxis]
    else:
        weight = (1, 1, *weight)
    return _rows(x, "x"), weight, None if y is None else _rows(y, "y")


def _rows(value, name):
    shape = _shape(value, name)
    if not shape:
        raise errors.no_axes(name)
    rows = (math.prod(shape[:-1]), 1, 1, shape[-1])
    return value.reshape(rows) if isinstance(value, np.ndarray) else rows


def _shape(value, name):
    if isinstance(value, np.ndarray):
        return value.shape
    if not isinstance(value, (tuple, list)):
        raise errors.not_a_shape(name, value)
    return tuple(value)


# ---------------------------------------------------------------- convolution


def _explanation(operation, role, told, options):
    stride, padding, _, dilation, groups, layout = options[:6]
    names = dict(zip(("x", "weight", "y"), _NAMES[role], strict=True))
    x_shape, weight_shape = told["shapes"]
    copies = [Copy(name, int(size), "unaligned, or bytes in another order") for name, size in told["copied"]]
    for role_name, (size, why) in told["copies"].items():
        if size:
            copies.append(Copy(names[role_name], int(size), ", ".join(why)))
    multiplications = int(told["multiplications"])
    sizes = {names[name]: int(size) for name, size in told["bytes"].items()}
    rows, columns = told["tile"]
    kernel = f"{told['kernel'] or 'none'} of {told['isa']}" + (f", {rows} x {columns} sums at once" if rows else "")
    return Explanation(
        operation=operation,
        problem=problem_string(x_shape, weight_shape, stride, padding, dilation, groups, layout),
        dtype=str(told["dtype"]),
        algorithm=told["algorithm"],
        reason=told["reason"],
        others=told["others"],
        kernel=kernel,
        windows=0,
        multiplications=multiplications,
        products=int(told["products"]) or multiplications,
        bytes=sizes,
        copies=tuple(copies),
        workspace=told["workspace"],
        threads=told["threads"],
        error=_error_bound(told["algorithm"], told["dtype"], told["precision"], role),
        intensity=2 * multiplications / max(1, sum(sizes.values())),
    )


# Products of bfloat16 numbers, of which each float32 is the sum of so many.
_PARTS = {"bf16x1": "3e-3", "bf16x2": "5e-6", "bf16x3": "1e-6"}


def _error_bound(algorithm, dtype, precision, role):
    """What is promised; see README.md."""
    unit = "2**-24" if dtype == np.float32 else "2**-53"
    if algorithm == "reference":
        return "sums in float64, rounded once"
    if algorithm == "winograd":
        bound = "relative L2 at most 3e-6" if dtype == np.float32 else "no promise for float64"
    elif algorithm in _PARTS:
        bound = f"relative L2 at most {_PARTS[algorithm]}"
    else:
        units = 8 if role == _BACKWARD_WEIGHT else 4
        bound = "relative L2 at most 1e-6, " if dtype == np.float32 else ""
        bound += f"each result within {units} u of the sum of |terms|, u = {unit}"
    if dtype == np.float32 and (precision != "strict" or algorithm == "bf16x3"):
        bound += "; subnormal numbers may count as zero"
    return bound


# ---------------------------------------------------------------- pooling


def _pooling(operation, x, kernel_size, stride, padding, dilation, ceil_mode, layout, dtype):
    shape = _shape(x, "x")
    y_shape = _core.pool2d_output_shape(
        shape, kernel_size, stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode, layout=layout
    )
    dtype = x.dtype if isinstance(x, np.ndarray) else dtype
    windows = math.prod(y_shape)
    taps = math.prod(kernel_size) if isinstance(kernel_size, (tuple, list)) else int(kernel_size) ** 2
    y_dtype = dtype if operation.startswith("max") or dtype.char in "fd" else np.dtype(np.float32)
    sizes = {"x": math.prod(shape) * dtype.itemsize, "y": windows * y_dtype.itemsize}
    if operation == "max_pool2d_backward":
        sizes["indices"] = windows * 8
    if operation.endswith("backward"):
        sizes = {name if name == "indices" else f"grad_{name}": size for name, size in sizes.items()}
    work = "comparisons" if operation.startswith("max") else "additions"
    return Explanation(
        operation=operation,
        problem=f"{shape} -> {y_shape}, kernel_size={kernel_size}, {layout}",
        dtype=str(y_dtype),
        algorithm="pooling",
        reason=f"{taps} {work} a window",
        others={},
        kernel=f"pooling of {_core.get_isa()}",
        windows=windows,
        multiplications=0,
        products=0,
        bytes=sizes,
        copies=(),
        workspace=None,
        threads=None,
        error="none" if operation.startswith("max") else "sums of each window are rounded to its dtype",
        intensity=windows * taps / max(1, sum(sizes.values())),
    )


# ---------------------------------------------------------------- as a text


def _size(count):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.3g} {unit}" if count < 1000 else f"{count:.0f} {unit}"
        count /= 1024
    return None


def _lines(e):
    yield "algorithm", f"{e.algorithm}: {e.reason}"
    for name, reason in e.others.items():
        yield f"not {name}", reason
    yield "kernel", e.kernel
    if e.windows:
        yield "windows", f"{e.windows:,}"
    else:
        share = f" ({e.products / e.multiplications:.2f} of them)" if e.multiplications else ""
        yield "multiplications", f"{e.multiplications:,}; done: {e.products:,}{share}"
    yield "arrays", ", ".join(f"{name} {_size(size)}" for name, size in e.bytes.items())
    yield "intensity", f"{e.intensity:.3g} operations a byte of the arrays"
    for i, copy in enumerate(e.copies or (None,)):
        text = "none" if copy is None else f"{copy.what}, {_size(copy.bytes)}: {copy.why}"
        yield "" if i else "copies", text
    if not e.windows:
        yield "workspace", _size(e.workspace)
        yield "threads", f"{e.threads}"
    yield "error", e.error
