# SPDX-License-Identifier: BSD-3-Clause
"""The arrays of a model's layers: all in two buffers, and replaced by read-only ones while the model is frozen."""

import math

import numpy as np

from fastconv.layers.normalization import BatchNormalization
from fastconv.ops import fold_batch_norm

CACHE_LINE = 64  # bytes: a dense row of 256 x 256 takes half as long again with weights that begin elsewhere


def allocate(leaves, dtype):
    """Give all parameters and, behind them, all states one new buffer, all gradients another, each array beginning with
    a cache line. Arrays that a layer holds keep their values, the others are zero. Returns all parameters and all
    gradients, each as a vector."""
    learned = [leaf.layer.parameter_shapes(leaf.input_shape) for leaf in leaves]
    kept = [leaf.layer.state_shapes(leaf.input_shape) for leaf in leaves]
    for leaf, *expected in zip(leaves, learned, kept, strict=True):
        held = [{name: array.shape for name, array in of.items()} for of in (leaf.layer.parameters, leaf.layer.states)]
        if any(held) and held != expected:
            raise ValueError(f"layer {leaf.name!r} holds arrays {held}, here it needs {expected}")
    size, more = (sum(padded(shape, dtype) for spec in specs for shape in spec.values()) for specs in (learned, kept))
    memory, gradients = zeros_on_a_line(size + more, dtype), zeros_on_a_line(size, dtype)
    layers = [leaf.layer for leaf in leaves]
    hand_out(memory[:size], layers, learned, "parameters")
    hand_out(gradients, layers, learned, "gradients")
    hand_out(memory[size:], layers, kept, "states")
    return memory[:size], gradients


def padded(shape, dtype):
    """Numbers that an array of this shape takes in a buffer: whole cache lines."""
    line = CACHE_LINE // dtype.itemsize
    return -(-math.prod(shape) // line) * line


def hand_out(memory, layers, specs, kind):
    """Make the layers' arrays of one kind views of ``memory``, to which they take their values, gradients apart."""
    offset = 0
    for layer, spec in zip(layers, specs, strict=True):
        arrays = getattr(layer, kind)
        for name, shape in spec.items():
            view = memory[offset : offset + math.prod(shape)].reshape(shape)
            offset += padded(shape, memory.dtype)
            if name in arrays and kind != "gradients":
                view[...] = arrays[name]
            arrays[name] = view


def zeros_on_a_line(size, dtype):
    """A vector of zeros that begins with a cache line."""
    line = CACHE_LINE // dtype.itemsize
    buffer = np.zeros(size + line, dtype)
    first = -buffer.ctypes.data % CACHE_LINE // dtype.itemsize
    return buffer[first : first + size]


def freeze(leaves):
    """Let the layers keep their weights packed and read-only copies of their arrays, and fold batch normalisations into
    the layers before them. Returns what ``thaw`` needs."""
    layers = [leaf.layer for leaf in leaves]
    folded = [fold(leaf, next_) for leaf, next_ in zip(leaves, [*leaves[1:], None], strict=True)]
    packed = [leaf.layer.pack(leaf.input_shape, weight) for leaf, (weight, _) in zip(leaves, folded, strict=True)]
    copies = [
        (read_only(layer.parameters, None if rest else weight), read_only(layer.states))
        for layer, weight, (_, rest) in zip(layers, packed, folded, strict=True)
    ]
    thawed = [(layer, layer.parameters, layer.states) for layer in layers]
    for layer, weight, (parameters, states) in zip(layers, packed, copies, strict=True):
        layer.packed, layer.parameters, layer.states = weight, parameters, states
    for layer, next_, (_, rest) in zip(layers, [*layers[1:], None], folded, strict=True):
        if rest:
            layer.folded, next_.folded = rest, True
    return thawed


def fold(leaf, next_):
    """The weight of a layer with the batch normalisation behind it folded in, and (bias, activation); else two None."""
    layer, weight = leaf.layer, leaf.layer.parameters.get("weight")
    follows = next_ is not None and next_.key == (*leaf.key[:-1], leaf.key[-1] + 1)
    if not (follows and layer.folds and layer.activation is None and isinstance(next_.layer, BatchNormalization)):
        return None, None
    channels_first = layer.layout == "NCHW"
    if weight.ndim == 2 and channels_first and len(next_.input_shape) > 1:
        return None, None  # a dense layer counts along the last axis, the normalisation along the first
    norm = next_.layer
    weight, bias = fold_batch_norm(
        weight,
        layer.parameters.get("bias"),
        *norm.parameters.values(),
        *norm.states.values(),
        epsilon=norm.epsilon,
        axis=0 if weight.ndim > 2 and channels_first else -1,
    )
    return weight, (bias, norm.activation)


def thaw(thawed):
    """Give the layers back the arrays that they held before ``freeze``."""
    for layer, parameters, states in thawed:
        layer.packed, layer.folded, layer.parameters, layer.states = None, None, parameters, states


def read_only(parameters, packed=None):
    """Copies that nobody can write; the weight is the one that ``packed`` holds, if there is one."""
    copies = {} if packed is None else {"weight": packed.weight}
    for name in parameters.keys() - copies.keys():
        copies[name] = parameters[name].copy()
        copies[name].flags.writeable = False
    return {name: copies[name] for name in parameters}
