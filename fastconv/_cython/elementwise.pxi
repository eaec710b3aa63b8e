# SPDX-License-Identifier: BSD-3-Clause
# The elementwise part of a training step. None of these takes arrays that are not adjacent numbers of one type in this
# machine's byte order: they return False (or None), and the caller has a NumPy formula for such arrays.

cdef bint is_plain(object value, int number) noexcept:
    """Whether a value is an array of that type whose numbers lie side by side."""
    return (type(value) is ndarray and cnp.PyArray_TYPE(value) == number and cnp.PyArray_ISCARRAY_RO(value))


cdef int compute_type(object value) noexcept:
    """The type number of a float32 or float64 array, -1 of anything else."""
    cdef int number = cnp.PyArray_TYPE(value) if type(value) is ndarray else -1
    return number if number == cnp.NPY_FLOAT32 or number == cnp.NPY_FLOAT64 else -1


cdef inline fc_dtype dtype_number(int number) noexcept nogil:
    return FC_FLOAT64 if number == cnp.NPY_FLOAT64 else FC_FLOAT32


def add(object a, object b, object activation, object out):
    """out = activation(a + b), for None, "relu" and "leaky_relu". False where the arrays do not suit; nothing is
    written then."""
    cdef fc_activation kind = <fc_activation>to_activation(activation)
    cdef int number = compute_type(a)
    cdef fc_status status
    if number < 0 or not (is_plain(a, number) and is_plain(b, number) and is_plain(out, number)):
        return False
    if kind == FC_TANH or kind == FC_SIGMOID:
        return False
    if a.shape != b.shape or out.shape != a.shape or not cnp.PyArray_ISWRITEABLE(out):
        return False
    cdef int64_t count = cnp.PyArray_SIZE(a)
    cdef const void *a_data = cnp.PyArray_DATA(a)
    cdef const void *b_data = cnp.PyArray_DATA(b)
    cdef void *out_data = cnp.PyArray_DATA(out)
    with nogil:
        status = fc_add(kind, dtype_number(number), count, a_data, b_data, out_data)
    check(status)
    return True


def cross_entropy(object logits, object labels, object out):
    """The loss, its gradient in out. None where the arrays do not suit or a label is no class; nothing is written."""
    cdef int number = compute_type(logits)
    cdef double loss = 0
    cdef fc_status status
    if number < 0 or not (is_plain(logits, number) and is_plain(out, number) and is_plain(labels, cnp.NPY_INT64)):
        return None
    if cnp.PyArray_NDIM(logits) != 2 or cnp.PyArray_NDIM(labels) != 1 or not cnp.PyArray_ISWRITEABLE(out):
        return None
    cdef int64_t rows = cnp.PyArray_DIM(logits, 0), classes = cnp.PyArray_DIM(logits, 1)
    if cnp.PyArray_DIM(labels, 0) != rows or out.shape != logits.shape or rows < 1 or classes < 1:
        return None
    if cnp.PyArray_DATA(out) == cnp.PyArray_DATA(logits):
        return None
    cdef const void *logits_data = cnp.PyArray_DATA(logits)
    cdef const int64_t *labels_data = <const int64_t *>cnp.PyArray_DATA(labels)
    cdef void *out_data = cnp.PyArray_DATA(out)
    with nogil:
        status = fc_cross_entropy(dtype_number(number), rows, classes, logits_data, labels_data, out_data, &loss)
    if status == FC_BAD_INDEX:
        return None
    check(status)
    return loss


cdef bint are_vectors(int number, object parameters, object gradients) noexcept:
    """Whether an update can go over the two: plain numbers of that type, as many in both, the first writable."""
    if number < 0 or not (is_plain(parameters, number) and is_plain(gradients, number)):
        return False
    return cnp.PyArray_SIZE(gradients) == cnp.PyArray_SIZE(parameters) and cnp.PyArray_ISWRITEABLE(parameters)


