# SPDX-License-Identifier: BSD-3-Clause
"""Weights to and from other libraries: PyTorch's state_dict, Keras's weight lists, safetensors files.

The architecture stays with the model, which is built here first and then takes the arrays:

    model = models.resnet18()
    interchange.from_torch(model, module.state_dict())

Each layer that holds arrays takes those of one module (PyTorch: what stands before the last dot of a name) or layer
(Keras). They are paired in order, or by ``names``: a dict from the model's names, such as "residual/conv2d", to the
other library's, such as "layer1.0.conv1". Everything is checked before the first array is written.

Arrays are turned to the layout of the model. That concerns filters and matrices, and the rows of the first dense layer
behind ``Flatten`` (and normalisations between them): an image is flattened in the order of its layout.
"""

import math
from typing import NamedTuple

import numpy as np

from fastconv import layers
from fastconv.atomic import replacing

COUNTER = "num_batches_tracked"  # of PyTorch's batch normalisation: how often it was trained, which nothing needs here
DEPTHWISE = (layers.DepthwiseConv2D, layers.SeparableConv2D)


def from_torch(model, state_dict, names=None):
    """Give ``model`` the arrays of a PyTorch ``state_dict``: a mapping from names to tensors or arrays.

    Without ``names`` modules are paired with layers in the order of the mapping, which is that of their definition.
    Raises ValueError where number, names or shapes do not fit.
    """
    modules = grouped(state_dict)
    names = names_in_order(model, state_dict) if names is None else names
    chosen = {place: entry(modules, names, place) for place in places(model)}
    require_all_used(modules, [names[place.name] for place in chosen])
    fill(model, chosen, channels_first=True)


def to_torch(model, names=None):
    """The arrays of ``model`` as a dict in PyTorch's names and axes: copies, which ``torch.from_numpy`` takes as they
    are. Without ``names`` modules are called like the layers, with dots: "residual.conv2d.weight"."""
    names = dotted(model) if names is None else names
    return {
        f"{names[place.name]}.{name}": np.array(place.theirs(name, array, channels_first=True), order="C")
        for place in places(model)
        for name, array in place.arrays().items()
    }


def names_in_order(model, keys):
    """``names`` that pair the layers of ``model`` with the modules of ``keys``, names of arrays, in their order."""
    modules, found = list(grouped(dict.fromkeys(keys))), places(model)
    if len(modules) != len(found):
        ours = ", ".join(place.name for place in found)
        raise ValueError(f"{len(found)} layers of the model hold arrays ({ours}), but the state_dict has those of "
                         f"{len(modules)} modules ({', '.join(modules)})")  # fmt: skip
    return {place.name: module for place, module in zip(found, modules, strict=True)}


def save_safetensors(model, path, names=None):
    """Write the arrays of ``model``, named and turned as by ``to_torch``, to a safetensors file, replacing an existing
    one in one step or not at all. Needs the package safetensors."""
    content = safetensors().save(to_torch(model, names), metadata={"format": "pt"})
    with replacing(path) as file:
        file.write(content)


def load_safetensors(model, path, names=None):
    """Give ``model`` the arrays of a safetensors file, which is in PyTorch's axes. The file keeps no order, so the
    names have to be those of ``save_safetensors``, or given: ``names_in_order`` makes them from the keys of a
    state_dict. Needs the package safetensors."""
    numpy, error = safetensors(), safetensors_error()
    try:
        arrays = numpy.load_file(path)
    except (error, KeyError, TypeError) as reason:  # the latter two: a type that NumPy has not, such as bfloat16
        raise ValueError(f"{path} is not a usable safetensors file: {reason!r}") from reason
    from_torch(model, arrays, dotted(model) if names is None else names)


def from_keras(model, weights, names=None):
    """Give ``model`` the ``weights`` of a Keras model: the list of ``get_weights()``, or a dict from the names of its
    layers to their lists, which are chosen by ``names``, or have the names of the model's layers.

    Raises ValueError where number, names or shapes do not fit.
    """
    found = places(model)
    if isinstance(weights, dict):
        names = {place.name: place.name for place in found} if names is None else names
        lists = {place: entry(weights, names, place) for place in found}
        require_all_used({name: value for name, value in weights.items() if len(value)}, names.values())
    else:
        lists = split(found, list(weights))
    chosen = {}
    for place, arrays in lists.items():
        if len(arrays) != len(place.shapes()):
            raise ValueError(
                f"layer {place.name!r} holds {', '.join(place.shapes())}, but {len(arrays)} arrays are given"
            )
        arrays = [as_array(array, place.name) for array in arrays]
        chosen[place] = dict(zip(place.shapes(), place.from_depthwise(arrays), strict=True))
    fill(model, chosen, channels_first=False)


def to_keras(model):
    """The arrays of ``model`` as the list that Keras's ``set_weights`` takes: copies, in the order of the layers."""
    return [
        np.array(place.to_depthwise(name, place.theirs(name, array, channels_first=False)), order="C")
        for place in places(model)
        for name, array in place.arrays().items()
    ]


