# SPDX-License-Identifier: BSD-3-Clause
"""conv2d and its gradients where batch, channels or image grow; only with ``--sweep``."""

import pytest

from fastconv.bench import sweep


@pytest.mark.parametrize("case", sweep.cases(), ids=lambda case: case[0].name)
@pytest.mark.parametrize("op", ["conv2d", "conv2d_backward_input", "conv2d_backward_weight"])
def bench_sweep(contest, op, case):
    contest.run(op, *case)
