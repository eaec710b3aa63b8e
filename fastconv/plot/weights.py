# SPDX-License-Identifier: BSD-3-Clause
"""The learned filters of a layer."""

import math

import numpy as np

from fastconv.plot import canvas

WIDTH = 8.0  # inches of a sheet


def filters(layer, *, limit=32, rgb=False, figure=None):
    """The weights of any layer that has them, as a matplotlib Figure.

    ``layer``: a convolution of any rank, or a Dense layer, whose parameters exist (that of a model that has been
    built). A filter for one channel is one tile; for several channels the filters are rows and the channels columns,
    at most ``limit`` of each, and the title tells how many are left out. Red is positive, blue negative, white zero,
    on one scale for all, so that tiles can be compared. With ``rgb=True`` a filter for three channels is one tile in
    colours, its least value black and its largest full. Dense layers behind a Flatten of one image show the weights
    of each unit as an image; other dense layers one row of the sheet for each unit.

    ``figure``: a Figure or SubFigure to draw into, emptied first. ValueError for a layer without weights, or with
    parameters that do not exist yet.
    """
    bank = filter_bank(layer)
    channels = bank.shape[-1]
    shown = bank[:limit, ..., : channels if rgb else limit]
    if rgb and (channels != 3 or bank.ndim != 4):
        raise ValueError(f"rgb=True needs filters on three channels, {layer.name} has {channels}")
    title = _title(layer, bank, shown)
    if rgb:
        return _colours(shown, title, figure)
    if channels == 1 and bank.ndim == 4:
        return _tiles(shown[..., 0], title, figure)
    return _table(shown, title, "unit" if _weight(layer).ndim == 2 else "filter", figure)


def filter_bank(layer):
    """The weights as (filters, height, width, channels). A 1-D filter has height 1, the slices of a 3-D one stand side
    by side with a gap of NaN; a unit of a dense layer is a filter as large as its input."""
    weight = _weight(layer)
    if weight is None:
        reason = "has not been built: give the model its input shape" if parametric(layer) else "has no weights"
        raise ValueError(f"the layer {getattr(layer, 'name', None) or type(layer).__name__!r} {reason}")
    weight = np.asarray(weight, float)
    if weight.ndim == 2:
        return _dense_bank(layer, weight)
    if weight.ndim not in (3, 4, 5):
        raise ValueError(f"weights of the shape {weight.shape} are no filters")
    if "Transpose" in type(layer).__name__:  # weight (R, S, filters, C), (C, filters, R, S)
        order = (1, *range(2, weight.ndim), 0) if layer.layout == "NCHW" else (-2, *range(weight.ndim - 2), -1)
    else:
        order = (0, *range(2, weight.ndim), 1) if layer.layout == "NCHW" else (-1, *range(weight.ndim - 2), -2)
    bank = weight.transpose(order)
    if bank.ndim == 3:
        return bank[:, np.newaxis]
    return bank if bank.ndim == 4 else _side_by_side(bank)


def _weight(layer):
    """The filters among a layer's parameters; of a separable convolution those that see pixels."""
    parameters = getattr(layer, "parameters", {})
    return parameters.get("weight", parameters.get("depthwise_kernel"))


def parametric(layer):
    """Whether a layer learns weights once its input is known."""
    return hasattr(layer, "filters") or hasattr(layer, "filters_and_groups") or hasattr(layer, "units")


def _dense_bank(layer, weight):
    """(units, H, W, C) where the input is a flattened image, else (units, 1, inputs, 1)."""
    model = layer.owner
    index = model.layers.index(layer) if layer in getattr(model, "layers", ()) else 0
    if index and type(model.layers[index - 1]).__name__ == "Flatten":
        shape = _shape_before(model, index - 1)
        if len(shape) == 3 and math.prod(shape) == len(weight):
            images = weight.T.reshape(-1, *shape)
            return images.transpose(0, 2, 3, 1) if model.layout == "NCHW" else images
    return weight.T[:, np.newaxis, :, np.newaxis]


def _shape_before(model, index):
    """The shape that the layer of that index is fed with."""
    shape = model.input_shape
    for layer in model.layers[:index]:
        shape = layer.output_shape(shape)
    return shape


