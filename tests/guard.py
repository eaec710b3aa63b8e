# SPDX-License-Identifier: BSD-3-Clause
"""Arrays flush with memory that nobody may touch.

The pages before and behind the data are protected, so that reading or writing one byte too far
ends the process at once. No sanitizer is needed, and over-reads of vector instructions, which stay
within the memory of an ordinary array's neighbours, are seen too.
"""

import ctypes
import mmap
import sys

import numpy as np

AVAILABLE = sys.platform.startswith(("linux", "darwin", "freebsd"))
LIBC = ctypes.CDLL(None, use_errno=True) if AVAILABLE else None
PROT_NONE = 0


def guarded(array, side, strides=None):
    """A copy of ``array`` that ends (``side="end"``) or starts (``"start"``) at a protected page.

    With ``strides`` (in bytes, none negative) the copy has gaps, and the last element, not a
    multiple of the stride, is what touches the page.
    """
    strides = np.ascontiguousarray(array).strides if strides is None else strides
    reach = sum((n - 1) * step for n, step in zip(array.shape, strides, strict=True))
    span = reach + array.itemsize if array.size else 0
    page = mmap.PAGESIZE
    pages = -(-span // page)
    memory = mmap.mmap(-1, (pages + 2) * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for border in (start, start + (pages + 1) * page):
        protect(border, page)
    offset = page if side == "start" else (pages + 1) * page - span
    copy = np.ndarray(array.shape, array.dtype, memory, offset, strides)
    copy[...] = array
    return copy


def protect(address, length):
    if LIBC.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(length), PROT_NONE):
        raise OSError(ctypes.get_errno(), "mprotect")
