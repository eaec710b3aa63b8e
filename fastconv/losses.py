# SPDX-License-Identifier: BSD-3-Clause
"""Losses: the mean over a batch, and the gradient of that mean."""

import numpy as np

from fastconv import _core, ops
from fastconv.arguments import number


class Loss:
    """``loss(predictions, targets)`` is the value; ``value_and_gradient`` gives the gradient with
    respect to the predictions too, in ``out`` where it is given."""

    config_names = ()  # the constructor arguments that a model file stores
    activation = None  # that the loss contains: where it ends a model, the loss is computed from its argument

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
    such as one-hot rows. ``label_smoothing`` s trains on (1 - s) * t + s / K. ``class_weight`` w, K numbers, makes it
    a weighted mean: the sum of -w * t * log(softmax(logits)), divided by the sum of w * t before smoothing; 0 where
    that is 0. For labels this is PyTorch's formula (which divides by N where targets are rows).
    """

    config_names = ("label_smoothing", "class_weight")
    activation = "softmax"

    def __init__(self, label_smoothing=0.0, class_weight=None):
        self.label_smoothing = number(label_smoothing, "label_smoothing", 0, 1)
        self.class_weight = None if class_weight is None else checked_weights(class_weight)

    def check_targets(self, targets, shape):
        class_targets(targets, shape)
        if self.class_weight is not None and len(self.class_weight) != shape[1]:
            raise ValueError(f"class_weight has {len(self.class_weight)} numbers for {shape[1]} classes")

    def value_and_gradient(self, predictions, targets, out=None):
        if not self.label_smoothing and self.class_weight is None:
            gradient = np.empty(predictions.shape, predictions.dtype) if out is None else out
            value = _core.cross_entropy(predictions, targets, gradient)
            if value is not None:
                return value, gradient
        self.check_targets(targets, predictions.shape)
        targets = class_targets(targets, predictions.shape)
        logs = ops.log_softmax(predictions)
        gradient = ops.softmax(predictions, out=out)
        sums = self._labels if targets.ndim == 1 and not self.label_smoothing else self._rows
        value, weight = sums(targets, logs, gradient)
        gradient /= weight or 1
        return float(value) / (float(weight) or 1), gradient

    def _labels(self, labels, logs, gradient):
        """Sum of the losses and of the weights; the gradient, so far the softmax, becomes that of the sum."""
        labelled = np.arange(len(labels)), labels
        loss = -logs[labelled]
        if self.class_weight is None:
            gradient[labelled] -= 1
            return loss.sum(), len(labels)
        weight = np.array(self.class_weight, gradient.dtype)[labels]
        gradient[labelled] -= 1
        gradient *= weight[:, np.newaxis]
        return (weight * loss).sum(), weight.sum()

    def _rows(self, targets, logs, gradient):
        rows = targets
        if targets.ndim == 1:
            rows = np.zeros(gradient.shape, gradient.dtype)
            rows[np.arange(len(targets)), targets] = 1
        smooth = (rows * (1 - self.label_smoothing) + self.label_smoothing / rows.shape[1]).astype(gradient.dtype)
        total = len(rows)
        if self.class_weight is not None:
            weight = np.array(self.class_weight, gradient.dtype)
            smooth *= weight
            gradient *= smooth.sum(axis=1, keepdims=True)
            total = (rows @ weight).sum()
        gradient -= smooth
        return -(smooth * logs).sum(), total


class ElementwiseLoss(Loss):
    """A mean over all elements. Targets have the shape of the predictions; (N,) where these are (N, 1) will do."""

    def check_targets(self, targets, shape):
        self._targets(targets, shape)

    def _targets(self, targets, shape):
        """``targets``, checked, in the shape of the predictions."""
        targets, shape = np.asarray(targets), tuple(shape)
        if targets.shape == shape[:1] and shape[1:] == (1,):
            targets = targets[:, np.newaxis]
        if targets.shape != shape or 0 in shape:
            raise ValueError(f"targets must have the shape of the predictions {shape}, got {targets.shape}")
        if targets.dtype.kind not in "biuf":
            raise TypeError(f"targets must be real numbers, got {targets.dtype}")
        return targets


class MeanSquaredError(ElementwiseLoss):
    """(prediction - target)^2, mean over all elements."""

    def value_and_gradient(self, predictions, targets, out=None):
        targets = self._targets(targets, predictions.shape)
        gradient = np.subtract(predictions, targets, out=out, dtype=predictions.dtype)
        value = float(np.square(gradient).mean())
        gradient *= 2 / gradient.size
        return value, gradient


class MeanAbsoluteError(ElementwiseLoss):
    """abs(prediction - target), mean over all elements; its slope is 0 where the two are equal."""

    def value_and_gradient(self, predictions, targets, out=None):
        targets = self._targets(targets, predictions.shape)
        gradient = np.subtract(predictions, targets, out=out, dtype=predictions.dtype)
        value = float(np.abs(gradient).mean())
        np.sign(gradient, out=gradient)
        gradient /= gradient.size
        return value, gradient


class BinaryCrossEntropy(ElementwiseLoss):
    """-t * log(p) - (1 - t) * log(1 - p) with p = sigmoid(logit), mean over all elements.

    ``predictions`` are logits of any shape; a sigmoid that ends a model is left to this loss. ``targets`` are
    probabilities, such as 0 and 1. Computed as max(x, 0) - x * t + log(1 + exp(-abs(x))), which overflows nowhere.
    """

    activation = "sigmoid"

    def _targets(self, targets, shape):
        targets = super()._targets(targets, shape)
        if not (targets.min() >= 0 and targets.max() <= 1):
            raise ValueError("targets of binary cross-entropy must be probabilities from 0 to 1")
        return targets

    def value_and_gradient(self, predictions, targets, out=None):
        targets = self._targets(targets, predictions.shape).astype(predictions.dtype)
        small = np.exp(-np.abs(predictions))
        losses = np.maximum(predictions, 0) - predictions * targets + np.log1p(small)
        gradient = ops.sigmoid(predictions, out=out)
        gradient -= targets
        gradient /= gradient.size
        return float(losses.mean()), gradient


def checked_weights(weights):
    """``weights`` of classes as a list of floats, none negative, not all zero."""
    if isinstance(weights, (dict, str)) or np.ndim(weights) != 1:
        raise TypeError(f"class_weight must be a list of one number for each class, got {weights!r}")
    weights = [
        number(weight.item() if isinstance(weight, np.generic) else weight, "class_weight", 0) for weight in weights
    ]
    if not any(weights):
        raise ValueError("class_weight must not be 0 for all classes")
    return weights


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


LOSSES = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "mean_squared_error": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
}
SHORT_NAMES = {"mse": "mean_squared_error", "mae": "mean_absolute_error", "binary_crossentropy": "binary_cross_entropy"}


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
