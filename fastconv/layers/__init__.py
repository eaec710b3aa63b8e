# SPDX-License-Identifier: BSD-3-Clause
"""Layers with Keras's names. Their contract is in ``base.py``."""

from fastconv.layers.activation import Activation, Dropout, ReLU, Softmax
from fastconv.layers.base import Layer
from fastconv.layers.containers import Concatenate, Residual
from fastconv.layers.conv import Conv1D, Conv2D, DepthwiseConv2D
from fastconv.layers.dense import Dense
from fastconv.layers.pool import AveragePooling2D, GlobalAveragePooling2D, MaxPooling2D
from fastconv.layers.separable import SeparableConv2D
from fastconv.layers.shape import Flatten, Rescaling, Reshape
from fastconv.layers.transposed import Conv1DTranspose, Conv2DTranspose, UpSampling2D, ZeroPadding2D

BUILT_IN = (
    Activation,
    AveragePooling2D,
    Concatenate,
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    MaxPooling2D,
    ReLU,
    Rescaling,
    Reshape,
    Residual,
    SeparableConv2D,
    Softmax,
    UpSampling2D,
    ZeroPadding2D,
)

__all__ = ["Layer", *(layer.__name__ for layer in BUILT_IN)]
