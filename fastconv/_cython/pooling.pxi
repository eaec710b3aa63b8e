# SPDX-License-Identifier: BSD-3-Clause
# Pooling and its gradients.

cdef int pooled_sizes(const fc_pool2d *g, bint channels_first, int rank, int64_t *sizes) noexcept:
    cdef int first = rank - 3
    if first == 1:
        sizes[0] = g.n
    if channels_first:
        sizes[first], sizes[first + 1], sizes[first + 2] = g.c, g.p, g.q
    else:
        sizes[first], sizes[first + 1], sizes[first + 2] = g.p, g.q, g.c
    return 0


cdef int resolve_pool(fc_pool2d *g, const int64_t *x_sizes, int rank, object x_name, object kernel_size, object stride,
                      object padding, object dilation, object ceil_mode, bint channels_first) except -1:
    cdef fc_padding mode
    cdef fc_status status
    memset(g, 0, sizeof(fc_pool2d))
    image_sizes(x_sizes, channels_first, rank, &g.n, &g.h, &g.w, &g.c)
    to_pair(kernel_size, "kernel_size", &g.r, &g.s)
    to_pair(kernel_size if stride is None else stride, "stride", &g.stride_h, &g.stride_w)
    to_pair(dilation, "dilation", &g.dilation_h, &g.dilation_w)
    g.ceil_mode = to_bool(ceil_mode, "ceil_mode")
    mode = <fc_padding>to_padding(padding, &g.pad_top, &g.pad_bottom, &g.pad_left, &g.pad_right)
    status = fc_pool2d_resolve(g, mode)
    if status != FC_OK:
        raise errors.bad_pooling(fc_status_text(status).decode(), x_name, sizes_tuple(x_sizes, rank),
                                 "NCHW" if channels_first else "NHWC", kernel_size, stride, padding, dilation)
    return 0


cdef int set_divisor(fc_pool2d *g, object padding, object count_include_pad, object divisor_override) except -1:
    if count_include_pad is None:
        g.count_include_pad = not (isinstance(padding, str) and padding != "valid")
    else:
        g.count_include_pad = to_bool(count_include_pad, "count_include_pad")
    if divisor_override is not None:
        g.divisor = to_int(divisor_override, "divisor_override")
        if g.divisor < 1:
            raise errors.below_one("divisor_override", divisor_override)
    return 0


cdef double SMALL_PLANE = 1e4


cdef bint is_small_pool(const fc_pool2d *g) noexcept:
    """As is_small: some 10 microseconds of comparisons or sums."""
    return <double>g.n * g.p * g.q * g.c * g.r * g.s < SMALL_PLANE


def pool2d_output_shape(object x_shape, object kernel_size, object stride=None, *, object padding=0, object dilation=1,
                        object ceil_mode=False, object layout="NHWC"):
    cdef fc_pool2d g
    cdef int64_t x_sizes[4]
    cdef int64_t y_sizes[4]
    cdef bint channels_first = to_channels_first(layout)
    cdef int rank = to_shape(x_shape, "x_shape", 3, 4, x_sizes)
    resolve_pool(&g, x_sizes, rank, "x_shape", kernel_size, stride, padding, dilation, ceil_mode, channels_first)
    pooled_sizes(&g, channels_first, rank, y_sizes)
    return sizes_tuple(y_sizes, rank)


@cython.final
cdef class Maxima:
    """What a maximum writes: y and, if they are wanted, indices. Of each the array that the caller gave, the one that he
    will get, and the one that C writes."""
    cdef object out, indices_out
    cdef cnp.ndarray target, indices_target, y, indices
    cdef int64_t *indices_data

    cdef object delivered(self):
        result = deliver(self.out, self.target, self.y)
        if self.indices is None:
            return result
        return result, deliver(self.indices_out, self.indices_target, self.indices)


