# SPDX-License-Identifier: BSD-3-Clause
"""Layers that are made of others: branches of a network that share an input."""

import contextlib

import numpy as np

from fastconv.arguments import integer
from fastconv.layers.activation import FUSED, RELU_LIKE, activation_gradient, activation_name, added
from fastconv.layers.base import Layer
from fastconv.layers.stack import Stack, require_free

MAX_DEPTH = 20  # of containers in containers: each call goes that deep, and model files come from anywhere


class _Branches(Layer):
    """Stacks of layers that are all fed with the input. Their layers have names of their own in it: "conv2d",
    "conv2d_1" and so on, in the order in which the branches are given."""

    def __init__(self, branches, *, layout=None, **common):
        everyone = [layer for branch in branches for layer in branch]
        require_distinct(everyone)
        self.depth = 1 + max((getattr(layer, "depth", 0) for layer in everyone), default=0)
        if self.depth > MAX_DEPTH:
            raise ValueError(f"containers within containers can be {MAX_DEPTH} deep, this one is {self.depth} deep")
        layouts = {layout, *(layer.layout for layer in everyone)} - {None}
        if len(layouts) > 1:
            raise ValueError(f"{type(self).__name__} holds layers of the layouts {' and '.join(sorted(layouts))}")
        self.stacks = stacks(branches, self)
        super().__init__(layout=next(iter(layouts), None), **common)

    @property
    def layout(self):
        return self.layout_of_all

    @layout.setter
    def layout(self, layout):
        self.layout_of_all = layout
        for stack in self.stacks:
            for layer in stack.layers:
                layer.layout = layout

    parameters = property(lambda self: self._named("parameters"), doc='Name ("conv2d/weight") to array.')
    gradients = property(lambda self: self._named("gradients"), doc="Name to gradient.")
    states = property(lambda self: self._named("states"), doc="Name to array that is not learned.")

    def _named(self, kind):
        return {
            f"{leaf.name}/{name}": array
            for leaf in self.leaves(None)
            for name, array in getattr(leaf.layer, kind).items()
        }

    def parameter_shapes(self, input_shape):
        return {
            f"{leaf.name}/{name}": shape
            for leaf in self.leaves(input_shape)
            for name, shape in leaf.layer.parameter_shapes(leaf.input_shape).items()
        }

    def state_shapes(self, input_shape):
        return {
            f"{leaf.name}/{name}": shape
            for leaf in self.leaves(input_shape)
            for name, shape in leaf.layer.state_shapes(leaf.input_shape).items()
        }

    def leaves(self, input_shape, name="", key=(), before_relu=False):
        path = f"{name}/" if name else ""
        for index, stack in enumerate(self.stacks):
            yield from stack.leaves(input_shape, path, (*key, index), before_relu)

    def branch_shapes(self, input_shape):
        """The shape of each branch's result."""
        return [[tuple(input_shape), *stack.shapes(input_shape)][-1] for stack in self.stacks]

    def lend(self, workspace, needs_input_gradient):
        super().lend(workspace, needs_input_gradient)
        for stack in self.stacks:
            stack.lend(workspace, needs_input_gradient)

    def require_parameters(self, x):
        for leaf in self.leaves(None):
            if not (leaf.layer.parameters or leaf.layer.states):
                super().require_parameters(x)
                return

    def branches_backward(self, gradients):
        """The gradient of the input: the sum of what the branches make of theirs."""
        workspace, total = self.workspace, None
        for index, (stack, gradient) in enumerate(zip(self.stacks, gradients, strict=True)):
            with held(workspace, *gradients[index + 1 :]):
                if workspace is not None:
                    workspace.read_next(gradient)
                with held(workspace, *([] if total is None else [total])):
                    branch = stack.backward(gradient)
                if self.needs_input_gradient:
                    total = branch if total is None else self._sum(total, branch)
        if workspace is not None and total is not None:
            workspace.read_next(total)
        return total

    def _sum(self, total, branch):
        """The sum of two gradients: in a training step in the place of one of them."""
        out = None
        if self.workspace is not None:
            free = (array for array in (total, branch) if self.workspace.may_overwrite(array))
            out = next(free, None)
            out = self.workspace.gradient(total.shape, total.dtype) if out is None else out
        return added(total, branch, None, out)


