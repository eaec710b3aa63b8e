# SPDX-License-Identifier: BSD-3-Clause
# Arguments as C sees them: integers, pairs, paddings, arrays.

cdef object ndarray = np.ndarray

cdef enum:
    MOST_AXES = 64  # that an array can have


cdef int64_t to_int(object value, object name) except? -1:
    """A Python or NumPy integer; TypeError for anything else, ValueError beyond 64 bits."""
    cdef int overflow = 0
    cdef int64_t result
    if type(value) is not int:
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
            raise errors.not_an_integer(name, value)
        value = int(value)
    result = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow:
        raise errors.too_large(name, value)
    return result


cdef int to_pair(object value, object name, int64_t *first, int64_t *second) except -1:
    """One integer for both axes, or a sequence of two."""
    if type(value) is int:
        first[0] = second[0] = to_int(value, name)
    elif isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise errors.wrong_count(name, value, 2)
        first[0] = to_int(value[0], name)
        second[0] = to_int(value[1], name)
    else:
        first[0] = second[0] = to_int(value, name)
    return 0


cdef int to_shape(object value, object name, Py_ssize_t least, Py_ssize_t most, int64_t *sizes) except -1:
    """A shape given as a sequence of integers; returns how many."""
    cdef Py_ssize_t i
    if not isinstance(value, (tuple, list)):
        raise errors.not_a_shape(name, value)
    if not least <= len(value) <= most:
        raise errors.wrong_rank_of_shape(name, value, least, most)
    for i in range(len(value)):
        sizes[i] = to_int(value[i], name)
    return len(value)


cdef int to_padding(object value, int64_t *top, int64_t *bottom, int64_t *left, int64_t *right) except -1:
    cdef int64_t before, after
    if isinstance(value, str):
        if value == "same":
            return FC_PAD_SAME
        if value == "valid":
            return FC_PAD_VALID
        if value == "same_lower":
            return FC_PAD_SAME_LOWER
        raise errors.unknown_name("padding", value, ("valid", "same", "same_lower"))
    if isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[0], (tuple, list)):
        to_pair(value[0], "padding", top, bottom)
        if not isinstance(value[1], (tuple, list)):
            raise errors.wrong_count("padding", value, 2)
        to_pair(value[1], "padding", left, right)
    else:
        to_pair(value, "padding", &before, &after)
        top[0] = bottom[0] = before
        left[0] = right[0] = after
    return FC_PAD_EXPLICIT


cdef int to_bool(object value, object name) except -1:
    if value is True:
        return 1
    if value is False:
        return 0
    if not isinstance(value, np.bool_):
        raise errors.not_a_bool(name, value)
    return 1 if value else 0


cdef bint to_channels_first(object layout, int axes=2) except -1:
    """Whether channels stand before the pixels, of images with so many axes of pixels."""
    if isinstance(layout, str):
        if layout == "NHWC":
            return False
        if layout == "NCHW":
            return True
        if axes == 1 and layout == "NWC":
            return False
        if axes == 1 and layout == "NCW":
            return True
        if axes == 3 and layout == "NDHWC":
            return False
        if axes == 3 and layout == "NCDHW":
            return True
        raise errors.unknown_name("layout", layout, errors.LAYOUTS[axes])
    raise errors.not_a_string("layout", layout)


cdef int to_activation(object value) except -1:
    if value is None:
        return FC_NONE
    if not isinstance(value, str):
        raise errors.not_a_string("activation", value)
    if value == "relu":
        return FC_RELU
    if value == "leaky_relu":
        return FC_LEAKY_RELU
    if value == "tanh":
        return FC_TANH
    if value == "sigmoid":
        return FC_SIGMOID
    raise errors.unknown_name("activation", value, ("relu", "leaky_relu", "tanh", "sigmoid"))


cdef int to_algorithm(object value) except -1:
    if not isinstance(value, str):
        raise errors.not_a_string("algorithm", value)
    if value == "auto":
        return FC_AUTO
    if value == "direct":
        return FC_DIRECT
    if value == "winograd":
        return FC_WINOGRAD
    if value == "reference":
        return FC_REFERENCE
    raise errors.unknown_name("algorithm", value, errors.ALGORITHMS)


cdef int to_precision(object value) except -1:
    if value is None:
        return FC_DEFAULT
    if not isinstance(value, str):
        raise errors.not_a_string("precision", value)
    if value not in errors.PRECISIONS:
        raise errors.unknown_name("precision", value, errors.PRECISIONS)
    return 1 + <int>errors.PRECISIONS.index(value)


