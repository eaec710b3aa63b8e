# SPDX-License-Identifier: BSD-3-Clause
"""What ``Sequential.fit`` calls between batches and epochs: the history, the progress display, files, early ends, and
whatever the user adds. Names and arguments are Keras's."""

import contextlib
import csv
import math
import os
import time
import warnings

import numpy as np

from fastconv import _core
from fastconv.arguments import boolean, integer, number, one_of, positive_integer


class Callback:
    """Base of callbacks, with Keras's method names. ``logs`` maps figure to value; ``model`` is the
    model that trains, ``params`` holds "epochs" and "steps" (batches per epoch, None if unknown).
    A callback ends the training by setting ``model.stop_training``.

    A checkpoint stores what the class names: ``state_names`` are attributes that hold numbers, texts or None, or lists
    and dicts of them; ``vector_names`` are attributes that hold None or a vector of ``vector_size(model)`` numbers of
    the model's dtype. Both are set after ``on_train_begin`` when a training is resumed."""

    model = None
    params = None
    state_names = ()
    vector_names = ()
    comes_last = False  # called after the others, to see what they did

    def vector_size(self, model):
        return 0

    def set_state(self, state):
        """Take over the attributes that ``state_names`` names, and vectors."""
        for name, value in state.items():
            setattr(self, name, value)

    def on_train_begin(self, logs=None):
        pass

    def on_epoch_begin(self, epoch, logs=None):
        pass

    def on_train_batch_end(self, batch, logs=None):
        pass

    def on_epoch_end(self, epoch, logs=None):
        pass

    def on_test_begin(self, logs=None):
        """Before the validation at the end of an epoch."""

    def on_test_end(self, logs=None):
        """After it."""

    def on_train_end(self, logs=None):
        pass


class CallbackList:
    """Callbacks that are called together."""

    def __init__(self, callbacks, model, params):
        self._callbacks = sorted(callbacks, key=lambda callback: callback.comes_last)
        for callback in callbacks:
            callback.model, callback.params = model, params

    def __iter__(self):
        return iter(self._callbacks)

    def call(self, event, *arguments):
        for callback in self._callbacks:
            getattr(callback, event)(*arguments)


class History(Callback):
    """``history``: figure ("loss", "val_accuracy", ...) to its list of values, one per epoch;
    ``epoch``: the numbers of these epochs, from 0."""

    state_names = ("epoch", "history")

    def __init__(self):
        self.epoch, self.history = [], {}

    def on_epoch_end(self, epoch, logs=None):
        if epoch in self.epoch[-1:]:  # cut short, and taken up again
            self.epoch.pop()
            for values in self.history.values():
                values.pop()
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)


