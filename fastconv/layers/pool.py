# SPDX-License-Identifier: BSD-3-Clause
"""Pooling layers."""

import numpy as np

from fastconv import ops
from fastconv.arguments import boolean, integer_tuple, keras_names, positive_integer
from fastconv.layers.base import Layer
from fastconv.layers.windows import unread_pixels

INDEX = np.dtype(np.int64)


class _Pooling(Layer):
    """What the two windowed layers share: where their windows lie."""

    takes_out = True
    axes = 2  # of pixels

    def __init__(self, kernel_size, stride, padding, ceil_mode, **common):
        super().__init__(**common)
        self.kernel_size = integer_tuple(kernel_size, "kernel_size", self.axes)
        self.stride = self.kernel_size if stride is None else integer_tuple(stride, "stride", self.axes)
        self.padding = padding
        self.ceil_mode = boolean(ceil_mode, "ceil_mode")

    def output_shape(self, input_shape):
        dilation = getattr(self, "dilation", 1)
        shape = self._function("pool", "_output_shape")((1, *input_shape), dilation=dilation, **self._window())
        return shape[1:]

    def unread_pixels(self, input_shape):
        output_shape, dilation = self.output_shape(input_shape), getattr(self, "dilation", 1)
        axes = slice(1, None) if self.layout == "NCHW" else slice(None, -1)
        window = self.kernel_size, self.stride, self.padding, dilation
        return unread_pixels(input_shape[axes], output_shape[axes], *window)

    def _function(self, name, suffix=""):
        """The operation on images with so many axes."""
        return getattr(ops, f"{name}{self.axes}d{suffix}")

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
        self.dilation = integer_tuple(dilation, "dilation", self.axes)

    def forward(self, x, training=False, out=None):
        window, y_shape = self.planned(x.shape)
        if not training:
            return self._function("max_pool")(x, dilation=self.dilation, **window, out=out)
        self._x_shape = x.shape
        out = self.buffer("y", y_shape, x.dtype) if out is None else out, self.buffer("indices", y_shape, INDEX)
        y, self._indices = self._function("max_pool")(x, dilation=self.dilation, return_indices=True, out=out, **window)
        return y

    def backward(self, grad_y):
        return self._function("max_pool", "_backward")(
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
        return self._function("avg_pool")(x, **window, **self._divisor(), out=out)

    def backward(self, grad_y):
        return self._function("avg_pool", "_backward")(
            grad_y,
            self._x_shape,
            **self.planned(self._x_shape)[0],
            **self._divisor(),
            out=self.gradient_buffer(self._x_shape, grad_y.dtype),
        )


class MaxPooling1D(MaxPooling2D):
    """Maximum of each window of sequences; see ``fastconv.max_pool1d``. The arguments are those of MaxPooling2D with
    one number."""

    axes = 1


class MaxPooling3D(MaxPooling2D):
    """Maximum of each window of volumes; see ``fastconv.max_pool3d``. The arguments are those of MaxPooling2D with
    three numbers."""

    axes = 3


class AveragePooling1D(AveragePooling2D):
    """Mean of each window of sequences; see ``fastconv.avg_pool1d``. The arguments are those of AveragePooling2D with
    one number."""

    axes = 1


class AveragePooling3D(AveragePooling2D):
    """Mean of each window of volumes; see ``fastconv.avg_pool3d``. The arguments are those of AveragePooling2D with
    three numbers."""

    axes = 3
