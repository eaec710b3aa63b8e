# SPDX-License-Identifier: BSD-3-Clause
"""JAX, whose compiler is XLA."""

import os
from functools import partial

import numpy as np

from fastconv.bench.arrays import LAYOUTS
from fastconv.bench.rivals.base import Rival, Run


class Jax(Rival):
    """JAX: compiled functions on arrays in the layout of the run; gradients as JAX derives them."""

    requires = ("jax",)
    layouts = ("NHWC", "NCHW")
    dtypes = ("float32", "float64")
    rest_seconds = 0.005  # seen: 0.1 ms
    one_thread_count = True

    def __init__(self, threads, layout):
        os.environ["PJRT_NPROC"] = str(threads)  # read once, when JAX starts its thread pool
        import jax

        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", True)
        self.jax = jax
        self.layout = LAYOUTS[layout]
        self.dimensions = {
            "NHWC": ("NHWC", "HWIO", "NHWC"),
            "NCHW": ("NCHW", "OIHW", "NCHW"),
        }[layout]

    def _image(self, nhwc):
        return self.jax.numpy.asarray(self.layout.image(nhwc))

    def _weight(self, hwio):
        return self.jax.numpy.asarray(self.layout.weight(hwio))

    def _run(self, function, inputs, back):
        compiled, wait = self.jax.jit(function), self.jax.block_until_ready
        return Run(lambda: wait(compiled(*inputs)), lambda result: back(np.asarray(result)))

    def _transpose(self, function, shape, dtype, grad_y):
        """The gradient of a linear function of an array of ``shape``."""
        like = self.jax.ShapeDtypeStruct(shape, dtype)
        return self.jax.linear_transpose(function, like)(grad_y)[0]

    def _convolution(self, layer):
        return partial(
            self.jax.lax.conv_general_dilated,
            window_strides=2 * (layer.stride,),
            padding=2 * ((layer.padding, layer.padding),),
            dimension_numbers=self.dimensions,
            feature_group_count=layer.groups,
        )

    def conv2d(self, layer, x, weight):
        inputs = (self._image(x), self._weight(weight))
        return self._run(self._convolution(layer), inputs, self.layout.to_nhwc)

    def conv2d_backward_input(self, layer, grad_y, weight):
        convolution = self._convolution(layer)
        shape = self.layout.image_shape(layer.x_shape(len(grad_y)))

        def backward(grad_y, weight):
            return self._transpose(lambda x: convolution(x, weight), shape, grad_y.dtype, grad_y)

        inputs = (self._image(grad_y), self._weight(weight))
        return self._run(backward, inputs, self.layout.to_nhwc)

    def conv2d_backward_weight(self, layer, grad_y, x):
        convolution = self._convolution(layer)
        shape = self.layout.weight_shape(layer.weight_shape)

        def backward(grad_y, x):
            return self._transpose(partial(convolution, x), shape, grad_y.dtype, grad_y)

        return self._run(backward, (self._image(grad_y), self._image(x)), self.layout.to_hwio)

    def _pool(self, layer, start, combine):
        def of_pixels(pixels, others):
            return self.layout.image_shape((others, pixels, pixels, others))

        window, strides = of_pixels(layer.size, 1), of_pixels(layer.stride, 1)
        padding = of_pixels(2 * (layer.padding,), (0, 0))
        return lambda x: self.jax.lax.reduce_window(x, start, combine, window, strides, padding)

    def _max_pool(self, layer):
        return self._pool(layer, -np.inf, self.jax.lax.max)

    def _avg_pool(self, layer):
        total = self._pool(layer, 0.0, self.jax.lax.add)
        return lambda x: total(x) / layer.size**2

    def max_pool2d(self, layer, x):
        return self._run(self._max_pool(layer), (self._image(x),), self.layout.to_nhwc)

    def avg_pool2d(self, layer, x):
        return self._run(self._avg_pool(layer), (self._image(x),), self.layout.to_nhwc)

    def max_pool2d_backward(self, layer, grad_y, x):
        pool = self._max_pool(layer)

        def backward(grad_y, x):
            return self.jax.vjp(pool, x)[1](grad_y)[0]

        return self._run(backward, (self._image(grad_y), self._image(x)), self.layout.to_nhwc)

    def avg_pool2d_backward(self, layer, grad_y):
        shape = self.layout.image_shape(layer.x_shape(len(grad_y)))
        backward = partial(self._transpose, self._avg_pool(layer), shape, grad_y.dtype)
        return self._run(backward, (self._image(grad_y),), self.layout.to_nhwc)

    def linear(self, layer, x, weight):
        return self._matrices(lambda x, weight: x @ weight, x, weight)

    def linear_backward_input(self, layer, grad_y, weight):
        return self._matrices(lambda grad_y, weight: grad_y @ weight.T, grad_y, weight)

    def linear_backward_weight(self, layer, grad_y, x):
        return self._matrices(lambda grad_y, x: x.T @ grad_y, grad_y, x)

    def _matrices(self, function, *arrays):
        return self._run(function, tuple(map(self.jax.numpy.asarray, arrays)), lambda y: y)
