# SPDX-License-Identifier: BSD-3-Clause
"""How far Winograd's results are off. Promised is a relative L2 error of 3e-6, relative to the result or, where sums
cancel to S, within 200 u of its norm; tested is what is measured, with a little to spare."""

import functools

import numpy as np
import oracle
import problems
import pytest
from compare import unit_roundoff
from test_accuracy import normal, positive, rectified, uniform, with_outliers
from test_winograd import ODD, OPERATIONS, compute

import fastconv as fc
from fastconv.bench.networks import CONVS


def true(operation, data, how, **more):
    if operation == "forward":
        return oracle.conv2d(data.x, data.weight, **how, **more)
    if operation == "input":
        return oracle.conv2d_backward_input(data.grad_y, data.weight, data.x.shape, **how, **more)
    return oracle.conv2d_backward_weight(data.grad_y, data.x, data.weight.shape, **how, **more)


def magnitudes(data):
    return problems.ConvData(*(abs(array) for array in (data.x, data.weight, data.bias, data.grad_y)))


def filled(problem, fill, dtype=np.float32):
    rng, fills = problems.rng_for(problem), FILLS[fill]
    shapes = problem.x_shape("NHWC"), problem.weight_shape("NHWC"), (problem.k,), problem.y_shape("NHWC")
    return problems.ConvData(*(make(rng, shape).astype(dtype) for make, shape in zip(fills, shapes, strict=True)))


def cancelling(rng, shape):
    """Nearly equal numbers, which filters that add up to nothing almost take away."""
    return 100 + rng.standard_normal(shape)


def without_mean(rng, shape):
    """For each filter and channel the weights add up to zero."""
    numbers = rng.standard_normal(shape)
    return numbers - numbers.mean(axis=(0, 1), keepdims=True) if len(shape) == 4 else numbers


# x, weight, bias, grad_y
FILLS = {
    "uniform": (uniform, uniform, uniform, uniform),
    "rectified": (rectified, normal, normal, rectified),
    "positive": (positive, positive, positive, positive),
    "outliers": (with_outliers, normal, normal, with_outliers),
    "cancelling": (cancelling, without_mean, normal, cancelling),
}


def assert_relative_error(result, truth, promised):
    error = np.linalg.norm(result - truth) / np.linalg.norm(truth)
    assert error <= promised, f"a relative L2 error of {error:.3g}, promised: {promised}"


def assert_small_beside(result, truth, terms, units):
    """Within so many u of the norm of S, where results are what cancelling terms leave; promised are 200."""
    error = np.linalg.norm(result - truth) / np.linalg.norm(terms) / unit_roundoff(result.dtype)
    assert error <= units, f"an error of {float(error):.3g} u of the norm of S, tested: {units} u"


def worst_in_units(result, truth, terms):
    """The largest error in u of S. A result without terms is left out: its tile's sums cancel but for roundings."""
    error, some = abs(result - truth), terms > 0
    return (error[some] / terms[some]).max() / unit_roundoff(result.dtype)


# What no layer of a network goes beyond, with a quarter to spare: the relative L2 error (promised: 3e-6), and the
# largest error in u of S for y, grad_x and grad_weight. The largest ones are at the borders and, for weights, in images
# of 7x7 pixels behind a ReLU: there S has few terms, but the tile many.
LARGEST_L2 = 1.2e-6
LARGEST_ERRORS = {"uniform": (8, 16, 12), "rectified": (12, 20, 80)}


def network_layers():
    """The distinct 3x3 layers with stride 1, their images made smaller: errors do not depend on where a pixel is."""
    sizes = {}
    for layer in CONVS:
        if (layer.r, layer.s, layer.stride, layer.groups) == (3, 3, 1, 1) and layer.c >= 16:
            text = f"c{layer.c} h{min(layer.h, 22)} w{min(layer.w, 30)} k{layer.k} r3x3 p{layer.padding}"
            sizes.setdefault(text, f"{layer.network} {layer.name}")
    return [pytest.param(problems.parse(text), id=name) for text, name in sizes.items()]


@pytest.mark.parametrize("fill", ["uniform", "rectified"])
@pytest.mark.parametrize("problem", network_layers())
def test_layers_of_networks(problem, fill):
    """Of all results, those of three filters and channels are judged."""
    data, how, rng = filled(problem, fill), problem.geometry, np.random.default_rng(0)
    c, k = rng.choice(problem.c, 3, replace=False), rng.choice(problem.k, 3, replace=False)
    some = {
        "forward": problems.ConvData(data.x, data.weight[..., k], data.bias[k], data.grad_y[..., k]),
        "input": problems.ConvData(data.x[..., c], data.weight[:, :, c], data.bias, data.grad_y),
        "weight": problems.ConvData(data.x[..., c], data.weight[:, :, c][..., k], data.bias[k], data.grad_y[..., k]),
    }
    chosen = {"forward": (..., k), "input": (..., c), "weight": (slice(None), slice(None), *np.ix_(c, k))}
    for operation in OPERATIONS:
        result = compute(operation, data, how, algorithm="winograd")[chosen[operation]]
        truth, terms = true(operation, some[operation], how), true(operation, magnitudes(some[operation]), how)
        assert_relative_error(result, truth, LARGEST_L2)
        assert worst_in_units(result, truth, terms) <= LARGEST_ERRORS[fill][OPERATIONS.index(operation)]


@functools.lru_cache(maxsize=2)
def odd_truth(problem, fill, dtype):
    """For each operation the truth, and the sums of the magnitudes of its terms."""
    data, how = filled(problem, fill, dtype), problem.geometry
    exact = {"accumulate": np.float64 if dtype == np.float32 else np.longdouble}
    return [(true(op, data, how, **exact), true(op, magnitudes(data), how)) for op in OPERATIONS]


