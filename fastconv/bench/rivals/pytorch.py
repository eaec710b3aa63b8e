# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch, in three memory formats and in bfloat16."""

from functools import partial, partialmethod

import numpy as np

from fastconv.bench.arrays import NCHW
from fastconv.bench.norms import RESPONSE
from fastconv.bench.rivals.base import Rival, Run


class TorchTensors(Rival):
    """Tensors of NumPy arrays, and calls on them."""

    requires = ("torch",)
    dtypes = ("float32", "float64")
    rest_seconds = 0.015  # seen: 5 to 9 ms

    def __init__(self, threads, layout):
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.context = torch.inference_mode
        self.channels_last = False

    def _tensor(self, array, wanted=False):
        return self.torch.from_numpy(np.ascontiguousarray(array)).requires_grad_(wanted)

    def _array(self, tensor):
        return tensor.numpy()

    def _image(self, nhwc, wanted=False):
        return self._formatted(NCHW.image(nhwc), wanted)

    def _weight(self, hwio, wanted=False):
        return self._formatted(NCHW.weight(hwio), wanted)

    def memory_format(self, dimensions=4):
        """How arrays of so many dimensions lie in memory."""
        last = self.torch.channels_last_3d if dimensions == 5 else self.torch.channels_last
        return last if self.channels_last else self.torch.contiguous_format

    def _formatted(self, array, wanted):
        tensor = self._tensor(array).contiguous(memory_format=self.memory_format(array.ndim))
        return tensor.requires_grad_(wanted)

    def _forward(self, function, *arguments, **geometry):
        call = partial(function, *arguments, **geometry)
        return Run(call, lambda y: NCHW.to_nhwc(self._array(y)))

    def _backward(self, y, grad_y, back):
        call = partial(y.grad_fn, self._image(grad_y))

        def to_numpy(grads):
            grads = grads if isinstance(grads, tuple) else (grads,)
            (grad,) = (grad for grad in grads if grad is not None)
            return back(self._array(grad))

        return Run(call, to_numpy)


class TorchConvolutions(TorchTensors):
    """Convolutions of images.

    A gradient is a call of the node that autograd made for the operation, which is what ``backward()`` calls; only the
    gradient in question is asked for.
    """

    def conv2d(self, layer, x, weight, convolution="conv2d"):
        call = getattr(self.torch, convolution)
        return self._forward(call, self._image(x), self._weight(weight), **layer.geometry)

    def conv2d_backward_input(self, layer, grad_y, weight, convolution="conv2d"):
        x = self._image(np.zeros(layer.x_shape(len(grad_y)), grad_y.dtype), wanted=True)
        y = getattr(self.torch, convolution)(x, self._weight(weight), **layer.geometry)
        return self._backward(y, grad_y, NCHW.to_nhwc)

    def conv2d_backward_weight(self, layer, grad_y, x, convolution="conv2d"):
        weight = self._weight(np.zeros(layer.weight_shape, x.dtype), wanted=True)
        y = getattr(self.torch, convolution)(self._image(x), weight, **layer.geometry)
        return self._backward(y, grad_y, NCHW.to_hwio)

    conv3d = partialmethod(conv2d, convolution="conv3d")
    conv3d_backward_input = partialmethod(conv2d_backward_input, convolution="conv3d")
    conv3d_backward_weight = partialmethod(conv2d_backward_weight, convolution="conv3d")

    def conv_transpose2d(self, layer, x, weight):
        geometry = layer.geometry | {"output_padding": layer.output_padding}
        return self._forward(self.torch.conv_transpose2d, self._image(x), self._weight(weight), **geometry)


