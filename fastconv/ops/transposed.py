# SPDX-License-Identifier: BSD-3-Clause
"""Transposed convolution of images and sequences; the arguments are explained in `fastconv.ops`."""

from fastconv import _core
from fastconv.ops.convolution import Conv2dGradients
from fastconv.ops.in_c import in_c


class ConvTranspose2dGradients(Conv2dGradients):
    """Gradients of a loss with respect to the arguments of `conv_transpose2d`."""

    __slots__ = ()


class ConvTranspose1dGradients(Conv2dGradients):
    """Gradients of a loss with respect to the arguments of `conv_transpose1d`."""

    __slots__ = ()


@in_c
def conv_transpose2d(x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1,
                     layout="NHWC", activation=None, precision=None, algorithm="auto", out=None):  # fmt: skip
    """Transposed convolution: every pixel of x adds its multiple of the filters to the result.

    The exact transpose of `conv2d` with the same weight array, that is
    ``conv2d_backward_input(x, weight, y_shape, ...)``, with a bias and an activation
    (Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning", chapter 4):

    ``y[n, p*stride + r*dilation - pad, ..., k] += x[n,p,q,c] * weight[r,s,k,c]``, then ``activation(y + bias)``

    Parameters
    ----------
    x : (N, P, Q, C) or (P, Q, C); weight : (R, S, K/groups, C), (C, K/groups, R, S) with "NCHW"; bias : (K,) or None
        dtypes as for `conv2d`.
    padding : as for `conv2d`
        Is taken away from the result. "same" gives ``stride`` times the size of x and needs a (dilated) kernel of at
        least the stride.
    output_padding : int, or (vertical, horizontal)
        Pixels more at the bottom and the right: of the image sizes that a strided `conv2d` brings to that of x, which
        one. Smaller than stride or dilation.

    Returns
    -------
    y : (N, H, W, K) or (H, W, K), H = (P - 1)*stride + dilation*(R - 1) + 1 - pads + output_padding

    Raises
    ------
    TypeError, ValueError, MemoryError
        As the module says.
    """


@in_c
def conv_transpose2d_backward_input(grad_y, weight, x_shape, *, stride=1, padding=0, output_padding=0, dilation=1,
                                    groups=1, layout="NHWC", precision=None, algorithm="auto",
                                    out=None):  # fmt: skip
    """Gradient of a loss with respect to the input of `conv_transpose2d`: `conv2d` of grad_y (N, H, W, K), x_shape."""


@in_c
def conv_transpose2d_backward_weight(grad_y, x, weight_shape, *, stride=1, padding=0, output_padding=0, dilation=1,
                                     groups=1, layout="NHWC", precision=None, algorithm="auto",
                                     out=None):  # fmt: skip
    """Gradient of a loss with respect to the filters of `conv_transpose2d`, summed over the batch.

    `conv2d_backward_weight` with grad_y (N, H, W, K) and x (N, P, Q, C) in each other's place: an array of shape
    weight_shape, (R, S, K/groups, C); zeros for N = 0.
    """


def conv_transpose2d_backward(grad_y, x, weight, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1,
                              layout="NHWC", precision=None, algorithm="auto"):  # fmt: skip
    """All three gradients of `conv_transpose2d`: `ConvTranspose2dGradients` (x, weight, bias).

    grad_y is (N, H, W, K), the gradient with respect to the output before any activation; x and weight are what
    `conv_transpose2d` was given.
    """
    geometry = (stride, padding, output_padding, dilation, groups, layout, precision, algorithm)
    return ConvTranspose2dGradients(*_core.conv_transpose_gradients(2, grad_y, x, weight, *geometry))


@in_c
def conv_transpose2d_output_shape(x_shape, weight_shape, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1,
                                  layout="NHWC"):  # fmt: skip
    """Shape of the result of `conv_transpose2d` for these shapes, without any array."""


@in_c
def conv_transpose1d(x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1, layout="NWC",
                     activation=None, precision=None, algorithm="auto", out=None):  # fmt: skip
    """Transposed convolution of sequences: `conv_transpose2d` with a height of 1.

    x is (N, Q, C) or (Q, C), weight (S, K/groups, C), y (N, W, K) or (W, K); with ``layout="NCW"`` (N, C, Q),
    (C, K/groups, S) and (N, K, W). Geometry as for `conv1d`, without "causal".
    """


@in_c
def conv_transpose1d_backward_input(grad_y, weight, x_shape, *, stride=1, padding=0, output_padding=0, dilation=1,
                                    groups=1, layout="NWC", precision=None, algorithm="auto",
                                    out=None):  # fmt: skip
    """Gradient of a loss with respect to the input of `conv_transpose1d`: `conv1d` of grad_y (N, W, K), x_shape."""


@in_c
def conv_transpose1d_backward_weight(grad_y, x, weight_shape, *, stride=1, padding=0, output_padding=0, dilation=1,
                                     groups=1, layout="NWC", precision=None, algorithm="auto",
                                     out=None):  # fmt: skip
    """Gradient of a loss with respect to the filters of `conv_transpose1d`, summed over the batch: weight_shape."""


def conv_transpose1d_backward(grad_y, x, weight, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1,
                              layout="NWC", precision=None, algorithm="auto"):  # fmt: skip
    """All three gradients of `conv_transpose1d`: `ConvTranspose1dGradients` (x, weight, bias)."""
    geometry = (stride, padding, output_padding, dilation, groups, layout, precision, algorithm)
    return ConvTranspose1dGradients(*_core.conv_transpose_gradients(1, grad_y, x, weight, *geometry))


@in_c
def conv_transpose1d_output_shape(x_shape, weight_shape, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1,
                                  layout="NWC"):  # fmt: skip
    """Shape of the result of `conv_transpose1d` for these shapes, without any array."""
