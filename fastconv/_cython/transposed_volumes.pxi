# SPDX-License-Identifier: BSD-3-Clause
# Transposed convolution of volumes. `g` is the convolution that is transposed: x has its outputs, y its inputs.

cdef int resolve_transposed3d(fc_conv3d *g, const int64_t *x_sizes, int rank, const int64_t *weight_sizes,
                              object x_name, object weight_name, object stride, object padding, object output_padding,
                              object dilation, object groups, bint channels_first) except -1:
    """Fill in and check the geometry; every error of sizes is raised here."""
    cdef fc_padding mode
    cdef fc_status status
    cdef int64_t filters, channels
    cdef int64_t extra[3]
    volume_sizes(x_sizes, channels_first, rank, &g.n, &g.o, &g.p, &g.q, &g.k)
    filter_sizes3d(weight_sizes, channels_first, g, &filters, &channels)
    to_triple(output_padding, "output_padding", &extra[0], &extra[1], &extra[2])
    mode = <fc_padding>to_steps3d(g, stride, padding, dilation, groups)
    if g.groups > 0 and filters > INT64_MAX // g.groups:
        raise errors.too_large("groups", groups)
    g.c = filters * g.groups
    status = fc_conv_transpose3d_resolve(g, mode, extra)
    if status == FC_OK and channels == g.k:
        return 0
    x_shape, weight_shape = sizes_tuple(x_sizes, rank), sizes_tuple(weight_sizes, 5)
    if (status == FC_OK or status == FC_BAD_GROUPS) and channels != g.k:
        raise errors.transposed_mismatch(x_name, x_shape, weight_name, weight_shape, layout_name(channels_first, 3))
    raise errors.bad_convolution(
        fc_status_text(status).decode() if status != FC_EMPTY_OUTPUT else errors.CROPPED_AWAY, x_name, x_shape,
        weight_name, weight_shape, layout_name(channels_first, 3), stride, padding, dilation, groups, output_padding)


cdef int input_sizes3d(const fc_conv3d *g, bint channels_first, int rank, int64_t *sizes) noexcept:
    put_volume_sizes(g.n, g.d, g.h, g.w, g.c, channels_first, rank, sizes)
    return 0


def conv_transpose3d(object x, object weight, object bias=None, *, object stride=1, object padding=0,
                     object output_padding=0, object dilation=1, object groups=1, object layout="NDHWC",
                     object activation=None, object precision=None, object algorithm="auto", object out=None):
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
    resolve_transposed3d(&g, x_sizes, rank, weight_sizes, "x", "weight", stride, padding, output_padding, dilation,
                         groups, channels_first)
    cdef cnp.ndarray bias_array = to_bias(bias, g.c, &bias_view, &number)
    if bias_array is not None:
        bias_or_none = &bias_view
    check_algorithm3d(&g, FC_BACKWARD_INPUT, number, &options, algorithm)
    input_sizes3d(&g, channels_first, rank, y_sizes)
    cdef cnp.ndarray target = to_result(out, rank, y_sizes, number)
    if out is not None:
        refuse_overlaps(target, x, "x", weight, "weight", bias, "bias")
    cdef cnp.ndarray y = walkable(target)
    view_volumes(x_array, channels_first, &x_view)
    view_filters3d(weight_array, channels_first, &weight_view)
    view_volumes(y, channels_first, &y_view)
    with nogil:
        status = fc_conv_transpose3d(&g, &x_view, &weight_view, bias_or_none, &y_view, &options)
    check(status)
    return deliver(out, target, y)


cdef int check_transposed_grad_y3d(cnp.ndarray grad_y, const fc_conv3d *g, bint channels_first, int rank) except -1:
    cdef int64_t expected[5]
    input_sizes3d(g, channels_first, rank, expected)
    if not has_sizes(grad_y, expected, rank):
        raise errors.wrong_grad_y((<object>grad_y).shape, sizes_tuple(expected, rank))
    return 0


