# SPDX-License-Identifier: BSD-3-Clause
# Adaptive pooling: the size of the result is given, windows share the image.

cdef int resolve_adaptive(fc_pool2d *g, const int64_t *x_sizes, int rank, object x_name, int64_t p, int64_t q,
                          object output_size, bint channels_first) except -1:
    memset(g, 0, sizeof(fc_pool2d))
    image_sizes(x_sizes, channels_first, rank, &g.n, &g.h, &g.w, &g.c)
    g.p = g.h if p == 0 else p
    g.q = g.w if q == 0 else q
    status = fc_pool2d_resolve_adaptive(g)
    if status != FC_OK:
        raise errors.bad_adaptive_pooling(fc_status_text(status).decode(), x_name, sizes_tuple(x_sizes, rank),
                                          layout_name(channels_first, 2), output_size)
    return 0


cdef int64_t to_size(object value) except -1:
    """Pixels of the result along an axis; 0: as many as the image has."""
    if value is None:
        return 0
    size = to_int(value, "output_size")
    if size < 1:
        raise errors.below_one("output_size", value)
    return size


cdef int to_output_size(object value, int64_t *p, int64_t *q) except -1:
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise errors.wrong_count("output_size", value, 2)
        p[0], q[0] = to_size(value[0]), to_size(value[1])
    else:
        p[0] = q[0] = to_size(value)
    return 0


def adaptive_avg_pool2d(object x, object output_size, *, object layout="NHWC", object out=None):
    cdef fc_pool2d g
    cdef fc_array x_view, y_view
    cdef int64_t x_sizes[4]
    cdef int64_t y_sizes[4]
    cdef int64_t p, q
    cdef cnp.ndarray x_array = to_array(x, "x", True)
    cdef bint channels_first = to_channels_first(layout)
    cdef int rank = array_sizes(x_array, "x", 3, 4, x_sizes)
    to_output_size(output_size, &p, &q)
    resolve_adaptive(&g, x_sizes, rank, "x", p, q, output_size, channels_first)
    pooled_sizes(&g, channels_first, rank, y_sizes)
    cdef cnp.ndarray target = to_result(out, rank, y_sizes, result_type(x_array, x_array))
    if out is not None:
        refuse_overlaps(target, x, "x")
    cdef cnp.ndarray y = walkable(target)
    view_image(x_array, channels_first, &x_view)
    view_image(y, channels_first, &y_view)
    run_avg_pool(&g, &x_view, &y_view)
    return deliver(out, target, y)


def adaptive_avg_pool2d_backward(object grad_y, object x_shape, *, object layout="NHWC", object out=None):
    cdef fc_pool2d g
    cdef fc_array grad_y_view, grad_x_view
    cdef int64_t x_sizes[4]
    cdef int64_t y_sizes[4]
    cdef int64_t n, p, q, c
    cdef fc_status status
    cdef cnp.ndarray grad_y_array = to_array(grad_y, "grad_y", False)
    cdef bint channels_first = to_channels_first(layout)
    cdef int rank = to_shape(x_shape, "x_shape", 3, 4, x_sizes)
    array_sizes(grad_y_array, "grad_y", rank, rank, y_sizes)
    image_sizes(y_sizes, channels_first, rank, &n, &p, &q, &c)
    if p < 1 or q < 1 or c < 1:
        raise errors.empty_grad_y(grad_y.shape)
    resolve_adaptive(&g, x_sizes, rank, "x_shape", p, q, (p, q), channels_first)
    if n != g.n or c != g.c:
        raise errors.unrelated_shapes(x_shape, (<object>grad_y_array).shape, layout)
    cdef cnp.ndarray target = to_result(out, rank, x_sizes, cnp.PyArray_TYPE(grad_y_array))
    if out is not None:
        refuse_overlaps(target, grad_y, "grad_y")
    cdef cnp.ndarray grad_x = walkable(target)
    view_image(grad_y_array, channels_first, &grad_y_view)
    view_image(grad_x, channels_first, &grad_x_view)
    with nogil:
        status = fc_avg_pool2d_backward(&g, &grad_y_view, &grad_x_view)
    check(status)
    return deliver(out, target, grad_x)


def adaptive_max_pool2d_as_float(object x, object output_size, object stride, object padding, object dilation,
                                 object ceil_mode, object return_indices, object layout, object out):
    """As max_pool2d_as_float, whose other arguments mean nothing here."""
    cdef fc_pool2d g
    cdef fc_array x_view
    cdef int64_t x_sizes[4]
    cdef int64_t y_sizes[4]
    cdef int64_t p, q
    cdef bint with_indices = to_bool(return_indices, "return_indices")
    cdef cnp.ndarray x_array = to_array(x, "x", True)
    cdef bint channels_first = to_channels_first(layout)
    cdef int rank = array_sizes(x_array, "x", 3, 4, x_sizes)
    to_output_size(output_size, &p, &q)
    resolve_adaptive(&g, x_sizes, rank, "x", p, q, output_size, channels_first)
    pooled_sizes(&g, channels_first, rank, y_sizes)
    cdef Maxima results = to_maxima(x, x_array, with_indices, out, rank, y_sizes)
    view_image(x_array, channels_first, &x_view)
    run_max_pool(&g, &x_view, results, channels_first)
    return results.delivered()


def adaptive_max_pool2d(object x, object output_size, *, object return_indices=False, object layout="NHWC",
                        object out=None):
    if is_float_array(x):
        return adaptive_max_pool2d_as_float(x, output_size, None, 0, 1, False, return_indices, layout, out)
    return own_type.max_pool(adaptive_max_pool2d_as_float, x, output_size, None, 0, 1, False, return_indices, layout,
                             out)