cdef Maxima to_maxima(object x, cnp.ndarray x_array, bint with_indices, object out, int rank, const int64_t *y_sizes):
    """Results for a maximum of x. With indices, out may be a pair."""
    cdef Maxima results = Maxima.__new__(Maxima)
    results.out = out
    if with_indices and isinstance(out, tuple):
        results.out, results.indices_out = errors.pair_of_results(out)
    results.target = to_result(results.out, rank, y_sizes, result_type(x_array, x_array))
    if results.out is not None:
        refuse_overlaps(results.target, x, "x")
    results.y = walkable(results.target)
    if with_indices:
        results.indices_target = to_result(results.indices_out, rank, y_sizes, cnp.NPY_INT64, "out[1]")
        if results.indices_out is not None:
            refuse_overlaps(results.indices_target, x, "x", results.target, "out[0]")
        results.indices = walkable(results.indices_target)
        results.indices_data = <int64_t *>cnp.PyArray_DATA(results.indices)
    return results


cdef int run_max_pool(const fc_pool2d *g, const fc_array *x, Maxima results, bint channels_first) except -1:
    cdef fc_array y, indices
    view_image(results.y, channels_first, &y)
    if results.indices is not None:
        view_image(results.indices, channels_first, &indices)
    return run_max_pool_on(g, x, &y, results.indices_data, indices.stride)


cdef int run_max_pool_on(const fc_pool2d *g, const fc_array *x, const fc_array *y, int64_t *indices,
                         const int64_t *indices_stride) except -1:
    cdef fc_status status
    if is_small_pool(g):
        status = fc_max_pool2d(g, x, y, indices, indices_stride)
    else:
        with nogil:
            status = fc_max_pool2d(g, x, y, indices, indices_stride)
    return check(status)


def max_pool2d_as_float(object x, object kernel_size, object stride, object padding, object dilation, object ceil_mode,
                        object return_indices, object layout, object out):
    """The maximum of integers and float16 comes as float32, which holds it exactly. With return_indices, out may be a
    pair."""
    cdef fc_pool2d g
    cdef fc_array x_view
    cdef int64_t x_sizes[4]
    cdef int64_t y_sizes[4]
    cdef cnp.ndarray x_array = to_array(x, "x", True)
    cdef bint channels_first = to_channels_first(layout)
    cdef int rank = array_sizes(x_array, "x", 3, 4, x_sizes)
    resolve_pool(&g, x_sizes, rank, "x", kernel_size, stride, padding, dilation, ceil_mode, channels_first)
    pooled_sizes(&g, channels_first, rank, y_sizes)
    cdef Maxima results = to_maxima(x, x_array, return_indices, out, rank, y_sizes)
    view_image(x_array, channels_first, &x_view)
    run_max_pool(&g, &x_view, results, channels_first)
    return results.delivered()


cdef bint is_float_array(object x) noexcept:
    """Whether x is plainly an array whose maximum has the type that the kernel gives it."""
    return type(x) is ndarray and (cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT32 or cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64)


def max_pool2d(object x, object kernel_size, object stride=None, *, object padding=0, object dilation=1,
               object ceil_mode=False, object return_indices=False, object layout="NHWC", object out=None):
    if is_float_array(x):
        return max_pool2d_as_float(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out)
    return own_type.max_pool(max_pool2d_as_float, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices,
                             layout, out)


cdef bint too_many_elements(const int64_t *sizes, int rank) noexcept:
    """Whether 8-byte numbers of this shape cannot be addressed."""
    cdef double elements = 1
    cdef int axis
    for axis in range(rank):
        elements *= max(sizes[axis], 1)
    return elements > 2.0 ** 60


cdef cnp.ndarray to_indices(object indices, object grad_y, int rank, const int64_t *y_sizes):
    """Indices of maxima that C can read, one for each number of grad_y, whose sizes are given."""
    if not isinstance(indices, ndarray):
        raise errors.not_an_array("indices", indices)
    if cnp.PyArray_TYPE(indices) != cnp.NPY_INT64 and indices.dtype.newbyteorder("=") != np.int64:
        raise errors.wrong_indices_dtype(indices.dtype)
    if not has_sizes(indices, y_sizes, rank):
        raise errors.wrong_indices_shape(indices.shape, grad_y.shape)
    cdef cnp.ndarray array = indices if type(indices) is ndarray else np.asarray(indices)
    if not has_element_strides(array) or not cnp.PyArray_ISNOTSWAPPED(array):
        array = np.array(array, dtype=np.int64, order="C")
    return array