cdef object transposed_backward_input3d(object grad_y, object weight, object x_shape, object stride, object padding,
                                        object output_padding, object dilation, object groups, object layout,
                                        object precision, object algorithm, object out, object x_name):
    """A convolution of grad_y."""
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
    resolve_transposed3d(&g, x_sizes, rank, weight_sizes, x_name, "weight", stride, padding, output_padding, dilation,
                         groups, channels_first)
    check_transposed_grad_y3d(grad_y_array, &g, channels_first, rank)
    cdef int number = result_type(grad_y_array, weight_array)
    check_algorithm3d(&g, FC_FORWARD, number, &options, algorithm)
    cdef cnp.ndarray target = to_result(out, rank, x_sizes, number)
    if out is not None:
        refuse_overlaps(target, grad_y, "grad_y", weight, "weight")
    cdef cnp.ndarray grad_x = walkable(target)
    view_volumes(grad_y_array, channels_first, &grad_y_view)
    view_filters3d(weight_array, channels_first, &weight_view)
    view_volumes(grad_x, channels_first, &grad_x_view)
    with nogil:
        status = fc_conv3d_forward(&g, &grad_y_view, &weight_view, NULL, &grad_x_view, &options)
    check(status)
    return deliver(out, target, grad_x)


def conv_transpose3d_backward_input(object grad_y, object weight, object x_shape, *, object stride=1, object padding=0,
                                    object output_padding=0, object dilation=1, object groups=1, object layout="NDHWC",
                                    object precision=None, object algorithm="auto", object out=None):
    return transposed_backward_input3d(grad_y, weight, x_shape, stride, padding, output_padding, dilation, groups,
                                       layout, precision, algorithm, out, "x_shape")


cdef object transposed_backward_weight3d(object grad_y, object x, object weight_shape, object stride, object padding,
                                         object output_padding, object dilation, object groups, object layout,
                                         object precision, object algorithm, object out, object weight_name):
    """The gradient of a convolution's weights, with x and grad_y in each other's place."""
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
    resolve_transposed3d(&g, x_sizes, rank, weight_sizes, "x", weight_name, stride, padding, output_padding, dilation,
                         groups, channels_first)
    check_transposed_grad_y3d(grad_y_array, &g, channels_first, rank)
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
        status = fc_conv3d_backward_weight(&g, &x_view, &grad_y_view, &grad_weight_view, &options)
    check(status)
    return deliver(out, target, grad_weight)


def conv_transpose3d_backward_weight(object grad_y, object x, object weight_shape, *, object stride=1,
                                     object padding=0, object output_padding=0, object dilation=1, object groups=1,
                                     object layout="NDHWC", object precision=None, object algorithm="auto",
                                     object out=None):
    return transposed_backward_weight3d(grad_y, x, weight_shape, stride, padding, output_padding, dilation, groups,
                                        layout, precision, algorithm, out, "weight_shape")


def conv_transpose3d_gradients(object grad_y, object x, object weight, object stride, object padding,
                               object output_padding, object dilation, object groups, object layout, object precision,
                               object algorithm):
    """The three gradients as a tuple; errors speak of x and weight, not of their shapes."""
    if not isinstance(x, ndarray):
        raise errors.not_an_array("x", x)
    if not isinstance(weight, ndarray):
        raise errors.not_an_array("weight", weight)
    return (
        transposed_backward_input3d(grad_y, weight, x.shape, stride, padding, output_padding, dilation, groups, layout,
                                    precision, algorithm, None, "x"),
        transposed_backward_weight3d(grad_y, x, weight.shape, stride, padding, output_padding, dilation, groups, layout,
                                     precision, algorithm, None, "weight"),
        conv3d_backward_bias(grad_y, layout=layout),
    )


def conv_transpose3d_output_shape(object x_shape, object weight_shape, *, object stride=1, object padding=0,
                                  object output_padding=0, object dilation=1, object groups=1, object layout="NDHWC"):
    cdef fc_conv3d g
    cdef int64_t x_sizes[5]
    cdef int64_t weight_sizes[5]
    cdef int64_t y_sizes[5]
    cdef bint channels_first = to_channels_first(layout, 3)
    cdef int rank = to_shape(x_shape, "x_shape", 4, 5, x_sizes)
    to_shape(weight_shape, "weight_shape", 5, 5, weight_sizes)
    resolve_transposed3d(&g, x_sizes, rank, weight_sizes, "x_shape", "weight_shape", stride, padding, output_padding,
                         dilation, groups, channels_first)
    input_sizes3d(&g, channels_first, rank, y_sizes)
    return sizes_tuple(y_sizes, rank)
