# SPDX-License-Identifier: BSD-3-Clause
"""Data sets made of the bundled digits: enlarged, on a bigger canvas, in rows, in small videos.

Each is a pair of pairs ((x_train, y_train), (x_test, y_test)), as ``load_digits`` returns it: x are arrays of
uint8, channels last, 0 for paper; what is tested shows digits of writers who wrote none that is trained on. Equal
arguments give equal arrays.
"""

import numpy as np

from fastconv.arguments import integer, integer_pair, positive_integer
from fastconv.datasets.augment import sample_linear
from fastconv.datasets.digits import INK, SIDE, load_digits

# Where a digit goes from one frame to the next, in rows and columns; the labels of ``moving_digits``.
DIRECTIONS = {
    "right": (0, 1),
    "down": (1, 0),
    "left": (0, -1),
    "up": (-1, 0),
    "down right": (1, 1),
    "down left": (1, -1),
    "up left": (-1, -1),
    "up right": (-1, 1),
}


def enlarged_digits(size=28, *, margin=None):
    """The digits as images of ``size`` x ``size`` pixels, in the shapes and range of MNIST: x (N, size, size, 1)
    from 0 (paper) to 255 (ink), y (N,) from 0 to 9; 1437 and 360 images.

    The 8 x 8 pixels are interpolated linearly to ``size - 2 * margin``; ``margin`` is an eighth of ``size`` if it is
    not given.
    """
    size = positive_integer(size, "size")
    margin = size // 8 if margin is None else integer(margin, "margin", 0)
    inner = size - 2 * margin
    if inner < SIDE:
        raise ValueError(f"size={size} with margin={margin} leaves {inner} pixels for a digit, which has {SIDE}")
    place = (np.arange(size) - margin + 0.5) * (SIDE / inner) - 0.5

    def enlarge(images, labels):
        y, x = (np.broadcast_to(axis, (len(images), size, size)) for axis in np.meshgrid(place, place, indexing="ij"))
        return np.rint(sample_linear(images, y, x) * (255 / INK)).astype(np.uint8), labels

    return tuple(enlarge(*part) for part in load_digits())


def shifted_digits(size=24, *, rows=None, columns=None, test_rows=None, test_columns=None, seed=0):
    """Each digit once, somewhere on a bigger canvas: x (N, H, W, 1) from 0 to 16, y (N,) from 0 to 9.

    ``size``: H and W of the canvas, at least 8. ``rows`` and ``columns``: where the digits' upper left corners lie,
    one number or a pair (first, last), drawn uniformly; everywhere if they are not given. ``test_rows`` and
    ``test_columns``: the same for the test images, as for training if they are not given. With
    ``columns=(0, 4), test_columns=(12, 16)`` a network is trained on the left and tested on the right.
    """
    height, width = canvas_size(size)
    rows, columns = place_range(rows, height, "rows"), place_range(columns, width, "columns")
    places = (
        (rows, columns),
        (
            rows if test_rows is None else place_range(test_rows, height, "test_rows"),
            columns if test_columns is None else place_range(test_columns, width, "test_columns"),
        ),
    )
    rng = np.random.default_rng(seed)

    def shift(part, place):
        images, labels = part
        top, left = (rng.integers(*limits, len(images), endpoint=True) for limits in place)
        return place_digits(images, (height, width), top, left), labels

    return tuple(shift(part, place) for part, place in zip(load_digits(), places, strict=True))


def place_digits(images, size, top, left):
    """Canvases (N, H, W, C) of the size (H, W), zero but for the images (N, h, w, C), whose upper left pixels lie at
    ``top`` and ``left``: (N,) integers, or one for all. What reaches over an edge comes in at the opposite one."""
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(f"images must be (N, H, W, C), got the shape {images.shape}")
    count, height, width, channels = images.shape
    size = integer_pair(size, "size")
    if size[0] < height or size[1] < width:
        raise ValueError(f"size {size} is smaller than the images, {(height, width)}")
    top, left = place_indices(top, count, "top"), place_indices(left, count, "left")
    rows = (top + np.arange(height)) % size[0]
    columns = (left + np.arange(width)) % size[1]
    canvas = np.zeros((count, *size, channels), images.dtype)
    canvas[np.arange(count)[:, np.newaxis, np.newaxis], rows[:, :, np.newaxis], columns[:, np.newaxis, :]] = images
    return canvas


