# SPDX-License-Identifier: BSD-3-Clause
# What a convolution would do: the checks of the call, then its plan. No array is read or written.

# Stands for the memory of arrays of which only the shape is known; large enough to be aligned as new arrays are.
cdef char stand_in_memory[128]


cdef cnp.ndarray stand_in(int rank, const int64_t *sizes, int height, int number):
    """An array of this shape in C order, without the axis `height` unless that is -1, that owns no memory: it must never
    be read."""
    cdef cnp.npy_intp dims[4]
    cdef int axis, count = 0
    for axis in range(rank):
        if axis != height:
            dims[count] = sizes[axis]
            count += 1
    return cnp.PyArray_SimpleNewFromData(count, dims, number, <void *>((<intptr_t>stand_in_memory + 63) & ~63))


cdef int image_operand_sizes(object value, object name, bint channels_first, int axes, int64_t *sizes) except -1:
    """Of an array or a shape."""
    if isinstance(value, ndarray):
        return image_array_sizes(value, name, channels_first, axes, sizes)
    return image_shape_sizes(value, name, channels_first, axes, sizes)


cdef int filter_operand_sizes(object value, bint channels_first, int axes, int64_t *sizes) except -1:
    if isinstance(value, ndarray):
        return filter_array_sizes(value, channels_first, axes, sizes)
    return filter_shape_sizes(value, "weight", channels_first, axes, sizes)


cdef cnp.ndarray operand(object value, object name, bint any_dtype, int rank, const int64_t *sizes, int height,
                         int number, list copied):
    """The array that the call would read, or one like it; its name is added to `copied` if it would be copied whole."""
    cdef cnp.ndarray array
    cdef int dtype
    if not isinstance(value, ndarray):
        return stand_in(rank, sizes, height, number)
    if isinstance(value, np.ma.MaskedArray):
        raise errors.not_an_array(name, value)
    array = value
    dtype = dtype_of(array)
    if dtype < 0 or (not any_dtype and dtype != FC_FLOAT32 and dtype != FC_FLOAT64):
        raise errors.wrong_dtype(name, value.dtype, any_dtype)
    if cnp.PyArray_ISNOTSWAPPED(array) and has_element_strides(array):
        return array
    copied.append((name, cnp.PyArray_NBYTES(array)))
    return stand_in(rank, sizes, height, cnp.PyArray_TYPE(array))


cdef cnp.ndarray result_operand(object value, int rank, const int64_t *sizes, int height, int number, list copied):
    """The array that the call would write, or one like it."""
    cdef cnp.ndarray array
    if not isinstance(value, ndarray):
        return stand_in(rank, sizes, height, number)
    array = result_without(value, rank, sizes, number, height)
    if has_element_strides(array):
        return array
    copied.append(("out", cnp.PyArray_NBYTES(array)))
    return stand_in(rank, sizes, height, number)


cdef int check_y_sizes(object y, const int64_t *expected, int rank, bint channels_first, int axes,
                       bint is_result) except -1:
    """y, or its gradient, may be left out."""
    cdef int64_t sizes[4]
    cdef int axis, given = image_operand_sizes(y, "y", channels_first, axes, sizes)
    cdef bint same = given == rank
    for axis in range(rank if same else 0):
        same = same and sizes[axis] == expected[axis]
    if not same:
        told = (image_tuple(sizes, given, channels_first, axes), image_tuple(expected, rank, channels_first, axes))
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


