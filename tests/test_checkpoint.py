# SPDX-License-Identifier: BSD-3-Clause
"""A training that was interrupted and taken up again has the bits of one that was not."""

import json
import zipfile

import numpy as np
import pytest

import fastconv as fc
from fastconv import callbacks, datasets, layers, models, optimizers


def data():
    (x, y), _ = datasets.load_digits()
    return x[:120], y[:120]


def network(seed=3, units=10):
    model = models.Sequential(
        [
            layers.Rescaling(1 / 16),
            layers.Conv2D(6, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(units),
        ],
        input_shape=(8, 8, 1),
        seed=seed,
    )
    model.compile(optimizers.Adam(1e-2, clipnorm=1.0), "cross_entropy", metrics=["accuracy"])
    return model


def augmented(seed=5):
    return datasets.AffineBatches(*data(), batch_size=32, rotation=0.2, shift=0.5, seed=seed)


class Interruption(Exception):
    pass


class Interrupt(callbacks.Callback):
    """Writes a checkpoint after so many batches, trains on, and breaks off three batches later."""

    comes_last = True

    def __init__(self, path, after):
        self.path, self.left = path, after

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.model.save_checkpoint(self.path)
        if self.left == -3:
            raise Interruption


def watchers():
    return [
        callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True),
        callbacks.ReduceLROnPlateau("val_accuracy", factor=0.5, patience=1),
        callbacks.WeightAveraging(0.9, start=2),
    ]


def bits(model, history):
    optimizer = model.optimizer
    state = [vector.tobytes() for vector in optimizer.state(model._parameters).values()]
    arrays = [array.tobytes() for array in model.parameters.values()]
    return repr((history.history, history.epoch, optimizer.lr, optimizer.iterations)), state, arrays


def train(batches, more=(), **kw):
    model = network()
    kw = {"epochs": 5, "verbose": 0, "validation_data": data()} | kw
    arguments = data() if batches is None else (batches,)
    history = model.fit(*arguments, callbacks=[*watchers(), *more], **kw)
    return model, history


@pytest.mark.parametrize("after", [1, 4, 7, 12], ids="after batch {}".format)
@pytest.mark.parametrize("kind", ["arrays", "augmented", "list"])
def test_a_resumed_training_has_the_same_bits(tmp_path, kind, after):
    """Four batches an epoch: 4 and 12 are the ends of epochs, before their validation."""
    x, y = data()
    make = {
        "arrays": lambda: None,
        "augmented": augmented,
        "list": lambda: [(x[start : start + 30], y[start : start + 30]) for start in (0, 30, 60, 90)],
    }[kind]
    with fc.threads(1):
        expected = bits(*train(make()))
    path = tmp_path / "checkpoint.npz"
    with pytest.raises(Interruption):
        train(make(), [Interrupt(path, after)])
    model, history = train(make(), resume=path)
    assert bits(model, history) == expected


def test_backup_and_restore_goes_on_when_the_program_runs_again(tmp_path):
    expected = bits(*train(augmented()))
    path = tmp_path / "backup.npz"

    class Stop(callbacks.Callback):
        def __init__(self, left):
            self.left = left

        def on_train_batch_end(self, batch, logs=None):
            self.left -= 1
            if not self.left:
                raise Interruption

    for freq in ("epoch", 3):
        for left in (7, 6):
            with pytest.raises(Interruption):
                train(augmented(), [callbacks.BackupAndRestore(path, freq), Stop(left)])
            assert path.exists()
        assert bits(*train(augmented(), [callbacks.BackupAndRestore(path, freq)])) == expected
        assert not path.exists(), "the training has come to its end"


def test_a_training_that_was_stopped_goes_on_within_the_epoch(tmp_path):
    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    path = tmp_path / "stopped.npz"
    _, history = train_plainly(epochs=3, callbacks=[Stop(), callbacks.BackupAndRestore(path)])
    assert history.epoch == [0] and path.exists()
    model, history = train_plainly(epochs=3, callbacks=[callbacks.BackupAndRestore(path)])
    assert history.epoch == [0, 1, 2] and not path.exists()
    assert bits(model, history) == bits(*train_plainly(epochs=3))


def test_more_epochs_after_the_end(tmp_path):
    path = tmp_path / "checkpoint.npz"
    expected = bits(*train(None, epochs=4))
    model, _ = train_plainly(epochs=2)
    model.save_checkpoint(path)
    plain = bits(*train_plainly(epochs=4))
    assert bits(*train_plainly(epochs=4, resume=path)) == plain
    assert expected[0] != plain[0]


def train_plainly(**kw):
    model = network()
    return model, model.fit(*data(), verbose=0, **kw)


def test_a_stopped_early_training_stays_stopped(tmp_path):
    path = tmp_path / "checkpoint.npz"

    def run():
        model = network()
        more = [callbacks.EarlyStopping("loss", min_delta=10), callbacks.BackupAndRestore(path)]
        return bits(model, model.fit(*data(), epochs=6, verbose=0, callbacks=more))

    first = run()
    assert path.exists() and run() == first and "'loss': [" in first[0]


def test_a_loop_of_ones_own(tmp_path):
    x, y = data()
    path = tmp_path / "checkpoint.npz"
    first = network()
    for _ in range(3):
        first.train_step(x, y)
    first.save_checkpoint(path)
    second = network(seed=8)
    second.train_step(x, y)
    assert second.load_checkpoint(path) == 0
    for _ in range(3):
        assert first.train_step(x, y) == second.train_step(x, y)
    assert np.array_equal(first.predict(x), second.predict(x))


