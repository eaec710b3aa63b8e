# SPDX-License-Identifier: BSD-3-Clause
"""Data sets made of the bundled digits."""

import numpy as np
import pytest

from fastconv import datasets

SETS = {
    "enlarged": lambda **kw: datasets.enlarged_digits(20),
    "shifted": lambda **kw: datasets.shifted_digits((9, 30), **kw),
    "sequences": lambda **kw: datasets.digit_sequences(3, gap=2, count=(50, 20), **kw),
    "moving": lambda **kw: datasets.moving_digits(5, (12, 10), count=(50, 20), **kw),
}


def digits():
    return datasets.load_digits()


def same(a, b):
    return all(np.array_equal(p, q) for m, n in zip(a, b, strict=True) for p, q in zip(m, n, strict=True))


@pytest.mark.parametrize("name", SETS)
def test_equal_arguments_give_equal_arrays(name):
    first, again = SETS[name](), SETS[name]()
    assert same(first, again)
    for x, y in first:
        assert x.dtype == np.uint8 and y.dtype == np.int64 and len(x) == len(y) and x.flags.c_contiguous
    if name != "enlarged":
        assert same(first, SETS[name](seed=0)) and not same(first, SETS[name](seed=1))


def test_enlarged_digits_have_the_shapes_and_range_of_mnist():
    for (x, y), (_, labels), count in zip(datasets.enlarged_digits(), digits(), (1437, 360), strict=True):
        assert x.shape == (count, 28, 28, 1) and (x.min(), x.max()) == (0, 255)
        assert np.array_equal(y, labels)
        assert not x[:, :2].any() and not x[:, -2:].any() and not x[:, :, :2].any() and not x[:, :, -2:].any()


def test_enlarging_interpolates():
    (x, _), _ = datasets.enlarged_digits(8, margin=0)
    (small, _), _ = digits()
    assert np.array_equal(x, np.rint(small * np.float32(255 / 16)))
    (x, _), _ = datasets.enlarged_digits(16, margin=0)
    middle = x[:, 1:-1, 1:-1, 0].astype(float)  # between pixels: weights 1/4 and 3/4 along each axis
    weights = np.zeros((14, 8))
    for place in range(14):
        source = (place + 1 + 0.5) / 2 - 0.5
        weights[place, int(source)] = 1 - source % 1
        weights[place, int(source) + 1] = source % 1
    expected = weights @ small[..., 0] @ weights.T * (255 / 16)
    assert abs(middle - expected).max() <= 0.51


def test_shifted_digits_lie_where_they_were_sent():
    sets = datasets.shifted_digits((10, 24), columns=(0, 4), test_columns=(12, 16), test_rows=1)
    for (x, y), (images, labels), columns in zip(sets, digits(), ((0, 4), (12, 16)), strict=True):
        assert x.shape == (len(images), 10, 24, 1) and np.array_equal(y, labels)
        assert np.array_equal(x.sum(axis=(1, 2)), images.sum(axis=(1, 2)))
        assert not x[:, :, : columns[0]].any() and not x[:, :, columns[1] + 8 :].any()
        found = {
            (top, left)
            for top in range(3)
            for left in range(columns[0], columns[1] + 1)
            if (x[:, top : top + 8, left : left + 8] == images).all(axis=(1, 2, 3)).any()
        }
        expected_rows = range(3) if columns == (0, 4) else [1]
        assert found == {(top, left) for top in expected_rows for left in range(columns[0], columns[1] + 1)}


def test_placed_digits_come_in_again_at_the_opposite_edge():
    images = np.arange(1, 25).reshape(2, 3, 4, 1)
    canvas = datasets.place_digits(images, (5, 6), [0, 4], [1, -1])
    expected = np.zeros((2, 5, 6), int)
    expected[0, :3, 1:5] = images[0, ..., 0]
    expected[1, :3, :4] = images[1, ..., 0]
    expected[1] = np.roll(expected[1], (4, -1), axis=(0, 1))
    assert np.array_equal(canvas[..., 0], expected) and canvas.dtype == images.dtype


