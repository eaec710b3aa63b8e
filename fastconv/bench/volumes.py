# SPDX-License-Identifier: BSD-3-Clause
"""Convolution of volumes as it is timed: cases as in operations.py, and what the results must be, in float64."""

from functools import partial

import numpy as np

import fastconv as fc
from fastconv.bench import truth
from fastconv.bench.cases import conv_case


def _taps(layer, xp):
    """Each tap and the view of the padded volumes that it meets, one pixel per output."""
    steps = (layer.o, layer.p, layer.q)
    for tap in np.ndindex(layer.t, layer.r, layer.s):
        places = (slice(at, at + layer.stride * (n - 1) + 1, layer.stride) for at, n in zip(tap, steps, strict=True))
        yield tap, xp[(slice(None), *places)]


def _pad(layer, x):
    pad = (layer.padding, layer.padding)
    return np.pad(x.astype(np.float64), ((0, 0), pad, pad, pad, (0, 0)))


def _crop(layer, x):
    return x[(slice(None), *(slice(layer.padding, layer.padding + size) for size in (layer.d, layer.h, layer.w)))]


def _forward(layer, x, weight):
    return sum(patch @ weight[tap].astype(np.float64) for tap, patch in _taps(layer, _pad(layer, x)))


def _backward_input(layer, grad_y, weight):
    grad_x = _pad(layer, np.zeros((len(grad_y), layer.d, layer.h, layer.w, weight.shape[3])))
    for tap, patch in _taps(layer, grad_x):
        patch += grad_y.astype(np.float64) @ weight[tap].T.astype(np.float64)
    return _crop(layer, grad_x)


def _backward_weight(layer, grad_y, x):
    pixels = (0, 1, 2, 3)
    taps = [np.tensordot(patch, grad_y, (pixels, pixels)) for _, patch in _taps(layer, _pad(layer, x))]
    return np.reshape(taps, (layer.t, layer.r, layer.s, x.shape[-1], grad_y.shape[-1]))


def conv3d(form, layer, batch):
    x, weight = form.source.normal(layer.x_shape(batch)), form.source.weights(layer.weight_shape)
    layout, ks = form.layout, truth.few(layer.k, truth.CHANNELS)
    call = partial(fc.conv3d, layout.image(x), layout.weight(weight), layout=layout.name, **layer.geometry)
    return conv_case(
        "conv3d",
        form,
        layer,
        batch,
        call=partial(call, out=form.empty_image(layer.y_shape(batch))),
        back=layout.to_nhwc,
        pick=lambda y: y[..., ks],
        truth=lambda: _forward(layer, x, weight[..., ks]),
        data=(x, weight),
    )


def conv3d_backward_input(form, layer, batch):
    grad_y, weight = form.source.normal(layer.y_shape(batch)), form.source.weights(layer.weight_shape)
    layout, cs = form.layout, truth.few(layer.c, truth.CHANNELS)
    out = form.empty_image(layer.x_shape(batch))
    call = partial(fc.conv3d_backward_input, layout.image(grad_y), layout.weight(weight), out.shape, out=out)
    return conv_case(
        "conv3d_backward_input",
        form,
        layer,
        batch,
        call=partial(call, layout=layout.name, **layer.geometry),
        back=layout.to_nhwc,
        pick=lambda grad_x: grad_x[..., cs],
        truth=lambda: _backward_input(layer, grad_y, weight[..., cs, :]),
        data=(grad_y, weight),
    )


def conv3d_backward_weight(form, layer, batch):
    grad_y, x = form.source.normal(layer.y_shape(batch)), form.source.normal(layer.x_shape(batch))
    layout, cs, ks = form.layout, truth.few(layer.c, 24), truth.few(layer.k, 24)
    out = form.empty_weight(layer.weight_shape)
    call = partial(fc.conv3d_backward_weight, layout.image(grad_y), layout.image(x), out.shape, out=out)
    return conv_case(
        "conv3d_backward_weight",
        form,
        layer,
        batch,
        call=partial(call, layout=layout.name, **layer.geometry),
        back=layout.to_hwio,
        pick=lambda grad_weight: grad_weight[..., cs, :][..., ks],
        truth=lambda: _backward_weight(layer, grad_y[..., ks].astype(np.float64), x[..., cs]),
        data=(grad_y, x),
    )
