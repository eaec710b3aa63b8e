# SPDX-License-Identifier: BSD-3-Clause
# Convolution of volumes and its gradients. Sizes of volumes are n, d, h, w, c, of filters t, r, s, c, k.

cdef int to_triple(object value, object name, int64_t *first, int64_t *second, int64_t *third) except -1:
    """One integer for all axes, or a sequence of three."""
    if isinstance(value, (tuple, list)):
        if len(value) != 3:
            raise errors.wrong_count(name, value, 3)
        first[0], second[0], third[0] = to_int(value[0], name), to_int(value[1], name), to_int(value[2], name)
    else:
        first[0] = second[0] = third[0] = to_int(value, name)
    return 0


cdef int to_volume_padding(object value, int64_t *before, int64_t *after) except -1:
    """The mode of a padding, and in each axis what is added before and after."""
    cdef int axis
    if isinstance(value, str):
        return to_padding(value, &before[0], &after[0], &before[1], &after[1])
    if isinstance(value, (tuple, list)) and len(value) == 3 and isinstance(value[0], (tuple, list)):
        for axis in range(3):
            if not isinstance(value[axis], (tuple, list)):
                raise errors.wrong_count("padding", value, 3)
            to_pair(value[axis], "padding", &before[axis], &after[axis])
    else:
        to_triple(value, "padding", &before[0], &before[1], &before[2])
        for axis in range(3):
            after[axis] = before[axis]
    return FC_PAD_EXPLICIT


cdef void volume_sizes(const int64_t *sizes, bint channels_first, int rank, int64_t *n, int64_t *d, int64_t *h,
                       int64_t *w, int64_t *c) noexcept:
    """Name the sizes of volumes; a volume without batch axis is a batch of one."""
    cdef int first = rank - 4, pixels = first + channels_first
    n[0] = sizes[0] if first == 1 else 1
    d[0], h[0], w[0] = sizes[pixels], sizes[pixels + 1], sizes[pixels + 2]
    c[0] = sizes[first if channels_first else first + 3]


cdef void put_volume_sizes(int64_t n, int64_t d, int64_t h, int64_t w, int64_t c, bint channels_first, int rank,
                           int64_t *sizes) noexcept:
    cdef int first = rank - 4, pixels = first + channels_first
    if first == 1:
        sizes[0] = n
    sizes[pixels], sizes[pixels + 1], sizes[pixels + 2] = d, h, w
    sizes[first if channels_first else first + 3] = c


cdef void view_volumes(cnp.ndarray array, bint channels_first, fc_array3d *view) noexcept:
    cdef int axis, first = cnp.PyArray_NDIM(array) - 4
    view.data = cnp.PyArray_DATA(array)
    view.dtype = <fc_dtype>dtype_of(array)
    view.stride[0] = stride_of(array, 0) if first == 1 else 0
    for axis in range(3):
        view.stride[1 + axis] = stride_of(array, first + channels_first + axis)
    view.stride[4] = stride_of(array, first if channels_first else first + 3)


cdef void view_filters3d(cnp.ndarray array, bint channels_first, fc_array3d *view) noexcept:
    """Axes t, r, s, c, k of filters, which are k, c, t, r, s with channels first."""
    cdef int axis
    view.data = cnp.PyArray_DATA(array)
    view.dtype = <fc_dtype>dtype_of(array)
    for axis in range(3):
        view.stride[axis] = stride_of(array, axis + 2 * channels_first)
    view.stride[3] = stride_of(array, 1 if channels_first else 3)
    view.stride[4] = stride_of(array, 0 if channels_first else 4)


cdef void filter_sizes3d(const int64_t *sizes, bint channels_first, fc_conv3d *g, int64_t *channels,
                         int64_t *filters) noexcept:
    cdef int taps = 2 * channels_first
    g.t, g.r, g.s = sizes[taps], sizes[taps + 1], sizes[taps + 2]
    channels[0], filters[0] = sizes[1 if channels_first else 3], sizes[0 if channels_first else 4]


cdef int to_steps3d(fc_conv3d *g, object stride, object padding, object dilation, object groups) except -1:
    """Fill in what is no size; returns the mode of the padding."""
    cdef int mode
    cdef int64_t before[3]
    cdef int64_t after[3]
    to_triple(stride, "stride", &g.stride_d, &g.stride_h, &g.stride_w)
    to_triple(dilation, "dilation", &g.dilation_d, &g.dilation_h, &g.dilation_w)
    g.groups = to_int(groups, "groups")
    mode = to_volume_padding(padding, before, after)
    g.pad_front, g.pad_top, g.pad_left = before[0], before[1], before[2]
    g.pad_back, g.pad_bottom, g.pad_right = after[0], after[1], after[2]
    return mode


