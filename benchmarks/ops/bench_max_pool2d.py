# SPDX-License-Identifier: BSD-3-Clause
"""max_pool2d and its gradient. Exact: the error must be zero."""

from functools import partial

import numpy as np
import truth

import fastconv as fc

INDEX_BYTES = np.dtype(np.int64).itemsize


def flops(pool, batch):
    """One comparison for each value in each window."""
    return int(np.prod(pool.y_shape(batch))) * pool.size**2


def nbytes(pool, batch, itemsize, indices=False):
    """Image and result, each touched once, and where they are used the indices."""
    x, y = (int(np.prod(shape)) for shape in (pool.x_shape(batch), pool.y_shape(batch)))
    return itemsize * (x + y) + (INDEX_BYTES * y if indices else 0)


def compare_and_time(contest, op, pool, batch, indices, **case):
    contest.run(
        op,
        pool,
        batch,
        flops=flops(pool, batch),
        nbytes=nbytes(pool, batch, contest.source.dtype.itemsize, indices),
        limit="copy",
        result=contest.layout.to_nhwc,
        **case,
    )


def bench_max_pool2d(contest, pool, batch):
    x = contest.source.normal(pool.x_shape(batch))
    layout = contest.layout
    out = contest.empty_image(pool.y_shape(batch))
    compare_and_time(
        contest,
        "max_pool2d",
        pool,
        batch,
        indices=False,
        call=partial(fc.max_pool2d, layout.image(x), out=out, layout=layout.name, **pool.geometry),
        truth=lambda: truth.max_pool2d(pool, x)[0],
        data=(pool, x),
        error=0.0,
    )


def bench_max_pool2d_backward(contest, pool, batch):
    x = contest.source.normal(pool.x_shape(batch))
    grad_y = contest.source.normal(pool.y_shape(batch))
    layout = contest.layout
    _, indices = fc.max_pool2d(layout.image(x), return_indices=True, layout=layout.name, **pool.geometry)
    out = contest.empty_image(pool.x_shape(batch))
    compare_and_time(
        contest,
        "max_pool2d_backward",
        pool,
        batch,
        indices=True,
        call=partial(
            fc.max_pool2d_backward,
            layout.image(grad_y),
            indices,
            out.shape,
            layout=layout.name,
            out=out,
        ),
        truth=lambda: truth.max_pool2d_backward(pool, grad_y, x),
        data=(pool, grad_y, x),
    )
