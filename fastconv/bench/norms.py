# SPDX-License-Identifier: BSD-3-Clause
"""Normalisation as it is timed: cases as in operations.py, and what the results must be, in float64.

A gradient is that of all arguments; the one of x is looked at. Memory bounds the speed: each array is counted once,
though the statistics of a batch are known only when all of it has been read.
"""

from functools import partial

import numpy as np

import fastconv as fc
from fastconv.bench import truth
from fastconv.bench.cases import Case

EPSILON = 1e-5
RESPONSE = (5, 5e-4, 0.75, 2.0)  # AlexNet's


def _case(op, form, layer, batch, operations, arrays, **case):
    """``operations``: of a number; ``arrays``: how many of the size of x are read or written."""
    numbers = int(np.prod(layer.x_shape(batch)))
    flops, nbytes = operations * numbers, form.itemsize * arrays * numbers
    return Case(op, layer, batch, flops=flops, nbytes=nbytes, limit="copy", **case)


def _arrays(form, layer, batch, count):
    """Images, and two vectors for the channels."""
    images = [form.source.normal(layer.x_shape(batch)) for _ in range(count)]
    return images, form.source.normal((2, layer.c))


def batch_norm(form, layer, batch, *, training):
    (x,), (weight, bias) = _arrays(form, layer, batch, 1)
    layout, cs = form.layout, truth.few(layer.c, truth.CHANNELS)
    mean, variance = form.source.normal(layer.c), 1 + form.source.normal(layer.c) ** 2
    vectors = weight, bias, mean, variance
    call = partial(fc.batch_norm, layout.image(x), weight, bias, mean.copy(), variance.copy(), training=training)

    def expected():
        few = x[..., cs].astype(np.float64)
        statistics = _statistics(few, (0, 1, 2)) if training else (mean[cs], variance[cs])
        return _normal(few, *statistics) * weight[cs] + bias[cs]

    return _case(
        "batch_norm_training" if training else "batch_norm",
        form,
        layer,
        batch,
        6 if training else 2,
        2,
        call=partial(call, layout=layout.name, out=form.empty_image(layer.x_shape(batch))),
        back=lambda result: layout.to_nhwc(result[0] if training else result),
        pick=lambda y: y[..., cs],
        truth=expected,
        data=(x, *vectors),
    )


def batch_norm_backward(form, layer, batch):
    (x, grad_y), (weight, bias) = _arrays(form, layer, batch, 2)
    layout, cs = form.layout, truth.few(layer.c, truth.CHANNELS)
    _, *statistics = fc.batch_norm(x, weight, bias, training=True)
    call = partial(fc.batch_norm_backward, layout.image(grad_y), layout.image(x), weight, bias, *statistics)
    return _case(
        "batch_norm_backward",
        form,
        layer,
        batch,
        9,
        3,
        call=partial(call, layout=layout.name, out=form.empty_image(layer.x_shape(batch))),
        back=lambda gradients: layout.to_nhwc(gradients.x),
        pick=lambda grad_x: grad_x[..., cs],
        truth=lambda: _gradient(grad_y[..., cs] * weight[cs].astype(np.float64), x[..., cs], (0, 1, 2)),
        data=(grad_y, x, weight, bias),
    )


def _groups(layer):
    return min(layer.groups, layer.c)


