# SPDX-License-Identifier: BSD-3-Clause
"""Pooling of sequences: a sequence is an image of height 1.

Layouts are "NWC" and "NCW"; "NHWC" and "NCHW" are understood as channels last and first. Other arguments are those of
the functions for images, with one number where those have two.
"""

import numpy as np

from fastconv import errors
from fastconv.ops import pooling as images
from fastconv.ops.axes import checked_shape, is_channels_first, joined, paddings, per_axis, shape_of


class _Sequences:
    """The call for images that stands for one for sequences."""

    def __init__(self, layout):
        first = is_channels_first(layout, 1)
        self.layout = "NCHW" if first else "NHWC"
        self.height = -2 if first else -3  # the axis that is put in

    def image(self, x, name):
        shape_of(x, name, 1)
        return np.expand_dims(x, self.height)

    def shape(self, shape, name="x_shape"):
        shape = checked_shape(shape, name, 1)
        at = len(shape) + 1 + self.height
        return (*shape[:at], 1, *shape[at:])

    def window(self, kernel_size, stride, padding):
        (kernel,) = per_axis(kernel_size, "kernel_size", 1)
        (step,) = (kernel,) if stride is None else per_axis(stride, "stride", 1)
        return {
            "kernel_size": (1, kernel),
            "stride": (1, step),
            "padding": joined("valid" if padding == "valid" else 0, *paddings(padding, 1))
            if not isinstance(padding, str)
            else padding,
            "layout": self.layout,
        }

    def out(self, out, name="out"):
        """The caller's array as an image; what is none is for the call for images to refuse."""
        return self.image(out, name) if isinstance(out, np.ndarray) else out

    def result(self, y, out=None):
        return out if out is not None else np.squeeze(y, self.height)


def max_pool1d(x, kernel_size, stride=None, *, padding=0, dilation=1, ceil_mode=False, return_indices=False,
               layout="NWC", out=None):  # fmt: skip
    """Maximum of each window of sequences x (N, W, C) or (W, C): `max_pool2d` with a height of 1.

    Returns y (N, Q, C), or (y, indices), where indices are places in the sequence.
    """
    view = _Sequences(layout)
    pair = return_indices is True and isinstance(out, tuple)
    outs = errors.pair_of_results(out) if pair else (out, None)
    given = (
        tuple(view.out(one, name) for one, name in zip(outs, ("out[0]", "out[1]"), strict=True))
        if pair
        else (view.out(out))
    )
    result = images.max_pool2d(
        view.image(x, "x"), **view.window(kernel_size, stride, padding),
        dilation=(1, *per_axis(dilation, "dilation", 1)),
        ceil_mode=ceil_mode, return_indices=return_indices, out=given,
    )  # fmt: skip
    if not return_indices:
        return view.result(result, out)
    return tuple(view.result(*one) for one in zip(result, outs, strict=True))


def max_pool1d_backward(grad_y, indices, x_shape, *, layout="NWC", out=None):
    """Gradient of a loss with respect to the input of `max_pool1d`, an array of shape x_shape."""
    view = _Sequences(layout)
    grad_x = images.max_pool2d_backward(
        view.image(grad_y, "grad_y"), view.image(indices, "indices"), view.shape(x_shape), layout=view.layout,
        out=view.out(out),
    )  # fmt: skip
    return view.result(grad_x, out)


def avg_pool1d(x, kernel_size, stride=None, *, padding=0, ceil_mode=False, count_include_pad=None,
               divisor_override=None, layout="NWC", out=None):  # fmt: skip
    """Mean of each window of sequences x (N, W, C) or (W, C): `avg_pool2d` with a height of 1."""
    view = _Sequences(layout)
    y = images.avg_pool2d(
        view.image(x, "x"), **view.window(kernel_size, stride, padding), ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, divisor_override=divisor_override, out=view.out(out),
    )  # fmt: skip
    return view.result(y, out)


def avg_pool1d_backward(grad_y, x_shape, kernel_size, stride=None, *, padding=0, ceil_mode=False,
                        count_include_pad=None, divisor_override=None, layout="NWC", out=None):  # fmt: skip
    """Gradient of a loss with respect to the input of `avg_pool1d`, an array of shape x_shape."""
    view = _Sequences(layout)
    grad_x = images.avg_pool2d_backward(
        view.image(grad_y, "grad_y"), view.shape(x_shape), **view.window(kernel_size, stride, padding),
        ceil_mode=ceil_mode, count_include_pad=count_include_pad, divisor_override=divisor_override, out=view.out(out),
    )  # fmt: skip
    return view.result(grad_x, out)


def pool1d_output_shape(x_shape, kernel_size, stride=None, *, padding=0, dilation=1, ceil_mode=False, layout="NWC"):
    """Shape of the result of `max_pool1d` or `avg_pool1d` for these sizes, without any array."""
    view = _Sequences(layout)
    shape = images.pool2d_output_shape(
        view.shape(x_shape), **view.window(kernel_size, stride, padding),
        dilation=(1, *per_axis(dilation, "dilation", 1)), ceil_mode=ceil_mode,
    )  # fmt: skip
    at = len(shape) + view.height
    return shape[:at] + shape[at + 1 :]


def global_avg_pool1d(x, *, keepdims=False, layout="NWC"):
    """Mean over the sequence: (N, C), or with keepdims (N, 1, C), (N, C, 1) in NCW."""
    view = _Sequences(layout)
    y = images.global_avg_pool2d(view.image(x, "x"), keepdims=keepdims, layout=view.layout)
    return view.result(y) if keepdims else y


def global_max_pool1d(x, *, keepdims=False, layout="NWC"):
    """Maximum over the sequence: (N, C), or with keepdims (N, 1, C), (N, C, 1) in NCW."""
    view = _Sequences(layout)
    y = images.global_max_pool2d(view.image(x, "x"), keepdims=keepdims, layout=view.layout)
    return view.result(y) if keepdims else y
