# SPDX-License-Identifier: BSD-3-Clause
"""Sequential.summary: the table, its sums, the pixels that no window reads."""

import numpy as np
import pytest
from test_containers import network

from fastconv import layers, models


def lines_of(model):
    lines = []
    model.summary(lines.append)
    return lines[0].splitlines()


def test_layers_within_layers_stand_under_them():
    lines = lines_of(network())
    assert lines[4].split() == ["body:"] and lines[5].startswith("    conv2d (Conv2D)  ")
    assert lines[3].split() == ["residual", "(Residual)", "(None,", "8,", "8,", "4)", "1.0", "KiB"]
    assert [line.strip() for line in lines if line.strip().endswith(":")] == [
        *("body:", "body:", "body:", "shortcut:", "branch 1:", "branch 2:", "branch 3:", "branch 4:", "body:")
    ]
    assert lines[-1] == f"parameters: {network().count_params():,}"
    widths = {len(line) for line in lines[2:-4] if "never read" not in line}
    assert widths == {len(lines[1])}, "the table is not aligned"


def test_multiply_adds_are_those_of_the_formula():
    stack = [
        layers.Conv2D(6, (3, 2), (2, 1), groups=3),
        layers.DepthwiseConv2D(2, padding=1),
        layers.ReLU(),
        layers.MaxPooling2D(2),
        layers.Dense(7),
    ]
    model = models.Sequential(stack, input_shape=(9, 8, 3))
    numbers = [4 * 7 * 6 * (3 * 2 * 1), 5 * 8 * 6 * 4, 0, 0, 2 * 4 * 6 * 7]
    shape = model.input_shape
    for layer, number in zip(model.layers, numbers, strict=True):
        assert layer.multiply_adds(shape) == number
        shape = layer.output_shape(shape)
    assert f"multiply-adds: {sum(numbers):,} for one input" in lines_of(model)


def test_memory_of_parameters_and_results():
    model = models.Sequential([layers.Dense(64), layers.Dense(448)], input_shape=(63,), dtype=np.float64)
    size = 64 * 64 + 65 * 448
    assert f"memory: parameters {size * 8 / 1024:.1f} KiB, all results of one input 4.0 KiB" in lines_of(model)


WINDOWS = {
    "all": {},
    "stride": {"stride": (3, 2)},
    "stride beyond the kernel": {"kernel_size": (2, 1), "stride": 4},
    "padding": {"stride": 5, "padding": 1},
    "sides": {"stride": 4, "padding": ((1, 0), (0, 1))},
    "axes": {"stride": 4, "padding": (1, 0)},
    "dilation": {"kernel_size": 2, "stride": 7, "dilation": (3, 2)},
    "same": {"kernel_size": 2, "stride": 4, "padding": "same"},
    "same, the lower": {"kernel_size": 2, "stride": 4, "padding": "same_lower"},
    "valid": {"stride": 2, "padding": "valid"},
}


@pytest.mark.parametrize("case", WINDOWS)
@pytest.mark.parametrize("kind", [layers.Conv2D, layers.MaxPooling2D, layers.AveragePooling2D])
def test_pixels_that_are_never_read(kind, case, layout):
    """Those on which no result depends: where the gradient of the sum is zero."""
    arguments = {"kernel_size": 3} | WINDOWS[case]
    if kind is layers.AveragePooling2D and "dilation" in arguments:
        pytest.skip("average pooling has no dilation")
    layer = kind(**({"filters": 1} if kind is layers.Conv2D else {}), **arguments, layout=layout)
    shape = (13, 12, 1) if layout == "NHWC" else (1, 13, 12)
    read = np.zeros(shape, bool)
    if kind is layers.MaxPooling2D:  # a pixel is read when it can win
        layer.forward(np.zeros((1, *shape)))
        for place in np.ndindex(shape):
            x = np.zeros((1, *shape))
            x[0][place] = 1
            read[place] = layer.forward(x).any()
    else:
        layer.build(shape, np.float64)
        for array in layer.parameters.values():
            array[...] = 1
        y = layer.forward(np.zeros((1, *shape)), training=True)
        read = layer.backward(np.ones_like(y))[0] != 0
    assert layer.unread_pixels(shape) == (156 - read.sum(), 156)


def test_notes_of_pixels_that_are_never_read():
    lines = lines_of(models.Sequential([layers.Conv2D(3, 1, 2), layers.MaxPooling2D(2)], input_shape=(9, 9, 1)))
    assert lines[2].endswith("  56 of 81 pixels are never read") and lines[3].endswith(
        "  9 of 25 pixels are never read"
    )
