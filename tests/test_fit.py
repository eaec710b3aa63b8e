# SPDX-License-Identifier: BSD-3-Clause
"""Sequential: compile, fit, evaluate, and what they refuse."""

import itertools
import warnings

import numpy as np
import pytest
from small_models import data, small_model

from fastconv import callbacks, layers, models, optimizers


@pytest.mark.parametrize("last", ["dense", "softmax layer", "activation layer"])
def test_a_last_softmax_is_fused_with_cross_entropy(last):
    logits, probabilities = small_model(), small_model()
    if last == "dense":
        probabilities = small_model(last=layers.Dense(3, activation="softmax"))
    else:
        softmax = layers.Softmax() if last == "softmax layer" else layers.Activation("softmax")
        probabilities.add(softmax)
    x, y = data()
    for model in (logits, probabilities):
        model.compile(optimizers.SGD(0.5, momentum=0.9), "cross_entropy", metrics=["accuracy"])
    for _ in range(3):
        assert logits.train_step(x, y) == probabilities.train_step(x, y)
    assert logits.evaluate(x, y) == probabilities.evaluate(x, y)
    rows = probabilities.predict(x)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(rows, layers.Softmax().forward(logits.predict(x)), rtol=1e-6)
    for parameters in (logits.parameters, probabilities.parameters):
        parameters["dense_1/bias"][:] = [0, 0, 3000]  # a probability of exp(-3000) is zero
    assert probabilities.evaluate(x, y) == logits.evaluate(x, y)
    assert 1000 < probabilities.evaluate(x, y)[0] < 3000