cdef int resolve3d(fc_conv3d *g, const int64_t *x_sizes, int rank, const int64_t *weight_sizes, object x_name,
                   object weight_name, object stride, object padding, object dilation, object groups,
                   bint channels_first) except -1:
    """Fill in and check the geometry; every error of sizes is raised here."""
    cdef fc_padding mode
    cdef fc_status status
    cdef int64_t channels
    volume_sizes(x_sizes, channels_first, rank, &g.n, &g.d, &g.h, &g.w, &g.c)
    filter_sizes3d(weight_sizes, channels_first, g, &channels, &g.k)
    mode = <fc_padding>to_steps3d(g, stride, padding, dilation, groups)
    status = fc_conv3d_resolve(g, mode)
    if status == FC_OK and channels * g.groups == g.c:
        return 0
    x_shape, weight_shape = sizes_tuple(x_sizes, rank), sizes_tuple(weight_sizes, 5)
    if status == FC_OK:
        raise errors.channel_mismatch(x_name, x_shape, weight_name, weight_shape, g.groups,
                                      layout_name(channels_first, 3))
    raise errors.bad_convolution(fc_status_text(status).decode(), x_name, x_shape, weight_name, weight_shape,
                                 layout_name(channels_first, 3), stride, padding, dilation, groups)


cdef int output_sizes3d(const fc_conv3d *g, bint channels_first, int rank, int64_t *sizes) noexcept:
    put_volume_sizes(g.n, g.o, g.p, g.q, g.k, channels_first, rank, sizes)
    return 0


cdef int check_algorithm3d(const fc_conv3d *g, fc_operation operation, int number, const fc_options *options,
                           object algorithm) except -1:
    """An algorithm named outright must be able to do the problem."""
    cdef const char *reason = NULL
    cdef fc_dtype dtype = FC_FLOAT64 if number == cnp.NPY_FLOAT64 else FC_FLOAT32
    if options.algorithm != FC_AUTO and fc_conv3d_choice(g, operation, dtype, options, &reason) == NULL:
        raise errors.refused_algorithm(algorithm, reason.decode())
    return 0


cdef int check_grad_y3d(cnp.ndarray grad_y, const fc_conv3d *g, bint channels_first, int rank) except -1:
    cdef int64_t expected[5]
    output_sizes3d(g, channels_first, rank, expected)
    if not has_sizes(grad_y, expected, rank):
        raise errors.wrong_grad_y((<object>grad_y).shape, sizes_tuple(expected, rank))
    return 0


cdef object convolve3d(object x, object weight, object bias, object stride, object padding, object dilation,
                       object groups, object layout, object activation, object precision, object algorithm, object out):
    cdef fc_conv3d g
    cdef fc_options options
    cdef fc_array3d x_view, weight_view, y_view
    cdef fc_array bias_view
    cdef const fc_array *bias_or_none = NULL
    cdef int64_t x_sizes[5]
    cdef int64_t weight_sizes[5]
    cdef int64_t y_sizes[5]
    cdef fc_status status
    cdef cnp.ndarray x_array = to_array(x, "x", True), weight_array = to_array(weight, "weight", False)
    cdef bint channels_first = to_channels_first(layout, 3)
    cdef int rank = array_sizes(x_array, "x", 4, 5, x_sizes)
    cdef int number = result_type(x_array, weight_array)
    array_sizes(weight_array, "weight", 5, 5, weight_sizes)
    to_options(&options, activation, algorithm, precision)
    resolve3d(&g, x_sizes, rank, weight_sizes, "x", "weight", stride, padding, dilation, groups, channels_first)
    cdef cnp.ndarray bias_array = to_bias(bias, g.k, &bias_view, &number)
    if bias_array is not None:
        bias_or_none = &bias_view
    check_algorithm3d(&g, FC_FORWARD, number, &options, algorithm)
    output_sizes3d(&g, channels_first, rank, y_sizes)
    cdef cnp.ndarray target = to_result(out, rank, y_sizes, number)
    if out is not None:
        refuse_overlaps(target, x, "x", weight, "weight", bias, "bias")
    cdef cnp.ndarray y = walkable(target)
    view_volumes(x_array, channels_first, &x_view)
    view_filters3d(weight_array, channels_first, &weight_view)
    view_volumes(y, channels_first, &y_view)
    with nogil:
        status = fc_conv3d_forward(&g, &x_view, &weight_view, bias_or_none, &y_view, &options)
    check(status)
    return deliver(out, target, y)


