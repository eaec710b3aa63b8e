# SPDX-License-Identifier: BSD-3-Clause
"""The texts of errors: which argument, which shapes and, where it can be guessed, the remedy.

Every function returns an exception for the caller to raise, `check_out` apart. Called only when something is wrong, so
clarity comes before speed here.
"""

import math

import numpy as np

from fastconv.geometry import problem_string

PRECISIONS = ("strict", "high", "medium")
ALGORITHMS = ("auto", "direct", "winograd", "reference")
LAYOUTS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}  # by axes of pixels: channels last, first
CROPPED_AWAY = "the output would be empty: the padding takes more from it than there is"


def _short(value):
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# ---------------------------------------------------------------- numbers and names


def not_an_integer(name, value):
    kind = type(value).__name__
    return TypeError(f"{name} must be an integer or a sequence of integers, not {kind}: {_short(value)}")


def too_large(name, value):
    return ValueError(f"{name} = {_short(value)} does not fit into 64 bits")


def wrong_count(name, value, count):
    return ValueError(f"{name} needs one integer or {count} of them, got {_short(value)}")


def below_one(name, value):
    return ValueError(f"{name} must be at least 1, got {_short(value)}")


def not_a_bool(name, value):
    return TypeError(f"{name} must be True or False, not {type(value).__name__}: {_short(value)}")


def not_a_string(name, value):
    return TypeError(f"{name} must be a string, not {type(value).__name__}: {_short(value)}")


def unknown_name(name, value, known):
    return ValueError(f"{name} {_short(value)} is unknown; choose from {', '.join(map(repr, known))}")


def refused_algorithm(value, reason):
    return ValueError(f"algorithm {value!r} cannot do this problem: {reason}; use 'auto'")


def not_a_shape(name, value):
    return TypeError(f"{name} must be a tuple of integers, not {type(value).__name__}: {_short(value)}")


def wrong_rank_of_shape(name, value, least, most):
    counts = str(least) if least == most else f"{least} or {most}"
    return ValueError(f"{name} needs {counts} entries, got {len(value)}: {_short(value)}")


# ---------------------------------------------------------------- arrays


def not_an_array(name, value):
    hint = ""
    if isinstance(value, (list, tuple)):
        hint = f"; use np.asarray({name}, dtype=np.float32)"
    elif isinstance(value, np.ma.MaskedArray):
        hint = f"; use {name}.filled(...)"
    return TypeError(f"{name} must be a numpy array, not {type(value).__name__}{hint}")


def wrong_dtype(name, dtype, any_dtype):
    allowed = "float32 or float64"
    if any_dtype:
        allowed += ", or an image of uint8, int8, int16 or float16"
    hint = f"; use {name}.astype(np.float32)" if np.issubdtype(dtype, np.number) and dtype.kind != "c" else ""
    return TypeError(f"{name} has dtype {dtype}, but must be {allowed}{hint}")


def wrong_rank(name, shape, least, most):
    hint = ""
    if most == 3 and least == 2:
        hint = "; one sequence has 2 axes, a batch of sequences 3"
    elif least == 3 and most == 3:
        hint = "; filters have 3 axes: width, channels / groups, filters (NWC) or filters first (NCW)"
    elif most == 4 and least == 3:
        hint = "; one image has 3 axes, a batch of images 4"
        if len(shape) == 2:
            hint += f": use {name}[..., np.newaxis] for one grey image"
    elif least == most == 4:
        hint = "; filters have 4 axes: height, width, channels / groups, filters (NHWC) or filters first (NCHW)"
    elif most == 5:
        hint = "; filters of volumes have 5 axes: depth, height, width, channels / groups, filters, or filters first"
        hint = "; one volume has 4 axes, a batch of volumes 5" if least == 4 else hint
    counts = str(least) if least == most else f"{least} or {most}"
    return ValueError(f"{name} has shape {shape}, but needs {counts} axes{hint}")


def no_axes(name):
    return ValueError(f"{name} has no axes, but needs at least one: (..., channels)")


def not_a_matrix(name, shape):
    return ValueError(f"{name} has shape {shape}, but needs 2 axes: (C, K)")


def unrelated_rows(name, shape, weight_shape):
    return ValueError(f"{name} has shape {shape}, but weight {weight_shape} is made for {weight_shape[0]} channels")


def unrelated_columns(grad_y_shape, weight_shape):
    return wrong_grad_y(grad_y_shape, (*grad_y_shape[:-1], weight_shape[1]))


