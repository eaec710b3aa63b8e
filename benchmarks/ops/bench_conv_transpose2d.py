# SPDX-License-Identifier: BSD-3-Clause
"""conv_transpose2d."""


def bench_conv_transpose2d(contest, transposed, batch):
    contest.run("conv_transpose2d", transposed, batch)
