# SPDX-License-Identifier: BSD-3-Clause
"""Convolution of sequences; the arguments that are not explained here are in `fastconv.ops`."""

from fastconv import _core
from fastconv.ops.convolution import Conv2dGradients
from fastconv.ops.in_c import in_c


class Conv1dGradients(Conv2dGradients):
    """Gradients of a loss with respect to the arguments of `conv1d`."""

    __slots__ = ()


@in_c
def conv1d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1, layout="NWC", activation=None,
           precision=None, algorithm="auto", out=None, padding_mode="constant"):  # fmt: skip
    """Convolve sequences with filters: `conv2d` with a height of 1, without a copy.

    ``y[n,q,k] = activation(bias[k] + sum over s, c of x[n, q*stride + s*dilation - pad, c] * weight[s,c,k])``

    Parameters
    ----------
    x : (N, W, C) or (W, C); weight : (S, C/groups, K); bias : (K,) or None
        With ``layout="NCW"`` (N, C, W) and (K, C/groups, S).
    stride, dilation : int, or a sequence of one
    padding : int; (left and right,); ((left, right),); "valid", "same", "same_lower"
        "causal" puts ``dilation*(S - 1)`` zeros on the left: no result sees what comes after its place.
    layout : "NWC" or "NCW"
        "NHWC" and "NCHW" are understood as channels last and first.

    Returns
    -------
    y : (N, Q, K) or (Q, K); float32, or float64 if any argument is

    Raises
    ------
    TypeError, ValueError, MemoryError
        As the module `fastconv.ops` says.
    """


@in_c
def conv1d_backward_input(grad_y, weight, x_shape, *, stride=1, padding=0, dilation=1, groups=1, layout="NWC",
                          precision=None, algorithm="auto", out=None, padding_mode="constant"):  # fmt: skip
    """Gradient of a loss with respect to the input of `conv1d`: from grad_y (N, Q, K) an array of shape x_shape."""


@in_c
def conv1d_backward_weight(grad_y, x, weight_shape, *, stride=1, padding=0, dilation=1, groups=1, layout="NWC",
                           precision=None, algorithm="auto", out=None, padding_mode="constant"):  # fmt: skip
    """Gradient of a loss with respect to the filters of `conv1d`, summed over the batch: (S, C/groups, K)."""


def conv1d_backward(grad_y, x, weight, *, stride=1, padding=0, dilation=1, groups=1, layout="NWC", precision=None,
                    algorithm="auto", padding_mode="constant"):  # fmt: skip
    """All three gradients of `conv1d`: `Conv1dGradients` (x, weight, bias).

    grad_y is (N, Q, K), the gradient with respect to the output before any activation; x and weight are what `conv1d`
    was given.
    """
    geometry = (stride, padding, dilation, groups, layout, precision, algorithm, padding_mode)
    return Conv1dGradients(*_core.conv_gradients(1, grad_y, x, weight, *geometry))


@in_c
def conv1d_backward_bias(grad_y, *, layout="NWC", out=None):
    """Gradient of a loss with respect to the bias of `conv1d`: the sum of grad_y (N, Q, K) over all places, (K,)."""


@in_c
def conv1d_output_shape(x_shape, weight_shape, *, stride=1, padding=0, dilation=1, groups=1, layout="NWC"):
    """Shape of the result of `conv1d` for these shapes, without any array."""