cdef int to_options(fc_options *options, object activation, object algorithm, object precision) except -1:
    options.activation = <fc_activation>to_activation(activation)
    options.algorithm = <fc_algorithm>to_algorithm(algorithm)
    options.precision = <fc_precision>to_precision(precision)
    return 0


cdef int dtype_of(cnp.ndarray array) noexcept:
    """The fc_dtype of an array, -1 if it has none."""
    cdef int number = cnp.PyArray_TYPE(array)
    if number == cnp.NPY_FLOAT32:
        return FC_FLOAT32
    if number == cnp.NPY_FLOAT64:
        return FC_FLOAT64
    if number == cnp.NPY_FLOAT16:
        return FC_FLOAT16
    if number == cnp.NPY_UINT8:
        return FC_UINT8
    if number == cnp.NPY_INT8:
        return FC_INT8
    if number == cnp.NPY_INT16:
        return FC_INT16
    return -1


cdef bint has_element_strides(cnp.ndarray array) noexcept:
    """Whether C can walk the array: aligned, and every stride a whole number of elements."""
    cdef Py_ssize_t rest = cnp.PyArray_ITEMSIZE(array) - 1  # sizes are powers of two; a division would cost more
    cdef int axis
    if not cnp.PyArray_ISALIGNED(array):
        return False
    for axis in range(cnp.PyArray_NDIM(array)):
        if cnp.PyArray_STRIDE(array, axis) & rest != 0:
            return False
    return True


cdef cnp.ndarray to_array(object value, object name, bint any_dtype):
    """An array that C can read: float32 or float64, or with any_dtype also what is converted while it is packed."""
    cdef cnp.ndarray array
    cdef int dtype
    if type(value) is not ndarray:
        if not isinstance(value, ndarray) or isinstance(value, np.ma.MaskedArray):
            raise errors.not_an_array(name, value)
        value = value.view(ndarray)
    array = value
    dtype = dtype_of(array)
    if dtype < 0 or (not any_dtype and dtype != FC_FLOAT32 and dtype != FC_FLOAT64):
        raise errors.wrong_dtype(name, array.dtype, any_dtype)
    if not cnp.PyArray_ISNOTSWAPPED(array) or not has_element_strides(array):
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    return array


cdef inline int64_t stride_of(cnp.ndarray array, int axis) noexcept:
    """In elements, of 1, 2, 4 or 8 bytes: four shifts cost nothing where one division costs 5 ns."""
    cdef int64_t stride = cnp.PyArray_STRIDE(array, axis)
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(array)
    return stride >> 3 if size == 8 else stride >> 2 if size == 4 else stride >> 1 if size == 2 else stride


cdef bint has_even_strides(cnp.ndarray array, int begin, int end, int64_t *count, int64_t *step) noexcept:
    """Whether the axes from `begin` up to `end` can be walked as one: its length, and elements from step to step."""
    cdef int axis
    cdef int64_t next_stride = 0
    count[0] = 1
    step[0] = 0
    for axis in range(end - 1, begin - 1, -1):
        if cnp.PyArray_DIM(array, axis) == 1:
            continue
        if count[0] == 1:
            step[0] = stride_of(array, axis)
        elif count[0] > 0 and stride_of(array, axis) != next_stride:
            return False
        count[0] *= cnp.PyArray_DIM(array, axis)
        next_stride = stride_of(array, axis) * cnp.PyArray_DIM(array, axis)
    return True


cdef void view_vector(cnp.ndarray array, fc_array *view) noexcept:
    memset(view, 0, sizeof(fc_array))
    view.data = cnp.PyArray_DATA(array)
    view.dtype = <fc_dtype>dtype_of(array)
    view.stride[3] = stride_of(array, 0)


cdef int result_type(cnp.ndarray a, cnp.ndarray b) noexcept:
    """float64 if either is, else float32."""
    if cnp.PyArray_TYPE(a) == cnp.NPY_FLOAT64 or cnp.PyArray_TYPE(b) == cnp.NPY_FLOAT64:
        return cnp.NPY_FLOAT64
    return cnp.NPY_FLOAT32


# ---------------------------------------------------------------- results

cdef void byte_range(cnp.ndarray array, intptr_t *low, intptr_t *high) noexcept:
    """The first byte of an array and the one behind its last; equal when it is empty."""
    cdef int axis
    cdef Py_ssize_t reach
    low[0] = high[0] = <intptr_t>cnp.PyArray_DATA(array)
    for axis in range(cnp.PyArray_NDIM(array)):
        if cnp.PyArray_DIM(array, axis) == 0:
            high[0] = low[0]
            return
        reach = (cnp.PyArray_DIM(array, axis) - 1) * cnp.PyArray_STRIDE(array, axis)
        if reach > 0:
            high[0] += reach
        else:
            low[0] += reach
    high[0] += cnp.PyArray_ITEMSIZE(array)


