# SPDX-License-Identifier: BSD-3-Clause
"""What ``fastconv show`` does."""

import csv
import os

import numpy as np

from fastconv import models
from fastconv.plot import confusion, field, maps, network, sums, training, weights


def run(arguments):
    """Draw one picture into a file, and tell where it is."""
    what = arguments.what or ("maps" if arguments.image else "filters")
    path = arguments.save or f"{os.path.splitext(os.path.basename(arguments.model))[0]}-{what}.png"
    figure = PICTURES[what](arguments)
    figure.savefig(path)
    print(f"wrote {os.path.abspath(path)}")


def show_filters(arguments):
    model = models.load(arguments.model)
    return weights.filters(_layer(model, arguments, weights.parametric))


def show_maps(arguments):
    model = models.load(arguments.model)
    chosen = None if arguments.layer is None else [arguments.layer]
    return maps.feature_maps(model, _image(model, arguments), layers=chosen)


def show_field(arguments):
    model = models.load(arguments.model)
    return field.receptive_field(model, _image(model, arguments), arguments.layer, arguments.position)


def show_sum(arguments):
    model = models.load(arguments.model)
    layer = _layer(model, arguments, lambda layer: hasattr(layer, "filters_and_groups"))
    return sums.one_output(model, _image(model, arguments), layer, arguments.position, arguments.channel)


def show_mistakes(arguments):
    model = models.load(arguments.model)
    if (arguments.image is None) != (arguments.labels is None):
        raise ValueError("mistakes need both, --image with the images and --labels, or neither for the test digits")
    if arguments.image is None:
        x, y = _test_digits(model, "mistakes need --image and --labels")
    else:
        x, y = _images(model, arguments.image), _read(arguments.labels)
    return confusion.confusion_matrix(model, x, y)


def show_curve(arguments):
    path = arguments.history or f"{os.path.splitext(arguments.model)[0]}.csv"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        names = [name for name in rows[0] if name != "epoch"] if rows else []
        return training.curves({name: [float(row[name]) for row in rows] for name in names})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is no table of figures, one row for each epoch: {error}") from error


PICTURES = {
    "filters": show_filters,
    "maps": show_maps,
    "curve": show_curve,
    "mistakes": show_mistakes,
    "field": show_field,
    "sum": show_sum,
}


def _layer(model, arguments, fits):
    """The layer that is named, else the first that fits."""
    if arguments.layer is not None:
        return model.layers[network.find_layer(model, arguments.layer)]
    for layer in model.layers:
        if fits(layer):
            return layer
    raise ValueError(f"no layer of {arguments.model} has such a picture")


def _image(model, arguments):
    """The first image of the file; without one the first test digit, where the model takes digits."""
    if arguments.image is None:
        return _test_digits(model, "this picture needs --image IMAGE.npy")[0][0]
    return _images(model, arguments.image)[0]


def _images(model, path):
    from fastconv.cli import as_batch

    return as_batch(_read(path), model.input_shape, path)


def _read(path):
    from fastconv.cli import read_array

    return read_array(path)


def _test_digits(model, otherwise):
    from fastconv import datasets

    _, (x, y) = datasets.load_digits()
    if model.input_shape not in (x.shape[1:], (1, *x.shape[1:3])):
        raise ValueError(f"{otherwise}: the model takes {model.input_shape}, no digits of 8 x 8 pixels")
    return np.ascontiguousarray(x).reshape(-1, *model.input_shape), y
