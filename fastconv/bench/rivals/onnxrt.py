# SPDX-License-Identifier: BSD-3-Clause
"""ONNX Runtime: a model of one node."""

from functools import partial

import numpy as np

from fastconv.bench.arrays import NCHW
from fastconv.bench.rivals.base import Rival, Run


class OnnxRuntime(Rival):
    """ONNX Runtime: forward operations, weights constant, input and output bound once."""

    requires = ("onnxruntime", "onnx")
    layouts = ("NCHW",)
    dtypes = ("float32",)
    lacks = "offers no gradients"
    rest_seconds = 0.06  # seen: 30 to 47 ms

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
