# SPDX-License-Identifier: BSD-3-Clause
"""Where the windows of convolutions and poolings lie."""

import math


def unread_pixels(pixels, outputs, kernel_size, stride, padding, dilation):
    """How many of the pixels (a length for each axis) no window reads, because of a stride or a dilation, or since none
    begins at the far end; and how many there are. ``padding`` as the operations take it."""
    dilation = (dilation,) * len(pixels) if isinstance(dilation, int) else dilation
    read = 1
    for axis, (length, count) in enumerate(zip(pixels, outputs, strict=True)):
        reach = dilation[axis] * (kernel_size[axis] - 1) + 1
        needed = (count - 1) * stride[axis] + reach
        start = -(reach - 1) if padding == "causal" else -padding_before(padding, axis, length, needed)
        taps = range(0, reach, dilation[axis])
        seen = {start + index * stride[axis] + tap for index in range(count) for tap in taps}
        read *= sum(0 <= place < length for place in seen)
    return math.prod(pixels) - read, math.prod(pixels)


def padding_before(padding, axis, length, needed):
    """The padding in front of an axis; ``needed``: the length that the windows cover."""
    if isinstance(padding, str):
        total = 0 if padding == "valid" else max(needed - length, 0)
        return total - total // 2 if padding == "same_lower" else total // 2
    side = padding[axis] if isinstance(padding, (tuple, list)) else padding
    return side[0] if isinstance(side, (tuple, list)) else side
