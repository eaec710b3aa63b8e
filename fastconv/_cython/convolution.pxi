# SPDX-License-Identifier: BSD-3-Clause
# Convolution and its gradients.

cdef fc_status conv2d_resolve_nogil(fc_conv2d *g, fc_padding mode) noexcept nogil:
    return fc_conv2d_resolve(g, mode)

cdef fc_status conv2d_forward_nogil(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                                    const fc_array *y, const fc_options *options) noexcept nogil:
    return fc_conv2d_forward(g, x, weight, bias, y, options)

cdef fc_status conv2d_backward_input_nogil(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                     const fc_array *grad_x, const fc_options *options) noexcept nogil:
    return fc_conv2d_backward_input(g, grad_y, weight, grad_x, options)

cdef fc_status conv2d_backward_weight_nogil(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                      const fc_array *grad_weight, const fc_options *options) noexcept nogil:
    return fc_conv2d_backward_weight(g, grad_y, x, grad_weight, options)


cdef object CONSTANT = "constant"  # the padding mode of the kernels; others are made in Python


cdef dict geometry_dict(object stride, object padding, object dilation, object groups, object layout):
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "layout": layout}


cdef int output_sizes(const fc_conv2d *g, bint channels_first, int rank, int64_t *sizes) noexcept:
    """The shape of y, with as many axes as x has."""
    put_image_sizes(sizes, channels_first, rank, g.n, g.p, g.q, g.k)
    return 0


cdef int resolve(fc_conv2d *g, const int64_t *x_sizes, int rank, const int64_t *weight_sizes, object x_name,
                 object weight_name, object stride, object padding, object dilation, object groups,
                 bint channels_first, int axes=2) except -1:
    """Fill in and check the geometry; every error of sizes is raised here."""
    cdef fc_padding mode
    cdef fc_status status
    cdef int64_t channels
    image_sizes(x_sizes, channels_first, rank, &g.n, &g.h, &g.w, &g.c)
    filter_sizes(weight_sizes, channels_first, &g.r, &g.s, &channels, &g.k)
    mode = to_steps(g, stride, padding, dilation, groups, axes)
    status = fc_conv2d_resolve(g, mode)
    if status == FC_OK and channels * g.groups != g.c:
        raise errors.channel_mismatch(x_name, image_tuple(x_sizes, rank, channels_first, axes), weight_name,
                                      filter_tuple(weight_sizes, channels_first, axes), g.groups,
                                      layout_name(channels_first, axes))
    if status != FC_OK:
        raise errors.bad_convolution(
            fc_status_text(status).decode(), x_name, image_tuple(x_sizes, rank, channels_first, axes), weight_name,
            filter_tuple(weight_sizes, channels_first, axes), layout_name(channels_first, axes), stride, padding,
            dilation, groups)
    return 0


cdef int check_algorithm(const fc_conv2d *g, fc_operation operation, int number, const fc_options *options,
                         object algorithm) except -1:
    """An algorithm named outright must be able to do the problem."""
    cdef const char *reason = NULL
    if options.algorithm == FC_AUTO:
        return 0
    if fc_conv2d_choice(g, operation, FC_FLOAT64 if number == cnp.NPY_FLOAT64 else FC_FLOAT32, options, &reason) == NULL:
        raise errors.refused_algorithm(algorithm, reason.decode())
    return 0


cdef int check(fc_status status) except -1:
    """What can still go wrong after the checks: memory, a signal handler that raised, an index out of range."""
    if status == FC_OK:
        return 0
    if status == FC_INTERRUPTED:
        if not PyErr_Occurred():
            raise KeyboardInterrupt
        return -1
    if status == FC_NO_MEMORY:
        raise MemoryError(fc_status_text(status).decode())
    raise ValueError(fc_status_text(status).decode())


cdef cnp.ndarray to_bias(object bias, int64_t k, fc_array *view, int *number):
    """The array, its view, and float64 as the type of the result if it has it; None for None."""
    if bias is None:
        return None
    cdef cnp.ndarray array = to_array(bias, "bias", False)
    if cnp.PyArray_NDIM(array) != 1 or cnp.PyArray_DIM(array, 0) != k:
        raise errors.wrong_bias(bias.shape, k)
    view_vector(array, view)
    if view.dtype == FC_FLOAT64:
        number[0] = cnp.NPY_FLOAT64
    return array


# Below this many multiply-adds (some 10 microseconds) a call keeps the GIL: to give it back and wait for it costs 40 ns
# alone, and a turn of every other thread where there are some.
cdef double SMALL_WORK = 1e5


