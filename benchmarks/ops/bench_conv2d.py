# SPDX-License-Identifier: BSD-3-Clause
"""conv2d, also with packed weights, and its two gradients."""


def bench_conv2d(contest, conv, batch):
    contest.run("conv2d", conv, batch)


def bench_conv2d_backward_input(contest, inner_conv, batch):
    contest.run("conv2d_backward_input", inner_conv, batch)


def bench_conv2d_backward_weight(contest, conv, batch):
    contest.run("conv2d_backward_weight", conv, batch)


def bench_conv2d_packed(contest, conv, batch):
    contest.run("conv2d_packed", conv, batch)
