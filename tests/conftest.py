# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures that run a test once per instruction set, layout and number type."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the truths shall not compete with the kernels

import numpy as np
import pytest

import fastconv as fc


@pytest.fixture(params=[name for name in fc.isas() if name != "avx512_bf16"])
def isa(request):
    """Each instruction set of this machine in turn, forced for the length of the test; but for avx512_bf16, which
    differs from avx512 in "medium" alone: test_split.py.

    An instruction set may lack a kernel and borrow it from a lesser one; a test that asks for this
    fixture fails then, so that nothing passes on the strength of a fallback.
    """
    with fc.using_isa(request.param) as used:
        kernels = used.kernels()
        assert kernels and set(kernels.values()) == {request.param}, kernels
        yield request.param


@pytest.fixture
def vectors():
    """The best instruction set without a matrix unit, forced for the length of the test."""
    with fc.using_isa(next(name for name in fc.isas() if name != "amx")) as used:
        yield used.name


@pytest.fixture(params=["NHWC", "NCHW"])
def layout(request):
    return request.param


@pytest.fixture(params=[np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def dtype(request):
    return request.param
