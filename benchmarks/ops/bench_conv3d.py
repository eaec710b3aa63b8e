# SPDX-License-Identifier: BSD-3-Clause
"""conv3d and its two gradients."""


def bench_conv3d(contest, volume, batch):
    contest.run("conv3d", volume, batch)


def bench_conv3d_backward_input(contest, inner_volume, batch):
    contest.run("conv3d_backward_input", inner_volume, batch)


def bench_conv3d_backward_weight(contest, volume, batch):
    contest.run("conv3d_backward_weight", volume, batch)
