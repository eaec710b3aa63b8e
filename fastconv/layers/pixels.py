# SPDX-License-Identifier: BSD-3-Clause
"""Where the pixels and the channels of a layer's inputs stand, and their shapes without the batch axis."""

KINDS = {1: "sequences", 2: "images", 3: "volumes"}  # by axes of pixels


def is_channels_first(layer):
    return layer.layout == "NCHW"


def split_shape(layer, input_shape, axes=2):
    """The sizes of the pixels and the number of channels; ValueError for a shape of another number of axes."""
    if len(input_shape) != axes + 1:
        pixels = ", ".join("DHW"[-axes:])
        expected = f"(C, {pixels})" if is_channels_first(layer) else f"({pixels}, C)"
        got = tuple(input_shape)
        raise ValueError(f"{type(layer).__name__} takes {KINDS[axes]} {expected}, got the shape {got}")
    if is_channels_first(layer):
        return tuple(input_shape[1:]), input_shape[0]
    return tuple(input_shape[:-1]), input_shape[-1]


def joined_shape(layer, pixels, channels):
    """The shape of inputs with so many pixels along each axis."""
    return (channels, *pixels) if is_channels_first(layer) else (*pixels, channels)
