# SPDX-License-Identifier: BSD-3-Clause
"""Networks: ``Sequential`` is a fold over its layers, forward and back."""

import contextlib
import itertools
import math
import numbers
import re
import threading

import numpy as np

from fastconv import serialization
from fastconv.arguments import positive_integer
from fastconv.layers.activation import RELU_LIKE
from fastconv.layers.base import Layer
from fastconv.summary import summary_table
from fastconv.training import Trainable

BUILDING = threading.RLock()  # the first call of a model may come from several threads at once
CACHE_LINE = 64  # bytes: a dense row of 256 x 256 takes half as long again with weights that begin elsewhere
INTEGER = np.dtype(np.int64)
LAYER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class Sequential(Trainable):
    """A stack of layers, each fed with the result of the one before.

    ``layers``: layers to add at once. ``input_shape``: shape of one input, without the batch axis;
    it may be given on the first layer instead, or left to the first data. ``layout``: "NHWC" or
    "NCHW", of images and weights. ``seed``: an integer or a NumPy Generator; one seed is one
    network, one order of batches and one sequence of dropouts. ``dtype``: float32 or float64, of
    the parameters and of all arithmetic; inputs are converted to it.

    Arrays that a method returns belong to the caller; no later call overwrites them.
    """

    def __init__(self, layers=None, *, input_shape=None, layout="NHWC", seed=None, dtype=np.float32):
        if layout not in ("NHWC", "NCHW"):
            raise ValueError(f'layout must be "NHWC" or "NCHW", got {layout!r}')
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {self.dtype}")
        self.layout = layout
        self.layers, self._names = [], set()
        self.input_shape = None if input_shape is None else checked_shape(input_shape)
        self._shapes = []  # of the layers' results, once the input shape is known
        self._seed = seed_sequence(seed)
        self._initialized = 0  # layers whose parameters are set
        self._parameters = self._gradients = np.empty(0, self.dtype)
        self._y_shape = None  # of the last forward pass that trains
        self._thawed, self._frozen = None, 0  # the layers' arrays, and the blocks that hold them frozen
        super().__init__(self._generator(0))
        for layer in layers or ():
            self.add(layer)

    def _generator(self, *key):
        """The random generator of one purpose: 0 training, (1, index) a layer."""
        sequence = np.random.SeedSequence(self._seed.entropy, spawn_key=key)
        return np.random.default_rng(sequence)

    # Structure

    def add(self, layer):
        """Append a layer. A layer belongs to one model and stands in it once."""
        self._require_thawed()
        if not isinstance(layer, Layer):
            raise TypeError(f"a model is made of layers, got {layer!r}")
        if layer.owner is not None:
            raise ValueError(f"layer {layer.name!r} is part of a model already: make a new one")
        if layer.layout not in (None, self.layout):
            raise ValueError(f"the layer's layout is {layer.layout}, the model's {self.layout}")
        name, input_shape = self._name_for(layer), self._input_shape_for(layer)
        layout, layer.layout = layer.layout, self.layout
        try:
            shape = None if input_shape is None else layer.output_shape(input_shape)
        except (TypeError, ValueError) as error:
            layer.layout = layout
            error.add_note(f"in layer {name!r} of the model")
            raise
        if shape is not None:
            self.input_shape = input_shape if not self.layers else self.input_shape
            self._shapes.append(shape)
        layer.name, layer.owner = name, self
        self._names.add(name)
        self.layers.append(layer)

    def _name_for(self, layer):
        if layer.name is None:
            kind = snake_case(type(layer).__name__)
            names = itertools.chain([kind], (f"{kind}_{count}" for count in itertools.count(1)))
            return next(name for name in names if name not in self._names)
        if not isinstance(layer.name, str) or not LAYER_NAME.fullmatch(layer.name):
            raise ValueError(f"a layer's name is 1 to 100 letters, digits and _.-, got {layer.name!r}")
        if layer.name in self._names:
            raise ValueError(f"there is a layer {layer.name!r} already")
        return layer.name

    def _input_shape_for(self, layer):
        """Shape that ``layer`` is fed with as the next layer, None while it is unknown."""
        if layer.input_shape is None:
            return self.output_shape
        given = checked_shape(layer.input_shape)
        if given != self.output_shape and (self.layers or self.input_shape is not None):
            raise ValueError(f"input_shape={given}, but the layer is fed with {self.output_shape}")
        return given

    @property
    def output_shape(self):
        """Shape of one result, without the batch axis; None while the input shape is unknown."""
        return self._shapes[-1] if self._shapes else self.input_shape

    def build(self, input_shape=None):
        """Make the parameters; ``input_shape`` is needed where no layer has told it."""
        if not self.layers:
            raise ValueError("the model has no layers")
        if self._initialized == len(self.layers):
            return
        with BUILDING:
            if self.input_shape is None:
                if input_shape is None:
                    raise ValueError("the input shape is unknown: give it to the first layer")
                self._fix_input_shape(checked_shape(input_shape))
            self._build_new_layers()

    def _build_new_layers(self):
        new = range(self._initialized, len(self.layers))
        empty = [index for index in new if not self.layers[index].parameters and not self.layers[index].states]
        if not new:  # another thread has built them
            return
        self._allocate()
        for index in empty:
            self._initialize(index)
        if self.optimizer is not None:
            self.optimizer.reset()  # its state belongs to other parameters
        self._initialized = len(self.layers)

    def _fix_input_shape(self, input_shape):
        shapes = [input_shape]
        for layer in self.layers:
            shapes.append(layer.output_shape(shapes[-1]))
        self.input_shape, self._shapes = input_shape, shapes[1:]

    def parameter_shapes(self):
        """Name ("conv2d/weight") to shape of all that ``parameters`` holds, which need not exist yet."""
        return {
            f"{layer.name}/{name}": shape
            for layer, input_shape in zip(self.layers, self._input_shapes(), strict=True)
            for shapes in (layer.parameter_shapes(input_shape), layer.state_shapes(input_shape))
            for name, shape in shapes.items()
        }

    def allocate(self):
        """Make the parameters, all zero."""
        self._allocate()
        self._initialized = len(self.layers)

    def _allocate(self):
        """Give all parameters and, behind them, all states one new buffer, all gradients another, each array beginning
        with a cache line. Arrays that a layer holds keep their values, the others are zero."""
        inputs = self._input_shapes()
        learned = [layer.parameter_shapes(shape) for layer, shape in zip(self.layers, inputs, strict=True)]
        kept = [layer.state_shapes(shape) for layer, shape in zip(self.layers, inputs, strict=True)]
        for layer, *expected in zip(self.layers, learned, kept, strict=True):
            held = [{name: array.shape for name, array in of.items()} for of in (layer.parameters, layer.states)]
            if any(held) and held != expected:
                raise ValueError(f"layer {layer.name!r} holds arrays {held}, here it needs {expected}")
        size = sum(self._padded(shape) for spec in learned for shape in spec.values())
        more = sum(self._padded(shape) for spec in kept for shape in spec.values())
        memory = zeros_on_a_line(size + more, self.dtype)
        self._parameters, self._gradients = memory[:size], zeros_on_a_line(size, self.dtype)
        self._hand_out(self._parameters, learned, "parameters")
        self._hand_out(self._gradients, learned, "gradients")
        self._hand_out(memory[size:], kept, "states")

    def _padded(self, shape):
        """Numbers that an array of this shape takes in a buffer: whole cache lines."""
        line = CACHE_LINE // self.dtype.itemsize
        return -(-math.prod(shape) // line) * line

    def _hand_out(self, memory, specs, kind):
        """Make the layers' arrays of one kind views of ``memory``, to which they take their values, gradients apart."""
        offset = 0
        for layer, spec in zip(self.layers, specs, strict=True):
            arrays = getattr(layer, kind)
            for name, shape in spec.items():
                view = memory[offset : offset + math.prod(shape)].reshape(shape)
                offset += self._padded(shape)
                if name in arrays and kind != "gradients":
                    view[...] = arrays[name]
                arrays[name] = view

    def _initialize(self, index):
        layer, following = self.layers[index], self.layers[index + 1 :][:1]
        before_relu = any(getattr(next_, "activation", None) in RELU_LIKE for next_ in following)
        input_shape = self._shapes[index - 1] if index else self.input_shape
        layer.initialize(self._generator(1, index), input_shape, before_relu)

    def _input_shapes(self):
        return [self.input_shape, *self._shapes[:-1]]

    def __setstate__(self, state):
        """Copies and unpickled models: bring the arrays back into two buffers."""
        self.__dict__.update(state)
        self._y_shape = None  # layers leave what backward needs behind
        self._thawed, self._frozen = None, 0
        if self._initialized == len(self.layers):
            self._allocate()

    @property
    def parameters(self):
        """Name ("conv2d/weight") to array; all are views of one buffer, and writable. The states of layers, such as
        "batch_normalization/running_mean", are among them; they have no gradient."""
        return self._named("parameters", "states")

    @property
    def gradients(self):
        """Name to gradient of the last backward pass; all are views of one buffer."""
        return self._named("gradients")

    def _named(self, *kinds):
        if self.layers and self.input_shape is not None:
            self.build()
        return {
            f"{layer.name}/{name}": array
            for layer in self.layers
            for kind in kinds
            for name, array in getattr(layer, kind).items()
        }

    def count_params(self):
        """Number of learned values."""
        self.build()
        return sum(array.size for layer in self.layers for array in layer.parameters.values())

    def summary(self, print_fn=print):
        """Print the layers with the shapes of their results and their parameter counts."""
        print_fn(summary_table(self.layers, self.input_shape, self._shapes))

    # Passes

    @contextlib.contextmanager
    def frozen(self):
        """Within the block the parameters are those of its start, read-only, and the layers keep their weights packed:
        small batches are computed faster, with the same bits. Any thread may predict; training raises RuntimeError.
        Arrays that were taken from ``parameters`` before have no effect until the block ends."""
        self.build()
        with BUILDING:
            if not self._frozen:
                self._freeze()
            self._frozen += 1
        try:
            yield self
        finally:
            with BUILDING:
                self._frozen -= 1
                if not self._frozen:
                    self._thaw()

    def _freeze(self):
        packed = [layer.pack(shape) for layer, shape in zip(self.layers, self._input_shapes(), strict=True)]
        copies = [
            (read_only(layer.parameters, weight), read_only(layer.states))
            for layer, weight in zip(self.layers, packed, strict=True)
        ]
        self._thawed = [(layer.parameters, layer.states) for layer in self.layers]
        for layer, weight, (parameters, states) in zip(self.layers, packed, copies, strict=True):
            layer.packed, layer.parameters, layer.states = weight, parameters, states

    def _thaw(self):
        for layer, (parameters, states) in zip(self.layers, self._thawed, strict=True):
            layer.packed, layer.parameters, layer.states = None, parameters, states
        self._thawed = None

    def _require_thawed(self):
        if self._frozen:
            raise RuntimeError("the model is frozen: end the block `with model.frozen():` first")

    def forward(self, x, training=False):
        """Result for a batch ``x``; with ``training=True`` ready for ``backward``."""
        if training:
            self._require_thawed()
        return self._forward(self._input(x), training)

    def backward(self, grad_y):
        """Gradient of the last ``forward(x, training=True)``: fills ``gradients`` and returns the
        gradient of x (None for integers, which an Embedding takes). ``grad_y`` has the shape of that pass's result."""
        grad_y = np.asarray(grad_y, dtype=self.dtype)
        if self._y_shape is None:
            raise RuntimeError("backward needs a forward(x, training=True) before it")
        if grad_y.shape != self._y_shape:
            raise ValueError(f"grad_y must have the shape {self._y_shape}, got {grad_y.shape}")
        return self._backward(grad_y)

    def save(self, path):
        """Write architecture, parameters and the arguments of ``compile``, not the optimiser's
        state, to a model file. An existing file is replaced in one step or not at all."""
        serialization.save(self, path)

    def _forward(self, x, training, logits=False):
        for layer in self.layers[:-1]:
            x = layer.forward(x, training)
        last = self.layers[-1]
        y = last.logits(x, training) if logits else last.forward(x, training)
        if training:
            self._y_shape = y.shape
        return y

    def _backward(self, grad, logits=False, first=0):
        """Fold back from the last layer to the layer of index ``first``."""
        for index in reversed(range(first, len(self.layers))):
            layer = self.layers[index]
            at_logits = logits and index == len(self.layers) - 1
            grad = layer.logits_backward(grad) if at_logits else layer.backward(grad)
        return grad

    def _takes_integers(self):
        return bool(self.layers) and self.layers[0].integer_input

    def _check_input(self, x):
        """Build for ``x`` where that is still to be done; raise where it does not suit."""
        if x.dtype.kind not in "biuf":
            raise TypeError(f"x must be an array of real numbers, got {x.dtype}")
        if self._takes_integers() and x.dtype.kind not in "iu":
            raise TypeError(f"x must be an array of integers, which layer {self.layers[0].name!r} takes, got {x.dtype}")
        self.build(x.shape[1:])
        if x.shape[1:] != self.input_shape:
            hint = f" (the model's layout is {self.layout})" if x.ndim == 4 else ""
            if x.shape == self.input_shape:
                hint = ": for one input write x[None]"
            expected = ", ".join(map(str, ("N", *self.input_shape)))
            raise ValueError(f"x must have the shape ({expected}), got {x.shape}{hint}")

    def _input(self, x, workspace=None):
        """``x`` checked, in the model's dtype; integers for a first layer that takes those."""
        x = np.asarray(x)
        self._check_input(x)
        dtype = INTEGER if self._takes_integers() else self.dtype
        if x.dtype == dtype:
            return x
        if workspace is None:
            return x.astype(dtype)
        converted = workspace.array("x", x.shape, dtype)
        converted[...] = x
        return converted


def load(path):
    """The model that ``Sequential.save`` wrote. ValueError where the file is damaged, is no model
    file, or its arrays are not those that its layers need."""
    return serialization.load(path, Sequential)


def read_only(parameters, packed=None):
    """Copies that nobody can write; the weight is the one that ``packed`` holds, if there is one."""
    copies = {} if packed is None else {"weight": packed.weight}
    for name in parameters.keys() - copies.keys():
        copies[name] = parameters[name].copy()
        copies[name].flags.writeable = False
    return {name: copies[name] for name in parameters}


def seed_sequence(seed):
    if isinstance(seed, np.random.Generator):
        seed = int(seed.integers(2**63))
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, numbers.Integral)):
        raise TypeError(f"seed must be an integer, a Generator or None, got {seed!r}")
    if seed is not None and seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    return np.random.SeedSequence(seed)


def checked_shape(shape):
    """``shape`` as a tuple of positive integers."""
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"input_shape must be a tuple, got {shape!r}")
    if not shape:
        raise ValueError("inputs need at least one axis besides the batch")
    return tuple(positive_integer(size, "input_shape") for size in shape)


def snake_case(name):
    """Keras's name of a layer class: MaxPooling2D to max_pooling2d."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", name).lower()


def zeros_on_a_line(size, dtype):
    """A vector of zeros that begins with a cache line."""
    line = CACHE_LINE // dtype.itemsize
    buffer = np.zeros(size + line, dtype)
    first = -buffer.ctypes.data % CACHE_LINE // dtype.itemsize
    return buffer[first : first + size]
