# SPDX-License-Identifier: BSD-3-Clause
"""Loads the extension module, and with it the OpenMP runtime, with a short wait for work.

GNU's runtime lets idle threads spin for some 10 milliseconds. On a machine that does anything else, that takes the
processor away from the very thread that is waited for: beside one busy process a training run on two threads took
up to ten times as long as on one. A quarter of a millisecond bridges the gaps between the calls of a training
step just as well. The runtime reads its settings once, when it is loaded; the environment is as before afterwards. A
choice of the user's wins.
"""

import os

SPIN_COUNT = "5000"
CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def load():
    if any(name in os.environ for name in CHOICES):
        from fastconv import _core
    else:
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
        try:
            from fastconv import _core
        finally:
            del os.environ["GOMP_SPINCOUNT"]
    return _core


load()
