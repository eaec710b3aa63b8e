# SPDX-License-Identifier: BSD-3-Clause
"""max_pool2d, which is exact, and its gradient."""


def bench_max_pool2d(contest, pool, batch):
    contest.run("max_pool2d", pool, batch)


def bench_max_pool2d_backward(contest, pool, batch):
    contest.run("max_pool2d_backward", pool, batch)
