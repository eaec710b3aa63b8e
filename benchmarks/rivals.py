# SPDX-License-Identifier: BSD-3-Clause
"""Other libraries, each as a class that prepares one call of an operation.

A method is named after the operation and takes the layer and the data as NumPy arrays (images NHWC,
weights HWIO). It returns a ``Run``: ``call()`` does the operation once, on inputs that are already
in the library's own form and layout, and ``to_numpy`` brings what it returned back to the layout of
the data. An operation that a library does not offer is a method that its class does not have.

A class says which layouts and dtypes its arrays have, which modules it needs, how long its worker threads keep
spinning after a call (``rest_seconds``, with a margin), so that whoever comes next can wait for
that, and in which ``context`` its calls are made.
"""

import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from arrays import LAYOUTS, NCHW


class Run(NamedTuple):
    call: Callable
    to_numpy: Callable


class Torch:
    """PyTorch on NCHW arrays.

    A gradient is a call of the node that autograd made for the operation, which is what
    ``backward()`` calls; only the gradient in question is asked for.
    """

    requires = ("torch",)
    layouts = ("NCHW",)
    dtypes = ("float32", "float64")
    rest_seconds = 0.015  # seen: 5 to 9 ms

    def __init__(self, threads, layout):
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.context = torch.inference_mode
        self.format = torch.contiguous_format

    def _tensor(self, array, wanted=False):
        return self.torch.from_numpy(np.ascontiguousarray(array)).requires_grad_(wanted)

    def _image(self, nhwc, wanted=False):
        tensor = self._tensor(nhwc.transpose(0, 3, 1, 2))
        return tensor.contiguous(memory_format=self.format).requires_grad_(wanted)

    def _weight(self, hwio, wanted=False):
        tensor = self._tensor(hwio.transpose(3, 2, 0, 1))
        return tensor.contiguous(memory_format=self.format).requires_grad_(wanted)

    def _forward(self, function, *arguments, **geometry):
        call = partial(function, *arguments, **geometry)
        return Run(call, lambda y: NCHW.to_nhwc(y.numpy()))

    def _backward(self, y, grad_y, back):
        call = partial(y.grad_fn, self._image(grad_y))

        def to_numpy(grads):
            grads = grads if isinstance(grads, tuple) else (grads,)
            (grad,) = (grad for grad in grads if grad is not None)
            return back(grad.numpy())

        return Run(call, to_numpy)

    def conv2d(self, layer, x, weight):
        conv2d = self.torch.conv2d
        return self._forward(conv2d, self._image(x), self._weight(weight), **layer.geometry)

    def conv2d_backward_input(self, layer, grad_y, weight):
        x = self._image(np.zeros(layer.x_shape(len(grad_y)), grad_y.dtype), wanted=True)
        y = self.torch.conv2d(x, self._weight(weight), **layer.geometry)
        return self._backward(y, grad_y, NCHW.to_nhwc)

    def conv2d_backward_weight(self, layer, grad_y, x):
        weight = self._weight(np.zeros(layer.weight_shape, x.dtype), wanted=True)
        y = self.torch.conv2d(self._image(x), weight, **layer.geometry)
        return self._backward(y, grad_y, NCHW.to_hwio)

    def max_pool2d(self, layer, x):
        return self._forward(self.torch.max_pool2d, self._image(x), **layer.geometry)

    def max_pool2d_backward(self, layer, grad_y, x):
        y = self.torch.max_pool2d(self._image(x, wanted=True), **layer.geometry)
        return self._backward(y, grad_y, NCHW.to_nhwc)

    def avg_pool2d(self, layer, x):
        avg_pool2d = self.torch.nn.functional.avg_pool2d
        return self._forward(avg_pool2d, self._image(x), **layer.geometry)

    def avg_pool2d_backward(self, layer, grad_y):
        x = self._image(np.zeros(layer.x_shape(len(grad_y)), grad_y.dtype), wanted=True)
        y = self.torch.nn.functional.avg_pool2d(x, **layer.geometry)
        return self._backward(y, grad_y, NCHW.to_nhwc)

    def linear(self, layer, x, weight):
        linear = self.torch.nn.functional.linear
        return Run(partial(linear, self._tensor(x), self._tensor(weight.T)), lambda y: y.numpy())

    def linear_backward_input(self, layer, grad_y, weight):
        return Run(partial(self.torch.mm, self._tensor(grad_y), self._tensor(weight.T)), lambda grad: grad.numpy())

    def linear_backward_weight(self, layer, grad_y, x):
        grad_y = self._tensor(grad_y).T
        return Run(partial(self.torch.mm, grad_y, self._tensor(x)), lambda grad: grad.numpy().T)


