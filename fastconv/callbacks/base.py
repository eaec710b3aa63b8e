# SPDX-License-Identifier: BSD-3-Clause
"""What a callback is."""


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