cdef bint is_small(const fc_conv2d *g) noexcept:
    return <double>g.n * g.p * g.q * g.k * g.r * g.s * g.c < SMALL_WORK * g.groups


cdef int run_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                     const fc_array *y, const fc_options *options) except -1:
    cdef fc_status status
    if is_small(g):
        status = fc_conv2d_forward(g, x, weight, bias, y, options)
    else:
        with nogil:
            status = fc_conv2d_forward(g, x, weight, bias, y, options)
    return check(status)


cdef object convolve(object x, object weight, object bias, object stride, object padding, object dilation,
                     object groups, object layout, object activation, object precision, object algorithm, object out,
                     int axes):
    cdef fc_conv2d g
    cdef fc_options options
    cdef fc_array x_view, weight_view, bias_view, y_view
    cdef int64_t x_sizes[4]
    cdef int64_t weight_sizes[4]
    cdef int64_t y_sizes[4]
    cdef const void *packed
    cdef cnp.ndarray x_array = to_array(x, "x", True), weight_array = to_array(plain(weight), "weight", False)
    cdef bint channels_first = to_channels_first(layout, axes)
    cdef int rank = image_array_sizes(x_array, "x", channels_first, axes, x_sizes)
    cdef int number = result_type(x_array, weight_array)
    filter_array_sizes(weight_array, channels_first, axes, weight_sizes)
    to_options(&options, activation, algorithm, precision)
    resolve(&g, x_sizes, rank, weight_sizes, "x", "weight", stride, padding, dilation, groups, channels_first, axes)
    cdef cnp.ndarray bias_array = to_bias(bias, g.k, &bias_view, &number)
    check_algorithm(&g, FC_FORWARD, number, &options, algorithm)
    attach(weight, FC_FORWARD, channels_first, &g, number, &packed)
    output_sizes(&g, channels_first, rank, y_sizes)
    cdef cnp.ndarray target = to_image_result(out, rank, y_sizes, number, channels_first, axes)
    if out is not None:
        refuse_overlaps(target, x, "x", plain(weight), "weight", bias, "bias")
    cdef cnp.ndarray y = walkable(target)
    view_image(x_array, channels_first, &x_view, axes)
    view_filters(weight_array, channels_first, &weight_view, axes)
    weight_view.packed = packed
    view_image(y, channels_first, &y_view, axes)
    run_forward(&g, &x_view, &weight_view, NULL if bias_array is None else &bias_view, &y_view, &options)
    return deliver(out, target, y)


def conv2d(object x, object weight, object bias=None, *, object stride=1, object padding=0, object dilation=1,
           object groups=1, object layout="NHWC", object activation=None, object precision=None,
           object algorithm="auto", object out=None, object padding_mode="constant"):
    if padding_mode is not CONSTANT and padding_mode != "constant":
        return borders.convolve(
            conv2d, conv2d_output_shape, x, weight, bias, padding_mode, geometry_dict(stride, padding, dilation, groups, layout), out,
            activation=activation, precision=precision, algorithm=algorithm)
    return convolve(x, weight, bias, stride, padding, dilation, groups, layout, activation, precision, algorithm, out, 2)


cdef int check_grad_y(cnp.ndarray grad_y, const fc_conv2d *g, bint channels_first, int rank, int axes) except -1:
    cdef int64_t expected[4]
    output_sizes(g, channels_first, rank, expected)
    return refuse_other_grad_y(grad_y, expected, rank, channels_first, axes)


cdef int run_backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                            const fc_array *grad_x, const fc_options *options) except -1:
    cdef fc_status status
    if is_small(g):
        status = fc_conv2d_backward_input(g, grad_y, weight, grad_x, options)
    else:
        with nogil:
            status = fc_conv2d_backward_input(g, grad_y, weight, grad_x, options)
    return check(status)


