# SPDX-License-Identifier: BSD-3-Clause
"""Convolution, pooling and dense layers, forward and backward, on NumPy arrays.

Letters: N images, H x W input pixels, C input channels, K filters (output channels), R x S filter height
and width, P x Q output pixels. "Convolution" is cross-correlation: the filter is not flipped, as in
PyTorch, Keras and ONNX.

Arguments that the functions share
    x : array (N, H, W, C), or (N, C, H, W) with ``layout="NCHW"``. An array without the batch axis is one
        image, and the result has no batch axis either. float32 or float64; uint8, int8, int16 and float16
        images are converted while they are read. Any strides.
    weight : array (R, S, C/groups, K), or (K, C/groups, R, S) with ``layout="NCHW"``; float32 or float64. `conv2d`,
        `linear` and their gradients of the input also take what `pack_weights` has made of it.
    stride, dilation : int, or (vertical, horizontal).
    padding : int; (vertical, horizontal); ((top, bottom), (left, right)) as in `numpy.pad`; "valid" (none);
        "same" (output = ceil(input / stride), an odd pixel at the bottom or right, as in TensorFlow and
        ONNX SAME_UPPER); "same_lower" (an odd pixel at the top or left).
    layout : "NHWC" or "NCHW", for images and filters alike.
    precision : None (what `set_precision` says), "strict", "high" or "medium". Below "strict", 3x3 float32
        layers of stride 1 with at least 16 channels and filters use Winograd's algorithm.
    algorithm : "auto", "direct", "winograd" (3x3, stride and dilation 1; relative error about 1e-6), or
        "reference" (the definition as loops; slow). One that is named wins over the precision.
    out : array to write the result to, of the result's shape and dtype, with any strides. It may share no
        memory with an input.

The output has ``floor((size + pads - dilation*(kernel - 1) - 1) / stride) + 1`` pixels along each axis.
float32 and float64 mixed give float64.

Errors: TypeError for a wrong type or dtype, ValueError for a wrong value or shape, MemoryError when memory
cannot be had; nothing has been written then. The bits of a result do not depend on the number of threads, on
the other images of the batch, on strides or on ``out``.
"""

from typing import NamedTuple

import numpy as np

from fastconv import _core


def _in_c(described):
    """The function of this name in the extension module, with this documentation. A Python function before it would
    cost as much as the rest of a small call; a test compares the signatures."""
    function = getattr(_core, described.__name__)
    function.__doc__ = described.__doc__
    function.__module__ = described.__module__
    return function


class Conv2dGradients(NamedTuple):
    """Gradients of a loss with respect to the arguments of `conv2d`."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


class LinearGradients(NamedTuple):
    """Gradients of a loss with respect to the arguments of `linear`."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


# ---------------------------------------------------------------- convolution


@_in_c
def conv2d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1, layout="NHWC", activation=None,
           precision=None, algorithm="auto", out=None):  # fmt: skip
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


@_in_c
def conv2d_backward_input(grad_y, weight, x_shape, *, stride=1, padding=0, dilation=1, groups=1, layout="NHWC",
                          precision=None, algorithm="auto", out=None):  # fmt: skip
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


@_in_c
def conv2d_backward_weight(grad_y, x, weight_shape, *, stride=1, padding=0, dilation=1, groups=1, layout="NHWC",
                           precision=None, algorithm="auto", out=None):  # fmt: skip
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
                    algorithm="auto"):  # fmt: skip
    """All three gradients of `conv2d`: `Conv2dGradients` (x, weight, bias).

    grad_y is (N, P, Q, K), the gradient with respect to the output before any activation; x and weight are what
    `conv2d` was given.
    """
    geometry = (stride, padding, dilation, groups, layout, precision, algorithm)
    return Conv2dGradients(*_core.conv2d_gradients(grad_y, x, weight, *geometry))


@_in_c
def conv2d_backward_bias(grad_y, *, layout="NHWC", out=None):
    """Gradient of a loss with respect to the bias of `conv2d`: the sum of grad_y (N, P, Q, K) over all pixels, (K,)."""


@_in_c
def conv2d_output_shape(x_shape, weight_shape, *, stride=1, padding=0, dilation=1, groups=1, layout="NHWC"):
    """Shape of the result of `conv2d` for these shapes, without any array."""


