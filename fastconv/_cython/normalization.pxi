# SPDX-License-Identifier: BSD-3-Clause
# Normalisation. Arrays of any number of axes become images, pixels and channels.

cdef bint view_pixels(cnp.ndarray array, bint channels_first, int64_t *pixels, fc_array *view) noexcept:
    """(N, ..., C) or (N, C, ...) as images of pixels in one axis; False where these do not lie evenly."""
    cdef int rank = cnp.PyArray_NDIM(array)
    memset(view, 0, sizeof(fc_array))
    view.data = cnp.PyArray_DATA(array)
    view.dtype = <fc_dtype>dtype_of(array)
    view.stride[0] = stride_of(array, 0)
    view.stride[3] = stride_of(array, 1 if channels_first else rank - 1)
    return has_even_strides(array, 2 if channels_first else 1, rank if channels_first else rank - 1, pixels,
                            &view.stride[2])


cdef cnp.ndarray to_pixels(object value, object name, bint channels_first, int number, int64_t *pixels, fc_array *view):
    """An array of this type, its pixels evenly spaced: the argument, or a copy. Less than two axes: ValueError."""
    if isinstance(value, ndarray) and cnp.PyArray_NDIM(value) < 2:
        raise errors.no_channels(name, value.shape)
    cdef cnp.ndarray array = to_array(value, name, True)
    if cnp.PyArray_TYPE(array) != number:
        array = np.array(array, dtype=cnp.PyArray_DescrFromType(number))
    if not view_pixels(array, channels_first, pixels, view):
        array = np.array(array, order="C")
        view_pixels(array, channels_first, pixels, view)
    return array


cdef cnp.ndarray to_channel_vector(object value, object name, int64_t channels, fc_array *view):
    """A float vector, one number a channel, and its view; None for None."""
    if value is None:
        return None
    cdef cnp.ndarray array = to_array(value, name, False)
    if cnp.PyArray_NDIM(array) != 1 or cnp.PyArray_DIM(array, 0) != channels:
        raise errors.not_a_channel_vector(name, value.shape, channels)
    view_vector(array, view)
    return array


cdef int wider(int number, cnp.ndarray array) noexcept:
    """float64 if the array is, else `number`."""
    return cnp.NPY_FLOAT64 if array is not None and cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64 else number


cdef double to_number(object value, object name, double least) except? -1:
    """A finite float of at least `least`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise errors.not_a_number(name, value)
    cdef double number = value
    if not least <= number < float("inf"):
        raise errors.number_out_of_range(name, value, least)
    return number


cdef struct channel_vectors:
    fc_array weight, bias, running_mean, running_var


cdef int64_t channels_of(object x, object name, bint channels_first) except -1:
    """The number of channels of an array that has them."""
    if not isinstance(x, ndarray):
        raise errors.not_an_array(name, x)
    cdef int rank = cnp.PyArray_NDIM(x)
    if rank < 2:
        raise errors.no_channels(name, x.shape)
    cdef int axis
    for axis in range(1, rank):
        if cnp.PyArray_DIM(x, axis) == 0:
            raise errors.empty_sample(name, x.shape)
    return cnp.PyArray_DIM(x, 1 if channels_first else rank - 1)


cdef cnp.ndarray to_running(object value, object name, int64_t channels, bint written, fc_array *view):
    """A vector of running statistics; where it is written it has to be an array that C can write."""
    cdef cnp.ndarray array = to_channel_vector(value, name, channels, view)
    if array is not None and written:
        if not cnp.PyArray_ISWRITEABLE(value):
            raise errors.read_only(name)
        if cnp.PyArray_DATA(array) != cnp.PyArray_DATA(value):
            raise errors.not_in_place(name)
    return array


cdef cnp.ndarray result_like(object out, cnp.ndarray x, int number):
    """The array to write: a new one in the order of x, or the caller's after checks."""
    cdef int64_t sizes[MOST_AXES]
    cdef int axis
    if out is None and not cnp.PyArray_IS_C_CONTIGUOUS(x):
        return np.empty_like(x, dtype=cnp.PyArray_DescrFromType(number), order="K", subok=False)
    for axis in range(cnp.PyArray_NDIM(x)):
        sizes[axis] = cnp.PyArray_DIM(x, axis)
    return to_result(out, cnp.PyArray_NDIM(x), sizes, number)


