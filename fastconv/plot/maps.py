# SPDX-License-Identifier: BSD-3-Clause
"""What becomes of an image on its way through a network."""

import numpy as np

from fastconv.plot import canvas, network

WIDTH = 9.0
MAP_INCHES = 0.62  # of a feature map, whatever its size in pixels


def feature_maps(model, image, *, layers=None, limit=12, figure=None):
    """An image and what each layer makes of it, as a matplotlib Figure: one row for each layer.

    ``image``: one image as the model takes it. ``layers``: names, numbers or layers to show; all of them by default.
    A layer with pixels shows its first ``limit`` feature maps, each in the same size on paper: the label tells how
    large they are; of volumes the slice in the middle. One row has one scale, which its label gives: dark is its least
    value, yellow its largest. Of sequences the channels are rows of one sheet. A layer without places shows its
    numbers as bars.

    ``figure``: a Figure or SubFigure to draw into, emptied first. ValueError where the image does not suit the model.
    """
    found = network.results(model, image)
    chosen = range(len(found)) if layers is None else [network.find_layer(model, layer) for layer in layers]
    rows = [(model.layers[index], found[index]) for index in chosen]
    heights = [1.3, *(_height(result.shape, limit) for _, result in rows)]
    figure = canvas.new_figure(figure, WIDTH, 0.5 + sum(heights))
    axes = figure.subplots(len(rows) + 1, 1, height_ratios=heights, squeeze=False)[:, 0]
    shown = canvas.channels_last(network.one_image(model, image)[0], model.layout)
    _draw_input(axes[0], shown)
    for axis, (layer, result) in zip(axes[1:], rows, strict=True):
        result = canvas.channels_last(result, model.layout)
        DRAW[result.ndim](axis, layer, result, limit)
    figure.suptitle("What each layer makes of the image", fontsize=11)
    return figure


def _height(shape, limit):
    return MAP_INCHES + 0.25 if len(shape) > 2 else 1.0


def _draw_input(axis, image):
    if image.ndim > 2:
        canvas.draw_image(axis, canvas.as_picture(_middle(image)))
        axis.set_anchor("W")
    else:
        axis.imshow(image.reshape(len(image), -1).T, aspect="auto", cmap="gray", interpolation="nearest")
        canvas.bare(axis)
    _label(axis, f"input\n{canvas.times(*image.shape)}\n{_span(image)}")


def _middle(array):
    """An image, or of a volume the slice in the middle."""
    return array if array.ndim == 3 else array[len(array) // 2]


def _draw_maps(axis, layer, result, limit):
    height, width, channels = _middle(result).shape
    maps = np.moveaxis(_middle(result)[..., :limit], -1, 0)
    gap = max(1, round(width / 12))
    # empty tiles fill the row, so that maps have one size in all rows
    blank = np.full((limit - len(maps), height, width), np.nan)
    image = canvas.sheet(np.concatenate([maps, blank]), limit, gap)
    axis.imshow(image, cmap=canvas.PLAIN, interpolation="nearest")
    canvas.bare(axis)
    axis.set_anchor("W")
    rest = f"\n{len(maps)} of {channels} maps" if channels > limit else ""
    _label(axis, f"{layer.name}\n{canvas.times(*result.shape)}\n{_span(result)}{rest}")


def _draw_sequence(axis, layer, result, limit):
    axis.imshow(result.T, cmap=canvas.PLAIN, interpolation="nearest", aspect="auto")
    canvas.bare(axis)
    _label(axis, f"{layer.name}\n{canvas.times(*result.shape)}\n{_span(result)}")


def _draw_numbers(axis, layer, result, limit):
    numbers = result.reshape(-1)
    few = len(numbers) <= 2 * limit
    if few:
        axis.bar(range(len(numbers)), numbers, color=canvas.TRAIN, width=0.8)
        axis.bar(numbers.argmax(), numbers.max(), color=canvas.TEST, width=0.8)
        axis.set_xticks(range(len(numbers)))
    else:
        axis.fill_between(range(len(numbers)), numbers, step="mid", color=canvas.TRAIN, linewidth=0)
    axis.axhline(0, color=canvas.GREY, linewidth=0.6)
    axis.margins(x=0.01)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=7)
    _label(axis, f"{layer.name}\n{canvas.times(*result.shape)}\n{_span(result)}")


DRAW = {1: _draw_numbers, 2: _draw_sequence, 3: _draw_maps, 4: _draw_maps}  # by the rank of a layer's result


def _label(axis, text):
    axis.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=8, labelpad=12)


def _span(array):
    return f"{array.min():.3g} to {array.max():.3g}".replace("-", "−")
