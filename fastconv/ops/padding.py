# SPDX-License-Identifier: BSD-3-Clause
"""Images with a border, and the gradient of that; the arguments are explained in `fastconv.ops`."""

import numpy as np

from fastconv import _core, borders, errors


def pad2d(x, padding, *, mode="constant", layout="NHWC", out=None):
    """Images with a border by the rules of `numpy.pad`, repeated reflection included.

    Parameters
    ----------
    x : (N, H, W, C) or (H, W, C), of any dtype
    padding : int; (vertical, horizontal); ((top, bottom), (left, right))
        May be larger than the image.
    mode : "constant" (zeros), "reflect", "symmetric", "edge" or "wrap"

    Returns
    -------
    y : (N, H + top + bottom, W + left + right, C) or without N; dtype of x
    """
    return _pad(2, x, padding, mode, layout, out)


def pad2d_backward(grad_y, x_shape, padding, *, mode="constant", layout="NHWC", out=None):
    """Gradient of a loss with respect to the input of `pad2d`, an array of shape x_shape: each pixel receives what its
    copies in the border received, too."""
    return _pad_backward(2, grad_y, x_shape, padding, mode, layout, out)


def pad1d(x, padding, *, mode="constant", layout="NWC", out=None):
    """Sequences (N, W, C) or (W, C) with a border: `pad2d` with one axis; padding is an int, (both,) or
    ((left, right),)."""
    return _pad(1, x, padding, mode, layout, out)


def pad1d_backward(grad_y, x_shape, padding, *, mode="constant", layout="NWC", out=None):
    """Gradient of a loss with respect to the input of `pad1d`, an array of shape x_shape."""
    return _pad_backward(1, grad_y, x_shape, padding, mode, layout, out)


def _border(axes, shape, name, padding, mode, layout):
    """Checked by the extension module, as of a kernel of one pixel."""
    borders.check_mode(mode, "mode")
    if isinstance(padding, str):
        raise TypeError(f"padding must be an integer or a sequence of integers, not str: {padding!r}")
    if len(shape) not in (axes + 1, axes + 2):
        raise errors.wrong_rank(name, shape, axes + 1, axes + 2)
    check = _core.conv2d_output_shape if axes == 2 else _core.conv1d_output_shape
    last = isinstance(layout, str) and not layout.startswith("NC")
    channels = shape[-1] if last else shape[-1 - axes]
    weight_shape = (*(1,) * axes, channels, 1) if last else (1, channels, *(1,) * axes)
    check(shape, weight_shape, padding=padding, layout=layout)
    return borders.Border(shape, layout, borders.sides_of(padding, (1,) * axes, (1,) * axes, None, (1,) * axes), mode)


def _pad(axes, x, padding, mode, layout, out):
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise errors.not_an_array("x", x)
    border = _border(axes, x.shape, "x", padding, mode, layout)
    if out is not None:
        errors.check_out(out, border.shape, x.dtype)
        borders.refuse_overlap(out, x, "x")
    return border.put(x, out)


def _pad_backward(axes, grad_y, x_shape, padding, mode, layout, out):
    if not isinstance(x_shape, (tuple, list)):
        raise errors.not_a_shape("x_shape", x_shape)
    if not isinstance(grad_y, np.ndarray) or isinstance(grad_y, np.ma.MaskedArray):
        raise errors.not_an_array("grad_y", grad_y)
    border = _border(axes, tuple(x_shape), "x_shape", padding, mode, layout)
    if grad_y.shape != border.shape:
        raise errors.wrong_grad_y(grad_y.shape, border.shape)
    if out is not None:
        errors.check_out(out, border.inner_shape, grad_y.dtype)
        borders.refuse_overlap(out, grad_y, "grad_y")
    return border.fold(grad_y, out)
