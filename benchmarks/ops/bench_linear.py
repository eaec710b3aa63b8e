# SPDX-License-Identifier: BSD-3-Clause
"""linear and its gradients."""


def bench_linear(contest, linear, batch):
    contest.run("linear", linear, batch)


def bench_linear_backward_input(contest, linear, batch):
    contest.run("linear_backward_input", linear, batch)


def bench_linear_backward_weight(contest, linear, batch):
    contest.run("linear_backward_weight", linear, batch)
