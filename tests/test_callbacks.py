# SPDX-License-Identifier: BSD-3-Clause
"""Callbacks that follow figures, write files and average parameters."""

import csv

import numpy as np
import pytest

from fastconv import callbacks, layers, models, optimizers


def network(lr=0.05, seed=0):
    model = models.Sequential([layers.Dense(8, "tanh"), layers.Dense(3)], input_shape=(5,), seed=seed)
    model.compile(optimizers.SGD(lr), "cross_entropy", metrics=["accuracy"])
    return model


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(24, 5)).astype(np.float32), rng.integers(0, 3, 24)


def fit(*more, model=None, epochs=6, **kw):
    model = model or network()
    return model, model.fit(*data(), batch_size=8, epochs=epochs, verbose=0, callbacks=list(more), **kw)


class Script(callbacks.Callback):
    """Replaces the figures of each epoch by chosen ones."""

    def __init__(self, **figures):
        self.figures, self.rates = figures, []

    def on_epoch_end(self, epoch, logs=None):
        logs.clear()
        logs.update({name: values[epoch] for name, values in self.figures.items()})
        self.rates.append(self.model.optimizer.lr)


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    _, history = fit(callbacks.CSVLogger(path), epochs=3)
    rows = list(csv.DictReader(path.open()))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    assert [float(row["loss"]) for row in rows] == history.history["loss"]
    fit(callbacks.CSVLogger(path, append=True), epochs=2)
    assert len(list(csv.DictReader(path.open()))) == 5
    fit(callbacks.CSVLogger(path, separator=";"), epochs=1)
    assert path.read_text().splitlines()[0] == "epoch;loss;accuracy"


