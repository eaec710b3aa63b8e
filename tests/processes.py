# SPDX-License-Identifier: BSD-3-Clause
"""Programs in a process of their own: for whatever could hang or kill a process, or needs a fresh one."""

import os
import subprocess
import sys
import textwrap

HERE = os.path.dirname(__file__)  # not the checkout: its fastconv/ may lack the compiled half

# What every program starts with: a call large enough to be shared among threads.
PREAMBLE = """
import os, signal, sys, threading, time
import numpy as np
import fastconv as fc

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored

x = np.random.default_rng(0).standard_normal((4, 40, 40, 32)).astype(np.float32)
weight = np.random.default_rng(1).standard_normal((3, 3, 32, 64)).astype(np.float32)

def compute():
    return fc.conv2d(x, weight, padding=1).tobytes()

def threads_of_this_process():
    return len(os.listdir("/proc/self/task"))
"""


def run(*parts, first="", timeout=60, **variables):
    """What a program made of these parts prints; it has to end well. ``first`` comes before all
    imports. Of the environment it sees the ``variables`` and what does not concern threads."""
    program = first + PREAMBLE + "".join(textwrap.dedent(part) for part in parts)
    settled = ("OMP_", "GOMP_", "FASTCONV_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(settled)}
    child = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | variables,
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert child.returncode == 0, f"exit status {child.returncode}\n{child.stdout}{child.stderr}"
    return child.stdout.strip() + child.stderr.strip()
