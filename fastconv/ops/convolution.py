# SPDX-License-Identifier: BSD-3-Clause
"""Convolution and its gradients; the arguments are explained in `fastconv.ops`."""

from typing import NamedTuple

import numpy as np

from fastconv import _core
from fastconv.ops.in_c import in_c


class Conv2dGradients(NamedTuple):
    """Gradients of a loss with respect to the arguments of `conv2d`."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


@in_c
def conv2d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1, layout="NHWC", activation=None,
           precision=None, algorithm="auto", out=None, padding_mode="constant"):  # fmt: skip
    """Convolve images with filters.

    ``y[n,p,q,k] = activation(bias[k] + sum over r, s, c of x[n, p*stride + r*dilation - pad, ...] * weight[r,s,c,k])``

    Parameters
    ----------
    x : (N, H, W, C) or (H, W, C); weight : (R, S, C/groups, K); bias : (K,) or None
        See the module for NCHW shapes and dtypes.
    groups : int
        Input channels and filters are cut into this many groups, and each group of filters sees its own
        group of channels. ``groups=C`` is a depthwise convolution.
    activation : None, "relu", "leaky_relu" (slope 0.01), "tanh" or "sigmoid"
        Applied to the result before it is stored.

    Returns
    -------
    y : (N, P, Q, K) or (P, Q, K); float32, or float64 if any argument is

    Raises
    ------
    TypeError, ValueError, MemoryError
        As the module says.
    """


@in_c
def conv2d_backward_input(grad_y, weight, x_shape, *, stride=1, padding=0, dilation=1, groups=1, layout="NHWC",
                          precision=None, algorithm="auto", out=None, padding_mode="constant"):  # fmt: skip
    """Gradient of a loss with respect to the input of `conv2d`.

    Parameters
    ----------
    grad_y : (N, P, Q, K) or (P, Q, K)
        Gradient with respect to the output, before any activation. float32 or float64.
    weight : (R, S, C/groups, K)
    x_shape : tuple
        Shape of the input, of as many axes as grad_y.

    Returns
    -------
    grad_x : array of shape x_shape
    """


@in_c
def conv2d_backward_weight(grad_y, x, weight_shape, *, stride=1, padding=0, dilation=1, groups=1, layout="NHWC",
                           precision=None, algorithm="auto", out=None, padding_mode="constant"):  # fmt: skip
    """Gradient of a loss with respect to the filters of `conv2d`, summed over the batch.

    Parameters
    ----------
    grad_y : (N, P, Q, K) or (P, Q, K)
        Gradient with respect to the output, before any activation. float32 or float64.
    x : (N, H, W, C) or (H, W, C)
    weight_shape : tuple
        (R, S, C/groups, K).

    Returns
    -------
    grad_weight : array of shape weight_shape; zeros for N = 0
    """


def conv2d_backward(grad_y, x, weight, *, stride=1, padding=0, dilation=1, groups=1, layout="NHWC", precision=None,
                    algorithm="auto", padding_mode="constant"):  # fmt: skip
    """All three gradients of `conv2d`: `Conv2dGradients` (x, weight, bias).

    grad_y is (N, P, Q, K), the gradient with respect to the output before any activation; x and weight are what
    `conv2d` was given.
    """
    geometry = (stride, padding, dilation, groups, layout, precision, algorithm, padding_mode)
    return Conv2dGradients(*_core.conv_gradients(2, grad_y, x, weight, *geometry))


@in_c
def conv2d_backward_bias(grad_y, *, layout="NHWC", out=None):
    """Gradient of a loss with respect to the bias of `conv2d`: the sum of grad_y (N, P, Q, K) over all pixels, (K,)."""


@in_c
def conv2d_output_shape(x_shape, weight_shape, *, stride=1, padding=0, dilation=1, groups=1, layout="NHWC"):
    """Shape of the result of `conv2d` for these shapes, without any array."""


@in_c
def pack_weights(weight, x_shape=None, *, operation=None, stride=1, padding=0, dilation=1, groups=1, layout="NHWC",
                 precision=None, algorithm="auto", output_padding=0):  # fmt: skip
    """Bring weights that many calls will use into the order in which the kernels read them.

    ``packed = fc.pack_weights(weight, x.shape, padding=1)``, then ``fc.conv2d(x, packed, padding=1)``: the same bits as
    with the array, without the work that every call would repeat. It pays where few pixels meet many weights: small
    batches of small images, dense layers of 4 to 100 rows.

    Parameters
    ----------
    weight : (R, S, C/groups, K), or (C, K) for a dense layer
        Is copied: what happens to it later does not matter.
    x_shape : tuple
        Shape of an image or a batch; not for dense layers. With the geometry it decides which algorithm is asked
        whether it needs panels.
    operation : str
        "conv2d", "conv2d_backward_input", "conv_transpose2d", "linear" or "linear_backward_input", or with 1d in the
        place of 2d; None: "conv2d", for (C, K) "linear".
    output_padding : int or pair
        As "conv_transpose2d" has it.

    Returns
    -------
    PackedWeights
        For calls of this operation with this layout, these groups and results of the weight's dtype; the gradient of
        the input and the transposed convolution also with this stride and, above 1, this dilation and padding. Other
        calls raise ValueError. Batch, image size, threads and all else may differ. Under another instruction set it is
        read as an array.
    """
