# SPDX-License-Identifier: BSD-3-Clause
"""What follows a figure of a training: early ends, the best model so far, a smaller learning rate."""

import math
import os
import warnings

import numpy as np

from fastconv.arguments import boolean, integer, number, one_of, positive_integer
from fastconv.callbacks.base import Callback
from fastconv.callbacks.display import figures


class TerminateOnNaN(Callback):
    """Ends the training after an epoch with a figure that is not finite, such as a validation loss. (A training loss
    that is not finite ends the training at once, with or without this callback.)"""

    def on_epoch_end(self, epoch, logs=None):
        wrong = {name: value for name, value in logs.items() if not math.isfinite(value)}
        if wrong:
            warnings.warn(f"epoch {epoch + 1}: {figures(wrong)}: training stopped", RuntimeWarning, stacklevel=2)
            self.model.stop_training = True


class Monitor(Callback):
    """A callback that follows one figure. ``mode``: whether the "min" or the "max" is best; "auto" is "max" for names
    that end in "accuracy". NaN is never better."""

    state_names = ("best",)

    def __init__(self, monitor, mode, min_delta=0.0):
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be the name of a figure, got {monitor!r}")
        self.monitor = monitor
        mode = one_of(("auto", "min", "max"), mode, "mode")
        self.sign = 1 if mode == "max" or (mode == "auto" and monitor.endswith("accuracy")) else -1
        self.min_delta = number(min_delta, "min_delta", 0)
        self.best = None

    def on_train_begin(self, logs=None):
        self.best = None

    def improves(self, logs):
        """Whether the figure beats the best so far by more than ``min_delta``; then it is the best."""
        if self.monitor not in logs:
            raise ValueError(f"monitor={self.monitor!r} is no figure of this training: {', '.join(logs)}")
        value = logs[self.monitor]
        if self.best is None:
            better = not math.isnan(value)
        else:
            better = self.sign * (value - self.best) > self.min_delta
        if better:
            self.best = value
        return better


class ModelCheckpoint(Monitor):
    """Saves the model (``model.save``) after each epoch, or with ``save_best_only`` after those in which ``monitor``
    is better than ever. ``filepath`` may name the epoch, from 1, and figures: "cnn-{epoch:02d}-{val_loss:.3f}.npz".
    A file is replaced in one step or not at all. To take up an interrupted training see ``BackupAndRestore``."""

    def __init__(self, filepath, monitor="val_loss", save_best_only=False, mode="auto"):
        super().__init__(monitor, mode)
        self.filepath = os.fspath(filepath)
        self.save_best_only = boolean(save_best_only, "save_best_only")

    def on_epoch_end(self, epoch, logs=None):
        if not self.save_best_only or self.improves(logs):
            self.model.save(self.filepath.format(epoch=epoch + 1, **logs))


class EarlyStopping(Monitor):
    """Ends the training when ``monitor`` has not improved by more than ``min_delta`` for ``patience`` epochs.
    ``restore_best_weights``: the model is left with the parameters of its best epoch, however the training ends."""

    state_names = ("best", "wait", "stopped_epoch")
    vector_names = ("best_weights",)

    def __init__(self, monitor="val_loss", min_delta=0.0, patience=0, mode="auto", restore_best_weights=False):
        super().__init__(monitor, mode, min_delta)
        self.patience = integer(patience, "patience", 0)
        self.restore_best_weights = boolean(restore_best_weights, "restore_best_weights")
        self.wait, self.stopped_epoch, self.best_weights = 0, None, None

    def vector_size(self, model):
        return sum(array.size for array in model.parameters.values())

    def set_state(self, state):
        super().set_state(state)
        if self.stopped_epoch is not None:
            self.model.stop_training = True

    def on_train_begin(self, logs=None):
        super().on_train_begin()
        self.wait, self.stopped_epoch, self.best_weights = 0, None, None

    def on_epoch_end(self, epoch, logs=None):
        if self.improves(logs):
            self.wait = 0
            if self.restore_best_weights:
                self.best_weights = np.concatenate([array.ravel() for array in self.model.parameters.values()])
            return
        self.wait += 1
        if self.wait >= self.patience:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        if self.best_weights is None:
            return
        start = 0
        for array in self.model.parameters.values():
            array[...] = self.best_weights[start : start + array.size].reshape(array.shape)
            start += array.size


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate with ``factor`` when ``monitor`` has not improved by more than ``min_delta`` for
    ``patience`` epochs, down to ``min_lr``; for ``cooldown`` epochs after that it does not count."""

    state_names = ("best", "wait", "rest")

    def __init__(
        self, monitor="val_loss", factor=0.1, patience=10, mode="auto", min_delta=1e-4, cooldown=0, min_lr=0.0
    ):
        super().__init__(monitor, mode, min_delta)
        self.factor = number(factor, "factor", 0, 1)
        self.patience, self.cooldown = positive_integer(patience, "patience"), integer(cooldown, "cooldown", 0)
        self.min_lr = number(min_lr, "min_lr", 0)
        self.wait = self.rest = 0

    def on_train_begin(self, logs=None):
        super().on_train_begin()
        self.wait = self.rest = 0
        if not isinstance(self.model.optimizer.lr, float):
            raise TypeError("ReduceLROnPlateau needs an optimizer whose lr is a number, not a schedule")

    def on_epoch_end(self, epoch, logs=None):
        if self.rest:
            self.rest, self.wait = self.rest - 1, 0
        if self.improves(logs):
            self.wait = 0
        elif not self.rest:
            self.wait += 1
            if self.wait >= self.patience:
                optimizer = self.model.optimizer
                optimizer.lr = min(optimizer.lr, max(optimizer.lr * self.factor, self.min_lr))
                self.wait, self.rest = 0, self.cooldown
