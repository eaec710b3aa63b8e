# SPDX-License-Identifier: BSD-3-Clause
"""Training curves."""

from fastconv.plot import canvas


def curves(history, *, figure=None):
    """Loss and metrics over the epochs, as a matplotlib Figure: one panel for each figure that training reports.

    ``history``: what ``fit`` returns, or a dict from name to one value for each epoch. "val_..." figures are drawn
    beside those of the training. A training loss that falls while the validation loss rises is overfitting.

    ``figure``: a Figure or SubFigure to draw into, emptied first. ValueError for a history without values.
    """
    values = getattr(history, "history", history)
    names = [name for name in values if not name.startswith("val_")]
    names += [name[4:] for name in values if name.startswith("val_") and name[4:] not in values]
    if not names or not all(len(column) for column in values.values()):
        raise ValueError("the history has no values: train first")
    figure = canvas.new_figure(figure, 1 + 4.2 * len(names), 3.6)
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _panel(axis, name, values)
    return figure


def _panel(axis, name, values):
    for key, label, colour in ((name, "training", canvas.TRAIN), (f"val_{name}", "validation", canvas.TEST)):
        if key in values:
            column = values[key]
            label = f"{label}: {column[-1]:.4g} at the end"
            style = "-" if len(column) > 30 else ".-"
            axis.plot(range(1, len(column) + 1), column, style, color=colour, label=label, linewidth=1.5)
    axis.set_title(name.replace("_", " "), fontsize=11)
    axis.set_xlabel("epoch")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