def _side_by_side(bank):
    """(filters, D, R, S, C) as (filters, R, D * (S + 1) - 1, C)."""
    count, depth, height, width, channels = bank.shape
    wide = np.full((count, height, depth, width + 1, channels), np.nan)
    wide[:, :, :, :width] = bank.transpose(0, 2, 1, 3, 4)
    return wide.reshape(count, height, depth * (width + 1), channels)[:, :, :-1]


def _title(layer, bank, shown):
    weight = _weight(layer)
    count, channels = bank.shape[0], bank.shape[-1]
    if weight.ndim == 2:
        what = f"{canvas.plural(weight.shape[1], 'unit')} of {weight.shape[0]} weights"
    else:
        size = weight.shape[2:] if layer.layout == "NCHW" else weight.shape[:-2]
        what = f"{canvas.plural(count, 'filter')} of {canvas.times(*size)} on {canvas.plural(channels, 'channel')}"
    left_out = [f"{shown.shape[0]} of {count} filters" if shown.shape[0] < count else ""]
    left_out += [f"{shown.shape[-1]} of {channels} channels" if shown.shape[-1] < channels else ""]
    left_out = " and ".join(filter(None, left_out))
    return f"{layer.name or type(layer).__name__}: {what}" + (f"\n(shown: {left_out})" if left_out else "")


def _tiles(tiles, title, figure):
    """A sheet of filters on one channel, each under its number."""
    count, height, width = tiles.shape
    columns = _columns(count, height, width)
    rows = -(-count // columns)
    figure = canvas.new_figure(figure, WIDTH, 1.1 + WIDTH * 0.85 * rows * height / (columns * width))
    axis = figure.subplots()
    image = canvas.sheet(tiles, columns)
    drawn = axis.imshow(image, interpolation="nearest", **canvas.signed_limits(tiles))
    for index in range(count):
        left, top = index % columns * (width + 1) - 0.5, index // columns * (height + 1) - 0.5
        axis.text(left, top, str(index), fontsize=7, color=canvas.GREY, ha="left", va="bottom")
    canvas.bare(axis)
    return _finish(figure, axis, drawn, title)


def _table(bank, title, row_name, figure):
    """Rows are filters or units, columns are channels."""
    count, height, width, channels = bank.shape
    wide = channels * (width + 1)
    inches = WIDTH * 0.85 * count * (height + 1) / wide
    figure = canvas.new_figure(figure, WIDTH, min(max(inches, 1.5), 14.0) + 1.2)
    axis = figure.subplots()
    tiles = bank.transpose(0, 3, 1, 2).reshape(-1, height, width)
    aspect = "equal" if height > 1 else "auto"
    drawn = axis.imshow(
        canvas.sheet(tiles, channels), interpolation="nearest", aspect=aspect, **canvas.signed_limits(tiles)
    )
    canvas.bare(axis)
    step = max(1, -(-count // 32))
    axis.set_yticks(canvas.centres(count, height)[::step], range(0, count, step), fontsize=7)
    if channels > 1:
        axis.set_xticks(canvas.centres(channels, width), range(channels), fontsize=7)
        axis.set_xlabel("channel of the layer's input", fontsize=9)
    else:
        axis.set_xlabel("input", fontsize=9)
    axis.set_ylabel(row_name, fontsize=9)
    axis.tick_params(length=0)
    return _finish(figure, axis, drawn, title)


def _colours(bank, title, figure):
    """Each filter as a colour image, stretched to its own range."""
    low, high = bank.min(axis=(1, 2, 3), keepdims=True), bank.max(axis=(1, 2, 3), keepdims=True)
    tiles = (bank - low) / np.maximum(high - low, 1e-30)
    count, height, width, _ = bank.shape
    columns = _columns(count, height, width)
    rows = -(-count // columns)
    figure = canvas.new_figure(figure, WIDTH, 0.8 + WIDTH * rows * height / (columns * width))
    axis = figure.subplots()
    axis.imshow(np.nan_to_num(canvas.sheet(tiles, columns), nan=1.0), interpolation="nearest")
    canvas.bare(axis)
    figure.suptitle(title, fontsize=11)
    return figure


def _columns(count, height, width):
    """Columns of a sheet about twice as wide as high."""
    return max(1, min(count, round(math.sqrt(2 * count * height / width))))


def _finish(figure, axis, drawn, title):
    bar = figure.colorbar(drawn, ax=axis, shrink=0.7, aspect=30, pad=0.02)
    bar.set_label("weight", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=11)
    return figure
