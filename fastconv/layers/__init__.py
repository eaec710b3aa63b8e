# SPDX-License-Identifier: BSD-3-Clause
"""Layers with Keras's names. Their contract is in ``base.py``."""

from fastconv.layers.activation import (
    GELU,
    Activation,
    Dropout,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from fastconv.layers.base import Layer
from fastconv.layers.containers import Concatenate, Residual
from fastconv.layers.conv import Conv1D, Conv2D, Conv3D, DepthwiseConv2D
from fastconv.layers.dense import Dense
from fastconv.layers.embedding import Embedding
from fastconv.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    LocalResponseNormalization,
)
from fastconv.layers.pool import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
)
from fastconv.layers.pool_global import (
    AdaptiveAveragePooling2D,
    AdaptiveMaxPooling2D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
)
from fastconv.layers.resizing import UpSampling2D, ZeroPadding2D
from fastconv.layers.separable import SeparableConv2D
from fastconv.layers.shape import Flatten, Rescaling, Reshape
from fastconv.layers.transposed import Conv1DTranspose, Conv2DTranspose, Conv3DTranspose

BUILT_IN = (
    Activation,
    AdaptiveAveragePooling2D,
    AdaptiveMaxPooling2D,
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    BatchNormalization,
    Concatenate,
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Embedding,
    Flatten,
    GELU,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
    GroupNormalization,
    LayerNormalization,
    LeakyReLU,
    LocalResponseNormalization,
    LogSoftmax,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
    ReLU,
    Rescaling,
    Reshape,
    Residual,
    SeparableConv2D,
    SiLU,
    Sigmoid,
    Softmax,
    Tanh,
    UpSampling2D,
    ZeroPadding2D,
)

__all__ = ["Layer", *(layer.__name__ for layer in BUILT_IN)]
