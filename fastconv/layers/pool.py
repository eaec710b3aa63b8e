# SPDX-License-Identifier: BSD-3-Clause
"""Pooling layers."""

import numpy as np

from fastconv import ops
from fastconv.arguments import boolean, integer_pair, keras_names, positive_integer
from fastconv.layers.base import Layer


class _Pooling(Layer):
    """What the two windowed layers share: where their windows lie."""

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

    def _window(self):
        return {
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "padding": self.padding,
            "ceil_mode": self.ceil_mode,
            "layout": self.layout or "NHWC",
        }

    def _y_buffer(self, x, training):
        if not training:
            return None
        return self.buffer("y", (len(x), *self.output_shape(x.shape[1:])), x.dtype)


class MaxPooling2D(_Pooling):
    """Maximum of each window; see ``fastconv.max_pool2d``. Keras's spellings ``pool_size``,
    ``strides`` and ``dilation_rate`` are understood."""

    config_names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    @keras_names(pool_size="kernel_size", strides="stride", dilation_rate="dilation")
    def __init__(self, kernel_size=2, stride=None, padding=0, *, dilation=1, ceil_mode=False, **common):
        super().__init__(kernel_size, stride, padding, ceil_mode, **common)
        self.dilation = integer_pair(dilation, "dilation")

    def forward(self, x, training=False):
        window = {**self._window(), "dilation": self.dilation}
        if not training:
            return ops.max_pool2d(x, **window)
        out = self._y_buffer(x, training)
        self._x_shape = x.shape
        y, self._indices = ops.max_pool2d(x, **window, return_indices=True, out=out)
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

    def forward(self, x, training=False):
        if training:
            self._x_shape = x.shape
        out = self._y_buffer(x, training)
        return ops.avg_pool2d(x, **self._window(), **self._divisor(), out=out)

    def backward(self, grad_y):
        return ops.avg_pool2d_backward(
            grad_y,
            self._x_shape,
            **self._window(),
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

    def forward(self, x, training=False):
        if training:
            self._x_shape = x.shape
        return ops.global_avg_pool2d(x, layout=self.layout or "NHWC")

    def backward(self, grad_y):
        height, width = (self._x_shape[axis] for axis in self._axes())
        grad_x = self.gradient_buffer(self._x_shape, grad_y.dtype)
        if grad_x is None:
            grad_x = np.empty(self._x_shape, grad_y.dtype)
        grad_x[...] = np.expand_dims(grad_y * (1 / (height * width)), self._axes())
        return grad_x
