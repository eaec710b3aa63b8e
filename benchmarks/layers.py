# SPDX-License-Identifier: BSD-3-Clause
"""The layers that are timed: shapes of published networks, in one place.

Sizes are those of the published papers or, where implementations differ, of the variant named here:

* ``resnet50``: ResNet-50 v1.5, with the stride on the 3x3 convolutions (He et al. 2015)
* ``vgg16``: VGG-16, configuration D (Simonyan and Zisserman 2014)
* ``alexnet``: the single-tower AlexNet with 64, 192, 384, 256 and 256 filters (Krizhevsky 2014)
* ``lenet5``: LeNet-5 on 28x28 images, the first convolution padded (LeCun et al. 1998)
* ``mobilenet``: the depthwise layers of MobileNet v1, width 1.0 (Howard et al. 2017)
* ``efficientnet``: the 5x5 depthwise layers of EfficientNet-B0 (Tan and Le 2019)
* ``resnext50``: the grouped layers of ResNeXt-50 32x4d (Xie et al. 2017)
* ``tiny``: an 8x8 image with one channel and four 3x3 filters, to see what a call costs

Each distinct shape of a network appears once, however often the network repeats it.
"""

from dataclasses import dataclass
from fnmatch import fnmatch


def output_size(size, kernel, stride, padding):
    return (size + 2 * padding - kernel) // stride + 1