def digit_sequences(length=4, *, gap=0, count=(2000, 500), seed=0):
    """Digits written in a row: x (N, 8, 8 * length + gap * (length - 1), 1) from 0 to 16, y (N, length) from 0 to 9.

    ``gap``: empty columns between two digits. ``count``: how many rows to train and to test on. The digits are drawn
    independently, so that none tells anything of its neighbours.
    """
    length, gap, counts = positive_integer(length, "length"), integer(gap, "gap", 0), integer_pair(count, "count")
    rng = np.random.default_rng(seed)

    def sequences(part, count):
        images, labels = part
        chosen = rng.integers(len(images), size=(count, length))
        row = np.zeros((count, SIDE, length, SIDE + gap, 1), np.uint8)
        row[:, :, :, :SIDE] = images[chosen].transpose(0, 2, 1, 3, 4)
        x = row.reshape(count, SIDE, length * (SIDE + gap), 1)[:, :, : length * (SIDE + gap) - gap]
        return np.ascontiguousarray(x), labels[chosen]

    return tuple(sequences(part, count) for part, count in zip(load_digits(), counts, strict=True))


def moving_digits(frames=8, size=16, *, directions=4, speed=1, count=(1000, 250), seed=0):
    """Videos of one moving digit: x (N, frames, H, W, 1) from 0 to 16, y (N,) the direction, an index into
    ``DIRECTIONS``: 0 right, 1 down, 2 left, 3 up, and with ``directions=8`` the diagonals.

    ``size``: H and W, at least 8. The digit begins anywhere and goes ``speed`` pixels a frame; at an edge it comes in
    again at the opposite one. So no single frame, and no set of frames without their order, tells a direction from
    its opposite.
    """
    frames, speed, counts = (
        positive_integer(frames, "frames"),
        positive_integer(speed, "speed"),
        integer_pair(count, "count"),
    )
    if integer(directions, "directions", 0) not in (4, 8):
        raise ValueError(f"directions must be 4 or 8, got {directions}")
    height, width = canvas_size(size)
    step = np.array(list(DIRECTIONS.values()))[:directions] * speed
    rng = np.random.default_rng(seed)

    def videos(part, count):
        images, _ = part
        chosen, labels = rng.integers(len(images), size=count), rng.integers(directions, size=count)
        start = np.stack([rng.integers(height, size=count), rng.integers(width, size=count)])
        place = start[..., np.newaxis] + step[labels].T[..., np.newaxis] * np.arange(frames)
        x = place_digits(images[chosen.repeat(frames)], (height, width), *place.reshape(2, -1))
        return x.reshape(count, frames, height, width, 1), labels

    return tuple(videos(part, count) for part, count in zip(load_digits(), counts, strict=True))


def place_indices(value, count, name):
    """``value``, one integer or one for each of ``count`` images, as a column (count, 1)."""
    value = np.asarray(value)
    if value.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {value.dtype}")
    if value.shape not in ((), (count,)):
        raise ValueError(
            f"{name} must be one integer or one for each of the {count} images, got the shape {value.shape}"
        )
    return np.broadcast_to(value.astype(np.int64), (count,))[:, np.newaxis]


def canvas_size(size):
    height, width = integer_pair(size, "size")
    if min(height, width) < SIDE:
        raise ValueError(f"size must be at least {SIDE} x {SIDE}, the pixels of a digit, got {height} x {width}")
    return height, width


def place_range(value, size, name):
    """(first, last) places of a digit along an axis of ``size`` pixels."""
    last = size - SIDE
    if value is None:
        return 0, last
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} must be one number or a pair (first, last), got {value!r}")
    pair = tuple(integer(place, name, 0) for place in pair)
    if not pair[0] <= pair[1] <= last:
        raise ValueError(f"{name} must lie in 0 to {last}, the first not after the last, got {value!r}")
    return pair