cdef object backward_input(object grad_y, object weight, object x_shape, object stride, object padding, object dilation,
                           object groups, object layout, object precision, object algorithm, object out,
                           object x_name, int axes):
    cdef fc_conv2d g
    cdef fc_options options
    cdef fc_array grad_y_view, weight_view, grad_x_view
    cdef int64_t x_sizes[4]
    cdef int64_t weight_sizes[4]
    cdef cnp.ndarray grad_y_array = to_array(grad_y, "grad_y", False)
    cdef cnp.ndarray weight_array = to_array(plain(weight), "weight", False)
    cdef const void *packed
    cdef bint channels_first = to_channels_first(layout, axes)
    cdef int rank = image_shape_sizes(x_shape, x_name, channels_first, axes, x_sizes)
    filter_array_sizes(weight_array, channels_first, axes, weight_sizes)
    to_options(&options, None, algorithm, precision)
    resolve(&g, x_sizes, rank, weight_sizes, x_name, "weight", stride, padding, dilation, groups, channels_first, axes)
    check_grad_y(grad_y_array, &g, channels_first, rank, axes)
    cdef int number = result_type(grad_y_array, weight_array)
    check_algorithm(&g, FC_BACKWARD_INPUT, number, &options, algorithm)
    attach(weight, FC_BACKWARD_INPUT, channels_first, &g, number, &packed)
    cdef cnp.ndarray target = to_image_result(out, rank, x_sizes, number, channels_first, axes)
    if out is not None:
        refuse_overlaps(target, grad_y, "grad_y", plain(weight), "weight")
    cdef cnp.ndarray grad_x = walkable(target)
    view_image(grad_y_array, channels_first, &grad_y_view, axes)
    view_filters(weight_array, channels_first, &weight_view, axes)
    weight_view.packed = packed
    view_image(grad_x, channels_first, &grad_x_view, axes)
    run_backward_input(&g, &grad_y_view, &weight_view, &grad_x_view, &options)
    return deliver(out, target, grad_x)


def conv2d_backward_input(object grad_y, object weight, object x_shape, *, object stride=1, object padding=0,
                          object dilation=1, object groups=1, object layout="NHWC", object precision=None,
                          object algorithm="auto", object out=None, object padding_mode="constant"):
    if padding_mode is not CONSTANT and padding_mode != "constant":
        return borders.backward_input(
            conv2d_backward_input, conv2d_output_shape, grad_y, weight, x_shape, padding_mode,
            geometry_dict(stride, padding, dilation, groups, layout), out, precision=precision, algorithm=algorithm)
    return backward_input(grad_y, weight, x_shape, stride, padding, dilation, groups, layout, precision, algorithm,
                          out, "x_shape", 2)


cdef int run_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                             const fc_array *grad_weight, const fc_options *options) except -1:
    cdef fc_status status
    if is_small(g):
        status = fc_conv2d_backward_weight(g, grad_y, x, grad_weight, options)
    else:
        with nogil:
            status = fc_conv2d_backward_weight(g, grad_y, x, grad_weight, options)
    return check(status)


cdef object backward_weight(object grad_y, object x, object weight_shape, object stride, object padding,
                            object dilation, object groups, object layout, object precision, object algorithm,
                            object out, object weight_name, int axes):
    cdef fc_conv2d g
    cdef fc_options options
    cdef fc_array grad_y_view, x_view, grad_weight_view
    cdef int64_t x_sizes[4]
    cdef int64_t weight_sizes[4]
    cdef cnp.ndarray grad_y_array = to_array(grad_y, "grad_y", False)
    cdef cnp.ndarray x_array = to_array(x, "x", True)
    cdef bint channels_first = to_channels_first(layout, axes)
    cdef int rank = image_array_sizes(x_array, "x", channels_first, axes, x_sizes)
    filter_shape_sizes(weight_shape, weight_name, channels_first, axes, weight_sizes)
    to_options(&options, None, algorithm, precision)
    resolve(&g, x_sizes, rank, weight_sizes, "x", weight_name, stride, padding, dilation, groups, channels_first, axes)
    check_grad_y(grad_y_array, &g, channels_first, rank, axes)
    cdef int number = result_type(grad_y_array, x_array)
    check_algorithm(&g, FC_BACKWARD_WEIGHT, number, &options, algorithm)
    cdef cnp.ndarray target = to_filter_result(out, weight_sizes, number, channels_first, axes)
    if out is not None:
        refuse_overlaps(target, grad_y, "grad_y", x, "x")
    cdef cnp.ndarray grad_weight = walkable(target)
    view_image(grad_y_array, channels_first, &grad_y_view, axes)
    view_image(x_array, channels_first, &x_view, axes)
    view_filters(grad_weight, channels_first, &grad_weight_view, axes)
    run_backward_weight(&g, &grad_y_view, &x_view, &grad_weight_view, &options)
    return deliver(out, target, grad_weight)


def conv2d_backward_weight(object grad_y, object x, object weight_shape, *, object stride=1, object padding=0,
                           object dilation=1, object groups=1, object layout="NHWC", object precision=None,
                           object algorithm="auto", object out=None, object padding_mode="constant"):
    if padding_mode is not CONSTANT and padding_mode != "constant":
        return borders.backward_weight(
            conv2d_backward_weight, conv2d_output_shape, grad_y, x, weight_shape, padding_mode,
            geometry_dict(stride, padding, dilation, groups, layout), out, precision=precision, algorithm=algorithm)
    return backward_weight(grad_y, x, weight_shape, stride, padding, dilation, groups, layout, precision, algorithm,
                           out, "weight_shape", 2)


