# SPDX-License-Identifier: BSD-3-Clause
"""Pooling of volumes and its gradients.

Means are those of the functions for images: a window is pooled within its slices, then the results of the slices along
the depth, which are images of D x (P*Q) pixels; a mean of means with divisors of the two has the divisor of the window.
Layouts are "NDHWC" and "NCDHW"; "NHWC" and "NCHW" are understood as channels
last and first. The other arguments are those of the functions for images, with three numbers where those have two.
"""

import numpy as np

from fastconv import errors
from fastconv.ops import pooling as images
from fastconv.ops.axes import checked_shape, is_channels_first, joined, paddings, per_axis, shape_of
from fastconv.ops.in_c import in_c


class _Volumes:
    """How volumes of a layout are seen as images."""

    def __init__(self, layout):
        self.first = is_channels_first(layout, 3)
        self.layout = "NCHW" if self.first else "NHWC"
        self.name = "NCDHW" if self.first else "NDHWC"
        self.depth = -3 if self.first else -4  # the axis

    def slices(self, x):
        """One image batch after the other, views."""
        return np.moveaxis(x, self.depth, 0)

    def merged(self, x, axis):
        """Two neighbouring axes of pixels as one; 0: depth and height, 1: height and width."""
        return x.reshape(self.merged_shape(x.shape, axis))

    def merged_shape(self, shape, axis):
        at = len(shape) + self.depth + axis
        return (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])

    def sizes(self, shape):
        """D, H, W."""
        return shape[self.depth :][:3]

    def with_sizes(self, shape, sizes):
        at = len(shape) + self.depth
        return (*shape[:at], *sizes, *shape[at + 3 :])


class _Window:
    """A window of volumes as one within slices and one along the depth."""

    def __init__(self, view, x_shape, kernel_size, stride, padding, ceil_mode):
        self.y_shape = pool3d_output_shape(
            x_shape, kernel_size, stride, padding=padding, ceil_mode=ceil_mode, layout=view.name
        )
        kernel = per_axis(kernel_size, "kernel_size", 3)
        step = kernel if stride is None else per_axis(stride, "stride", 3)
        before, *around = paddings(padding, 3)
        common = {"ceil_mode": ceil_mode, "layout": view.layout}
        along = before if isinstance(before, str) else joined(before, 0)
        self.in_slice = {"kernel_size": kernel[1:], "stride": step[1:], "padding": joined(*around), **common}
        self.along_depth = {"kernel_size": (kernel[0], 1), "stride": (step[0], 1), "padding": along, **common}
        depth, _, _ = view.sizes(x_shape)
        self.pooled_slices = view.with_sizes(x_shape, (depth, *view.sizes(self.y_shape)[1:]))


def _target(out, shape, dtype, inputs, name="out"):
    """The array to write, C-contiguous, and the caller's, after the checks of results."""
    if out is None:
        return np.empty(shape, dtype)
    errors.check_out(out, shape, dtype, name)
    for what, array in inputs:
        if isinstance(array, np.ndarray) and errors.share_memory(out, array):
            raise errors.overlap(what)
    return out if out.flags.c_contiguous and out.flags.aligned else np.empty(shape, dtype)


def _deliver(target, out):
    if out is None or target is out:
        return target
    out[...] = target
    return out


@in_c
def max_pool3d(x, kernel_size, stride=None, *, padding=0, dilation=1, ceil_mode=False, return_indices=False,
               layout="NDHWC", out=None):  # fmt: skip
    """Maximum of each window of volumes x (N, D, H, W, C) or (D, H, W, C); any real dtype.

    Returns
    -------
    y : (N, O, P, Q, C), or (y, indices)
        As `max_pool2d`; indices are int64, ``(d*H + h)*W + w`` in the volume.
    """


@in_c
def max_pool3d_backward(grad_y, indices, x_shape, *, layout="NDHWC", out=None):
    """Gradient of a loss with respect to the input of `max_pool3d`: each grad_y goes to the pixel that won.

    As `max_pool2d_backward`, with arrays (N, O, P, Q, C).
    """


