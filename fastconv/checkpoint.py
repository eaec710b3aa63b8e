# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints: a training that was interrupted goes on with the bits of one that was not.

The file is an ``archive`` as model files are: JSON text and arrays, no code. It is taken over by a model that was made
and compiled in the same way, which says what must be in it; so nothing is allocated or called on the word of the file,
and everything has been read and checked before anything changes.
"""

import json
import operator

import numpy as np

from fastconv import archive
from fastconv.atomic import replacing
from fastconv.schedules import Schedule
from fastconv.serialization import REFUSED, members

FORMAT = "fastconv checkpoint 1"
GENERATORS = ("PCG64", "PCG64DXSM")  # their states are integers, which NumPy checks


def save(model, path):
    """Write the checkpoint, replacing an existing file in one step or not at all."""
    model.build()
    progress = model._progress
    text = {
        "format": FORMAT,
        "model": description(model),
        "optimizer": {"config": model.optimizer.config(), "iterations": model.optimizer.iterations},
        "generators": {name: generator_state(rng) for name, rng in generators(model).items()},
        "progress": None if progress is None else progress_state(progress),
        "callbacks": [] if progress is None else [callback_state(callback) for callback in stateful(progress)],
    }
    arrays = named_arrays(model)
    if progress is not None:
        arrays |= {name: getattr(callback, attribute) for name, callback, attribute in vectors(progress)}
    encoded = json.dumps(text, default=operator.index).encode()
    with replacing(path) as file:
        archive.write(file, encoded, {name: array for name, array in arrays.items() if array is not None})


def load(model, path):
    """Take the checkpoint over; returns the number of finished epochs."""
    model.build()
    with open(path, "rb") as file:
        try:
            reader = archive.Reader(file)
            head = members(
                json.loads(reader.text().decode()),
                ("format", "model", "optimizer", "generators", "progress", "callbacks"),
                "a checkpoint",
            )
            changes = checked(model, head, reader)
        except REFUSED as error:
            raise ValueError(f"{path} is not a usable checkpoint: {error}") from error
    for change in changes:
        change()
    if not under_way(model):
        model._progress = None
    return head["progress"]["epoch"] if head["progress"] else 0


def under_way(model):
    """Whether ``fit`` is running."""
    return model._progress is not None and model._progress.batches is not None


def checked(model, head, reader):
    """Functions that take over each part of the checkpoint; ValueError where one does not suit the model."""
    if head["format"] != FORMAT:
        raise ValueError(f"its format is {head['format']!r}, not {FORMAT!r}")
    if head["model"] != json.loads(json.dumps(description(model), default=operator.index)):
        raise ValueError("it was written by another model, optimizer or loss")
    changes = [check_optimizer(model, head["optimizer"])]
    own = generators(model)
    states = members(head["generators"], own, "the generators")
    changes += [check_generator(own[name], states[name]) for name in own]
    targets = named_arrays(model)
    if head["progress"] is not None:
        head["progress"] = checked_progress(head["progress"])
    if under_way(model) and head["progress"] is not None:
        changes += check_batches(model._progress, head["progress"])
        changes += check_callbacks(model, model._progress, head["callbacks"], targets)
    elif any(members(item, ("class", "state", "vectors"), "a callback")["vectors"] for item in head["callbacks"]):
        raise ValueError("it holds arrays of callbacks: take it up with fit(..., resume=path)")
    shapes = {name: array.shape for name, array in targets.items()}
    reader.check(model.dtype, shapes)
    for name, target in targets.items():
        array = np.empty(target.shape, model.dtype)
        reader.read(name, array)
        changes.append(lambda target=target, array=array: np.copyto(target, array))
    return changes


def description(model):
    """What must be equal in the model that writes and the one that reads: all but parameters and a constant rate."""
    optimizer = model.optimizer.config()
    if not isinstance(model.optimizer.lr, Schedule):
        optimizer.pop("lr")  # it may have been reduced
    return {
        "dtype": model.dtype.name,
        "layout": model.layout,
        "input_shape": model.input_shape,
        "layers": [[type(layer).__name__, layer.name, layer.config()] for layer in model.layers],
        "optimizer": [type(model.optimizer).__name__, optimizer],
        "loss": [type(model.loss).__name__, model.loss.config()],
    }


def named_arrays(model):
    """Name to array of the parameters, states of layers, and vectors of the optimiser."""
    arrays = {f"model/{name}": array for name, array in model.parameters.items()}
    state = model.optimizer.state(model._parameters)
    return arrays | {f"optimizer/{name}": vector for name, vector in state.items()}


def check_optimizer(model, stored):
    stored = members(stored, ("config", "iterations"), "the optimizer")
    iterations = natural(stored["iterations"], "iterations")
    rate = stored["config"].get("lr") if isinstance(stored["config"], dict) else None
    fixed = not isinstance(model.optimizer.lr, Schedule)
    if fixed and (type(rate) not in (int, float) or not 0 <= rate < float("inf")):
        raise ValueError(f"its learning rate is {rate!r}")

    def change():
        model.optimizer.iterations = iterations
        if fixed:
            model.optimizer.lr = float(rate)

    return change


# ---- generators


def generators(model):
    """Name to Generator of the order of batches and of every layer that draws numbers."""
    found = {"": model._rng}
    for leaf in model.leaves():
        if hasattr(leaf.layer, "rng"):
            if leaf.layer.rng is None:  # the model was loaded from a file
                leaf.layer.rng = np.random.default_rng()
            found[leaf.name] = leaf.layer.rng
    return found


def generator_state(rng):
    return storable(rng.bit_generator.state)


def storable(state):
    if state["bit_generator"] not in GENERATORS:
        raise ValueError(f"the state of {state['bit_generator']} cannot be stored: use np.random.default_rng(seed)")
    return state


def check_generator(rng, state):
    kind = rng.bit_generator.state["bit_generator"]
    if not isinstance(state, dict) or state.get("bit_generator") != kind or kind not in GENERATORS:
        raise ValueError("a generator is of another kind")
    try:
        getattr(np.random, kind)().state = state
    except KeyError as error:
        raise ValueError("the state of a generator is incomplete") from error
    return lambda: setattr(rng.bit_generator, "state", state)


# ---- progress and callbacks


def progress_state(progress):
    order = progress.order
    return {
        "epoch": progress.epoch,
        "step": progress.step,
        "steps": progress.steps,
        "count": progress.means.count,
        "sums": progress.means.sums,
        "order": None if order is None else storable(order),
    }


def checked_progress(stored):
    stored = members(stored, ("epoch", "step", "steps", "count", "sums", "order"), "the progress")
    for name in ("epoch", "step", "count"):
        natural(stored[name], name)
    sums = stored["sums"]
    if not isinstance(sums, dict) or not all(type(value) in (int, float) for value in sums.values()):
        raise ValueError("its sums of figures are no numbers")
    return stored


def check_batches(progress, stored):
    if stored["steps"] != progress.steps:
        raise ValueError(f"an epoch had {stored['steps']} batches, now it has {progress.steps}")
    if (stored["order"] is None) != (progress.rng is None):
        raise ValueError("its batches were drawn in another way")

    def change():
        progress.epoch, progress.step = stored["epoch"], stored["step"]
        progress.means.count, progress.means.sums = stored["count"], stored["sums"]

    return [change] if progress.rng is None else [change, check_generator(progress.rng, stored["order"])]


def stateful(progress):
    return [callback for callback in progress.callbacks if callback.state_names or callback.vector_names]


def vectors(progress):
    """(name in the file, callback, attribute) of each vector that callbacks can hold."""
    for index, callback in enumerate(stateful(progress)):
        for attribute in callback.vector_names:
            yield f"callback/{index}/{attribute}", callback, attribute


def callback_state(callback):
    return {
        "class": type(callback).__name__,
        "state": {name: getattr(callback, name) for name in callback.state_names},
        "vectors": [name for name in callback.vector_names if getattr(callback, name) is not None],
    }


def check_callbacks(model, progress, stored, targets):
    """Functions that set the states of callbacks; their vectors, which are still to be read, go to ``targets``."""
    own = stateful(progress)
    if not isinstance(stored, list) or len(stored) != len(own):
        raise ValueError(f"it is for {len(stored)} callbacks that keep a state, this training has {len(own)}")
    changes = []
    for index, (callback, item) in enumerate(zip(own, stored, strict=True)):
        item = members(item, ("class", "state", "vectors"), "a callback")
        if item["class"] != type(callback).__name__:
            raise ValueError(f"it is for a {item['class']} where this training has a {type(callback).__name__}")
        state = members(item["state"], callback.state_names, item["class"])
        held = {name: None for name in callback.vector_names}
        for name in item["vectors"]:
            if name not in held:
                raise ValueError(f"{item['class']} has no vector {name!r}")
            held[name] = targets[f"callback/{index}/{name}"] = np.empty(callback.vector_size(model), model.dtype)
        changes.append(lambda callback=callback, state=state | held: callback.set_state(state))
    return changes


def natural(value, name):
    if type(value) is not int or value < 0:
        raise ValueError(f"its {name} is {value!r}")
    return value
