# SPDX-License-Identifier: BSD-3-Clause
"""What the pictures share: figures that belong to nobody but the caller, sheets of tiles, colours."""

import numpy as np

TRAIN, TEST, GREY = "#2b6cb0", "#dd6b20", "#555555"
MARK = "#dd6b20"  # of a place in an image
SIGNED = "RdBu_r"  # numbers of both signs: blue negative, white zero, red positive
PLAIN = "viridis"
DOTS_PER_INCH = 100


def new_figure(figure, width, height):
    """``figure`` emptied, or a new one of that size in inches. A figure that pyplot does not know needs no display, is
    freed with its last reference and leaves the backend as it is."""
    if figure is not None:
        figure.clear()
        return figure
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib, which is not installed: pip install matplotlib") from error
    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")


def sheet(tiles, columns, gap=1):
    """The tiles (n, h, w) or (n, h, w, 3), row by row, as one image with gaps of NaN between them."""
    count, height, width = tiles.shape[:3]
    rows = -(-count // columns)
    shape = rows * (height + gap) - gap, columns * (width + gap) - gap
    image = np.full((*shape, *tiles.shape[3:]), np.nan)
    for index, tile in enumerate(tiles):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        image[top : top + height, left : left + width] = tile
    return image


def centres(count, size, gap=1):
    """Where the middles of ``count`` tiles of that size lie along an axis of a sheet."""
    return [index * (size + gap) + (size - 1) / 2 for index in range(count)]


def bare(axis):
    """No ticks, no frame: for images."""
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)


def draw_image(axis, image, **style):
    """An image (H, W, 1 or 3) as a person would look at it; grey from its least to its largest value."""
    image = np.asarray(image, float)
    if image.shape[-1] == 3:
        low, high = min(0.0, image.min()), max(image.max(), 1e-30)
        artist = axis.imshow((image - low) / (high - low), interpolation="nearest", **style)
    else:
        artist = axis.imshow(image[..., 0], cmap="gray", interpolation="nearest", **style)
    bare(axis)
    return artist


def signed_limits(array):
    """Limits of colours that put zero in the middle."""
    largest = float(np.nanmax(np.abs(array))) if np.size(array) else 0.0
    largest = largest or 1.0
    return {"vmin": -largest, "vmax": largest, "cmap": SIGNED}


def channels_last(array, layout):
    """One image or map without a batch axis, its channels as the last axis."""
    return np.moveaxis(array, 0, -1) if layout == "NCHW" and array.ndim > 1 else array


def as_picture(image):
    """(H, W, 1 or 3) of an image with any number of channels: more or other than three are shown by their mean."""
    return image if image.shape[-1] in (1, 3) else image.mean(axis=-1, keepdims=True)


def times(*numbers):
    return " × ".join(map(str, numbers))


def plural(count, word):
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def decimal(value, digits):
    """A number with a real minus sign, and no sign on a zero."""
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "−")