@_in_c
def pack_weights(weight, x_shape=None, *, operation=None, stride=1, padding=0, dilation=1, groups=1, layout="NHWC",
                 precision=None, algorithm="auto"):  # fmt: skip
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
        "conv2d", "conv2d_backward_input", "linear" or "linear_backward_input"; None: "conv2d", for (C, K) "linear".

    Returns
    -------
    PackedWeights
        For calls of this operation with this layout, these groups and results of the weight's dtype; the gradient of
        the input also with this stride and, above 1, this dilation and padding. Other calls raise ValueError. Batch,
        image size, threads and all else may differ. Under another instruction set it is read as an array.
    """


# ---------------------------------------------------------------- pooling


@_in_c
def max_pool2d(x, kernel_size, stride=None, *, padding=0, dilation=1, ceil_mode=False, return_indices=False,
               layout="NHWC", out=None):  # fmt: skip
    """Maximum of each window of each channel.

    Parameters
    ----------
    x : (N, H, W, C) or (H, W, C)
        Any real dtype; integers keep theirs.
    kernel_size, stride : int or (vertical, horizontal)
        The window and its step; ``stride=None`` means kernel_size.
    padding
        Borders count as minus infinity. Every window must cover at least one pixel of the image.
    ceil_mode : bool
        Round the output size up, as PyTorch does: a last window must start inside the image or the padding before it.
    return_indices : bool
        Return also where each maximum was.
    out : array, or with return_indices a pair (y, indices) of which either may be None

    Returns
    -------
    y : (N, P, Q, C), or (y, indices)
        A NaN in the window wins (the first of several); of equal values the first in row-major order. indices are
        int64, ``h*W + w`` in the image.
    """


@_in_c
def max_pool2d_backward(grad_y, indices, x_shape, *, layout="NHWC", out=None):
    """Gradient of a loss with respect to the input of `max_pool2d`: each grad_y goes to the pixel that won.

    Parameters
    ----------
    grad_y, indices : (N, P, Q, C)
        indices as `max_pool2d` returned them (int64); all are checked before anything is written.
    x_shape : tuple

    Returns
    -------
    grad_x : array of shape x_shape
    """


@_in_c
def avg_pool2d(x, kernel_size, stride=None, *, padding=0, ceil_mode=False, count_include_pad=None,
               divisor_override=None, layout="NHWC", out=None):  # fmt: skip
    """Mean of each window of each channel.

    Parameters
    ----------
    x : (N, H, W, C) or (H, W, C)
        uint8, int8, int16 and float16 give float32.
    count_include_pad : bool or None
        Whether padding counts in the divisor. None: yes for numbers (PyTorch), no for "same" (Keras). Positions that
        only ceil_mode added never count.
    divisor_override : int or None
        Divide by this instead.

    Returns
    -------
    y : (N, P, Q, C)
    """


@_in_c
def avg_pool2d_backward(grad_y, x_shape, kernel_size, stride=None, *, padding=0, ceil_mode=False,
                        count_include_pad=None, divisor_override=None, layout="NHWC", out=None):  # fmt: skip
    """Gradient of a loss with respect to the input of `avg_pool2d`.

    grad_y is (N, P, Q, C), each shared among the pixels of its window; the result has shape x_shape.
    """


@_in_c
def pool2d_output_shape(x_shape, kernel_size, stride=None, *, padding=0, dilation=1, ceil_mode=False, layout="NHWC"):
    """Shape of the result of `max_pool2d` or `avg_pool2d` for these sizes, without any array."""


@_in_c
def global_avg_pool2d(x, *, keepdims=False, layout="NHWC"):
    """Mean over all pixels: (N, C), or with keepdims (N, 1, 1, C), (N, C, 1, 1) in NCHW."""


@_in_c
def global_max_pool2d(x, *, keepdims=False, layout="NHWC"):
    """Maximum over all pixels: (N, C), or with keepdims (N, 1, 1, C), (N, C, 1, 1) in NCHW."""


# ---------------------------------------------------------------- dense layers


@_in_c
def linear(x, weight, bias=None, *, activation=None, precision=None, out=None):
    """Dense layer: ``activation(x @ weight + bias)``, a 1x1 convolution of images of one pixel.

    Parameters
    ----------
    x : (..., C); weight : (C, K); bias : (K,) or None
        dtypes as for `conv2d`.

    Returns
    -------
    y : (..., K). The bits of a row do not depend on the other rows.
    """


def linear_backward(grad_y, x, weight, *, precision=None):
    """All three gradients of `linear`: `LinearGradients` (x, weight, bias).

    grad_y is (..., K), the gradient with respect to the output before any activation; x (..., C) and weight (C, K) are
    what `linear` was given.
    """
    return LinearGradients(
        linear_backward_input(grad_y, weight, precision=precision),
        linear_backward_weight(grad_y, x, precision=precision),
        linear_backward_bias(grad_y),
    )


@_in_c
def linear_backward_input(grad_y, weight, *, precision=None, out=None):
    """Gradient of a loss with respect to the input of `linear`: grad_y (..., K) @ weight.T, shape (..., C)."""


@_in_c
def linear_backward_weight(grad_y, x, *, precision=None, out=None):
    """Gradient of a loss with respect to the weight of `linear`: x.T @ grad_y over all rows, shape (C, K)."""


@_in_c
def linear_backward_bias(grad_y, *, out=None):
    """Gradient of a loss with respect to the bias of `linear`: the sum of grad_y (..., K) over its rows, (K,)."""
