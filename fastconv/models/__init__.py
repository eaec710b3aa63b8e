# SPDX-License-Identifier: BSD-3-Clause
"""Networks: ``Sequential``, reading the files that it saves, and the networks of well-known papers."""

from fastconv.models.sequential import Sequential, load
from fastconv.models.zoo import alexnet, lenet5, resnet18, resnet50, vgg16

__all__ = ["Sequential", "alexnet", "lenet5", "load", "resnet18", "resnet50", "vgg16"]
