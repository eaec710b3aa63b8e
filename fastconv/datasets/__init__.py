# SPDX-License-Identifier: BSD-3-Clause
"""Data to train on, and ways to make more of it."""

from fastconv.datasets.augment import AffineBatches, random_affine
from fastconv.datasets.digits import load_digits

__all__ = ["AffineBatches", "load_digits", "random_affine"]
