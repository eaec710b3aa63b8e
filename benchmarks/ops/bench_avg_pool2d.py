# SPDX-License-Identifier: BSD-3-Clause
"""avg_pool2d, with the padding counted as PyTorch does, and its gradient."""


def bench_avg_pool2d(contest, pool, batch):
    contest.run("avg_pool2d", pool, batch)


def bench_avg_pool2d_backward(contest, pool, batch):
    contest.run("avg_pool2d_backward", pool, batch)
