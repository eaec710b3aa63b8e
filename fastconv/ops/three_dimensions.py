# SPDX-License-Identifier: BSD-3-Clause
"""Convolution of volumes (video, scans) and its gradients.

The arguments are those of `conv2d` with three numbers, (depth, vertical, horizontal), where that has two; layouts are
"NDHWC" and "NCDHW" ("NHWC" and "NCHW" are understood). Letters besides those of `fastconv.ops`: D slices, T filter
slices, O output slices.
"""

from typing import NamedTuple

import numpy as np

from fastconv import _core
from fastconv.ops.in_c import in_c


class Conv3dGradients(NamedTuple):
    """Gradients of a loss with respect to the arguments of `conv3d`."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


@in_c
def conv3d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1, layout="NDHWC", activation=None,
           precision=None, algorithm="auto", out=None, padding_mode="constant"):  # fmt: skip
    """Convolve volumes with filters.

    ``y[n,o,p,q,k] = activation(bias[k] + sum over t, r, s, c of x[n, o*stride + t*dilation - pad, ...] *
    weight[t,r,s,c,k])``: a convolution of images whose channels are those of T slices.

    Parameters
    ----------
    x : (N, D, H, W, C) or (D, H, W, C), (N, C, D, H, W) or (C, D, H, W) with ``layout="NCDHW"``
    weight : (T, R, S, C/groups, K), or (K, C/groups, T, R, S)
    bias : (K,) or None
        dtypes as for `conv2d`.
    stride, dilation : int or three
    padding : int; three; three pairs as in `numpy.pad`; "valid", "same" or "same_lower"
    padding_mode : str
        As for `conv2d`.

    Returns
    -------
    y : (N, O, P, Q, K) or (O, P, Q, K); float32, or float64 if any argument is

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `fastconv.ops` says.
    """


@in_c
def conv3d_backward_input(grad_y, weight, x_shape, *, stride=1, padding=0, dilation=1, groups=1, layout="NDHWC",
                          precision=None, algorithm="auto", out=None, padding_mode="constant"):  # fmt: skip
    """Gradient of a loss with respect to the input of `conv3d`, an array of shape x_shape.

    grad_y is (N, O, P, Q, K), the gradient with respect to the output before any activation, float32 or float64.
    """


@in_c
def conv3d_backward_weight(grad_y, x, weight_shape, *, stride=1, padding=0, dilation=1, groups=1, layout="NDHWC",
                           precision=None, algorithm="auto", out=None, padding_mode="constant"):  # fmt: skip
    """Gradient of a loss with respect to the filters of `conv3d`, summed over the batch: weight_shape.

    grad_y is (N, O, P, Q, K), before any activation, and x (N, D, H, W, C). Zeros for N = 0.
    """


def conv3d_backward(grad_y, x, weight, *, stride=1, padding=0, dilation=1, groups=1, layout="NDHWC", precision=None,
                    algorithm="auto", padding_mode="constant"):  # fmt: skip
    """All three gradients of `conv3d`: `Conv3dGradients` (x, weight, bias).

    grad_y is (N, O, P, Q, K), the gradient with respect to the output before any activation; x and weight are what
    `conv3d` was given.
    """
    geometry = (stride, padding, dilation, groups, layout, precision, algorithm, padding_mode)
    return Conv3dGradients(*_core.conv3d_gradients(grad_y, x, weight, *geometry))


@in_c
def conv3d_backward_bias(grad_y, *, layout="NDHWC", out=None):
    """Gradient of a loss with respect to the bias of `conv3d`: the sum of grad_y over all its pixels, (K,)."""


@in_c
def conv3d_output_shape(x_shape, weight_shape, *, stride=1, padding=0, dilation=1, groups=1, layout="NDHWC"):
    """Shape of the result of `conv3d` for these shapes, without any array."""


class ConvTranspose3dGradients(Conv3dGradients):
    """Gradients of a loss with respect to the arguments of `conv_transpose3d`."""

    __slots__ = ()


@in_c
def conv_transpose3d(x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1,
                     layout="NDHWC", activation=None, precision=None, algorithm="auto", out=None):  # fmt: skip
    """Transposed convolution of volumes, ``conv3d_backward_input(x, weight, y_shape, ...)`` with bias and activation.

    Parameters
    ----------
    x : (N, O, P, Q, C); weight : (T, R, S, K/groups, C), (C, K/groups, T, R, S) with "NCDHW"; bias : (K,) or None
    padding, output_padding : as for `conv_transpose2d`, with three numbers

    Returns
    -------
    y : (N, D, H, W, K), D = (O - 1)*stride + dilation*(T - 1) + 1 - pads + output_padding
    """


@in_c
def conv_transpose3d_backward_input(grad_y, weight, x_shape, *, stride=1, padding=0, output_padding=0, dilation=1,
                                    groups=1, layout="NDHWC", precision=None, algorithm="auto",
                                    out=None):  # fmt: skip
    """Gradient of a loss with respect to the input of `conv_transpose3d`: `conv3d` of grad_y, x_shape."""


@in_c
def conv_transpose3d_backward_weight(grad_y, x, weight_shape, *, stride=1, padding=0, output_padding=0, dilation=1,
                                     groups=1, layout="NDHWC", precision=None, algorithm="auto",
                                     out=None):  # fmt: skip
    """Gradient of a loss with respect to the filters of `conv_transpose3d`, summed over the batch: weight_shape."""


def conv_transpose3d_backward(grad_y, x, weight, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1,
                              layout="NDHWC", precision=None, algorithm="auto"):  # fmt: skip
    """All three gradients of `conv_transpose3d`: `ConvTranspose3dGradients` (x, weight, bias).

    grad_y is (N, D, H, W, K), the gradient with respect to the output before any activation; x and weight are what
    `conv_transpose3d` was given.
    """
    geometry = (stride, padding, output_padding, dilation, groups, layout, precision, algorithm)
    return ConvTranspose3dGradients(*_core.conv_transpose3d_gradients(grad_y, x, weight, *geometry))


@in_c
def conv_transpose3d_output_shape(x_shape, weight_shape, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1,
                                  layout="NDHWC"):  # fmt: skip
    """Shape of the result of `conv_transpose3d` for these shapes, without any array."""
