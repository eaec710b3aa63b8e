# SPDX-License-Identifier: BSD-3-Clause
# Maxima of volumes and their gradients. Sizes of volumes are n, d, h, w, c, of windows t, r, s, of results o, p, q.

cdef int resolve_pool3d(fc_pool3d *g, const int64_t *x_sizes, int rank, object x_name, object kernel_size,
                        object stride, object padding, object dilation, object ceil_mode,
                        bint channels_first) except -1:
    cdef fc_padding mode
    cdef fc_status status
    cdef int64_t before[3]
    cdef int64_t after[3]
    memset(g, 0, sizeof(fc_pool3d))
    volume_sizes(x_sizes, channels_first, rank, &g.n, &g.d, &g.h, &g.w, &g.c)
    to_triple(kernel_size, "kernel_size", &g.t, &g.r, &g.s)
    to_triple(kernel_size if stride is None else stride, "stride", &g.stride_d, &g.stride_h, &g.stride_w)
    to_triple(dilation, "dilation", &g.dilation_d, &g.dilation_h, &g.dilation_w)
    g.ceil_mode = to_bool(ceil_mode, "ceil_mode")
    mode = <fc_padding>to_volume_padding(padding, before, after)
    g.pad_front, g.pad_top, g.pad_left = before[0], before[1], before[2]
    g.pad_back, g.pad_bottom, g.pad_right = after[0], after[1], after[2]
    status = fc_pool3d_resolve(g, mode)
    if status != FC_OK:
        raise errors.bad_pooling(fc_status_text(status).decode(), x_name, sizes_tuple(x_sizes, rank),
                                 layout_name(channels_first, 3), kernel_size, stride, padding, dilation)
    return 0


def pool3d_output_shape(object x_shape, object kernel_size, object stride=None, *, object padding=0, object dilation=1,
                        object ceil_mode=False, object layout="NDHWC"):
    cdef fc_pool3d g
    cdef int64_t sizes[5]
    cdef bint channels_first = to_channels_first(layout, 3)
    cdef int rank = to_shape(x_shape, "x_shape", 4, 5, sizes)
    resolve_pool3d(&g, sizes, rank, "x_shape", kernel_size, stride, padding, dilation, ceil_mode, channels_first)
    put_volume_sizes(g.n, g.o, g.p, g.q, g.c, channels_first, rank, sizes)
    return sizes_tuple(sizes, rank)


def max_pool3d_as_float(object x, object kernel_size, object stride, object padding, object dilation, object ceil_mode,
                        object return_indices, object layout, object out):
    cdef fc_pool3d g
    cdef fc_array3d x_view, y_view, indices_view
    cdef int64_t x_sizes[5]
    cdef int64_t y_sizes[5]
    cdef fc_status status
    cdef cnp.ndarray x_array = to_array(x, "x", True)
    cdef bint channels_first = to_channels_first(layout, 3)
    cdef int rank = array_sizes(x_array, "x", 4, 5, x_sizes)
    resolve_pool3d(&g, x_sizes, rank, "x", kernel_size, stride, padding, dilation, ceil_mode, channels_first)
    put_volume_sizes(g.n, g.o, g.p, g.q, g.c, channels_first, rank, y_sizes)
    cdef Maxima results = to_maxima(x, x_array, return_indices, out, rank, y_sizes)
    view_volumes(x_array, channels_first, &x_view)
    view_volumes(results.y, channels_first, &y_view)
    if results.indices is not None:
        view_volumes(results.indices, channels_first, &indices_view)
    cdef int64_t *indices_data = results.indices_data
    with nogil:
        status = fc_max_pool3d(&g, &x_view, &y_view, indices_data, indices_view.stride)
    check(status)
    return results.delivered()


def max_pool3d(object x, object kernel_size, object stride=None, *, object padding=0, object dilation=1,
               object ceil_mode=False, object return_indices=False, object layout="NDHWC", object out=None):
    if is_float_array(x):
        return max_pool3d_as_float(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out)
    return own_type.max_pool(max_pool3d_as_float, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices,
                             layout, out)


def max_pool3d_backward(object grad_y, object indices, object x_shape, *, object layout="NDHWC", object out=None):
    cdef fc_pool3d g
    cdef fc_array3d grad_y_view, indices_view, grad_x_view
    cdef int64_t x_sizes[5]
    cdef int64_t y_sizes[5]
    cdef int64_t n, channels
    cdef fc_status status
    cdef cnp.ndarray grad_y_array = to_array(grad_y, "grad_y", False)
    cdef bint channels_first = to_channels_first(layout, 3)
    cdef int rank = to_shape(x_shape, "x_shape", 4, 5, x_sizes)
    array_sizes(grad_y_array, "grad_y", rank, rank, y_sizes)
    cdef cnp.ndarray indices_array = to_indices(indices, grad_y, rank, y_sizes)
    memset(&g, 0, sizeof(g))
    volume_sizes(x_sizes, channels_first, rank, &g.n, &g.d, &g.h, &g.w, &g.c)
    volume_sizes(y_sizes, channels_first, rank, &n, &g.o, &g.p, &g.q, &channels)
    if (n != g.n or channels != g.c or g.n < 0 or min(g.c, g.d, g.h, g.w, g.o, g.p, g.q) < 1
            or too_many_elements(x_sizes, rank)):
        raise errors.unrelated_shapes(x_shape, (<object>grad_y_array).shape, layout)
    cdef cnp.ndarray target = to_result(out, rank, x_sizes, cnp.PyArray_TYPE(grad_y_array))
    if out is not None:
        refuse_overlaps(target, grad_y, "grad_y", indices, "indices")
    cdef cnp.ndarray grad_x = walkable(target)
    view_volumes(grad_y_array, channels_first, &grad_y_view)
    view_volumes(indices_array, channels_first, &indices_view)
    view_volumes(grad_x, channels_first, &grad_x_view)
    cdef const int64_t *indices_data = <const int64_t *>cnp.PyArray_DATA(indices_array)
    with nogil:
        status = fc_max_pool3d_backward(&g, &grad_y_view, indices_data, indices_view.stride, &grad_x_view)
    if status == FC_BAD_INDEX:
        raise errors.bad_index(g.d, g.h, g.w)
    check(status)
    return deliver(out, target, grad_x)