@dataclass(frozen=True)
class Conv:
    """A convolution of an h x w x c image with k filters of r x s, padded alike on all sides."""

    network: str
    name: str
    h: int
    w: int
    c: int
    k: int
    r: int
    s: int
    stride: int = 1
    padding: int = 0
    groups: int = 1

    @property
    def p(self):
        return output_size(self.h, self.r, self.stride, self.padding)

    @property
    def q(self):
        return output_size(self.w, self.s, self.stride, self.padding)

    @property
    def kernel(self):
        return f"{self.r}x{self.s}"

    @property
    def reads_image(self):
        """True for a network's first layer, whose input gradient nobody needs."""
        return self.c <= 3

    @property
    def depthwise(self):
        return 1 < self.groups == self.c

    @property
    def geometry(self):
        return {"stride": self.stride, "padding": self.padding, "groups": self.groups}

    def x_shape(self, n):
        return (n, self.h, self.w, self.c)

    def y_shape(self, n):
        return (n, self.p, self.q, self.k)

    @property
    def weight_shape(self):
        return (self.r, self.s, self.c // self.groups, self.k)

    def __str__(self):
        filters = "depthwise" if self.depthwise else f"-> {self.k}"
        stride = f" /{self.stride}" if self.stride > 1 else ""
        return f"{self.h}x{self.w}x{self.c} {filters} {self.kernel}{stride}"


@dataclass(frozen=True)
class Pool:
    """Pooling of an h x w x c image with square windows."""

    network: str
    name: str
    h: int
    w: int
    c: int
    size: int
    stride: int
    padding: int = 0

    @property
    def p(self):
        return output_size(self.h, self.size, self.stride, self.padding)

    @property
    def q(self):
        return output_size(self.w, self.size, self.stride, self.padding)

    @property
    def kernel(self):
        return f"{self.size}x{self.size}"

    @property
    def geometry(self):
        return {"kernel_size": self.size, "stride": self.stride, "padding": self.padding}

    def x_shape(self, n):
        return (n, self.h, self.w, self.c)

    def y_shape(self, n):
        return (n, self.p, self.q, self.c)

    def __str__(self):
        return f"{self.h}x{self.w}x{self.c} {self.kernel} /{self.stride}"


@dataclass(frozen=True)
class Linear:
    """A fully connected layer from c numbers to k."""

    network: str
    name: str
    c: int
    k: int

    @property
    def kernel(self):
        return "1x1"

    def __str__(self):
        return f"{self.c} -> {self.k}"


@dataclass(frozen=True)
class Step:
    """A training step of a whole network on h x w x c images; its kernel size is nothing."""

    network: str
    name: str
    h: int
    w: int
    c: int
    classes: int
    kernel: str = ""

    def __str__(self):
        return f"{self.h}x{self.w}x{self.c} -> {self.classes} classes"


def _resnet50():
    layers = [Conv("resnet50", "conv1", 224, 224, 3, 64, 7, 7, stride=2, padding=3)]

    def add(name, size, c, k, kernel, stride=1):
        conv = Conv("resnet50", name, size, size, c, k, kernel, kernel, stride, kernel // 2)
        layers.append(conv)

    add("conv2.reduce1", 56, 64, 64, 1)
    add("conv2.reduce", 56, 256, 64, 1)
    add("conv2.3x3", 56, 64, 64, 3)
    add("conv2.expand", 56, 64, 256, 1)
    for stage, size, width in (("conv3", 28, 128), ("conv4", 14, 256), ("conv5", 7, 512)):
        add(f"{stage}.reduce1", 2 * size, 2 * width, width, 1)
        add(f"{stage}.3x3s2", 2 * size, width, width, 3, stride=2)
        add(f"{stage}.project", 2 * size, 2 * width, 4 * width, 1, stride=2)
        add(f"{stage}.reduce", size, 4 * width, width, 1)
        add(f"{stage}.3x3", size, width, width, 3)
        add(f"{stage}.expand", size, width, 4 * width, 1)
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
    return [Conv("vgg16", name, size, size, c, k, 3, 3, padding=1) for name, size, c, k in shapes]


def _mobilenet():
    shapes = [(112, 32, 1), (112, 64, 2), (56, 128, 1), (56, 128, 2), (28, 256, 1)]
    shapes += [(28, 256, 2), (14, 512, 1), (14, 512, 2), (7, 1024, 1)]
    return [
        Conv("mobilenet", f"dw{i}", size, size, c, c, 3, 3, stride, padding=1, groups=c)
        for i, (size, c, stride) in enumerate(shapes, 1)
    ]


def _efficientnet():
    shapes = [(56, 144, 2), (28, 240, 1), (14, 480, 1), (14, 672, 1), (14, 672, 2), (7, 1152, 1)]
    return [
        Conv("efficientnet", f"dw{i}", size, size, c, c, 5, 5, stride, padding=2, groups=c)
        for i, (size, c, stride) in enumerate(shapes, 1)
    ]


def _resnext50():
    shapes = [("conv2", 56, 128, 1), ("conv3", 56, 256, 2), ("conv3", 28, 256, 1), ("conv4", 28, 512, 2)]
    shapes += [("conv4", 14, 512, 1), ("conv5", 14, 1024, 2), ("conv5", 7, 1024, 1)]
    return [
        Conv("resnext50", f"{stage}.3x3{'s2' if stride == 2 else ''}", size, size, c, c, 3, 3, stride, 1, groups=32)
        for stage, size, c, stride in shapes
    ]


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
    *_mobilenet(),
    *_efficientnet(),
    *_resnext50(),
    Conv("tiny", "conv", 8, 8, 1, 4, 3, 3),
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
    Pool("mobilenet", "global", 7, 7, 1024, 7, 7),
]

LINEARS = [
    Linear("resnet50", "fc", 2048, 1000),
    Linear("vgg16", "fc6", 25088, 4096),
    Linear("alexnet", "fc6", 9216, 4096),
    Linear("alexnet", "fc7", 4096, 4096),
    Linear("alexnet", "fc8", 4096, 1000),
    Linear("lenet5", "fc1", 400, 120),
    Linear("lenet5", "fc2", 120, 84),
    Linear("lenet5", "fc3", 84, 10),
]

STEPS = [Step("lenet5", "step", 28, 28, 1, 10)]

TABLES = {
    "conv": CONVS,
    "inner_conv": [c for c in CONVS if not c.reads_image],
    "pool": POOLS,
    "linear": LINEARS,
    "step": STEPS,
}
SETS = tuple(dict.fromkeys(layer.network for layer in CONVS))


def select(kind, sets, only=()):
    """Layers of ``TABLES[kind]`` in the networks ``sets``.

    ``only``: kernel sizes ("3x3") or patterns of layer names ("conv5*"); empty for all layers.
    """
    return [
        layer
        for layer in TABLES[kind]
        if layer.network in sets and (not only or any(p == layer.kernel or fnmatch(layer.name, p) for p in only))
    ]
