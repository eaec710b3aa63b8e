# SPDX-License-Identifier: BSD-3-Clause
"""Adaptive pooling, and the way back from the maxima of windows; the arguments are explained in `fastconv.ops`."""

import numpy as np

from fastconv import errors
from fastconv.ops.in_c import in_c


@in_c
def adaptive_avg_pool2d(x, output_size, *, layout="NHWC", out=None):
    """Mean of each of P x Q windows that share the image.

    Window i of an axis covers the pixels from floor(i*H / P) up to ceil((i + 1)*H / P), as in PyTorch: windows overlap
    by a pixel where P does not divide H.

    Parameters
    ----------
    x : (N, H, W, C) or (H, W, C)
        uint8, int8, int16 and float16 give float32.
    output_size : int or (P, Q)
        None in the place of a number: as many as x has.

    Returns
    -------
    y : (N, P, Q, C)
    """


@in_c
def adaptive_avg_pool2d_backward(grad_y, x_shape, *, layout="NHWC", out=None):
    """Gradient of a loss with respect to the input of `adaptive_avg_pool2d`: an array of shape x_shape.

    grad_y (N, P, Q, C) tells the output size.
    """


@in_c
def adaptive_max_pool2d(x, output_size, *, return_indices=False, layout="NHWC", out=None):
    """Maximum of each of P x Q windows that share the image as those of `adaptive_avg_pool2d` do.

    Returns y (N, P, Q, C), or (y, indices), as `max_pool2d`; `max_pool2d_backward` is the gradient.
    """


def max_unpool2d(y, indices, output_shape, *, layout="NHWC", out=None):
    """Put maxima back where they were: zeros, and each y at its index.

    Parameters
    ----------
    y, indices : (N, P, Q, C)
        As `max_pool2d` returned them, y of any real dtype. Of several at one place the last in row-major order of the
        windows stays (they are equal, if y came from a pooling).
    output_shape : tuple
        Shape of the images, as x_shape of `max_pool2d_backward`.

    Returns
    -------
    x : array of shape output_shape and y's dtype
    """
    flat_y, flat_indices, shape = _flattened(y, "y", indices, output_shape, "output_shape", layout)
    dtype = y.dtype.newbyteorder("=")
    x = np.zeros((shape[0], shape[1] * shape[2], shape[3]), dtype)
    np.put_along_axis(x, flat_indices, flat_y, axis=1)
    return _deliver(_arranged(x.reshape(shape), len(output_shape), layout), out, (("y", y), ("indices", indices)))


def max_unpool2d_backward(grad_x, indices, *, layout="NHWC", out=None):
    """Gradient of a loss with respect to the maxima that `max_unpool2d` put back: grad_x at the indices."""
    if not isinstance(grad_x, np.ndarray):
        raise errors.not_an_array("grad_x", grad_x)
    _, flat_indices, shape = _flattened(indices, "indices", indices, grad_x.shape, "grad_x", layout)
    images = _channels_last(grad_x, layout).reshape(shape[0], shape[1] * shape[2], shape[3])
    grad_y = np.take_along_axis(images, flat_indices, axis=1)
    sizes = _channels_last(indices, layout).shape
    grad_y = grad_y.astype(grad_x.dtype.newbyteorder("="), copy=False).reshape((shape[0], *sizes[-3:]))
    return _deliver(_arranged(grad_y, grad_x.ndim, layout), out, (("grad_x", grad_x), ("indices", indices)))


def _channels_last(array, layout):
    return np.moveaxis(array, -3, -1) if layout == "NCHW" else array


def _arranged(images, rank, layout):
    """(N, H, W, C) as the caller wants it."""
    images = images if rank == 4 else images[0]
    return np.ascontiguousarray(np.moveaxis(images, -1, -3)) if layout == "NCHW" else images


def _flattened(y, name, indices, x_shape, shape_name, layout):
    """y and indices as (N, P*Q, C), and (N, H, W, C); every error but those of `out` is raised here."""
    if layout not in ("NHWC", "NCHW"):
        if not isinstance(layout, str):
            raise errors.not_a_string("layout", layout)
        raise errors.unknown_name("layout", layout, errors.LAYOUTS[2])
    for array, what in ((y, name), (indices, "indices")):
        if not isinstance(array, np.ndarray):
            raise errors.not_an_array(what, array)
    if y.dtype.kind not in "fiu":
        raise errors.wrong_dtype(name, y.dtype, False)
    if indices.dtype.newbyteorder("=") != np.int64:
        raise errors.wrong_indices_dtype(indices.dtype)
    if indices.shape != y.shape:
        raise errors.wrong_indices_shape(indices.shape, y.shape)
    if not isinstance(x_shape, (tuple, list)):
        raise errors.not_a_shape(shape_name, x_shape)
    if not 3 <= len(x_shape) <= 4:
        raise errors.wrong_rank_of_shape(shape_name, x_shape, 3, 4)
    shape = tuple(int(size) if isinstance(size, (int, np.integer)) and size is not True else -1 for size in x_shape)
    images = (1,) * (4 - len(shape)) + shape
    n, h, w, c = (images[0], *images[2:], images[1]) if layout == "NCHW" else images
    sizes = _channels_last(y, layout).shape
    if y.ndim != len(shape) or min(h, w, c) < 1 or sizes[-1] != c or (y.ndim == 4 and y.shape[0] != n):
        raise errors.unrelated_shapes(x_shape, y.shape, layout)
    if indices.size and not (0 <= indices.min() and indices.max() < h * w):
        raise errors.bad_index(h, w)
    flat = [_channels_last(array, layout).reshape(n, -1 if n else 0, c) for array in (y, indices)]
    return *flat, (n, h, w, c)


def _deliver(result, out, inputs):
    if out is None:
        return result
    errors.check_out(out, result.shape, result.dtype)
    for name, array in inputs:
        if errors.share_memory(out, array):
            raise errors.overlap(name)
    out[...] = result
    return out
