# SPDX-License-Identifier: BSD-3-Clause
"""Data to train on, and ways to make more of it."""

from fastconv.datasets.augment import AffineBatches, random_affine
from fastconv.datasets.digits import load_digits
from fastconv.datasets.synthetic import (
    DIRECTIONS,
    digit_sequences,
    enlarged_digits,
    moving_digits,
    place_digits,
    shifted_digits,
)

__all__ = [
    "DIRECTIONS",
    "AffineBatches",
    "digit_sequences",
    "enlarged_digits",
    "load_digits",
    "moving_digits",
    "place_digits",
    "random_affine",
    "shifted_digits",
]