def conv_gradients(int axes, object grad_y, object x, object weight, object stride, object padding, object dilation,
                   object groups, object layout, object precision, object algorithm, object padding_mode):
    """The three gradients as a tuple; errors speak of x and weight, not of their shapes."""
    if not isinstance(x, ndarray):
        raise errors.not_an_array("x", x)
    if not isinstance(weight, ndarray):
        raise errors.not_an_array("weight", weight)
    if padding_mode is not CONSTANT and padding_mode != "constant":
        how = geometry_dict(stride, padding, dilation, groups, layout)
        how.update(precision=precision, algorithm=algorithm, padding_mode=padding_mode)
        return (
            (conv2d_backward_input if axes == 2 else conv1d_backward_input)(grad_y, weight, x.shape, **how),
            (conv2d_backward_weight if axes == 2 else conv1d_backward_weight)(grad_y, x, weight.shape, **how),
            backward_bias_of_images(grad_y, layout, None, axes),
        )
    return (
        backward_input(grad_y, weight, x.shape, stride, padding, dilation, groups, layout, precision, algorithm, None,
                       "x", axes),
        backward_weight(grad_y, x, weight.shape, stride, padding, dilation, groups, layout, precision, algorithm, None,
                        "weight", axes),
        backward_bias_of_images(grad_y, layout, None, axes),
    )


cdef object backward_bias(object grad_y, const int64_t *sizes, const fc_array *grad_y_view, int number, object out):
    """`sizes`: n, p, q, k."""
    cdef fc_conv2d g
    cdef fc_array grad_bias_view
    cdef fc_status status
    memset(&g, 0, sizeof(g))
    g.n, g.p, g.q, g.k = sizes[0], sizes[1], sizes[2], sizes[3]
    if g.p < 1 or g.q < 1 or g.k < 1:
        raise errors.empty_grad_y(grad_y.shape)
    cdef cnp.ndarray target = to_result(out, 1, &g.k, number)
    if out is not None:
        refuse_overlaps(target, grad_y, "grad_y")
    cdef cnp.ndarray grad_bias = walkable(target)
    view_vector(grad_bias, &grad_bias_view)
    with nogil:
        status = fc_conv2d_backward_bias(&g, grad_y_view, &grad_bias_view)
    check(status)
    return deliver(out, target, grad_bias)


cdef object backward_bias_of_images(object grad_y, object layout, object out, int axes):
    cdef fc_array view
    cdef int64_t sizes[4]
    cdef int64_t named[4]
    cdef cnp.ndarray array = to_array(grad_y, "grad_y", False)
    cdef bint channels_first = to_channels_first(layout, axes)
    cdef int rank = image_array_sizes(array, "grad_y", channels_first, axes, sizes)
    image_sizes(sizes, channels_first, rank, &named[0], &named[1], &named[2], &named[3])
    view_image(array, channels_first, &view, axes)
    return backward_bias(grad_y, named, &view, cnp.PyArray_TYPE(array), out)


def conv2d_backward_bias(object grad_y, *, object layout="NHWC", object out=None):
    return backward_bias_of_images(grad_y, layout, out, 2)


cdef object output_shape(object x_shape, object weight_shape, object stride, object padding, object dilation,
                         object groups, object layout, int axes):
    cdef fc_conv2d g
    cdef int64_t x_sizes[4]
    cdef int64_t weight_sizes[4]
    cdef int64_t y_sizes[4]
    cdef bint channels_first = to_channels_first(layout, axes)
    cdef int rank = image_shape_sizes(x_shape, "x_shape", channels_first, axes, x_sizes)
    filter_shape_sizes(weight_shape, "weight_shape", channels_first, axes, weight_sizes)
    resolve(&g, x_sizes, rank, weight_sizes, "x_shape", "weight_shape", stride, padding, dilation, groups,
            channels_first, axes)
    output_sizes(&g, channels_first, rank, y_sizes)
    return image_tuple(y_sizes, rank, channels_first, axes)


def conv2d_output_shape(object x_shape, object weight_shape, *, object stride=1, object padding=0, object dilation=1,
                        object groups=1, object layout="NHWC"):
    return output_shape(x_shape, weight_shape, stride, padding, dilation, groups, layout, 2)
