# SPDX-License-Identifier: BSD-3-Clause
"""conv2d and its two gradients, which all have the same arithmetic."""

from functools import partial

import numpy as np
import truth

import fastconv as fc


def flops(conv, batch):
    """Two operations for each product of a filter value and a pixel, padding included."""
    return 2 * batch * conv.p * conv.q * conv.k * conv.r * conv.s * (conv.c // conv.groups)


def nbytes(conv, batch, itemsize):
    """Image, weights and result, each touched once."""
    arrays = (conv.x_shape(batch), conv.weight_shape, conv.y_shape(batch))
    return itemsize * sum(int(np.prod(shape)) for shape in arrays)


def compare_and_time(contest, op, conv, batch, **case):
    contest.run(
        op,
        conv,
        batch,
        flops=flops(conv, batch),
        nbytes=nbytes(conv, batch, contest.source.dtype.itemsize),
        limit="copy" if conv.depthwise else "fma",
        **case,
    )


def bench_conv2d(contest, conv, batch):
    x = contest.source.normal(conv.x_shape(batch))
    weight = contest.source.weights(conv.weight_shape)
    layout = contest.layout
    out = contest.empty_image(conv.y_shape(batch))
    call = partial(fc.conv2d, layout.image(x), layout.weight(weight), out=out)
    compare_and_time(
        contest,
        "conv2d",
        conv,
        batch,
        call=partial(call, layout=layout.name, **conv.geometry),
        result=layout.to_nhwc,
        truth=lambda: truth.conv2d(conv, x, weight),
        data=(conv, x, weight),
    )


def bench_conv2d_backward_input(contest, inner_conv, batch):
    conv = inner_conv
    grad_y = contest.source.normal(conv.y_shape(batch))
    weight = contest.source.weights(conv.weight_shape)
    layout = contest.layout
    out = contest.empty_image(conv.x_shape(batch))
    call = partial(fc.conv2d_backward_input, layout.image(grad_y), layout.weight(weight), out.shape, out=out)
    compare_and_time(
        contest,
        "conv2d_backward_input",
        conv,
        batch,
        call=partial(call, layout=layout.name, **conv.geometry),
        result=layout.to_nhwc,
        truth=lambda: truth.conv2d_backward_input(conv, grad_y, weight),
        data=(conv, grad_y, weight),
    )


def bench_conv2d_backward_weight(contest, conv, batch):
    grad_y = contest.source.normal(conv.y_shape(batch))
    x = contest.source.normal(conv.x_shape(batch))
    layout = contest.layout
    out = np.empty(layout.weight_shape(conv.weight_shape), contest.source.dtype)
    call = partial(fc.conv2d_backward_weight, layout.image(grad_y), layout.image(x), out.shape, out=out)
    compare_and_time(
        contest,
        "conv2d_backward_weight",
        conv,
        batch,
        call=partial(call, layout=layout.name, **conv.geometry),
        result=layout.to_hwio,
        truth=lambda: truth.conv2d_backward_weight(conv, grad_y, x),
        data=(conv, grad_y, x),
    )
