# SPDX-License-Identifier: BSD-3-Clause
"""conv1d."""


def bench_conv1d(contest, sequence, batch):
    contest.run("conv1d", sequence, batch)