@pytest.fixture(params=ODD)
def odd(request):
    return problems.parse(request.param)


@pytest.fixture(params=FILLS)
def fill(request):
    return request.param


def sums_of_tiles(image, size, padding, tiles):
    """For each tile and channel the sum of the magnitudes in its size x size window: (N, tiles, tiles, C)."""
    room = [(before, 4 * count + 2) for (before, _), count in zip(padding, tiles, strict=True)]
    padded = np.pad(abs(image).astype(np.float64), [(0, 0), *room, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    return windows[:, : 4 * tiles[0] : 4, : 4 * tiles[1] : 4].sum(axis=(-1, -2))


def over_groups(product, left, right, groups):
    """``product`` of the channels of each group, side by side."""
    pairs = zip(np.split(left, groups, axis=-1), np.split(right, groups, axis=-1), strict=True)
    return np.concatenate([product(*pair) for pair in pairs], axis=-1)


def tile_bounds(operation, problem, data):
    """For each result the sum over channels of norm(tile) * norm(filter), or over tiles of norm(tile) * norm(tile):
    what the intermediate results of a tile are made of, and so the measure of their rounding errors."""
    (top, bottom), (left, right) = problem.padding
    size = problem.output_size if operation != "input" else (problem.h, problem.w)
    tiles = [-(-length // 4) for length in size]
    filters = abs(data.weight).sum(axis=(0, 1), dtype=np.float64)
    if operation == "weight":
        x = sums_of_tiles(data.x, 6, ((top, bottom), (left, right)), tiles)
        grad_y = sums_of_tiles(data.grad_y, 4, ((0, 0), (0, 0)), tiles)
        return over_groups(lambda a, b: np.tensordot(a, b, axes=((0, 1, 2),) * 2), x, grad_y, problem.groups)
    if operation == "forward":
        image = sums_of_tiles(data.x, 6, ((top, bottom), (left, right)), tiles)
        bound = over_groups(lambda a, b: a @ b, image, filters, problem.groups)
    else:
        room = ((0, 0), *(((max(2 - before, 0),) * 2) for before in (top, left)), (0, 0))
        grad_y = np.pad(data.grad_y, room)[:, max(top - 2, 0) :, max(left - 2, 0) :]
        image = sums_of_tiles(grad_y, 6, ((0, 0), (0, 0)), tiles)
        bound = over_groups(lambda a, b: a @ b.T, image, filters, problem.groups)
    return bound.repeat(4, axis=1).repeat(4, axis=2)[:, : size[0], : size[1]]


# The largest error in u of what tile_bounds tells: an outlier costs the results of its tile that do not see it.
TILE_ERRORS = {"uniform": 1, "rectified": 2, "positive": 3, "outliers": 64, "cancelling": 2}


def test_odd_sizes(odd, fill, dtype, isa):
    """Relative to the result, or where sums cancel to S. Each result within so many u of its tile's magnitude."""
    data, how, unit = filled(odd, fill, dtype), odd.geometry, unit_roundoff(dtype)
    for operation, (truth, terms) in zip(OPERATIONS, odd_truth(odd, fill, dtype), strict=True):
        result = compute(operation, data, how, algorithm="winograd")
        if fill in ("outliers", "cancelling"):
            assert_small_beside(result, truth, terms, 12)
        else:
            assert_relative_error(result, truth, LARGEST_L2 if dtype == np.float32 else 3e-15)
        assert (abs(result - truth) <= TILE_ERRORS[fill] * unit * tile_bounds(operation, odd, data)).all()


@pytest.mark.parametrize("fill, rows", [("positive", 1024), ("uniform", 256)])
def test_long_sums_over_pixels(fill, rows):
    """Up to a million pixels: blocks of tiles are summed in parts, which are joined in a tree."""
    problem = problems.parse(f"c16 h{rows} w1024 k16 r3x3 p1")
    data = filled(problem, fill)
    some = problems.ConvData(data.x[..., 3:5], data.weight[:, :, 3:5, 7:9], data.bias[7:9], data.grad_y[..., 7:9])
    result = compute("weight", data, problem.geometry, algorithm="winograd")[:, :, 3:5, 7:9]
    truth, terms = (true("weight", numbers, problem.geometry) for numbers in (some, magnitudes(some)))
    if fill == "positive":
        assert_relative_error(result, truth, 1e-6)
    else:  # S is some hundreds of times larger
        assert_small_beside(result, truth, terms, 0.2)
    assert worst_in_units(result, truth, terms) <= 8


@pytest.mark.parametrize("threads", [1, 3])
def test_gradients_of_weights_in_several_rounds(threads):
    """A long call hands its tasks out again and again, so that it can be interrupted. One image 90 times."""
    problem = problems.parse("c128 h56 k128 r3x3 p1")
    data = filled(problem, "uniform")
    x, grad_y = (np.broadcast_to(array, (90, *array.shape[1:])) for array in (data.x, data.grad_y))
    with fc.threads(threads):
        result = fc.conv2d_backward_weight(grad_y, x, data.weight.shape, **problem.geometry, algorithm="winograd")
    some = problems.ConvData(data.x[..., ::32], data.weight[:, :, ::32, ::32], data.bias, data.grad_y[..., ::32])
    truth, terms = (90 * true("weight", numbers, problem.geometry) for numbers in (some, magnitudes(some)))
    assert_small_beside(result[:, :, ::32, ::32], truth, terms, 4)
