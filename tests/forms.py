# SPDX-License-Identifier: BSD-3-Clause
"""The same numbers in every form of memory that NumPy can express."""

import tempfile

import numpy as np


class Image(np.ndarray):
    """A subclass with nothing of its own."""


def backwards(array):
    """Stored in the opposite direction along every axis."""
    everywhere = (slice(None, None, -1),) * array.ndim
    return array[everywhere].copy()[everywhere]


def spread(array):
    """Stored with gaps along every axis; the gaps hold 99."""
    wide = np.full([2 * length for length in array.shape], 99, array.dtype)
    view = wide[(slice(1, None, 2),) * array.ndim]
    view[...] = array
    return view


def spread_backwards(array):
    """Stored with gaps and in the opposite direction; the gaps hold 99."""
    wide = np.full([2 * length for length in array.shape], 99, array.dtype)
    view = wide[(slice(None, None, -2),) * array.ndim]
    view[...] = array
    return view


def unaligned(array):
    """Stored one byte behind an aligned address."""
    view = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def odd_strides(array):
    """One field of packed records, so that no stride is a multiple of the element."""
    records = np.zeros(array.shape, np.dtype([("number", array.dtype), ("flag", np.uint8)]))
    records["number"] = array
    return records["number"]


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def mapped(array):
    """A file in memory."""
    with tempfile.TemporaryFile() as file:
        copy = np.memmap(file, array.dtype, "w+", shape=array.shape)
    copy[...] = array
    return copy


FORMS = {
    "backwards": backwards,
    "spread": spread,
    "spread backwards": spread_backwards,
    "unaligned": unaligned,
    "odd strides": odd_strides,
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "Fortran order": lambda array: array.copy(order="F"),
    "last axis outermost": lambda array: np.moveaxis(np.moveaxis(array, -1, 0).copy(), 0, -1),
    "outer and inner axis swapped": lambda array: array.swapaxes(0, -1).copy().swapaxes(0, -1),
    "read-only": read_only,
    "memory map": mapped,
    "subclass": lambda array: array.copy().view(Image),
}

# those that a result can be written into in place
WRITABLE = ("backwards", "spread", "spread backwards", "Fortran order", "last axis outermost")
