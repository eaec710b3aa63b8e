# SPDX-License-Identifier: BSD-3-Clause
"""Data to train on, and ways to make more of it."""

from fastconv.datasets.augment import (
    AffineBatches,
    AugmentedBatches,
    random_affine,
    random_crop,
    random_flip,
    random_noise,
)
from fastconv.datasets.digits import load_digits
from fastconv.datasets.files import load_cifar10, load_cifar100, load_mnist, read_idx
from fastconv.datasets.folders import load_image_folder
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
    "AugmentedBatches",
    "digit_sequences",
    "enlarged_digits",
    "load_cifar10",
    "load_cifar100",
    "load_digits",
    "load_image_folder",
    "load_mnist",
    "moving_digits",
    "place_digits",
    "random_affine",
    "random_crop",
    "random_flip",
    "random_noise",
    "read_idx",
    "shifted_digits",
]
