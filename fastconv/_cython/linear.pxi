# SPDX-License-Identifier: BSD-3-Clause
# Dense layers: convolutions of images of one pixel. All axes before the last are rows, each an image.

cdef bint has_row_strides(cnp.ndarray array, int64_t *rows, int64_t *step) noexcept:
    """Whether the axes before the last can be walked as one: how many rows, and elements from row to row."""
    return has_even_strides(array, 0, cnp.PyArray_NDIM(array) - 1, rows, step)


cdef int check_rows(object value, object name) except -1:
    if type(value) is not ndarray and (not isinstance(value, ndarray) or isinstance(value, np.ma.MaskedArray)):
        raise errors.not_an_array(name, value)
    if cnp.PyArray_NDIM(value) == 0:
        raise errors.no_axes(name)
    return 0


cdef void view_rows(cnp.ndarray array, int64_t step, fc_array *view) noexcept:
    memset(view, 0, sizeof(fc_array))
    view.data = cnp.PyArray_DATA(array)
    view.dtype = <fc_dtype>dtype_of(array)
    view.stride[0] = step
    view.stride[3] = stride_of(array, cnp.PyArray_NDIM(array) - 1)


cdef cnp.ndarray to_rows(object value, object name, bint any_dtype, int64_t *sizes, fc_array *view):
    """(..., C) as images (rows, 1, 1, C): the array, or a copy whose rows can be walked; its sizes and view."""
    cdef int64_t step
    check_rows(value, name)
    cdef cnp.ndarray array = to_array(value, name, any_dtype)
    if not has_row_strides(array, &sizes[0], &step):
        array = np.array(array, order="C")
        has_row_strides(array, &sizes[0], &step)
    sizes[1] = sizes[2] = 1
    sizes[3] = cnp.PyArray_DIM(array, cnp.PyArray_NDIM(array) - 1)
    view_rows(array, step, view)
    return array


cdef void view_matrix(cnp.ndarray array, fc_array *view) noexcept:
    """(C, K) as filters (1, 1, C, K)."""
    memset(view, 0, sizeof(fc_array))
    view.data = cnp.PyArray_DATA(array)
    view.dtype = <fc_dtype>dtype_of(array)
    view.stride[2] = stride_of(array, 0)
    view.stride[3] = stride_of(array, 1)


cdef cnp.ndarray to_matrix(object value, object name, int64_t *sizes, fc_array *view):
    if isinstance(value, ndarray) and cnp.PyArray_NDIM(value) != 2:
        raise errors.not_a_matrix(name, value.shape)
    cdef cnp.ndarray array = to_array(value, name, False)
    sizes[0] = sizes[1] = 1
    sizes[2] = cnp.PyArray_DIM(array, 0)
    sizes[3] = cnp.PyArray_DIM(array, 1)
    view_matrix(array, view)
    return array


cdef cnp.ndarray to_result_rows(object out, cnp.ndarray like, int64_t channels, int number):
    """The array to write, of the shape of `like` but for its last axis."""
    cdef int64_t sizes[MOST_AXES]
    cdef int axis, rank = cnp.PyArray_NDIM(like)
    for axis in range(rank - 1):
        sizes[axis] = cnp.PyArray_DIM(like, axis)
    sizes[rank - 1] = channels
    return to_result(out, rank, sizes, number)


cdef cnp.ndarray walkable_rows(cnp.ndarray target, fc_array *view):
    """`target`, or a temporary for one that C cannot walk."""
    cdef int64_t rows, step
    cdef cnp.ndarray y = walkable(target)
    if not has_row_strides(y, &rows, &step):
        y = np.empty_like(y, order="C")
        has_row_strides(y, &rows, &step)
    view_rows(y, step, view)
    return y


