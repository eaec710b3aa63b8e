# SPDX-License-Identifier: BSD-3-Clause
"""What a model does with data: compile, train, evaluate, predict."""

import contextlib
import math
import warnings

import numpy as np

from fastconv import callbacks as callback_library
from fastconv import losses, metrics, optimizers
from fastconv.arguments import number, positive_integer
from fastconv.batches import ArrayBatches
from fastconv.layers.workspace import Workspace


class Trainable:
    """The half of ``Sequential`` that works on data, with Keras's method names and arguments."""

    def __init__(self, rng):
        self.optimizer = self.loss = None
        self.metrics = []
        self.stop_training = False
        self._rng = rng  # draws the order of the batches
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
    ):
        """Train, and return the History: figure to list of values, one per epoch.

        ``x``, ``y``: arrays of inputs and targets; or ``x`` an iterable of (x, y) batches, gone
        through once per epoch. ``validation_data``: (x, y), evaluated after each epoch as "val_..."
        figures; ``validation_split`` takes that share off the end of x and y for it instead.
        ``verbose``: 0 silent, 1 a progress bar (where tqdm is installed) and a line per epoch, 2
        the lines alone. ``callbacks``: objects of ``fastconv.callbacks.Callback``.

        The figures of an epoch are means over its batches, taken while the parameters change. A
        loss that is not finite ends the training with a RuntimeWarning.
        """
        self._require_compiled()
        epochs = positive_integer(epochs, "epochs")
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
        self._fit(x, epochs, validation_data, batch_size, everyone)
        return history

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

    def _fit(self, batches, epochs, validation_data, batch_size, everyone):
        self.stop_training = False
        everyone.call("on_train_begin")
        try:
            for epoch in range(epochs):
                everyone.call("on_epoch_begin", epoch)
                figures = self._epoch(batches, everyone)
                if validation_data is not None:
                    validation = self._evaluate(*validation_data, batch_size)
                    figures.update((f"val_{name}", value) for name, value in validation.items())
                everyone.call("on_epoch_end", epoch, figures)
                if self.stop_training:
                    break
        finally:
            everyone.call("on_train_end")

    def _epoch(self, batches, everyone):
        means = Means()
        for step, (x, y) in enumerate(batches):
            loss, predictions = self._train_step(x, y)
            means.add(len(x), self._figures(loss, predictions, y))
            everyone.call("on_train_batch_end", step, means.values())
            if not math.isfinite(loss):
                warnings.warn(
                    f"the loss became {loss}: training stopped with the parameters before it; "
                    "a smaller learning rate may help",
                    RuntimeWarning,
                    stacklevel=4,
                )
                self.stop_training = True
            if self.stop_training:
                break
        if not means.count:
            raise ValueError("there is nothing to train on: no batch, or only empty ones")
        return means.values()

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


class Means:
    """Running means of figures, weighted by the number of images."""

    def __init__(self):
        self.count, self._sums = 0, {}

    def add(self, count, figures):
        self.count += count
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + count * value

    def values(self):
        return {name: total / self.count for name, total in self._sums.items()}


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
