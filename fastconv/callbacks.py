# SPDX-License-Identifier: BSD-3-Clause
"""What ``Sequential.fit`` calls between batches and epochs: the history, the progress display, and
whatever the user adds."""

import time


class Callback:
    """Base of callbacks, with Keras's method names. ``logs`` maps figure to value; ``model`` is the
    model that trains, ``params`` holds "epochs" and "steps" (batches per epoch, None if unknown).
    A callback ends the training by setting ``model.stop_training``."""

    model = None
    params = None

    def on_train_begin(self, logs=None):
        pass

    def on_epoch_begin(self, epoch, logs=None):
        pass

    def on_train_batch_end(self, batch, logs=None):
        pass

    def on_epoch_end(self, epoch, logs=None):
        pass

    def on_train_end(self, logs=None):
        pass


class CallbackList:
    """Callbacks that are called together."""

    def __init__(self, callbacks, model, params):
        self._callbacks = callbacks
        for callback in callbacks:
            callback.model, callback.params = model, params

    def call(self, event, *arguments):
        for callback in self._callbacks:
            getattr(callback, event)(*arguments)


class History(Callback):
    """``history``: figure ("loss", "val_accuracy", ...) to its list of values, one per epoch;
    ``epoch``: the numbers of these epochs, from 0."""

    def __init__(self):
        self.epoch, self.history = [], {}

    def on_epoch_end(self, epoch, logs=None):
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

    def on_train_batch_end(self, batch, logs=None):
        self._bar.set_postfix_str(f"loss {logs['loss']:.4f}", refresh=False)
        self._bar.update()

    def on_train_end(self, logs=None):
        self._bar.close()

    def write(self, line):
        self._tqdm.write(line)


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
