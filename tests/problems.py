# SPDX-License-Identifier: BSD-3-Clause
"""Problems as one line of text, and the numbers they are filled with.

A convolution reads ``n2 c3 h8 w8 k4 r3x3 s1 p1 d1 g1``: images, channels, height, width, filters,
filter size, stride, padding, dilation, groups. A pooling has no ``k`` and ``g`` and may end in
``ceil``. Left out: n1, w = h, s1 (a pooling: the window's size), p0, d1, g1. One number serves both
axes, ``2x3`` is vertical x horizontal, ``p0:1x2:3`` is top:bottom x left:right, and
``psame``, ``psame_lower``, ``pvalid`` are the named paddings. A linear layer, ``n5 c17 k33``, is
rows, inputs, outputs. A layout at the end, as in the texts of errors, is read over: every problem
is tested in both. The files in ``shapes/`` hold one problem per line; ``#`` starts a comment.
"""

import functools
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import oracle

SHAPES = Path(__file__).parent / "shapes"
TOKEN = re.compile(r"([a-z])(\d\S*|same_lower|same|valid)")


def load(*names):
    """Problems of the named files of ``shapes/``, in order: ``load("conv_*")`` reads all such."""
    files = [file for name in names for file in sorted(SHAPES.glob(name + ".txt"))]
    lines = [line.split("#")[0].strip() for file in files for line in file.read_text().splitlines()]
    return [parse(line) for line in lines if line]


def parse(text):
    """A ConvProblem when the text has filters (``k``), a PoolProblem without them, a LinearProblem
    without a window."""
    words = [word for word in text.split() if word not in ("nhwc", "nchw")]
    ceil_mode = words[-1] == "ceil"
    fields = dict(TOKEN.fullmatch(word).groups() for word in words[: len(words) - ceil_mode])
    sizes = {key: int(fields.pop(key)) for key in "nchwkg" if key in fields}
    if "r" not in fields:
        return LinearProblem(text, **sizes)
    kernel = pair(fields.pop("r"))
    common = {
        "text": text,
        "kernel": kernel,
        "padding": parse_padding(fields.pop("p", "0")),
        "dilation": pair(fields.pop("d", "1")),
        "n": sizes.get("n", 1),
        "c": sizes["c"],
        "h": sizes["h"],
        "w": sizes.get("w", sizes["h"]),
    }
    if "k" in sizes:
        common |= {"stride": pair(fields.pop("s", "1"))}
        problem = ConvProblem(**common, k=sizes["k"], groups=sizes.get("g", 1))
    else:
        common |= {"stride": pair(fields.pop("s")) if "s" in fields else kernel}
        problem = PoolProblem(**common, ceil_mode=ceil_mode)
    assert not fields, f"unknown words in {text!r}: {fields}"
    return problem


def pair(word):
    numbers = [int(number) for number in word.split("x")]
    return numbers[0], numbers[-1]


def parse_padding(word):
    if word in ("same", "same_lower", "valid"):
        return word
    axes = word.split("x") if "x" in word else [word, word]
    sides = [[int(side) for side in axis.split(":")] for axis in axes]
    return tuple((axis[0], axis[-1]) for axis in sides)


@dataclass(frozen=True)
class Problem:
    text: str
    n: int
    c: int
    h: int
    w: int
    kernel: tuple
    stride: tuple
    padding: tuple | str
    dilation: tuple

    def __str__(self):
        return self.text

    def x_shape(self, layout):
        return images_shape(layout, self.n, self.h, self.w, self.c)

    def y_shape(self, layout):
        return images_shape(layout, self.n, *self.output_size, self.y_channels)


@dataclass(frozen=True)
class ConvProblem(Problem):
    k: int
    groups: int

    @property
    def output_size(self):
        return oracle.output_size((self.h, self.w), self.kernel, self.stride, self.padding, self.dilation)

    @property
    def y_channels(self):
        return self.k

    def weight_shape(self, layout):
        r, s, c = *self.kernel, self.c // self.groups
        return (r, s, c, self.k) if layout == "NHWC" else (self.k, c, r, s)

    @property
    def geometry(self):
        """The keyword arguments that say how filters meet the image."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    @property
    def reduction_lengths(self):
        """Terms of one element of y, grad_x and grad_weight (the first with the bias)."""
        taps = self.kernel[0] * self.kernel[1]
        pixels = self.output_size[0] * self.output_size[1]
        return taps * self.c // self.groups + 1, taps * self.k // self.groups, self.n * pixels


@dataclass(frozen=True)
class PoolProblem(Problem):
    ceil_mode: bool

    @property
    def output_size(self):
        return oracle.output_size(
            (self.h, self.w),
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
        )

    @property
    def y_channels(self):
        return self.c

    @property
    def window(self):
        """The arguments that say where the windows of a maximum lie."""
        return self.window_of_average | {"dilation": self.dilation}

    @property
    def window_of_average(self):
        """The arguments that say where the windows of an average lie: it has no dilation."""
        return {
            "kernel_size": self.kernel,
            "stride": self.stride,
            "padding": self.padding,
            "ceil_mode": self.ceil_mode,
        }


@dataclass(frozen=True)
class LinearProblem:
    text: str
    n: int
    c: int
    k: int

    def __str__(self):
        return self.text


def images_shape(layout, n, h, w, c):
    return (n, h, w, c) if layout == "NHWC" else (n, c, h, w)


# ---- numbers ------------------------------------------------------------------


def rng_for(problem):
    """A generator that depends on the problem alone."""
    return np.random.default_rng(zlib.crc32(problem.text.encode()))


def exact_integers(rng, shape, terms, dtype):
    """Whole numbers of which any sum of ``terms`` products of two is exact in ``dtype``.

    Every partial sum stays within the significand whatever the order, so a kernel has to be right
    to the last bit. The numbers are as large as that allows: with float64 their products need more
    bits than a float32 has, and short sums need more than bfloat16 has.
    """
    significand_bits = np.finfo(dtype).nmant + 1
    largest = int(np.sqrt(2.0**significand_bits / terms))
    return rng.integers(-largest, largest, size=shape, endpoint=True).astype(dtype)


@dataclass(frozen=True)
class ConvData:
    """Arrays of one convolution in one layout."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    grad_y: np.ndarray

    def to_nchw(self):
        return ConvData(
            np.ascontiguousarray(oracle.from_nhwc(self.x, "NCHW")),
            np.ascontiguousarray(oracle.from_rsck(self.weight, "NCHW")),
            self.bias,
            np.ascontiguousarray(oracle.from_nhwc(self.grad_y, "NCHW")),
        )


@functools.lru_cache(maxsize=4)
def exact_conv_data(problem, dtype, layout="NHWC"):
    """Arrays that make y and all three gradients exact; equal numbers in both layouts."""
    if layout == "NCHW":
        return exact_conv_data(problem, dtype).to_nchw()
    rng, terms = rng_for(problem), max(problem.reduction_lengths)
    shapes = problem.x_shape(layout), problem.weight_shape(layout), (problem.k,)
    shapes += (problem.y_shape(layout),)
    return ConvData(*(exact_integers(rng, shape, terms, dtype) for shape in shapes))


def random_conv_data(problem, dtype, layout="NHWC", rng=None):
    """Uniform on [-1, 1); equal numbers in both layouts."""
    rng = rng or rng_for(problem)
    shapes = problem.x_shape("NHWC"), problem.weight_shape("NHWC"), (problem.k,)
    shapes += (problem.y_shape("NHWC"),)
    data = ConvData(*(rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes))
    return data if layout == "NHWC" else data.to_nchw()