cdef class NormArrays:
    """The arrays of a call as C walks them: x, grad_y or None, and the result or None."""
    cdef cnp.ndarray x, grad_y, target, written
    cdef fc_array x_view, grad_y_view, to_view
    cdef bint channels_first
    cdef int64_t n, pixels
    cdef object out

    cdef int read(self, object x, object grad_y, bint channels_first, int number) except -1:
        cdef int64_t pixels
        self.channels_first = channels_first
        self.x = to_pixels(x, "x", channels_first, number, &self.pixels, &self.x_view)
        if grad_y is not None:
            self.grad_y = to_pixels(grad_y, "grad_y", channels_first, number, &pixels, &self.grad_y_view)
        self.n = cnp.PyArray_DIM(self.x, 0)
        return 0

    cdef int set_target(self, object out, int number) except -1:
        """The result is wanted, of the shape of x and in the order of what it is computed from."""
        cdef int64_t pixels
        self.out = out
        self.target = result_like(out, self.x if self.grad_y is None else self.grad_y, number)
        self.written = walkable(self.target)
        if not view_pixels(self.written, self.channels_first, &pixels, &self.to_view):
            self.written = np.empty_like(self.written, order="C", subok=False)
            view_pixels(self.written, self.channels_first, &pixels, &self.to_view)
        return 0

    cdef int reorder(self) except -1:
        """C order all over, where the arrays' orders differ."""
        cdef int64_t pixels
        self.x = np.array(self.x, order="C")
        view_pixels(self.x, self.channels_first, &pixels, &self.x_view)
        if self.grad_y is not None:
            self.grad_y = np.array(self.grad_y, order="C")
            view_pixels(self.grad_y, self.channels_first, &pixels, &self.grad_y_view)
        if self.written is not None:
            self.written = np.empty_like(self.written, order="C", subok=False)
            view_pixels(self.written, self.channels_first, &pixels, &self.to_view)
        return 0

    cdef object result(self):
        return None if self.target is None else deliver(self.out, self.target, self.written)


cdef int set_activation(fc_batch_norm *g, object activation) except -1:
    g.activation = <fc_activation>to_activation(activation)
    if g.activation == FC_TANH or g.activation == FC_SIGMOID:
        raise errors.unknown_name("activation", activation, ("relu", "leaky_relu"))
    return 0


cdef fc_status run_batch_norm(const fc_batch_norm *g, bint training, const fc_array *x, channel_vectors *v,
                              double momentum, const fc_array *y, double *mean, double *inverse_std) noexcept nogil:
    cdef const fc_array *weight = NULL if v.weight.data == NULL else &v.weight
    cdef const fc_array *bias = NULL if v.bias.data == NULL else &v.bias
    cdef const fc_array *running_mean = NULL if v.running_mean.data == NULL else &v.running_mean
    cdef const fc_array *running_var = NULL if v.running_var.data == NULL else &v.running_var
    if training:
        return fc_batch_norm_train(g, x, weight, bias, running_mean, running_var, momentum, y, mean, inverse_std)
    return fc_batch_norm_apply(g, x, weight, bias, mean, inverse_std, y)


cdef int check_norm_gradient(object grad_y, object x) except -1:
    if not isinstance(grad_y, ndarray):
        raise errors.not_an_array("grad_y", grad_y)
    if grad_y.shape != x.shape:
        raise errors.wrong_grad_y(grad_y.shape, x.shape)
    return 0


cdef tuple parameter_gradients(NormArrays a, cnp.ndarray grad_weight, cnp.ndarray grad_bias, int number):
    dtype = cnp.PyArray_DescrFromType(number)
    return a.result(), grad_weight.astype(dtype, copy=False), grad_bias.astype(dtype, copy=False)


cdef object statistics_vector(int64_t channels):
    return np.empty(channels, np.float64)


