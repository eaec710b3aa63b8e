# SPDX-License-Identifier: BSD-3-Clause
"""What a model does with data: compile, train, evaluate, predict."""

import contextlib
import math
import warnings

import numpy as np

from fastconv import callbacks as callback_library
from fastconv import checkpoint, losses, metrics, optimizers
from fastconv.arguments import integer, number, positive_integer
from fastconv.batches import ArrayBatches
from fastconv.layers.workspace import Workspace
from fastconv.progress import Means, Progress


class Trainable:
    """The half of ``Sequential`` that works on data, with Keras's method names and arguments."""

    def __init__(self, rng):
        self.optimizer = self.loss = None
        self.metrics = []
        self.stop_training = False
        self._rng = rng  # draws the order of the batches
        self._progress = None  # of the last training, for a checkpoint
        self._workspace = Workspace()

    def compile(self, optimizer, loss, metrics=None):
        """Choose what ``fit`` does.

        ``optimizer``: "sgd", "adam", "adamw", "rmsprop" or an object of ``fastconv.optimizers``; it starts afresh.
        ``loss``: "cross_entropy", "binary_cross_entropy", "mean_squared_error", "mean_absolute_error" or an object of
        ``fastconv.losses``. ``metrics``: a list of names of ``fastconv.metrics.METRICS``, such as "accuracy".
        """
        optimizer, loss = optimizers.get(optimizer), losses.get(loss)
        self.metrics = metric_names(metrics)
        self.optimizer, self.loss = optimizer, loss
        self._progress = None
        optimizer.reset()
        softmaxes = sum(is_softmax(layer) for layer in self.layers)
        if isinstance(loss, losses.CrossEntropy) and softmaxes > 1:
            warnings.warn(f"cross-entropy after {softmaxes} softmax layers: one is meant", stacklevel=2)

    def train_step(self, x, y):
        """One forward pass, backward pass and update on the batch x, y. Returns the loss before the
        update as a float; where it is not finite the parameters stay as they are."""
        self._require_compiled()
        return self._train_step(x, y)[0]

    def fit(
        self,
        x,
        y=None,
        batch_size=32,
        epochs=1,
        verbose=1,
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        initial_epoch=0,
        resume=None,
    ):
        """Train, and return the History: figure to list of values, one per epoch.

        ``x``, ``y``: arrays of inputs and targets; or ``x`` an iterable of (x, y) batches, gone
        through once per epoch. ``validation_data``: (x, y), evaluated after each epoch as "val_..."
        figures; ``validation_split`` takes that share off the end of x and y for it instead.
        ``verbose``: 0 silent, 1 a progress bar (where tqdm is installed) and a line per epoch, 2
        the lines alone. ``callbacks``: objects of ``fastconv.callbacks.Callback``.

        ``epochs`` counts from the first, also where the training begins later: at ``initial_epoch``, or where it stood
        when ``resume``, the file of a checkpoint, was written; see ``save_checkpoint``.

        The figures of an epoch are means over its batches, taken while the parameters change. A
        loss that is not finite ends the training with a RuntimeWarning.
        """
        self._require_compiled()
        epochs, initial_epoch = positive_integer(epochs, "epochs"), integer(initial_epoch, "initial_epoch", 0)
        if y is not None:
            x, y = self._checked_data(x, y)
            x, y, validation_data = split_off(x, y, validation_split, validation_data)
            x = ArrayBatches(x, y, batch_size, self._rng if shuffle else None)
        elif validation_split:
            raise ValueError("validation_split needs the arrays x and y")
        if validation_data is not None:
            validation_data = self._checked_data(*validation_data)
        history = callback_library.History()
        everyone = callback_library.CallbackList(
            [history, *callback_library.progress(verbose), *(callbacks or ())],
            self,
            {"epochs": epochs, "steps": len(x) if hasattr(x, "__len__") else None},
        )
        self.build()
        self._progress = Progress(initial_epoch, x, everyone)
        self._fit(epochs, validation_data, batch_size, resume)
        return history

    def save_checkpoint(self, path):
        """Write all that training needs to go on: parameters, the optimiser's state, the states of all generators
        (order of batches, dropout, augmentation) and of callbacks, the epoch and the batch within it. The file is a
        ``.npz`` without pickle, replaced in one step or not at all. Call it between updates, from a callback that comes
        last or when ``fit`` has returned; ``callbacks.BackupAndRestore`` does it regularly.

        ``fit(..., resume=path)`` on a model made and compiled in the same way, with the same data, callbacks and
        arguments, gives the bits of a training that was never interrupted. Random batches of one's own must draw from
        a NumPy Generator (PCG64) in their attribute ``rng``.
        """
        self._require_compiled()
        checkpoint.save(self, path)

    def load_checkpoint(self, path):
        """Take over what ``save_checkpoint`` wrote, for ``train_step`` or, as callbacks do, at the beginning of a
        training; returns the number of finished epochs. ValueError where the file is damaged or was written by another
        model, optimiser, loss, or for other callbacks; nothing has changed then."""
        self._require_compiled()
        return checkpoint.load(self, path)

    def __getstate__(self):
        """A copy begins a training of its own."""
        return {**vars(self), "_progress": None}

    def evaluate(self, x, y, batch_size=32, verbose=0, return_dict=False):
        """The loss over x, y as a float; with metrics [loss, metric, ...], or a dict by name.

        ``verbose`` is understood for Keras's sake; nothing is printed.
        """
        self._require_compiled()
        figures = self._evaluate(*self._checked_data(x, y), batch_size)
        if return_dict:
            return figures
        return list(figures.values()) if self.metrics else figures["loss"]

    def predict(self, x, batch_size=32, verbose=0):
        """Results for all of x, computed ``batch_size`` at a time.

        ``verbose`` is understood for Keras's sake; nothing is printed.
        """
        batch_size = positive_integer(batch_size, "batch_size")
        x = np.asarray(x)
        self._check_input(x)
        result = np.empty((len(x), *self.output_shape), self.dtype)
        for start in range(0, len(x), batch_size):
            batch = slice(start, start + batch_size)
            result[batch] = self._forward(self._input(x[batch]), training=False)
        return result

    def _fit(self, epochs, validation_data, batch_size, resume):
        progress = self._progress
        everyone = progress.callbacks
        self.stop_training = False
        everyone.call("on_train_begin")
        try:
            if resume is not None:
                self.load_checkpoint(resume)
            while progress.epoch < epochs and not self.stop_training:
                epoch = progress.epoch
                everyone.call("on_epoch_begin", epoch)
                whole = self._epoch(progress)
                figures = progress.means.values()
                if validation_data is not None:
                    figures.update(self._validate(validation_data, batch_size, everyone))
                if whole:
                    progress.end_epoch()
                everyone.call("on_epoch_end", epoch, figures)
        finally:
            everyone.call("on_train_end")
            progress.close()

    def _validate(self, data, batch_size, everyone):
        everyone.call("on_test_begin")
        try:
            figures = self._evaluate(*data, batch_size)
        finally:
            everyone.call("on_test_end")
        return {f"val_{name}": value for name, value in figures.items()}

    def _epoch(self, progress):
        """Train on the batches of the epoch that are still to come. Returns whether that was the whole epoch."""
        progress.begin_epoch()
        for step, (x, y) in enumerate(progress.batches):
            if step < progress.step:  # before the interruption
                continue
            loss, predictions = self._train_step(x, y)
            progress.means.add(len(x), self._figures(loss, predictions, y))
            progress.step = step + 1
            progress.callbacks.call("on_train_batch_end", step, progress.means.values())
            if not math.isfinite(loss):
                warnings.warn(
                    f"the loss became {loss}: training stopped with the parameters before it; "
                    "a smaller learning rate may help",
                    RuntimeWarning,
                    stacklevel=4,
                )
                self.stop_training = True
            if self.stop_training:
                return progress.step == progress.steps
        if not progress.means.count:
            raise ValueError("there is nothing to train on: no batch, or only empty ones")
        return True

    def _train_step(self, x, y):
        """Loss, and predictions in a buffer that the next step overwrites."""
        self.require_thawed()
        x = self._input(x, self._workspace)
        logits = self._has_fused_activation()
        with self._workspace_lent():
            predictions = self._forward(x, True, logits)
            gradient = self._workspace.gradient(predictions.shape, predictions.dtype)
            loss, gradient = self.loss.value_and_gradient(predictions, y, gradient)
            if math.isfinite(loss):
                self._stack.backward(gradient, logits)
                self.optimizer.step(self._parameters, self._gradients)
        return loss, predictions

    @contextlib.contextmanager
    def _workspace_lent(self):
        """Lend the workspace to the layers; nobody needs the gradient of the model's input."""
        self._workspace.start()
        self._stack.lend(self._workspace, needs_input_gradient=False)
        try:
            yield
        finally:
            self._stack.lend(None, needs_input_gradient=True)

    def _evaluate(self, x, y, batch_size):
        means = Means()
        logits = self._has_fused_activation()
        for x_batch, y_batch in ArrayBatches(x, y, batch_size):
            predictions = self._forward(self._input(x_batch), False, logits)
            loss = self.loss(predictions, y_batch)
            means.add(len(x_batch), self._figures(loss, predictions, y_batch))
        return means.values()

    def _figures(self, loss, predictions, targets):
        values = {name: metrics.of_loss(name, self.loss)(predictions, targets) for name in self.metrics}
        return {"loss": loss, **values}

    def _has_fused_activation(self):
        """Whether the loss contains the activation that ends the model and works on its argument."""
        last = self.layers[-1]
        if self.loss.activation is None or getattr(last, "activation", None) != self.loss.activation:
            return False
        if not hasattr(last, "logits"):
            raise ValueError(
                f"{type(self.loss).__name__} works on logits: leave out the activation of {last.name!r} and, where "
                f'predict shall give probabilities, add Activation("{last.activation}")'
            )
        return True

    def _require_compiled(self):
        if self.loss is None:
            raise RuntimeError("compile the model first: model.compile(optimizer, loss)")

    def _checked_data(self, x, y):
        """The arrays, checked as a whole, so that nothing is trained on half of bad data."""
        x, y = np.asarray(x), np.asarray(y)
        if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or not len(x):
            raise ValueError(f"x and y must be as long as each other, got {x.shape} and {y.shape}")
        self._check_input(x)
        self.loss.check_targets(y, (len(y), *self.output_shape))
        return x, y


def split_off(x, y, share, validation_data):
    """x, y and the validation data, which is ``share`` of the end of x and y if none is given."""
    share = number(share, "validation_split", 0, 1)
    if not share or validation_data is not None:
        return x, y, validation_data
    count = int(len(x) * (1 - share))
    if not 0 < count < len(x):
        raise ValueError(f"validation_split={share} leaves no image of {len(x)} on one side")
    return x[:count], y[:count], (x[count:], y[count:])


def is_softmax(layer):
    return getattr(layer, "activation", None) == "softmax"


def metric_names(names):
    if isinstance(names, str):
        raise TypeError(f"metrics must be a list of names, got {names!r}")
    for name in names or ():
        if name not in metrics.METRICS:
            raise ValueError(f"unknown metric {name!r}: one of {', '.join(metrics.METRICS)}")
    return list(names or ())
