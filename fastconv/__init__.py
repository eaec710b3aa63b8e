# SPDX-License-Identifier: BSD-3-Clause
"""fastconv: fast, exact convolution and pooling for NumPy arrays, and CNNs on top of them.

    import numpy as np, fastconv as fc
    y = fc.conv2d(x, weight, padding="same", activation="relu")     # x (N, H, W, C), weight (R, S, C, K)

`fastconv.ops` explains the operations, `fastconv.layers` and `fastconv.models` build and train networks.
"""

from fastconv import _load, ops, runtime  # noqa: I001  (_load comes first)
from fastconv._version import __version__
from fastconv.ops import *  # noqa: F403
from fastconv.runtime import *  # noqa: F403

__all__ = ["__version__", "datasets", "layers", "losses", "models", "optimizers", *ops.__all__, *runtime.__all__]

_SUBMODULES = ("datasets", "layers", "losses", "models", "optimizers")


def __getattr__(name):
    """Load the training half of the package when it is first used: importing kernels stays quick."""
    if name in _SUBMODULES:
        import importlib

        return importlib.import_module(f"fastconv.{name}")
    raise AttributeError(f"module 'fastconv' has no attribute {name!r}")
