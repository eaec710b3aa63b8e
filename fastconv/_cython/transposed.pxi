# SPDX-License-Identifier: BSD-3-Clause
# Transposed convolution and its gradients. `g` is the convolution that is transposed: x has its outputs, y its inputs.

cdef fc_status conv_transpose2d_resolve_nogil(fc_conv2d *g, fc_padding mode, int64_t output_padding_h,
                                              int64_t output_padding_w) noexcept nogil:
    return fc_conv_transpose2d_resolve(g, mode, output_padding_h, output_padding_w)

cdef fc_status conv_transpose2d_nogil(const fc_conv2d *g, const fc_array *x, const fc_array *weight,
                                      const fc_array *bias, const fc_array *y,
                                      const fc_options *options) noexcept nogil:
    return fc_conv_transpose2d(g, x, weight, bias, y, options)


cdef int resolve_transposed(fc_conv2d *g, const int64_t *x_sizes, int rank, const int64_t *weight_sizes, object x_name,
                            object weight_name, object stride, object padding, object output_padding, object dilation,
                            object groups, bint channels_first, int axes) except -1:
    """Fill in and check the geometry; every error of sizes is raised here."""
    cdef fc_padding mode
    cdef fc_status status
    cdef int64_t filters, channels, extra_h = 0, extra_w = 0
    image_sizes(x_sizes, channels_first, rank, &g.n, &g.p, &g.q, &g.k)
    filter_sizes(weight_sizes, channels_first, &g.r, &g.s, &filters, &channels)
    if axes == 2:
        to_pair(output_padding, "output_padding", &extra_h, &extra_w)
    else:
        to_single(output_padding, "output_padding", &extra_w)
        if isinstance(padding, str) and padding == "causal":
            raise errors.unknown_name("padding", padding, ("valid", "same", "same_lower"))
    mode = to_steps(g, stride, padding, dilation, groups, axes)
    if g.groups > 0 and filters > INT64_MAX // g.groups:
        raise errors.too_large("groups", groups)
    g.c = filters * g.groups
    status = fc_conv_transpose2d_resolve(g, mode, extra_h, extra_w)
    if (status == FC_OK or status == FC_BAD_GROUPS) and channels != g.k:
        raise errors.transposed_mismatch(x_name, image_tuple(x_sizes, rank, channels_first, axes), weight_name,
                                         filter_tuple(weight_sizes, channels_first, axes),
                                         layout_name(channels_first, axes))
    if status != FC_OK:
        raise errors.bad_convolution(
            fc_status_text(status).decode() if status != FC_EMPTY_OUTPUT else errors.CROPPED_AWAY, x_name,
            image_tuple(x_sizes, rank, channels_first, axes), weight_name,
            filter_tuple(weight_sizes, channels_first, axes), layout_name(channels_first, axes), stride, padding,
            dilation, groups, output_padding)
    return 0


cdef int run_transposed(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                        const fc_array *y, const fc_options *options) except -1:
    cdef fc_status status
    if is_small(g):
        status = fc_conv_transpose2d(g, x, weight, bias, y, options)
    else:
        with nogil:
            status = fc_conv_transpose2d(g, x, weight, bias, y, options)
    return check(status)


cdef object transpose(object x, object weight, object bias, object stride, object padding, object output_padding,
                      object dilation, object groups, object layout, object activation, object precision,
                      object algorithm, object out, int axes):
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
    resolve_transposed(&g, x_sizes, rank, weight_sizes, "x", "weight", stride, padding, output_padding, dilation,
                       groups, channels_first, axes)
    cdef cnp.ndarray bias_array = to_bias(bias, g.c, &bias_view, &number)
    check_algorithm(&g, FC_BACKWARD_INPUT, number, &options, algorithm)
    attach(weight, FC_BACKWARD_INPUT, channels_first, &g, number, &packed)
    put_image_sizes(y_sizes, channels_first, rank, g.n, g.h, g.w, g.c)
    cdef cnp.ndarray target = to_image_result(out, rank, y_sizes, number, channels_first, axes)
    if out is not None:
        refuse_overlaps(target, x, "x", plain(weight), "weight", bias, "bias")
    cdef cnp.ndarray y = walkable(target)
    view_image(x_array, channels_first, &x_view, axes)
    view_filters(weight_array, channels_first, &weight_view, axes)
    weight_view.packed = packed
    view_image(y, channels_first, &y_view, axes)
    run_transposed(&g, &x_view, &weight_view, NULL if bias_array is None else &bias_view, &y_view, &options)
    return deliver(out, target, y)


