# SPDX-License-Identifier: BSD-3-Clause
"""The layer contract: all that a model knows of a layer."""

from typing import NamedTuple

import numpy as np

FROZEN = ("packed", "folded")  # what a layer has while its model is frozen


class Leaf(NamedTuple):
    """A layer that holds arrays of its own, and where it stands in a model."""

    name: str  # with those of the layers around it: "residual/conv2d"
    layer: "Layer"
    input_shape: tuple | None
    key: tuple  # its index, after those of the layers around it: what its random numbers depend on
    before_relu: bool  # a ReLU follows


class Layer:
    """One step of a network. Arrays carry the batch axis first, shapes leave it out.

    - ``output_shape(input_shape)``: shape of one result; ValueError where the layer does not fit.
    - ``forward(x, training)``: the result. With ``training=True`` the layer keeps what its
      ``backward`` will need, until the next forward pass that trains.
      A layer with ``takes_out`` has an argument ``out`` besides: where the result is written, which
      may be a strided view of a larger one.
    - ``backward(grad_y)``: writes ``gradients`` and returns the gradient of ``x``, or None while
      ``needs_input_gradient`` is False (in the first layer of a model that trains).
    - ``parameters``, ``gradients``: name to array. Both are empty until the input shape is known:
      a model fills them with views of its two buffers, a layer by itself at its first forward.
    - ``states``: name to array of what the layer keeps and does not learn, such as running means.
      A model shows and saves them with its parameters; they have no gradient, no optimiser sees them.

    During a training step the model lends its layers a ``workspace``: results then lie in buffers
    that the next step overwrites, and ``grad_y`` may be overwritten where ``gradient_place`` says so.
    At all other times every result is a fresh array and no argument is written.

    A container is a layer that is made of others: it holds no arrays, its ``leaves`` do.
    """

    config_names = ()  # the constructor arguments that a model file stores
    owner = None  # the model or the container that the layer is part of
    nested = ()  # those of them that hold layers, in lists
    takes_out = False
    options = {}  # keyword arguments of the activation
    stacks = ()  # the layers that a container is made of
    needs_input_gradient = True
    integer_input = False  # True: x holds integers (int64), which a model hands over unconverted
    workspace = None
    packed = None  # the weight as kernels read it, while the model is frozen
    folds = False  # True: with its weight and bias, a batch normalisation behind it can be folded into it
    folded = None  # while the model is frozen: bias and activation beside the folded weight; True: folded into another
    _planned = None

    def __init__(self, *, name=None, input_shape=None, layout=None):
        self.name = name
        self.input_shape = None if input_shape is None else tuple(input_shape)
        self.layout = layout  # None: that of the model, "NHWC" without one
        if not self.stacks:
            self.parameters, self.gradients, self.states = {}, {}, {}

    def output_shape(self, input_shape):
        return tuple(input_shape)

    def parameter_shapes(self, input_shape):
        """Name to shape of the arrays that the layer learns, in the order they lie in memory."""
        return {}

    def state_shapes(self, input_shape):
        """Name to shape of the arrays that the layer keeps and does not learn."""
        return {}

    def multiply_adds(self, input_shape):
        """Products that the forward pass of one input adds up, as the formula has them."""
        return 0

    def unread_pixels(self, input_shape):
        """Number of pixels of one input that no window reads, and of all."""
        return 0, 0

    def initialize(self, rng, input_shape, before_relu=False):
        """Fill ``parameters`` from ``rng``, and ``states``; ``before_relu``: a ReLU follows the layer."""

    def leaves(self, input_shape, name="", key=(), before_relu=False):
        """The layers that hold arrays: this one, or those that a container is made of."""
        yield Leaf(name, self, input_shape, key, before_relu)

    def build(self, input_shape, dtype=np.float32, rng=None):
        """Allocate and initialise the parameters of a layer that is used without a model."""
        self.output_shape(input_shape)
        rng = np.random.default_rng() if rng is None else rng
        for leaf in self.leaves(input_shape):
            leaf.layer.allocate(leaf.input_shape, dtype)
            leaf.layer.initialize(rng, leaf.input_shape, leaf.before_relu)

    def allocate(self, input_shape, dtype):
        """Make the layer's own arrays, all zero."""
        shapes = self.parameter_shapes(input_shape)
        self.parameters = {name: np.zeros(shape, dtype) for name, shape in shapes.items()}
        self.gradients = {name: np.zeros(shape, dtype) for name, shape in shapes.items()}
        self.states = {name: np.zeros(shape, dtype) for name, shape in self.state_shapes(input_shape).items()}

    def pack(self, input_shape, weight=None):
        """The parameter "weight", or ``weight`` in its place, packed for the forward pass; None where that gains
        nothing."""
        return None

    def forward(self, x, training=False):
        raise NotImplementedError

    def backward(self, grad_y):
        raise NotImplementedError

    def config(self):
        return {name: getattr(self, name) for name in self.config_names}

    def require_parameters(self, x):
        """Make the parameters at the first forward pass, of the precision of ``x``."""
        if self.parameters or self.states:
            return
        model = self.owner
        while isinstance(model, Layer):
            model = model.owner
        if model is not None:
            model.build()
        else:
            self.build(x.shape[1:], np.float64 if x.dtype == np.float64 else np.float32)

    def lend(self, workspace, needs_input_gradient):
        """Lend the layer a workspace for a training step, or take it back with None."""
        self.workspace, self.needs_input_gradient = workspace, needs_input_gradient

    def buffer(self, key, shape, dtype):
        """Buffer of the workspace for the result ``key``; None, for a fresh array, without one."""
        if self.workspace is None:
            return None
        return self.workspace.array((self, key), shape, dtype)

    def planned(self, x_shape):
        """What ``plan(x_shape)`` returns, worked out once for each shape that comes several times in a row."""
        key = x_shape, self.layout
        if self._planned is None or self._planned[0] != key:
            self._planned = key, self.plan(x_shape)
        return self._planned[1]

    def plan(self, x_shape):
        """What the passes over batches of this shape have in common, for layers that ask for it."""
        return None

    def gradient_buffer(self, shape, dtype):
        """Like ``buffer``, for the gradient that ``backward`` returns."""
        return None if self.workspace is None else self.workspace.gradient(shape, dtype)

    def gradient_place(self, grad_y):
        """Where a gradient goes that is computed from ``grad_y`` number by number: in a training step in its place,
        unless another branch of the network still reads it. None for a fresh array."""
        if self.workspace is None:
            return None
        return grad_y if self.workspace.may_overwrite(grad_y) else self.workspace.gradient(grad_y.shape, grad_y.dtype)

    def __getstate__(self):
        """State for a copy: without what ``forward`` keeps for ``backward``; not frozen."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_") and name not in FROZEN}


def into(out, y):
    """``y``, copied into ``out`` where that is given."""
    if out is None:
        return y
    np.copyto(out, y, casting="same_kind")
    return out
