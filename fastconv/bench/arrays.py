# SPDX-License-Identifier: BSD-3-Clause
"""Random data and the two array layouts.

All data is made once as NHWC images and (R, S, C/groups, K) weights, in the asked dtype; every contestant gets a
contiguous copy in its own layout, and its result is brought back to be compared.
"""

from dataclasses import dataclass

import numpy as np

from fastconv._core import empty


def contiguous(array):
    if array.flags.c_contiguous:
        return array
    copy = empty(array.shape, array.dtype)
    copy[...] = array
    return copy


@dataclass(frozen=True)
class Layout:
    """Moves arrays from NHWC and HWIO, or NDHWC and DHWIO, to another layout and back; copies are contiguous and begin
    at a cache line, as the rivals' own arrays do."""

    name: str
    channels_first: bool

    def image(self, nhwc):
        return contiguous(nhwc.transpose(self._image_axes(nhwc.ndim)))

    def weight(self, hwio):
        return contiguous(hwio.transpose(self._weight_axes(hwio.ndim)))

    def image_shape(self, shape):
        return tuple(shape[axis] for axis in self._image_axes(len(shape)))

    def weight_shape(self, shape):
        return tuple(shape[axis] for axis in self._weight_axes(len(shape)))

    def to_nhwc(self, image):
        return image.transpose(np.argsort(self._image_axes(image.ndim)))

    def to_hwio(self, weight):
        return weight.transpose(np.argsort(self._weight_axes(weight.ndim)))

    def _image_axes(self, rank):
        return (0, rank - 1, *range(1, rank - 1)) if self.channels_first else tuple(range(rank))

    def _weight_axes(self, rank):
        return (rank - 1, rank - 2, *range(rank - 2)) if self.channels_first else tuple(range(rank))


NHWC = Layout("NHWC", False)
NCHW = Layout("NCHW", True)
LAYOUTS = {layout.name: layout for layout in (NHWC, NCHW)}


class Source:
    """Reproducible normal data of one dtype; the same seed gives the same arrays in every run."""

    def __init__(self, dtype, seed=0):
        self.dtype = np.dtype(dtype)
        self._rng = np.random.default_rng(seed)

    def normal(self, shape, scale=1.0):
        data = empty(np.atleast_1d(shape), self.dtype)
        self._rng.standard_normal(dtype=self.dtype, out=data)
        data *= self.dtype.type(scale)
        return data

    def weights(self, shape):
        """Weights with standard deviation sqrt(2 / fan-in) (He et al. 2015), which keep results near 1."""
        fan_in = int(np.prod(shape[:-1]))
        return self.normal(shape, (2.0 / fan_in) ** 0.5)
