# SPDX-License-Identifier: BSD-3-Clause
"""The sum that made one output value: patch times filter, added up."""

from typing import NamedTuple

import numpy as np

from fastconv.layers import DepthwiseConv2D
from fastconv.plot import canvas, network

CHANNELS = 4  # shown one by one; the others as one number
DIGITS = 3  # behind the point


class OneSum(NamedTuple):
    """How one output came about. ``patch``, ``weight`` and ``products`` are (R, S, C), where C are the channels that
    the filter sees; ``total`` is the sum of the products, ``output`` what the layer made of ``total + bias``."""

    patch: np.ndarray
    weight: np.ndarray
    products: np.ndarray
    total: float
    bias: float
    activation: str | None
    output: float


def sum_of_output(model, image, layer, position, channel=0):
    """The numbers behind one output of a 2-D convolution: a ``OneSum``, in float64 but for ``output``.

    ``image``: one image as the model takes it; ``layer``: a Conv2D or DepthwiseConv2D, its name or number;
    ``position``: (row, column) in its result; ``channel``: number of the filter. ValueError for another kind of layer,
    or a place outside its result.
    """
    index = network.find_layer(model, layer)
    layer = model.layers[index]
    found = network.results(model, image, index + 1)
    x = canvas.channels_last(found[index - 1] if index else network.one_image(model, image)[0], model.layout)
    y = canvas.channels_last(found[index], model.layout)
    if not hasattr(layer, "filters_and_groups") or "Transpose" in type(layer).__name__ or x.ndim != 3:
        raise ValueError(f"layer {layer.name!r} is no 2-D convolution")
    row, column, channel = network.checked_place((*position, channel), y.shape, layer.name)
    weight = np.asarray(layer.parameters["weight"], float)
    weight = weight.transpose(2, 3, 1, 0) if model.layout == "NCHW" else weight
    filters, groups = layer.filters_and_groups(x.shape[-1])
    seen = x.shape[-1] // groups
    first = channel // (filters // groups) * seen
    patch = _patch(layer, x[..., first : first + seen], row, column)
    products = patch * weight[..., channel]
    bias = float(layer.parameters["bias"][channel]) if layer.bias else 0.0
    total = float(products.sum())
    return OneSum(patch, weight[..., channel], products, total, bias, layer.activation, float(y[row, column, channel]))


def _patch(layer, x, row, column):
    """The numbers under the filter, (R, S, C): each is a convolution with a filter that is 1 in one place. So border,
    stride and dilation are those of the layer, whatever they are."""
    taps, channels = layer.kernel_size[0] * layer.kernel_size[1], x.shape[-1]
    geometry = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    geometry["padding_mode"] = layer.padding_mode
    picker = DepthwiseConv2D(layer.kernel_size, depth_multiplier=taps, bias=False, **geometry)
    pick = np.eye(taps).reshape(*layer.kernel_size, 1, taps)
    picker.parameters["weight"] = np.tile(pick, channels)
    picked = picker.forward(x[np.newaxis].astype(np.float64))[0, row, column]
    return picked.reshape(channels, *layer.kernel_size).transpose(1, 2, 0)


def one_output(model, image, layer, position=None, channel=0, *, figure=None):
    """The sum that made one output value of a 2-D convolution, as a matplotlib Figure: the patch under the filter, the
    filter, their products; then the sum, the bias and the activation.

    Arguments as for ``sum_of_output``; without ``position`` the place where this filter answers most. Of many channels
    those four are shown whose products matter most; the others enter as one number.

    ``figure``: a Figure or SubFigure to draw into, emptied first. ValueError for a layer that is no 2-D convolution, or
    a place outside its result.
    """
    index = network.find_layer(model, layer)
    if position is None:
        position = _strongest(model, image, index, channel)
    story = sum_of_output(model, image, index, position, channel)
    sums = story.products.sum(axis=(0, 1))
    weighty = np.argsort(-np.abs(story.products).sum(axis=(0, 1)), kind="stable")[:CHANNELS]
    shown = np.sort(weighty)
    height = max(1.5, 0.33 * story.patch.shape[0])
    figure = canvas.new_figure(figure, max(8.0, 3 * 0.5 * story.patch.shape[1] + 3.0), height * len(shown) + 1.5)
    axes = figure.subplots(len(shown), 3, squeeze=False)
    for row, number in zip(axes, shown, strict=True):
        _draw_row(row, story, number, sums[number])
    for axis, title in zip(axes[0], ("pixels under the filter", "× filter", "= products"), strict=True):
        axis.set_title(title, fontsize=10)
    layer = model.layers[index]
    place = f"{layer.name}: filter {channel} at row {position[0]}, column {position[1]}"
    figure.suptitle(place, fontsize=11)
    figure.supxlabel(_arithmetic(story, sums, shown), fontsize=10)
    return figure


def _strongest(model, image, index, channel):
    y = canvas.channels_last(network.results(model, image, index + 1)[index], model.layout)
    network.checked_place((0, 0, channel), y.shape, model.layers[index].name)
    return tuple(int(place) for place in np.unravel_index(y[..., channel].argmax(), y.shape[:2]))


def _draw_row(axes, story, number, total):
    patch, weight, products = (array[..., number] for array in (story.patch, story.weight, story.products))
    bound = {"vmin": story.patch.min(), "vmax": max(story.patch.max(), story.patch.min() + 1e-30), "cmap": "gray"}
    _numbers(axes[0], patch, **bound)
    _numbers(axes[1], weight, **canvas.signed_limits(story.weight))
    _numbers(axes[2], products, **canvas.signed_limits(story.products))
    axes[0].set_ylabel(f"channel {number}", fontsize=9)
    axes[2].yaxis.set_label_position("right")
    axes[2].set_ylabel(
        f"sum {canvas.decimal(total, DIGITS)}", fontsize=10, rotation=0, ha="left", va="center", labelpad=8
    )


def _numbers(axis, array, **style):
    drawn = axis.imshow(array, **style)
    axis.set_xticks([])
    axis.set_yticks([])
    if array.shape[1] > 11:
        return
    for (row, column), value in np.ndenumerate(array):
        red, green, blue, _ = drawn.cmap(drawn.norm(value))
        dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
        axis.text(
            column,
            row,
            canvas.decimal(value, 2),
            ha="center",
            va="center",
            fontsize=8,
            color="white" if dark else "black",
        )


def _arithmetic(story, sums, shown):
    """The last steps, in one line or two."""
    others = len(sums) - len(shown)
    terms = {str(number): sums[number] for number in shown}
    names = dict.fromkeys(terms, "")
    if others:
        terms["others"] = sums.sum() - sums[shown].sum()
        names["others"] = f" ({canvas.plural(others, 'other channel')})"
    lines = [_equation(terms, names, story.total)] if len(terms) > 1 else []
    value = story.total + story.bias
    last = _equation({"sum": story.total, "bias": story.bias}, {"sum": " (sum)", "bias": " (bias)"}, value)
    output = canvas.decimal(story.output, DIGITS)
    lines.append(f"{last};   {story.activation} makes of it {output}" if story.activation else f"{last}, the output")
    return "\n".join(lines)


def _equation(terms, names, total):
    """The terms and their sum as text; where what is shown does not add up because it is rounded, it says so."""
    text = " + ".join(canvas.decimal(value, DIGITS) + names[key] for key, value in terms.items())
    rounded = sum(round(value, DIGITS) for value in terms.values())
    sign = "=" if round(rounded, DIGITS) == round(total, DIGITS) else "≈"
    return f"{text} {sign} {canvas.decimal(total, DIGITS)}".replace("+ −", "− ")
