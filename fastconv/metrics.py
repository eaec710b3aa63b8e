# SPDX-License-Identifier: BSD-3-Clause
"""Metrics: figures that training reports and does not optimise.

Each takes predictions as the loss sees them, so logits where a softmax or sigmoid that ends the model is left to the
loss, and targets as the loss takes them.
"""

import numpy as np

from fastconv.losses import BinaryCrossEntropy, class_targets


def accuracy(predictions, targets):
    """Share of rows of ``predictions`` (N, K) whose largest value is at the target class; targets
    as in ``CrossEntropy``. In a model that is compiled with binary cross-entropy it is ``binary_accuracy``."""
    return float(np.mean(predictions.argmax(axis=1) == labels(predictions, targets)))


def top_5_accuracy(predictions, targets):
    """Share of rows of ``predictions`` (N, K) in which fewer than five values exceed that at the target class, and
    that one is a number."""
    found = np.take_along_axis(predictions, labels(predictions, targets)[:, np.newaxis], axis=1)
    return float(np.mean(((predictions > found).sum(axis=1) < 5) & ~np.isnan(found[:, 0])))


def labels(predictions, targets):
    targets = class_targets(targets, predictions.shape)
    return targets.argmax(axis=1) if targets.ndim == 2 else targets


def binary_accuracy(predictions, targets):
    """Share of logits that lie on their target's side: above 0 for targets above 0.5, else not."""
    targets = np.asarray(targets).reshape(predictions.shape)
    return float(np.mean((predictions > 0) == (targets > 0.5)))


def mean_squared_error(predictions, targets):
    return float(np.mean(np.square(predictions - np.asarray(targets).reshape(predictions.shape))))


def mean_absolute_error(predictions, targets):
    return float(np.mean(np.abs(predictions - np.asarray(targets).reshape(predictions.shape))))


METRICS = {
    "accuracy": accuracy,
    "top_5_accuracy": top_5_accuracy,
    "binary_accuracy": binary_accuracy,
    "mean_squared_error": mean_squared_error,
    "mse": mean_squared_error,
    "mean_absolute_error": mean_absolute_error,
    "mae": mean_absolute_error,
}


def of_loss(name, loss):
    """The function of a metric in a model that is compiled with ``loss``."""
    return binary_accuracy if name == "accuracy" and isinstance(loss, BinaryCrossEntropy) else METRICS[name]
