# SPDX-License-Identifier: BSD-3-Clause
"""The layers that are timed: those of `fastconv.bench.networks`, and whole networks, which only this suite trains."""

from dataclasses import dataclass

from fastconv.bench import networks
from fastconv.bench.networks import CONVS, LINEARS, NETWORKS, POOLS

__all__ = ["CONVS", "LINEARS", "NETWORKS", "POOLS", "STEPS", "TABLES", "Step", "select"]


@dataclass(frozen=True)
class Step:
    """A training step of a whole network on h x w x c images; its kernel size is nothing."""

    network: str
    name: str
    h: int
    w: int
    c: int
    classes: int
    kernel: str = ""

    def __str__(self):
        return f"{self.h}x{self.w}x{self.c} -> {self.classes} classes"


STEPS = [Step("lenet5", "step", 28, 28, 1, 10)]

TABLES = networks.TABLES | {"step": STEPS}


def select(kind, chosen, only=()):
    """Layers of ``TABLES[kind]`` in the chosen networks; see `fastconv.bench.networks.select`."""
    return networks.select(kind, chosen, only, tables=TABLES)
