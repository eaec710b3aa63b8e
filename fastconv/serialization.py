# SPDX-License-Identifier: BSD-3-Clause
"""Model files: architecture, arguments of ``compile`` and parameters; not the optimiser's state.

The file is an ``archive``: JSON text for the architecture, one array for each parameter under its
name ("conv2d/weight"). It holds no code and names none: layers, optimisers and losses come from
fixed lists. The arrays must be those that the architecture calls for; this is decided from the
sizes in the file before memory for any of them is taken.
"""

import json
import operator

from fastconv import archive, layers, losses, optimizers
from fastconv.atomic import replacing

FORMAT = "fastconv model 1"
LAYERS = {layer.__name__: layer for layer in layers.BUILT_IN}
REFUSED = (ValueError, TypeError, OverflowError, RecursionError)


def save(model, path):
    """Write the model file, replacing an existing one in one step or not at all."""
    model.build()
    text = json.dumps(describe(model), default=operator.index, sort_keys=True, allow_nan=False)
    parameters = model.parameters
    with replacing(path) as file:
        archive.write(file, text.encode(), parameters)


def load(path, model_class):
    """The model of a model file. ValueError where the file is damaged, or not a model file."""
    with open(path, "rb") as file:
        try:
            reader = archive.Reader(file)
            model = restore(parse(reader.text()), model_class)
            reader.check(model.dtype, model.parameter_shapes())
            model.allocate()
            for name, array in model.parameters.items():
                reader.read(name, array)
        except REFUSED as error:
            raise ValueError(f"{path} is not a usable model file: {error}") from error
    return model


def describe(model):
    """The JSON object of a model."""
    return {
        "format": FORMAT,
        "dtype": model.dtype.name,
        "layout": model.layout,
        "input_shape": model.input_shape,
        "layers": described(model.layers),
        "training": None if model.loss is None else describe_training(model),
    }


def described(value):
    """A layer as a JSON object, layers in lists as lists of those; anything else as it is."""
    if isinstance(value, list):
        return [described(item) for item in value]
    if not isinstance(value, layers.Layer):
        return value
    config = value.config()
    config.update((name, described(config[name])) for name in value.nested)
    return {"class": listed(value, LAYERS), "name": value.name, "config": config}


def describe_training(model):
    return {
        "optimizer": {
            "class": listed(model.optimizer, optimizers.OPTIMIZERS),
            "config": model.optimizer.config(),
        },
        "loss": {"class": listed(model.loss, losses.LOSSES), "config": model.loss.config()},
        "metrics": model.metrics,
    }


def listed(thing, classes):
    """Name of the class of ``thing`` in ``classes``."""
    for name, known in classes.items():
        if type(thing) is known:
            return name
    raise ValueError(f"{type(thing).__name__} is not one of fastconv's classes: it cannot be saved")


def parse(text):
    """The JSON object in ``text`` (bytes); no NaN or Infinity, no key twice in an object."""

    def refuse(constant):
        raise ValueError(f"{constant} in its description")

    def unique(pairs):
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key stands twice in its description")
        return dict(pairs)

    return json.loads(text.decode(), object_pairs_hook=unique, parse_constant=refuse)


def restore(description, model_class):
    """The model of a JSON object, its parameters not yet allocated."""
    head = members(description, ("format", "dtype", "layout", "input_shape", "layers", "training"), "the model")
    if head["format"] != FORMAT:
        raise ValueError(f"its format is {head['format']!r}, not {FORMAT!r}")
    if head["dtype"] not in ("float32", "float64"):
        raise ValueError(f"its dtype is {head['dtype']!r}")
    model = model_class(input_shape=head["input_shape"], layout=head["layout"], dtype=head["dtype"])
    if not isinstance(head["layers"], list):
        raise ValueError("its layers are not a list")
    for item in head["layers"]:
        model.add(restore_layer(item))
    if head["training"] is not None:
        restore_training(model, head["training"])
    return model


def restore_layer(item):
    """The layer of a JSON object; the layers that it is made of, too."""
    layer = members(item, ("class", "name", "config"), "a layer")
    if not isinstance(layer["name"], str):
        raise ValueError(f"a layer's name is {layer['name']!r}")
    nested = LAYERS[layer["class"]].nested if layer["class"] in list(LAYERS) else ()
    if nested and isinstance(layer["config"], dict):
        config = {name: restore_nested(value) if name in nested else value for name, value in layer["config"].items()}
        layer = layer | {"config": config}
    return construct(layer, LAYERS, name=layer["name"])


def restore_nested(value):
    """The layers of JSON objects, in lists as they are."""
    if isinstance(value, list):
        return [restore_nested(item) for item in value]
    return restore_layer(value) if isinstance(value, dict) else value


def restore_training(model, description):
    training = members(description, ("optimizer", "loss", "metrics"), "the training")
    optimizer = members(training["optimizer"], ("class", "config"), "the optimizer")
    loss = members(training["loss"], ("class", "config"), "the loss")
    if not isinstance(training["metrics"], list):
        raise ValueError("its metrics are not a list")
    model.compile(
        construct(optimizer, optimizers.OPTIMIZERS),
        construct(loss, losses.LOSSES),
        training["metrics"],
    )


def construct(item, classes, **more):
    """An object of the class that ``item`` names, from the arguments in its "config" and ``more``."""
    name = item["class"]
    if not isinstance(name, str) or name not in classes:
        raise ValueError(f"unknown class {name!r}")
    arguments = members(item["config"], classes[name].config_names, name)
    return classes[name](**arguments, **more)


def members(value, names, what):
    """``value`` as a dict that has exactly these keys."""
    if not isinstance(value, dict) or set(value) != set(names):
        raise ValueError(f"{what} is not described by {', '.join(names)}")
    return value
