# SPDX-License-Identifier: BSD-3-Clause
"""The table that ``Sequential.summary`` prints."""

import math


def summary_table(layers, input_shape, shapes):
    """Text of the table. ``shapes`` are the shapes of the layers' results without the batch axis,
    empty while ``input_shape`` is None."""
    rows = [("layer (type)", "output shape", "parameters")]
    total = 0
    inputs = [input_shape, *shapes]
    for index, layer in enumerate(layers):
        kind = f"{layer.name} ({type(layer).__name__})"
        if input_shape is None:
            rows.append((kind, "?", "?"))
            continue
        count = sum(map(math.prod, layer.parameter_shapes(inputs[index]).values()))
        total += count
        rows.append((kind, str((None, *shapes[index])), f"{count:,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{kind:<{widths[0]}}  {shape:<{widths[1]}}  {count:>{widths[2]}}" for kind, shape, count in rows]
    rule = "-" * len(lines[0])
    known = "?" if input_shape is None else f"{total:,}"
    return "\n".join([lines[0], rule, *lines[1:], rule, f"parameters: {known}"])
