# SPDX-License-Identifier: BSD-3-Clause
"""The bundled digits, and images made from images."""

import hashlib
from importlib import resources

import numpy as np
import pytest

from fastconv import datasets


def test_digits():
    (x_train, y_train), (x_test, y_test) = datasets.load_digits()
    assert x_train.shape == (1437, 8, 8, 1) and x_test.shape == (360, 8, 8, 1)
    assert y_train.shape == (1437,) and y_test.shape == (360,)
    assert x_train.dtype == np.uint8 and y_train.dtype == np.int64
    assert (x_train.min(), x_train.max(), y_train.min(), y_train.max()) == (0, 16, 0, 9)
    pixels = np.concatenate([x_train, x_test]).tobytes()
    labels = np.concatenate([y_train, y_test]).astype(np.uint8).tobytes()
    digest = hashlib.sha256(pixels + labels).hexdigest()
    assert digest == DIGEST


DIGEST = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def test_the_licence_of_the_digits_is_bundled():
    note = resources.files("fastconv.datasets").joinpath("digits_license.txt").read_text()
    assert "Alpaydin" in note and "CC BY 4.0" in note


def images():
    return np.random.default_rng(0).uniform(size=(6, 8, 9, 2)).astype(np.float32)


def test_no_change_is_no_change():
    changed = datasets.random_affine(images(), np.random.default_rng(0))
    assert changed.dtype == np.float32 and np.array_equal(changed, images())
    whole = np.arange(6 * 72 * 2, dtype=np.uint16).reshape(6, 8, 9, 2)
    assert np.array_equal(datasets.random_affine(whole, np.random.default_rng(0)), whole)


class Fixed:
    """A generator whose uniform draws are at a chosen place of their range, -1 to 1."""

    def __init__(self, *places):
        self.places = iter(places)

    def uniform(self, low, high, size):
        place = np.reshape(next(self.places), (-1, 1, 1, 1)[-len(size) :])
        return np.broadcast_to(low + (high - low) * (place + 1) / 2, size)


def test_whole_shifts_move_pixels_and_bring_in_zeros():
    shifts = np.array([1.0, -1.0])
    changed = datasets.random_affine(images(), Fixed(0, 0, shifts), shift=2)
    expected = np.zeros_like(images())
    expected[:, :-2, 2:] = images()[:, 2:, :-2]  # from two rows below and two columns left
    np.testing.assert_allclose(changed, expected, atol=1e-6)


def test_half_a_shift_is_the_mean_of_two_pixels():
    changed = datasets.random_affine(images(), Fixed(0, 0, np.array([0.0, 1.0])), shift=0.5)
    right = np.pad(images(), ((0, 0), (0, 0), (0, 1), (0, 0)))[:, :, 1:]
    np.testing.assert_allclose(changed, (images() + right) / 2, atol=1e-6)


def test_between_four_pixels_is_their_mean():
    changed = datasets.random_affine(images(), Fixed(0, 0, np.array([1.0, 1.0])), shift=0.5)
    padded = np.pad(images(), ((0, 0), (0, 1), (0, 1), (0, 0)))
    corners = padded[:, :-1, :-1], padded[:, 1:, :-1], padded[:, :-1, 1:], padded[:, 1:, 1:]
    np.testing.assert_allclose(changed, sum(corners) / 4, atol=1e-6)


def test_a_quarter_turn():
    square = images()[:, :, :8]
    changed = datasets.random_affine(square, Fixed(1, 0, np.zeros(2)), rotation=np.pi / 2)
    np.testing.assert_allclose(changed, np.rot90(square, axes=(2, 1)), atol=1e-6)


def test_zoom_goes_both_ways():
    bar = np.zeros((1, 9, 9, 1), np.float32)
    bar[:, 4, 2:7] = 1
    ink = [
        datasets.random_affine(bar, Fixed(0, place, np.zeros(2)), zoom=0.5)[0, 4, :, 0].sum() for place in (-1, 0, 1)
    ]
    np.testing.assert_allclose(ink[1], 5)
    assert 2.5 < ink[0] < 4 and 6 < ink[2] < 8.5


def test_each_image_is_changed_in_its_own_way_and_by_the_seed():
    same = np.repeat(images()[:1], 5, axis=0)
    kw = {"rotation": 0.3, "zoom": 0.2, "shift": 1.0}
    changed = datasets.random_affine(same, np.random.default_rng(1), **kw)
    assert len({image.tobytes() for image in changed}) == 5
    assert changed.min() >= 0 and changed.max() <= same.max()
    assert np.array_equal(changed, datasets.random_affine(same, np.random.default_rng(1), **kw))


def test_affine_batches_are_new_each_epoch_and_settled_by_the_seed():
    x, y = images(), np.arange(6)

    def epochs(seed):
        batches = datasets.AffineBatches(x, y, 4, shift=1.0, seed=seed)
        assert len(batches) == 2
        return [[(a.copy(), b.copy()) for a, b in batches] for _ in range(2)]

    first, second = epochs(0)
    assert [len(a) for a, _ in first] == [4, 2]
    for epoch in (first, second):
        assert sorted(np.concatenate([b for _, b in epoch])) == list(range(6))
    assert not np.array_equal(first[0][0], second[0][0])
    again = epochs(0)
    assert all(np.array_equal(p[0], q[0]) for p, q in zip(first + second, sum(again, []), strict=True))
    assert not np.array_equal(epochs(1)[0][0][0], first[0][0])


def test_labels_stay_with_their_images():
    x = np.zeros((50, 3, 3, 1)) + np.arange(50).reshape(-1, 1, 1, 1)
    for batch, labels in datasets.AffineBatches(x, np.arange(50), 7, seed=0):
        assert np.array_equal(batch[:, 1, 1, 0], labels)


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda: datasets.random_affine(np.zeros((8, 8)), None), ValueError, "images"),
        (lambda: datasets.random_affine(images(), None, shift=-1), ValueError, "shift"),
        (lambda: datasets.random_affine(images(), None, zoom="1"), TypeError, "zoom"),
        (lambda: datasets.AffineBatches(images(), np.zeros(5)), ValueError, "as long"),
        (lambda: datasets.AffineBatches(images(), np.zeros(6), 0), ValueError, "batch_size"),
    ],
)
def test_wrong_arguments_are_named(call, error, text):
    with pytest.raises(error, match=text):
        call()
