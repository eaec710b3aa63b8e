# SPDX-License-Identifier: BSD-3-Clause
"""Metrics: figures that training reports and does not optimise."""

import numpy as np

from fastconv.losses import class_targets


def accuracy(predictions, targets):
    """Share of rows of ``predictions`` (N, K) whose largest value is at the target class; targets
    as in ``CrossEntropy``."""
    targets = class_targets(targets, predictions.shape)
    if targets.ndim == 2:
        targets = targets.argmax(axis=1)
    return float(np.mean(predictions.argmax(axis=1) == targets))


METRICS = {"accuracy": accuracy}
