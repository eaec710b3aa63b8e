# SPDX-License-Identifier: BSD-3-Clause
"""Checking a backward pass against central differences."""

import copy
from dataclasses import dataclass

import numpy as np

from fastconv.arguments import number, positive_integer
from fastconv.models import Sequential


@dataclass(frozen=True)
class ArrayCheck:
    """One array: ``error`` is the largest difference between the gradient and central differences at the places that
    were looked at, relative to the largest of either; ``place`` is where it is, ``gradient`` and ``difference`` what
    the two say there."""

    name: str
    shape: tuple
    checked: int
    error: float
    place: tuple
    gradient: float
    difference: float


@dataclass(frozen=True)
class GradientReport:
    """True where every gradient agrees to ``tolerance``; printed, a table."""

    arrays: tuple
    tolerance: float

    @property
    def error(self):
        """The largest relative error."""
        return max(array.error for array in self.arrays)

    def passes(self, array):
        return array.error <= self.tolerance  # not so for NaN

    def __bool__(self):
        return all(map(self.passes, self.arrays))

    def __str__(self):
        rows = [("array", "shape", "checked", "error", "")]
        for of in self.arrays:
            verdict = "ok"
            if not self.passes(of):
                verdict = f"WRONG at {list(of.place)}: {of.gradient:.9g}, differences say {of.difference:.9g}"
            rows.append((of.name, str(of.shape), str(of.checked), f"{of.error:.1e}", verdict))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)


def gradcheck(what, *inputs, backward=None, samples=50, step=1e-5, tolerance=1e-6, seed=0, raise_error=True):
    """Compare gradients with central differences (f(x + h) - f(x - h)) / 2h, in float64; returns a GradientReport.

    ``what`` and ``inputs``:

    - a layer or a model, and one input or the shape of one batch of them (random numbers then). Checked are the
      gradients of the input and of every parameter, on a copy in float64; what it draws at random (dropout) is drawn
      alike each time, and batch statistics are those of training. A layer that has no parameters yet gets them.
    - a loss of ``fastconv.losses``, predictions and targets. Checked is the gradient of the predictions.
    - a function and its arrays, with ``backward(grad_y, *arrays)``, which returns the gradients of the arrays, in
      order, None for those that have none: ``gradcheck(fc.conv2d, x, w, backward=lambda g, x, w:
      fc.conv2d_backward(g, x, w)[:2])``.

    Of each array up to ``samples`` places, chosen by ``seed``, are moved by ``step`` (h); the result is weighed with
    random numbers. An error is relative to the largest gradient of its array, and wrong above ``tolerance``: then an
    AssertionError tells where, unless ``raise_error`` is False. Near a kink (ReLU at 0, equal values in a pooling
    window) the differences are wrong, not the gradient: try other inputs.
    """
    samples = positive_integer(samples, "samples")
    step, tolerance = number(step, "step", 0), number(tolerance, "tolerance", 0)
    rng = np.random.default_rng(seed)
    arrays, value, gradients = problem(what, inputs, backward, rng)
    report = GradientReport(
        tuple(check(name, arrays[name], gradients[name], value, samples, step, rng) for name in arrays), tolerance
    )
    if raise_error and not report:
        raise AssertionError(f"gradients differ from central differences by more than {tolerance:g}\n{report}")
    return report


def problem(what, inputs, backward, rng):
    """Name to array, a function that gives their value, and name to gradient of that."""
    if hasattr(what, "value_and_gradient"):
        return loss_problem(what, *inputs)
    if hasattr(what, "forward") and hasattr(what, "backward"):
        return layer_problem(what, *inputs, rng=rng)
    if not callable(what):
        raise TypeError(f"gradcheck takes a layer, a model, a loss or a function, got {what!r}")
    if backward is None:
        raise TypeError("gradcheck of a function needs backward=, which returns the gradients of its arrays")
    return function_problem(what, inputs, backward, rng)


def function_problem(function, inputs, backward, rng):
    arrays = [doubles(array, f"input {index}") for index, array in enumerate(inputs)]
    y = np.asarray(function(*arrays))
    weights = rng.standard_normal(y.shape)
    results = backward(weights.copy(), *arrays)
    results = results if isinstance(results, (tuple, list)) else (results,)
    if len(results) != len(arrays):
        raise ValueError(f"backward returned {len(results)} gradients for {len(arrays)} arrays")
    named = {f"input {index}": array for index, array in enumerate(arrays) if results[index] is not None}
    gradients = {f"input {index}": gradient for index, gradient in enumerate(results) if gradient is not None}
    return named, lambda: float(np.sum(function(*arrays) * weights)), gradients


