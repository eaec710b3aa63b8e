# SPDX-License-Identifier: BSD-3-Clause
# What a convolution would do: the checks of the call, then its plan. No array is read or written.

# Stands for the memory of arrays of which only the shape is known; large enough to be aligned as new arrays are.
cdef char stand_in_memory[128]


cdef cnp.ndarray stand_in(int rank, const int64_t *sizes, int number):
    """An array of this shape in C order that owns no memory: it must never be read."""
    cdef cnp.npy_intp dims[4]
    cdef int axis
    for axis in range(rank):
        dims[axis] = sizes[axis]
    return cnp.PyArray_SimpleNewFromData(rank, dims, number, <void *>((<intptr_t>stand_in_memory + 63) & ~63))


cdef int operand_sizes(object value, object name, int least, int most, int64_t *sizes) except -1:
    """Of an array or a shape."""
    if isinstance(value, ndarray):
        return array_sizes(value, name, least, most, sizes)
    return to_shape(value, name, least, most, sizes)


cdef cnp.ndarray operand(object value, object name, bint any_dtype, int rank, const int64_t *sizes, int number,
                         list copied):
    """The array that the call would read, or one like it; its name is added to `copied` if it would be copied whole."""
    cdef cnp.ndarray array
    cdef int dtype
    if not isinstance(value, ndarray):
        return stand_in(rank, sizes, number)
    if isinstance(value, np.ma.MaskedArray):
        raise errors.not_an_array(name, value)
    array = value
    dtype = dtype_of(array)
    if dtype < 0 or (not any_dtype and dtype != FC_FLOAT32 and dtype != FC_FLOAT64):
        raise errors.wrong_dtype(name, value.dtype, any_dtype)
    if cnp.PyArray_ISNOTSWAPPED(array) and has_element_strides(array):
        return array
    copied.append((name, cnp.PyArray_NBYTES(array)))
    return stand_in(rank, sizes, cnp.PyArray_TYPE(array))


cdef cnp.ndarray result_operand(object value, int rank, const int64_t *sizes, int number, list copied):
    """The array that the call would write, or one like it."""
    cdef cnp.ndarray array
    if not isinstance(value, ndarray):
        return stand_in(rank, sizes, number)
    array = to_result(value, rank, sizes, number)
    if has_element_strides(array):
        return array
    copied.append(("out", cnp.PyArray_NBYTES(array)))
    return stand_in(rank, sizes, number)


cdef int check_y_sizes(object y, const int64_t *expected, int rank, bint is_result) except -1:
    """y, or its gradient, may be left out."""
    cdef int64_t sizes[4]
    cdef int axis, given = operand_sizes(y, "y", 3, 4, sizes)
    cdef bint same = given == rank
    for axis in range(rank if same else 0):
        same = same and sizes[axis] == expected[axis]
    if not same:
        told = sizes_tuple(sizes, given), sizes_tuple(expected, rank)
        raise errors.wrong_out_shape("out", *told) if is_result else errors.wrong_grad_y(*told)
    return 0


cdef object text(const char *words):
    return None if words == NULL else words.decode()


cdef tuple copy_tuple(const fc_copy *copy):
    cdef unsigned i
    return copy.bytes, [text(fc_copy_reason(1u << i)) for i in range(16) if copy.why >> i & 1]


cdef dict explanation_dict(const fc_explanation *e):
    cdef int i
    return {
        "algorithm": text(e.algorithm), "reason": text(e.reason), "isa": text(e.isa), "kernel": text(e.kernel),
        "others": {text(e.others[i].algorithm): text(e.others[i].reason) for i in range(e.other_count)},
        "tile": (e.tile_rows, e.tile_columns), "multiplications": e.multiplications, "products": e.products,
        "copies": {"x": copy_tuple(&e.x), "weight": copy_tuple(&e.weight), "y": copy_tuple(&e.y)},
        "workspace": e.workspace, "threads": e.threads,
    }


def explain_conv2d(int operation, object x, object weight, object packed, object bias, object y, int x_number,
                   int other_number, object stride, object padding, object dilation, object groups, object layout,
                   object activation, object precision, object algorithm):
    """A dictionary. Arrays or shapes; bias and y may be None, packed is what weight was taken from. x_number and
    other_number are NumPy's of the types of an image and of other arrays of which only the shape is known."""
    cdef fc_conv2d g
    cdef fc_options options
    cdef fc_explanation e
    cdef fc_array x_view, weight_view, bias_view, y_view
    cdef int64_t x_sizes[4]
    cdef int64_t weight_sizes[4]
    cdef int64_t y_sizes[4]
    cdef cnp.ndarray x_array = None, weight_array = None, y_array = None
    cdef int number
    cdef list copied = []
    cdef bint channels_first = to_channels_first(layout)
    cdef int rank = operand_sizes(x, "x", 3, 4, x_sizes)
    operand_sizes(weight, "weight", 4, 4, weight_sizes)
    to_options(&options, activation, algorithm, precision)
    resolve(&g, x_sizes, rank, weight_sizes, "x", "weight", stride, padding, dilation, groups, channels_first)
    output_sizes(&g, channels_first, rank, y_sizes)
    if y is not None:
        check_y_sizes(y, y_sizes, rank, operation == FC_FORWARD)
    if operation != FC_BACKWARD_INPUT:
        x_array = operand(x, "x", True, rank, x_sizes, x_number, copied)
    if operation != FC_BACKWARD_WEIGHT:
        weight_array = operand(weight, "weight", False, 4, weight_sizes, other_number, copied)
    if operation != FC_FORWARD:
        y_array = operand(y, "grad_y", False, rank, y_sizes, other_number, copied)
    if operation == FC_FORWARD:
        number = result_type(x_array, weight_array)
        to_bias(bias, g.k, &bias_view, &number)
        y_array = result_operand(y, rank, y_sizes, number, copied)
    elif operation == FC_BACKWARD_INPUT:
        number = result_type(y_array, weight_array)
        x_array = result_operand(x, rank, x_sizes, number, copied)
    else:
        number = result_type(y_array, x_array)
        weight_array = result_operand(weight, 4, weight_sizes, number, copied)
    check_algorithm(&g, <fc_operation>operation, number, &options, algorithm)
    view_image(x_array, channels_first, &x_view)
    view_filters(weight_array, channels_first, &weight_view)
    if operation != FC_BACKWARD_WEIGHT:
        attach(packed, <fc_operation>operation, channels_first, &g, number, &weight_view.packed)
    view_image(y_array, channels_first, &y_view)
    check(fc_conv2d_explain(&g, <fc_operation>operation, &x_view, &weight_view, NULL if bias is None else &bias_view,
                            &y_view, &options, &e))
    return explanation_dict(&e) | {
        "copied": copied, "dtype": x_array.dtype if operation == FC_BACKWARD_INPUT else
        weight_array.dtype if operation == FC_BACKWARD_WEIGHT else y_array.dtype,
        "bytes": {"x": cnp.PyArray_NBYTES(x_array), "weight": cnp.PyArray_NBYTES(weight_array),
                  "y": cnp.PyArray_NBYTES(y_array)},
        "precision": errors.PRECISIONS[<int>(fc_get_precision() if options.precision == FC_DEFAULT
                                             else options.precision) - 1],
        "shapes": (sizes_tuple(x_sizes, rank), sizes_tuple(weight_sizes, 4), sizes_tuple(y_sizes, rank)),
    }