@pytest.mark.parametrize("gap", [0, 3])
def test_sequences_are_digits_side_by_side(gap):
    sets = datasets.digit_sequences(4, gap=gap, count=(40, 15))
    for (x, y), (images, labels), count in zip(sets, digits(), (40, 15), strict=True):
        assert x.shape == (count, 8, 32 + 3 * gap, 1) and y.shape == (count, 4)
        known = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
        for place in range(4):
            start = place * (8 + gap)
            assert [known[np.ascontiguousarray(part).tobytes()] for part in x[:, :, start : start + 8]] == list(
                y[:, place]
            )
            assert not x[:, :, start + 8 : start + 8 + gap].any()
        assert len(np.unique(y)) == 10


@pytest.mark.parametrize("directions, speed", [(4, 1), (8, 2)])
def test_digits_move_in_the_direction_of_their_label(directions, speed):
    sets = datasets.moving_digits(6, (13, 11), directions=directions, speed=speed, count=(60, 30))
    for (x, y), (images, _), count in zip(sets, digits(), (60, 30), strict=True):
        assert x.shape == (count, 6, 13, 11, 1) and set(y) == set(range(directions))
        for video, label in zip(x, y, strict=True):
            step = np.array(list(datasets.DIRECTIONS.values())[label]) * speed
            assert all(np.array_equal(np.roll(video[t], step, (0, 1)), video[t + 1]) for t in range(5))
        known = {tuple(sorted(image.ravel())) for image in images}
        assert all(tuple(sorted(video[0].ravel())[-64:]) in known for video in x)


def test_training_and_test_show_different_digits():
    (train, _), (test, _) = datasets.moving_digits(2, 8, count=(300, 300))
    kinds = [{tuple(sorted(video[0].ravel())) for video in part} for part in (train, test)]
    assert len(kinds[0] & kinds[1]) == 0


WRONG = {
    "small": (lambda: datasets.enlarged_digits(7), ValueError, "size"),
    "margin": (lambda: datasets.enlarged_digits(28, margin=11), ValueError, "margin"),
    "float size": (lambda: datasets.enlarged_digits(28.0), TypeError, "size"),
    "canvas": (lambda: datasets.shifted_digits((7, 20)), ValueError, "size"),
    "columns": (lambda: datasets.shifted_digits(24, columns=(0, 17)), ValueError, "columns"),
    "order": (lambda: datasets.shifted_digits(24, test_rows=(5, 3)), ValueError, "test_rows"),
    "three rows": (lambda: datasets.shifted_digits(24, rows=(1, 2, 3)), ValueError, "rows"),
    "float rows": (lambda: datasets.shifted_digits(24, rows=1.5), TypeError, "rows"),
    "length": (lambda: datasets.digit_sequences(0), ValueError, "length"),
    "gap": (lambda: datasets.digit_sequences(3, gap=-1), ValueError, "gap"),
    "count": (lambda: datasets.digit_sequences(3, count=(1, 2, 3)), ValueError, "count"),
    "frames": (lambda: datasets.moving_digits(0), ValueError, "frames"),
    "directions": (lambda: datasets.moving_digits(directions=5), ValueError, "directions"),
    "float directions": (lambda: datasets.moving_digits(directions=4.0), TypeError, "directions"),
    "images": (lambda: datasets.place_digits(np.zeros((8, 8)), 9, 0, 0), ValueError, "images"),
    "too small": (lambda: datasets.place_digits(np.zeros((1, 8, 8, 1)), 7, 0, 0), ValueError, "size"),
    "float top": (lambda: datasets.place_digits(np.zeros((1, 8, 8, 1)), 9, 0.0, 0), TypeError, "top"),
    "two left": (lambda: datasets.place_digits(np.zeros((1, 8, 8, 1)), 9, 0, [0, 1]), ValueError, "left"),
    "seed": (lambda: datasets.shifted_digits(seed=-1), ValueError, "non-negative"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named(case):
    call, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        call()