class Place(NamedTuple):
    """A layer that holds arrays, and what has to be known to turn them."""

    name: str
    layer: layers.Layer
    input_shape: tuple
    image: tuple | None  # the shape of the image that a Flatten made into its input
    channels_first: bool  # the layout of the model

    def __hash__(self):
        return hash(self.name)

    def shapes(self):
        """Name to shape of the layer's arrays, learned or not."""
        return self.layer.parameter_shapes(self.input_shape) | self.layer.state_shapes(self.input_shape)

    def arrays(self):
        return self.layer.parameters | self.layer.states

    def theirs(self, name, array, channels_first):
        """Our array, turned for a library of that layout."""
        if self._is_permuted(name, channels_first):
            array = array[self._order()]
        return array.transpose(self._axes(name, array.ndim, channels_first))

    def take(self, name, theirs, channels_first):
        """Write the other library's array into ours."""
        ours = self.arrays()[name]
        turned = theirs.transpose(np.argsort(self._axes(name, theirs.ndim, channels_first)))
        ours[self._order() if self._is_permuted(name, channels_first) else ...] = turned

    def their_shape(self, name, channels_first):
        shape = self.shapes()[name]
        return tuple(shape[axis] for axis in self._axes(name, len(shape), channels_first))

    def _axes(self, name, rank, channels_first):
        """The axes of our array in their order."""
        if name == "weight" and isinstance(self.layer, layers.Dense):
            return (1, 0) if channels_first else (0, 1)  # PyTorch's rows are the results
        if rank < 3 or not hasattr(self.layer, "kernel_size") or channels_first == self.channels_first:
            return tuple(range(rank))
        if channels_first:
            return (rank - 1, rank - 2, *range(rank - 2))
        return (*range(2, rank), 1, 0)

    def _is_permuted(self, name, channels_first):
        """Whether the first axis of the array is that of the flattened image, which they flatten in another order."""
        first = self.shapes()[name][0]
        rows = name == "weight" or not isinstance(self.layer, layers.Dense)
        return (
            self.image is not None and rows and first == math.prod(self.image) and channels_first != self.channels_first
        )

    def _order(self):
        """For each number of their flattened image its place in ours."""
        places = np.arange(math.prod(self.image)).reshape(self.image)
        return (np.moveaxis(places, 0, -1) if self.channels_first else np.moveaxis(places, -1, 0)).ravel()

    def from_depthwise(self, arrays):
        """Keras's filters (R, S, C, M) of each channel as (R, S, 1, C * M)."""
        if isinstance(self.layer, DEPTHWISE) and arrays[0].ndim == 4:
            rows, columns, channels, multiplier = arrays[0].shape
            if multiplier == self.layer.depth_multiplier:
                return [arrays[0].reshape(rows, columns, 1, channels * multiplier), *arrays[1:]]
        return arrays

    def to_depthwise(self, name, array):
        if isinstance(self.layer, DEPTHWISE) and name in ("weight", "depthwise_kernel"):
            return array.reshape(*array.shape[:2], -1, self.layer.depth_multiplier)
        return array


def places(model):
    """The layers of a built model that hold arrays, in order."""
    model.build()
    images = dict(flattened(model.layers, model.input_shape, None))
    return [
        Place(leaf.name, leaf.layer, leaf.input_shape, images[leaf.layer], model.layout == "NCHW")
        for leaf in model.leaves()
        if leaf.layer.parameters or leaf.layer.states
    ]


def flattened(stack, input_shape, image):
    """(layer, shape of the image that was flattened into its input, or None), also of layers within layers."""
    for layer in stack:
        output_shape = layer.output_shape(input_shape)
        for inner in layer.stacks:
            yield from flattened(inner.layers, input_shape, image)
        yield layer, image
        if isinstance(layer, layers.Flatten):
            image = input_shape if len(input_shape) > 1 else image
        elif layer.stacks or output_shape != input_shape or isinstance(layer, layers.Dense):
            image = None
        input_shape = output_shape


def grouped(state_dict):
    """Module to name to array, in the order of the mapping."""
    modules = {}
    for key, value in state_dict.items():
        module, _, name = key.rpartition(".")
        if name != COUNTER:
            modules.setdefault(module, {})[name] = value
    return modules


def dotted(model):
    return {place.name: place.name.replace("/", ".") for place in places(model)}


def entry(modules, names, place):
    """What ``modules`` has under the name for a layer."""
    if place.name not in names:
        raise ValueError(f"names has none for layer {place.name!r}")
    if names[place.name] not in modules:
        raise ValueError(f"there is no {names[place.name]!r}, for layer {place.name!r}, among {', '.join(modules)}")
    return modules[names[place.name]]


def require_all_used(modules, used):
    if left := [module for module in modules if module not in set(used)]:
        raise ValueError(f"no layer of the model takes the arrays of {', '.join(left)}")


def split(found, weights):
    """The flat list in pieces, one for each layer."""
    count = sum(len(place.shapes()) for place in found)
    if len(weights) != count:
        raise ValueError(f"the model holds {count} arrays, but {len(weights)} are given")
    lists = {}
    for place in found:
        lists[place], weights = weights[: len(place.shapes())], weights[len(place.shapes()) :]
    return lists


def fill(model, chosen, channels_first):
    """Check all arrays, a dict by name for each Place, and then write them."""
    model.require_thawed()
    ready = []
    for place, given in chosen.items():
        if given.keys() != place.shapes().keys():
            raise ValueError(
                f"layer {place.name!r} holds {', '.join(place.shapes())}, but given are {', '.join(given)}"
            )
        for name, value in given.items():
            array, expected = as_array(value, f"{place.name}/{name}"), place.their_shape(name, channels_first)
            if array.shape != expected:
                raise ValueError(f"{place.name}/{name} needs an array of the shape {expected}, got {array.shape}")
            ready.append((place, name, array))
    for place, name, array in ready:
        place.take(name, array, channels_first)


def as_array(value, name):
    """``value``, a tensor or anything that NumPy takes, as an array of real numbers."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be an array of real numbers, got {array.dtype}")
    return array


def safetensors():
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError("safetensors files need the package: pip install fastconv[safetensors]") from error
    return safetensors.numpy


def safetensors_error():
    from safetensors import SafetensorError

    return SafetensorError