def max_pool2d_backward(object grad_y, object indices, object x_shape, *, object layout="NHWC", object out=None):
    cdef fc_pool2d g
    cdef fc_array grad_y_view, indices_view, grad_x_view
    cdef int64_t x_sizes[4]
    cdef int64_t y_sizes[4]
    cdef int64_t n, channels
    cdef fc_status status
    cdef cnp.ndarray grad_y_array = to_array(grad_y, "grad_y", False)
    cdef bint channels_first = to_channels_first(layout)
    cdef int rank = to_shape(x_shape, "x_shape", 3, 4, x_sizes)
    array_sizes(grad_y_array, "grad_y", rank, rank, y_sizes)
    cdef cnp.ndarray indices_array = to_indices(indices, grad_y, rank, y_sizes)
    memset(&g, 0, sizeof(g))
    image_sizes(x_sizes, channels_first, rank, &g.n, &g.h, &g.w, &g.c)
    image_sizes(y_sizes, channels_first, rank, &n, &g.p, &g.q, &channels)
    if (n != g.n or channels != g.c or g.n < 0 or g.c < 1 or g.h < 1 or g.w < 1 or g.p < 1 or g.q < 1
            or too_many_elements(x_sizes, rank)):
        raise errors.unrelated_shapes(x_shape, (<object>grad_y_array).shape, layout)
    cdef cnp.ndarray target = to_result(out, rank, x_sizes, cnp.PyArray_TYPE(grad_y_array))
    if out is not None:
        refuse_overlaps(target, grad_y, "grad_y", indices, "indices")
    cdef cnp.ndarray grad_x = walkable(target)
    view_image(grad_y_array, channels_first, &grad_y_view)
    view_image(indices_array, channels_first, &indices_view)
    view_image(grad_x, channels_first, &grad_x_view)
    cdef const int64_t *indices_data = <const int64_t *>cnp.PyArray_DATA(indices_array)
    if <double>g.n * g.p * g.q * g.c + <double>g.n * g.h * g.w * g.c < SMALL_PLANE:
        status = fc_max_pool2d_backward(&g, &grad_y_view, indices_data, indices_view.stride, &grad_x_view)
    else:
        with nogil:
            status = fc_max_pool2d_backward(&g, &grad_y_view, indices_data, indices_view.stride, &grad_x_view)
    if status == FC_BAD_INDEX:
        raise errors.bad_index(g.h, g.w)
    check(status)
    return deliver(out, target, grad_x)


cdef int run_avg_pool(const fc_pool2d *g, const fc_array *x, const fc_array *y) except -1:
    cdef fc_status status
    if is_small_pool(g):
        status = fc_avg_pool2d(g, x, y)
    else:
        with nogil:
            status = fc_avg_pool2d(g, x, y)
    return check(status)


def avg_pool2d(object x, object kernel_size, object stride=None, *, object padding=0, object ceil_mode=False,
               object count_include_pad=None, object divisor_override=None, object layout="NHWC", object out=None):
    cdef fc_pool2d g
    cdef fc_array x_view, y_view
    cdef int64_t x_sizes[4]
    cdef int64_t y_sizes[4]
    cdef cnp.ndarray x_array = to_array(x, "x", True)
    cdef bint channels_first = to_channels_first(layout)
    cdef int rank = array_sizes(x_array, "x", 3, 4, x_sizes)
    resolve_pool(&g, x_sizes, rank, "x", kernel_size, stride, padding, 1, ceil_mode, channels_first)
    set_divisor(&g, padding, count_include_pad, divisor_override)
    pooled_sizes(&g, channels_first, rank, y_sizes)
    cdef cnp.ndarray target = to_result(out, rank, y_sizes, result_type(x_array, x_array))
    if out is not None:
        refuse_overlaps(target, x, "x")
    cdef cnp.ndarray y = walkable(target)
    view_image(x_array, channels_first, &x_view)
    view_image(y, channels_first, &y_view)
    run_avg_pool(&g, &x_view, &y_view)
    return deliver(out, target, y)


