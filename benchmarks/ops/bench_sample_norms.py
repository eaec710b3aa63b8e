# SPDX-License-Identifier: BSD-3-Clause
"""group_norm, layer_norm, local_response_norm, and their gradients."""


def bench_group_norm(contest, norm, batch):
    contest.run("group_norm", norm, batch)


def bench_group_norm_backward(contest, norm, batch):
    contest.run("group_norm_backward", norm, batch)


def bench_layer_norm(contest, norm, batch):
    contest.run("layer_norm", norm, batch)


def bench_layer_norm_backward(contest, norm, batch):
    contest.run("layer_norm_backward", norm, batch)


def bench_local_response_norm(contest, response, batch):
    contest.run("local_response_norm", response, batch)


def bench_local_response_norm_backward(contest, response, batch):
    contest.run("local_response_norm_backward", response, batch)
