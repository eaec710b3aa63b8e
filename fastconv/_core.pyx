# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=True
# cython: embedsignature=False, freethreading_compatible=True
"""From NumPy arrays to the C library: arrays to pointers, the GIL released, a status to an exception.

No arithmetic and no documentation of operations: that is in `ops/`, with the signatures once more. A call
costs about half a microsecond, so everything that happens on every call is here in C, and everything that
explains an error is in `errors.py`, which is called only then.
"""
cimport cython
cimport numpy as cnp
from cpython.exc cimport PyErr_Occurred
from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport INT64_MAX, int64_t, intptr_t, uint64_t
from libc.string cimport memset

import numpy as np

from fastconv import borders, errors, own_type

cnp.import_array()

include "_cython/arguments.pxi"
include "_cython/pixels.pxi"
include "_cython/convolution.pxi"
include "_cython/transposed.pxi"
include "_cython/one_dimension.pxi"
include "_cython/volumes.pxi"
include "_cython/transposed_volumes.pxi"
include "_cython/linear.pxi"
include "_cython/packed.pxi"
include "_cython/pooling.pxi"
include "_cython/pooling_volumes.pxi"
include "_cython/adaptive.pxi"
include "_cython/normalization.pxi"
include "_cython/sample_norms.pxi"
include "_cython/elementwise.pxi"
include "_cython/activation.pxi"
include "_cython/explanation.pxi"
include "_cython/runtime.pxi"
include "_cython/door.pxi"