def loss_problem(loss, predictions, targets):
    predictions = doubles(predictions, "predictions")
    _, gradient = loss.value_and_gradient(predictions, targets)
    return {"predictions": predictions}, lambda: loss(predictions, targets), {"predictions": gradient}


def layer_problem(layer, x, rng):
    integers = layer._takes_integers() if isinstance(layer, Sequential) else layer.integer_input
    if isinstance(x, (tuple, list)) and all(isinstance(size, int) for size in x):
        if integers:
            raise ValueError("the layer takes integers: give an input, not a shape")
        x = rng.standard_normal(tuple(x))
    x = np.array(x) if integers else doubles(x, "input")
    layer = in_doubles(layer, x, rng)
    drawing = [leaf.layer.rng for leaf in leaves(layer, x) if getattr(leaf.layer, "rng", None) is not None]
    states = [generator.bit_generator.state for generator in drawing]

    def forward():
        for generator, state in zip(drawing, states, strict=True):
            generator.bit_generator.state = state
        return layer.forward(x, training=True)

    weights = rng.standard_normal(forward().shape)
    gradient = layer.backward(weights.copy())
    arrays = {} if integers else {"input": x}
    gradients = {} if integers else {"input": gradient}
    for owner, prefix in owners(layer, x):
        for name, array in owner.parameters.items():
            if name in owner.gradients:
                arrays[prefix + name], gradients[prefix + name] = array, owner.gradients[name].copy()
    return arrays, lambda: float(np.sum(forward() * weights)), gradients


def leaves(layer, x):
    return layer.leaves() if isinstance(layer, Sequential) else list(layer.leaves(x.shape[1:]))


def owners(layer, x):
    """(what holds arrays, what their names begin with)"""
    if isinstance(layer, Sequential):
        return [(layer, "")]
    return [(leaf.layer, f"{leaf.name}/" if leaf.name else "") for leaf in leaves(layer, x)]


def in_doubles(layer, x, rng):
    """A copy of a layer or model whose arrays are float64."""
    if isinstance(layer, Sequential):
        layer.build(x.shape[1:])
        twin = copy.deepcopy(layer)
        twin.dtype = np.dtype(np.float64)
        twin._allocate()
        return twin
    if layer.owner is not None:
        layer.owner.build()
    twin = copy.copy(layer)
    twin.owner = None  # or its model would be copied with it
    twin = copy.deepcopy(twin)
    if not any(leaf.layer.parameters or leaf.layer.states for leaf in leaves(twin, x)):
        twin.build(x.shape[1:], np.float64, rng)
    for leaf in leaves(twin, x):
        for kind in ("parameters", "gradients", "states"):
            arrays = getattr(leaf.layer, kind)
            arrays.update({name: array.astype(np.float64) for name, array in arrays.items()})
    return twin


def doubles(array, name):
    array = np.array(array, order="C")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be real numbers, got {array.dtype}")
    return np.ascontiguousarray(array, np.float64)


def check(name, array, gradient, value, samples, step, rng):
    """Central differences at some places of ``array``, which ``value`` reads."""
    if np.shape(gradient) != array.shape:
        raise ValueError(f"the gradient of {name} has the shape {np.shape(gradient)}, the array {array.shape}")
    places = np.arange(array.size) if array.size <= samples else rng.choice(array.size, samples, replace=False)
    differences = np.array([difference(array, place, value, step) for place in places])
    found = np.asarray(gradient, np.float64).reshape(-1)[places]
    if not len(places):
        return ArrayCheck(name, array.shape, 0, 0.0, (), 0.0, 0.0)
    errors = np.abs(found - differences) / (max(np.abs(gradient).max(), np.abs(differences).max()) or 1.0)
    worst = int(np.argmax(errors))  # a NaN wins
    place = tuple(int(index) for index in np.unravel_index(places[worst], array.shape))
    return ArrayCheck(
        name, array.shape, len(places), float(errors[worst]), place, float(found[worst]), float(differences[worst])
    )


def difference(array, place, value, step):
    flat = array.reshape(-1)
    before = flat[place]
    flat[place] = before + step
    above = value()
    flat[place] = before - step
    below = value()
    flat[place] = before
    return (above - below) / (2 * step)
