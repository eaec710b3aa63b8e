# SPDX-License-Identifier: BSD-3-Clause
"""A training that goes on after an interruption."""

import os

from fastconv.arguments import boolean, positive_integer
from fastconv.callbacks.base import Callback


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
