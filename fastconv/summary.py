# SPDX-License-Identifier: BSD-3-Clause
"""The table that ``Sequential.summary`` prints."""

import math
from typing import NamedTuple

HEADS = ("layer (type)", "output shape", "parameters", "multiply-adds", "result")


class Row(NamedTuple):
    """One layer; the numbers are those of one input. None: unknown, or those of the layers within."""

    name: str
    shape: tuple | None = None
    parameters: int | None = None
    states: int = 0
    multiply_adds: int | None = None
    unread: str = ""


def summary_table(stack, input_shape, itemsize):
    """Text of the table. ``input_shape``: without the batch axis, None while it is unknown; ``itemsize``: bytes of a
    number of parameters and results."""
    rows = list(stack_rows(stack, input_shape, ""))
    known = input_shape is not None
    lines = columns([HEADS, *(cells(row, itemsize, known) for row in rows)])
    rule = "-" * max(map(len, lines))
    notes = [row.unread for row in rows]
    lines[1:] = [f"{line}{note}" for line, note in zip(lines[1:], notes, strict=True)]
    return "\n".join([lines[0], rule, *lines[1:], rule, *totals(rows, itemsize, known)])


def stack_rows(stack, input_shape, indent):
    """The rows of layers that are fed one after the other, those of the layers within a layer behind its own."""
    for layer in stack.layers:
        output_shape = None if input_shape is None else layer.output_shape(input_shape)
        name = f"{indent}{layer.name} ({type(layer).__name__})"
        if layer.stacks:
            yield Row(name, output_shape)
            for label, inner in zip(layer.branch_names(), layer.stacks, strict=True):
                if inner.layers:
                    yield Row(f"{indent}  {label}:")
                    yield from stack_rows(inner, input_shape, indent + "    ")
        elif input_shape is None:
            yield Row(name)
        else:
            yield leaf_row(layer, name, input_shape, output_shape)
        input_shape = output_shape


def leaf_row(layer, name, input_shape, output_shape):
    count, states = (
        sum(map(math.prod, shapes.values()))
        for shapes in (layer.parameter_shapes(input_shape), layer.state_shapes(input_shape))
    )
    unread, pixels = layer.unread_pixels(input_shape)
    note = f"  {unread:,} of {pixels:,} pixels are never read" if unread else ""
    return Row(name, output_shape, count, states, layer.multiply_adds(input_shape), note)


def cells(row, itemsize, known):
    if row.name.endswith(":"):
        return (row.name, "", "", "", "")
    if not known:
        return (row.name, "?", "?", "?", "?")
    numbers = ("" if number is None else f"{number:,}" for number in (row.parameters, row.multiply_adds))
    return (row.name, str((None, *row.shape)), *numbers, size(math.prod(row.shape) * itemsize))


def columns(table):
    """The lines of a table: names and shapes to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(f"{cell:{'<' if place < 2 else '>'}{widths[place]}}" for place, cell in enumerate(row))
        for row in table
    ]


def totals(rows, itemsize, known):
    """The lines under the table."""
    if not known:
        return ["parameters: ?"]
    count, states, multiply_adds = (
        sum(getattr(row, name) or 0 for row in rows) for name in ("parameters", "states", "multiply_adds")
    )
    results = sum(math.prod(row.shape) for row in rows if row.shape is not None)
    lines = [f"multiply-adds: {multiply_adds:,} for one input"]
    lines.append(f"memory: parameters {size((count + states) * itemsize)}, all results of one input "
                 f"{size(results * itemsize)}")  # fmt: skip
    if states:
        lines.append(f"kept, but not learned: {states:,}")
    return [*lines, f"parameters: {count:,}"]


def size(count):
    """Bytes in words."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"
