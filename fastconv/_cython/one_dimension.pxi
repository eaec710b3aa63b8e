# SPDX-License-Identifier: BSD-3-Clause
# Convolution of sequences: images of height 1, without a copy.

def conv1d(object x, object weight, object bias=None, *, object stride=1, object padding=0, object dilation=1,
           object groups=1, object layout="NWC", object activation=None, object precision=None,
           object algorithm="auto", object out=None, object padding_mode="constant"):
    if padding_mode is not CONSTANT and padding_mode != "constant":
        return borders.convolve(
            conv1d, conv1d_output_shape, x, weight, bias, padding_mode, geometry_dict(stride, padding, dilation, groups, layout), out,
            activation=activation, precision=precision, algorithm=algorithm)
    return convolve(x, weight, bias, stride, padding, dilation, groups, layout, activation, precision, algorithm, out, 1)


def conv1d_backward_input(object grad_y, object weight, object x_shape, *, object stride=1, object padding=0,
                          object dilation=1, object groups=1, object layout="NWC", object precision=None,
                          object algorithm="auto", object out=None, object padding_mode="constant"):
    if padding_mode is not CONSTANT and padding_mode != "constant":
        return borders.backward_input(
            conv1d_backward_input, conv1d_output_shape, grad_y, weight, x_shape, padding_mode,
            geometry_dict(stride, padding, dilation, groups, layout), out, precision=precision, algorithm=algorithm)
    return backward_input(grad_y, weight, x_shape, stride, padding, dilation, groups, layout, precision, algorithm,
                          out, "x_shape", 1)


def conv1d_backward_weight(object grad_y, object x, object weight_shape, *, object stride=1, object padding=0,
                           object dilation=1, object groups=1, object layout="NWC", object precision=None,
                           object algorithm="auto", object out=None, object padding_mode="constant"):
    if padding_mode is not CONSTANT and padding_mode != "constant":
        return borders.backward_weight(
            conv1d_backward_weight, conv1d_output_shape, grad_y, x, weight_shape, padding_mode,
            geometry_dict(stride, padding, dilation, groups, layout), out, precision=precision, algorithm=algorithm)
    return backward_weight(grad_y, x, weight_shape, stride, padding, dilation, groups, layout, precision, algorithm,
                           out, "weight_shape", 1)


def conv1d_backward_bias(object grad_y, *, object layout="NWC", object out=None):
    return backward_bias_of_images(grad_y, layout, out, 1)


def conv1d_output_shape(object x_shape, object weight_shape, *, object stride=1, object padding=0, object dilation=1,
                        object groups=1, object layout="NWC"):
    return output_shape(x_shape, weight_shape, stride, padding, dilation, groups, layout, 1)


def conv_transpose1d(object x, object weight, object bias=None, *, object stride=1, object padding=0,
                     object output_padding=0, object dilation=1, object groups=1, object layout="NWC",
                     object activation=None, object precision=None, object algorithm="auto", object out=None):
    return transpose(x, weight, bias, stride, padding, output_padding, dilation, groups, layout, activation, precision,
                     algorithm, out, 1)


def conv_transpose1d_backward_input(object grad_y, object weight, object x_shape, *, object stride=1, object padding=0,
                                    object output_padding=0, object dilation=1, object groups=1, object layout="NWC",
                                    object precision=None, object algorithm="auto", object out=None):
    return transposed_backward_input(grad_y, weight, x_shape, stride, padding, output_padding, dilation, groups, layout,
                                     precision, algorithm, out, "x_shape", 1)


def conv_transpose1d_backward_weight(object grad_y, object x, object weight_shape, *, object stride=1, object padding=0,
                                     object output_padding=0, object dilation=1, object groups=1, object layout="NWC",
                                     object precision=None, object algorithm="auto", object out=None):
    return transposed_backward_weight(grad_y, x, weight_shape, stride, padding, output_padding, dilation, groups, layout,
                                      precision, algorithm, out, "weight_shape", 1)


def conv_transpose1d_output_shape(object x_shape, object weight_shape, *, object stride=1, object padding=0,
                                  object output_padding=0, object dilation=1, object groups=1, object layout="NWC"):
    return transposed_output_shape(x_shape, weight_shape, stride, padding, output_padding, dilation, groups, layout, 1)
