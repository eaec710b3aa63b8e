# SPDX-License-Identifier: BSD-3-Clause
"""Lookup of vectors by number, and its gradient."""

import numpy as np

from fastconv import errors


def embedding(indices, weight, *, out=None):
    """The rows of ``weight`` that ``indices`` names.

    Parameters
    ----------
    indices : integers of any shape
        From 0 to V - 1; all are checked before anything is written.
    weight : (V, D), float32 or float64
    out : array of the result's shape and dtype, or None

    Returns
    -------
    y : (..., D), of the shape of indices and one axis more
    """
    if not isinstance(weight, np.ndarray) or weight.dtype not in (np.float32, np.float64):
        raise TypeError(f"weight must be an array of float32 or float64, got {getattr(weight, 'dtype', type(weight))}")
    if weight.ndim != 2:
        raise ValueError(f"weight has shape {weight.shape}, but needs 2 axes: (vectors, numbers of a vector)")
    indices = checked_indices(indices, len(weight))
    shape = (*indices.shape, weight.shape[1])
    if out is None:
        return np.take(weight, indices, axis=0)
    check_out(out, shape, weight.dtype, {"indices": indices, "weight": weight})
    if out.flags.c_contiguous:
        return np.take(weight, indices, axis=0, out=out, mode="clip")  # "raise" would go through a buffer
    out[...] = np.take(weight, indices, axis=0)
    return out


def embedding_backward(grad_y, indices, weight_shape, *, out=None):
    """Gradient of a loss with respect to the weight of `embedding`: each row is the sum of the grad_y of the places
    that name it, added in their order.

    grad_y is (..., D), indices of the shape of its other axes; the result has weight_shape, (V, D).
    """
    if not isinstance(grad_y, np.ndarray) or grad_y.dtype not in (np.float32, np.float64):
        raise TypeError(f"grad_y must be an array of float32 or float64, got {getattr(grad_y, 'dtype', type(grad_y))}")
    count, size = weight_shape
    indices = checked_indices(indices, count)
    if grad_y.shape != (*indices.shape, size):
        raise errors.wrong_grad_y(grad_y.shape, (*indices.shape, size))
    if out is None:
        out = np.empty((count, size), grad_y.dtype)
    else:
        check_out(out, (count, size), grad_y.dtype, {"grad_y": grad_y, "indices": indices})
    out[...] = 0
    np.add.at(out, indices.reshape(-1), grad_y.reshape(-1, size))
    return out


def checked_indices(indices, count):
    if not isinstance(indices, np.ndarray):
        raise errors.not_an_array("indices", indices)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers, got {indices.dtype}")
    if indices.size and not (0 <= int(indices.min()) and int(indices.max()) < count):
        raise ValueError(f"indices holds a value outside 0 .. {count - 1}, the rows of the weight")
    return indices


def check_out(out, shape, dtype, inputs):
    if not isinstance(out, np.ndarray):
        raise errors.not_an_array("out", out)
    if out.dtype != dtype:
        raise TypeError(f"out has dtype {out.dtype}, but the result is {dtype}")
    if out.shape != shape:
        raise errors.wrong_out_shape("out", out.shape, shape)
    if not out.flags.writeable:
        raise errors.read_only("out")
    if errors.overlaps_itself(out):
        raise errors.self_overlap("out")
    for name, array in inputs.items():
        if np.may_share_memory(out, array) and errors.share_memory(out, array):
            raise errors.overlap(name)
