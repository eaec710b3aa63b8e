# SPDX-License-Identifier: BSD-3-Clause
"""What a classifier takes for what, and the images that it got wrong."""

import numpy as np

from fastconv.plot import canvas

COLUMNS = 6  # of the sheet of mistakes


def confusion_matrix(model, x, y, *, names=None, limit=24, batch_size=32, figure=None):
    """How often each class was taken for each, and the mistaken images, as a matplotlib Figure.

    ``model``: anything with ``predict(x)`` that gives one score for each class. ``x``: images; ``y``: their labels
    (N,), 0 to the number of classes - 1. ``names``: of the classes, in the place of their numbers. Rows of the matrix
    are the true classes, columns what the model said; right answers stand on the diagonal. Beside it are at most
    ``limit`` mistaken images, those first of which the model was surest.

    ``figure``: a Figure or SubFigure to draw into, emptied first. ValueError where the scores or labels do not fit.
    """
    x, y = np.asarray(x), np.asarray(y)
    scores = np.asarray(model.predict(x, batch_size=batch_size))
    matrix, wrong = count_confusions(scores, y)
    names = [str(index) for index in range(len(matrix))] if names is None else [str(name) for name in names]
    if len(names) != len(matrix):
        raise ValueError(f"{len(names)} names for {len(matrix)} classes")
    shown = wrong[:limit]
    pictures = len(shown) > 0 and x.ndim == 4
    figure = canvas.new_figure(figure, 11.5 if pictures else 6, 5.8)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 0.95)) if pictures else (figure, None)
    _draw_matrix(left, matrix, names)
    if pictures:
        images = x[shown].transpose(0, 2, 3, 1) if getattr(model, "layout", "NHWC") == "NCHW" else x[shown]
        captions = [f"{names[y[i]]}, taken for {names[scores[i].argmax()]}" for i in shown]
        _draw_mistakes(right, images, captions, len(wrong))
    return figure


def count_confusions(scores, labels):
    """(classes, classes) counts, true class first, and the indices of the mistakes, the surest first."""
    if scores.ndim != 2 or labels.shape != (len(scores),) or labels.dtype.kind not in "iu":
        raise ValueError(f"scores must be (N, classes), y integers (N,), got {scores.shape} and {labels.shape}")
    classes = scores.shape[1]
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"y must lie between 0 and {classes - 1}, got {labels.min()} to {labels.max()}")
    said = scores.argmax(axis=1)
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, said), 1)
    rows = np.arange(len(labels))
    lead = scores[rows, said] - scores[rows, labels]
    wrong = np.flatnonzero(said != labels)
    return matrix, wrong[np.argsort(-lead[wrong], kind="stable")]


def _draw_matrix(figure, matrix, names):
    axis = figure.subplots()
    right, total = int(np.trace(matrix)), int(matrix.sum())
    rows = np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axis.imshow(matrix / rows, cmap="Blues", vmin=0, vmax=1)
    small = len(names) <= 20
    for row, column in np.argwhere(matrix) if small else ():
        colour = "white" if matrix[row, column] > rows[row, 0] / 2 else "black" if row == column else "#c53030"
        axis.text(column, row, matrix[row, column], ha="center", va="center", fontsize=8, color=colour)
    if small:
        axis.set_xticks(range(len(names)), names, fontsize=8, rotation=90 if max(map(len, names)) > 3 else 0)
        axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_xlabel("what the model said")
    axis.set_ylabel("what it is")
    axis.set_title(f"{right} of {total} right ({right / max(total, 1):.1%})", fontsize=11)


def _draw_mistakes(figure, images, captions, total):
    rows = -(-len(images) // COLUMNS)
    axes = figure.subplots(max(rows, 3), COLUMNS).reshape(-1)
    for axis in axes:
        axis.axis("off")
    for axis, image, caption in zip(axes, images, captions, strict=False):
        canvas.draw_image(axis, canvas.as_picture(image))
        axis.set_title(caption.replace(", ", ",\n"), fontsize=7)
        axis.axis("on")
    which = f"the {len(images)} surest" if len(images) < total else "all"
    figure.suptitle(f"{canvas.plural(total, 'mistake')} ({which})", fontsize=11)
