# SPDX-License-Identifier: BSD-3-Clause
"""fastconv: fast, exact convolution and pooling for NumPy arrays, and CNNs on top of them.

    import numpy as np, fastconv as fc
    y = fc.conv2d(x, weight, padding="same", activation="relu")     # x (N, H, W, C), weight (R, S, C, K)

`fastconv.ops` explains the operations, `fastconv.layers` and `fastconv.models` build and train networks.
"""

import importlib

from fastconv import _load  # noqa: F401  (before anything that computes)
from fastconv._core import PackedWeights
from fastconv._version import __version__
from fastconv.explanation import Explanation, explain
from fastconv.ops import (
    Conv1dGradients,
    Conv2dGradients,
    Conv3dGradients,
    ConvTranspose1dGradients,
    ConvTranspose2dGradients,
    ConvTranspose3dGradients,
    LinearGradients,
    NormGradients,
    avg_pool2d,
    avg_pool2d_backward,
    batch_norm,
    batch_norm_backward,
    conv1d,
    conv1d_backward,
    conv1d_backward_input,
    conv1d_backward_weight,
    conv1d_output_shape,
    conv2d,
    conv2d_backward,
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_output_shape,
    conv3d,
    conv3d_backward,
    conv3d_backward_input,
    conv3d_backward_weight,
    conv3d_output_shape,
    conv_transpose1d,
    conv_transpose1d_backward,
    conv_transpose1d_backward_input,
    conv_transpose1d_backward_weight,
    conv_transpose1d_output_shape,
    conv_transpose2d,
    conv_transpose2d_backward,
    conv_transpose2d_backward_input,
    conv_transpose2d_backward_weight,
    conv_transpose2d_output_shape,
    conv_transpose3d,
    conv_transpose3d_backward,
    conv_transpose3d_backward_input,
    conv_transpose3d_backward_weight,
    conv_transpose3d_output_shape,
    embedding,
    embedding_backward,
    global_avg_pool2d,
    global_max_pool2d,
    linear,
    linear_backward,
    max_pool2d,
    max_pool2d_backward,
    pack_weights,
    pool2d_output_shape,
)
from fastconv.runtime import (
    clear_cache,
    get_include,
    get_num_threads,
    get_precision,
    isas,
    precision,
    set_num_threads,
    set_precision,
    show_config,
    threads,
    using_isa,
)

# The training half of the package is loaded when it is first used: importing kernels stays quick.
_LATE = ("datasets", "layers", "losses", "models", "optimizers", "plot")

__all__ = [
    "Conv1dGradients",
    "Conv2dGradients",
    "Conv3dGradients",
    "ConvTranspose1dGradients",
    "ConvTranspose2dGradients",
    "ConvTranspose3dGradients",
    "Explanation",
    "LinearGradients",
    "NormGradients",
    "PackedWeights",
    "__version__",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "clear_cache",
    "conv1d",
    "conv1d_backward",
    "conv1d_backward_input",
    "conv1d_backward_weight",
    "conv1d_output_shape",
    "conv2d",
    "conv2d_backward",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_output_shape",
    "conv3d",
    "conv3d_backward",
    "conv3d_backward_input",
    "conv3d_backward_weight",
    "conv3d_output_shape",
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "conv_transpose1d_backward_input",
    "conv_transpose1d_backward_weight",
    "conv_transpose1d_output_shape",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "conv_transpose2d_backward_input",
    "conv_transpose2d_backward_weight",
    "conv_transpose2d_output_shape",
    "conv_transpose3d",
    "conv_transpose3d_backward",
    "conv_transpose3d_backward_input",
    "conv_transpose3d_backward_weight",
    "conv_transpose3d_output_shape",
    "embedding",
    "embedding_backward",
    "explain",
    "get_include",
    "get_num_threads",
    "get_precision",
    "global_avg_pool2d",
    "global_max_pool2d",
    "isas",
    "linear",
    "linear_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "pack_weights",
    "pool2d_output_shape",
    "precision",
    "set_num_threads",
    "set_precision",
    "show_config",
    "threads",
    "using_isa",
    *_LATE,
]


def __getattr__(name):
    if name in _LATE:
        return importlib.import_module(f"fastconv.{name}")
    raise AttributeError(f"module 'fastconv' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LATE})
