# SPDX-License-Identifier: BSD-3-Clause
"""Layers that are fed one after the other: what a model consists of, and each branch of a container."""

import itertools
import re

from fastconv.layers.activation import RELU_LIKE, Activation
from fastconv.layers.base import Layer, into

LAYER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class Stack:
    """A fold forward and a fold back over ``layers``. ``names``: those of its layers; stacks that share the set, the
    branches of one container, give no name twice."""

    def __init__(self, names=None):
        self.layers = []
        self.names = set() if names is None else names
        self.first = 0  # backward ends with this layer, which has to be the first that learns for it to be above 0

    # Structure

    def name_for(self, layer):
        """The name under which ``layer`` can be appended: its own, or Keras's for its class."""
        if layer.name is None:
            kind = snake_case(type(layer).__name__)
            names = itertools.chain([kind], (f"{kind}_{count}" for count in itertools.count(1)))
            return next(name for name in names if name not in self.names)
        if not isinstance(layer.name, str) or not LAYER_NAME.fullmatch(layer.name):
            raise ValueError(f"a layer's name is 1 to 100 letters, digits and _.-, got {layer.name!r}")
        if layer.name in self.names:
            raise ValueError(f"there is a layer {layer.name!r} already")
        return layer.name

    def append(self, layer, name, owner):
        layer.name, layer.owner = name, owner
        self.names.add(name)
        self.layers.append(layer)

    def shapes(self, input_shape):
        """The shapes of the layers' results, without the batch axis."""
        shapes = []
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
            shapes.append(input_shape)
        return shapes

    def leaves(self, input_shape, path="", key=(), before_relu=False):
        """The layers that hold arrays, each as a Leaf, in the order in which they are fed. ``input_shape`` may be None:
        then theirs are. ``path``: what their names begin with; ``before_relu``: a ReLU follows the last layer."""
        for index, layer in enumerate(self.layers):
            following = self.layers[index + 1 : index + 2]
            before = any(is_relu(next_) for next_ in following) if following else before_relu
            yield from layer.leaves(input_shape, path + layer.name, (*key, index), before)
            input_shape = None if input_shape is None else layer.output_shape(input_shape)

    # Passes

    def forward(self, x, training=False, logits=False, out=None):
        """The last layer's result; with ``logits`` what it computes before its activation. ``out``: an array, possibly
        a strided view, that the result is written into."""
        if not self.layers:
            return into(out, x)
        for layer in self.layers[:-1]:
            x = layer.forward(x, training)
        last = self.layers[-1]
        if out is not None and last.takes_out:
            return last.forward(x, training, out=out)
        return into(out, last.logits(x, training) if logits else last.forward(x, training))

    def backward(self, grad, logits=False):
        """Fold back from the last layer to the one of index ``first``."""
        for index in reversed(range(self.first, len(self.layers))):
            layer = self.layers[index]
            at_logits = logits and index == len(self.layers) - 1
            grad = layer.logits_backward(grad) if at_logits else layer.backward(grad)
        return grad

    def lend(self, workspace, needs_input_gradient):
        """Lend the layers a workspace, or take it back with None. Without a need for the gradient of the stack's input,
        neither the layers before the first that learns nor that one's input get a gradient."""
        self.first = 0
        if not needs_input_gradient:
            learning = (index for index, layer in enumerate(self.layers) if layer.parameters)
            self.first = next(learning, len(self.layers))
        for index, layer in enumerate(self.layers):
            layer.lend(workspace, needs_input_gradient or index > self.first)


def is_relu(layer):
    return isinstance(layer, Activation) and layer.activation in RELU_LIKE


def require_free(layer):
    """Raise unless ``layer`` can become part of a model or of a container."""
    if not isinstance(layer, Layer):
        raise TypeError(f"a model is made of layers, got {layer!r}")
    if layer.owner is not None:
        raise ValueError(f"layer {layer.name!r} is part of a model already: make a new one")


def snake_case(name):
    """Keras's name of a layer class: MaxPooling2D to max_pooling2d."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", name).lower()
