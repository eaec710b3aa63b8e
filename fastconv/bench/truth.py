# SPDX-License-Identifier: BSD-3-Clause
"""What the results must be: float64 NumPy, written from the formulas, sharing no code with fastconv.

A convolution is a sum over filter taps of one matrix product each, so these run at the speed of NumPy's matrix product.
Images are NHWC, weights (R, S, C/groups, K).

The whole result of a large layer in float64 would take longer than all timing. What is computed is a `Sample`: the
first and the last image of the batch and a few channels and filters, the first and the last among them, at all pixels.
That is the same operation on a smaller layer; borders, corners and the ends of every axis are in it.
"""

from dataclasses import dataclass, replace

import numpy as np

# Relative L2 errors that fastconv promises for float32, by precision, and for float64.
PROMISED = {"strict": 1e-6, "high": 5e-6, "medium": 3e-3}
PROMISED_FLOAT64 = 1e-13

IMAGES = 2
CHANNELS = 8


def few(size, count):
    """At most ``count`` numbers below ``size``, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, size - 1, min(size, count)).round().astype(int))


@dataclass(frozen=True)
class Sample:
    """Which images, input channels and filters are computed, and ``layer``, the problem that leaves."""

    layer: object
    images: np.ndarray
    channels: np.ndarray
    filters: np.ndarray

    def x(self, x):
        return x[np.ix_(self.images, *map(np.arange, x.shape[1:3]), self.channels)]

    def y(self, y):
        return y[np.ix_(self.images, *map(np.arange, y.shape[1:3]), self.filters)]

    def weight(self, weight):
        """The weights of the channels and filters; those of a group have channels of their own."""
        channels = self.channels if self.layer.groups == 1 else np.arange(weight.shape[2])
        return weight[np.ix_(*map(np.arange, weight.shape[:2]), channels, self.filters)]


def conv_sample(conv, batch, *, images=IMAGES, channels=CHANNELS, filters=CHANNELS):
    """A sample of a convolution, of so many images, channels and filters; None for all, as what is summed over must be.

    In a grouped convolution whole groups are chosen.
    """
    chosen = few(batch, images or batch)
    if conv.groups == 1:
        cs, ks = few(conv.c, channels or conv.c), few(conv.k, filters or conv.k)
        return Sample(replace(conv, c=len(cs), k=len(ks)), chosen, cs, ks)
    groups = few(conv.groups, CHANNELS)
    cs, ks = (_members(groups, size // conv.groups) for size in (conv.c, conv.k))
    return Sample(replace(conv, c=len(cs), k=len(ks), groups=len(groups)), chosen, cs, ks)


def _members(groups, size):
    return (groups[:, None] * size + np.arange(size)).ravel()


def pool_sample(pool, batch):
    """A sample of a pooling layer, whose channels are computed each by itself."""
    cs = few(pool.c, CHANNELS)
    return Sample(replace(pool, c=len(cs)), few(batch, IMAGES), cs, cs)


def _window(layer, r, s):
    """The slices of the padded image that tap (r, s) of the filter or window meets, one pixel per output."""
    rows = slice(r, r + layer.stride * (layer.p - 1) + 1, layer.stride)
    columns = slice(s, s + layer.stride * (layer.q - 1) + 1, layer.stride)
    return (slice(None), rows, columns)


def _pad(layer, x, value=0.0):
    pad = (layer.padding, layer.padding)
    return np.pad(x.astype(np.float64), ((0, 0), pad, pad, (0, 0)), constant_values=value)


def _crop(layer, x):
    pad = layer.padding
    return x[:, pad : pad + layer.h, pad : pad + layer.w]


def _groups(layer):
    """Pairs of slices: the input channels and the filters of each group."""
    c, k = layer.c // layer.groups, layer.k // layer.groups
    for g in range(layer.groups):
        yield slice(g * c, (g + 1) * c), slice(g * k, (g + 1) * k)


def _taps(layer):
    return np.ndindex(layer.r, layer.s)


def conv2d(layer, x, weight):
    xp, weight = _pad(layer, x), weight.astype(np.float64)
    y = np.zeros(layer.y_shape(len(x)))
    for r, s in _taps(layer):
        patch = xp[_window(layer, r, s)]
        for c, k in _groups(layer):
            y[..., k] += patch[..., c] @ weight[r, s][:, k]
    return y


def conv2d_backward_input(layer, grad_y, weight):
    grad_y, weight = grad_y.astype(np.float64), weight.astype(np.float64)
    grad_x = _pad(layer, np.zeros(layer.x_shape(len(grad_y))))
    for r, s in _taps(layer):
        patch = grad_x[_window(layer, r, s)]
        for c, k in _groups(layer):
            patch[..., c] += grad_y[..., k] @ weight[r, s][:, k].T
    return _crop(layer, grad_x)


def conv2d_backward_weight(layer, grad_y, x):
    xp, grad_y = _pad(layer, x), grad_y.astype(np.float64)
    grad_weight = np.zeros(layer.weight_shape)
    pixels = (0, 1, 2)
    for r, s in _taps(layer):
        patch = xp[_window(layer, r, s)]
        for c, k in _groups(layer):
            grad_weight[r, s][:, k] = np.tensordot(patch[..., c], grad_y[..., k], (pixels, pixels))
    return grad_weight


def conv1d(layer, x, weight):
    xp = np.pad(x.astype(np.float64), ((0, 0), (layer.padding, layer.padding), (0, 0)))
    reach = layer.stride * (layer.q - 1) + 1
    return sum(xp[:, s : s + reach : layer.stride] @ weight[s].astype(np.float64) for s in range(layer.s))


def max_pool2d(layer, x):
    """The maxima, and of each the number of the tap it came from (the first in row-major order)."""
    xp = _pad(layer, x, -np.inf)
    y = np.full(layer.y_shape(len(x)), -np.inf)
    taps = np.zeros(y.shape, np.int64)
    for tap, (r, s) in enumerate(np.ndindex(layer.size, layer.size)):
        patch = xp[_window(layer, r, s)]
        larger = patch > y
        y[larger] = patch[larger]
        taps[larger] = tap
    return y, taps


def max_pool2d_backward(layer, grad_y, x):
    _, taps = max_pool2d(layer, x)
    grad_x = _pad(layer, np.zeros(x.shape))
    for tap, (r, s) in enumerate(np.ndindex(layer.size, layer.size)):
        grad_x[_window(layer, r, s)] += np.where(taps == tap, grad_y, 0.0)
    return _crop(layer, grad_x)


def avg_pool2d(layer, x):
    xp = _pad(layer, x)
    taps = np.ndindex(layer.size, layer.size)
    return sum(xp[_window(layer, r, s)] for r, s in taps) / layer.size**2


def avg_pool2d_backward(layer, grad_y):
    share = grad_y.astype(np.float64) / layer.size**2
    grad_x = _pad(layer, np.zeros(layer.x_shape(len(grad_y))))
    for r, s in np.ndindex(layer.size, layer.size):
        grad_x[_window(layer, r, s)] += share
    return _crop(layer, grad_x)


def product(a, b):
    return a.astype(np.float64) @ b.astype(np.float64)