class Residual(_Branches):
    """body(x) + shortcut(x), and then ``activation`` (He et al., 2016).

    ``body``, ``shortcut``: layers, or one; both have to give the same shape. Without a shortcut x itself is added.
    ``activation``: None, "relu", "leaky_relu", "tanh" or "sigmoid".
    """

    config_names = ("body", "shortcut", "activation")
    nested = ("body", "shortcut")
    takes_out = True

    def __init__(self, body, shortcut=None, activation=None, **common):
        activation = activation_name(activation, FUSED)
        body = layer_list(body, "body")
        shortcut = [] if shortcut is None else layer_list(shortcut, "shortcut")
        super().__init__([body, shortcut], **common)
        self.activation = activation

    def branch_names(self):
        return ["body", "shortcut"]

    body = property(lambda self: self.stacks[0].layers, doc="The layers of the body.")
    shortcut = property(lambda self: self.stacks[1].layers or None, doc="The layers of the shortcut, or None.")

    def output_shape(self, input_shape):
        body, shortcut = self.branch_shapes(input_shape)
        if body != shortcut:
            raise ValueError(f"the body gives the shape {body}, the shortcut {shortcut}: they cannot be added")
        return body

    def leaves(self, input_shape, name="", key=(), before_relu=False):
        before_relu = self.activation in RELU_LIKE or (self.activation is None and before_relu)
        return super().leaves(input_shape, name, key, before_relu)

    def forward(self, x, training=False, out=None):
        self.require_parameters(x)
        body, shortcut = (stack.forward(x, training) for stack in self.stacks)
        if out is None and training:
            out = self.buffer("y", body.shape, body.dtype)
        elif out is None and body.dtype == shortcut.dtype and not np.may_share_memory(body, x):
            out = body  # a fresh array
        y = added(body, shortcut, self.activation, out)
        if training:
            self._y = y
        return y

    def backward(self, grad_y):
        gradient = activation_gradient(self, grad_y, self._y)
        return self.branches_backward([gradient, gradient])


class Concatenate(_Branches):
    """The results of all branches side by side, as in an Inception module (Szegedy et al., 2014).

    ``branches``: a list of branches, each a list of layers or one; an empty list hands the input on. Their results may
    differ along ``axis`` alone: an axis of the result, the batch being axis 0; None for the channels of the layout.
    Each branch writes into its slice of the one result, and reads its gradient from there.
    """

    config_names = ("branches", "axis")
    nested = ("branches",)
    takes_out = True

    def __init__(self, branches, axis=None, **common):
        if not isinstance(branches, (list, tuple)):
            raise TypeError(f"branches must be a list of lists of layers, got {branches!r}")
        if not branches:
            raise ValueError("Concatenate needs at least one branch")
        self.axis = None if axis is None else integer(axis, "axis")
        super().__init__([layer_list(branch, "branches") for branch in branches], **common)

    def branch_names(self):
        return [f"branch {number}" for number in range(1, len(self.stacks) + 1)]

    branches = property(lambda self: [stack.layers for stack in self.stacks], doc="The layers of each branch.")

    def output_shape(self, input_shape):
        shapes = self.branch_shapes(input_shape)
        axis = self._axis(len(shapes[0]) + 1) - 1
        if any(without(axis, shape) != without(axis, shapes[0]) for shape in shapes):
            raise ValueError(
                f"the branches give the shapes {', '.join(map(str, shapes))}: they do not lie side by side"
            )
        return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])

    def _axis(self, rank):
        """The axis as a number from 1 on."""
        axis = self.axis
        if axis is None:
            axis = 1 if self.layout == "NCHW" else -1
        if not -rank < axis < rank or axis == 0:
            raise ValueError(f"axis={axis} is none of the {rank - 1} axes behind the batch")
        return axis % rank

    def plan(self, x_shape):
        """The shape of the result, the slices of the branches."""
        shapes = self.branch_shapes(x_shape[1:])
        axis, slices, end = self._axis(len(shapes[0]) + 1), [], 0
        for shape in shapes:
            slices.append((*axis * (slice(None),), slice(end, end + shape[axis - 1])))
            end += shape[axis - 1]
        return (x_shape[0], *self.output_shape(x_shape[1:])), slices

    def forward(self, x, training=False, out=None):
        self.require_parameters(x)
        y_shape, slices = self.planned(x.shape)
        if out is None and training:
            out = self.buffer("y", y_shape, x.dtype)
        if out is None:
            out = np.empty(y_shape, self._result_type(x))
        for stack, part in zip(self.stacks, slices, strict=True):
            stack.forward(x, training, out=out[part])
        if training:
            self._slices = slices
        return out

    def _result_type(self, x):
        arrays = next((leaf.layer.parameters for leaf in self.leaves(None) if leaf.layer.parameters), {})
        return np.result_type(np.float32, *(array.dtype for array in (x, *arrays.values()) if array.dtype.kind == "f"))

    def backward(self, grad_y):
        return self.branches_backward([grad_y[part] for part in self._slices])


def layer_list(value, name):
    """``value``, a layer or a list of layers, as a list."""
    if isinstance(value, Layer):
        return [value]
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name} must be a layer or a list of layers, got {value!r}")
    return list(value)


def require_distinct(layers):
    """Raise unless all are layers, each another one, and none part of a model."""
    for index, layer in enumerate(layers):
        require_free(layer)
        if any(layer is other for other in layers[:index]):
            raise ValueError(f"the layer {layer!r} stands twice in a container: make a new one")


def stacks(branches, owner):
    """A Stack for each branch, all with names of their own. Where names clash the layers stay as they were."""
    names, named = set(), []
    result = tuple(Stack(names) for _ in branches)
    try:
        for stack, branch in zip(result, branches, strict=True):
            for layer in branch:
                named.append((layer, layer.name))
                stack.append(layer, stack.name_for(layer), owner)
    except ValueError:
        for layer, name in named:
            layer.name, layer.owner = name, None
        raise
    return result


def held(workspace, *gradients):
    """``Workspace.held``, where there is a workspace."""
    return contextlib.nullcontext() if workspace is None else workspace.held(*gradients)


def without(axis, shape):
    return (*shape[:axis], *shape[axis + 1 :])