def conv_transpose2d(object x, object weight, object bias=None, *, object stride=1, object padding=0,
                     object output_padding=0, object dilation=1, object groups=1, object layout="NHWC",
                     object activation=None, object precision=None, object algorithm="auto", object out=None):
    return transpose(x, weight, bias, stride, padding, output_padding, dilation, groups, layout, activation, precision,
                     algorithm, out, 2)


cdef int check_transposed_grad_y(cnp.ndarray grad_y, const fc_conv2d *g, bint channels_first, int rank,
                                 int axes) except -1:
    cdef int64_t expected[4]
    put_image_sizes(expected, channels_first, rank, g.n, g.h, g.w, g.c)
    return refuse_other_grad_y(grad_y, expected, rank, channels_first, axes)


cdef object transposed_backward_input(object grad_y, object weight, object x_shape, object stride, object padding,
                                      object output_padding, object dilation, object groups, object layout,
                                      object precision, object algorithm, object out, object x_name, int axes):
    """A convolution of grad_y."""
    cdef fc_conv2d g
    cdef fc_options options
    cdef fc_array grad_y_view, weight_view, grad_x_view
    cdef int64_t x_sizes[4]
    cdef int64_t weight_sizes[4]
    cdef const void *packed
    cdef cnp.ndarray grad_y_array = to_array(grad_y, "grad_y", False)
    cdef cnp.ndarray weight_array = to_array(plain(weight), "weight", False)
    cdef bint channels_first = to_channels_first(layout, axes)
    cdef int rank = image_shape_sizes(x_shape, x_name, channels_first, axes, x_sizes)
    filter_array_sizes(weight_array, channels_first, axes, weight_sizes)
    to_options(&options, None, algorithm, precision)
    resolve_transposed(&g, x_sizes, rank, weight_sizes, x_name, "weight", stride, padding, output_padding, dilation,
                       groups, channels_first, axes)
    check_transposed_grad_y(grad_y_array, &g, channels_first, rank, axes)
    cdef int number = result_type(grad_y_array, weight_array)
    check_algorithm(&g, FC_FORWARD, number, &options, algorithm)
    attach(weight, FC_FORWARD, channels_first, &g, number, &packed)
    cdef cnp.ndarray target = to_image_result(out, rank, x_sizes, number, channels_first, axes)
    if out is not None:
        refuse_overlaps(target, grad_y, "grad_y", plain(weight), "weight")
    cdef cnp.ndarray grad_x = walkable(target)
    view_image(grad_y_array, channels_first, &grad_y_view, axes)
    view_filters(weight_array, channels_first, &weight_view, axes)
    weight_view.packed = packed
    view_image(grad_x, channels_first, &grad_x_view, axes)
    run_forward(&g, &grad_y_view, &weight_view, NULL, &grad_x_view, &options)
    return deliver(out, target, grad_x)


def conv_transpose2d_backward_input(object grad_y, object weight, object x_shape, *, object stride=1, object padding=0,
                                    object output_padding=0, object dilation=1, object groups=1, object layout="NHWC",
                                    object precision=None, object algorithm="auto", object out=None):
    return transposed_backward_input(grad_y, weight, x_shape, stride, padding, output_padding, dilation, groups, layout,
                                     precision, algorithm, out, "x_shape", 2)


