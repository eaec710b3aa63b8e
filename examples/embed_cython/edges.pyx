# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3, boundscheck=False, wraparound=False
"""A Cython module of somebody else's that calls fastconv's kernels from C, without the interpreter lock.

One learns: how to cimport the kernels, and how to describe an array to them.
"""
from fastconv._core cimport (
    FC_AUTO,
    FC_DEFAULT,
    FC_FLOAT32,
    FC_OK,
    FC_PAD_SAME,
    FC_RELU,
    conv2d_forward_nogil,
    conv2d_resolve_nogil,
    fc_array,
    fc_conv2d,
    fc_options,
    fc_status,
)

import numpy as np


cdef fc_array array_of(float *data, Py_ssize_t *strides) noexcept nogil:
    """Strides count numbers, a memoryview's count bytes."""
    cdef fc_array array
    array.data, array.dtype, array.packed = data, FC_FLOAT32, NULL
    for axis in range(4):
        array.stride[axis] = strides[axis] // <Py_ssize_t>sizeof(float)
    return array


def vertical_edges(float[:, :, :, :] images):
    """Where images (N, H, W, 1) get brighter from left to right, float32, in the same shape."""
    cdef float[:, :, :, :] weight = np.float32([[-1, 0, 1]] * 3).reshape(3, 3, 1, 1)
    result = np.empty_like(images)
    cdef float[:, :, :, :] y = result
    cdef fc_conv2d problem
    cdef fc_options options
    cdef fc_array x_array, weight_array, y_array
    cdef fc_status status
    problem.n, problem.h, problem.w, problem.c = images.shape[0], images.shape[1], images.shape[2], images.shape[3]
    problem.k, problem.r, problem.s, problem.groups = 1, 3, 3, 1
    problem.stride_h = problem.stride_w = problem.dilation_h = problem.dilation_w = 1
    options = fc_options(FC_RELU, FC_AUTO, FC_DEFAULT)
    x_array = array_of(&images[0, 0, 0, 0], images.strides)
    weight_array = array_of(&weight[0, 0, 0, 0], weight.strides)
    y_array = array_of(&y[0, 0, 0, 0], y.strides)
    with nogil:
        status = conv2d_resolve_nogil(&problem, FC_PAD_SAME)
        if status == FC_OK:
            status = conv2d_forward_nogil(&problem, &x_array, &weight_array, NULL, &y_array, &options)
    if status != FC_OK:
        raise ValueError(f"fastconv refused images of {np.shape(images)}: status {<int>status}")
    return result
