# SPDX-License-Identifier: BSD-3-Clause
"""The truth about volumes: convolution with one more axis of meetings than in oracle.py, whose words are used here."""

from itertools import product

import numpy as np
from oracle import ACTIVATIONS, axis_meetings, named_border, output_length


def all_axes(value):
    """(depth, vertical, horizontal) from one number or from one entry per axis."""
    return (value,) * 3 if np.ndim(value) == 0 else tuple(value)


def border(padding, size, kernel, stride, dilation):
    """(before, after) on each axis."""
    if isinstance(padding, str):
        return [named_border(padding, *axis) for axis in zip(size, kernel, stride, dilation, strict=True)]
    return [(one, one) if np.ndim(one) == 0 else tuple(one) for one in all_axes(padding)]


def last(volumes, layout):
    """Channels last."""
    return volumes if layout == "NDHWC" else np.moveaxis(volumes, 1, -1)


def taps_first(weight, layout):
    return weight if layout == "NDHWC" else weight.transpose(2, 3, 4, 1, 0)


def like(array, given, layout, axes):
    """The inverse of either, given the function."""
    if layout == "NDHWC":
        return array
    return np.moveaxis(array, -1, 1) if given == "volumes" else array.transpose(axes)


def geometry(size, kernel, stride, padding, dilation, outputs=None):
    stride, dilation = all_axes(stride), all_axes(dilation)
    borders = border(padding, size, kernel, stride, dilation)
    axes = list(zip(size, kernel, stride, dilation, borders, strict=True))
    outputs = outputs or [output_length(*axis) for axis in axes]
    meet = [
        list(axis_meetings(in_size, out, taps, step, spread, before))
        for (in_size, taps, step, spread, (before, _)), out in zip(axes, outputs, strict=True)
    ]
    return outputs, meet


def meetings(x_shape, weight_shape, meet, groups):
    """One tap and one group at a time, as indices into x, weight and y with channels last."""
    channels, filters = x_shape[-1], weight_shape[-1]
    for taps in product(*meet):
        for group in range(groups):
            c_at = slice(group * channels // groups, (group + 1) * channels // groups)
            k_at = slice(group * filters // groups, (group + 1) * filters // groups)
            in_x = (slice(x_shape[0]), *(seen for _, _, seen in taps), c_at)
            in_y = (slice(x_shape[0]), *(inside for _, inside, _ in taps), k_at)
            yield in_x, (*(tap for tap, _, _ in taps), slice(None), k_at), in_y


def conv3d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1, layout="NDHWC", activation=None):
    """y[o, p, q] is the sum over its meetings of x[d, h, w] @ weight[t, r, s]."""
    x, weight = last(x, layout).astype(np.float64), taps_first(weight, layout).astype(np.float64)
    outputs, meet = geometry(x.shape[1:4], weight.shape[:3], stride, padding, dilation)
    y = np.zeros((len(x), *outputs, weight.shape[-1]))
    for in_x, in_weight, in_y in meetings(x.shape, weight.shape, meet, groups):
        y[in_y] += x[in_x] @ weight[in_weight]
    return like(ACTIVATIONS[activation](y if bias is None else y + bias), "volumes", layout, None)


def conv3d_backward(grad_y, x, weight, *, stride=1, padding=0, dilation=1, groups=1, layout="NDHWC"):
    """Gradients of sum(conv3d(x, weight, bias) * grad_y) by x, weight and bias."""
    grad_y, x = last(grad_y, layout).astype(np.float64), last(x, layout).astype(np.float64)
    weight = taps_first(weight, layout).astype(np.float64)
    _, meet = geometry(x.shape[1:4], weight.shape[:3], stride, padding, dilation, grad_y.shape[1:4])
    grad_x, grad_weight = np.zeros_like(x), np.zeros_like(weight)
    for in_x, in_weight, in_y in meetings(x.shape, weight.shape, meet, groups):
        grad_x[in_x] += grad_y[in_y] @ weight[in_weight].T
        grad_weight[in_weight] += np.tensordot(x[in_x], grad_y[in_y], axes=((0, 1, 2, 3), (0, 1, 2, 3)))
    grad_weight = like(grad_weight, "filters", layout, (4, 3, 0, 1, 2))
    return like(grad_x, "volumes", layout, None), grad_weight, grad_y.sum(axis=(0, 1, 2, 3))
