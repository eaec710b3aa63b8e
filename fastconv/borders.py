# SPDX-License-Identifier: BSD-3-Clause
"""Borders that are no zeros: pixels repeated by the rules of `numpy.pad`, and their gradient.

The extension module comes here with a ``padding_mode`` other than "constant"; it hands over the convolution that knows
zeros only, which then runs without padding on images with their borders.
"""

import numpy as np

from fastconv import errors

MODES = ("constant", "reflect", "symmetric", "edge", "wrap")


def check_mode(mode, name="padding_mode"):
    if not isinstance(mode, str):
        raise errors.not_a_string(name, mode)
    if mode not in MODES:
        raise errors.unknown_name(name, mode, MODES)
    return mode


def pixel_axes(rank, axes, layout):
    """Of images of this rank with so many axes of pixels: which they are, from the end."""
    return tuple(range(-axes, 0)) if layout.startswith("NC") else tuple(range(-axes - 1, -1))


class Border:
    """The border of images of one shape. ``sides``: (before, after) of each axis of pixels."""

    def __init__(self, shape, layout, sides, mode):
        axes = pixel_axes(len(shape), len(sides), layout)
        self.inner_shape, self.constant = tuple(shape), mode == "constant"
        self.shape, self.inner = list(shape), [slice(None)] * len(shape)
        self.axes = []  # axis, first and last pixel of the image, the image's pixel that each one of the border repeats
        for axis, (before, after) in zip(axes, sides, strict=True):
            size = shape[axis]
            self.shape[axis] = size + before + after
            self.inner[axis] = slice(before, before + size)
            if before or after:
                source = None if self.constant else np.pad(np.arange(size), (before, after), mode)
                self.axes.append((axis % len(shape), before, before + size, source))
        self.shape, self.inner = tuple(self.shape), tuple(self.inner)

    def put(self, x, out=None):
        """``x`` with its border, in ``out`` or a new array."""
        out = np.empty(self.shape, x.dtype) if out is None else out
        out[self.inner] = x
        place = list(self.inner)
        for axis, first, end, source in reversed(self.axes):  # lines get their ends, then whole lines are repeated
            for side in (slice(0, first), slice(end, self.shape[axis])):
                there = out[(*place[:axis], side, *place[axis + 1 :])]
                there[...] = 0 if source is None else self._pixels(out, place, axis, source[side] + first)
            place[axis] = slice(None)
        return out

    @staticmethod
    def _pixels(array, place, axis, indices):
        return array[(*place[:axis], indices, *place[axis + 1 :])]  # `take` would copy all of the view first

    def fold(self, grad, out=None):
        """The transpose of ``put``: gradients of the border are added to those of the pixels that they repeat."""
        out = np.empty(self.inner_shape, grad.dtype.newbyteorder("=")) if out is None else out
        if self.constant:
            out[...] = grad[self.inner]
        else:
            self._fold(grad, self.axes, out)
        return out

    def _fold(self, grad, axes, out):
        """Along some of the axes: first the image, then its border, line by line, which is small."""
        if not axes:
            out[...] = grad
            return
        axis, first, end, source = axes[0]
        before, rest = (slice(None),) * axis, axes[1:]
        self._fold(grad[(*before, slice(first, end))], rest, out)
        places = lines = [*range(first), *range(end, grad.shape[axis])]
        if rest:
            border, lines = grad[(*before, places)], range(len(places))
            grad = np.empty((*out.shape[:axis], len(places), *out.shape[axis + 1 :]), out.dtype)
            self._fold(border, rest, grad)
        for place, line in zip(places, lines, strict=True):
            out[(*before, source[place])] += grad[(*before, line)]


def sides_of(padding, size, kernel, stride, dilation):
    """((before, after), ...) of each axis, from a padding that has been checked and one number for each axis."""
    if padding == "valid":
        return ((0, 0),) * len(size)
    reaches = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if padding == "causal":
        return ((reaches[0], 0),)
    if isinstance(padding, str):
        totals = [max((-(-n // s) - 1) * s + r + 1 - n, 0) for n, s, r in zip(size, stride, reaches, strict=True)]
        halves = [total // 2 for total in totals]
        sides = ((half, total - half) for half, total in zip(halves, totals, strict=True))
        return tuple(sides if padding == "same" else (side[::-1] for side in sides))
    return tuple(
        (side, side) if not isinstance(side, (tuple, list)) else tuple(side) for side in each(padding, len(size))
    )


def each(value, axes):
    """One entry for each axis from one for all."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * axes


def border_of(output_shape, x_shape, weight_shape, mode, geometry):
    """The border that a convolution's padding asks for. ``output_shape``: the function of that name, which checks."""
    check_mode(mode)
    output_shape(x_shape, weight_shape, **geometry)
    axes, layout = len(weight_shape) - 2, geometry["layout"]
    size = [x_shape[axis] for axis in pixel_axes(len(x_shape), axes, layout)]
    kernel = weight_shape[2:] if layout.startswith("NC") else weight_shape[:axes]
    stride, dilation = (each(geometry[name], axes) for name in ("stride", "dilation"))
    return Border(x_shape, layout, sides_of(geometry["padding"], size, kernel, stride, dilation), mode)


def refuse_overlap(out, array, name):
    if isinstance(out, np.ndarray) and errors.share_memory(out, array):
        raise errors.overlap(name)


def images(x, name="x"):
    """``x``, which must be an array that a convolution reads."""
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise errors.not_an_array(name, x)
    if x.dtype.char not in "fdebBh":
        raise errors.wrong_dtype(name, x.dtype, True)
    return x


def shape_of(weight):
    """Of an array or of packed weights."""
    if not hasattr(weight, "shape"):
        raise errors.not_an_array("weight", weight)
    return weight.shape


def convolve(function, output_shape, x, weight, bias, mode, geometry, out, **how):
    """A forward convolution of images with such a border."""
    border = border_of(output_shape, images(x).shape, shape_of(weight), mode, geometry)
    refuse_overlap(out, x, "x")
    return function(border.put(x), weight, bias, out=out, **geometry | {"padding": 0}, **how)


def backward_input(function, output_shape, grad_y, weight, x_shape, mode, geometry, out, **how):
    border = border_of(output_shape, tuple(x_shape), shape_of(weight), mode, geometry)
    if out is not None:
        errors.check_out(out, border.inner_shape, np.result_type(images(grad_y, "grad_y"), weight.dtype))
        refuse_overlap(out, grad_y, "grad_y")
        refuse_overlap(out, getattr(weight, "weight", weight), "weight")
    return border.fold(function(grad_y, weight, border.shape, **geometry | {"padding": 0}, **how), out)


def backward_weight(function, output_shape, grad_y, x, weight_shape, mode, geometry, out, **how):
    border = border_of(output_shape, images(x).shape, tuple(weight_shape), mode, geometry)
    refuse_overlap(out, x, "x")
    return function(grad_y, border.put(x), weight_shape, out=out, **geometry | {"padding": 0}, **how)
