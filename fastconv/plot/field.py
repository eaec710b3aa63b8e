# SPDX-License-Identifier: BSD-3-Clause
"""Which pixels an output saw: its receptive field."""

import numpy as np

from fastconv.plot import canvas, network

BATCH = 64  # images of a probe
DIMMED = 0.25  # brightness of what an output did not see


def pixels_seen(model, layer, position):
    """Which pixels of the image have a part in the outputs at ``position`` (row, column) of ``layer``: a boolean array
    of the image's height and width.

    Found by experiment, so that it holds for layers of any kind: a NaN in a pixel reaches exactly the outputs that saw
    it. Whole rows and whole columns of pixels are made NaN, one at a time; the field is where a row and a column that
    matter cross. For parallel branches whose windows differ in both directions that is the smallest grid around
    their fields.
    """
    index = network.find_layer(model, layer)
    axes = _pixel_axes(model)
    _, height, width = _map_shape(model, index)
    row, column = network.checked_place(position, (height, width), model.layers[index].name)
    rows, columns = (_matters(model, index, axis, row, column) for axis in axes)
    return np.outer(rows, columns)


def receptive_field(model, image, layer=None, position=None, *, figure=None):
    """The pixels that one output saw, as a matplotlib Figure.

    ``image``: one image as the model takes it. With ``layer`` (a layer, its name or number) the figure shows the image
    with all other pixels darkened, the layer's output there, and the pixels seen in close-up; ``position`` is (row,
    column) in the layer's result, its middle by default. Without ``layer`` it shows the field of the middle output of
    every layer that has pixels: the deeper the layer, the more of the image it sees.

    ``figure``: a Figure or SubFigure to draw into, emptied first. ValueError for a layer without pixels or a position
    outside it.
    """
    picture = canvas.as_picture(canvas.channels_last(network.one_image(model, image)[0], model.layout))
    found = network.results(model, image)
    if layer is None:
        return _draw_all(model, picture, found, figure)
    index = network.find_layer(model, layer)
    _, height, width = _map_shape(model, index)
    position = (height // 2, width // 2) if position is None else position
    return _draw_one(model, picture, found[index], index, position, figure)


def _pixel_axes(model):
    """The axes of rows and columns in a batch of the model's images."""
    if model.input_shape is None or len(model.input_shape) != 3:
        raise ValueError(f"the model takes no images: its input has the shape {model.input_shape}")
    return (2, 3) if model.layout == "NCHW" else (1, 2)


def _map_shape(model, index):
    """Channels, height and width of a layer's result."""
    model.build()
    shape = model.input_shape
    for layer in model.layers[: index + 1]:
        shape = layer.output_shape(shape)
    if not network.is_map(shape):
        raise ValueError(f"the result of layer {model.layers[index].name!r} has the shape {shape}, and no pixels")
    return shape if model.layout == "NCHW" else (shape[2], *shape[:2])


def _matters(model, index, axis, row, column):
    """For each row (or column) of pixels: does NaN in it reach the output?"""
    size = model.input_shape[axis - 1]
    found = np.zeros(size, bool)
    for start in range(0, size, BATCH):
        lines = np.arange(start, min(start + BATCH, size))
        x = np.zeros((len(lines), *model.input_shape), model.dtype)
        np.moveaxis(x, axis, 1)[np.arange(len(lines)), lines] = np.nan
        with np.errstate(invalid="ignore"):
            for layer in model.layers[: index + 1]:
                x = layer.forward(x, False)
        output = x[:, :, row, column] if model.layout == "NCHW" else x[:, row, column]
        found[lines] = np.isnan(output).any(axis=1)
    return found


def _box(mask):
    """Top, left, bottom, right (exclusive) of the pixels seen."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1


def _dimmed(picture, mask):
    """The image with what was not seen darkened; 0 to 1, (H, W, 3)."""
    low, high = picture.min(), picture.max()
    bright = (picture - low) / max(high - low, 1e-30)
    colours = np.broadcast_to(bright, (*mask.shape, 3))
    # dark images would not show what is dimmed: black becomes a blue
    dimmed = DIMMED * colours + np.array([0.05, 0.08, 0.25])
    return np.where(mask[..., np.newaxis], colours, dimmed)


def _outline(axis, box, **style):
    from matplotlib.patches import Rectangle

    top, left, bottom, right = box
    axis.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, clip_on=False, **style))


def _draw_field(axis, picture, mask):
    axis.imshow(_dimmed(picture, mask), interpolation="nearest")
    _outline(axis, _box(mask), edgecolor=canvas.MARK, linewidth=2)
    canvas.bare(axis)


def _field_text(mask):
    top, left, bottom, right = _box(mask)
    share = mask.sum() / mask.size
    return f"sees {bottom - top} × {right - left} pixels ({share:.0%})"


def _draw_all(model, picture, found, figure):
    layers = [index for index, result in enumerate(found) if network.is_map(result.shape)]
    if not layers:
        raise ValueError("no layer of the model has a result with pixels")
    columns = min(len(layers), 4)
    rows = -(-len(layers) // columns)
    figure = canvas.new_figure(figure, 2.7 * columns, 3.0 * rows + 0.6)
    axes = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axis in axes[len(layers) :]:
        axis.set_visible(False)
    for axis, index in zip(axes, layers, strict=False):
        _, height, width = _map_shape(model, index)
        mask = pixels_seen(model, index, (height // 2, width // 2))
        _draw_field(axis, picture, mask)
        axis.set_title(f"{model.layers[index].name}\n{_field_text(mask)}", fontsize=9)
    figure.suptitle("What the output in the middle of each layer sees of the image", fontsize=11)
    return figure


def _draw_one(model, picture, result, index, position, figure):
    mask = pixels_seen(model, index, position)
    row, column = position
    top, left, bottom, right = _box(mask)
    maps = canvas.channels_last(result, model.layout)
    figure = canvas.new_figure(figure, 10, 3.9)
    whole, close, output = figure.subplots(1, 3)
    _draw_field(whole, picture, mask)
    whole.set_title(f"image: {canvas.times(*mask.shape)} pixels", fontsize=10)
    _draw_close_up(close, picture, mask)
    close.set_title(f"rows {top} to {bottom - 1}, columns {left} to {right - 1}", fontsize=10)
    output.imshow(maps.mean(axis=-1), cmap=canvas.PLAIN, interpolation="nearest")
    _outline(output, (row, column, row + 1, column + 1), edgecolor=canvas.MARK, linewidth=2)
    canvas.bare(output)
    what = f"mean of the {canvas.plural(maps.shape[-1], 'map')}" if maps.shape[-1] > 1 else "map"
    output.set_title(f"{what}: {canvas.times(*maps.shape[:2])}", fontsize=10)
    name = model.layers[index].name
    figure.suptitle(f"The output of {name} at row {row}, column {column} {_field_text(mask)}", fontsize=11)
    return figure


def _draw_close_up(axis, picture, mask):
    top, left, bottom, right = _box(mask)
    low, high = picture.min(), picture.max()
    seen = _dimmed(picture, mask)[top:bottom, left:right]
    axis.imshow(seen, interpolation="nearest")
    canvas.bare(axis)
    if seen.shape[0] * seen.shape[1] <= 100 and picture.shape[-1] == 1:
        for (y, x), value in np.ndenumerate(picture[top:bottom, left:right, 0]):
            bright = (value - low) / max(high - low, 1e-30) > 0.5
            axis.text(x, y, f"{value:.3g}", ha="center", va="center", fontsize=8, color="black" if bright else "white")
