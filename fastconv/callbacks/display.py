# SPDX-License-Identifier: BSD-3-Clause
"""The figures of a training: kept, printed, drawn as a bar, written to a file."""

import csv
import os
import time

from fastconv.arguments import boolean
from fastconv.callbacks.base import Callback


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
