# SPDX-License-Identifier: BSD-3-Clause
"""Pooling layers whose windows follow from the size of the images: global and adaptive."""

from fastconv import ops
from fastconv.arguments import positive_integer
from fastconv.layers.base import Layer
from fastconv.layers.pixels import joined_shape, split_shape
from fastconv.layers.pool import INDEX


class _Global(Layer):
    """One window over all pixels: images of any size to (N, C)."""

    axes = 2  # of pixels

    def output_shape(self, input_shape):
        return (split_shape(self, input_shape, self.axes)[1],)

    def plan(self, x_shape):
        """The size of the images, the shape of the result with and without the axes of the pixels."""
        y_shape = (x_shape[0], *self.output_shape(x_shape[1:]))
        ones = (1,) * self.axes
        if self.layout == "NCHW":
            return x_shape[2:], (*y_shape, *ones), y_shape
        return x_shape[1:-1], (x_shape[0], *ones, x_shape[-1]), y_shape

    def _function(self, name, suffix=""):
        return getattr(ops, f"{name}{self.axes}d{suffix}")


class GlobalAveragePooling2D(_Global):
    """Mean over each image's plane: (N, H, W, C) or (N, C, H, W) to (N, C)."""

    def forward(self, x, training=False):
        if training:
            self._x_shape = x.shape
        size, kept, y_shape = self.planned(x.shape)
        out = self.buffer("y", kept, x.dtype) if training else None
        return self._function("avg_pool")(x, size, layout=self.layout or "NHWC", out=out).reshape(y_shape)

    def backward(self, grad_y):
        size, kept, _ = self.planned(self._x_shape)
        out = self.gradient_buffer(self._x_shape, grad_y.dtype)
        layout = self.layout or "NHWC"
        backward = self._function("avg_pool", "_backward")
        return backward(grad_y.reshape(kept), self._x_shape, size, layout=layout, out=out)


class GlobalMaxPooling2D(_Global):
    """Maximum over each image's plane: (N, H, W, C) or (N, C, H, W) to (N, C)."""

    def forward(self, x, training=False):
        layout = self.layout or "NHWC"
        if not training:
            return self._function("global_max_pool")(x, layout=layout)
        self._x_shape = x.shape
        size, kept, y_shape = self.planned(x.shape)
        out = self.buffer("y", kept, x.dtype), self.buffer("indices", kept, INDEX)
        y, self._indices = self._function("max_pool")(x, size, layout=layout, return_indices=True, out=out)
        return y.reshape(y_shape)

    def backward(self, grad_y):
        _, kept, _ = self.planned(self._x_shape)
        out = self.gradient_buffer(self._x_shape, grad_y.dtype)
        backward = self._function("max_pool", "_backward")
        return backward(grad_y.reshape(kept), self._indices, self._x_shape, layout=self.layout or "NHWC", out=out)


class GlobalAveragePooling1D(GlobalAveragePooling2D):
    """Mean over each sequence: (N, W, C) or (N, C, W) to (N, C)."""

    axes = 1


class GlobalAveragePooling3D(GlobalAveragePooling2D):
    """Mean over each volume: (N, D, H, W, C) or (N, C, D, H, W) to (N, C)."""

    axes = 3


class GlobalMaxPooling1D(GlobalMaxPooling2D):
    """Maximum over each sequence: (N, W, C) or (N, C, W) to (N, C)."""

    axes = 1


class GlobalMaxPooling3D(GlobalMaxPooling2D):
    """Maximum over each volume: (N, D, H, W, C) or (N, C, D, H, W) to (N, C)."""

    axes = 3


class _Adaptive(Layer):
    """Windows that share the image: the result has ``output_size`` pixels, an integer or (height, width), whatever the
    size of the image; None in the place of a number: as many as the image has."""

    config_names = ("output_size",)

    def __init__(self, output_size, **common):
        super().__init__(**common)
        sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * 2
        if len(sizes) != 2:
            raise ValueError(f"output_size must be an integer or two, got {output_size!r}")
        self.output_size = tuple(None if size is None else positive_integer(size, "output_size") for size in sizes)

    def output_shape(self, input_shape):
        pixels, channels = split_shape(self, input_shape)
        return joined_shape(self, [of or n for of, n in zip(self.output_size, pixels, strict=True)], channels)

    def plan(self, x_shape):
        return (x_shape[0], *self.output_shape(x_shape[1:]))


class AdaptiveAveragePooling2D(_Adaptive):
    """Mean of each window; see ``fastconv.adaptive_avg_pool2d``."""

    def forward(self, x, training=False):
        if training:
            self._x_shape = x.shape
        out = self.buffer("y", self.planned(x.shape), x.dtype) if training else None
        return ops.adaptive_avg_pool2d(x, self.output_size, layout=self.layout or "NHWC", out=out)

    def backward(self, grad_y):
        out = self.gradient_buffer(self._x_shape, grad_y.dtype)
        return ops.adaptive_avg_pool2d_backward(grad_y, self._x_shape, layout=self.layout or "NHWC", out=out)


class AdaptiveMaxPooling2D(_Adaptive):
    """Maximum of each window; see ``fastconv.adaptive_max_pool2d``."""

    def forward(self, x, training=False):
        layout = self.layout or "NHWC"
        if not training:
            return ops.adaptive_max_pool2d(x, self.output_size, layout=layout)
        self._x_shape, y_shape = x.shape, self.planned(x.shape)
        out = self.buffer("y", y_shape, x.dtype), self.buffer("indices", y_shape, INDEX)
        y, self._indices = ops.adaptive_max_pool2d(x, self.output_size, return_indices=True, layout=layout, out=out)
        return y

    def backward(self, grad_y):
        out = self.gradient_buffer(self._x_shape, grad_y.dtype)
        return ops.max_pool2d_backward(grad_y, self._indices, self._x_shape, layout=self.layout or "NHWC", out=out)
