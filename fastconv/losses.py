# SPDX-License-Identifier: BSD-3-Clause
"""Losses: the mean over a batch, and the gradient of that mean."""

import numpy as np

from fastconv import _core
from fastconv.arguments import number


class Loss:
    """``loss(predictions, targets)`` is the value; ``value_and_gradient`` gives the gradient with
    respect to the predictions too, in ``out`` where it is given."""

    config_names = ()  # the constructor arguments that a model file stores

    def check_targets(self, targets, shape):
        """Raise where ``targets`` do not suit predictions of ``shape``."""

    def value_and_gradient(self, predictions, targets, out=None):
        raise NotImplementedError

    def __call__(self, predictions, targets):
        return self.value_and_gradient(np.asarray(predictions), targets)[0]

    def config(self):
        return {name: getattr(self, name) for name in self.config_names}


class CrossEntropy(Loss):
    """-sum(t * log(softmax(logits))) of each row, mean over the rows.

    ``predictions`` (N, K) are logits; a softmax that ends a model is left to this loss.
    ``targets`` are integer labels (N,) or (N, 1) from 0 to K - 1, or rows (N, K) of probabilities,
    such as one-hot rows. ``label_smoothing`` s trains on (1 - s) * t + s / K.
    """

    config_names = ("label_smoothing",)

    def __init__(self, label_smoothing=0.0):
        self.label_smoothing = number(label_smoothing, "label_smoothing", 0, 1)

    def check_targets(self, targets, shape):
        class_targets(targets, shape)

    def value_and_gradient(self, predictions, targets, out=None):
        if not self.label_smoothing:
            gradient = np.empty(predictions.shape, predictions.dtype) if out is None else out
            value = _core.cross_entropy(predictions, targets, gradient)
            if value is not None:
                return value, gradient
        targets = class_targets(targets, predictions.shape)
        with np.errstate(invalid="ignore"):  # inf - inf: the loss is NaN, which the caller sees
            shifted = predictions - predictions.max(axis=1, keepdims=True)
        gradient = np.exp(shifted, out=out)
        total = gradient.sum(axis=1, keepdims=True)
        gradient /= total
        log_total = np.log(total)
        count = len(predictions)
        if targets.ndim == 1 and not self.label_smoothing:
            labelled = np.arange(count), targets
            value = (log_total[:, 0] - shifted[labelled]).sum()
            gradient[labelled] -= 1
        else:
            rows = self._smooth(targets, predictions)
            value = (rows * (log_total - shifted)).sum()
            gradient -= rows
        gradient /= count
        return float(value) / count, gradient

    def _smooth(self, targets, predictions):
        rows = targets
        if targets.ndim == 1:
            rows = np.zeros(predictions.shape, predictions.dtype)
            rows[np.arange(len(targets)), targets] = 1
        smoothing = self.label_smoothing
        return (rows * (1 - smoothing) + smoothing / rows.shape[1]).astype(predictions.dtype)


class MeanSquaredError(Loss):
    """(prediction - target)^2, mean over all elements. Both have the same shape."""

    def check_targets(self, targets, shape):
        targets = np.asarray(targets)
        if targets.shape != tuple(shape) or 0 in shape:
            raise ValueError(f"targets must have the shape of the predictions {tuple(shape)}, got {targets.shape}")
        if targets.dtype.kind not in "biuf":
            raise TypeError(f"targets must be real numbers, got {targets.dtype}")

    def value_and_gradient(self, predictions, targets, out=None):
        self.check_targets(targets, predictions.shape)
        gradient = np.subtract(predictions, targets, out=out, dtype=predictions.dtype)
        value = float(np.square(gradient).mean())
        gradient *= 2 / gradient.size
        return value, gradient


def class_targets(targets, shape):
    """Targets for predictions of ``shape`` (N, K): integer labels (N,) or rows (N, K), checked."""
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"classes are predicted by rows (N, K), got the shape {tuple(shape)}")
    targets = np.asarray(targets)
    count, classes = shape
    if targets.shape == (count, classes) and classes > 1:
        return _checked_rows(targets)
    if targets.shape not in ((count,), (count, 1)):
        raise ValueError(
            f"targets must be labels ({count},) or rows ({count}, {classes}) for predictions "
            f"{shape}, got the shape {targets.shape}"
        )
    if targets.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {targets.dtype}: use y.astype(int)")
    if not 0 <= targets.min() <= targets.max() < classes:
        raise ValueError(
            f"labels must be 0 to {classes - 1} for {classes} classes, got {targets.min()} to {targets.max()}"
        )
    return targets.reshape(count)


def _checked_rows(rows):
    if rows.dtype.kind not in "biuf":
        raise TypeError(f"target rows must be numbers, got {rows.dtype}")
    if not (rows.min() >= 0 and np.allclose(rows.sum(axis=1), 1, atol=1e-3)):
        raise ValueError("target rows must be one-hot or probabilities: not negative, of sum 1")
    return rows


LOSSES = {"cross_entropy": CrossEntropy, "mean_squared_error": MeanSquaredError}
SHORT_NAMES = {"mse": "mean_squared_error"}


def get(loss):
    """A loss by name, or the Loss object itself."""
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        raise TypeError(f"loss must be a name or a Loss, got {loss!r}")
    name = SHORT_NAMES.get(loss, loss)
    if name not in LOSSES:
        raise ValueError(f"unknown loss {loss!r}: one of {', '.join([*LOSSES, *SHORT_NAMES])}")
    return LOSSES[name]()
