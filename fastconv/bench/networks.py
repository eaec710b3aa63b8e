# SPDX-License-Identifier: BSD-3-Clause
"""The layers that are timed: shapes of published networks, in one place.

Sizes are those of the published papers or, where implementations differ, of the variant named in `NETWORKS`. Each
distinct shape of a network appears once, however often the network repeats it.
"""

from fnmatch import fnmatch

from fastconv.bench.layers import Conv, Conv3d, Linear, Norm, Pool, Sequence, Transposed

NETWORKS = {
    "resnet50": "ResNet-50 v1.5, with the stride on the 3x3 convolutions (He et al. 2015)",
    "vgg16": "VGG-16, configuration D (Simonyan and Zisserman 2014)",
    "alexnet": "the single-tower AlexNet with 64, 192, 384, 256 and 256 filters (Krizhevsky 2014)",
    "lenet5": "LeNet-5 on 28x28 images, the first convolution padded (LeCun et al. 1998)",
    "cifar": "the three convolutions of Keras's introductory network for 32x32 colour images",
    "googlenet": "GoogLeNet, or Inception v1 (Szegedy et al. 2014)",
    "mobilenet": "MobileNet v1, width 1.0: depthwise and pointwise layers (Howard et al. 2017)",
    "mobilenet2": "MobileNet v2, width 1.0: depthwise and pointwise layers (Sandler et al. 2018)",
    "efficientnet": "the 5x5 depthwise layers of EfficientNet-B0 (Tan and Le 2019)",
    "resnext50": "the grouped layers of ResNeXt-50 32x4d (Xie et al. 2017)",
    "deepbench": "a selection of Baidu's DeepBench (2016): speech, text lines, faces, odd strides and windows",
    "c3d": "layers of C3D (Tran et al. 2014) on 8 frames, narrower ones of small 3-D residual networks beside them",
    "dcgan": "the transposed convolutions of DCGAN's generator for 64x64 colour images (Radford et al. 2015)",
    "unet": "the transposed convolutions of U-Net, padded so that sizes are kept (Ronneberger et al. 2015)",
    "decoder": "the transposed convolutions of decoders: 3x3 with stride 2 and an output padding",
    "text": "a sentence of 56 words through filters of 3, 4 and 5 words (Kim 2014)",
    "m5": "M5, 1-D convolutions of a second of sound at 8 kHz (Dai et al. 2016)",
    "tiny": "an 8x8 image with one channel and four 3x3 filters, to see what a call costs",
}


