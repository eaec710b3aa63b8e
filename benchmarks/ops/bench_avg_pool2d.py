# SPDX-License-Identifier: BSD-3-Clause
"""avg_pool2d and its gradient, with the padding counted as PyTorch does."""

from functools import partial

import numpy as np
import truth

import fastconv as fc


def flops(pool, batch):
    """One addition for each value in each window."""
    return int(np.prod(pool.y_shape(batch))) * pool.size**2


def nbytes(pool, batch, itemsize):
    """Image and result, each touched once."""
    shapes = (pool.x_shape(batch), pool.y_shape(batch))
    return itemsize * sum(int(np.prod(shape)) for shape in shapes)


def compare_and_time(contest, op, pool, batch, **case):
    contest.run(
        op,
        pool,
        batch,
        flops=flops(pool, batch),
        nbytes=nbytes(pool, batch, contest.source.dtype.itemsize),
        limit="copy",
        result=contest.layout.to_nhwc,
        **case,
    )


def bench_avg_pool2d(contest, pool, batch):
    x = contest.source.normal(pool.x_shape(batch))
    layout = contest.layout
    out = contest.empty_image(pool.y_shape(batch))
    compare_and_time(
        contest,
        "avg_pool2d",
        pool,
        batch,
        call=partial(fc.avg_pool2d, layout.image(x), out=out, layout=layout.name, **pool.geometry),
        truth=lambda: truth.avg_pool2d(pool, x),
        data=(pool, x),
    )


def bench_avg_pool2d_backward(contest, pool, batch):
    grad_y = contest.source.normal(pool.y_shape(batch))
    layout = contest.layout
    out = contest.empty_image(pool.x_shape(batch))
    call = partial(fc.avg_pool2d_backward, layout.image(grad_y), out.shape, out=out)
    compare_and_time(
        contest,
        "avg_pool2d_backward",
        pool,
        batch,
        call=partial(call, layout=layout.name, **pool.geometry),
        truth=lambda: truth.avg_pool2d_backward(pool, grad_y),
        data=(pool, grad_y),
    )
