# SPDX-License-Identifier: BSD-3-Clause
"""Pooling of volumes and its gradients, by the functions for images.

A window is pooled within its slices, then the results of the slices along the depth, which are images of D x (P*Q)
pixels: the first of equal maxima, or of NaN, is found in row-major order either way, and a mean of means with divisors
of the two has the divisor of the window. Layouts are "NDHWC" and "NCDHW"; "NHWC" and "NCHW" are understood as channels
last and first. The other arguments are those of the functions for images, with three numbers where those have two.
"""

import numpy as np

from fastconv import errors
from fastconv.ops import pooling as images
from fastconv.ops.axes import checked_shape, is_channels_first, joined, paddings, per_axis, shape_of


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

    def __init__(self, view, x_name, x_shape, kernel_size, stride, padding, dilation=1, ceil_mode=False):
        kernel = per_axis(kernel_size, "kernel_size", 3)
        step = kernel if stride is None else per_axis(stride, "stride", 3)
        before, *around = paddings(padding, 3)
        spread = per_axis(dilation, "dilation", 3)
        common = {"ceil_mode": ceil_mode, "layout": view.layout}
        along = before if isinstance(before, str) else joined(before, 0)
        self.in_slice = {"kernel_size": kernel[1:], "stride": step[1:], "padding": joined(*around), **common}
        self.along_depth = {"kernel_size": (kernel[0], 1), "stride": (step[0], 1), "padding": along, **common}
        self.dilations = (1, 1) if dilation == 1 else (spread[1:], (spread[0], 1))
        self.pooled_slices = self.y_shape = None
        depth, *size = view.sizes(x_shape)
        try:
            height, width = self._output(view, x_shape, size, self.in_slice, 0)
            (slices, _) = self._output(view, x_shape, (depth, 1), self.along_depth, 1)
        except ValueError as error:
            text = str(error).partition(":")[0]
            geometry = (kernel_size, stride, padding, dilation)
            raise errors.bad_pooling(text, x_name, tuple(x_shape), view.name, *geometry) from None
        self.pooled_slices = view.with_sizes(x_shape, (depth, height, width))
        self.y_shape = view.with_sizes(x_shape, (slices, height, width))

    def _output(self, view, x_shape, size, window, number):
        """P and Q of images of this size with the other axes of x."""
        shape = view.merged_shape(view.with_sizes(x_shape, (1, *size)), 0)
        y_shape = images.pool2d_output_shape(shape, **window, dilation=self.dilations[number])
        return y_shape[-2:] if view.first else y_shape[-3:-1]


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


def max_pool3d(x, kernel_size, stride=None, *, padding=0, dilation=1, ceil_mode=False, return_indices=False,
               layout="NDHWC", out=None):  # fmt: skip
    """Maximum of each window of volumes x (N, D, H, W, C) or (D, H, W, C); any real dtype.

    Returns
    -------
    y : (N, O, P, Q, C), or (y, indices)
        As `max_pool2d`; indices are int64, ``(d*H + h)*W + w`` in the volume.
    """
    view = _Volumes(layout)
    window = _Window(view, "x", shape_of(x, "x", 3), kernel_size, stride, padding, dilation, ceil_mode)
    pair = return_indices is True and isinstance(out, tuple)
    y_out, indices_out = errors.pair_of_results(out) if pair else (out, None)
    dtype = x.dtype.newbyteorder("=")
    y = _target(y_out, window.y_shape, dtype, [("x", x)])
    indices = None
    if return_indices:
        names = [("x", x), ("out[0]", y_out)]
        indices = _target(indices_out, window.y_shape, np.dtype(np.int64), names, "out[1]")
    tops, places = np.empty(window.pooled_slices, dtype), None
    if return_indices:
        places = np.empty(window.pooled_slices, np.int64)
    _, height, width = view.sizes(x.shape)
    within = window.in_slice | {"dilation": window.dilations[0], "return_indices": return_indices}
    for number, (plane, top) in enumerate(zip(view.slices(x), view.slices(tops), strict=True)):
        place = view.slices(places)[number] if return_indices else None
        images.max_pool2d(plane, **within, out=(top, place) if return_indices else top)
        if return_indices:
            place += number * height * width
    along = window.along_depth | {"dilation": window.dilations[1], "return_indices": return_indices}
    ys = view.merged(y, 1)
    if not return_indices:
        images.max_pool2d(view.merged(tops, 1), **along, out=ys)
        return _deliver(y, y_out)
    winners = view.merged(indices, 1)
    images.max_pool2d(view.merged(tops, 1), **along, out=(ys, winners))
    _to_volume(view, winners, view.merged(places, 1))
    return _deliver(y, y_out), _deliver(indices, indices_out)


def _to_volume(view, winners, places):
    """From where the winners are among the results of the slices to what those say. Both have height and width as one
    axis; numbers of elements instead of take_along_axis, which is three times as slow."""
    depth = view.depth + 1
    channels = places.shape[depth - 1 if view.first else -1]
    pixels = places.shape[depth] * places.shape[depth + 1]
    image = np.arange(len(places)).reshape(-1, 1, 1, 1) if places.ndim == 4 else 0
    channel = np.arange(channels)
    if view.first:
        winners += (image * channels + channel.reshape(-1, 1, 1)) * pixels
    else:
        winners += image * pixels
        winners *= channels
        winners += channel
    winners[...] = np.take(places, winners)


def max_pool3d_backward(grad_y, indices, x_shape, *, layout="NDHWC", out=None):
    """Gradient of a loss with respect to the input of `max_pool3d`: each grad_y goes to the pixel that won.

    As `max_pool2d_backward`, with arrays (N, O, P, Q, C): volumes are images of D*H lines.
    """
    view = _Volumes(layout)
    x_shape = checked_shape(x_shape, "x_shape", 3)
    for array, name in ((grad_y, "grad_y"), (indices, "indices")):
        shape_of(array, name, 3)
    if indices.shape != grad_y.shape:
        raise errors.wrong_indices_shape(indices.shape, grad_y.shape)
    tall = view.merged_shape(x_shape, 0)
    grad_x = None
    if out is not None:
        grad_x = _target(out, x_shape, grad_y.dtype, [("grad_y", grad_y), ("indices", indices)])
    result = images.max_pool2d_backward(
        view.merged(grad_y, 0), view.merged(indices, 0), tall, layout=view.layout,
        out=None if grad_x is None else view.merged(grad_x, 0),
    )  # fmt: skip
    return result.reshape(x_shape) if out is None else _deliver(grad_x, out)


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
    window = _Window(view, "x", shape_of(x, "x", 3), kernel_size, stride, padding, 1, ceil_mode)
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
    window = _Window(view, "x_shape", x_shape, kernel_size, stride, padding, 1, ceil_mode)
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


def pool3d_output_shape(x_shape, kernel_size, stride=None, *, padding=0, dilation=1, ceil_mode=False, layout="NDHWC"):
    """Shape of the result of `max_pool3d` or `avg_pool3d` for these sizes, without any array."""
    x_shape = checked_shape(x_shape, "x_shape", 3)
    window = _Window(_Volumes(layout), "x_shape", x_shape, kernel_size, stride, padding, dilation, ceil_mode)
    return tuple(map(int, window.y_shape))


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
