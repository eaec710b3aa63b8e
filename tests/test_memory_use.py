# SPDX-License-Identifier: BSD-3-Clause
"""How much memory a call takes beside its arrays, what stays behind, and what happens when there is
none (M45). Each measurement runs in a process of its own."""

import os
import sys

import pytest
from processes import run

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")

MEASURES = """
import ctypes, resource

MIB = 2**20

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field + ":"))

def load_code():
    \"\"\"Make the code of the libraries resident: it is not memory that a call takes.\"\"\"
    with open("/proc/self/maps") as file:
        for line in file:
            addresses, permissions = line.split()[:2]
            if permissions.startswith("r") and ("_core" in line or "gomp" in line):
                start, end = (int(address, 16) for address in addresses.split("-"))
                for page in range(start, end, resource.getpagesize()):
                    ctypes.c_char.from_address(page).value

def peak_above(call):
    \"\"\"Bytes by which the resident memory rises at most while ``call`` runs.\"\"\"
    load_code()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # sets the peak back to the present
    before = status("VmRSS")
    call()
    return status("VmHWM") - before
"""


LAYERS = {
    "3x3": ((8, 56, 56, 64), (3, 3, 64, 64), 1, 1),
    "7x7 s2": ((4, 224, 224, 3), (7, 7, 3, 64), 2, 3),
    "1x1": ((8, 28, 28, 512), (1, 1, 512, 256), 1, 0),
    "5x5 one image": ((1, 100, 100, 96), (5, 5, 96, 64), 1, 2),
}


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs clear_refs")
def test_normalisation_and_softmax_take_no_more_for_a_larger_batch():
    """Group normalisation of many images; softmax of long rows, of which each thread brings together one."""
    run(
        MEASURES,
        """
        fc.set_num_threads(2)
        features = np.ones((20_000, 512), np.float32)
        rows = np.ones((400_000, 16), np.float32)
        calls = dict(
            group_norm=lambda x, out: fc.group_norm_backward(features, x, 8, out=out),
            softmax=lambda x, out: fc.softmax(rows, axis=0, out=out),
        )
        for name, (x, allowed) in dict(
            group_norm=(features, 4 * MIB),
            softmax=(rows, 2 * MIB + 2 * 400_000 * 4),
        ).items():
            child = os.fork()  # so that no call finds the memory that another one left
            if child == 0:
                out = np.ones_like(x)
                fc.relu(x, out=out)  # starts the threads, which takes memory too
                extra = peak_above(lambda: calls[name](x, out))
                print(name, "takes", extra / MIB, "MiB", flush=True)
                os._exit(int(extra > allowed))
            assert os.waitpid(child, 0)[1] == 0, name
        """,
    )


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs clear_refs")
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_call_takes_little_more_than_its_arrays(name, layout):
    """Under 4 MiB and a packed copy of the weights: no matrix of patches, no copy of the image."""
    x, weight, stride, padding = LAYERS[name]
    run(
        MEASURES,
        f"""
        fc.set_num_threads(2)
        layout = {layout!r}
        x, weight = np.ones({x}, np.float32), np.ones({weight}, np.float32)
        if layout == "NCHW":
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
            weight = np.ascontiguousarray(weight.transpose(3, 2, 0, 1))
        how = dict(stride={stride}, padding={padding}, layout=layout)
        shape = fc.conv2d_output_shape(x.shape, weight.shape, **how)
        y, grad_x, grad_weight = np.ones(shape, np.float32), np.ones_like(x), np.ones_like(weight)
        calls = dict(
            forward=lambda: fc.conv2d(x, weight, **how, out=y),
            input=lambda: fc.conv2d_backward_input(y, weight, x.shape, **how, out=grad_x),
            weight=lambda: fc.conv2d_backward_weight(y, x, weight.shape, **how, out=grad_weight),
        )
        images, pooled = (np.ones((16, n, n, 8), np.float32) for n in (100, 50))
        for name, call in calls.items():
            child = os.fork()  # so that no call finds the memory that another one left
            if child == 0:
                fc.max_pool2d(images, 2, out=pooled)  # starts the threads, which takes memory too
                extra = peak_above(call)
                print(name, "takes", extra / MIB, "MiB", flush=True)
                os._exit(extra >= 4 * MIB + 1.25 * weight.nbytes)
            assert os.waitpid(child, 0)[1] == 0
        """,
    )


