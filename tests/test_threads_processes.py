# SPDX-License-Identifier: BSD-3-Clause
"""Many threads, forked processes, signals, and the state of the processor: what a library that lives
in somebody else's process must leave alone or survive.

Whatever could hang or kill the process runs in one of its own, with a time limit.
"""

import ctypes
import multiprocessing
import os
import sys
import threading
import time

import numpy as np
import oracle
import problems
import pytest
from compare import assert_within, same_bits
from processes import run

import fastconv as fc

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and fork")
parallel = pytest.mark.skipif(not fc._core.openmp_runtime(), reason="a serial build")

# ---- fork ---------------------------------------------------------------------

FORK = """
fc.set_num_threads(2)

def fork_and_compare(expected, generations):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)  # a child that hangs is killed and counts as failed
        good = compute() == expected and threads_of_this_process() >= 2
        if generations > 1:
            good = fork_and_compare(expected, generations - 1) and good
        os._exit(0 if good and compute() == expected else 1)
    return os.waitpid(pid, 0)[1] == 0
"""


@parallel
@linux
@pytest.mark.parametrize("used", ["nowhere", "in the main thread", "in another thread", "in both"])
def test_parent_and_child_of_a_fork_compute_in_parallel(used):
    """H1: an OpenMP runtime whose threads vanished in the fork must not wait for them."""
    run(
        FORK,
        f"""
        used = {used!r}
        expected = None
        if used in ("in the main thread", "in both"):
            expected = compute()
        if used in ("in another thread", "in both"):
            thread = threading.Thread(target=compute)
            thread.start()
            thread.join()
        if expected is None:
            with fc.threads(1):
                expected = compute()
        for _ in range(8):
            assert fork_and_compare(expected, 1), "child"
            assert compute() == expected, "parent"
        assert fork_and_compare(expected, 3), "grandchild"
        assert compute() == expected
        """,
    )


@linux
def test_fork_while_another_thread_computes():
    """H3: the child uses one thread, as the lock of the vanished thread may be held for ever."""
    run(
        FORK,
        """
        expected, stop = compute(), threading.Event()

        def loop():
            while not stop.is_set():
                assert compute() == expected

        thread = threading.Thread(target=loop)
        thread.start()
        for _ in range(25):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                fc.set_num_threads(1)
                os._exit(0 if compute() == expected else 1)
            assert os.waitpid(pid, 0)[1] == 0
        stop.set()
        thread.join()
        """,
    )