def packed_for_another(shape, packed, call):
    """weight was packed for other calls; both are told as dictionaries."""
    differing = [name for name in call if packed.get(name, call[name]) != call[name]]
    made, here = (", ".join(f"{name}={of[name]!r}" for name in differing) for of in (packed, call))
    return ValueError(f"weight {shape} was packed with {made}, but this call has {here}: pack it again for such calls")


def no_x_shape(operation):
    return TypeError(f"x_shape is needed to pack weights for {operation}: the shape of an image or a batch")


def unequal_gradient(shape, name, expected):
    return ValueError(f"grad_y has shape {shape}, but {name} has {expected}: they must be equal")


def no_such_axis(axis, shape):
    return ValueError(f"axis {axis} is none of an array of shape {shape}")


def unequal_rows(grad_y_shape, x_shape):
    return ValueError(f"grad_y {grad_y_shape} and x {x_shape} do not have the same number of rows")


def wrong_bias(shape, k, name="bias"):
    return ValueError(f"{name} has shape {shape}, but there are {k} filters: it must have shape ({k},)")


# ---------------------------------------------------------------- out


def wrong_out_dtype(name, dtype, number):
    expected = next(known for known in map(np.dtype, "efdbBhHiIlLqQ") if known.num == number)
    return TypeError(f"{name} has dtype {dtype}, but the result is {expected}")


def wrong_out_shape(name, shape, expected):
    return ValueError(f"{name} has shape {shape}, but the result has shape {expected}")


def pair_of_results(out):
    """The two entries of out=(y, indices); ValueError for another number, as NumPy's functions have it."""
    if len(out) != 2:
        raise ValueError(f"out has {len(out)} entries, but there are two results: (y, indices)")
    return out


def read_only(name):
    return ValueError(f"{name} is read-only")


def overlap(name):
    return ValueError(f"out shares memory with {name}; a result cannot overwrite what it is computed from")


def self_overlap(name):
    return ValueError(f"{name} overlaps itself: two of its elements share memory")


def share_memory(a, b):
    """Whether two arrays whose address ranges meet share a byte; True where that is too hard to find out."""
    try:
        return np.shares_memory(a, b, max_work=100_000)
    except np.exceptions.TooHardError:
        return True