def linear(object x, object weight, object bias=None, *, object activation=None, object precision=None,
           object out=None):
    cdef fc_conv2d g
    cdef fc_options options
    cdef fc_array x_view, weight_view, bias_view, y_view
    cdef int64_t x_sizes[4]
    cdef int64_t weight_sizes[4]
    cdef cnp.ndarray x_array = to_rows(x, "x", True, x_sizes, &x_view)
    cdef cnp.ndarray weight_array = to_matrix(plain(weight), "weight", weight_sizes, &weight_view)
    cdef int number = result_type(x_array, weight_array)
    if x_sizes[3] != weight_sizes[2]:
        raise errors.unrelated_rows("x", x.shape, weight.shape)
    to_options(&options, activation, "auto", precision)
    resolve(&g, x_sizes, 4, weight_sizes, "x", "weight", 1, 0, 1, 1, False)
    cdef cnp.ndarray bias_array = to_bias(bias, g.k, &bias_view, &number)
    attach(weight, FC_FORWARD, False, &g, number, &weight_view.packed)
    cdef cnp.ndarray target = to_result_rows(out, x_array, g.k, number)
    if out is not None:
        refuse_overlaps(target, x, "x", plain(weight), "weight", bias, "bias")
    cdef cnp.ndarray y = walkable_rows(target, &y_view)
    run_forward(&g, &x_view, &weight_view, NULL if bias_array is None else &bias_view, &y_view, &options)
    return deliver(out, target, y)


def linear_backward_input(object grad_y, object weight, *, object precision=None, object out=None):
    cdef fc_conv2d g
    cdef fc_options options
    cdef fc_array grad_y_view, weight_view, grad_x_view
    cdef int64_t y_sizes[4]
    cdef int64_t weight_sizes[4]
    cdef cnp.ndarray grad_y_array = to_rows(grad_y, "grad_y", False, y_sizes, &grad_y_view)
    cdef cnp.ndarray weight_array = to_matrix(plain(weight), "weight", weight_sizes, &weight_view)
    cdef int number = result_type(grad_y_array, weight_array)
    cdef int64_t x_sizes[4]
    x_sizes[0], x_sizes[1], x_sizes[2], x_sizes[3] = y_sizes[0], 1, 1, weight_sizes[2]
    if y_sizes[3] != weight_sizes[3]:
        raise errors.unrelated_columns(grad_y.shape, weight.shape)
    to_options(&options, None, "auto", precision)
    resolve(&g, x_sizes, 4, weight_sizes, "x_shape", "weight", 1, 0, 1, 1, False)
    attach(weight, FC_BACKWARD_INPUT, False, &g, number, &weight_view.packed)
    cdef cnp.ndarray target = to_result_rows(out, grad_y_array, g.c, number)
    if out is not None:
        refuse_overlaps(target, grad_y, "grad_y", plain(weight), "weight")
    cdef cnp.ndarray grad_x = walkable_rows(target, &grad_x_view)
    run_backward_input(&g, &grad_y_view, &weight_view, &grad_x_view, &options)
    return deliver(out, target, grad_x)


def linear_backward_weight(object grad_y, object x, *, object precision=None, object out=None):
    cdef fc_conv2d g
    cdef fc_options options
    cdef fc_array grad_y_view, x_view, grad_weight_view
    cdef int64_t y_sizes[4]
    cdef int64_t x_sizes[4]
    cdef int64_t weight_sizes[4]
    cdef cnp.ndarray grad_y_array = to_rows(grad_y, "grad_y", False, y_sizes, &grad_y_view)
    cdef cnp.ndarray x_array = to_rows(x, "x", True, x_sizes, &x_view)
    cdef int number = result_type(grad_y_array, x_array)
    if x_sizes[0] != y_sizes[0]:
        raise errors.unequal_rows(grad_y.shape, x.shape)
    weight_sizes[0], weight_sizes[1], weight_sizes[2], weight_sizes[3] = 1, 1, x_sizes[3], y_sizes[3]
    to_options(&options, None, "auto", precision)
    resolve(&g, x_sizes, 4, weight_sizes, "x", "weight_shape", 1, 0, 1, 1, False)
    cdef cnp.ndarray target = to_result(out, 2, &weight_sizes[2], number)
    if out is not None:
        refuse_overlaps(target, grad_y, "grad_y", x, "x")
    cdef cnp.ndarray grad_weight = walkable(target)
    view_matrix(grad_weight, &grad_weight_view)
    run_backward_weight(&g, &grad_y_view, &x_view, &grad_weight_view, &options)
    return deliver(out, target, grad_weight)


def linear_backward_bias(object grad_y, *, object out=None):
    cdef int64_t sizes[4]
    cdef fc_array view
    cdef cnp.ndarray rows = to_rows(grad_y, "grad_y", False, sizes, &view)
    return backward_bias(grad_y, sizes, &view, cnp.PyArray_TYPE(rows), out)
