# SPDX-License-Identifier: BSD-3-Clause
"""Convolution as a matrix product, for teaching and for other projects: the windows of an image as rows or columns."""

import numpy as np

from fastconv import _core, borders, errors


def im2col(x, kernel_size, *, stride=1, padding=0, dilation=1, layout="NHWC"):
    """All windows of the images: a read-only view of x, in which pixels appear as often as windows see them.

    With padding (also by "same", where it adds any) it is a view of a copy of x with its border.

    ``im2col(x, (R, S)).reshape(N*P*Q, R*S*C) @ weight.reshape(R*S*C, K)`` is `conv2d` for one group; the reshape makes
    the matrix, R*S times as large as x where the stride is 1. With ``layout="NCHW"`` it is
    ``weight.reshape(K, C*R*S) @ im2col(x, (R, S), layout="NCHW").reshape(N, C*R*S, P*Q)``.

    Parameters
    ----------
    x : (N, H, W, C) or (H, W, C), of any dtype
    kernel_size : int, or (R, S)
    stride, padding, dilation, layout
        As for `conv2d`.

    Returns
    -------
    windows : (N, P, Q, R, S, C), or (N, C, R, S, P, Q) with "NCHW"; without N for one image
    """
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise errors.not_an_array("x", x)
    plan = _Windows(x.shape, "x", kernel_size, stride, padding, dilation, layout)
    return plan.of(x if plan.border.shape == x.shape else plan.border.put(x))


def col2im(windows, x_shape, kernel_size, *, stride=1, padding=0, dilation=1, layout="NHWC"):
    """The transpose of `im2col`: every pixel of an image of x_shape becomes the sum of its appearances in the windows.

    Applied to ``grad_y.reshape(N*P*Q, K) @ weight.reshape(R*S*C, K).T``, in the shape of the windows, it gives
    `conv2d_backward_input`.
    """
    if not isinstance(windows, np.ndarray) or isinstance(windows, np.ma.MaskedArray):
        raise errors.not_an_array("windows", windows)
    if not isinstance(x_shape, (tuple, list)):
        raise errors.not_a_shape("x_shape", x_shape)
    plan = _Windows(tuple(x_shape), "x_shape", kernel_size, stride, padding, dilation, layout)
    if windows.shape != plan.shape:
        raise ValueError(
            f"windows has shape {windows.shape}, but those of images {plan.border.inner_shape} have {plan.shape}"
        )
    padded = np.zeros(plan.border.shape, windows.dtype)
    for tap in np.ndindex(*plan.kernel):
        plan.seen_by(padded, tap)[...] += plan.at_tap(windows, tap)
    return plan.border.fold(padded)


class _Windows:
    """Where the windows of images lie."""

    def __init__(self, shape, name, kernel_size, stride, padding, dilation, layout):
        if len(shape) not in (3, 4):
            raise errors.wrong_rank(name, shape, 3, 4)
        kernel = borders.each(kernel_size, 2)
        self.last = not (isinstance(layout, str) and layout == "NCHW")
        channels = shape[-1] if self.last else shape[-3]
        weight_shape = (*kernel, channels, 1) if self.last else (1, channels, *kernel)
        geometry = {"stride": stride, "padding": padding, "dilation": dilation, "layout": layout}
        self.border = borders.border_of(_core.conv2d_output_shape, shape, weight_shape, "constant", geometry)
        y_shape = _core.conv2d_output_shape(shape, weight_shape, **geometry)
        self.kernel, self.stride, self.dilation = kernel, borders.each(stride, 2), borders.each(dilation, 2)
        self.pixels = y_shape[-3:-1] if self.last else y_shape[-2:]
        window = (*self.pixels, *kernel, channels) if self.last else (channels, *kernel, *self.pixels)
        self.shape = (*shape[:-3], *window)

    def of(self, padded):
        *batch, a, b, c = padded.strides
        rows, columns, channels = (a, b, c) if self.last else (b, c, a)
        starts = rows * self.stride[0], columns * self.stride[1]
        taps = rows * self.dilation[0], columns * self.dilation[1]
        strides = (*starts, *taps, channels) if self.last else (channels, *taps, *starts)
        return np.lib.stride_tricks.as_strided(padded, self.shape, (*batch, *strides), writeable=False)

    def seen_by(self, padded, tap):
        """The pixels that one tap of all windows meets."""
        rows, columns = (
            slice(t * d, t * d + (count - 1) * s + 1, s)
            for t, d, count, s in zip(tap, self.dilation, self.pixels, self.stride, strict=True)
        )
        return padded[..., rows, columns, :] if self.last else padded[..., rows, columns]

    def at_tap(self, windows, tap):
        return windows[..., tap[0], tap[1], :] if self.last else windows[..., tap[0], tap[1], :, :]
