# SPDX-License-Identifier: BSD-3-Clause
"""What ``Sequential.fit`` calls between batches and epochs: the history, the progress display, files, early ends, and
whatever the user adds. Names and arguments are Keras's."""

from fastconv.callbacks.averaging import WeightAveraging
from fastconv.callbacks.backup import BackupAndRestore
from fastconv.callbacks.base import Callback, CallbackList
from fastconv.callbacks.display import CSVLogger, EpochLines, History, ProgressBar, figures, progress
from fastconv.callbacks.monitors import EarlyStopping, ModelCheckpoint, Monitor, ReduceLROnPlateau, TerminateOnNaN

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "EpochLines",
    "History",
    "ModelCheckpoint",
    "Monitor",
    "ProgressBar",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
    "WeightAveraging",
    "figures",
    "progress",
]