def batch_norm(object x, object weight=None, object bias=None, object running_mean=None, object running_var=None, *,
               object training=False, object momentum=0.1, object epsilon=1e-5, object layout="NHWC",
               object activation=None, object out=None):
    cdef fc_batch_norm g
    cdef channel_vectors v
    cdef fc_status status
    cdef bint channels_first = to_channels_first(layout), train = to_bool(training, "training")
    memset(&v, 0, sizeof(v))
    g.c = channels_of(x, "x", channels_first)
    g.epsilon = to_number(epsilon, "epsilon", 0)
    cdef double share = to_number(momentum, "momentum", 0)
    if share > 1:
        raise errors.number_out_of_range("momentum", momentum, 0, 1)
    set_activation(&g, activation)
    cdef cnp.ndarray weight_array = to_channel_vector(weight, "weight", g.c, &v.weight)
    cdef cnp.ndarray bias_array = to_channel_vector(bias, "bias", g.c, &v.bias)
    cdef cnp.ndarray mean_array = to_running(running_mean, "running_mean", g.c, train, &v.running_mean)
    cdef cnp.ndarray var_array = to_running(running_var, "running_var", g.c, train, &v.running_var)
    if not train and (running_mean is None or running_var is None):
        raise errors.no_running_statistics()
    to_array(x, "x", True)  # its type, before others are computed with
    cdef int number = wider(wider(result_type(x, x), weight_array), bias_array)
    cdef NormArrays a = NormArrays()
    a.read(x, None, channels_first, number)
    g.n, g.pixels = a.n, a.pixels
    if train and g.n * g.pixels == 1:
        raise errors.one_value_per_channel(x.shape)
    a.set_target(out, number)
    if out is not None:
        refuse_overlaps(a.target, x, "x", weight, "weight", bias, "bias")
        refuse_overlaps(a.target, x, "x", running_mean, "running_mean", running_var, "running_var")
    cdef cnp.ndarray mean = statistics_vector(g.c), inverse_std = statistics_vector(g.c)
    if not train:
        mean[...] = mean_array
        np.divide(1.0, np.sqrt(np.add(var_array, g.epsilon, dtype=np.float64)), out=inverse_std)
    elif g.n == 0:
        mean[...] = 0
        inverse_std[...] = 1
        return (a.result(), mean, inverse_std)
    cdef double *mean_data = <double *>cnp.PyArray_DATA(mean)
    cdef double *inverse_data = <double *>cnp.PyArray_DATA(inverse_std)
    with nogil:
        status = run_batch_norm(&g, train, &a.x_view, &v, share, &a.to_view, mean_data, inverse_data)
    if status == FC_BAD_ORDER:
        a.reorder()
        with nogil:
            status = run_batch_norm(&g, train, &a.x_view, &v, share, &a.to_view, mean_data, inverse_data)
    check(status)
    result = a.result()
    return (result, mean, inverse_std) if train else result


def batch_norm_backward(object grad_y, object x, object weight, object bias, object mean, object inverse_std, *,
                        object training=True, object layout="NHWC", object activation=None, object input_gradient=True,
                        object out=None):
    cdef fc_batch_norm g
    cdef fc_array mean_view, inverse_view
    cdef channel_vectors v
    cdef fc_status status
    cdef bint channels_first = to_channels_first(layout), train = to_bool(training, "training")
    cdef bint wanted = to_bool(input_gradient, "input_gradient")
    memset(&v, 0, sizeof(v))
    g.c = channels_of(x, "x", channels_first)
    g.epsilon = 0
    set_activation(&g, activation)
    check_norm_gradient(grad_y, x)
    cdef cnp.ndarray weight_array = to_channel_vector(weight, "weight", g.c, &v.weight)
    cdef cnp.ndarray bias_array = to_channel_vector(bias, "bias", g.c, &v.bias)
    for name, statistic in (("mean", mean), ("inverse_std", inverse_std)):
        if statistic is None:
            raise errors.not_an_array(name, statistic)
    cdef cnp.ndarray means = np.ascontiguousarray(to_channel_vector(mean, "mean", g.c, &mean_view), np.float64)
    cdef cnp.ndarray inverses = np.ascontiguousarray(
        to_channel_vector(inverse_std, "inverse_std", g.c, &inverse_view), np.float64)
    to_array(x, "x", True)
    to_array(grad_y, "grad_y", False)
    cdef int number = wider(wider(wider(result_type(x, x), weight_array), bias_array), grad_y)
    cdef NormArrays a = NormArrays()
    a.read(x, grad_y, channels_first, number)
    g.n, g.pixels = a.n, a.pixels
    if wanted:
        a.set_target(out, number)
        if out is not None:
            refuse_overlaps(a.target, grad_y, "grad_y", x, "x", weight, "weight")
            refuse_overlaps(a.target, mean, "mean", inverse_std, "inverse_std", bias, "bias")
    cdef cnp.ndarray grad_weight = statistics_vector(g.c), grad_bias = statistics_vector(g.c)
    cdef const fc_array *weight_data = NULL if weight is None else &v.weight
    cdef const fc_array *bias_data = NULL if bias is None else &v.bias
    cdef const fc_array *to_data = &a.to_view if wanted else NULL
    cdef const double *mean_data = <const double *>cnp.PyArray_DATA(means)
    cdef const double *inverse_data = <const double *>cnp.PyArray_DATA(inverses)
    cdef double *grad_weight_data = <double *>cnp.PyArray_DATA(grad_weight)
    cdef double *grad_bias_data = <double *>cnp.PyArray_DATA(grad_bias)
    with nogil:
        status = fc_batch_norm_backward(&g, train, &a.grad_y_view, &a.x_view, weight_data, bias_data, mean_data,
                                        inverse_data, to_data, grad_weight_data, grad_bias_data)
    if status == FC_BAD_ORDER:
        a.reorder()
        with nogil:
            status = fc_batch_norm_backward(&g, train, &a.grad_y_view, &a.x_view, weight_data, bias_data, mean_data,
                                            inverse_data, to_data, grad_weight_data, grad_bias_data)
    check(status)
    return parameter_gradients(a, grad_weight, grad_bias, number)
