# SPDX-License-Identifier: BSD-3-Clause
"""Results larger than the caches are written past them, if they lie at cache lines: the same bits as image by image."""

import numpy as np
import pytest
from compare import same_bits
from fastconv._core import empty

import fastconv as fc

IMAGES, SIZE = 16, 40  # of 32 channels 3 MiB of float32: past the caches on one thread


@pytest.fixture
def one_thread():
    before = fc.get_num_threads()
    fc.set_num_threads(1)
    yield
    fc.set_num_threads(before)


def pointwise(x, channels, out=None):
    """One pass: on a matrix unit of 32 channels at a time. What is not finite is computed once more."""
    weight = np.random.default_rng(9).normal(size=(1, 1, channels, 2 * channels)).astype(x.dtype)
    return fc.conv2d(x, weight, np.ones(2 * channels, x.dtype), activation="leaky_relu", out=out)


def depthwise(x, channels, out=None):
    weight = np.linspace(-1, 1, 9 * channels, dtype=x.dtype).reshape(3, 3, 1, channels)
    return fc.conv2d(x, weight, np.ones(channels, x.dtype), padding=1, groups=channels, activation="relu", out=out)


def depthwise_gradient(grad_y, channels, out=None):
    weight = np.linspace(-1, 1, 9 * channels, dtype=grad_y.dtype).reshape(3, 3, 1, channels)
    shape = len(grad_y), 2 * SIZE, 2 * SIZE, channels
    return fc.conv2d_backward_input(grad_y, weight, shape, stride=2, padding=1, groups=channels, out=out)


def max_pool_gradient(grad_y, channels, out=None):
    x = np.random.default_rng(8).normal(size=(1, 2 * SIZE, 2 * SIZE, channels)).astype(grad_y.dtype)
    indices = np.repeat(fc.max_pool2d(x, 2, return_indices=True)[1], len(grad_y), axis=0)
    return fc.max_pool2d_backward(grad_y, indices, (len(grad_y), *x.shape[1:]), out=out)


def average_pool_gradient(grad_y, channels, out=None):
    return fc.avg_pool2d_backward(grad_y, (len(grad_y), 2 * SIZE, 2 * SIZE, channels), 2, out=out)


def batch_norm(x, channels, out=None):
    vectors = np.linspace(0.5, 2, 4 * channels, dtype=x.dtype).reshape(4, channels)
    return fc.batch_norm(x, *vectors, out=out)


@pytest.mark.parametrize("channels", [32, 40, 37])
@pytest.mark.parametrize(
    "call",
    [pointwise, depthwise, depthwise_gradient, max_pool_gradient, average_pool_gradient, batch_norm],
)
def test_large_results_have_the_bits_of_small_ones(call, channels, isa, dtype, one_thread):
    x = np.random.default_rng(7).normal(size=(IMAGES, SIZE, SIZE, channels)).astype(dtype)
    x[3, 5, 6, 7] = np.inf
    alone = np.concatenate([call(x[i : i + 1], channels) for i in range(IMAGES)])
    aligned = call(x, channels, empty(alone.shape, dtype))
    assert same_bits(aligned, alone)
    elsewhere = np.empty(alone.size + 4, dtype)[4:].reshape(alone.shape)
    assert same_bits(call(x, channels, elsewhere), alone)


@pytest.mark.parametrize("gaps", [(0, 0), (1, 0), (16, 1), (1, 11)], ids=str)
def test_slices_of_large_volumes_may_lie_anywhere(gaps, isa, one_thread):
    """Numbers between the slices and between the volumes of the result."""
    rng = np.random.default_rng(6)
    x, weight = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 5, 32, 32, 128), (1, 1, 1, 128, 128)))
    slice_size = 32 * 32 * 128 + gaps[0]
    volume_size = 5 * slice_size + gaps[1]
    memory = empty((2 * volume_size,), np.float32)
    strides = [4 * step for step in (volume_size, slice_size, 32 * 128, 128, 1)]
    out = np.lib.stride_tricks.as_strided(memory, x.shape, strides)
    fc.conv3d(x, weight, out=out)
    assert same_bits(np.ascontiguousarray(out), fc.conv3d(x, weight))


def test_new_results_begin_at_a_cache_line(dtype):
    x = np.ones((4, 32, 32, 32), dtype)
    for y in (fc.max_pool2d(x, 2), fc.relu(x), fc.conv2d(x, np.ones((1, 1, 32, 8), dtype))):
        assert y.ctypes.data % 64 == 0 and y.flags.writeable and y.flags.c_contiguous
