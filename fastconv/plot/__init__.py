# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of networks: filters, feature maps, training curves, mistakes, receptive fields, single sums.

    from fastconv import plot
    plot.filters(model.layers[1]).savefig("filters.png")

Every function returns a matplotlib Figure and shows nothing by itself: save it with ``savefig``, or let a notebook
(with ``%matplotlib inline``) display it as the last line of a cell. ``figure=`` takes a Figure or SubFigure to draw
into instead, such as ``pyplot.figure()``, which ``pyplot.show()`` shows in a window. Needs matplotlib; importing this
package does not.
"""

from fastconv.plot.confusion import confusion_matrix
from fastconv.plot.field import pixels_seen, receptive_field
from fastconv.plot.maps import feature_maps
from fastconv.plot.sums import OneSum, one_output, sum_of_output
from fastconv.plot.training import curves
from fastconv.plot.weights import filters

__all__ = [
    "OneSum",
    "confusion_matrix",
    "curves",
    "feature_maps",
    "filters",
    "one_output",
    "pixels_seen",
    "receptive_field",
    "sum_of_output",
]
