# SPDX-License-Identifier: BSD-3-Clause
"""Pooling and its gradients; the arguments are explained in `fastconv.ops`."""

from fastconv.ops.in_c import in_c


@in_c
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


@in_c
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


@in_c
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


@in_c
def avg_pool2d_backward(grad_y, x_shape, kernel_size, stride=None, *, padding=0, ceil_mode=False,
                        count_include_pad=None, divisor_override=None, layout="NHWC", out=None):  # fmt: skip
    """Gradient of a loss with respect to the input of `avg_pool2d`.

    grad_y is (N, P, Q, C), each shared among the pixels of its window; the result has shape x_shape.
    """


@in_c
def pool2d_output_shape(x_shape, kernel_size, stride=None, *, padding=0, dilation=1, ceil_mode=False, layout="NHWC"):
    """Shape of the result of `max_pool2d` or `avg_pool2d` for these sizes, without any array."""


@in_c
def global_avg_pool2d(x, *, keepdims=False, layout="NHWC"):
    """Mean over all pixels: (N, C), or with keepdims (N, 1, 1, C), (N, C, 1, 1) in NCHW."""


@in_c
def global_max_pool2d(x, *, keepdims=False, layout="NHWC"):
    """Maximum over all pixels: (N, C), or with keepdims (N, 1, 1, C), (N, C, 1, 1) in NCHW."""