def avg_pool2d_backward(object grad_y, object x_shape, object kernel_size, object stride=None, *, object padding=0,
                        object ceil_mode=False, object count_include_pad=None, object divisor_override=None,
                        object layout="NHWC", object out=None):
    cdef fc_pool2d g
    cdef fc_array grad_y_view, grad_x_view
    cdef int64_t x_sizes[4]
    cdef int64_t y_sizes[4]
    cdef fc_status status
    cdef cnp.ndarray grad_y_array = to_array(grad_y, "grad_y", False)
    cdef bint channels_first = to_channels_first(layout)
    cdef int rank = to_shape(x_shape, "x_shape", 3, 4, x_sizes)
    resolve_pool(&g, x_sizes, rank, "x_shape", kernel_size, stride, padding, 1, ceil_mode, channels_first)
    set_divisor(&g, padding, count_include_pad, divisor_override)
    pooled_sizes(&g, channels_first, rank, y_sizes)
    if not has_sizes(grad_y_array, y_sizes, rank):
        raise errors.wrong_grad_y((<object>grad_y_array).shape, sizes_tuple(y_sizes, rank))
    cdef cnp.ndarray target = to_result(out, rank, x_sizes, cnp.PyArray_TYPE(grad_y_array))
    if out is not None:
        refuse_overlaps(target, grad_y, "grad_y")
    cdef cnp.ndarray grad_x = walkable(target)
    view_image(grad_y_array, channels_first, &grad_y_view)
    view_image(grad_x, channels_first, &grad_x_view)
    if is_small_pool(&g):
        status = fc_avg_pool2d_backward(&g, &grad_y_view, &grad_x_view)
    else:
        with nogil:
            status = fc_avg_pool2d_backward(&g, &grad_y_view, &grad_x_view)
    check(status)
    return deliver(out, target, grad_x)


# ---------------------------------------------------------------- over all pixels

cdef cnp.ndarray global_image(object x, object layout, fc_pool2d *g, fc_array *view, int *rank):
    """x as the only window of its image."""
    cdef int64_t x_sizes[4]
    if not isinstance(x, ndarray):
        raise errors.not_an_array("x", x)
    rank[0] = array_sizes(x, "x", 3, 4, x_sizes)
    cdef cnp.ndarray array = to_array(x, "x", True)
    cdef bint channels_first = to_channels_first(layout)
    cdef int first = rank[0] - (2 if channels_first else 3)
    resolve_pool(g, x_sizes, rank[0], "x", (x_sizes[first], x_sizes[first + 1]), None, 0, 1, False, channels_first)
    view_image(array, channels_first, view)
    return array


cdef cnp.ndarray global_result(const fc_pool2d *g, int rank, bint keepdims, bint channels_first, int number,
                               fc_array *view):
    """An array (N, C), with the axes of pixels between or behind if they are kept, and its view as an image."""
    cdef int64_t sizes[4]
    cdef int first = rank - 3
    sizes[0] = sizes[1] = sizes[2] = sizes[3] = 1
    if first == 1:
        sizes[0] = g.n
    sizes[first + 2 if keepdims and not channels_first else first] = g.c
    cdef cnp.ndarray y = new_result(rank if keepdims else rank - 2, sizes, number)
    memset(view, 0, sizeof(fc_array))
    view.data = cnp.PyArray_DATA(y)
    view.dtype = <fc_dtype>dtype_of(y)
    view.stride[0] = g.c
    view.stride[3] = 1
    return y


def global_avg_pool2d(object x, *, object keepdims=False, object layout="NHWC"):
    cdef fc_pool2d g
    cdef fc_array x_view, y_view
    cdef int rank
    cdef cnp.ndarray array = global_image(x, layout, &g, &x_view, &rank)
    cdef cnp.ndarray y = global_result(&g, rank, keepdims, to_channels_first(layout), result_type(array, array), &y_view)
    run_avg_pool(&g, &x_view, &y_view)
    return y


def global_max_pool2d(object x, *, object keepdims=False, object layout="NHWC"):
    cdef fc_pool2d g
    cdef fc_array x_view, y_view
    cdef int rank
    if not is_float_array(x):
        return own_type.global_max_pool2d(max_pool2d, x, keepdims, layout)
    cdef cnp.ndarray array = global_image(x, layout, &g, &x_view, &rank)
    cdef cnp.ndarray y = global_result(&g, rank, keepdims, to_channels_first(layout), result_type(array, array), &y_view)
    run_max_pool_on(&g, &x_view, &y_view, NULL, y_view.stride)
    return y
