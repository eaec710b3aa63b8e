# SPDX-License-Identifier: BSD-3-Clause
"""The operations that are timed: for each, one call on one layer, what it must give, and its work.

Operations and bytes are those that the problem needs, whatever an algorithm does: a fused multiply-add is two
operations, padding is multiplied like everything else, each array is touched once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

import fastconv as fc
from fastconv.bench import norms, truth, volumes
from fastconv.bench.cases import Case, conv_case, count

INDEX_BYTES = np.dtype(np.int64).itemsize


# ---------------------------------------------------------------- convolution


def conv2d(form, conv, batch, *, pack=False):
    """``pack``: with weights packed beforehand. The rivals do the same either way; torch-bl and onnxrt always pack."""
    x, weight = form.source.normal(conv.x_shape(batch)), form.source.weights(conv.weight_shape)
    layout, sample = form.layout, truth.conv_sample(conv, batch, channels=None)
    image, filters, how = layout.image(x), layout.weight(weight), conv.geometry | {"layout": layout.name}
    if pack:
        filters = fc.pack_weights(filters, image.shape, **how)
    call = partial(fc.conv2d, image, filters, **how)
    return conv_case(
        "conv2d",
        form,
        conv,
        batch,
        call=partial(call, out=form.empty_image(conv.y_shape(batch))),
        back=layout.to_nhwc,
        pick=sample.y,
        truth=lambda: truth.conv2d(sample.layer, sample.x(x), sample.weight(weight)),
        data=(x, weight),
    )


def conv2d_backward_input(form, conv, batch):
    grad_y, weight = form.source.normal(conv.y_shape(batch)), form.source.weights(conv.weight_shape)
    layout, sample = form.layout, truth.conv_sample(conv, batch, filters=None)
    out = form.empty_image(conv.x_shape(batch))
    call = partial(fc.conv2d_backward_input, layout.image(grad_y), layout.weight(weight), out.shape, out=out)
    return conv_case(
        "conv2d_backward_input",
        form,
        conv,
        batch,
        call=partial(call, layout=layout.name, **conv.geometry),
        back=layout.to_nhwc,
        pick=sample.x,
        truth=lambda: truth.conv2d_backward_input(sample.layer, sample.y(grad_y), sample.weight(weight)),
        data=(grad_y, weight),
    )


def conv2d_backward_weight(form, conv, batch):
    grad_y, x = form.source.normal(conv.y_shape(batch)), form.source.normal(conv.x_shape(batch))
    layout = form.layout
    # 24 x 24 weights a tap: of 64 numbers in all, the relative error differs from that of the whole by half
    sample = truth.conv_sample(conv, batch, images=None, channels=24, filters=24)
    out = form.empty_weight(conv.weight_shape)
    call = partial(fc.conv2d_backward_weight, layout.image(grad_y), layout.image(x), out.shape, out=out)
    return conv_case(
        "conv2d_backward_weight",
        form,
        conv,
        batch,
        call=partial(call, layout=layout.name, **conv.geometry),
        back=layout.to_hwio,
        pick=sample.weight,
        truth=lambda: truth.conv2d_backward_weight(sample.layer, sample.y(grad_y), sample.x(x)),
        data=(grad_y, x),
    )


def conv_transpose2d(form, conv, batch):
    x, weight = form.source.normal(conv.y_shape(batch)), form.source.weights(conv.weight_shape)
    layout, sample = form.layout, truth.conv_sample(conv, batch, filters=None)
    call = partial(fc.conv_transpose2d, layout.image(x), layout.weight(weight), layout=layout.name, **conv.geometry)
    return conv_case(
        "conv_transpose2d",
        form,
        conv,
        batch,
        call=partial(call, output_padding=conv.output_padding, out=form.empty_image(conv.x_shape(batch))),
        back=layout.to_nhwc,
        pick=sample.x,
        truth=lambda: truth.conv2d_backward_input(sample.layer, sample.y(x), sample.weight(weight)),
        data=(x, weight),
    )


def conv1d(form, conv, batch):
    x, weight = form.source.normal(conv.x_shape(batch)), form.source.weights(conv.weight_shape)
    first, ks = form.layout.name == "NCHW", truth.few(conv.k, truth.CHANNELS)
    sequence, filters, out = x, weight, form.empty(conv.y_shape(batch))
    if first:
        sequence, filters = np.ascontiguousarray(x.transpose(0, 2, 1)), np.ascontiguousarray(weight.transpose(2, 1, 0))
        out = form.empty((batch, conv.k, conv.q))
    return conv_case(
        "conv1d",
        form,
        conv,
        batch,
        call=partial(fc.conv1d, sequence, filters, layout="NCW" if first else "NWC", out=out, **conv.geometry),
        back=lambda y: y.transpose(0, 2, 1) if first else y,
        pick=lambda y: y[..., ks],
        truth=lambda: truth.conv1d(conv, x, weight[..., ks]),
        data=(x, weight),
    )


# ---------------------------------------------------------------- pooling


def _pool_case(op, form, pool, batch, indices=0, **case):
    """One comparison or addition for each value in each window; memory bounds the speed.

    ``indices``: how many of them are read.
    """
    y_shape = pool.y_shape(batch)
    return Case(
        op,
        pool,
        batch,
        flops=count(y_shape) * pool.size**2,
        nbytes=form.itemsize * count(pool.x_shape(batch), y_shape) + INDEX_BYTES * indices,
        limit="copy",
        back=form.layout.to_nhwc,
        **case,
    )


def max_pool2d(form, pool, batch):
    x, layout, sample = form.source.normal(pool.x_shape(batch)), form.layout, truth.pool_sample(pool, batch)
    out = form.empty_image(pool.y_shape(batch))
    return _pool_case(
        "max_pool2d",
        form,
        pool,
        batch,
        call=partial(fc.max_pool2d, layout.image(x), out=out, layout=layout.name, **pool.geometry),
        pick=sample.y,
        truth=lambda: truth.max_pool2d(sample.layer, sample.x(x))[0],
        data=(x,),
        exact=True,
    )


def max_pool2d_backward(form, pool, batch):
    x, grad_y = form.source.normal(pool.x_shape(batch)), form.source.normal(pool.y_shape(batch))
    layout, sample = form.layout, truth.pool_sample(pool, batch)
    _, indices = fc.max_pool2d(layout.image(x), return_indices=True, layout=layout.name, **pool.geometry)
    out = form.empty_image(pool.x_shape(batch))
    call = partial(fc.max_pool2d_backward, layout.image(grad_y), indices, out.shape)
    return _pool_case(
        "max_pool2d_backward",
        form,
        pool,
        batch,
        indices=indices.size,
        call=partial(call, layout=layout.name, out=out),
        pick=sample.x,
        truth=lambda: truth.max_pool2d_backward(sample.layer, sample.y(grad_y), sample.x(x)),
        data=(grad_y, x),
    )


def avg_pool2d(form, pool, batch):
    x, layout, sample = form.source.normal(pool.x_shape(batch)), form.layout, truth.pool_sample(pool, batch)
    out = form.empty_image(pool.y_shape(batch))
    return _pool_case(
        "avg_pool2d",
        form,
        pool,
        batch,
        call=partial(fc.avg_pool2d, layout.image(x), out=out, layout=layout.name, **pool.geometry),
        pick=sample.y,
        truth=lambda: truth.avg_pool2d(sample.layer, sample.x(x)),
        data=(x,),
    )


def avg_pool2d_backward(form, pool, batch):
    grad_y, layout, sample = form.source.normal(pool.y_shape(batch)), form.layout, truth.pool_sample(pool, batch)
    out = form.empty_image(pool.x_shape(batch))
    call = partial(fc.avg_pool2d_backward, layout.image(grad_y), out.shape, out=out)
    return _pool_case(
        "avg_pool2d_backward",
        form,
        pool,
        batch,
        call=partial(call, layout=layout.name, **pool.geometry),
        pick=sample.x,
        truth=lambda: truth.avg_pool2d_backward(sample.layer, sample.y(grad_y)),
        data=(grad_y,),
    )


# ---------------------------------------------------------------- dense layers


def _linear_case(op, form, linear, batch, **case):
    """A product for each weight and row. A weight is used once for each row: with few rows, memory is the limit."""
    return Case(
        op,
        linear,
        batch,
        flops=2 * batch * linear.c * linear.k,
        nbytes=form.itemsize * (batch * linear.c + linear.c * linear.k + batch * linear.k),
        limit="copy" if batch < 16 else "fma",
        back=lambda array: array,
        **case,
    )


def linear(form, layer, batch):
    x, weight = form.source.normal((batch, layer.c)), form.source.weights((layer.c, layer.k))
    ks = truth.few(layer.k, truth.CHANNELS)
    return _linear_case(
        "linear",
        form,
        layer,
        batch,
        call=partial(fc.linear, x, weight, out=form.empty((batch, layer.k))),
        pick=lambda y: y[:, ks],
        truth=lambda: truth.product(x, weight[:, ks]),
        data=(x, weight),
    )


def linear_backward_input(form, layer, batch):
    grad_y, weight = form.source.normal((batch, layer.k)), form.source.weights((layer.c, layer.k))
    cs = truth.few(layer.c, truth.CHANNELS)
    return _linear_case(
        "linear_backward_input",
        form,
        layer,
        batch,
        call=partial(fc.ops.linear_backward_input, grad_y, weight, out=form.empty((batch, layer.c))),
        pick=lambda grad_x: grad_x[:, cs],
        truth=lambda: truth.product(grad_y, weight[cs].T),
        data=(grad_y, weight),
    )


def linear_backward_weight(form, layer, batch):
    grad_y, x = form.source.normal((batch, layer.k)), form.source.normal((batch, layer.c))
    cs, ks = truth.few(layer.c, truth.CHANNELS), truth.few(layer.k, truth.CHANNELS)
    return _linear_case(
        "linear_backward_weight",
        form,
        layer,
        batch,
        call=partial(fc.ops.linear_backward_weight, grad_y, x, out=form.empty((layer.c, layer.k))),
        pick=lambda grad_weight: grad_weight[np.ix_(cs, ks)],
        truth=lambda: truth.product(x[:, cs].T, grad_y[:, ks]),
        data=(grad_y, x),
    )


@dataclass(frozen=True)
class Operation:
    """``kind``: which table of layers it takes; ``title``: what it is, in words; ``like``: what rivals do instead."""

    build: Callable
    kind: str
    title: str
    like: str = ""


OPERATIONS = {
    "conv2d": Operation(conv2d, "conv", "convolution, forward"),
    "conv2d_packed": Operation(
        partial(conv2d, pack=True), "conv", "convolution, forward, weights packed beforehand", "conv2d"
    ),
    "conv2d_backward_input": Operation(conv2d_backward_input, "inner_conv", "convolution, gradient of the input"),
    "conv2d_backward_weight": Operation(conv2d_backward_weight, "conv", "convolution, gradient of the weights"),
    "conv3d": Operation(volumes.conv3d, "volume", "convolution of volumes, forward"),
    "conv3d_backward_input": Operation(
        volumes.conv3d_backward_input, "inner_volume", "convolution of volumes, gradient of the input"
    ),
    "conv3d_backward_weight": Operation(
        volumes.conv3d_backward_weight, "volume", "convolution of volumes, gradient of the weights"
    ),
    "conv_transpose2d": Operation(conv_transpose2d, "transposed", "transposed convolution, forward"),
    "conv1d": Operation(conv1d, "sequence", "convolution of sequences, forward"),
    "max_pool2d": Operation(max_pool2d, "pool", "max pooling, forward"),
    "max_pool2d_backward": Operation(max_pool2d_backward, "pool", "max pooling, gradient"),
    "avg_pool2d": Operation(avg_pool2d, "pool", "average pooling, forward"),
    "avg_pool2d_backward": Operation(avg_pool2d_backward, "pool", "average pooling, gradient"),
    "batch_norm": Operation(
        partial(norms.batch_norm, training=False), "norm", "batch normalisation, running statistics"
    ),
    "batch_norm_training": Operation(partial(norms.batch_norm, training=True), "norm", "batch normalisation, training"),
    "batch_norm_backward": Operation(norms.batch_norm_backward, "norm", "batch normalisation, all gradients"),
    "group_norm": Operation(partial(norms.sample_norm, kind="group_norm"), "norm", "group normalisation"),
    "group_norm_backward": Operation(
        partial(norms.sample_norm_backward, kind="group_norm"), "norm", "group normalisation, all gradients"
    ),
    "layer_norm": Operation(partial(norms.sample_norm, kind="layer_norm"), "norm", "layer normalisation over channels"),
    "layer_norm_backward": Operation(
        partial(norms.sample_norm_backward, kind="layer_norm"),
        "norm",
        "layer normalisation over channels, all gradients",
    ),
    "local_response_norm": Operation(norms.local_response_norm, "response", "local response normalisation"),
    "local_response_norm_backward": Operation(
        norms.local_response_norm_backward, "response", "local response normalisation, gradient"
    ),
    "linear": Operation(linear, "linear", "dense layer, forward"),
    "linear_backward_input": Operation(linear_backward_input, "linear", "dense layer, gradient of the input"),
    "linear_backward_weight": Operation(linear_backward_weight, "linear", "dense layer, gradient of the weights"),
}


def title(op):
    """An operation in words; what is not in the table, a training step for example, is its own title."""
    return OPERATIONS[op].title if op in OPERATIONS else op
