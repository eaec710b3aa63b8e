# SPDX-License-Identifier: BSD-3-Clause
"""Loads the extension module, and with it the OpenMP runtime, with a short wait for work.

GNU's runtime lets idle threads spin for some 10 milliseconds. On a machine that does anything else, that takes the
processor away from the very thread that is waited for: beside one busy process a training run on two threads took
up to ten times as long as on one. A quarter of a millisecond bridges the gaps between the calls of a training
step just as well. The runtime reads its settings once, when it is loaded; the environment is as before afterwards.
Other libraries that use the same copy of the runtime and are imported later wait as briefly. A choice of the user's
wins, and so does a library that loaded the runtime before.
"""

import importlib
import importlib.util
import os

SPIN_COUNT = "5000"
CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def load():
    if importlib.util.find_spec("fastconv._core") is None:
        raise ImportError(
            f"fastconv was found in {os.path.dirname(__file__)}, where its extension module has not been built: start "
            "Python in another folder to use an installed fastconv, or build in this one with `pip install -e .`"
        )
    if any(name in os.environ for name in CHOICES):
        importlib.import_module("fastconv._core")
        return
    os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
    try:
        importlib.import_module("fastconv._core")
    finally:
        del os.environ["GOMP_SPINCOUNT"]


load()