cdef bint is_state(int number, object parameters, object state) noexcept:
    return is_plain(state, number) and cnp.PyArray_SIZE(state) == cnp.PyArray_SIZE(parameters)


# Updates of vectors of one type, each with the factor and limit of gradients; velocities may be None.

def sgd_step(object parameters, object gradients, object velocity, double rate, double momentum, double decay,
             bint nesterov, double least, double factor=1, double limit=0):
    cdef int number = compute_type(parameters)
    cdef void *velocity_data = NULL
    cdef fc_clip clip = fc_clip(factor, limit)
    cdef fc_status status
    if not are_vectors(number, parameters, gradients):
        return False
    if velocity is not None:
        if not is_state(number, parameters, velocity):
            return False
        velocity_data = cnp.PyArray_DATA(velocity)
    cdef int64_t count = cnp.PyArray_SIZE(parameters)
    cdef void *parameters_data = cnp.PyArray_DATA(parameters)
    cdef const void *gradients_data = cnp.PyArray_DATA(gradients)
    with nogil:
        status = fc_sgd_step(dtype_number(number), count, parameters_data, gradients_data, velocity_data, rate,
                             momentum, decay, nesterov, least, &clip)
    check(status)
    return True


def adam_step(object parameters, object gradients, object m, object v, double scale, double beta1, double beta2,
              double epsilon, double decay, double keep, double least, double factor=1, double limit=0):
    cdef int number = compute_type(parameters)
    cdef fc_clip clip = fc_clip(factor, limit)
    cdef fc_status status
    if not (are_vectors(number, parameters, gradients) and is_state(number, parameters, m)
            and is_state(number, parameters, v)):
        return False
    cdef int64_t count = cnp.PyArray_SIZE(parameters)
    cdef void *parameters_data = cnp.PyArray_DATA(parameters)
    cdef const void *gradients_data = cnp.PyArray_DATA(gradients)
    cdef void *m_data = cnp.PyArray_DATA(m)
    cdef void *v_data = cnp.PyArray_DATA(v)
    with nogil:
        status = fc_adam_step(dtype_number(number), count, parameters_data, gradients_data, m_data, v_data, scale,
                              beta1, beta2, epsilon, decay, keep, least, &clip)
    check(status)
    return True


def rmsprop_step(object parameters, object gradients, object squares, object velocity, double scale, double alpha,
                 double epsilon, double momentum, double decay, double least, double factor=1, double limit=0):
    cdef int number = compute_type(parameters)
    cdef void *velocity_data = NULL
    cdef fc_clip clip = fc_clip(factor, limit)
    cdef fc_status status
    if not (are_vectors(number, parameters, gradients) and is_state(number, parameters, squares)):
        return False
    if velocity is not None:
        if not is_state(number, parameters, velocity):
            return False
        velocity_data = cnp.PyArray_DATA(velocity)
    cdef int64_t count = cnp.PyArray_SIZE(parameters)
    cdef void *parameters_data = cnp.PyArray_DATA(parameters)
    cdef const void *gradients_data = cnp.PyArray_DATA(gradients)
    cdef void *squares_data = cnp.PyArray_DATA(squares)
    with nogil:
        status = fc_rmsprop_step(dtype_number(number), count, parameters_data, gradients_data, squares_data,
                                 velocity_data, scale, alpha, epsilon, momentum, decay, least, &clip)
    check(status)
    return True


def square_sum(object x):
    """The sum of the squares of plain numbers as a float; None where they do not suit."""
    cdef int number = compute_type(x)
    cdef double total = 0
    cdef fc_status status
    if not is_plain(x, number):
        return None
    cdef int64_t count = cnp.PyArray_SIZE(x)
    cdef const void *data = cnp.PyArray_DATA(x)
    with nogil:
        status = fc_square_sum(dtype_number(number), count, data, &total)
    check(status)
    return total