class EpochLines(Callback):
    """Prints one line of figures per epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self._start
        self.write(f"epoch {epoch + 1}/{self.params['epochs']} - {seconds:.2f} s - {figures(logs)}")

    def write(self, line):
        print(line, flush=True)


class ProgressBar(EpochLines):
    """The lines, and under them a bar over the batches of the whole training. Needs tqdm."""

    def __init__(self):
        from tqdm import tqdm

        self._tqdm = tqdm

    def on_train_begin(self, logs=None):
        epochs, steps = self.params["epochs"], self.params["steps"]
        total = None if steps is None else epochs * steps
        self._bar = self._tqdm(total=total, unit="batch", leave=False)

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        if self.params["steps"] is not None:
            self._bar.n = epoch * self.params["steps"]  # a training that is resumed begins elsewhere

    def on_train_batch_end(self, batch, logs=None):
        self._bar.set_postfix_str(f"loss {logs['loss']:.4f}", refresh=False)
        self._bar.update()

    def on_train_end(self, logs=None):
        self._bar.close()

    def write(self, line):
        self._tqdm.write(line)


class TerminateOnNaN(Callback):
    """Ends the training after an epoch with a figure that is not finite, such as a validation loss. (A training loss
    that is not finite ends the training at once, with or without this callback.)"""

    def on_epoch_end(self, epoch, logs=None):
        wrong = {name: value for name, value in logs.items() if not math.isfinite(value)}
        if wrong:
            warnings.warn(f"epoch {epoch + 1}: {figures(wrong)}: training stopped", RuntimeWarning, stacklevel=2)
            self.model.stop_training = True


class CSVLogger(Callback):
    """Writes one line of figures per epoch to the file ``filename``, under a line of their names. ``append``: go on
    with an existing file."""

    def __init__(self, filename, separator=",", append=False):
        self.filename, self.separator = filename, separator
        self.append = boolean(append, "append")

    def on_train_begin(self, logs=None):
        self._names = None
        self._headed = self.append and os.path.exists(self.filename) and os.path.getsize(self.filename) > 0
        self._file = open(self.filename, "a" if self.append else "w", newline="")

    def on_epoch_end(self, epoch, logs=None):
        writer = csv.writer(self._file, delimiter=self.separator)
        if self._names is None:
            self._names = list(logs)
            if not self._headed:
                writer.writerow(["epoch", *self._names])
        writer.writerow([epoch, *(logs.get(name) for name in self._names)])
        self._file.flush()

    def on_train_end(self, logs=None):
        self._file.close()


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


class WeightAveraging(Callback):
    """Keeps a mean of the parameters over the updates, which often predicts better than the last ones.

    ``decay``: after each update mean = decay * mean + (1 - decay) * parameters (an exponential moving average); None
    gives all their equal share (stochastic weight averaging, Izmailov et al., 2018). ``start``: updates before the
    first that counts; ``every``: count one update of so many. The validation of an epoch is of the mean, which the
    model takes on for good when the training ends; ``applied`` lends it to the model before. What layers keep
    besides, such as running means, is that of the last update.
    """

    state_names = ("count", "updates")
    vector_names = ("mean",)

    def __init__(self, decay=0.999, *, start=0, every=1):
        self.decay = None if decay is None else number(decay, "decay", 0, 1)
        self.start, self.every = integer(start, "start", 0), positive_integer(every, "every")
        self.count, self.updates, self.mean = 0, 0, None
        self._own = None

    def vector_size(self, model):
        return model._parameters.size

    def on_train_begin(self, logs=None):
        self.count, self.updates, self.mean = 0, 0, None

    def on_train_batch_end(self, batch, logs=None):
        self.updates += 1
        if self.updates <= self.start or (self.updates - self.start) % self.every:
            return
        parameters = self.model._parameters
        self.count += 1
        if self.mean is None:
            self.mean = parameters.copy()
            return
        share = 1 / self.count if self.decay is None else 1 - self.decay
        # mean += share * (parameters - mean) is a descent with the gradient `parameters` and the decay -1
        _core.sgd_step(self.mean, parameters, None, -share, 0, -1, False, 0)

    @contextlib.contextmanager
    def applied(self):
        """Within the block the model has the mean for its parameters: to evaluate, predict or save."""
        self._swap_in()
        try:
            yield self.model
        finally:
            self._swap_out()

    def _swap_in(self):
        if self.mean is not None and self._own is None:
            self._own = self.model._parameters.copy()
            self.model._parameters[:] = self.mean

    def _swap_out(self):
        if self._own is not None:
            self.model._parameters[:] = self._own
            self._own = None

    def on_test_begin(self, logs=None):
        self._swap_in()

    def on_test_end(self, logs=None):
        self._swap_out()

    def on_train_end(self, logs=None):
        if self.mean is not None:
            self.model._parameters[:] = self.mean


class BackupAndRestore(Callback):
    """Makes a training that was interrupted go on where it stood when the same program runs again, with the bits of
    one that was never interrupted.

    Writes ``model.save_checkpoint(path)`` after each epoch, or after every ``save_freq`` batches where that is a
    number; the next ``fit`` that is given this callback takes the file up if it exists. ``delete_checkpoint``: the
    file is removed when the training has come to its end.
    """

    comes_last = True

    def __init__(self, path, save_freq="epoch", delete_checkpoint=True):
        self.path = os.fspath(path)
        self.save_freq = save_freq if save_freq == "epoch" else positive_integer(save_freq, "save_freq")
        self.delete_checkpoint = boolean(delete_checkpoint, "delete_checkpoint")

    def on_train_begin(self, logs=None):
        self._batches, self._finished = 0, False
        if os.path.exists(self.path):
            self.model.load_checkpoint(self.path)

    def on_train_batch_end(self, batch, logs=None):
        self._batches += 1
        if self.save_freq != "epoch" and self._batches % self.save_freq == 0:
            self.model.save_checkpoint(self.path)

    def on_epoch_end(self, epoch, logs=None):
        self.model.save_checkpoint(self.path)
        self._finished = epoch + 1 == self.params["epochs"]

    def on_train_end(self, logs=None):
        if self.delete_checkpoint and self._finished and os.path.exists(self.path):
            os.unlink(self.path)


def figures(logs):
    return " - ".join(f"{name} {value:.4f}" for name, value in logs.items())


def progress(verbose):
    """Callbacks for Keras's ``verbose``: 0 silent, 1 bar (lines alone without tqdm), 2 lines."""
    if verbose not in (0, 1, 2, "auto"):
        raise ValueError(f"verbose must be 0, 1 or 2, got {verbose!r}")
    if not verbose:
        return []
    if verbose == 2:
        return [EpochLines()]
    try:
        return [ProgressBar()]
    except ImportError:
        return [EpochLines()]
