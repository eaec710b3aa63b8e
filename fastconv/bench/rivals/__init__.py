# SPDX-License-Identifier: BSD-3-Clause
"""The other libraries, by the names that options and tables use. None of them is imported before it is used."""

from importlib import import_module

from fastconv.bench.rivals.base import Rival, Run
from fastconv.bench.rivals.onnxrt import OnnxRuntime
from fastconv.bench.rivals.pytorch import Torch, TorchBfloat16, TorchBlocked, TorchChannelsLast
from fastconv.bench.rivals.xla import Jax

RIVALS = {
    "torch": Torch,
    "torch-cl": TorchChannelsLast,
    "torch-bl": TorchBlocked,
    "torch-bf": TorchBfloat16,
    "onnxrt": OnnxRuntime,
    "jax": Jax,
}

NOT_ASKED = "was not asked for"

__all__ = ["NOT_ASKED", "RIVALS", "Rival", "Run", "installed", "load", "why_not"]


def installed():
    """Names of the rivals whose modules can be found."""
    return [name for name, rival in RIVALS.items() if not rival.missing()]


def load(names):
    """Import the libraries of these rivals; returns {name: what went wrong} of those that are there but cannot be."""
    broken = {}
    for name in names:
        if RIVALS[name].missing():  # `why_not` says so
            continue
        try:
            import_module(RIVALS[name].requires[0])
        except Exception as error:  # another library's import can fail in any way
            broken[name] = f"cannot be imported: {error}"
    return broken


def why_not(name, layout, dtype, precision, op, thread_counts=()):
    return RIVALS[name].why_not(layout, dtype, precision, op, thread_counts)
