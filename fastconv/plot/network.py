# SPDX-License-Identifier: BSD-3-Clause
"""What the pictures ask of a model: a layer by name, one image, the results of every layer."""

import numbers
import operator

import numpy as np


def find_layer(model, layer):
    """The index of a layer in the model, by the layer itself, its name or its number."""
    names = [known.name for known in model.layers]
    if isinstance(layer, str):
        if layer not in names:
            raise ValueError(f"there is no layer {layer!r}: the model has {', '.join(names)}")
        return names.index(layer)
    if isinstance(layer, numbers.Integral) and not isinstance(layer, bool):
        if not -len(names) <= layer < len(names):
            raise ValueError(f"layer={layer}, but the model has {len(names)} layers")
        return int(layer) % len(names)
    for index, known in enumerate(model.layers):
        if known is layer:
            return index
    raise ValueError(f"layer {layer!r} is not one of the model's: {', '.join(names)}")


def one_image(model, image):
    """The image as a batch of one, in the model's dtype. An axis for a single channel may be missing."""
    image = np.asarray(image)
    if image.dtype.kind not in "biuf":
        raise TypeError(f"image must be an array of real numbers, got {image.dtype}")
    model.build(image.shape)
    shape = model.input_shape
    accepted = [shape, (1, *shape)]
    accepted += [shape[:axis] + shape[axis + 1 :] for axis in {0, len(shape) - 1} if shape[axis] == 1]
    if image.shape not in accepted:
        raise ValueError(f"image has the shape {image.shape}, the model takes {shape}")
    return image.reshape(1, *shape).astype(model.dtype)


def results(model, image, stop=None):
    """The result of each layer, up to the one before index ``stop``, for one image: a list of arrays without a batch
    axis."""
    x, found = one_image(model, image), []
    for layer in model.layers[:stop]:
        x = layer.forward(x, False)
        found.append(x[0])
    return found


def checked_place(place, shape, name):
    """``place`` as a tuple of integers within ``shape``, the pixels (and channels) of the result of layer ``name``."""
    try:
        place = tuple(operator.index(number) for number in place)
    except TypeError:
        raise TypeError(f"a position is made of integers (row, column), got {place!r}") from None
    if len(place) != len(shape) or not all(0 <= number < size for number, size in zip(place, shape, strict=True)):
        raise ValueError(f"position {place} lies outside the result of {name!r}, {tuple(shape)}")
    return place


def is_map(shape):
    """Whether a result has pixels, and not numbers alone."""
    return len(shape) == 3