MIXED_CALLS = """
def mixed_calls(turn):
    n, size, channels = 1 + turn % 3, 5 + turn % 7, 1 + turn % 19
    layout = "NHWC" if turn % 2 else "NCHW"
    x = np.ones((n, size, size, channels) if turn % 2 else (n, channels, size, size), np.float32)
    if turn % 5 == 0:
        x = x[..., ::-1].astype(">f4")
    weight = np.ones((3, 3, channels, 8) if turn % 2 else (8, channels, 3, 3), np.float64)
    weight = weight.astype(np.float32) if turn % 3 else weight
    y = fc.conv2d(x, weight, padding=1, layout=layout, activation="relu")
    fc.conv2d_backward(y, x, weight, padding=1, layout=layout)
    pooled, indices = fc.max_pool2d(y, 2, 1, layout=layout, return_indices=True)
    fc.max_pool2d_backward(pooled, indices, y.shape, layout=layout)
    fc.linear(pooled, np.ones((pooled.shape[-1], 5), np.float32))
    for wrong in (dict(stride=0), dict(groups=7), dict(padding="none"), dict(out=x)):
        try:
            fc.conv2d(x, weight, layout=layout, **wrong)
        except (TypeError, ValueError):
            pass
"""


def test_ten_thousand_calls_leave_nothing_behind():
    """Neither memory nor Python objects, whether the calls succeed or fail."""
    run(
        MEASURES,
        MIXED_CALLS,
        """
        import gc

        for turn in range(500):
            mixed_calls(turn)
        gc.collect()
        blocks, resident = sys.getallocatedblocks(), status("VmRSS")
        for turn in range(1000):
            mixed_calls(turn)
        gc.collect()
        assert sys.getallocatedblocks() - blocks < 500, sys.getallocatedblocks() - blocks
        assert status("VmRSS") - resident < MIB, (status("VmRSS") - resident) / MIB
        """,
    )


def test_scratch_memory_of_a_large_call_is_bounded():
    """H22: what a call keeps for the next one is no more than 64 MiB."""
    run(
        MEASURES,
        """
        before = status("VmRSS")
        weight = np.ones((3, 3, 2048, 1024), np.float32)
        fc.conv2d(np.ones((1, 12, 12, 2048), np.float32), weight, padding=1)
        fc.conv2d_backward(np.ones((1, 12, 12, 1024), np.float32),
                           np.ones((1, 12, 12, 2048), np.float32), weight, padding=1)
        del weight
        assert status("VmRSS") - before < 64 * MIB, (status("VmRSS") - before) / MIB
        """,
    )


@pytest.mark.parametrize("precision", ["strict", "high"])
def test_memory_that_runs_out_is_an_exception(precision):
    """From far too little room for the call to enough: refused or right, and usable after."""
    run(
        MEASURES,
        """
        fc.set_num_threads(1)
        fc.set_precision(PRECISION)
        slack = 0 if PRECISION == "strict" else 1e-3  # direct sums of ones are exact, Winograd's are not
        x, weight = np.ones((2, 40, 40, 64), np.float32), np.ones((3, 3, 64, 512), np.float32)
        y = fc.conv2d(x[:1, :4, :4], weight)
        assert abs(y - 576).max() <= slack
        unlimited = resource.getrlimit(resource.RLIMIT_AS)
        outcomes = set()
        for extra in range(0, 32 * MIB, MIB):
            limit = status("VmSize") + extra
            resource.setrlimit(resource.RLIMIT_AS, (limit, unlimited[1]))
            try:
                y = fc.conv2d(x, weight, padding=1)
                gradients = fc.conv2d_backward(y, x, weight, padding=1)
                outcome = "right" if abs(y[:, 1:-1, 1:-1] - 576).max() <= slack and y.max() <= 576 + slack else "wrong"
                del y, gradients
            except MemoryError:
                outcome = "refused"
            finally:
                resource.setrlimit(resource.RLIMIT_AS, unlimited)
            outcomes.add(outcome)
            fc.clear_cache()
        assert outcomes == {"right", "refused"}, outcomes
        y = fc.conv2d(x, weight, padding=1)
        assert abs(y[0, 20, 20, 100] - 576) <= slack
        """.replace("PRECISION", repr(precision)),
    )