class TorchChannelsLast(Torch):
    """PyTorch with images and weights in its channels_last memory format."""

    layouts = ("NHWC",)

    def __init__(self, threads, layout):
        super().__init__(threads, layout)
        self.format = self.torch.channels_last

    linear = linear_backward_input = linear_backward_weight = None  # the same as in Torch


class OnnxRuntime:
    """ONNX Runtime: forward operations, weights constant, input and output bound once."""

    requires = ("onnxruntime", "onnx")
    layouts = ("NCHW",)
    dtypes = ("float32",)
    rest_seconds = 0.06  # seen: 30 to 47 ms
    context = nullcontext

    def __init__(self, threads, layout):
        self.threads = threads

    def _run(self, node_type, x, y_shape, back, constants=(), **attributes):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3
        model = _onnx_model(node_type, x, y_shape, constants, attributes)
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        y = onnxruntime.OrtValue.ortvalue_from_numpy(np.empty(y_shape, x.dtype))
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x))
        binding.bind_ortvalue_output("y", y)
        return Run(partial(session.run_with_iobinding, binding), lambda _: back(y.numpy()))

    def conv2d(self, layer, x, weight):
        y_shape = NCHW.image_shape(layer.y_shape(len(x)))
        return self._run(
            "Conv",
            NCHW.image(x),
            y_shape,
            NCHW.to_nhwc,
            [NCHW.weight(weight)],
            strides=2 * [layer.stride],
            pads=4 * [layer.padding],
            group=layer.groups,
        )

    def _pool(self, node_type, layer, x, **attributes):
        y_shape = NCHW.image_shape(layer.y_shape(len(x)))
        attributes |= {
            "kernel_shape": 2 * [layer.size],
            "strides": 2 * [layer.stride],
            "pads": 4 * [layer.padding],
        }
        return self._run(node_type, NCHW.image(x), y_shape, NCHW.to_nhwc, **attributes)

    def max_pool2d(self, layer, x):
        return self._pool("MaxPool", layer, x)

    def avg_pool2d(self, layer, x):
        return self._pool("AveragePool", layer, x, count_include_pad=1)

    def linear(self, layer, x, weight):
        return self._run("Gemm", x, (len(x), layer.k), lambda y: y, [weight])


def _onnx_model(node_type, x, y_shape, constants, attributes):
    """A serialised model of one node with input x, the constants and output y."""
    from onnx import helper, numpy_helper

    dtype = helper.np_dtype_to_tensor_dtype(x.dtype)
    names = [f"constant{i}" for i in range(len(constants))]
    graph = helper.make_graph(
        [helper.make_node(node_type, ["x", *names], ["y"], **attributes)],
        node_type,
        [helper.make_tensor_value_info("x", dtype, x.shape)],
        [helper.make_tensor_value_info("y", dtype, y_shape)],
        [numpy_helper.from_array(a, name) for a, name in zip(constants, names, strict=True)],
    )
    opset = helper.make_opsetid("", 13)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


class Jax:
    """JAX: compiled functions on arrays in the layout of the run; gradients as JAX derives them."""

    requires = ("jax",)
    layouts = ("NHWC", "NCHW")
    dtypes = ("float32", "float64")
    rest_seconds = 0.005  # seen: 0.1 ms
    context = nullcontext

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


RIVALS = {
    "torch": Torch,
    "torch-cl": TorchChannelsLast,
    "onnxrt": OnnxRuntime,
    "jax": Jax,
}


def available(layout, dtype):
    """Names of the rivals that can be imported and take such arrays; for NHWC also those that want NCHW."""
    return [
        name
        for name, rival in RIVALS.items()
        if all(find_spec(module) for module in rival.requires)
        and (layout == "NHWC" or layout in rival.layouts)
        and dtype in rival.dtypes
    ]