def explain_convolution(int axes, int role, bint transposed, object x, object weight, object packed, object bias,
                        object y, int x_number, int other_number, object stride, object padding, object output_padding,
                        object dilation, object groups, object layout, object activation, object precision,
                        object algorithm):
    """A dictionary. `role`: forward or which gradient, of a convolution or of its transpose, which is another operation
    of C with x and y in each other's place. Arrays or shapes; bias and y may be None, packed is what weight was taken
    from. x_number and other_number are NumPy's of the types of an image and of other arrays of which only the shape is
    known."""
    cdef fc_conv2d g
    cdef fc_options options
    cdef fc_explanation e
    cdef fc_array x_view, weight_view, bias_view, y_view
    cdef int64_t x_sizes[4]
    cdef int64_t weight_sizes[4]
    cdef int64_t y_sizes[4]
    cdef cnp.ndarray x_array = None, weight_array = None, y_array = None, result
    cdef int number, height = -1, filter_height = -1
    cdef list copied = []
    cdef fc_operation operation = <fc_operation>role
    cdef bint channels_first = to_channels_first(layout, axes)
    cdef int rank = image_operand_sizes(x, "x", channels_first, axes, x_sizes)
    filter_operand_sizes(weight, channels_first, axes, weight_sizes)
    to_options(&options, activation, algorithm, precision)
    if axes == 1:
        height, filter_height = height_axis(rank, channels_first), 2 if channels_first else 0
    if transposed:
        if role != FC_BACKWARD_WEIGHT:
            operation = FC_BACKWARD_INPUT if role == FC_FORWARD else FC_FORWARD
        resolve_transposed(&g, x_sizes, rank, weight_sizes, "x", "weight", stride, padding, output_padding, dilation,
                           groups, channels_first, axes)
        put_image_sizes(y_sizes, channels_first, rank, g.n, g.h, g.w, g.c)
    else:
        resolve(&g, x_sizes, rank, weight_sizes, "x", "weight", stride, padding, dilation, groups, channels_first, axes)
        output_sizes(&g, channels_first, rank, y_sizes)
    if y is not None:
        check_y_sizes(y, y_sizes, rank, channels_first, axes, role == FC_FORWARD)
    if role != FC_BACKWARD_INPUT:
        x_array = operand(x, "x", True, rank, x_sizes, height, x_number, copied)
    if role != FC_BACKWARD_WEIGHT:
        weight_array = operand(weight, "weight", False, 4, weight_sizes, filter_height, other_number, copied)
    if role != FC_FORWARD:
        y_array = operand(y, "grad_y", False, rank, y_sizes, height, other_number, copied)
    if role == FC_FORWARD:
        number = result_type(x_array, weight_array)
        to_bias(bias, g.c if transposed else g.k, &bias_view, &number)
        result = y_array = result_operand(y, rank, y_sizes, height, number, copied)
    elif role == FC_BACKWARD_INPUT:
        number = result_type(y_array, weight_array)
        result = x_array = result_operand(x, rank, x_sizes, height, number, copied)
    else:
        number = result_type(y_array, x_array)
        result = weight_array = result_operand(weight, 4, weight_sizes, filter_height, number, copied)
    check_algorithm(&g, operation, number, &options, algorithm)
    view_image(x_array, channels_first, &x_view, axes)
    view_filters(weight_array, channels_first, &weight_view, axes)
    if role != FC_BACKWARD_WEIGHT:
        attach(packed, operation, channels_first, &g, number, &weight_view.packed)
    view_image(y_array, channels_first, &y_view, axes)
    check(fc_conv2d_explain(&g, operation, &y_view if transposed else &x_view, &weight_view,
                            NULL if bias is None else &bias_view, &x_view if transposed else &y_view, &options, &e))
    told = explanation_dict(&e)
    if transposed:
        told["copies"]["x"], told["copies"]["y"] = told["copies"]["y"], told["copies"]["x"]
    return told | {
        "copied": copied, "dtype": result.dtype,
        "bytes": {"x": cnp.PyArray_NBYTES(x_array), "weight": cnp.PyArray_NBYTES(weight_array),
                  "y": cnp.PyArray_NBYTES(y_array)},
        "precision": errors.PRECISIONS[<int>(fc_get_precision() if options.precision == FC_DEFAULT
                                             else options.precision) - 1],
        "shapes": (image_tuple(x_sizes, rank, channels_first, axes), filter_tuple(weight_sizes, channels_first, axes)),
    }