def _apart(layer, x):
    """What belongs together on axes 1 and 3, in float64."""
    groups = _groups(layer)
    return x.astype(np.float64).reshape(len(x), -1, groups, layer.c // groups)


# forward and backward of fastconv; the images seen as (N, ...) of which the axes are normalised together
KINDS = {
    "group_norm": (
        lambda layer: (partial(fc.group_norm, groups=_groups(layer)), fc.group_norm_backward),
        _apart,
        (1, 3),
    ),
    "layer_norm": (
        lambda layer: (fc.layer_norm, fc.layer_norm_backward),
        lambda layer, x: x.astype(np.float64),
        (3,),
    ),
}


def sample_norm(form, layer, batch, *, kind):
    (x,), (weight, bias) = _arrays(form, layer, batch, 1)
    functions, apart, axes = KINDS[kind]
    layout, images = form.layout, truth.few(batch, truth.IMAGES)

    def expected():
        few = apart(layer, x[images])
        return _normal(few, *_statistics(few, axes)).reshape(x[images].shape) * weight + bias

    return _case(
        kind,
        form,
        layer,
        batch,
        6,
        2,
        call=partial(
            functions(layer)[0],
            layout.image(x),
            weight=weight,
            bias=bias,
            layout=layout.name,
            out=form.empty_image(layer.x_shape(batch)),
        ),
        back=layout.to_nhwc,
        pick=lambda y: y[images],
        truth=expected,
        data=(x, weight, bias),
    )


def sample_norm_backward(form, layer, batch, *, kind):
    (x, grad_y), (weight, bias) = _arrays(form, layer, batch, 2)
    functions, apart, axes = KINDS[kind]
    layout, images = form.layout, truth.few(batch, truth.IMAGES)
    more = {"groups": _groups(layer)} if kind == "group_norm" else {}

    def expected():
        slanted = apart(layer, grad_y[images] * weight.astype(np.float64))
        return _gradient(slanted, apart(layer, x[images]), axes).reshape(x[images].shape)

    call = partial(functions(layer)[1], layout.image(grad_y), layout.image(x), weight=weight, **more)
    return _case(
        f"{kind}_backward",
        form,
        layer,
        batch,
        14,
        3,
        call=partial(call, layout=layout.name, out=form.empty_image(layer.x_shape(batch))),
        back=lambda gradients: layout.to_nhwc(gradients.x),
        pick=lambda grad_x: grad_x[images],
        truth=expected,
        data=(grad_y, x, weight, bias),
    )


def local_response_norm(form, layer, batch):
    (x,), _ = _arrays(form, layer, batch, 1)
    layout, images = form.layout, truth.few(batch, truth.IMAGES)
    call = partial(fc.local_response_norm, layout.image(x), *RESPONSE, layout=layout.name)
    return _case(
        "local_response_norm",
        form,
        layer,
        batch,
        2 * RESPONSE[0] + 6,
        2,
        call=partial(call, out=form.empty_image(layer.x_shape(batch))),
        back=layout.to_nhwc,
        pick=lambda y: y[images],
        truth=lambda: _response(x[images].astype(np.float64))[0],
        data=(x,),
    )


def local_response_norm_backward(form, layer, batch):
    (x, grad_y), _ = _arrays(form, layer, batch, 2)
    layout, images = form.layout, truth.few(batch, truth.IMAGES)
    call = partial(fc.local_response_norm_backward, layout.image(grad_y), layout.image(x), *RESPONSE)

    def expected():
        few, grad = x[images].astype(np.float64), grad_y[images].astype(np.float64)
        size, alpha, beta, _ = RESPONSE
        y, divisor = _response(few)
        near = _window_sums(grad * y / divisor, (size - 1) // 2, size // 2)
        return grad / divisor**beta - 2 * alpha / size * beta * few * near

    return _case(
        "local_response_norm_backward",
        form,
        layer,
        batch,
        3 * RESPONSE[0] + 12,
        3,
        call=partial(call, layout=layout.name, out=form.empty_image(layer.x_shape(batch))),
        back=layout.to_nhwc,
        pick=lambda grad_x: grad_x[images],
        truth=expected,
        data=(grad_y, x),
    )


# ---------------------------------------------------------------- truths


def _statistics(x, axes):
    mean = x.mean(axis=axes, keepdims=True)
    return mean, ((x - mean) ** 2).mean(axis=axes, keepdims=True)


def _normal(x, mean, variance):
    return (x - mean) / np.sqrt(variance + EPSILON)


def _gradient(grad_normal, x, axes):
    """(g - mean of g - h * mean of g*h) / deviation, with h the normalised x."""
    x = x.astype(np.float64)
    mean, variance = _statistics(x, axes)
    normal = _normal(x, mean, variance)
    share = grad_normal.mean(axis=axes, keepdims=True)
    slope = (grad_normal * normal).mean(axis=axes, keepdims=True)
    return (grad_normal - share - normal * slope) / np.sqrt(variance + EPSILON)


def _window_sums(x, before, after):
    """Of each channel and its neighbours."""
    c = x.shape[-1]
    padded = np.pad(x, ((0, 0), (0, 0), (0, 0), (before, after)))
    return sum(padded[..., offset : offset + c] for offset in range(before + after + 1))


def _response(x):
    size, alpha, beta, k = RESPONSE
    divisor = k + alpha / size * _window_sums(x**2, size // 2, (size - 1) // 2)
    return x / divisor**beta, divisor