cdef int refuse_overlap(cnp.ndarray out, cnp.ndarray other, object name) except -1:
    """ValueError if the two share a byte; interleaved arrays that share none pass."""
    cdef intptr_t out_low, out_high, low, high
    byte_range(out, &out_low, &out_high)
    byte_range(other, &low, &high)
    if out_low < high and low < out_high and errors.share_memory(out, other):
        raise errors.overlap(name)
    return 0


cdef int refuse_overlaps(cnp.ndarray out, object a, object a_name, object b=None, object b_name=None, object c=None,
                         object c_name=None) except -1:
    """The same for the arrays that a call was given, as its caller sees them: not for copies of them."""
    refuse_overlap(out, a, a_name)
    if b is not None:
        refuse_overlap(out, b, b_name)
    if c is not None:
        refuse_overlap(out, c, c_name)
    return 0


cdef bint has_sizes(cnp.ndarray array, const int64_t *sizes, int rank) noexcept:
    cdef int axis
    if cnp.PyArray_NDIM(array) != rank:
        return False
    for axis in range(rank):
        if cnp.PyArray_DIM(array, axis) != sizes[axis]:
            return False
    return True


cdef enum:
    LINE = 64  # bytes of a cache line
    LEAST_ALIGNED = 1 << 16  # bytes; the arrays that NumPy allocates begin 16 bytes behind a cache line


cdef cnp.ndarray new_result(int rank, const int64_t *sizes, int number):
    """An array to be filled. A large one begins at a cache line: fewer loads and stores cross two, and what is larger
    than the caches can be written past them."""
    cdef cnp.npy_intp dims[MOST_AXES]
    cdef cnp.npy_intp bytes
    cdef cnp.dtype dtype = cnp.PyArray_DescrFromType(number)
    cdef double product = dtype.itemsize
    cdef int axis
    for axis in range(rank):
        dims[axis] = sizes[axis]
        product *= sizes[axis]
    if product < LEAST_ALIGNED or product > 1e15:  # of that size NumPy has the error
        return cnp.PyArray_SimpleNew(rank, dims, number)
    bytes = <cnp.npy_intp>product + LINE - 1
    cdef cnp.ndarray memory = cnp.PyArray_SimpleNew(1, &bytes, cnp.NPY_UINT8)
    cdef intptr_t begin = <intptr_t>cnp.PyArray_DATA(memory)
    cdef cnp.ndarray array = cnp.PyArray_SimpleNewFromData(rank, dims, number, <void *>((begin + LINE - 1) & -LINE))
    cnp.set_array_base(array, memory)
    return array


def empty(shape, dtype):
    """As numpy.empty, but a large array begins at a cache line, as the results of this package do."""
    cdef int64_t sizes[MOST_AXES]
    cdef Py_ssize_t axis
    if len(shape) > MOST_AXES:
        raise ValueError(f"an array has at most {MOST_AXES} axes, not {len(shape)}")
    for axis in range(len(shape)):
        sizes[axis] = shape[axis]
    return new_result(len(shape), sizes, np.dtype(dtype).num)


cdef cnp.ndarray to_result(object out, int rank, const int64_t *sizes, int number, object name="out"):
    """The array to write: a new one, or the caller's after checks. Its elements must be C-walkable."""
    cdef cnp.ndarray array
    cdef int axis
    if out is None:
        return new_result(rank, sizes, number)
    if type(out) is not ndarray:
        if not isinstance(out, ndarray) or isinstance(out, np.ma.MaskedArray):
            raise errors.not_an_array(name, out)
        out = out.view(ndarray)
    array = out
    if cnp.PyArray_TYPE(array) != number or not cnp.PyArray_ISNOTSWAPPED(array):
        raise errors.wrong_out_dtype(name, array.dtype, number)
    if not has_sizes(array, sizes, rank):
        raise errors.wrong_out_shape(name, out.shape, tuple([sizes[axis] for axis in range(rank)]))
    if not cnp.PyArray_ISWRITEABLE(array):
        raise errors.read_only(name)
    if not cnp.PyArray_IS_C_CONTIGUOUS(array) and errors.overlaps_itself(array):
        raise errors.self_overlap(name)
    return array


cdef cnp.ndarray walkable(cnp.ndarray out):
    """`out` itself, or a temporary for one that C cannot walk (unaligned, odd strides)."""
    return out if has_element_strides(out) else np.empty_like(out, order="C", subok=False)


cdef object deliver(object out, cnp.ndarray target, cnp.ndarray written):
    """Copy a temporary into place; return what the caller is to get."""
    if written is not target:
        target[...] = written
    return target if out is None else out
