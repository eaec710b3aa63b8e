# SPDX-License-Identifier: BSD-3-Clause
"""Settings and results of benchmarks, made up."""

from fastconv.bench import machine
from fastconv.bench.contest import Setting
from fastconv.bench.results import Result, Results


def setting(**changes):
    default = {"dtype": "float32", "layout": "NHWC", "precision": "high", "isa": "reference", "seconds": 1e-3}
    return Setting(**(default | {"rivals": ()} | changes))


def result(name="conv", share=0.8, rivals=(("torch", 1.5),), network="net", **changes):
    """A result whose peak is 100 GFLOP/s."""
    seconds = {"fma": 1.0, "fastconv": 1.0 / share}
    seconds |= {rival: ratio / share for rival, ratio in rivals}
    known = {name: {"best": value, "median": 1.1 * value} for name, value in seconds.items()}
    values = {
        "network": network, "layer": name, "op": "conv2d", "layout": "NHWC", "dtype": "float32", "precision": "high",
        "isa": "avx2", "batch": 1, "threads": 1, "problem": "8x8x4->4 3x3", "sizes": {"h": 8}, "flops": 10**11,
        "bytes": 10**9, "limit": "fma", "error": 2e-7, "rounds": 9, "settled": True, "seconds": known,
        "ratio_median": dict(rivals), "rival_error": {}, "absent": {"jax": "is not here"},
    }  # fmt: skip
    return Result(**(values | changes))


def file_of(path, *results):
    Results(machine.describe(), list(results), {1: 1e10}).save(path)
    return str(path)
