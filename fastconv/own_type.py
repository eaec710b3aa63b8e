# SPDX-License-Identifier: BSD-3-Clause
"""The maximum of windows in the type that it was given: integers, float16 and subclasses, on the kernels of floats.

The maximum of numbers is one of them, so that a type which holds them all exactly gives it exactly.
"""

import numpy as np

from fastconv import errors


def max_pool(pool, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out):
    """A maximum of x by `pool`, which takes the same arguments and gives a result in a type of floats."""
    result = pool(_as_exact_floats(x), kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, None)
    if not return_indices:
        return _deliver(result.astype(x.dtype), _clear_of(out, "x", x))
    y_out, indices_out = errors.pair_of_results(out) if isinstance(out, tuple) else (out, None)
    y, indices = result[0].astype(x.dtype), result[1]
    _check_out(y, _clear_of(y_out, "x", x))
    _check_out(indices, _clear_of(_clear_of(indices_out, "x", x), "out[0]", y_out), "out[1]")
    return _deliver(y, y_out), _deliver(indices, indices_out, "out[1]")


def global_max_pool2d(pool, x, keepdims, layout):
    """`global_max_pool2d` of x by `pool`, the max_pool2d of arrays of any type."""
    if not isinstance(x, np.ndarray):
        raise errors.not_an_array("x", x)
    if x.ndim not in (3, 4):
        raise errors.wrong_rank("x", x.shape, 3, 4)
    y = pool(x, x.shape[-2:] if layout == "NCHW" else x.shape[-3:-1], layout=layout)
    if keepdims:
        return y
    return y[..., 0, 0] if layout == "NCHW" else y[..., 0, 0, :]


def _clear_of(out, name, array):
    """`out`, which must not share memory with the array of that name."""
    if isinstance(out, np.ndarray) and isinstance(array, np.ndarray) and errors.share_memory(out, array):
        raise errors.overlap(name)
    return out


def _as_exact_floats(x):
    """x in a type that the kernel converts, or float64, without rounding any value."""
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise errors.not_an_array("x", x)
    if x.dtype.kind in "iu" and x.dtype.itemsize > 4:
        if x.size and max(abs(int(x.max())), abs(int(x.min()))) > 2**53:
            raise ValueError(f"x has dtype {x.dtype} and values beyond 2**53, which float64 does not hold exactly")
        return x.astype(np.float64)
    if x.dtype.kind in "iu" and x.dtype not in (np.uint8, np.int8, np.int16):
        return x.astype(np.float64)
    return x


def _check_out(y, out, name="out"):
    if out is not None:
        errors.check_out(out, y.shape, y.dtype, name)


def _deliver(y, out, name="out"):
    """Copy a result into `out`, if one was given, after checks."""
    _check_out(y, out, name)
    if out is None:
        return y
    out[...] = y
    return out