def digest_of_a_convolution(seed):
    x = np.random.default_rng(seed).standard_normal((2, 40, 40, 32)).astype(np.float32)
    weight = np.full((3, 3, 32, 64), 0.1, np.float32)
    return fc.conv2d(x, weight, padding=1).tobytes()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_multiprocessing_pool(method):
    expected = [digest_of_a_convolution(seed) for seed in range(6)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(digest_of_a_convolution, range(6)).get(timeout=60) == expected
    assert digest_of_a_convolution(0) == expected[0]


# ---- signals ------------------------------------------------------------------

# About 10**12 operations each, on inputs that take next to no memory.
LONG_CALLS = {
    "many images": """
        images = np.broadcast_to(np.float32(1), (2400, 8, 8, 4096))
        filters = np.ones((7, 7, 4096, 16), np.float32)
        call = lambda: fc.conv2d(images, filters, padding=3)
        """,
    "one image": """
        images = np.broadcast_to(np.float32(1), (1, 400, 400, 4096))
        filters = np.ones((7, 7, 4096, 16), np.float32)
        call = lambda: fc.conv2d(images, filters, padding=3)
        """,
    "reference": """
        images = np.broadcast_to(np.float32(1), (1, 60, 60, 4096))
        filters = np.ones((7, 7, 4096, 16), np.float32)
        call = lambda: fc.conv2d(images, filters, padding=3, algorithm="reference")
        """,
    "gradient of the input": """
        grad_y = np.broadcast_to(np.float32(1), (2400, 8, 8, 4096))
        filters, shape = np.ones((7, 7, 16, 4096), np.float32), (2400, 8, 8, 16)
        call = lambda: fc.conv2d_backward_input(grad_y, filters, shape, padding=3)
        """,
    "gradient of the weights": """
        images = np.broadcast_to(np.float32(1), (2400, 8, 8, 2048))
        grad_y = np.broadcast_to(np.float32(1), (2400, 8, 8, 32))
        call = lambda: fc.conv2d_backward_weight(grad_y, images, (7, 7, 2048, 32), padding=3)
        """,
    "Winograd": """
        images = np.broadcast_to(np.float32(1), (3000, 28, 28, 4096))
        filters = np.ones((3, 3, 4096, 16), np.float32)
        call = lambda: fc.conv2d(images, filters, padding=1, algorithm="winograd")
        """,
    "gradient of the weights by Winograd": """
        images = np.broadcast_to(np.float32(1), (3000, 28, 28, 2048))
        grad_y = np.broadcast_to(np.float32(1), (3000, 28, 28, 32))
        call = lambda: fc.conv2d_backward_weight(grad_y, images, (3, 3, 2048, 32), padding=1, algorithm="winograd")
        """,
    "pooling": """
        images = np.broadcast_to(np.float32(1), (1, 2000, 2000, 256))
        call = lambda: fc.max_pool2d(images, 301, 40, padding=150)
        """,
    "linear": """
        rows = np.broadcast_to(np.float32(1), (500_000, 60_000))
        filters = np.ones((60_000, 16), np.float32)
        call = lambda: fc.linear(rows, filters)
        """,
}


@linux
@pytest.mark.parametrize("name, threads", [("many images", 1), *((name, 2) for name in LONG_CALLS)])
def test_ctrl_c_ends_a_long_call_within_half_a_second(name, threads):
    """H12; and the next call works."""
    run(
        LONG_CALLS[name],
        f"""
        fc.set_num_threads({threads})
        sent = []

        def interrupt():
            time.sleep(0.25)
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)

        expected = compute()
        threading.Thread(target=interrupt).start()
        try:
            call()
        except KeyboardInterrupt:
            assert time.perf_counter() - sent[0] < 0.5, time.perf_counter() - sent[0]
        else:
            raise AssertionError("the call ended before it could be interrupted")
        assert compute() == expected
        """,
        timeout=40,
    )


@linux
def test_a_handler_that_raises_nothing_lets_the_call_go_on():
    run("""
        count = 0

        def handler(*_):
            global count
            count += 1

        expected = [compute() for _ in range(40)]
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        start, rounds = time.perf_counter(), 0
        while time.perf_counter() - start < 0.5:
            assert compute() == expected[0]
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert count > 10
        """)


# ---- Python threads -----------------------------------------------------------


def mixed_results(seed):
    """Results of several operations on small and large arrays."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 12 + seed % 3 * 12, 12, 16)).astype(np.float32)
    weight = rng.standard_normal((3, 3, 16, 24)).astype(np.float32)
    y = fc.conv2d(x, weight, padding=1, activation="relu")
    pooled, indices = fc.max_pool2d(y, 2, return_indices=True)
    grad_y = fc.max_pool2d_backward(pooled, indices, y.shape)
    rows = fc.linear(pooled.reshape(len(x), -1), np.ones((pooled[0].size, 10), np.float32))
    return [y, pooled, rows, *fc.conv2d_backward(grad_y, x, weight, padding=1)]


@pytest.mark.parametrize("threads", [1, 2])
def test_many_python_threads_at_once(threads):
    """H7: eight callers, each with threads of its own, get the bits of one caller alone."""
    expected = [mixed_results(seed) for seed in range(6)]
    wrong = []

    def work(start):
        with fc.threads(threads):
            for turn in range(25):
                seed = (start + turn) % len(expected)
                pairs = zip(mixed_results(seed), expected[seed], strict=True)
                if not all(same_bits(a, b) for a, b in pairs):
                    wrong.append((start, turn))

    workers = [threading.Thread(target=work, args=(start,)) for start in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@linux
def test_threads_that_end_leave_no_threads_behind():
    run("""
        fc.set_num_threads(2)
        compute()
        before = threads_of_this_process()
        for _ in range(60):
            thread = threading.Thread(target=compute)
            thread.start()
            thread.join()
        time.sleep(0.2)
        assert threads_of_this_process() <= before + 2, (before, threads_of_this_process())
        """)


def test_other_threads_run_during_a_call():
    """H13: the GIL is released while the kernels work."""
    x = np.broadcast_to(np.float32(1), (1, 120, 120, 2048))
    weight = np.ones((7, 7, 2048, 16), np.float32)
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.002)

    ticker = threading.Thread(target=tick)
    ticker.start()
    start = time.perf_counter()
    with fc.threads(1):
        fc.conv2d(x, weight, padding=3)
    end = time.perf_counter()
    stop.set()
    ticker.join()
    assert end - start > 0.05, "too short to tell"
    assert sum(start < tick < end for tick in ticks) > (end - start) / 0.002 / 10


def test_small_stacks_are_enough():
    """H11: in a thread with the smallest stack that Python itself needs."""
    results = []
    before = threading.stack_size(128 * 1024)
    try:
        worker = threading.Thread(target=lambda: results.extend(mixed_results(0)))
        worker.start()
        worker.join()
    finally:
        threading.stack_size(before)
    assert all(same_bits(a, b) for a, b in zip(results, mixed_results(0), strict=True))


# ---- the caller's floating-point state ----------------------------------------

FENV_SIZE, MXCSR_AT = 32, 28  # of glibc's fenv_t on x86-64
FE_UPWARD = {"x86_64": 0x800, "aarch64": 0x400000}


def control_bits():
    """Rounding mode, flush-to-zero and trap masks of this thread (not the sticky flags)."""
    buffer = ctypes.create_string_buffer(FENV_SIZE)
    ctypes.CDLL("libm.so.6").fegetenv(buffer)
    return int.from_bytes(buffer.raw[MXCSR_AT : MXCSR_AT + 4], "little") & 0xFFC0


@linux
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="reads MXCSR")
@pytest.mark.parametrize("precision", ["strict", "high", "medium"])
def test_floating_point_state_is_left_alone(precision, isa):
    """H17: also in the threads that OpenMP lends to others, and in threads born later."""
    before = control_bits()
    x = np.full((1, 40, 40, 16), 1e-40, np.float32)
    weight = np.full((3, 3, 16, 32), 1e-3, np.float32)
    with fc.threads(2):
        fc.conv2d(x, weight, precision=precision)
        fc.conv2d_backward(np.ones((1, 38, 38, 32), np.float32), x, weight, precision=precision)
    fc.max_pool2d(x, 2)
    fc.avg_pool2d(x, 2)
    assert control_bits() == before
    seen = []
    worker = threading.Thread(target=lambda: seen.append(control_bits()))
    worker.start()
    worker.join()
    assert seen == [before]
    assert (np.full(1000, 1e-40, np.float32) * np.float32(0.5) != 0).all()
    with pytest.raises(ValueError):
        fc.conv2d(x, weight[:, :, :3], precision=precision)
    assert control_bits() == before


@linux
@pytest.mark.skipif(os.uname().machine not in FE_UPWARD, reason="knows no rounding modes")
def test_another_rounding_mode_is_survived_and_kept(isa):
    """H18: results stay within their bounds."""
    libm = ctypes.CDLL("libm.so.6")
    problem = problems.parse("c17 h6 w7 k35 r3x3 p1")
    data = problems.random_conv_data(problem, np.float32)
    truth = oracle.conv2d(data.x, data.weight, **problem.geometry)
    terms = oracle.conv2d(abs(data.x), abs(data.weight), **problem.geometry)
    before = libm.fegetround()
    libm.fesetround(FE_UPWARD[os.uname().machine])
    try:
        y = fc.conv2d(data.x, data.weight, **problem.geometry, precision="strict")
        after = libm.fegetround()
    finally:
        libm.fesetround(before)
    assert after == FE_UPWARD[os.uname().machine]
    assert_within(y, truth, terms, 264)
