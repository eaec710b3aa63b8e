# SPDX-License-Identifier: BSD-3-Clause
"""The one-line problem string that errors, tests and benchmarks share: ``n2 c3 h8 w8 k4 r3x3 s1x1 p0 d1x1 g1 nhwc``."""


def _pair(value):
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return f"{value[0]}x{value[1]}"
    return str(value)


def _padding(value):
    if isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[0], (tuple, list)):
        (top, bottom), (left, right) = value
        return f"{top}:{bottom}x{left}:{right}"
    return _pair(value)


def problem_string(x_shape, weight_shape, stride=1, padding=0, dilation=1, groups=1, layout="NHWC"):
    """One line for one convolution. x_shape has 3 or 4 entries, weight_shape 4, both in `layout`."""
    n = x_shape[0] if len(x_shape) == 4 else 1
    if layout == "NCHW":
        c, h, w = x_shape[-3:]
        k, _, r, s = weight_shape
    else:
        h, w, c = x_shape[-3:]
        r, s, _, k = weight_shape
    return (
        f"n{n} c{c} h{h} w{w} k{k} r{r}x{s} s{_pair(stride)} p{_padding(padding)} d{_pair(dilation)} g{groups} "
        f"{layout.lower()}"
    )