def conv3d(object x, object weight, object bias=None, *, object stride=1, object padding=0, object dilation=1,
           object groups=1, object layout="NDHWC", object activation=None, object precision=None,
           object algorithm="auto", object out=None, object padding_mode="constant"):
    if padding_mode is not CONSTANT and padding_mode != "constant":
        return borders.convolve(
            conv3d, conv3d_output_shape, x, weight, bias, padding_mode,
            geometry_dict(stride, padding, dilation, groups, layout), out, activation=activation, precision=precision,
            algorithm=algorithm)
    return convolve3d(x, weight, bias, stride, padding, dilation, groups, layout, activation, precision, algorithm, out)


cdef object backward_input3d(object grad_y, object weight, object x_shape, object stride, object padding,
                             object dilation, object groups, object layout, object precision, object algorithm,
                             object out, object x_name):
    cdef fc_conv3d g
    cdef fc_options options
    cdef fc_array3d grad_y_view, weight_view, grad_x_view
    cdef int64_t x_sizes[5]
    cdef int64_t weight_sizes[5]
    cdef fc_status status
    cdef cnp.ndarray grad_y_array = to_array(grad_y, "grad_y", False)
    cdef cnp.ndarray weight_array = to_array(weight, "weight", False)
    cdef bint channels_first = to_channels_first(layout, 3)
    cdef int rank = to_shape(x_shape, x_name, 4, 5, x_sizes)
    array_sizes(weight_array, "weight", 5, 5, weight_sizes)
    to_options(&options, None, algorithm, precision)
    resolve3d(&g, x_sizes, rank, weight_sizes, x_name, "weight", stride, padding, dilation, groups, channels_first)
    check_grad_y3d(grad_y_array, &g, channels_first, rank)
    cdef int number = result_type(grad_y_array, weight_array)
    check_algorithm3d(&g, FC_BACKWARD_INPUT, number, &options, algorithm)
    cdef cnp.ndarray target = to_result(out, rank, x_sizes, number)
    if out is not None:
        refuse_overlaps(target, grad_y, "grad_y", weight, "weight")
    cdef cnp.ndarray grad_x = walkable(target)
    view_volumes(grad_y_array, channels_first, &grad_y_view)
    view_filters3d(weight_array, channels_first, &weight_view)
    view_volumes(grad_x, channels_first, &grad_x_view)
    with nogil:
        status = fc_conv3d_backward_input(&g, &grad_y_view, &weight_view, &grad_x_view, &options)
    check(status)
    return deliver(out, target, grad_x)


def conv3d_backward_input(object grad_y, object weight, object x_shape, *, object stride=1, object padding=0,
                          object dilation=1, object groups=1, object layout="NDHWC", object precision=None,
                          object algorithm="auto", object out=None, object padding_mode="constant"):
    if padding_mode is not CONSTANT and padding_mode != "constant":
        return borders.backward_input(
            conv3d_backward_input, conv3d_output_shape, grad_y, weight, x_shape, padding_mode,
            geometry_dict(stride, padding, dilation, groups, layout), out, precision=precision, algorithm=algorithm)
    return backward_input3d(grad_y, weight, x_shape, stride, padding, dilation, groups, layout, precision, algorithm,
                            out, "x_shape")


cdef object backward_weight3d(object grad_y, object x, object weight_shape, object stride, object padding,
                              object dilation, object groups, object layout, object precision, object algorithm,
                              object out, object weight_name):
    cdef fc_conv3d g
    cdef fc_options options
    cdef fc_array3d grad_y_view, x_view, grad_weight_view
    cdef int64_t x_sizes[5]
    cdef int64_t weight_sizes[5]
    cdef fc_status status
    cdef cnp.ndarray grad_y_array = to_array(grad_y, "grad_y", False)
    cdef cnp.ndarray x_array = to_array(x, "x", True)
    cdef bint channels_first = to_channels_first(layout, 3)
    cdef int rank = array_sizes(x_array, "x", 4, 5, x_sizes)
    to_shape(weight_shape, weight_name, 5, 5, weight_sizes)
    to_options(&options, None, algorithm, precision)
    resolve3d(&g, x_sizes, rank, weight_sizes, "x", weight_name, stride, padding, dilation, groups, channels_first)
    check_grad_y3d(grad_y_array, &g, channels_first, rank)
    cdef int number = result_type(grad_y_array, x_array)
    check_algorithm3d(&g, FC_BACKWARD_WEIGHT, number, &options, algorithm)
    cdef cnp.ndarray target = to_result(out, 5, weight_sizes, number)
    if out is not None:
        refuse_overlaps(target, grad_y, "grad_y", x, "x")
    cdef cnp.ndarray grad_weight = walkable(target)
    view_volumes(grad_y_array, channels_first, &grad_y_view)
    view_volumes(x_array, channels_first, &x_view)
    view_filters3d(grad_weight, channels_first, &grad_weight_view)
    with nogil:
        status = fc_conv3d_backward_weight(&g, &grad_y_view, &x_view, &grad_weight_view, &options)
    check(status)
    return deliver(out, target, grad_weight)


