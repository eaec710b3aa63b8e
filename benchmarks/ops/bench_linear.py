# SPDX-License-Identifier: BSD-3-Clause
"""linear and its gradients, which all have the same arithmetic."""

from functools import partial

import numpy as np
import truth

import fastconv as fc


def flops(linear, batch):
    """Two operations for each weight and row."""
    return 2 * batch * linear.c * linear.k


def nbytes(linear, batch, itemsize):
    """Input, weights and result, each touched once."""
    return itemsize * (batch * linear.c + linear.c * linear.k + batch * linear.k)


def compare_and_time(contest, op, linear, batch, **case):
    contest.run(
        op,
        linear,
        batch,
        flops=flops(linear, batch),
        nbytes=nbytes(linear, batch, contest.source.dtype.itemsize),
        limit="copy" if batch < 16 else "fma",  # a weight is used once for each row of the batch
        result=lambda array: array,
        **case,
    )


def bench_linear(contest, linear, batch):
    x = contest.source.normal((batch, linear.c))
    weight = contest.source.weights((linear.c, linear.k))
    out = np.empty((batch, linear.k), x.dtype)
    compare_and_time(
        contest,
        "linear",
        linear,
        batch,
        call=partial(fc.linear, x, weight, out=out),
        truth=lambda: truth.linear(x, weight),
        data=(linear, x, weight),
    )


def bench_linear_backward_input(contest, linear, batch):
    grad_y = contest.source.normal((batch, linear.k))
    weight = contest.source.weights((linear.c, linear.k))
    out = np.empty((batch, linear.c), grad_y.dtype)
    compare_and_time(
        contest,
        "linear_backward_input",
        linear,
        batch,
        call=partial(fc.ops.linear_backward_input, grad_y, weight, out=out),
        truth=lambda: truth.linear_backward_input(grad_y, weight),
        data=(linear, grad_y, weight),
    )


def bench_linear_backward_weight(contest, linear, batch):
    grad_y = contest.source.normal((batch, linear.k))
    x = contest.source.normal((batch, linear.c))
    out = np.empty((linear.c, linear.k), x.dtype)
    compare_and_time(
        contest,
        "linear_backward_weight",
        linear,
        batch,
        call=partial(fc.ops.linear_backward_weight, grad_y, x, out=out),
        truth=lambda: truth.linear_backward_weight(grad_y, x),
        data=(linear, grad_y, x),
    )