def test_model_checkpoint_saves_every_epoch(tmp_path):
    model, history = fit(callbacks.ModelCheckpoint(tmp_path / "m-{epoch:02d}-{loss:.2f}.npz"), epochs=3)
    names = [f"m-{epoch:02d}-{loss:.2f}.npz" for epoch, loss in enumerate(history.history["loss"], 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert np.array_equal(models.load(tmp_path / names[2]).predict(data()[0]), model.predict(data()[0]))


@pytest.mark.parametrize(
    "monitor, values, saved",
    [
        ("val_loss", [3, 2, 4, float("nan"), 1, 1], [0, 1, 4]),
        ("val_accuracy", [0.3, 0.2, 0.4, float("nan"), 0.4, 0.5], [0, 2, 5]),
    ],
)
def test_model_checkpoint_saves_what_is_better(tmp_path, monitor, values, saved):
    keep = callbacks.ModelCheckpoint(tmp_path / "{epoch}.npz", monitor, save_best_only=True)
    fit(Script(**{monitor: values}), keep)
    assert sorted(int(path.stem) - 1 for path in tmp_path.iterdir()) == saved


def test_early_stopping_counts_and_restores():
    figures = [5.0, 4.0, 4.5, 3.95, 4.2, 1.0]

    class Keep(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(self.model.parameters["dense/weight"].copy())

    for arguments, ends, best in (
        ({"patience": 2}, 6, 5),
        ({"patience": 1}, 3, 1),
        ({"patience": 2, "min_delta": 0.1}, 4, 1),
        ({"patience": 0}, 3, 1),
        ({"patience": 9}, 6, 5),
    ):
        kept = []
        stop = callbacks.EarlyStopping(**arguments, restore_best_weights=True)
        model, history = fit(Script(val_loss=figures), Keep(), stop)
        assert len(history.epoch) == ends, arguments
        assert np.array_equal(model.parameters["dense/weight"], kept[best])
        assert stop.stopped_epoch == (ends - 1 if ends < 6 else None)
    model, _ = fit(Script(val_loss=figures), Keep(), callbacks.EarlyStopping(patience=1))
    assert np.array_equal(model.parameters["dense/weight"], kept[-1])


def test_reduce_on_plateau():
    script = Script(loss=[3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 2.0, 2.0])
    model, _ = fit(script, callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=2), epochs=8)
    np.testing.assert_allclose(np.divide(script.rates, 0.05), [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25])
    script = Script(loss=[3.0] * 8)
    fit(script, callbacks.ReduceLROnPlateau("loss", 0.1, 1, cooldown=2, min_lr=1e-4), epochs=8)
    np.testing.assert_allclose(script.rates, [0.05, 0.05, 0.005, 0.005, 5e-4, 5e-4, 1e-4, 1e-4])
    with pytest.raises(TypeError, match="schedule"):
        fit(callbacks.ReduceLROnPlateau("loss"), model=network(optimizers.CosineDecay(0.1, 9)))


def test_terminate_on_nan():
    with pytest.warns(RuntimeWarning, match="epoch 2: val_loss nan"):
        _, history = fit(Script(val_loss=[1.0, float("nan"), 1.0]), callbacks.TerminateOnNaN(), epochs=3)
    assert history.epoch == [0, 1]


class Trace(callbacks.Callback):
    def __init__(self):
        self.parameters = []

    def on_train_batch_end(self, batch, logs=None):
        self.parameters.append(self.model.parameters["dense/weight"].astype(np.float64))


@pytest.mark.parametrize("decay, start, every", [(0.7, 0, 1), (None, 4, 1), (None, 0, 3), (0.9, 3, 2)])
def test_averaged_parameters(decay, start, every):
    trace, average = Trace(), callbacks.WeightAveraging(decay, start=start, every=every)
    model, _ = fit(trace, average, epochs=4)
    counted = trace.parameters[start:][every - 1 :: every]
    expected = counted[0]
    for parameters in counted[1:]:
        expected = decay * expected + (1 - decay) * parameters if decay else expected
    if decay is None:
        expected = np.mean(counted, axis=0)
    np.testing.assert_allclose(model.parameters["dense/weight"], expected, rtol=1e-5, atol=1e-7)


def test_averages_are_lent_and_validated():
    seen = []

    class Look(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            before = self.model.parameters["dense/weight"].copy()
            with average.applied() as model:
                seen.append((logs["val_loss"], model.evaluate(*data(), batch_size=8)[0]))
                assert not np.array_equal(model.parameters["dense/weight"], before)
            assert np.array_equal(self.model.parameters["dense/weight"], before)

    average = callbacks.WeightAveraging(0.5)
    plain, _ = fit(epochs=3)
    trace = Trace()
    fit(average, trace, Look(), epochs=3, validation_data=data())
    assert all(loss == expected for loss, expected in seen) and len(seen) == 3
    np.testing.assert_array_equal(trace.parameters[-1], plain.parameters["dense/weight"])


def test_averaging_of_pytorch():
    torch = pytest.importorskip("torch")
    trace, average = Trace(), callbacks.WeightAveraging(0.8)
    model, _ = fit(trace, average)
    parameter = torch.nn.Linear(8, 5, bias=False, dtype=torch.float64)
    judge = torch.optim.swa_utils.AveragedModel(parameter, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.8))
    for value in trace.parameters:
        parameter.weight.data = torch.tensor(value)
        judge.update_parameters(parameter)
    expected = judge.module.weight.detach().numpy()
    np.testing.assert_allclose(model.parameters["dense/weight"], expected, rtol=1e-5, atol=1e-7)


WRONG = {
    "monitor": (lambda: fit(callbacks.EarlyStopping()), ValueError, "val_loss.*loss, accuracy"),
    "monitor's type": (lambda: callbacks.EarlyStopping(7), TypeError, "monitor"),
    "mode": (lambda: callbacks.EarlyStopping(mode="best"), ValueError, "mode"),
    "patience": (lambda: callbacks.EarlyStopping(patience=-1), ValueError, "patience"),
    "factor": (lambda: callbacks.ReduceLROnPlateau(factor=1.0), ValueError, "factor"),
    "decay": (lambda: callbacks.WeightAveraging(1.0), ValueError, "decay"),
    "every": (lambda: callbacks.WeightAveraging(every=0), ValueError, "every"),
    "frequency": (lambda: callbacks.BackupAndRestore("a", "batch"), TypeError, "save_freq"),
    "append": (lambda: callbacks.CSVLogger("a", append="yes"), TypeError, "append"),
    "initial epoch": (lambda: fit(initial_epoch=-1), ValueError, "initial_epoch"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named(case):
    call, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        call()


def test_epochs_are_counted_from_the_first():
    _, history = fit(epochs=5, initial_epoch=3)
    assert history.epoch == [3, 4]
    _, history = fit(epochs=2, initial_epoch=3)
    assert history.epoch == [] and history.history == {}
