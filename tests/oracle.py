# SPDX-License-Identifier: BSD-3-Clause
"""The truth: every operation written out from its formula in NumPy, slow and obvious.

Nothing is shared with fastconv, so that a mistake cannot be made on both sides at once. Arguments
have the names and meanings of fastconv's functions; images are always four-dimensional. Sums run
in ``accumulate``: float64, unless a test of float64 results asks for ``np.longdouble``.

A convolution is one sum, read three ways. Say that the output pixel (p, q) *meets* the image pixel
(h, w) at the filter tap (r, s) when

    h = p * stride - top + r * dilation    and    w = q * stride - left + s * dilation

and (h, w) lies inside the image (outside it the image is zero and adds nothing). Over all meetings,

    y[p, q]      += x[h, w] @ weight[r, s]
    grad_x[h, w] += grad_y[p, q] @ weight[r, s].T
    grad_w[r, s] += outer(x[h, w], grad_y[p, q])

The last two lines are the first one differentiated: in the scalar sum(y * grad_y) every product
x * weight * grad_y appears once, and each gradient collects what stands beside its own factor.
"""

from itertools import product

import numpy as np

# ---- geometry ---------------------------------------------------------------


def both_axes(value):
    """(vertical, horizontal) from one number for both axes or from one entry per axis."""
    return (value, value) if np.ndim(value) == 0 else tuple(value)


def border(padding, size, kernel, stride, dilation):
    """((top, bottom), (left, right)) that ``padding`` adds around an image of ``size`` (H, W)."""
    if isinstance(padding, str):
        axes = zip(size, both_axes(kernel), both_axes(stride), both_axes(dilation), strict=True)
        return tuple(named_border(padding, *axis) for axis in axes)
    return tuple(both_axes(before_and_after) for before_and_after in both_axes(padding))


def named_border(name, size, kernel, stride, dilation):
    """(before, after) on one axis; "same" gives ceil(size / stride) outputs, the odd pixel last."""
    if name == "valid":
        return 0, 0
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    smaller, larger = total // 2, total - total // 2
    return {"same": (smaller, larger), "same_lower": (larger, smaller)}[name]