def conv3d_backward_weight(object grad_y, object x, object weight_shape, *, object stride=1, object padding=0,
                           object dilation=1, object groups=1, object layout="NDHWC", object precision=None,
                           object algorithm="auto", object out=None, object padding_mode="constant"):
    if padding_mode is not CONSTANT and padding_mode != "constant":
        return borders.backward_weight(
            conv3d_backward_weight, conv3d_output_shape, grad_y, x, weight_shape, padding_mode,
            geometry_dict(stride, padding, dilation, groups, layout), out, precision=precision, algorithm=algorithm)
    return backward_weight3d(grad_y, x, weight_shape, stride, padding, dilation, groups, layout, precision, algorithm,
                             out, "weight_shape")


def conv3d_backward_bias(object grad_y, *, object layout="NDHWC", object out=None):
    cdef fc_conv3d g
    cdef fc_array3d grad_y_view
    cdef fc_array grad_bias_view
    cdef fc_status status
    cdef int64_t sizes[5]
    cdef cnp.ndarray array = to_array(grad_y, "grad_y", False)
    cdef bint channels_first = to_channels_first(layout, 3)
    cdef int rank = array_sizes(array, "grad_y", 4, 5, sizes)
    memset(&g, 0, sizeof(g))
    volume_sizes(sizes, channels_first, rank, &g.n, &g.o, &g.p, &g.q, &g.k)
    if g.o < 1 or g.p < 1 or g.q < 1 or g.k < 1:
        raise errors.empty_grad_y(grad_y.shape)
    cdef cnp.ndarray target = to_result(out, 1, &g.k, cnp.PyArray_TYPE(array))
    if out is not None:
        refuse_overlaps(target, grad_y, "grad_y")
    cdef cnp.ndarray grad_bias = walkable(target)
    view_volumes(array, channels_first, &grad_y_view)
    view_vector(grad_bias, &grad_bias_view)
    with nogil:
        status = fc_conv3d_backward_bias(&g, &grad_y_view, &grad_bias_view)
    check(status)
    return deliver(out, target, grad_bias)


def conv3d_gradients(object grad_y, object x, object weight, object stride, object padding, object dilation,
                     object groups, object layout, object precision, object algorithm, object padding_mode):
    """As conv_gradients."""
    if not isinstance(x, ndarray):
        raise errors.not_an_array("x", x)
    if not isinstance(weight, ndarray):
        raise errors.not_an_array("weight", weight)
    if padding_mode is not CONSTANT and padding_mode != "constant":
        how = geometry_dict(stride, padding, dilation, groups, layout)
        how.update(precision=precision, algorithm=algorithm, padding_mode=padding_mode)
        return (
            conv3d_backward_input(grad_y, weight, x.shape, **how),
            conv3d_backward_weight(grad_y, x, weight.shape, **how),
            conv3d_backward_bias(grad_y, layout=layout),
        )
    return (
        backward_input3d(grad_y, weight, x.shape, stride, padding, dilation, groups, layout, precision, algorithm,
                         None, "x"),
        backward_weight3d(grad_y, x, weight.shape, stride, padding, dilation, groups, layout, precision, algorithm,
                          None, "weight"),
        conv3d_backward_bias(grad_y, layout=layout),
    )


def conv3d_output_shape(object x_shape, object weight_shape, *, object stride=1, object padding=0, object dilation=1,
                        object groups=1, object layout="NDHWC"):
    cdef fc_conv3d g
    cdef int64_t x_sizes[5]
    cdef int64_t weight_sizes[5]
    cdef int64_t y_sizes[5]
    cdef bint channels_first = to_channels_first(layout, 3)
    cdef int rank = to_shape(x_shape, "x_shape", 4, 5, x_sizes)
    to_shape(weight_shape, "weight_shape", 5, 5, weight_sizes)
    resolve3d(&g, x_sizes, rank, weight_sizes, "x_shape", "weight_shape", stride, padding, dilation, groups,
              channels_first)
    output_sizes3d(&g, channels_first, rank, y_sizes)
    return sizes_tuple(y_sizes, rank)
