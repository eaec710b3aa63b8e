# SPDX-License-Identifier: BSD-3-Clause
"""Threads, instruction sets, precision: how things run, and a look at it."""

import contextlib
import os
import platform
import warnings
from pathlib import Path

from fastconv import _core, errors
from fastconv._version import __version__

# ---------------------------------------------------------------- threads


def _thread_count(n):
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"the number of threads must be an integer, not {type(n).__name__}: {n!r}")
    n = int(n)
    if not 1 <= n <= 65536:
        raise ValueError(f"the number of threads must be between 1 and 65536, got {n}")
    return n


def set_num_threads(n):
    """Use at most n threads (n >= 1) in every call of this process. Results do not depend on it."""
    _core.set_num_threads(_thread_count(n))


def get_num_threads():
    """How many threads the next large call of this thread may use.

    Without a choice made: the CPUs that this process may use, or the container's quota if that is less. A limit set on
    the OpenMP runtime, by threadpoolctl for example, is respected.
    """
    return _core.get_num_threads()


@contextlib.contextmanager
def threads(n):
    """``with fc.threads(2):`` at most n threads for calls of the calling thread."""
    before = _core.set_thread_num_threads(_thread_count(n))
    try:
        yield
    finally:
        _core.set_thread_num_threads(before)


def _read_thread_variables():
    for name in ("FASTCONV_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").split(",")[0].strip()  # OMP_NUM_THREADS may list nested levels
        if not text:
            continue
        if text.isascii() and text.isdigit() and 1 <= int(text) <= 65536:
            _core.set_num_threads(int(text))
            return
        warnings.warn(f"{name}={os.environ[name]!r} is no positive integer and is ignored", stacklevel=2)


# ---------------------------------------------------------------- instruction sets


class ForcedIsa:
    """What `using_isa` gives: the name of the instruction set, and whose code its kernels run."""

    def __init__(self, name):
        self.name = name

    def kernels(self):
        """{kernel: instruction set whose code is used}; "reference" where a set has none of its own."""
        return _core.kernel_table(self.name)


def isas():
    """Names of the instruction sets that this machine can run, best first; the last is always "reference"."""
    return [name for name, available in _core.isa_names() if available]


def _isa_index(name):
    names = [known for known, _ in _core.isa_names()]
    if not isinstance(name, str):
        raise errors.not_a_string("isa", name)
    if name not in isas():
        raise errors.unknown_name("isa", name, isas())
    return names.index(name)


@contextlib.contextmanager
def using_isa(name):
    """``with fc.using_isa("avx2"):`` run the calling thread's calls with the kernels of one instruction set."""
    index = _isa_index(name)
    before = _core.set_thread_isa(index)
    try:
        yield ForcedIsa(name)
    finally:
        _core.set_thread_isa(before)


def _read_isa_variable():
    name = os.environ.get("FASTCONV_ISA", "").strip()
    if not name:
        return
    if name in isas():
        _core.set_isa(_isa_index(name))
    else:
        warnings.warn(f"FASTCONV_ISA={name!r} is not among {isas()} and is ignored", stacklevel=2)


# ---------------------------------------------------------------- precision


def set_precision(value):
    """Set the default precision of the process: "strict", "high" or "medium".

    A permission, not a demand: lower precisions allow faster algorithms, Winograd's below "strict", and where
    processors multiply bfloat16 numbers faster, sums of two ("high") or single ("medium") ones in the place of float32
    numbers. Below "strict", and on a matrix unit, subnormal float32 numbers count as zero.
    """
    _core.set_precision(_named(value))


def get_precision():
    """The precision that calls of this thread use when they name none; "high" at first."""
    return _core.get_precision()


@contextlib.contextmanager
def precision(value):
    """``with fc.precision("strict"):`` the default precision for calls of the calling thread."""
    before = _core.set_thread_precision(_named(value))
    try:
        yield
    finally:
        _core.set_thread_precision(before)


def _named(value):
    if not isinstance(value, str):
        raise errors.not_a_string("precision", value)
    return value


# ---------------------------------------------------------------- a look at it


def get_include():
    """Folder of ``fastconv.h``, for C and Cython code that calls the kernels.

    Beside it lie the folders of the C library: a program without Python compiles ``base/*.c``, ``isa/*.c`` and
    ``ops/*.c`` into itself, with ``-std=c11 -O3 -ffp-contract=off -fopenmp``, and links ``-lm -lpthread``.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    installed = os.path.join(here, "src_c", "include")
    if os.path.isdir(installed):
        return installed
    return os.path.join(os.path.dirname(here), "src_c", "include")  # an editable install


def clear_cache():
    """Free the scratch memory that the calling thread keeps between calls (at most 32 MiB)."""
    _core.clear_cache()


def _cache_sizes():
    """{level: text} of the first processor's caches, as Linux tells them."""
    sizes = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        with contextlib.suppress(OSError):
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
            sizes[f"L{level}{'' if kind == 'Unified' else kind[0].lower()}"] = size
    return sizes


def show_config(file=None):
    """Print version, instruction sets, threads, OpenMP runtime and caches."""
    refusals = _core.isa_refusals()
    known = [f"{name} ({refusals[name]})" if name in refusals else name for name, _ in _core.isa_names()]
    caches = ", ".join(f"{level} {size}" for level, size in _cache_sizes().items()) or "unknown"
    lines = {
        "fastconv": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "instruction set": _core.get_isa(),
        "known": ", ".join(known),
        "threads": get_num_threads(),
        "OpenMP runtime": _core.openmp_runtime() or "none: a serial build",
        "caches": caches,
        "precision": get_precision(),
    }
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:<{width}}  {value}", file=file)


_read_thread_variables()
_read_isa_variable()
