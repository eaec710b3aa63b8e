# SPDX-License-Identifier: BSD-3-Clause
"""The one-line problem string that errors, tests and benchmarks share: ``n2 c3 h8 w8 k4 r3x3 s1x1 p0 d1x1 g1 nhwc``."""


def _numbers(value):
    """One for each axis, or one for all."""
    return "x".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _padding(value):
    if isinstance(value, (tuple, list)) and all(isinstance(side, (tuple, list)) for side in value):
        return "x".join(":".join(map(str, sides)) for sides in value)
    return _numbers(value)


def problem_string(x_shape, weight_shape, stride=1, padding=0, dilation=1, groups=1, layout="NHWC"):
    """One line for one convolution. x_shape has as many entries as weight_shape, or none for the batch; in `layout`."""
    pixels = len(weight_shape) - 2  # axes of them
    n = x_shape[0] if len(x_shape) == len(weight_shape) else 1
    image = x_shape[-1 - pixels :]
    if layout.startswith("NC"):
        c, *size = image
        k, _, *kernel = weight_shape
    else:
        *size, c = image
        *kernel, _, k = weight_shape
    sizes = " ".join(f"{axis}{length}" for axis, length in zip("dhw"[-pixels:], size, strict=True))
    return (
        f"n{n} c{c} {sizes} k{k} r{_numbers(kernel)} s{_numbers(stride)} p{_padding(padding)} d{_numbers(dilation)} "
        f"g{groups} {layout.lower()}"
    )
