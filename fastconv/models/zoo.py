# SPDX-License-Identifier: BSD-3-Clause
"""Networks of well-known papers, with fresh weights, as ``Sequential`` models.

All take ``input_shape``, the shape of one image in the order of ``layout`` (None: that of the paper), ``classes``, and
``layout``, ``seed`` and ``dtype`` as ``Sequential`` does. Their results are logits: compile them with "cross_entropy".
"""

import numpy as np

from fastconv import layers
from fastconv.arguments import one_of
from fastconv.models.sequential import Sequential


def lenet5(
    input_shape=None,
    classes=10,
    *,
    padding=0,
    activation="tanh",
    pooling="average",
    layout="NHWC",
    seed=None,
    dtype=np.float32,
):
    """LeNet-5 (LeCun, Bottou, Bengio and Haffner, 1998) for 32 x 32 grey images: 61,706 parameters.

    As it is usually written today: every filter of the second convolution sees all six maps, pooling learns nothing,
    and the last layer is dense. ``padding=2`` takes images of 28 x 28 as they are. ``activation``: "tanh", or "relu"
    and the others of Conv2D; ``pooling``: "average" or "max".
    """
    kind = one_of(("average", "max"), pooling, "pooling")
    pool = layers.AveragePooling2D if kind == "average" else layers.MaxPooling2D
    return Sequential(
        [
            layers.Conv2D(6, 5, padding=padding, activation=activation),
            pool(2),
            layers.Conv2D(16, 5, activation=activation),
            pool(2),
            layers.Flatten(),
            layers.Dense(120, activation),
            layers.Dense(84, activation),
            layers.Dense(classes),
        ],
        input_shape=_image(input_shape, 32, 1, layout),
        layout=layout,
        seed=seed,
        dtype=dtype,
    )


def alexnet(input_shape=None, classes=1000, *, year=2014, dropout=0.5, layout="NHWC", seed=None, dtype=np.float32):
    """AlexNet for 224 x 224 colour images.

    ``year=2014``: in the single-tower form of Krizhevsky (2014), which is that of torchvision: 61,100,840 parameters.
    ``year=2012``: the network of the paper (Krizhevsky, Sutskever and Hinton), with the second, fourth and fifth
    convolution in two groups, which were two GPUs, and local response normalisation behind the first two: 60,965,224
    parameters.
    """
    conv, image = _alexnet_conv(year), _image(input_shape, 224, 3, layout)
    dense = [
        layers.Dropout(dropout),
        layers.Dense(4096, "relu"),
        layers.Dropout(dropout),
        layers.Dense(4096, "relu"),
        layers.Dense(classes),
    ]
    return Sequential([*conv, layers.Flatten(), *dense], input_shape=image, layout=layout, seed=seed, dtype=dtype)


def _alexnet_conv(year):
    if isinstance(year, bool) or year not in (2012, 2014):
        raise ValueError(f"year must be 2012 or 2014, got {year!r}")
    first = year == 2012
    filters = (96, 256, 384, 384, 256) if first else (64, 192, 384, 256, 256)
    groups = 2 if first else 1

    def pool(normalized):
        response = [layers.LocalResponseNormalization.alexnet()] if first and normalized else []
        return [*response, layers.MaxPooling2D(3, 2)]

    return [
        layers.Conv2D(filters[0], 11, 4, 2, "relu"),
        *pool(True),
        layers.Conv2D(filters[1], 5, 1, 2, "relu", groups=groups),
        *pool(True),
        layers.Conv2D(filters[2], 3, 1, 1, "relu"),
        layers.Conv2D(filters[3], 3, 1, 1, "relu", groups=groups),
        layers.Conv2D(filters[4], 3, 1, 1, "relu", groups=groups),
        *pool(False),
    ]


def vgg16(input_shape=None, classes=1000, *, dropout=0.5, layout="NHWC", seed=None, dtype=np.float32):
    """VGG-16, configuration D (Simonyan and Zisserman, 2014), for 224 x 224 colour images: 138,357,544 parameters."""
    conv = []
    for filters, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        conv += [layers.Conv2D(filters, 3, padding=1, activation="relu") for _ in range(count)]
        conv.append(layers.MaxPooling2D(2))
    dense = []
    for _ in range(2):
        dense += [layers.Dense(4096, "relu"), layers.Dropout(dropout)]
    stack, image = [*conv, layers.Flatten(), *dense, layers.Dense(classes)], _image(input_shape, 224, 3, layout)
    return Sequential(stack, input_shape=image, layout=layout, seed=seed, dtype=dtype)


def resnet18(input_shape=None, classes=1000, *, layout="NHWC", seed=None, dtype=np.float32):
    """ResNet-18 (He, Zhang, Ren and Sun, 2015) for 224 x 224 colour images: 11,689,512 parameters."""
    return _resnet(_basic_block, (2, 2, 2, 2), input_shape, classes, layout, seed, dtype)


def resnet50(input_shape=None, classes=1000, *, layout="NHWC", seed=None, dtype=np.float32):
    """ResNet-50 (He, Zhang, Ren and Sun, 2015) for 224 x 224 colour images: 25,557,032 parameters. Where a stage halves
    the image, the 3x3 convolution does it (version 1.5), as in torchvision."""
    return _resnet(_bottleneck, (3, 4, 6, 3), input_shape, classes, layout, seed, dtype)


def _resnet(block, counts, input_shape, classes, layout, seed, dtype):
    stack = [*_conv_norm(64, 7, 2, "relu"), layers.MaxPooling2D(3, 2, 1)]
    for stage, count in enumerate(counts):
        for index in range(count):
            stride = 2 if stage and not index else 1
            stack.append(block(64 << stage, stride, first=not index))
    stack += [layers.GlobalAveragePooling2D(), layers.Dense(classes)]
    image = _image(input_shape, 224, 3, layout)
    return Sequential(stack, input_shape=image, layout=layout, seed=seed, dtype=dtype)


def _basic_block(width, stride, first):
    body = [*_conv_norm(width, 3, stride, "relu"), *_conv_norm(width, 3)]
    shortcut = _conv_norm(width, 1, stride) if stride > 1 else None
    return layers.Residual(body, shortcut, "relu")


def _bottleneck(width, stride, first):
    body = [*_conv_norm(width, 1, 1, "relu"), *_conv_norm(width, 3, stride, "relu")]
    shortcut = _conv_norm(4 * width, 1, stride) if first else None
    return layers.Residual([*body, *_conv_norm(4 * width, 1)], shortcut, "relu")


def _conv_norm(filters, size, stride=1, activation=None):
    conv = layers.Conv2D(filters, size, stride, size // 2, bias=False)
    return [conv, layers.BatchNormalization(activation=activation)]


def _image(input_shape, size, channels, layout):
    if input_shape is not None:
        return input_shape
    return (channels, size, size) if layout == "NCHW" else (size, size, channels)
