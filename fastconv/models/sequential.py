# SPDX-License-Identifier: BSD-3-Clause
"""Networks: ``Sequential`` is a fold over its layers, forward and back."""

import contextlib
import math
import numbers
import threading

import numpy as np

from fastconv import serialization
from fastconv.arguments import positive_integer
from fastconv.layers.stack import Stack, require_free
from fastconv.models import arrays
from fastconv.summary import summary_table
from fastconv.training import Trainable

BUILDING = threading.RLock()  # the first call of a model may come from several threads at once
INTEGER = np.dtype(np.int64)


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
        self._stack = Stack()
        self.input_shape = None if input_shape is None else checked_shape(input_shape)
        self._shapes = []  # of the layers' results, once the input shape is known
        self._seed = seed_sequence(seed)
        self._initialized = 0  # layers whose parameters are set
        self._parameters = self._gradients = np.empty(0, self.dtype)
        self._y_shape = None  # of the last forward pass that trains
        self._thawed, self._frozen = None, 0  # what freezing replaced, and the blocks that hold the model frozen
        super().__init__(self._generator(0))
        for layer in layers or ():
            self.add(layer)

    def _generator(self, *key):
        """The random generator of one purpose: 0 training, (1, index) a layer."""
        sequence = np.random.SeedSequence(self._seed.entropy, spawn_key=key)
        return np.random.default_rng(sequence)

    # Structure

    @property
    def layers(self):
        """The layers, in the order in which they are fed."""
        return self._stack.layers

    def add(self, layer):
        """Append a layer. A layer belongs to one model and stands in it once."""
        self.require_thawed()
        require_free(layer)
        if layer.layout not in (None, self.layout):
            raise ValueError(f"the layer's layout is {layer.layout}, the model's {self.layout}")
        name, input_shape = self._stack.name_for(layer), self._input_shape_for(layer)
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
        self._stack.append(layer, name, self)

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
        if self._initialized == len(self.layers):  # another thread has built them
            return
        new = [leaf for leaf in self.leaves() if leaf.key[0] >= self._initialized]
        empty = [leaf for leaf in new if not leaf.layer.parameters and not leaf.layer.states]
        self._allocate()
        for leaf in empty:
            leaf.layer.initialize(self._generator(1, *leaf.key), leaf.input_shape, leaf.before_relu)
        if self.optimizer is not None:
            self.optimizer.reset()  # its state belongs to other parameters
        self._initialized = len(self.layers)

    def _fix_input_shape(self, input_shape):
        shapes = self._stack.shapes(input_shape)
        self.input_shape, self._shapes = input_shape, shapes

    def leaves(self):
        """The layers that hold arrays, those within others too."""
        return list(self._stack.leaves(self.input_shape))

    def parameter_shapes(self):
        """Name ("conv2d/weight") to shape of all that ``parameters`` holds, which need not exist yet."""
        return {
            f"{leaf.name}/{name}": shape
            for leaf in self.leaves()
            for shapes in (leaf.layer.parameter_shapes(leaf.input_shape), leaf.layer.state_shapes(leaf.input_shape))
            for name, shape in shapes.items()
        }

    def allocate(self):
        """Make the parameters, all zero."""
        self._allocate()
        self._initialized = len(self.layers)

    def _allocate(self):
        self._parameters, self._gradients = arrays.allocate(self.leaves(), self.dtype)

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
            f"{leaf.name}/{name}": array
            for leaf in self._stack.leaves(None)
            for kind in kinds
            for name, array in getattr(leaf.layer, kind).items()
        }

    def count_params(self):
        """Number of learned values; they need not exist yet."""
        if not self.layers or self.input_shape is None:
            self.build()  # raises
        return sum(
            math.prod(shape)
            for leaf in self.leaves()
            for shape in leaf.layer.parameter_shapes(leaf.input_shape).values()
        )

    def summary(self, print_fn=print):
        """Print the layers, those within others too: shapes and memory of their results, numbers of parameters and of
        multiply-adds, all for one input, and the pixels that no window of a convolution or pooling reads."""
        print_fn(summary_table(self._stack, self.input_shape, self.dtype.itemsize))

    # Passes

    @contextlib.contextmanager
    def frozen(self):
        """Within the block the parameters are those of its start, read-only, and the layers keep their weights packed:
        small batches are computed faster, with the same bits. A BatchNormalization right behind a Conv2D,
        DepthwiseConv2D or Dense without activation is folded into it: such results agree within rounding. Any thread
        may predict; training raises RuntimeError. Arrays that were taken from ``parameters`` before have no effect
        until the block ends."""
        self.build()
        with BUILDING:
            if not self._frozen:
                self._thawed = arrays.freeze(self.leaves())
            self._frozen += 1
        try:
            yield self
        finally:
            with BUILDING:
                self._frozen -= 1
                if not self._frozen:
                    arrays.thaw(self._thawed)
                    self._thawed = None

    def require_thawed(self):
        """Raise RuntimeError while the model is frozen."""
        if self._frozen:
            raise RuntimeError("the model is frozen: end the block `with model.frozen():` first")

    def forward(self, x, training=False):
        """Result for a batch ``x``; with ``training=True`` ready for ``backward``."""
        if training:
            self.require_thawed()
        return self._forward(self._input(x), training)

    def backward(self, grad_y):
        """Gradient of the last ``forward(x, training=True)``: fills ``gradients`` and returns the
        gradient of x (None for integers, which an Embedding takes). ``grad_y`` has the shape of that pass's result."""
        grad_y = np.asarray(grad_y, dtype=self.dtype)
        if self._y_shape is None:
            raise RuntimeError("backward needs a forward(x, training=True) before it")
        if grad_y.shape != self._y_shape:
            raise ValueError(f"grad_y must have the shape {self._y_shape}, got {grad_y.shape}")
        return self._stack.backward(grad_y)

    def save(self, path):
        """Write architecture, parameters and the arguments of ``compile``, not the optimiser's
        state, to a model file. An existing file is replaced in one step or not at all."""
        serialization.save(self, path)

    def _forward(self, x, training, logits=False):
        y = self._stack.forward(x, training, logits)
        if training:
            self._y_shape = y.shape
        return y

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
