# SPDX-License-Identifier: BSD-3-Clause
# Activations over whole arrays. Arrays of any number of axes become rows of adjacent numbers, or (outer, classes,
# inner).

cdef enum:
    SHORT_ROW = 16  # numbers: below it a copy costs less than a call for each row


cdef bint is_same_array(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether both have the same numbers in the same places."""
    cdef int axis
    if cnp.PyArray_DATA(a) != cnp.PyArray_DATA(b) or cnp.PyArray_TYPE(a) != cnp.PyArray_TYPE(b):
        return False
    for axis in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_STRIDE(a, axis) != cnp.PyArray_STRIDE(b, axis):
            return False
    return True


cdef int refuse_other_overlap(cnp.ndarray out, cnp.ndarray other, object name) except -1:
    """ValueError if the two share a byte and are not the same array; their shapes are equal."""
    return 0 if is_same_array(out, other) else refuse_overlap(out, other, name)


cdef bint has_same_order(cnp.ndarray array, cnp.ndarray dense) noexcept:
    """Whether the numbers of both follow each other alike and without gaps; `dense` does not overlap itself."""
    cdef intptr_t low, high
    cdef int axis
    for axis in range(cnp.PyArray_NDIM(array)):
        if cnp.PyArray_STRIDE(array, axis) != cnp.PyArray_STRIDE(dense, axis):
            return False
    byte_range(dense, &low, &high)
    return high - low == cnp.PyArray_NBYTES(dense)


cdef bint are_adjacent(cnp.ndarray a, cnp.ndarray b, cnp.ndarray y) noexcept:
    """Whether all can be walked as one row; b may be None."""
    if cnp.PyArray_IS_C_CONTIGUOUS(a) and cnp.PyArray_IS_C_CONTIGUOUS(y):
        if b is None or cnp.PyArray_IS_C_CONTIGUOUS(b):
            return True
    return has_same_order(a, y) and (b is None or has_same_order(b, y))


cdef bint has_row(cnp.ndarray array, int split, int64_t *columns) noexcept:
    """Whether the numbers of the axes from `split` on are adjacent."""
    cdef int64_t step
    return has_even_strides(array, split, cnp.PyArray_NDIM(array), columns, &step) and (step == 1 or columns[0] == 1)


cdef bint has_rows(cnp.ndarray a, cnp.ndarray b, cnp.ndarray y, fc_rows *g) noexcept:
    """Whether all can be walked as rows of adjacent numbers that are worth a call each."""
    cdef int split, rank = cnp.PyArray_NDIM(y)
    for split in range(rank):
        if has_row(a, split, &g.columns) and has_row(y, split, &g.columns):
            if b is None or has_row(b, split, &g.columns):
                break
    else:
        return False
    if g.columns < SHORT_ROW or not has_even_strides(a, 0, split, &g.rows, &g.x_row):
        return False
    if b is not None and not has_even_strides(b, 0, split, &g.rows, &g.grad_row):
        return False
    return has_even_strides(y, 0, split, &g.rows, &g.y_row)


cdef void *first_byte(cnp.ndarray array, bint lowest) noexcept:
    cdef intptr_t low, high
    if not lowest:
        return cnp.PyArray_DATA(array)
    byte_range(array, &low, &high)
    return <void *>low


cdef cnp.ndarray compact(cnp.ndarray array):
    """The array, or a copy whose numbers are adjacent in the order of the axes."""
    return array if array is None or cnp.PyArray_IS_C_CONTIGUOUS(array) else np.array(array, order="C")


cdef object run_activation(fc_activation kind, double slope, cnp.ndarray x, cnp.ndarray grad_y, object out,
                           cnp.ndarray target):
    """Forward, or with grad_y the gradient. Arrays of one shape and type; `target` is what is written."""
    cdef fc_rows g
    cdef fc_status status
    cdef cnp.ndarray y = walkable(target)
    cdef bint adjacent = are_adjacent(x, grad_y, y)
    memset(&g, 0, sizeof(g))
    if not adjacent and not has_rows(x, grad_y, y, &g):
        x, grad_y = compact(x), compact(grad_y)
        if not cnp.PyArray_IS_C_CONTIGUOUS(y):
            y = np.empty_like(y, order="C", subok=False)
        adjacent = True
    if adjacent:
        g.rows, g.columns = 1, cnp.PyArray_SIZE(y)
    cdef fc_dtype dtype = dtype_number(cnp.PyArray_TYPE(y))
    cdef const void *x_data = first_byte(x, adjacent)
    cdef const void *grad_data = NULL if grad_y is None else first_byte(grad_y, adjacent)
    cdef void *y_data = first_byte(y, adjacent)
    with nogil:
        if grad_data == NULL:
            status = fc_activate(kind, slope, dtype, &g, x_data, y_data)
        else:
            status = fc_activation_backward(kind, slope, dtype, &g, grad_data, x_data, y_data)
    check(status)
    return deliver(out, target, y)


cdef object activate(fc_activation kind, double slope, object x, object out):
    cdef cnp.ndarray array = to_array(x, "x", False)
    cdef cnp.ndarray target = result_like(out, array, cnp.PyArray_TYPE(array))
    if out is not None:
        refuse_other_overlap(target, x, "x")
    return run_activation(kind, slope, array, None, out, target)


cdef tuple gradient_pair(object grad_y, object x, object name):
    """A gradient and the array that it belongs to, of one shape, both of the wider of their types."""
    cdef cnp.ndarray gradient = to_array(grad_y, "grad_y", False), array = to_array(x, name, False)
    cdef int number = result_type(gradient, array)
    if (<object>gradient).shape != (<object>array).shape:
        raise errors.unequal_gradient((<object>gradient).shape, name, (<object>array).shape)
    if cnp.PyArray_TYPE(gradient) != number:
        gradient = gradient.astype(cnp.PyArray_DescrFromType(number))
    if cnp.PyArray_TYPE(array) != number:
        array = array.astype(cnp.PyArray_DescrFromType(number))
    return gradient, array


cdef cnp.ndarray gradient_target(object out, cnp.ndarray gradient, object grad_y, object x, object name):
    """The array to write, which may be one of the two that are given."""
    cdef cnp.ndarray target = result_like(out, gradient, cnp.PyArray_TYPE(gradient))
    if out is not None:
        refuse_other_overlap(target, grad_y, "grad_y")
        refuse_other_overlap(target, x, name)
    return target


cdef object activate_backward(fc_activation kind, double slope, object grad_y, object x, object name, object out):
    cdef cnp.ndarray gradient, array
    gradient, array = gradient_pair(grad_y, x, name)
    return run_activation(kind, slope, array, gradient, out, gradient_target(out, gradient, grad_y, x, name))


cdef double to_slope(object value) except? -1:
    return to_number(value, "slope", -1.7e308)


cdef int to_gelu(object approximate) except -1:
    if not isinstance(approximate, str):
        raise errors.not_a_string("approximate", approximate)
    if approximate == "none":
        return FC_GELU
    if approximate == "tanh":
        return FC_GELU_TANH
    raise errors.unknown_name("approximate", approximate, ("none", "tanh"))


def relu(object x, *, object out=None):
    return activate(FC_RELU, 0, x, out)


def relu_backward(object grad_y, object y, *, object out=None):
    return activate_backward(FC_RELU, 0, grad_y, y, "y", out)


def leaky_relu(object x, object slope=0.01, *, object out=None):
    return activate(FC_LEAKY_RELU, to_slope(slope), x, out)


def leaky_relu_backward(object grad_y, object y, object slope=0.01, *, object out=None):
    return activate_backward(FC_LEAKY_RELU, to_slope(slope), grad_y, y, "y", out)


def sigmoid(object x, *, object out=None):
    return activate(FC_SIGMOID, 0, x, out)


def sigmoid_backward(object grad_y, object y, *, object out=None):
    return activate_backward(FC_SIGMOID, 0, grad_y, y, "y", out)


def tanh(object x, *, object out=None):
    return activate(FC_TANH, 0, x, out)


def tanh_backward(object grad_y, object y, *, object out=None):
    return activate_backward(FC_TANH, 0, grad_y, y, "y", out)


def silu(object x, *, object out=None):
    return activate(FC_SILU, 0, x, out)


def silu_backward(object grad_y, object x, *, object out=None):
    return activate_backward(FC_SILU, 0, grad_y, x, "x", out)


def gelu(object x, *, object approximate="none", object out=None):
    return activate(<fc_activation>to_gelu(approximate), 0, x, out)


def gelu_backward(object grad_y, object x, *, object approximate="none", object out=None):
    return activate_backward(<fc_activation>to_gelu(approximate), 0, grad_y, x, "x", out)


# ---------------------------------------------------------------- softmax

cdef struct softmax_strides:
    int64_t of[3]


cdef bint view_classes(cnp.ndarray array, int axis, fc_softmax *g, int64_t *stride) noexcept:
    """Strides of the array as (outer, classes, inner); False where the axes on one side do not lie evenly."""
    g.classes = cnp.PyArray_DIM(array, axis)
    stride[1] = stride_of(array, axis)
    return (has_even_strides(array, 0, axis, &g.outer, &stride[0])
            and has_even_strides(array, axis + 1, cnp.PyArray_NDIM(array), &g.inner, &stride[2]))


cdef int to_axis(object value, cnp.ndarray array) except -1:
    cdef int rank = cnp.PyArray_NDIM(array)
    cdef int64_t axis = to_int(value, "axis")
    if not -rank <= axis < rank:
        raise errors.no_such_axis(value, (<object>array).shape)
    return <int>(axis + rank if axis < 0 else axis)


cdef cnp.ndarray with_classes(cnp.ndarray array, int axis, fc_softmax *g, softmax_strides *strides):
    if not view_classes(array, axis, g, strides.of):
        array = np.array(array, order="C")
        view_classes(array, axis, g, strides.of)
    return array


cdef object run_softmax(bint logarithm, cnp.ndarray x, cnp.ndarray grad_y, object axis, object out,
                        cnp.ndarray target):
    cdef fc_softmax g
    cdef fc_status status
    cdef softmax_strides x_strides, grad_strides, y_strides
    cdef int at = to_axis(axis, x)
    cdef cnp.ndarray y = walkable(target)
    g.logarithm = logarithm
    if not view_classes(y, at, &g, y_strides.of):
        y = np.empty_like(y, order="C", subok=False)
        view_classes(y, at, &g, y_strides.of)
    x = with_classes(x, at, &g, &x_strides)
    if grad_y is not None:
        grad_y = with_classes(grad_y, at, &g, &grad_strides)
    cdef fc_dtype dtype = dtype_number(cnp.PyArray_TYPE(y))
    cdef const void *x_data = cnp.PyArray_DATA(x)
    cdef const void *grad_data = NULL if grad_y is None else cnp.PyArray_DATA(grad_y)
    cdef void *y_data = cnp.PyArray_DATA(y)
    with nogil:
        if grad_data == NULL:
            status = fc_softmax_forward(&g, dtype, x_data, x_strides.of, y_data, y_strides.of)
        else:
            status = fc_softmax_backward(&g, dtype, grad_data, grad_strides.of, x_data, x_strides.of, y_data,
                                         y_strides.of)
    check(status)
    return deliver(out, target, y)


cdef object softmax_of(bint logarithm, object x, object axis, object out):
    cdef cnp.ndarray array = to_array(x, "x", False)
    to_axis(axis, array)
    cdef cnp.ndarray target = result_like(out, array, cnp.PyArray_TYPE(array))
    if out is not None:
        refuse_other_overlap(target, x, "x")
    return run_softmax(logarithm, array, None, axis, out, target)


cdef object softmax_gradient(bint logarithm, object grad_y, object y, object axis, object out):
    cdef cnp.ndarray gradient, array
    gradient, array = gradient_pair(grad_y, y, "y")
    to_axis(axis, array)
    return run_softmax(logarithm, array, gradient, axis, out, gradient_target(out, gradient, grad_y, y, "y"))


def softmax(object x, object axis=-1, *, object out=None):
    return softmax_of(False, x, axis, out)


def softmax_backward(object grad_y, object y, object axis=-1, *, object out=None):
    return softmax_gradient(False, grad_y, y, axis, out)


def log_softmax(object x, object axis=-1, *, object out=None):
    return softmax_of(True, x, axis, out)


def log_softmax_backward(object grad_y, object y, object axis=-1, *, object out=None):
    return softmax_gradient(True, grad_y, y, axis, out)
