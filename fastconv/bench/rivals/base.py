# SPDX-License-Identifier: BSD-3-Clause
"""What another library is to the suite: a class that prepares one call of an operation.

A method is named after the operation and takes the layer and the data as NumPy arrays (images NHWC, weights HWIO). It
returns a ``Run``: ``call()`` does the operation once, on inputs that are already in the library's own form and layout,
and ``to_numpy`` brings what it returned back to the layout of the data. An operation that a library does not offer is
a method that its class does not have.
"""

from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from typing import NamedTuple


class Run(NamedTuple):
    call: Callable
    to_numpy: Callable


class Rival:
    """A library, told the number of threads and the layout of the run when it is made."""

    requires = ()  # modules; the first of them brings the library's threads with it
    layouts = ()  # of its arrays; on NHWC arrays every rival may run in the layout it likes best
    dtypes = ()
    precisions = ("strict", "high", "medium")  # of fastconv, that it may be compared with
    errors = {"float32": 1e-4, "float64": 1e-10}  # one further off than this does something else than we think
    lacks = "does not offer it"  # the reason where it has no method
    rest_seconds = 0.0  # how long its worker threads keep spinning after a call, with a margin
    one_thread_count = False  # True where the number of threads is settled once for the process
    context = nullcontext  # in which its calls are made

    def __init__(self, threads, layout):
        raise NotImplementedError

    @classmethod
    def missing(cls):
        """The modules that it needs and that are not installed."""
        return [name for name in cls.requires if find_spec(name) is None]

    @classmethod
    def why_not(cls, layout, dtype, precision, op, thread_counts=()):
        """Why this rival has no time for such a case; None where nothing speaks against it."""
        if cls.missing():
            return f"needs {' and '.join(cls.missing())}, not installed here"
        if layout != "NHWC" and layout not in cls.layouts:
            return f"takes no {layout} arrays"
        if dtype not in cls.dtypes:
            return f"takes no {dtype}"
        if precision not in cls.precisions:
            return f'is less exact than "{precision}"'
        if cls.one_thread_count and len(thread_counts) > 1:
            return "has one number of threads per process, and this one measures several"
        if getattr(cls, op, None) is None:
            return cls.lacks
        return None