cdef object transposed_backward_weight(object grad_y, object x, object weight_shape, object stride, object padding,
                                       object output_padding, object dilation, object groups, object layout,
                                       object precision, object algorithm, object out, object weight_name, int axes):
    """The gradient of a convolution's weights, with x and grad_y in each other's place."""
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
    resolve_transposed(&g, x_sizes, rank, weight_sizes, "x", weight_name, stride, padding, output_padding, dilation,
                       groups, channels_first, axes)
    check_transposed_grad_y(grad_y_array, &g, channels_first, rank, axes)
    cdef int number = result_type(grad_y_array, x_array)
    check_algorithm(&g, FC_BACKWARD_WEIGHT, number, &options, algorithm)
    cdef cnp.ndarray target = to_filter_result(out, weight_sizes, number, channels_first, axes)
    if out is not None:
        refuse_overlaps(target, grad_y, "grad_y", x, "x")
    cdef cnp.ndarray grad_weight = walkable(target)
    view_image(grad_y_array, channels_first, &grad_y_view, axes)
    view_image(x_array, channels_first, &x_view, axes)
    view_filters(grad_weight, channels_first, &grad_weight_view, axes)
    run_backward_weight(&g, &x_view, &grad_y_view, &grad_weight_view, &options)
    return deliver(out, target, grad_weight)


def conv_transpose2d_backward_weight(object grad_y, object x, object weight_shape, *, object stride=1, object padding=0,
                                     object output_padding=0, object dilation=1, object groups=1, object layout="NHWC",
                                     object precision=None, object algorithm="auto", object out=None):
    return transposed_backward_weight(grad_y, x, weight_shape, stride, padding, output_padding, dilation, groups, layout,
                                      precision, algorithm, out, "weight_shape", 2)


def conv_transpose_gradients(int axes, object grad_y, object x, object weight, object stride, object padding,
                             object output_padding, object dilation, object groups, object layout, object precision,
                             object algorithm):
    """The three gradients as a tuple; errors speak of x and weight, not of their shapes."""
    if not isinstance(x, ndarray):
        raise errors.not_an_array("x", x)
    if not isinstance(weight, ndarray):
        raise errors.not_an_array("weight", weight)
    return (
        transposed_backward_input(grad_y, weight, x.shape, stride, padding, output_padding, dilation, groups, layout,
                                  precision, algorithm, None, "x", axes),
        transposed_backward_weight(grad_y, x, weight.shape, stride, padding, output_padding, dilation, groups, layout,
                                   precision, algorithm, None, "weight", axes),
        backward_bias_of_images(grad_y, layout, None, axes),
    )


cdef object transposed_output_shape(object x_shape, object weight_shape, object stride, object padding,
                                    object output_padding, object dilation, object groups, object layout, int axes):
    cdef fc_conv2d g
    cdef int64_t x_sizes[4]
    cdef int64_t weight_sizes[4]
    cdef int64_t y_sizes[4]
    cdef bint channels_first = to_channels_first(layout, axes)
    cdef int rank = image_shape_sizes(x_shape, "x_shape", channels_first, axes, x_sizes)
    filter_shape_sizes(weight_shape, "weight_shape", channels_first, axes, weight_sizes)
    resolve_transposed(&g, x_sizes, rank, weight_sizes, "x_shape", "weight_shape", stride, padding, output_padding,
                       dilation, groups, channels_first, axes)
    put_image_sizes(y_sizes, channels_first, rank, g.n, g.h, g.w, g.c)
    return image_tuple(y_sizes, rank, channels_first, axes)


def conv_transpose2d_output_shape(object x_shape, object weight_shape, *, object stride=1, object padding=0,
                                  object output_padding=0, object dilation=1, object groups=1, object layout="NHWC"):
    return transposed_output_shape(x_shape, weight_shape, stride, padding, output_padding, dilation, groups, layout, 2)
