# SPDX-License-Identifier: BSD-3-Clause
"""Networks: ``Sequential``, reading the files that it saves, and the networks of well-known papers."""

from fastconv.models.sequential import Sequential, load
from fastconv.models.zoo import alexnet, lenet5, vgg16

__all__ = ["Sequential", "alexnet", "lenet5", "load", "vgg16"]