def overlaps_itself(array):
    """Whether two elements share a byte, as far as nested strides can tell: True if no nesting is found."""
    reach = array.itemsize
    axes = [(abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1]
    if array.size == 0:
        return False
    for stride, count in sorted(axes):
        if stride < reach:
            return True
        reach = stride * (count - 1) + reach
    return False


def check_out(out, shape, dtype, name="out"):
    """The checks that the kernels' own path makes of a caller's array, for results that are made in Python."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise not_an_array(name, out)
    if out.dtype != dtype:
        raise wrong_out_dtype(name, out.dtype, np.dtype(dtype).num)
    if out.shape != shape:
        raise wrong_out_shape(name, out.shape, shape)
    if not out.flags.writeable:
        raise read_only(name)
    if overlaps_itself(out):
        raise self_overlap(name)


# ---------------------------------------------------------------- convolution


def channel_mismatch(x_name, x_shape, weight_name, weight_shape, groups, layout):
    text = (
        f"{x_name} {x_shape} has {_channels(x_shape, weight_shape, layout)} channels, but {weight_name} {weight_shape} "
        f"with groups={groups} is made for {_seen_channels(weight_shape, layout) * groups} (layout {layout})"
    )
    other = _other(layout)
    if _fits(x_shape, weight_shape, groups, other):
        text += f'; these shapes fit layout="{other}"'
    elif layout == "NHWC" and _fits(x_shape, _to_hwio(weight_shape), groups, layout):
        text += f"; filters of shape (K, C, R, S) become (R, S, C, K) with {weight_name}.transpose(2, 3, 1, 0)"
    return ValueError(text)


def _other(layout):
    return next(b if layout == a else a for a, b in LAYOUTS.values() if layout in (a, b))


def _to_hwio(shape):
    return (shape[2], shape[3], shape[1], shape[0])


def _channels(x_shape, weight_shape, layout):
    pixels = len(weight_shape) - 2  # axes of them
    return x_shape[len(x_shape) - 1 - pixels if layout.startswith("NC") else -1]


def _seen_channels(weight_shape, layout):
    return weight_shape[1 if layout.startswith("NC") else -2]


def _fits(x_shape, weight_shape, groups, layout):
    return _seen_channels(weight_shape, layout) * groups == _channels(x_shape, weight_shape, layout)


def bad_convolution(
    text, x_name, x_shape, weight_name, weight_shape, layout, stride, padding, dilation, groups, output_padding=None
):
    transposed = output_padding is not None
    extra = f"output_padding={_short(output_padding)}, " if transposed else ""
    text = (
        f"{text}: {x_name} {x_shape}, {weight_name} {weight_shape}, stride={_short(stride)}, "
        f"padding={_short(padding)}, {extra}dilation={_short(dilation)}, groups={_short(groups)}"
    )
    if transposed:
        return ValueError(f"{text}, layout {layout}")
    text += f" [{problem_string(x_shape, weight_shape, stride, padding, dilation, groups, layout)}]"
    other = _other(layout)
    if _fits(x_shape, weight_shape, 1, other) and not _fits(x_shape, weight_shape, 1, layout):
        text += f'; these shapes fit layout="{other}"'
    return ValueError(text)


def transposed_mismatch(x_name, x_shape, weight_name, weight_shape, layout):
    axis = 0 if layout.startswith("NC") else -1
    channels = _channels(x_shape, weight_shape, layout)
    text = (
        f"{x_name} {x_shape} has {channels} channels, but {weight_name} {weight_shape} is made for "
        f"{weight_shape[axis]} (layout {layout}): channels of {x_name} are its {'first' if axis == 0 else 'last'} axis"
    )
    other = _other(layout)
    if _channels(x_shape, weight_shape, other) == weight_shape[-1 - axis]:
        text += f'; these shapes fit layout="{other}"'
    return ValueError(text)


def wrong_grad_y(shape, expected):
    return ValueError(f"grad_y has shape {shape}, but the output of this operation has shape {expected}")


def empty_grad_y(shape):
    return empty_sample("grad_y", shape)


# ---------------------------------------------------------------- pooling


def bad_pooling(text, x_name, x_shape, layout, kernel_size, stride, padding, dilation):
    return ValueError(
        f"{text}: {x_name} {x_shape} ({layout}), kernel_size={_short(kernel_size)}, stride={_short(stride)}, "
        f"padding={_short(padding)}, dilation={_short(dilation)}"
    )


def bad_adaptive_pooling(text, x_name, x_shape, layout, output_size):
    return ValueError(f"{text}: {x_name} {x_shape} ({layout}), output_size={_short(output_size)}")


def wrong_indices_dtype(dtype):
    return TypeError(f"indices has dtype {dtype}, but max_pool returns int64")


def wrong_indices_shape(shape, expected):
    return ValueError(f"indices has shape {shape}, but grad_y has shape {expected}")


def unrelated_shapes(x_shape, grad_y_shape, layout):
    return ValueError(
        f"x_shape {tuple(x_shape)} and grad_y {grad_y_shape} ({layout}) do not belong together: images and channels "
        f"must be equal, every size but the batch at least 1"
    )


def bad_index(*size):
    kind = "image" if len(size) == 2 else "volume"
    text = " x ".join(map(str, size))
    return ValueError(f"indices holds a value outside 0 .. {math.prod(size) - 1}, the pixels of a {text} {kind}")


# ---------------------------------------------------------------- normalisation


def no_channels(name, shape):
    return ValueError(f"{name} has shape {shape}, but needs at least 2 axes: images and channels")


def empty_sample(name, shape):
    return ValueError(f"{name} has shape {shape}; every size but the batch must be at least 1")


def not_a_channel_vector(name, shape, channels):
    return ValueError(f"{name} has shape {shape}, but there are {channels} channels: it must have shape ({channels},)")


def not_a_number(name, value):
    return TypeError(f"{name} must be a number, not {type(value).__name__}: {_short(value)}")


def number_out_of_range(name, value, least, most=None):
    limits = f"at least {least:g}" if most is None else f"from {least:g} to {most:g}"
    return ValueError(f"{name} must be {limits} and finite, got {_short(value)}")


def not_in_place(name):
    return ValueError(f"{name} is updated in place: its numbers must be aligned and in this machine's byte order")


def no_running_statistics():
    return ValueError("running_mean and running_var are needed unless training=True")


def one_value_per_channel(shape):
    return ValueError(f"x {shape} has one value per channel: its variance tells nothing; training needs more")


def uneven_groups(groups, channels):
    return ValueError(f"groups={groups} must be at least 1 and divide the {channels} channels evenly")


def wrong_sample_parameter(name, shape, expected):
    return ValueError(f'{name} has shape {shape}, but with axes="sample" it must have that of one image, {expected}')