def test_a_loaded_model_takes_a_checkpoint(tmp_path):
    model, _ = train_plainly(epochs=2)
    model.save_checkpoint(tmp_path / "checkpoint.npz")
    model.save(tmp_path / "model.npz")
    loaded = models.load(tmp_path / "model.npz")
    assert loaded.load_checkpoint(tmp_path / "checkpoint.npz") == 2
    assert loaded.train_step(*data()) == model.train_step(*data())


def other_layers():
    return network(units=11)


def other_optimizer():
    model = network()
    model.compile(optimizers.Adam(1e-2, beta1=0.8, clipnorm=1.0), "cross_entropy")
    return model


def other_loss():
    model = network()
    model.compile(optimizers.Adam(1e-2, clipnorm=1.0), "mse")
    return model


@pytest.mark.parametrize("other", [other_layers, other_optimizer, other_loss])
def test_a_checkpoint_of_another_training_is_refused(tmp_path, other):
    model, _ = train_plainly(epochs=1)
    model.save_checkpoint(tmp_path / "checkpoint.npz")
    changed = other()
    before = {name: array.copy() for name, array in changed.parameters.items()}
    with pytest.raises(ValueError, match="another model"):
        changed.load_checkpoint(tmp_path / "checkpoint.npz")
    assert all(np.array_equal(before[name], array) for name, array in changed.parameters.items())


def test_other_data_and_other_callbacks_are_refused(tmp_path):
    model, _ = train_plainly(epochs=1)
    path = tmp_path / "checkpoint.npz"
    model.save_checkpoint(path)
    x, y = data()
    with pytest.raises(ValueError, match="4 batches, now it has 2"):
        network().fit(x[:64], y[:64], epochs=2, verbose=0, resume=path)
    with pytest.raises(ValueError, match="another way"):
        network().fit(x, y, epochs=2, verbose=0, shuffle=False, resume=path)
    with pytest.raises(ValueError, match="1 callbacks"):
        network().fit(x, y, epochs=2, verbose=0, callbacks=watchers(), resume=path)
    with pytest.raises(FileNotFoundError):
        network().fit(x, y, verbose=0, resume=tmp_path / "none.npz")
    with pytest.raises(RuntimeError, match="compile"):
        models.Sequential([layers.Dense(1)], input_shape=(3,)).save_checkpoint(path)
    batches = datasets.AffineBatches(x, y, 32, seed=np.random.Generator(np.random.MT19937(0)))
    model.fit(batches, verbose=0)
    with pytest.raises(ValueError, match="MT19937"):
        model.save_checkpoint(path)


def rewritten(path, change):
    """The checkpoint with its text changed."""
    with zipfile.ZipFile(path) as file:
        contents = {info.filename: file.read(info) for info in file.infolist()}
    text = json.loads(contents["config.json"])
    change(text)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name, content in contents.items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            file.writestr(info, json.dumps(text) if name == "config.json" else content)


DAMAGE = {
    "format": lambda t: t.update(format="fastconv model 1"),
    "key": lambda t: t.pop("generators"),
    "iterations": lambda t: t["optimizer"].update(iterations=-1),
    "rate": lambda t: t["optimizer"]["config"].update(lr="0.1"),
    "no rate": lambda t: t["optimizer"].update(config=[]),
    "endless rate": lambda t: t["optimizer"]["config"].update(lr=float("inf")),
    "generator": lambda t: t["generators"].update({"": {"bit_generator": "MT19937"}}),
    "state": lambda t: t["generators"]["dropout"]["state"].update(state=-1),
    "large state": lambda t: t["generators"]["dropout"].update(has_uint32=2**70),
    "part of a state": lambda t: t["generators"]["dropout"].pop("state"),
    "epoch": lambda t: t["progress"].update(epoch=1.5),
    "sums": lambda t: t["progress"].update(sums={"loss": "a"}),
    "progress": lambda t: t.update(progress=7),
    "callbacks": lambda t: t.update(callbacks=None),
    "callback": lambda t: t.update(callbacks=[{}]),
    "callback's class": lambda t: t["callbacks"][0].update({"class": "os"}),
    "vector": lambda t: t["callbacks"][0].update(vectors=["weights"]),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_checkpoints_are_refused_and_change_nothing(tmp_path, case):
    path = tmp_path / "checkpoint.npz"
    model, _ = train_plainly(epochs=1)
    model.save_checkpoint(path)
    rewritten(path, DAMAGE[case])
    fresh = network(seed=1)
    before = fresh.parameters["dense/weight"].tobytes(), repr(fresh._rng.bit_generator.state)
    with pytest.raises(ValueError, match="not a usable checkpoint"):
        fresh.fit(*data(), epochs=2, verbose=0, resume=path)
    assert before == (fresh.parameters["dense/weight"].tobytes(), repr(fresh._rng.bit_generator.state))


def test_a_cut_checkpoint_changes_nothing(tmp_path):
    path = tmp_path / "checkpoint.npz"
    model, _ = train_plainly(epochs=1)
    model.save_checkpoint(path)
    content = bytearray(path.read_bytes())
    content[-3000] ^= 1  # in the last array
    path.write_bytes(content)
    fresh = network(seed=1)
    before = fresh.parameters["conv2d/weight"].tobytes()
    with pytest.raises(ValueError, match="not a usable checkpoint"):
        fresh.load_checkpoint(path)
    path.write_bytes(content[:-100])
    with pytest.raises(ValueError, match="not a usable checkpoint"):
        fresh.load_checkpoint(path)
    assert fresh.parameters["conv2d/weight"].tobytes() == before and fresh.optimizer.iterations == 0
