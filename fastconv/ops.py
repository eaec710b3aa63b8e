# SPDX-License-Identifier: BSD-3-Clause
"""Convolution, pooling and dense layers, forward and backward, on NumPy arrays.

Letters: N images, H x W input pixels, C input channels, K filters (output channels), R x S filter height
and width, P x Q output pixels. "Convolution" is cross-correlation: the filter is not flipped, as in
PyTorch, Keras and ONNX.

Arguments that the functions share
    x : array (N, H, W, C), or (N, C, H, W) with ``layout="NCHW"``. An array without the batch axis is one
        image, and the result has no batch axis either. float32 or float64; uint8, int8, int16 and float16
        images are converted while they are read. Any strides.
    weight : array (R, S, C/groups, K), or (K, C/groups, R, S) with ``layout="NCHW"``; float32 or float64.
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

from fastconv import _core, errors


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
    return _core.conv2d(
        x, weight, bias, stride, padding, dilation, groups, layout, activation, precision, algorithm, out
    )


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
    return _core.conv2d_backward_input(
        grad_y, weight, x_shape, stride, padding, dilation, groups, layout, precision, algorithm, out
    )


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
    return _core.conv2d_backward_weight(
        grad_y, x, weight_shape, stride, padding, dilation, groups, layout, precision, algorithm, out
    )


def conv2d_backward(grad_y, x, weight, *, stride=1, padding=0, dilation=1, groups=1, layout="NHWC", precision=None,
                    algorithm="auto"):  # fmt: skip
    """All three gradients of `conv2d`: `Conv2dGradients` (x, weight, bias).

    grad_y is (N, P, Q, K), the gradient with respect to the output before any activation; x and weight are what
    `conv2d` was given.
    """
    for name, array in (("x", x), ("weight", weight)):
        if not isinstance(array, np.ndarray):
            raise errors.not_an_array(name, array)
    geometry = (stride, padding, dilation, groups, layout, precision, algorithm)
    return Conv2dGradients(
        _core.conv2d_backward_input(grad_y, weight, x.shape, *geometry, None, x_name="x"),
        _core.conv2d_backward_weight(grad_y, x, weight.shape, *geometry, None, weight_name="weight"),
        conv2d_backward_bias(grad_y, layout=layout),
    )


def conv2d_backward_bias(grad_y, *, layout="NHWC", out=None):
    """Gradient of a loss with respect to the bias of `conv2d`: the sum of grad_y (N, P, Q, K) over all pixels, (K,)."""
    return _core.conv2d_backward_bias(grad_y, layout, out)


def conv2d_output_shape(x_shape, weight_shape, *, stride=1, padding=0, dilation=1, groups=1, layout="NHWC"):
    """Shape of the result of `conv2d` for these shapes, without any array."""
    return _core.conv2d_output_shape(x_shape, weight_shape, stride, padding, dilation, groups, layout)


# ---------------------------------------------------------------- pooling


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
    if type(x) is np.ndarray and x.dtype.char in "fd":
        return _core.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out)
    exact = _as_exact_floats(x)
    result = _core.max_pool2d(exact, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, None)
    if not return_indices:
        return _deliver(result.astype(x.dtype), _clear_of(out, "x", x))
    y_out, indices_out = errors.pair_of_results(out) if isinstance(out, tuple) else (out, None)
    y, indices = result[0].astype(x.dtype), result[1]
    _check_out(y, _clear_of(y_out, "x", x))
    _check_out(indices, _clear_of(_clear_of(indices_out, "x", x), "out[0]", y_out), "out[1]")
    return _deliver(y, y_out), _deliver(indices, indices_out, "out[1]")


def _clear_of(out, name, array):
    """`out`, which must not share memory with the array of that name."""
    if isinstance(out, np.ndarray) and isinstance(array, np.ndarray) and errors.share_memory(out, array):
        raise errors.overlap(name)
    return out


def _as_exact_floats(x):
    """x in a type that the kernel converts, or float64, without rounding any value."""
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise errors.not_an_array("x", x)
    if x.dtype.kind in "iu" and x.dtype.itemsize > 4:
        if x.size and max(abs(int(x.max())), abs(int(x.min()))) > 2**53:
            raise ValueError(f"x has dtype {x.dtype} and values beyond 2**53, which float64 does not hold exactly")
        return x.astype(np.float64)
    if x.dtype.kind in "iu" and x.dtype not in (np.uint8, np.int8, np.int16):
        return x.astype(np.float64)
    return x


def _check_out(y, out, name="out"):
    """The checks that the kernels' own path makes of a caller's array."""
    if out is None:
        return
    if not isinstance(out, np.ndarray):
        raise errors.not_an_array(name, out)
    if out.dtype != y.dtype:
        raise errors.wrong_out_dtype(name, out.dtype, y.dtype.num)
    if out.shape != y.shape:
        raise errors.wrong_out_shape(name, out.shape, y.shape)
    if not out.flags.writeable:
        raise errors.read_only(name)
    if errors.overlaps_itself(out):
        raise errors.self_overlap(name)


def _deliver(y, out, name="out"):
    """Copy a result into `out`, if one was given, after checks."""
    _check_out(y, out, name)
    if out is None:
        return y
    out[...] = y
    return out


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
    return _core.max_pool2d_backward(grad_y, indices, x_shape, layout, out)


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
    return _core.avg_pool2d(
        x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout, out
    )


def avg_pool2d_backward(grad_y, x_shape, kernel_size, stride=None, *, padding=0, ceil_mode=False,
                        count_include_pad=None, divisor_override=None, layout="NHWC", out=None):  # fmt: skip
    """Gradient of a loss with respect to the input of `avg_pool2d`.

    grad_y is (N, P, Q, C), each shared among the pixels of its window; the result has shape x_shape.
    """
    return _core.avg_pool2d_backward(
        grad_y, x_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout, out
    )


def pool2d_output_shape(x_shape, kernel_size, stride=None, *, padding=0, dilation=1, ceil_mode=False, layout="NHWC"):
    """Shape of the result of `max_pool2d` or `avg_pool2d` for these sizes, without any array."""
    return _core.pool2d_output_shape(x_shape, kernel_size, stride, padding, dilation, ceil_mode, layout)


def _image_size(x, layout):
    if not isinstance(x, np.ndarray):
        raise errors.not_an_array("x", x)
    if x.ndim not in (3, 4):
        raise errors.wrong_rank("x", x.shape, 3, 4)
    return x.shape[-2:] if layout == "NCHW" else x.shape[-3:-1]


def _drop_pixel_axes(y, keepdims, layout):
    if keepdims:
        return y
    return y[..., 0, 0] if layout == "NCHW" else y[..., 0, 0, :]


def global_avg_pool2d(x, *, keepdims=False, layout="NHWC"):
    """Mean over all pixels: (N, C), or with keepdims (N, 1, 1, C), (N, C, 1, 1) in NCHW."""
    return _drop_pixel_axes(avg_pool2d(x, _image_size(x, layout), layout=layout), keepdims, layout)


def global_max_pool2d(x, *, keepdims=False, layout="NHWC"):
    """Maximum over all pixels: (N, C), or with keepdims (N, 1, 1, C), (N, C, 1, 1) in NCHW."""
    return _drop_pixel_axes(max_pool2d(x, _image_size(x, layout), layout=layout), keepdims, layout)


# ---------------------------------------------------------------- dense layers


def _rows(array, name):
    """(..., C) as images of one pixel (rows, 1, 1, C)."""
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise errors.not_an_array(name, array)
    if array.ndim == 0:
        raise ValueError(f"{name} has no axes, but needs at least one: (..., channels)")
    rows = array if array.ndim == 2 else array.reshape(-1, array.shape[-1]) if array.size else _empty_rows(array)
    return rows[:, np.newaxis, np.newaxis, :]


def _empty_rows(array):
    return array.reshape(0, array.shape[-1]) if array.shape[-1] else array.reshape(1, 0)


def _filter(array, name):
    """(C, K) as filters of one pixel (1, 1, C, K)."""
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise errors.not_an_array(name, array)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}, but needs 2 axes: (C, K)")
    return array[np.newaxis, np.newaxis]


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
    rows, filters = _rows(x, "x"), _filter(weight, "weight")
    if rows.shape[3] != filters.shape[2]:
        raise ValueError(f"x has shape {x.shape}, but weight {weight.shape} is made for {filters.shape[2]} channels")
    shape = (*x.shape[:-1], weight.shape[1])
    target = None if out is None else _rows_of_out(out, shape)
    y = _core.conv2d(rows, filters, bias, 1, 0, 1, 1, "NHWC", activation, precision, "auto", target)
    return _as_asked(y, shape, out, target, x=x, weight=weight, bias=bias)


def _rows_of_out(out, shape):
    """`out` as rows, or a temporary where its strides do not allow that."""
    if not isinstance(out, np.ndarray):
        raise errors.not_an_array("out", out)
    if out.shape != shape:
        raise errors.wrong_out_shape("out", out.shape, shape)
    rows = _rows(out, "out")
    return rows if np.may_share_memory(rows, out) or not out.size else None


def _as_asked(result, shape, out, target, **inputs):
    """The result in its shape, in `out` if one was given, also where a temporary stood for it."""
    if out is None:
        return result.reshape(shape)
    if target is not None:
        return out
    for name, array in inputs.items():
        if array is not None and errors.share_memory(out, array):
            raise errors.overlap(name)
    return _deliver(result.reshape(shape), out)


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


def linear_backward_input(grad_y, weight, *, precision=None, out=None):
    """Gradient of a loss with respect to the input of `linear`: grad_y (..., K) @ weight.T, shape (..., C)."""
    rows, filters = _rows(grad_y, "grad_y"), _filter(weight, "weight")
    shape = (*grad_y.shape[:-1], weight.shape[0])
    target = None if out is None else _rows_of_out(out, shape)
    x_shape = (rows.shape[0], 1, 1, weight.shape[0])
    grad_x = _core.conv2d_backward_input(rows, filters, x_shape, 1, 0, 1, 1, "NHWC", precision, "auto", target)
    return _as_asked(grad_x, shape, out, target, grad_y=grad_y, weight=weight)


def linear_backward_weight(grad_y, x, *, precision=None, out=None):
    """Gradient of a loss with respect to the weight of `linear`: x.T @ grad_y over all rows, shape (C, K)."""
    rows, images = _rows(grad_y, "grad_y"), _rows(x, "x")
    if rows.shape[0] != images.shape[0]:
        raise ValueError(f"grad_y {grad_y.shape} and x {x.shape} do not have the same number of rows")
    shape = (images.shape[3], rows.shape[3])
    target = None if out is None else _filter(out, "out")
    grad = _core.conv2d_backward_weight(rows, images, (1, 1, *shape), 1, 0, 1, 1, "NHWC", precision, "auto", target)
    return _as_asked(grad, shape, out, target, grad_y=grad_y, x=x)


def linear_backward_bias(grad_y, *, out=None):
    """Gradient of a loss with respect to the bias of `linear`: the sum of grad_y (..., K) over its rows, (K,)."""
    return _core.conv2d_backward_bias(_rows(grad_y, "grad_y"), "NHWC", out)
