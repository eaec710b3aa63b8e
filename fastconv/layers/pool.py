# SPDX-License-Identifier: BSD-3-Clause
"""Pooling layers."""

import numpy as np

from fastconv import ops
from fastconv.arguments import boolean, integer_pair, keras_names, positive_integer
from fastconv.layers.base import Layer
from fastconv.layers.windows import unread_pixels

INDEX = np.dtype(np.int64)


class _Pooling(Layer):
    """What the two windowed layers share: where their windows lie."""

    takes_out = True

    def __init__(self, kernel_size, stride, padding, ceil_mode, **common):
        super().__init__(**common)
        self.kernel_size = integer_pair(kernel_size, "kernel_size")
        self.stride = self.kernel_size if stride is None else integer_pair(stride, "stride")
        self.padding = padding
        self.ceil_mode = boolean(ceil_mode, "ceil_mode")

    def output_shape(self, input_shape):
        dilation = getattr(self, "dilation", 1)
        shape = ops.pool2d_output_shape((1, *input_shape), dilation=dilation, **self._window())
        return shape[1:]

    def unread_pixels(self, input_shape):
        output_shape, dilation = self.output_shape(input_shape), getattr(self, "dilation", 1)
        axes = slice(1, None) if self.layout == "NCHW" else slice(None, -1)
        window = self.kernel_size, self.stride, self.padding, dilation
        return unread_pixels(input_shape[axes], output_shape[axes], *window)

    def _window(self):
        return {
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "padding": self.padding,
            "ceil_mode": self.ceil_mode,
            "layout": self.layout or "NHWC",
        }

    def plan(self, x_shape):
        """The arguments of the pooling, the shape of its result."""
        return self._window(), (x_shape[0], *self.output_shape(x_shape[1:]))


class MaxPooling2D(_Pooling):
    """Maximum of each window; see ``fastconv.max_pool2d``. Keras's spellings ``pool_size``,
    ``strides`` and ``dilation_rate`` are understood."""

    config_names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    @keras_names(pool_size="kernel_size", strides="stride", dilation_rate="dilation")
    def __init__(self, kernel_size=2, stride=None, padding=0, *, dilation=1, ceil_mode=False, **common):
        super().__init__(kernel_size, stride, padding, ceil_mode, **common)
        self.dilation = integer_pair(dilation, "dilation")

    def forward(self, x, training=False, out=None):
        window, y_shape = self.planned(x.shape)
        if not training:
            return ops.max_pool2d(x, dilation=self.dilation, **window, out=out)
        self._x_shape = x.shape
        out = self.buffer("y", y_shape, x.dtype) if out is None else out, self.buffer("indices", y_shape, INDEX)
        y, self._indices = ops.max_pool2d(x, dilation=self.dilation, return_indices=True, out=out, **window)
        return y

    def backward(self, grad_y):
        return ops.max_pool2d_backward(
            grad_y,
            self._indices,
            self._x_shape,
            layout=self.layout or "NHWC",
            out=self.gradient_buffer(self._x_shape, grad_y.dtype),
        )


class AveragePooling2D(_Pooling):
    """Mean of each window; see ``fastconv.avg_pool2d``. Keras's spellings ``pool_size`` and
    ``strides`` are understood."""

    config_names = (
        *("kernel_size", "stride", "padding", "ceil_mode"),
        *("count_include_pad", "divisor_override"),
    )

    @keras_names(pool_size="kernel_size", strides="stride")
    def __init__(
        self,
        kernel_size=2,
        stride=None,
        padding=0,
        *,
        ceil_mode=False,
        count_include_pad=None,
        divisor_override=None,
        **common,
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode, **common)
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override
        if count_include_pad is not None:
            self.count_include_pad = boolean(count_include_pad, "count_include_pad")
        if divisor_override is not None:
            self.divisor_override = positive_integer(divisor_override, "divisor_override")

    def _divisor(self):
        return {
            "count_include_pad": self.count_include_pad,
            "divisor_override": self.divisor_override,
        }

    def forward(self, x, training=False, out=None):
        window, y_shape = self.planned(x.shape)
        if training:
            self._x_shape = x.shape
            out = self.buffer("y", y_shape, x.dtype) if out is None else out
        return ops.avg_pool2d(x, **window, **self._divisor(), out=out)

    def backward(self, grad_y):
        return ops.avg_pool2d_backward(
            grad_y,
            self._x_shape,
            **self.planned(self._x_shape)[0],
            **self._divisor(),
            out=self.gradient_buffer(self._x_shape, grad_y.dtype),
        )


class GlobalAveragePooling2D(Layer):
    """Mean over each image's plane: (N, H, W, C) or (N, C, H, W) to (N, C)."""

    def _axes(self):
        return (2, 3) if self.layout == "NCHW" else (1, 2)

    def output_shape(self, input_shape):
        if len(input_shape) != 3:
            raise ValueError(f"GlobalAveragePooling2D takes images, got the shape {input_shape}")
        return (input_shape[0 if self.layout == "NCHW" else 2],)

    def plan(self, x_shape):
        """The size of the images, the shape of the result with and without the axes of the pixels."""
        size = tuple(x_shape[axis] for axis in self._axes())
        kept = tuple(1 if axis in self._axes() else length for axis, length in enumerate(x_shape))
        return size, kept, (x_shape[0], *self.output_shape(x_shape[1:]))

    def forward(self, x, training=False):
        layout = self.layout or "NHWC"
        if not training:
            return ops.global_avg_pool2d(x, layout=layout)
        self._x_shape = x.shape
        size, kept, y_shape = self.planned(x.shape)
        return ops.avg_pool2d(x, size, layout=layout, out=self.buffer("y", kept, x.dtype)).reshape(y_shape)

    def backward(self, grad_y):
        size, kept, _ = self.planned(self._x_shape)
        out = self.gradient_buffer(self._x_shape, grad_y.dtype)
        layout = self.layout or "NHWC"
        return ops.avg_pool2d_backward(grad_y.reshape(kept), self._x_shape, size, layout=layout, out=out)
