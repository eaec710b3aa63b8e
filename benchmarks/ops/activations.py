# SPDX-License-Identifier: BSD-3-Clause
"""Activations against NumPy and PyTorch, in turns in one process: the seconds of the best round.

python benchmarks/ops/activations.py --sizes 10000,1000000 --threads 2 --dtype float32
"""

import argparse

import numpy as np

import fastconv as fc
from fastconv.bench.timing import Calls

CLASSES = 100  # of softmax
NAMES = ("relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "softmax", "log_softmax")
FROM_ARGUMENT = ("silu", "gelu")


def ours(name, x, grad_y):
    function, gradient = getattr(fc, name), getattr(fc, f"{name}_backward")
    y, grad_x = function(x), np.empty_like(x)
    at, out = (x if name in FROM_ARGUMENT else y.copy()), np.empty_like(x)
    return (lambda: function(x, out=out)), (lambda: gradient(grad_y, at, out=grad_x))


def copying(x):
    """What a function that only moves numbers takes at least."""
    out = np.empty_like(x)
    return lambda: np.copyto(out, x)


def pytorch(name, x, grad_y, threads):
    """PyTorch's function and gradient on the same memory; None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None, None
    torch.set_num_threads(threads)
    aten = torch.ops.aten
    x, grad_y, out, grad_x = (torch.from_numpy(of) for of in (x, grad_y, np.empty_like(x), np.empty_like(x)))
    options = {"leaky_relu": (0.01,), "softmax": (-1, False), "log_softmax": (-1, False)}.get(name, ())
    function = getattr(aten, {"softmax": "_softmax", "log_softmax": "_log_softmax"}.get(name, name))
    function = function.default if name == "relu" else function.out
    y = function(x) if name == "relu" else function(x, *options, out=out).clone()
    forward = (lambda: function(x)) if name == "relu" else (lambda: function(x, *options, out=out))
    backward = {
        "relu": lambda: aten.threshold_backward.grad_input(grad_y, y, 0, grad_input=grad_x),
        "leaky_relu": lambda: aten.leaky_relu_backward.grad_input(grad_y, x, 0.01, False, grad_input=grad_x),
        "sigmoid": lambda: aten.sigmoid_backward.grad_input(grad_y, y, grad_input=grad_x),
        "tanh": lambda: aten.tanh_backward.grad_input(grad_y, y, grad_input=grad_x),
        "silu": lambda: aten.silu_backward.grad_input(grad_y, x, grad_input=grad_x),
        "gelu": lambda: aten.gelu_backward.grad_input(grad_y, x, grad_input=grad_x),
        "softmax": lambda: aten._softmax_backward_data.out(grad_y, y, -1, x.dtype, grad_input=grad_x),
        "log_softmax": lambda: aten._log_softmax_backward_data.out(grad_y, y, -1, x.dtype, out=grad_x),
    }[name]
    return forward, backward


def best_rounds(calls, rounds):
    runners = [Calls(call) for call in calls]
    for runner in runners:
        runner.calibrate()
    return [
        min(samples) for samples in zip(*([runner.turn() for runner in runners] for _ in range(rounds)), strict=True)
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--sizes", default="10000,1000000", help="numbers of an array")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--names", default=",".join(NAMES))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    fc.set_num_threads(arguments.threads)
    print(f"{arguments.dtype}, {arguments.threads} threads: microseconds of fastconv, PyTorch's and a copy's over them")
    for size in map(int, arguments.sizes.split(",")):
        x, grad_y = np.random.default_rng(0).normal(size=(2, size // CLASSES, CLASSES)).astype(arguments.dtype)
        for name in arguments.names.split(","):
            both = zip(
                ("", "_backward"), ours(name, x, grad_y), pytorch(name, x, grad_y, arguments.threads), strict=True
            )
            for suffix, call, rival in both:
                rivals = [rival or call, copying(x)]
                seconds = best_rounds([call, *rivals], arguments.rounds)
                theirs = "  -  " if rival is None else f"{seconds[1] / seconds[0]:5.2f}"
                label = name + suffix
                print(f"{size:8} {label:21} {1e6 * seconds[0]:9.1f}  x{theirs}  x{seconds[2] / seconds[0]:5.2f}")


if __name__ == "__main__":
    main()
