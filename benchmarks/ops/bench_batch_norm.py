# SPDX-License-Identifier: BSD-3-Clause
"""batch_norm with running statistics and in training, and its gradients."""


def bench_batch_norm(contest, norm, batch):
    contest.run("batch_norm", norm, batch)


def bench_batch_norm_training(contest, norm, batch):
    contest.run("batch_norm_training", norm, batch)


def bench_batch_norm_backward(contest, norm, batch):
    contest.run("batch_norm_backward", norm, batch)