def _square(network, name, size, c, k, kernel, stride=1, groups=1):
    """A convolution of a square image, padded so that stride 1 keeps its size."""
    return Conv(network, name, size, size, c, k, kernel, kernel, stride, kernel // 2, groups)


def _distinct(layers):
    """The layers without those whose sizes an earlier one has."""
    first = {}
    for layer in layers:
        first.setdefault(tuple(layer.sizes.values()), layer)
    return list(first.values())


def _resnet50():
    def conv(name, *sizes, **more):
        return _square("resnet50", name, *sizes, **more)

    layers = [
        conv("conv1", 224, 3, 64, 7, stride=2),
        conv("conv2.reduce1", 56, 64, 64, 1),
        conv("conv2.reduce", 56, 256, 64, 1),
        conv("conv2.3x3", 56, 64, 64, 3),
        conv("conv2.expand", 56, 64, 256, 1),
    ]
    for stage, size, width in (("conv3", 28, 128), ("conv4", 14, 256), ("conv5", 7, 512)):
        layers += [
            conv(f"{stage}.reduce1", 2 * size, 2 * width, width, 1),
            conv(f"{stage}.3x3s2", 2 * size, width, width, 3, stride=2),
            conv(f"{stage}.project", 2 * size, 2 * width, 4 * width, 1, stride=2),
            conv(f"{stage}.reduce", size, 4 * width, width, 1),
            conv(f"{stage}.3x3", size, width, width, 3),
            conv(f"{stage}.expand", size, width, 4 * width, 1),
        ]
    return layers


def _vgg16():
    shapes = [
        ("conv1_1", 224, 3, 64),
        ("conv1_2", 224, 64, 64),
        ("conv2_1", 112, 64, 128),
        ("conv2_2", 112, 128, 128),
        ("conv3_1", 56, 128, 256),
        ("conv3_2", 56, 256, 256),
        ("conv4_1", 28, 256, 512),
        ("conv4_2", 28, 512, 512),
        ("conv5", 14, 512, 512),
    ]
    return [_square("vgg16", name, size, c, k, 3) for name, size, c, k in shapes]


def _googlenet():
    """Stem and the nine inception modules: four branches, of which pooling has a 1x1 convolution, too."""
    modules = [  # name, image, channels; 1x1; 3x3 with its reduction before; 5x5 likewise; after pooling
        ("3a", 28, 192, 64, 96, 128, 16, 32, 32),
        ("3b", 28, 256, 128, 128, 192, 32, 96, 64),
        ("4a", 14, 480, 192, 96, 208, 16, 48, 64),
        ("4b", 14, 512, 160, 112, 224, 24, 64, 64),
        ("4c", 14, 512, 128, 128, 256, 24, 64, 64),
        ("4d", 14, 512, 112, 144, 288, 32, 64, 64),
        ("4e", 14, 528, 256, 160, 320, 32, 128, 128),
        ("5a", 7, 832, 256, 160, 320, 32, 128, 128),
        ("5b", 7, 832, 384, 192, 384, 48, 128, 128),
    ]
    layers = [
        _square("googlenet", "conv1", 224, 3, 64, 7, stride=2),
        _square("googlenet", "conv2.reduce", 56, 64, 64, 1),
        _square("googlenet", "conv2.3x3", 56, 64, 192, 3),
    ]
    for name, size, c, one, reduce3, three, reduce5, five, pooled in modules:
        branches = [("1x1", c, one, 1), ("reduce3", c, reduce3, 1), ("3x3", reduce3, three, 3)]
        branches += [("reduce5", c, reduce5, 1), ("5x5", reduce5, five, 5), ("pooled", c, pooled, 1)]
        layers += [_square("googlenet", f"{name}.{what}", size, c, k, kernel) for what, c, k, kernel in branches]
    return _distinct(layers)


def _mobilenet():
    shapes = [(112, 32, 1), (112, 64, 2), (56, 128, 1), (56, 128, 2), (28, 256, 1)]
    shapes += [(28, 256, 2), (14, 512, 1), (14, 512, 2), (7, 1024, 1)]
    depthwise = [
        _square("mobilenet", f"dw{i}", size, c, c, 3, stride, groups=c) for i, (size, c, stride) in enumerate(shapes, 1)
    ]
    widths = [c for _, c, _ in shapes[1:]] + [1024]
    pointwise = [
        _square("mobilenet", f"pw{i}", size // stride, c, k, 1)
        for i, ((size, c, stride), k) in enumerate(zip(shapes, widths, strict=True), 1)
    ]
    return [_square("mobilenet", "conv1", 224, 3, 32, 3, stride=2), *depthwise, *pointwise]


def _mobilenet2():
    """Blocks that widen with a 1x1 convolution, filter each channel with 3x3, and narrow with 1x1."""
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    layers, size, c, block = [_square("mobilenet2", "conv1", 224, 3, 32, 3, stride=2)], 112, 32, 0
    for factor, k, repeats, first_stride in stages:
        for stride in [first_stride] + (repeats - 1) * [1]:
            block, wide = block + 1, factor * c
            if factor > 1:
                layers.append(_square("mobilenet2", f"b{block}.widen", size, c, wide, 1))
            layers.append(_square("mobilenet2", f"b{block}.dw", size, wide, wide, 3, stride, groups=wide))
            size, c = size // stride, k
            layers.append(_square("mobilenet2", f"b{block}.narrow", size, wide, k, 1))
    layers.append(_square("mobilenet2", "conv_last", size, c, 1280, 1))
    return _distinct(layers)


def _efficientnet():
    shapes = [(56, 144, 2), (28, 240, 1), (14, 480, 1), (14, 672, 1), (14, 672, 2), (7, 1152, 1)]
    return [
        _square("efficientnet", f"dw{i}", size, c, c, 5, stride, groups=c)
        for i, (size, c, stride) in enumerate(shapes, 1)
    ]


def _resnext50():
    shapes = [("conv2", 56, 128, 1), ("conv3", 56, 256, 2), ("conv3", 28, 256, 1), ("conv4", 28, 512, 2)]
    shapes += [("conv4", 14, 512, 1), ("conv5", 14, 1024, 2), ("conv5", 7, 1024, 1)]
    return [
        _square("resnext50", f"{stage}.3x3{'s2' if stride == 2 else ''}", size, c, c, 3, stride, groups=32)
        for stage, size, c, stride in shapes
    ]


def _deepbench():
    shapes = [  # h, w, c, k, r, s, stride, padding
        ("speech1", 161, 700, 1, 32, 5, 20, 2, 0),
        ("speech2", 79, 341, 32, 32, 5, 10, 2, 0),
        ("speech3", 80, 350, 64, 128, 5, 5, 2, 1),
        ("speech4", 40, 175, 128, 128, 3, 3, 1, 1),
        ("speech5", 10, 42, 512, 512, 3, 3, 1, 1),
        ("lines1", 48, 480, 1, 16, 3, 3, 1, 1),
        ("lines2", 24, 240, 16, 32, 3, 3, 1, 1),
        ("lines3", 12, 120, 32, 64, 3, 3, 1, 1),
        ("lines4", 6, 60, 64, 128, 3, 3, 1, 1),
        ("faces1", 108, 108, 3, 64, 3, 3, 2, 1),
        ("faces2", 54, 54, 64, 64, 3, 3, 1, 1),
        ("faces3", 27, 27, 128, 128, 3, 3, 1, 1),
        ("faces4", 14, 14, 128, 256, 3, 3, 1, 1),
        ("faces5", 7, 7, 256, 512, 3, 3, 1, 1),
        ("vision1", 112, 112, 64, 64, 1, 1, 1, 0),
        ("vision2", 7, 7, 832, 128, 5, 5, 1, 2),
        ("vision3", 7, 7, 2048, 512, 1, 1, 2, 3),
    ]
    return [Conv("deepbench", *shape) for shape in shapes]


CONVS = [
    *_resnet50(),
    *_vgg16(),
    Conv("alexnet", "conv1", 224, 224, 3, 64, 11, 11, stride=4, padding=2),
    Conv("alexnet", "conv2", 27, 27, 64, 192, 5, 5, padding=2),
    Conv("alexnet", "conv3", 13, 13, 192, 384, 3, 3, padding=1),
    Conv("alexnet", "conv4", 13, 13, 384, 256, 3, 3, padding=1),
    Conv("alexnet", "conv5", 13, 13, 256, 256, 3, 3, padding=1),
    Conv("lenet5", "conv1", 28, 28, 1, 6, 5, 5, padding=2),
    Conv("lenet5", "conv2", 14, 14, 6, 16, 5, 5),
    Conv("cifar", "conv1", 32, 32, 3, 32, 3, 3),
    Conv("cifar", "conv2", 15, 15, 32, 64, 3, 3),
    Conv("cifar", "conv3", 6, 6, 64, 64, 3, 3),
    *_googlenet(),
    *_mobilenet(),
    *_mobilenet2(),
    *_efficientnet(),
    *_resnext50(),
    *_deepbench(),
    Conv("tiny", "conv", 8, 8, 1, 4, 3, 3),
]

VOLUMES = [
    Conv3d("c3d", "conv1", 8, 56, 56, 3, 64),
    Conv3d("c3d", "conv2", 8, 28, 28, 64, 128),
    Conv3d("c3d", "conv3", 4, 14, 14, 128, 256),
    Conv3d("c3d", "narrow16", 8, 56, 56, 16, 16),
    Conv3d("c3d", "narrow32", 16, 28, 28, 32, 32),
    Conv3d("c3d", "wide64", 8, 28, 28, 64, 64),
    Conv3d("c3d", "wide128", 8, 14, 14, 128, 128),
    Conv3d("c3d", "strided", 16, 28, 28, 32, 64, stride=2),
]

TRANSPOSED = [
    Transposed("dcgan", "conv1", 4, 4, 512, 100, 4, 4),
    Transposed("dcgan", "conv2", 8, 8, 256, 512, 4, 4, stride=2, padding=1),
    Transposed("dcgan", "conv3", 16, 16, 128, 256, 4, 4, stride=2, padding=1),
    Transposed("dcgan", "conv4", 32, 32, 64, 128, 4, 4, stride=2, padding=1),
    Transposed("dcgan", "conv5", 64, 64, 3, 64, 4, 4, stride=2, padding=1),
    Transposed("unet", "up1", 64, 64, 512, 1024, 2, 2, stride=2),
    Transposed("unet", "up2", 128, 128, 256, 512, 2, 2, stride=2),
    Transposed("unet", "up3", 256, 256, 128, 256, 2, 2, stride=2),
    Transposed("unet", "up4", 512, 512, 64, 128, 2, 2, stride=2),
    Transposed("decoder", "conv1", 14, 14, 64, 128, 3, 3, stride=2, padding=1),
    Transposed("decoder", "conv2", 28, 28, 32, 64, 3, 3, stride=2, padding=1),
    Transposed("decoder", "conv3", 64, 64, 16, 32, 3, 3, stride=2, padding=1),
    Transposed("decoder", "image", 28, 28, 1, 32, 3, 3, stride=2, padding=1),
]

SEQUENCES = [
    Sequence("text", "words3", 56, 300, 100, 3),
    Sequence("text", "words4", 56, 300, 100, 4),
    Sequence("text", "words5", 56, 300, 100, 5),
    Sequence("m5", "conv1", 8000, 1, 128, 80, stride=4, padding=38),
    Sequence("m5", "conv2", 500, 128, 128, 3, padding=1),
    Sequence("m5", "conv3", 125, 128, 256, 3, padding=1),
    Sequence("m5", "conv4", 31, 256, 512, 3, padding=1),
]

POOLS = [
    Pool("resnet50", "pool1", 112, 112, 64, 3, 2, padding=1),
    Pool("resnet50", "global", 7, 7, 2048, 7, 7),
    Pool("vgg16", "pool1", 224, 224, 64, 2, 2),
    Pool("vgg16", "pool2", 112, 112, 128, 2, 2),
    Pool("vgg16", "pool3", 56, 56, 256, 2, 2),
    Pool("vgg16", "pool4", 28, 28, 512, 2, 2),
    Pool("vgg16", "pool5", 14, 14, 512, 2, 2),
    Pool("alexnet", "pool1", 55, 55, 64, 3, 2),
    Pool("alexnet", "pool2", 27, 27, 192, 3, 2),
    Pool("alexnet", "pool5", 13, 13, 256, 3, 2),
    Pool("lenet5", "pool1", 28, 28, 6, 2, 2),
    Pool("lenet5", "pool2", 10, 10, 16, 2, 2),
    Pool("cifar", "pool1", 30, 30, 32, 2, 2),
    Pool("cifar", "pool2", 13, 13, 64, 2, 2),
    Pool("googlenet", "pool3b", 28, 28, 192, 3, 1, padding=1),
    Pool("mobilenet", "global", 7, 7, 1024, 7, 7),
]

# ResNet-18 has the five of 64 to 512 channels
NORMS = [
    Norm("resnet50", "norm1", 112, 112, 64),
    Norm("resnet50", "norm2", 56, 56, 64),
    Norm("resnet50", "norm2.expand", 56, 56, 256),
    Norm("resnet50", "norm3", 28, 28, 128),
    Norm("resnet50", "norm3.expand", 28, 28, 512),
    Norm("resnet50", "norm4", 14, 14, 256),
    Norm("resnet50", "norm4.expand", 14, 14, 1024),
    Norm("resnet50", "norm5", 7, 7, 512),
    Norm("resnet50", "norm5.expand", 7, 7, 2048),
]

# of the network of 2012, whose layers have other sizes than those above
RESPONSES = [Norm("alexnet", "response1", 55, 55, 96), Norm("alexnet", "response2", 27, 27, 256)]

LINEARS = [
    Linear("resnet50", "fc", 2048, 1000),
    Linear("vgg16", "fc6", 25088, 4096),
    Linear("alexnet", "fc6", 9216, 4096),
    Linear("alexnet", "fc7", 4096, 4096),
    Linear("alexnet", "fc8", 4096, 1000),
    Linear("lenet5", "fc1", 400, 120),
    Linear("lenet5", "fc2", 120, 84),
    Linear("lenet5", "fc3", 84, 10),
    Linear("cifar", "fc1", 1024, 64),
    Linear("cifar", "fc2", 64, 10),
]

TABLES = {
    "conv": CONVS,
    "inner_conv": [conv for conv in CONVS if not conv.reads_image],
    "volume": VOLUMES,
    "inner_volume": [conv for conv in VOLUMES if not conv.reads_image],
    "transposed": TRANSPOSED,
    "sequence": SEQUENCES,
    "pool": POOLS,
    "norm": NORMS,
    "response": RESPONSES,
    "linear": LINEARS,
}

# What `fastconv bench` times when it is told nothing: something of everything, within a minute.
KNOWN = [
    ("resnet50", "conv1"),
    ("resnet50", "conv2.3x3"),
    ("resnet50", "conv3.3x3s2"),
    ("resnet50", "conv4.reduce"),
    ("resnet50", "conv5.3x3"),
    ("vgg16", "conv5"),
    ("alexnet", "conv2"),
    ("lenet5", "conv2"),
    ("mobilenet", "dw3"),
]


def select(kind, networks, only=(), tables=TABLES):
    """Layers of ``tables[kind]`` in the networks.

    ``only``: kernel sizes ("3x3") or patterns of layer names ("conv5*"); empty for all layers.
    """
    return [
        layer
        for layer in tables[kind]
        if layer.network in networks and (not only or any(p == layer.kernel or fnmatch(layer.name, p) for p in only))
    ]


def known(kind):
    """The layers of ``TABLES[kind]`` that are in `KNOWN`."""
    return [layer for layer in TABLES[kind] if (layer.network, layer.name) in KNOWN]