@in_c
def pool3d_output_shape(x_shape, kernel_size, stride=None, *, padding=0, dilation=1, ceil_mode=False, layout="NDHWC"):
    """Shape of the result of `max_pool3d` or `avg_pool3d` for these sizes, without any array."""


def _divisors(divisor_override, padding, count_include_pad):
    """The keywords of the mean within slices, of that along the depth."""
    if count_include_pad is None:
        count_include_pad = not (isinstance(padding, str) and padding != "valid")
    common = {"count_include_pad": count_include_pad}
    if divisor_override is None:
        return common, common
    return common | {"divisor_override": 1}, common | {"divisor_override": divisor_override}


def avg_pool3d(x, kernel_size, stride=None, *, padding=0, ceil_mode=False, count_include_pad=None,
               divisor_override=None, layout="NDHWC", out=None):  # fmt: skip
    """Mean of each window of volumes x (N, D, H, W, C) or (D, H, W, C), an array (N, O, P, Q, C); as `avg_pool2d`."""
    view = _Volumes(layout)
    window = _Window(view, shape_of(x, "x", 3), kernel_size, stride, padding, ceil_mode)
    within, along = _divisors(divisor_override, padding, count_include_pad)
    dtype = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
    y = _target(out, window.y_shape, dtype, [("x", x)])
    means = np.empty(window.pooled_slices, dtype)
    for plane, mean in zip(view.slices(x), view.slices(means), strict=True):
        images.avg_pool2d(plane, **window.in_slice, **within, out=mean)
    images.avg_pool2d(view.merged(means, 1), **window.along_depth, **along, out=view.merged(y, 1))
    return _deliver(y, out)


def avg_pool3d_backward(grad_y, x_shape, kernel_size, stride=None, *, padding=0, ceil_mode=False,
                        count_include_pad=None, divisor_override=None, layout="NDHWC", out=None):  # fmt: skip
    """Gradient of a loss with respect to the input of `avg_pool3d`, an array of shape x_shape."""
    view = _Volumes(layout)
    x_shape = checked_shape(x_shape, "x_shape", 3)
    window = _Window(view, x_shape, kernel_size, stride, padding, ceil_mode)
    within, along = _divisors(divisor_override, padding, count_include_pad)
    if shape_of(grad_y, "grad_y", 3) != window.y_shape:
        raise errors.wrong_grad_y(grad_y.shape, window.y_shape)
    grad_x = _target(out, x_shape, grad_y.dtype.newbyteorder("="), [("grad_y", grad_y)])
    merged = view.merged_shape(window.pooled_slices, 1)
    means = images.avg_pool2d_backward(view.merged(grad_y, 1), merged, **window.along_depth, **along)
    plane_shape = tuple(np.delete(x_shape, len(x_shape) + view.depth))
    plane_shape = tuple(int(size) for size in plane_shape)
    for plane, mean in zip(view.slices(grad_x), view.slices(means.reshape(window.pooled_slices)), strict=True):
        images.avg_pool2d_backward(mean, plane_shape, **window.in_slice, **within, out=plane)
    return _deliver(grad_x, out)


def global_avg_pool3d(x, *, keepdims=False, layout="NDHWC"):
    """Mean over all pixels of a volume: (N, C), or with keepdims (N, 1, 1, 1, C), (N, C, 1, 1, 1) in NCDHW."""
    return _global(images.global_avg_pool2d, x, keepdims, layout)


def global_max_pool3d(x, *, keepdims=False, layout="NDHWC"):
    """Maximum over all pixels of a volume: (N, C), or with keepdims (N, 1, 1, 1, C), (N, C, 1, 1, 1) in NCDHW."""
    return _global(images.global_max_pool2d, x, keepdims, layout)


def _global(pool, x, keepdims, layout):
    view = _Volumes(layout)
    shape_of(x, "x", 3)
    y = pool(view.merged(x, 0), keepdims=keepdims, layout=view.layout)
    return np.expand_dims(y, view.depth) if keepdims else y