def test_two_softmaxes_before_cross_entropy_are_warned_of():
    model = small_model(last=layers.Dense(3, activation="softmax"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.compile("sgd", "cross_entropy")
    model.add(layers.Softmax())
    with pytest.warns(UserWarning, match="2 softmax"):
        model.compile("sgd", "cross_entropy")


def test_fit_reports_what_evaluate_computes(capsys):
    model = small_model()
    x, y = data(50)
    model.compile(optimizers.SGD(0.0), "cross_entropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=8, epochs=2, validation_data=(x[:9], y[:9]), verbose=0)
    assert capsys.readouterr() == ("", "")
    assert history.epoch == [0, 1]
    assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    expected = model.evaluate(x, y, return_dict=True)
    expected.update({f"val_{k}": v for k, v in model.evaluate(x[:9], y[:9], return_dict=True).items()})
    for name, values in history.history.items():
        np.testing.assert_allclose(values, [expected[name]] * 2, rtol=1e-6)
    scores = model.predict(x).astype(np.float64)
    reference = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(50), y]
    assert model.evaluate(x, y) == [expected["loss"], expected["accuracy"]]
    np.testing.assert_allclose(expected["loss"], reference.mean(), rtol=1e-6)
    assert expected["accuracy"] == (scores.argmax(axis=1) == y).mean()
    model.compile("sgd", "cross_entropy")
    np.testing.assert_allclose(model.evaluate(x, y, batch_size=50), expected["loss"], rtol=1e-6)


def test_fit_takes_the_batches_in_order_or_shuffled():
    seen = []

    class Probe(layers.Layer):
        def forward(self, x, training=False):
            if training:
                seen.append(x[:, 0].tolist())
            return x

        def backward(self, grad_y):
            return grad_y

    def order(**kw):
        seen.clear()
        model = models.Sequential([Probe(), layers.Dense(2)], input_shape=(1,), seed=3)
        model.compile("sgd", "cross_entropy")
        model.fit(x, y, batch_size=4, verbose=0, **kw)
        return [list(map(int, batch)) for batch in seen]

    x, y = np.arange(10.0)[:, None], np.zeros(10, int)
    assert order(shuffle=False) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    shuffled = order(epochs=2)
    first, second = (list(itertools.chain(*batches)) for batches in (shuffled[:3], shuffled[3:]))
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert first != list(range(10)) and order(epochs=2) == shuffled, "one seed, two orders"
    assert sum(map(len, order(shuffle=False, validation_split=0.3))) == 7
    assert seen[-1] == [4, 5, 6], "the split must take the end"


def test_fit_takes_batches_from_an_iterable():
    x, y = data(12)
    arrays, batches = small_model(), small_model()
    for model in (arrays, batches):
        model.compile("sgd", "cross_entropy")
    history = arrays.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    pairs = [(x[start : start + 4], y[start : start + 4]) for start in (0, 4, 8)]
    assert batches.fit(pairs, epochs=2, verbose=0).history == history.history
    with pytest.raises(ValueError, match="nothing to train on"):
        batches.fit([], verbose=0)


def test_callbacks_see_every_event_and_can_stop():
    class Log(callbacks.Callback):
        def __init__(self):
            self.events = []

        def __getattribute__(self, name):
            if name.startswith("on_"):
                return lambda *args: self.note(name, *args)
            return super().__getattribute__(name)

        def note(self, name, *args):
            self.events.append((name, args[0] if args else None))
            if name == "on_epoch_end" and args[0] == 1:
                assert set(args[1]) == {"loss"}
                self.model.stop_training = True

    log = Log()
    x, y = data(8)
    model = small_model()
    model.compile("sgd", "cross_entropy")
    history = model.fit(x, y, batch_size=4, epochs=9, callbacks=[log], verbose=0)
    assert log.params == {"epochs": 9, "steps": 2} and history.epoch == [0, 1]
    epoch = ["on_epoch_begin", "on_train_batch_end", "on_train_batch_end", "on_epoch_end"]
    names = [name for name, _ in log.events]
    assert names == ["on_train_begin", *epoch, *epoch, "on_train_end"]


def test_verbose_2_prints_a_line_per_epoch(capsys):
    x, y = data(8)
    model = small_model()
    model.compile("sgd", "cross_entropy", metrics=["accuracy"])
    model.fit(x, y, epochs=2, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert " - loss " in lines[0] and " - accuracy " in lines[0]


def test_verbose_1_shows_a_bar_with_tqdm_and_lines_without(capsys, monkeypatch):
    x, y = data(8)
    model = small_model()
    model.compile("sgd", "cross_entropy")
    tqdm = pytest.importorskip("tqdm")
    model.fit(x, y, epochs=2)
    shown = capsys.readouterr()
    assert shown.out.count("epoch ") == 2 and "batch/s" in shown.err and "2/2" in shown.err
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    model.fit(x, y, epochs=2)
    shown = capsys.readouterr()
    assert shown.out.count("epoch ") == 2 and shown.err == "" and tqdm is not None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_ends_the_training(value):
    model = small_model()
    x, y = data(16)
    x[8:] = value
    model.compile("adam", "cross_entropy")
    model.fit(x[:8], y[:8], batch_size=4, verbose=0)
    with pytest.warns(RuntimeWarning, match="training stopped"):
        history = model.fit(x, y, batch_size=4, epochs=5, shuffle=False, verbose=0)
    assert len(history.epoch) == 1 and not np.isfinite(history.history["loss"][0])
    assert all(np.isfinite(array).all() for array in model.parameters.values())


TRAINING_ERRORS = {
    "not compiled": (lambda m, x, y: m.fit(x, y), RuntimeError, "compile"),
    "step": (lambda m, x, y: m.train_step(x, y), RuntimeError, "compile"),
    "evaluate": (lambda m, x, y: m.evaluate(x, y), RuntimeError, "compile"),
    "optimizer": (lambda m, x, y: m.compile("sdg", "mse"), ValueError, "sdg"),
    "loss": (lambda m, x, y: m.compile("sgd", "crossentropy"), ValueError, "crossentropy"),
    "loss object": (lambda m, x, y: m.compile("sgd", abs), TypeError, "loss"),
    "optimizer object": (lambda m, x, y: m.compile(0.1, "mse"), TypeError, "optimizer"),
    "metric": (lambda m, x, y: m.compile("sgd", "mse", metrics=["acc"]), ValueError, "acc"),
    "metric list": (lambda m, x, y: m.compile("sgd", "mse", metrics="accuracy"), TypeError, "list"),
}
FIT_ERRORS = {
    "lengths": (lambda m, x, y: m.fit(x, y[:-1]), ValueError, "as long"),
    "nothing": (lambda m, x, y: m.fit(x[:0], y[:0]), ValueError, "0"),
    "label": (lambda m, x, y: m.fit(x, y + 1), ValueError, "0 to 2"),
    "label, one step": (lambda m, x, y: m.train_step(x, y - 1), ValueError, "-1"),
    "float label": (lambda m, x, y: m.fit(x, y + 0.5), TypeError, "integers"),
    "validation": (lambda m, x, y: m.fit(x, y, validation_data=(x, y + 9)), ValueError, "0 to 2"),
    "split": (lambda m, x, y: m.fit(x, y, validation_split=1.0), ValueError, "validation_split"),
    "split of batches": (
        lambda m, x, y: m.fit([(x, y)], validation_split=0.5),
        ValueError,
        "arrays",
    ),
    "all split off": (lambda m, x, y: m.fit(x, y, validation_split=0.999), ValueError, "no image"),
    "epochs": (lambda m, x, y: m.fit(x, y, epochs=0), ValueError, "epochs"),
    "batch size": (lambda m, x, y: m.fit(x, y, batch_size=0), ValueError, "batch_size"),
    "verbose": (lambda m, x, y: m.fit(x, y, verbose=3), ValueError, "verbose"),
    "evaluated": (lambda m, x, y: m.evaluate(x, y[:3]), ValueError, "as long"),
}


@pytest.mark.parametrize("case", [*TRAINING_ERRORS, *FIT_ERRORS])
def test_training_errors_come_before_any_training(case):
    model = small_model()
    x, y = data(8)
    call, error, text = (TRAINING_ERRORS | FIT_ERRORS)[case]
    if case in FIT_ERRORS:
        model.compile("sgd", "cross_entropy")
    before = {name: array.copy() for name, array in model.parameters.items()}
    with pytest.raises(error, match=text):
        call(model, x, y)
    for name, array in model.parameters.items():
        assert np.array_equal(array, before[name])
