# SPDX-License-Identifier: BSD-3-Clause
"""Small networks, each as data: the same weights, images and labels for every side.

A network is a list of layers: ("conv", filters, size, padding), ("pool",) of 2 x 2, ("dense", units). A ReLU
follows each convolution and each dense layer but the last.
"""

import math
from typing import NamedTuple

import numpy as np
import resnet


class Network(NamedTuple):
    image: tuple  # height, width, channels
    layers: list | None  # None: ResNet-18, which is no list


NETWORKS = {
    "lenet5": Network(
        (28, 28, 1),
        [("conv", 6, 5, 2), ("pool",), ("conv", 16, 5, 0), ("pool",), ("dense", 120), ("dense", 84), ("dense", 10)],
    ),
    "keras-cifar": Network(
        (32, 32, 3),
        [
            ("conv", 32, 3, 0),
            ("pool",),
            ("conv", 64, 3, 0),
            ("pool",),
            ("conv", 64, 3, 0),
            ("dense", 64),
            ("dense", 10),
        ],
    ),
    "vgg6": Network(
        (32, 32, 3),
        [
            *(("conv", 32, 3, 1), ("conv", 32, 3, 1), ("pool",)),
            *(("conv", 64, 3, 1), ("conv", 64, 3, 1), ("pool",)),
            *(("conv", 128, 3, 1), ("conv", 128, 3, 1), ("pool",)),
            *(("dense", 128), ("dense", 10)),
        ],
    ),
    "resnet18": Network(resnet.IMAGE, None),
}
LEARNING_RATE, MOMENTUM = 1e-3, 0.9  # small: thousands of steps on one batch must not end in zero gradients


def shapes(network):
    """For each layer the shape that it is fed with: (height, width, channels), or (features,) of a dense layer."""
    shape, fed = network.image, []
    for kind, *arguments in network.layers:
        if kind == "dense":
            shape = (math.prod(shape),)
        fed.append(shape)
        if kind == "conv":
            filters, size, padding = arguments
            shape = (*(length + 2 * padding - size + 1 for length in shape[:2]), filters)
        elif kind == "pool":
            shape = (shape[0] // 2, shape[1] // 2, shape[2])
        else:
            shape = (arguments[0],)
    return fed


def weights(network):
    """(weight, bias) of each layer that learns: (size, size, channels, filters) or (features, units)."""
    rng, result = np.random.default_rng(0), []
    for (kind, *arguments), fed in zip(network.layers, shapes(network), strict=True):
        if kind != "pool":
            shape = (arguments[1], arguments[1], fed[2], arguments[0]) if kind == "conv" else (fed[0], arguments[0])
            limit = math.sqrt(6 / math.prod(shape[:-1]))
            result.append((rng.uniform(-limit, limit, shape).astype(np.float32), np.zeros(shape[-1], np.float32)))
    return result


def data(network, batch):
    rng = np.random.default_rng(1)
    images = rng.standard_normal((batch, *network.image), dtype=np.float32)
    return images, rng.integers(0, 10, batch)


def flops(network, batch):
    """Three products per layer, forward and two gradients; without the gradient of the image."""
    if network.layers is None:
        return resnet.flops(batch)
    products = []
    for (kind, *arguments), fed in zip(network.layers, shapes(network), strict=True):
        if kind == "conv":
            filters, size, padding = arguments
            pixels = math.prod(length + 2 * padding - size + 1 for length in fed[:2])
            products.append(pixels * filters * size * size * fed[2])
        elif kind == "dense":
            products.append(fed[0] * arguments[0])
    return 2 * batch * (3 * sum(products) - products[0])