def output_length(size, kernel, stride, dilation, before_and_after, ceil_mode=False):
    """Outputs on one axis; under ``ceil_mode`` the last window starts in the image or before it."""
    before, after = before_and_after
    room = size + before + after - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    outputs = -(-room // stride) + 1
    return outputs - 1 if (outputs - 1) * stride >= size + before else outputs


def output_size(size, kernel, stride=1, padding=0, dilation=1, ceil_mode=False):
    """(P, Q) for an image of ``size`` = (H, W) and a ``kernel`` of (R, S)."""
    borders = border(padding, size, kernel, stride, dilation)
    axes = zip(size, both_axes(kernel), both_axes(stride), both_axes(dilation), borders, strict=True)
    return tuple(output_length(*axis, ceil_mode) for axis in axes)


def to_nhwc(images, layout):
    return images if layout == "NHWC" else images.transpose(0, 2, 3, 1)


def from_nhwc(images, layout):
    return images if layout == "NHWC" else images.transpose(0, 3, 1, 2)


def to_rsck(weight, layout):
    return weight if layout == "NHWC" else weight.transpose(2, 3, 1, 0)


def from_rsck(weight, layout):
    return weight if layout == "NHWC" else weight.transpose(3, 2, 0, 1)


# ---- convolution ------------------------------------------------------------


def axis_meetings(size, outputs, kernel, stride, dilation, before):
    """For each tap on one axis: the outputs that see the image through it, and the pixels seen, as slices."""
    for tap in range(kernel):
        seen = [output * stride - before + tap * dilation for output in range(outputs)]
        inside = [output for output in range(outputs) if 0 <= seen[output] < size]
        if not inside:  # one slice of nothing is as good as another
            yield tap, slice(0), slice(0)
            continue
        yield tap, slice(inside[0], inside[-1] + 1), slice(seen[inside[0]], seen[inside[-1]] + 1, stride)


def meetings(x_shape, weight_shape, stride, padding, dilation, groups):
    """All meetings, one tap and one group at a time, as indices into x, weight (RSCK) and y."""
    (images, height, width, channels), (taps_down, taps_across, _, filters) = x_shape, weight_shape
    (top, bottom), (left, right) = border(padding, (height, width), (taps_down, taps_across), stride, dilation)
    (down, across), (spread_down, spread_across) = both_axes(stride), both_axes(dilation)
    p = output_length(height, taps_down, down, spread_down, (top, bottom))
    q = output_length(width, taps_across, across, spread_across, (left, right))
    rows = axis_meetings(height, p, taps_down, down, spread_down, top)
    columns = axis_meetings(width, q, taps_across, across, spread_across, left)
    for (r, p_at, h_at), (s, q_at, w_at) in product(list(rows), list(columns)):
        for group in range(groups):
            c_at = slice(group * channels // groups, (group + 1) * channels // groups)
            k_at = slice(group * filters // groups, (group + 1) * filters // groups)
            yield (slice(images), h_at, w_at, c_at), (r, s, slice(None), k_at), (slice(images), p_at, q_at, k_at)


def conv2d(
    x,
    weight,
    bias=None,
    *,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    layout="NHWC",
    activation=None,
    accumulate=np.float64,
):
    """Cross-correlation: y[p, q] is the sum over its meetings of x[h, w] @ weight[r, s]."""
    x = to_nhwc(x, layout).astype(accumulate)
    weight = to_rsck(weight, layout).astype(accumulate)
    size = output_size(x.shape[1:3], weight.shape[:2], stride, padding, dilation)
    y = np.zeros((len(x), *size, weight.shape[3]), accumulate)
    for in_x, in_weight, in_y in meetings(x.shape, weight.shape, stride, padding, dilation, groups):
        y[in_y] += x[in_x] @ weight[in_weight]
    if bias is not None:
        y += bias
    return from_nhwc(ACTIVATIONS[activation](y), layout)


def conv2d_backward_input(
    grad_y,
    weight,
    x_shape,
    *,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    layout="NHWC",
    accumulate=np.float64,
):
    """Gradient of sum(conv2d(x, weight) * grad_y) by x."""
    grad_y = to_nhwc(grad_y, layout).astype(accumulate)
    weight = to_rsck(weight, layout).astype(accumulate)
    grad_x = to_nhwc(np.zeros(x_shape, accumulate), layout)
    for in_x, in_weight, in_y in meetings(grad_x.shape, weight.shape, stride, padding, dilation, groups):
        grad_x[in_x] += grad_y[in_y] @ weight[in_weight].T
    return from_nhwc(grad_x, layout)


def conv2d_backward_weight(
    grad_y,
    x,
    weight_shape,
    *,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    layout="NHWC",
    accumulate=np.float64,
):
    """Gradient of sum(conv2d(x, weight) * grad_y) by weight."""
    grad_y = to_nhwc(grad_y, layout).astype(accumulate)
    x = to_nhwc(x, layout).astype(accumulate)
    grad_weight = to_rsck(np.zeros(weight_shape, accumulate), layout)
    for in_x, in_weight, in_y in meetings(x.shape, grad_weight.shape, stride, padding, dilation, groups):
        grad_weight[in_weight] += np.tensordot(x[in_x], grad_y[in_y], axes=((0, 1, 2), (0, 1, 2)))
    return from_rsck(grad_weight, layout)


def conv_transpose2d(
    x,
    weight,
    bias=None,
    *,
    stride=1,
    padding=0,
    output_padding=0,
    dilation=1,
    groups=1,
    layout="NHWC",
    activation=None,
    accumulate=np.float64,
):
    """Every pixel of x adds its products to the places that its taps fall on; what the padding covers is cut off."""
    x = to_nhwc(x, layout).astype(accumulate)
    weight = to_rsck(weight, layout).astype(accumulate)  # the last axis is the channels of x
    (down, across), (spread_down, spread_across) = both_axes(stride), both_axes(dilation)
    (images, p, q, channels), (taps_down, taps_across, filters, _) = x.shape, weight.shape
    extra = both_axes(output_padding)
    height = (p - 1) * down + (taps_down - 1) * spread_down + 1 + extra[0]
    width = (q - 1) * across + (taps_across - 1) * spread_across + 1 + extra[1]
    if padding in ("same", "same_lower"):
        total = (height - p * down, width - q * across)
        smaller, larger = [side // 2 for side in total], [side - side // 2 for side in total]
        first, last = (smaller, larger) if padding == "same" else (larger, smaller)
        padding = tuple(zip(first, last, strict=True))
    (top, bottom), (left, right) = border(padding, None, None, None, None) if padding != "valid" else ((0, 0), (0, 0))
    y = np.zeros((images, height, width, filters * groups), accumulate)
    for group, r, s in product(range(groups), range(taps_down), range(taps_across)):
        seen = slice(group * channels // groups, (group + 1) * channels // groups)
        made = slice(group * filters, (group + 1) * filters)
        rows = slice(r * spread_down, r * spread_down + (p - 1) * down + 1, down)
        columns = slice(s * spread_across, s * spread_across + (q - 1) * across + 1, across)
        y[:, rows, columns, made] += x[..., seen] @ weight[r, s][:, seen].T
    y = y[:, top : height - bottom, left : width - right]
    return from_nhwc(ACTIVATIONS[activation](y if bias is None else y + bias), layout)


def conv2d_backward_bias(grad_y, *, layout="NHWC", accumulate=np.float64):
    """Gradient of sum((conv2d(x, weight) + bias) * grad_y) by bias: one sum per filter."""
    return to_nhwc(grad_y, layout).sum(axis=(0, 1, 2), dtype=accumulate)


# ---- linear -----------------------------------------------------------------


def linear(x, weight, bias=None, *, activation=None, accumulate=np.float64):
    """y[..., k] = sum over c of x[..., c] * weight[c, k], plus bias[k]."""
    y = x.astype(accumulate) @ weight.astype(accumulate)
    return ACTIVATIONS[activation](y if bias is None else y + bias)


def linear_backward(grad_y, x, weight, *, accumulate=np.float64):
    """Gradients of sum(linear(x, weight, bias) * grad_y) by x, weight and bias."""
    rows_x = x.reshape(-1, x.shape[-1]).astype(accumulate)
    rows_y = grad_y.reshape(-1, grad_y.shape[-1]).astype(accumulate)
    grad_x = (rows_y @ weight.T.astype(accumulate)).reshape(x.shape)
    return grad_x, rows_x.T @ rows_y, rows_y.sum(axis=0)


# ---- activations ------------------------------------------------------------


def sigmoid(y):
    """1 / (1 + exp(-y)), written so that exp never overflows."""
    small = np.exp(-abs(y))
    return np.where(y >= 0, 1, small) / (1 + small)


def normal_below(x):
    """The share of the normal distribution below x: a series near 0 (Marsaglia, 2004), a continued fraction beyond."""
    x = np.asarray(x, np.longdouble)
    a = abs(x)
    density = np.exp(-a * a / 2) / np.sqrt(2 * np.longdouble("3.14159265358979323846264338327950288"))
    term = series = np.minimum(a, 2)
    for n in range(1, 60):
        term = term * np.minimum(a, 2) ** 2 / (2 * n + 1)
        series = series + term
    fraction = a
    for n in range(200, 0, -1):
        fraction = a + n / np.maximum(fraction, 1e-3)
    far = np.where(a < 1.5, 0.5 - density * series, density / np.maximum(fraction, 1e-3))
    return np.where(x > 0, 1 - far, far)


def normal_density(x):
    return np.exp(-x * x / 2) / np.sqrt(2 * np.longdouble("3.14159265358979323846264338327950288"))


def gelu_argument(x):
    """z in x * sigmoid(z), which is x * (1 + tanh(z / 2)) / 2, and its slope."""
    rise = 2 * np.sqrt(2 / np.longdouble("3.14159265358979323846264338327950288"))
    bend = np.longdouble("0.044715")
    return rise * (x + bend * x**3), rise * (1 + 3 * bend * x * x)


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    return x * normal_below(x)


def gelu_tanh(x):
    return x * sigmoid(gelu_argument(x)[0])


# The two terms of the slope at x, of functions x * s(x): s and x times the slope of s.
SLOPE_TERMS = {
    "silu": lambda x: (sigmoid(x), x * sigmoid(x) * sigmoid(-x)),
    "gelu": lambda x: (normal_below(x), x * normal_density(x)),
    "gelu_tanh": lambda x: (
        sigmoid(gelu_argument(x)[0]),
        x * sigmoid(gelu_argument(x)[0]) * sigmoid(-gelu_argument(x)[0]) * gelu_argument(x)[1],
    ),
}


def softmax(x, axis=-1, accumulate=np.longdouble):
    x = x.astype(accumulate)
    terms = np.exp(x - x.max(axis=axis, keepdims=True))
    return terms / terms.sum(axis=axis, keepdims=True)


def softmax_backward(grad_y, x, axis=-1):
    """The Jacobian of softmax at x, y_i * (delta_ij - y_j), times grad_y."""
    y = softmax(x, axis)
    return y * (grad_y - (grad_y * y).sum(axis=axis, keepdims=True))


def log_softmax(x, axis=-1, accumulate=np.longdouble):
    x = x.astype(accumulate)
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def log_softmax_backward(grad_y, x, axis=-1):
    return grad_y - softmax(x, axis) * grad_y.sum(axis=axis, keepdims=True)


ACTIVATIONS = {
    None: lambda y: y,
    "relu": lambda y: np.where(y < 0, 0, y),
    "leaky_relu": lambda y: np.where(y < 0, 0.01 * y, y),
    "tanh": np.tanh,
    "sigmoid": sigmoid,
}


# ---- pooling ----------------------------------------------------------------


def windows(size, kernel, stride, padding, dilation=1, ceil_mode=False):
    """For each output (p, q): the rows and columns of the image in its window, and how many
    positions of the window lie in the image or its border (only ``ceil_mode`` reaches beyond)."""
    stride = kernel if stride is None else stride
    (taps_down, taps_across), (down, across) = both_axes(kernel), both_axes(stride)
    spread_down, spread_across = both_axes(dilation)
    (top, bottom), (left, right) = border(padding, size, kernel, stride, dilation)
    p_count, q_count = output_size(size, kernel, stride, padding, dilation, ceil_mode)
    for p, q in product(range(p_count), range(q_count)):
        rows = [p * down - top + r * spread_down for r in range(taps_down)]
        columns = [q * across - left + s * spread_across for s in range(taps_across)]
        bordered = sum(h < size[0] + bottom for h in rows) * sum(w < size[1] + right for w in columns)
        rows = [h for h in rows if 0 <= h < size[0]]
        columns = [w for w in columns if 0 <= w < size[1]]
        yield p, q, rows, columns, bordered


def pooled_shape(x, kernel_size, stride, padding, dilation, ceil_mode):
    """Shape of the result for images ``x`` in NHWC."""
    stride = kernel_size if stride is None else stride
    return (
        len(x),
        *output_size(x.shape[1:3], kernel_size, stride, padding, dilation, ceil_mode),
        x.shape[3],
    )


def max_pool2d(x, kernel_size, stride=None, *, padding=0, dilation=1, ceil_mode=False, layout="NHWC"):
    """(maxima, indices h * W + w). A NaN counts as the greatest number and of equals the first in
    row-major order wins, which is what ``np.argmax`` does."""
    x = to_nhwc(x, layout)
    size = x.shape[1:3]
    y = np.zeros(pooled_shape(x, kernel_size, stride, padding, dilation, ceil_mode), x.dtype)
    indices = np.zeros(y.shape, np.int64)
    for p, q, rows, columns, _ in windows(size, kernel_size, stride, padding, dilation, ceil_mode):
        seen = x[:, rows][:, :, columns].reshape(len(x), len(rows) * len(columns), x.shape[3])
        positions = np.array([h * size[1] + w for h, w in product(rows, columns)])
        best = seen.argmax(axis=1)
        y[:, p, q] = np.take_along_axis(seen, best[:, None], axis=1)[:, 0]
        indices[:, p, q] = positions[best]
    return from_nhwc(y, layout), from_nhwc(indices, layout)


def max_pool2d_backward(grad_y, indices, x_shape, *, layout="NHWC"):
    """Each gradient goes to the pixel that won; a pixel that won several windows gets their sum."""
    grad_y, indices = to_nhwc(grad_y, layout), to_nhwc(indices, layout)
    grad_x = to_nhwc(np.zeros(x_shape), layout)
    for n, p, q, c in np.ndindex(grad_y.shape):
        h, w = divmod(int(indices[n, p, q, c]), grad_x.shape[2])
        grad_x[n, h, w, c] += grad_y[n, p, q, c]
    return from_nhwc(grad_x, layout)


def average_divisor(seen, bordered, padding, count_include_pad, divisor_override):
    """What the sum of a window is divided by; ``seen`` of its positions lie in the image."""
    if divisor_override is not None:
        return divisor_override
    if count_include_pad is None:
        count_include_pad = padding not in ("same", "same_lower")
    return bordered if count_include_pad else seen


def avg_pool2d(
    x,
    kernel_size,
    stride=None,
    *,
    padding=0,
    ceil_mode=False,
    count_include_pad=None,
    divisor_override=None,
    layout="NHWC",
    accumulate=np.float64,
):
    """Sum of each window over its divisor; pixels outside the image are zero."""
    x = to_nhwc(x, layout).astype(accumulate)
    y = np.zeros(pooled_shape(x, kernel_size, stride, padding, 1, ceil_mode), accumulate)
    for p, q, rows, columns, bordered in windows(x.shape[1:3], kernel_size, stride, padding, 1, ceil_mode):
        seen = len(rows) * len(columns)
        divisor = average_divisor(seen, bordered, padding, count_include_pad, divisor_override)
        y[:, p, q] = x[:, rows][:, :, columns].sum(axis=(1, 2)) / accumulate(divisor)
    return from_nhwc(y, layout)


def avg_pool2d_backward(
    grad_y,
    x_shape,
    kernel_size,
    stride=None,
    *,
    padding=0,
    ceil_mode=False,
    count_include_pad=None,
    divisor_override=None,
    layout="NHWC",
    accumulate=np.float64,
):
    """Every pixel of a window gets the window's gradient over its divisor."""
    grad_y = to_nhwc(grad_y, layout).astype(accumulate)
    grad_x = to_nhwc(np.zeros(x_shape, accumulate), layout)
    for p, q, rows, columns, bordered in windows(grad_x.shape[1:3], kernel_size, stride, padding, 1, ceil_mode):
        seen = len(rows) * len(columns)
        divisor = average_divisor(seen, bordered, padding, count_include_pad, divisor_override)
        share = grad_y[:, p, q] / accumulate(divisor)
        grad_x[np.ix_(range(len(grad_x)), rows, columns)] += share[:, None, None]
    return from_nhwc(grad_x, layout)


# ---- normalisation -----------------------------------------------------------


def channels_last(array, layout):
    """(N, ..., C) from (N, C, ...), any number of axes between."""
    return np.moveaxis(array, 1, -1) if layout == "NCHW" else array


def channels_back(array, layout):
    return np.moveaxis(array, -1, 1) if layout == "NCHW" else array


def normalized(x, mean, variance, weight, bias, epsilon):
    return (x - mean) / np.sqrt(variance + epsilon) * weight + bias


def batch_statistics(x, layout="NHWC", accumulate=np.float64):
    """Mean and biased variance of each channel, from the definition."""
    x = channels_last(x, layout).astype(accumulate)
    x = x.reshape(-1, x.shape[-1])
    mean = x.sum(axis=0) / len(x)
    return mean, ((x - mean) ** 2).sum(axis=0) / len(x)


def batch_norm(x, weight, bias, mean, variance, epsilon=1e-5, layout="NHWC", accumulate=np.float64):
    x = channels_last(x, layout).astype(accumulate)
    return channels_back(normalized(x, mean, variance, weight, bias, epsilon), layout)


def batch_norm_backward(grad_y, x, weight, mean, variance, epsilon=1e-5, *, training=True, layout="NHWC"):
    """The chain rule: y depends on x directly, and in training through mean and variance of the channel."""
    grad_y, x = (channels_last(a, layout).astype(np.float64) for a in (grad_y, x))
    axes, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    deviation, std = x - mean, np.sqrt(variance + epsilon)
    grad_weight, grad_bias = (grad_y * deviation / std).sum(axis=axes), grad_y.sum(axis=axes)
    grad_normal = grad_y * weight
    grad_x = grad_normal / std
    if training:
        grad_variance = (grad_normal * deviation).sum(axis=axes) * -0.5 / std**3
        grad_mean = -grad_normal.sum(axis=axes) / std
        grad_x = grad_x + grad_variance * 2 * deviation / count + grad_mean / count
    return channels_back(grad_x, layout), grad_weight, grad_bias


def sample_statistics(x, axes):
    """Mean and biased variance over ``axes``, which stay as ones."""
    mean = x.mean(axis=axes, keepdims=True)
    return mean, ((x - mean) ** 2).mean(axis=axes, keepdims=True)


def grouped(x, groups):
    """(N, pixels, groups, channels of a group) from (N, ..., C)."""
    return x.reshape(len(x), -1, groups, x.shape[-1] // groups)


def group_norm(x, groups, weight, bias, epsilon=1e-5, layout="NHWC"):
    x = channels_last(x, layout).astype(np.float64)
    apart = grouped(x, groups)
    mean, variance = sample_statistics(apart, (1, 3))
    normal = ((apart - mean) / np.sqrt(variance + epsilon)).reshape(x.shape)
    return channels_back(normal * weight + bias, layout)


def group_norm_backward(grad_y, x, groups, weight, epsilon=1e-5, layout="NHWC"):
    grad_y, x = (channels_last(a, layout).astype(np.float64) for a in (grad_y, x))
    normal = group_norm(x, groups, 1.0, 0.0, epsilon)
    grad_x = through_statistics(grouped(grad_y * weight, groups), grouped(x, groups), (1, 3), epsilon)
    axes = tuple(range(x.ndim - 1))
    return channels_back(grad_x.reshape(x.shape), layout), (grad_y * normal).sum(axis=axes), grad_y.sum(axis=axes)


def through_statistics(grad_normal, x, axes, epsilon):
    """The chain rule: (x - mean) / std depends on x directly, and through mean and variance over ``axes``."""
    mean, variance = sample_statistics(x, axes)
    deviation, std, count = x - mean, np.sqrt(variance + epsilon), np.prod([x.shape[axis] for axis in axes])
    grad_variance = (grad_normal * deviation).sum(axis=axes, keepdims=True) * -0.5 / std**3
    grad_mean = -grad_normal.sum(axis=axes, keepdims=True) / std
    return grad_normal / std + grad_variance * 2 * deviation / count + grad_mean / count


def layer_axes(x, axes, layout):
    """The axes that are normalised over, and the shape in which a parameter is multiplied with x."""
    if axes == "sample":
        return tuple(range(1, x.ndim)), x.shape[1:]
    channel = 1 if layout == "NCHW" else x.ndim - 1
    return (channel,), [x.shape[axis] if axis == channel else 1 for axis in range(1, x.ndim)]


def layer_norm(x, weight, bias, axes="channels", epsilon=1e-5, layout="NHWC"):
    over, shape = layer_axes(x, axes, layout)
    mean, variance = sample_statistics(x.astype(np.float64), over)
    return normalized(x, mean, variance, weight.reshape(shape), bias.reshape(shape), epsilon)


def layer_norm_backward(grad_y, x, weight, axes="channels", epsilon=1e-5, layout="NHWC"):
    grad_y, x = grad_y.astype(np.float64), x.astype(np.float64)
    over, shape = layer_axes(x, axes, layout)
    mean, variance = sample_statistics(x, over)
    normal = (x - mean) / np.sqrt(variance + epsilon)
    others = tuple(axis for axis in range(x.ndim) if axis == 0 or axis not in over)
    sums = ((grad_y * normal).sum(axis=others), grad_y.sum(axis=others))
    return through_statistics(grad_y * weight.reshape(shape), x, over, epsilon), *sums


def response_windows(channels, size):
    """For each channel the slice of those that its divisor sums."""
    return [slice(max(0, c - size // 2), c + (size - 1) // 2 + 1) for c in range(channels)]


def response_divisor(x, size, alpha, k):
    windows = response_windows(x.shape[-1], size)
    return np.stack([k + alpha / size * (x[..., near] ** 2).sum(axis=-1) for near in windows], axis=-1)


def local_response_norm(x, size, alpha, beta, k, layout="NHWC"):
    x = channels_last(x, layout).astype(np.float64)
    return channels_back(x / response_divisor(x, size, alpha, k) ** beta, layout)


def local_response_norm_backward(grad_y, x, size, alpha, beta, k, layout="NHWC"):
    """Each y hands its gradient on to the x above the divisor and to every x in it."""
    grad_y, x = (channels_last(a, layout).astype(np.float64) for a in (grad_y, x))
    divisor = response_divisor(x, size, alpha, k)
    grad_x = grad_y / divisor**beta
    grad_divisor = grad_y * x * -beta * divisor ** (-beta - 1)
    for c, near in enumerate(response_windows(x.shape[-1], size)):
        grad_x[..., near] += grad_divisor[..., c : c + 1] * alpha / size * 2 * x[..., near]
    return channels_back(grad_x, layout)