class Torch(TorchConvolutions):
    """PyTorch on NCHW arrays."""

    layouts = ("NCHW",)

    def conv1d(self, layer, x, weight):
        sequence, filters = self._tensor(x.transpose(0, 2, 1)), self._tensor(weight.transpose(2, 1, 0))
        call = partial(self.torch.conv1d, sequence, filters, **layer.geometry)
        return Run(call, lambda y: y.numpy().transpose(0, 2, 1))

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

    def batch_norm(self, layer, x, weight, bias, mean, variance, training=False):
        vectors = map(self._tensor, (mean.copy(), variance.copy(), weight, bias))
        call = self.torch.nn.functional.batch_norm
        return self._forward(call, self._image(x), *vectors, training=training)

    batch_norm_training = partialmethod(batch_norm, training=True)

    def batch_norm_backward(self, layer, grad_y, x, weight, bias):
        leaves = self._image(x, wanted=True), self._tensor(weight, wanted=True), self._tensor(bias, wanted=True)
        y = self.torch.nn.functional.batch_norm(leaves[0], None, None, *leaves[1:], training=True)
        return self._norm_backward(y, grad_y)

    def group_norm(self, layer, x, weight, bias):
        call, groups = self.torch.nn.functional.group_norm, min(layer.groups, layer.c)
        return self._forward(call, self._image(x), groups, self._tensor(weight), self._tensor(bias))

    def group_norm_backward(self, layer, grad_y, x, weight, bias):
        leaves = self._image(x, wanted=True), self._tensor(weight, wanted=True), self._tensor(bias, wanted=True)
        y = self.torch.nn.functional.group_norm(leaves[0], min(layer.groups, layer.c), *leaves[1:])
        return self._norm_backward(y, grad_y, None, None)

    def layer_norm(self, layer, x, weight, bias):
        """Channels are the last axis of what it gets, wherever they are in memory."""
        call = partial(self.torch.nn.functional.layer_norm, self._image(x).permute(0, 2, 3, 1), (layer.c,))
        return Run(partial(call, self._tensor(weight), self._tensor(bias)), lambda y: y.numpy())

    def layer_norm_backward(self, layer, grad_y, x, weight, bias):
        last = self._image(x).permute(0, 2, 3, 1).requires_grad_(True)
        vectors = self._tensor(weight, wanted=True), self._tensor(bias, wanted=True)
        y = self.torch.nn.functional.layer_norm(last, (layer.c,), *vectors)
        call = partial(y.grad_fn, self._image(grad_y).permute(0, 2, 3, 1))
        return Run(call, lambda grads: grads[0].numpy())

    def _norm_backward(self, y, grad_y, *others):
        """``others``: gradients of mean and deviation, where they are results."""
        return Run(partial(y.grad_fn, self._image(grad_y), *others), lambda grads: NCHW.to_nhwc(grads[0].numpy()))

    def local_response_norm(self, layer, x):
        return self._forward(self.torch.nn.functional.local_response_norm, self._image(x), *RESPONSE)

    def local_response_norm_backward(self, layer, grad_y, x):
        """Made of several operations, so that autograd itself has to be asked."""
        leaf, grad = self._image(x, wanted=True), self._image(grad_y)
        y = self.torch.nn.functional.local_response_norm(leaf, *RESPONSE)

        def call():
            with self.torch.inference_mode(False):
                return self.torch.autograd.grad(y, leaf, grad, retain_graph=True)

        return Run(call, lambda grads: NCHW.to_nhwc(grads[0].numpy()))

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
    lacks = "is timed as torch: matrices and sequences have no memory format"

    def __init__(self, threads, layout):
        super().__init__(threads, layout)
        self.channels_last = True

    linear = linear_backward_input = linear_backward_weight = conv1d = None  # the same as in Torch


class TorchBfloat16(TorchConvolutions):
    """PyTorch on channels_last tensors of bfloat16, which are half the size, as if a network had no others."""

    layouts = ("NHWC",)
    dtypes = ("float32",)
    precisions = ("medium",)
    errors = {"float32": 1e-2}  # results have 8 bits as well
    lacks = "is timed for convolution of images alone"

    def __init__(self, threads, layout):
        super().__init__(threads, layout)
        self.channels_last = True

    def _tensor(self, array, wanted=False):
        return super()._tensor(array).bfloat16().requires_grad_(wanted)

    def _array(self, tensor):
        return tensor.float().numpy()


class TorchBlocked(TorchTensors):
    """PyTorch on oneDNN's own tensors, whose channels come in blocks; image and weights are rearranged beforehand."""

    dtypes = ("float32",)
    lacks = "only offers convolution forward in blocks"

    def conv2d(self, layer, x, weight):
        image = self._image(x)
        reorder, geometry = self.torch._C._nn.mkldnn_reorder_conv2d_weight, layer.geometry
        dilation = 1
        packed = reorder(
            self._weight(weight).to_mkldnn(), layer.padding, layer.stride, dilation, layer.groups, tuple(image.shape)
        )
        call = partial(self.torch.conv2d, image.to_mkldnn(), packed, **geometry)
        return Run(call, lambda y: NCHW.to_nhwc(y.to_dense().numpy()))
