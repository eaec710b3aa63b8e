# SPDX-License-Identifier: BSD-3-Clause
"""A description of the machine and of everything on it that a time depends on."""

import io
import os
import platform
from importlib import metadata

import fastconv as fc

PACKAGES = ("numpy", "torch", "onnxruntime", "onnx", "jax", "jaxlib")
VARIABLES = ("OMP_", "GOMP_", "KMP_", "FASTCONV_", "OPENBLAS_", "MKL_", "ONEDNN_", "XLA_")


def describe():
    """A dict for JSON."""
    return {
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "cpus_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        "fastconv": config(),
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)},
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def config():
    """What `fastconv.show_config` prints, as a dict."""
    text = io.StringIO()
    fc.show_config(file=text)
    pairs = (line.split("  ", 1) for line in text.getvalue().splitlines())
    return {name.strip(): value.strip() for name, value in pairs}


def versions():
    """Versions of the packages that are installed, by name."""
    found = {"fastconv": fc.__version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def cpu_model():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory():
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def one_line(machine):
    """The description in one line, for titles."""
    config = machine["fastconv"]
    count = f"{machine['cpus_usable']} CPU" + ("" if machine["cpus_usable"] == 1 else "s")
    return f"{machine['cpu']}, {count}, fastconv {config['fastconv']} with {config['instruction set']}"
