# SPDX-License-Identifier: BSD-3-Clause
"""The package as a whole: its names, its version, what importing it costs and leaves behind."""

import importlib.metadata
import inspect
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastconv as fc
from fastconv import _core

PACKAGE = Path(fc.__file__).parent
REPOSITORY = Path(__file__).parent.parent
FUNCTIONS = """
conv2d conv2d_backward_input conv2d_backward_weight conv2d_backward conv2d_output_shape
max_pool2d max_pool2d_backward avg_pool2d avg_pool2d_backward pool2d_output_shape
global_avg_pool2d global_max_pool2d linear linear_backward
set_num_threads get_num_threads threads isas using_isa show_config set_precision precision
get_include
""".split()


def test_the_interface_is_there_and_documented():
    for name in FUNCTIONS:
        assert name in fc.__all__
        documentation = inspect.getdoc(getattr(fc, name))
        assert documentation and len(documentation.splitlines()[0]) <= 120
    for name in fc.__all__:
        assert hasattr(fc, name)
    assert sorted(fc.__all__) == sorted(set(fc.__all__))


def parameters(function):
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


def test_signatures():
    empty = inspect.Parameter.empty
    geometry = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "layout": "NHWC"}
    forward = {"x": empty, "weight": empty, "bias": None} | geometry | {"activation": None}
    forward |= {"precision": None, "algorithm": "auto", "out": None, "padding_mode": "constant"}
    assert parameters(fc.conv2d) == forward
    for name, first in (
        ("conv2d_backward_input", ["grad_y", "weight", "x_shape"]),
        ("conv2d_backward_weight", ["grad_y", "x", "weight_shape"]),
        ("conv2d_backward", ["grad_y", "x", "weight"]),
    ):
        names = parameters(getattr(fc, name))
        assert list(names)[:3] == first
        assert geometry.items() <= names.items()
        assert {"precision", "algorithm"} <= names.keys()
    window = {"kernel_size": empty, "stride": None, "padding": 0, "ceil_mode": False}
    window |= {"layout": "NHWC"}
    assert window.items() <= parameters(fc.max_pool2d).items()
    average = window | {"count_include_pad": None, "divisor_override": None}
    assert average.items() <= parameters(fc.avg_pool2d).items()
    assert average.items() <= parameters(fc.avg_pool2d_backward).items()


def test_functions_in_c_have_the_signatures_that_ops_describes():
    """`ops` describes them in Python and takes them from the extension module."""
    in_c = {name: known for name, known in vars(fc.ops).items() if known is vars(_core).get(name) and callable(known)}
    assert {"conv2d", "linear", "max_pool2d", "global_avg_pool2d"} <= in_c.keys()
    for name, function in in_c.items():
        module = sys.modules[function.__module__]
        assert module.__name__.startswith("fastconv.ops."), name
        described = {"__name__": module.__name__}
        exec(Path(module.__file__).read_text().replace("@in_c\n", ""), described)
        assert inspect.signature(function) == inspect.signature(described[name]), name
        assert function.__doc__ == described[name].__doc__, name
        assert function.__qualname__ == name
        assert pickle.loads(pickle.dumps(function)) is function


def test_keyword_only_arguments_are_refused_by_position():
    import numpy as np

    x, weight = np.ones((1, 5, 5, 1), np.float32), np.ones((3, 3, 1, 1), np.float32)
    with pytest.raises(TypeError):
        fc.conv2d(x, weight, None, 2)
    with pytest.raises(TypeError, match="strides"):
        fc.conv2d(x, weight, strides=2)


# ---- version, files -----------------------------------------------------------


def test_version():
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?([a-z.]+\d+)?", fc.__version__)
    assert importlib.metadata.version("fastconv") == fc.__version__


@pytest.mark.skipif(not (REPOSITORY / "pyproject.toml").exists(), reason="not in a checkout")
def test_version_stands_in_one_place():
    files = [REPOSITORY / "pyproject.toml", REPOSITORY / "setup.py"]
    for pattern in ("*.py", "*.pyx", "*.pxd", "*.pxi"):
        files += (REPOSITORY / "fastconv").rglob(pattern)
    quoted = re.compile(rf"""["']{re.escape(fc.__version__)}["']""")
    places = [file for file in files if file.exists() and quoted.search(file.read_text())]
    assert len(places) <= 1, places


def test_typing_marker_and_headers_are_installed():
    assert (PACKAGE / "py.typed").is_file()
    include = Path(fc.get_include())
    header = (include / "fastconv.h").read_text()
    assert "Python.h" not in header and "fc_conv2d_forward" in header


# ---- importing ----------------------------------------------------------------


def run(program, *options):
    child = subprocess.run(
        [sys.executable, *options, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=os.path.dirname(__file__),
    )
    assert child.returncode == 0, child.stderr
    return child.stdout.strip()


def test_import_takes_50_milliseconds_beyond_numpy():
    """Of the processor, so that what else the machine does has no say."""
    program = """
import time, numpy
start = time.process_time()
import fastconv
print(time.process_time() - start)
"""
    assert any(float(run(program)) < 0.05 for _ in range(8))


def test_import_needs_numpy_alone():
    """Optional packages are imported when they are used, not before."""
    optional = ["tqdm", "matplotlib", "torch", "sklearn", "PIL", "scipy", "Cython", "setuptools"]
    loaded = run(f"import fastconv, sys; print(set({optional}) & set(sys.modules))")
    assert loaded == "set()"


def test_import_and_calls_leave_the_process_as_it_was():
    """P5: environment, directory, signal handlers, random state, warnings, sys."""
    run(
        """
import gc, os, random, signal, sys, threading, warnings
import numpy as np

def state():
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return (
        dict(os.environ), os.getcwd(), handlers, random.getstate(), sys.path[:], sys.excepthook,
        str(np.random.get_state()), list(warnings.filters), sys.getrecursionlimit(),
        sys.getswitchinterval(), signal.pthread_sigmask(signal.SIG_BLOCK, []), np.geterr(),
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None, gc.get_threshold(),
        threading.stack_size(),
    )

before = state()
import fastconv as fc
assert state() == before
x = np.ones((1, 40, 40, 16), np.float32)
fc.conv2d(x, np.ones((3, 3, 16, 16), np.float32))
fc.max_pool2d(x, 2)
assert state() == before
""",
        "-W",
        "error",
    )


def test_the_library_prints_nothing():
    assert run("import fastconv as fc; fc.isas(); fc.get_num_threads(); fc.get_include()") == ""
