# SPDX-License-Identifier: BSD-3-Clause
"""Convolution, pooling and dense layers, forward and backward, on NumPy arrays.

Letters: N images, H x W input pixels, C input channels, K filters (output channels), R x S filter height
and width, P x Q output pixels. "Convolution" is cross-correlation: the filter is not flipped, as in
PyTorch, Keras and ONNX.

Arguments that the functions share
    x : array (N, H, W, C), or (N, C, H, W) with ``layout="NCHW"``. An array without the batch axis is one
        image, and the result has no batch axis either. float32 or float64; uint8, int8, int16 and float16
        images are converted while they are read. Any strides.
    weight : array (R, S, C/groups, K), or (K, C/groups, R, S) with ``layout="NCHW"``; float32 or float64. `conv2d`,
        `linear` and their gradients of the input also take what `pack_weights` has made of it.
    stride, dilation : int, or (vertical, horizontal).
    padding : int; (vertical, horizontal); ((top, bottom), (left, right)) as in `numpy.pad`; "valid" (none);
        "same" (output = ceil(input / stride), an odd pixel at the bottom or right, as in TensorFlow and
        ONNX SAME_UPPER); "same_lower" (an odd pixel at the top or left).
    padding_mode : what the padding consists of: "constant" (zeros), "reflect", "symmetric", "edge" or "wrap", as in
        `numpy.pad`. All but zeros are first copied, with the image: `pad2d`.
    layout : "NHWC" or "NCHW", for images and filters alike.
    precision : None (what `set_precision` says), "strict", "high" or "medium". Below "strict", 3x3 float32
        layers of stride 1 with at least 16 channels and filters may use Winograd's algorithm; on a matrix unit,
        large float32 layers use sums of three, two or one bfloat16 numbers in the place of each float32 number, and
        on vectors of bfloat16 one in "medium".
    algorithm : "auto", "direct", "winograd" (3x3, stride and dilation 1; relative error about 1e-6), or
        "reference" (the definition as loops; slow). One that is named wins over the precision.
    out : array to write the result to, of the result's shape and dtype, with any strides. It may share no
        memory with an input.

The output has ``floor((size + pads - dilation*(kernel - 1) - 1) / stride) + 1`` pixels along each axis.
float32 and float64 mixed give float64.

Errors: TypeError for a wrong type or dtype, ValueError for a wrong value or shape, MemoryError when memory
cannot be had; nothing has been written then. The bits of a result do not depend on the number of threads, on
the other images of the batch, on strides or on ``out``.
"""

from fastconv.ops.activations import (
    gelu,
    gelu_backward,
    leaky_relu,
    leaky_relu_backward,
    log_softmax,
    log_softmax_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softmax,
    softmax_backward,
    tanh,
    tanh_backward,
)
from fastconv.ops.columns import col2im, im2col
from fastconv.ops.convolution import (
    Conv2dGradients,
    conv2d,
    conv2d_backward,
    conv2d_backward_bias,
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_output_shape,
    pack_weights,
)
from fastconv.ops.embedding import embedding, embedding_backward
from fastconv.ops.linear import (
    LinearGradients,
    linear,
    linear_backward,
    linear_backward_bias,
    linear_backward_input,
    linear_backward_weight,
)
from fastconv.ops.normalization import (
    NormGradients,
    batch_norm,
    batch_norm_backward,
    fold_batch_norm,
    group_norm,
    group_norm_backward,
    layer_norm,
    layer_norm_backward,
    local_response_norm,
    local_response_norm_backward,
)
from fastconv.ops.one_dimension import (
    Conv1dGradients,
    conv1d,
    conv1d_backward,
    conv1d_backward_bias,
    conv1d_backward_input,
    conv1d_backward_weight,
    conv1d_output_shape,
)
from fastconv.ops.padding import pad1d, pad1d_backward, pad2d, pad2d_backward
from fastconv.ops.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_max_pool2d,
    max_pool2d,
    max_pool2d_backward,
    pool2d_output_shape,
)
from fastconv.ops.pooling_adaptive import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    adaptive_max_pool2d,
    max_unpool2d,
    max_unpool2d_backward,
)
from fastconv.ops.pooling_sequences import (
    avg_pool1d,
    avg_pool1d_backward,
    global_avg_pool1d,
    global_max_pool1d,
    max_pool1d,
    max_pool1d_backward,
    pool1d_output_shape,
)
from fastconv.ops.pooling_volumes import (
    avg_pool3d,
    avg_pool3d_backward,
    global_avg_pool3d,
    global_max_pool3d,
    max_pool3d,
    max_pool3d_backward,
    pool3d_output_shape,
)
from fastconv.ops.three_dimensions import (
    Conv3dGradients,
    ConvTranspose3dGradients,
    conv3d,
    conv3d_backward,
    conv3d_backward_bias,
    conv3d_backward_input,
    conv3d_backward_weight,
    conv3d_output_shape,
    conv_transpose3d,
    conv_transpose3d_backward,
    conv_transpose3d_backward_input,
    conv_transpose3d_backward_weight,
    conv_transpose3d_output_shape,
)
from fastconv.ops.transposed import (
    ConvTranspose1dGradients,
    ConvTranspose2dGradients,
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
)
