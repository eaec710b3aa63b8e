# SPDX-License-Identifier: BSD-3-Clause
"""The kinds of layers that are timed: sizes, shapes of their arrays, work."""

from dataclasses import asdict, dataclass


def output_size(size, kernel, stride, padding):
    return (size + 2 * padding - kernel) // stride + 1


class Layer:
    """What all kinds have: ``network`` and ``name``, which together name a layer, and sizes."""

    @property
    def sizes(self):
        """All numbers of the layer, by their names."""
        return {name: value for name, value in asdict(self).items() if name not in ("network", "name")}


class Windows(Layer):
    """Filters of t x r x s that go over d x h x w pixels, or of the last of these axes."""

    groups = 1

    @property
    def o(self):
        return output_size(self.d, self.t, self.stride, self.padding)

    @property
    def p(self):
        return output_size(self.h, self.r, self.stride, self.padding)

    @property
    def q(self):
        return output_size(self.w, self.s, self.stride, self.padding)

    @property
    def reads_image(self):
        """True for a network's first layer, whose input gradient nobody needs."""
        return self.c <= 3

    @property
    def depthwise(self):
        return 1 < self.groups == self.c

    @property
    def geometry(self):
        return {"stride": self.stride, "padding": self.padding}


@dataclass(frozen=True)
class Conv(Windows):
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
    def kernel(self):
        return f"{self.r}x{self.s}"

    @property
    def geometry(self):
        return super().geometry | {"groups": self.groups}

    def x_shape(self, n):
        return (n, self.h, self.w, self.c)

    def y_shape(self, n):
        return (n, self.p, self.q, self.k)

    @property
    def weight_shape(self):
        return (self.r, self.s, self.c // self.groups, self.k)

    def __str__(self):
        filters = " dw" if self.depthwise else f"->{self.k}"
        groups = f" g{self.groups}" if self.groups > 1 and not self.depthwise else ""
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"{self.h}x{self.w}x{self.c}{filters} {self.kernel}{stride}{groups}"


@dataclass(frozen=True)
class Transposed(Conv):
    """A transposed convolution, told as the convolution that it transposes: its input is that one's output, of p x q
    pixels and k channels, its result that one's input."""

    @property
    def output_padding(self):
        """Pixels that no window of the convolution reaches."""
        return tuple((size + 2 * self.padding - r) % self.stride for size, r in ((self.h, self.r), (self.w, self.s)))

    def __str__(self):
        groups = f" g{self.groups}" if self.groups > 1 else ""
        return f"{self.p}x{self.q}x{self.k}->{self.c} {self.kernel}*{self.stride}{groups}"


@dataclass(frozen=True)
class Sequence(Windows):
    """A convolution of a sequence of w places and c channels with k filters of s places, padded alike on both sides."""

    network: str
    name: str
    w: int
    c: int
    k: int
    s: int
    stride: int = 1
    padding: int = 0

    @property
    def kernel(self):
        return str(self.s)

    def x_shape(self, n):
        return (n, self.w, self.c)

    @property
    def weight_shape(self):
        return (self.s, self.c, self.k)

    def y_shape(self, n):
        return (n, self.q, self.k)

    def __str__(self):
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"{self.w}x{self.c}->{self.k} {self.s}{stride}"


@dataclass(frozen=True)
class Conv3d(Windows):
    """A convolution of a d x h x w x c volume with k filters of t x r x s, padded alike on all sides."""

    network: str
    name: str
    d: int
    h: int
    w: int
    c: int
    k: int
    t: int = 3
    r: int = 3
    s: int = 3
    stride: int = 1
    padding: int = 1

    @property
    def kernel(self):
        return f"{self.t}x{self.r}x{self.s}"

    def x_shape(self, n):
        return (n, self.d, self.h, self.w, self.c)

    def y_shape(self, n):
        return (n, self.o, self.p, self.q, self.k)

    @property
    def weight_shape(self):
        return (self.t, self.r, self.s, self.c, self.k)

    def __str__(self):
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"{self.d}x{self.h}x{self.w}x{self.c}->{self.k} {self.kernel}{stride}"


@dataclass(frozen=True)
class Pool(Layer):
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
        return f"{self.h}x{self.w}x{self.c} {self.kernel}/{self.stride}"


@dataclass(frozen=True)
class Norm(Layer):
    """Normalisation of an h x w x c image, where it is cut into groups of channels of so many."""

    network: str
    name: str
    h: int
    w: int
    c: int
    groups: int = 32

    @property
    def kernel(self):
        return ""

    def x_shape(self, n):
        return (n, self.h, self.w, self.c)

    def __str__(self):
        return f"{self.h}x{self.w}x{self.c}"


@dataclass(frozen=True)
class Linear(Layer):
    """A fully connected layer from c numbers to k."""

    network: str
    name: str
    c: int
    k: int

    @property
    def kernel(self):
        return "1x1"

    def __str__(self):
        return f"{self.c}->{self.k}"
