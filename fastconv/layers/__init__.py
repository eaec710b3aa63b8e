# SPDX-License-Identifier: BSD-3-Clause
"""Layers with Keras's names. Their contract is in ``base.py``."""

from fastconv.layers.activation import Activation, Dropout, ReLU, Softmax
from fastconv.layers.base import Layer
from fastconv.layers.containers import Concatenate, Residual
from fastconv.layers.conv import Conv2D, DepthwiseConv2D
from fastconv.layers.dense import Dense
from fastconv.layers.embedding import Embedding
from fastconv.layers.normalization import BatchNormalization
from fastconv.layers.pool import AveragePooling2D, GlobalAveragePooling2D, MaxPooling2D
from fastconv.layers.shape import Flatten, Rescaling, Reshape

BUILT_IN = (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling2D,
    MaxPooling2D,
    ReLU,
    Rescaling,
    Reshape,
    Residual,
    Softmax,
)

__all__ = ["Layer", *(layer.__name__ for layer in BUILT_IN)]
