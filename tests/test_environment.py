# SPDX-License-Identifier: BSD-3-Clause
"""What a process finds around it: environment variables, the processors it may use, threadpoolctl."""

import os
import re
import sys

import pytest
from processes import run

import fastconv as fc

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
parallel = pytest.mark.skipif(not fc._core.openmp_runtime(), reason="a serial build")

# ---- environment variables ----------------------------------------------------


@parallel
@linux
def test_number_of_threads_from_the_environment():
    show = "print(fc.get_num_threads())"
    assert run(show, FASTCONV_NUM_THREADS="3") == "3"
    assert run(show, OMP_NUM_THREADS="3") == "3"
    assert run(show, FASTCONV_NUM_THREADS="2", OMP_NUM_THREADS="3") == "2"


@parallel
@linux
@pytest.mark.parametrize("value", ["0", "-1", "2.5", "many", "1e3", "9" * 30])
def test_a_senseless_number_of_threads_is_ignored_with_a_warning(value):
    warned = run(
        "assert fc.get_num_threads() == 3",
        FASTCONV_NUM_THREADS=value,
        OMP_NUM_THREADS="3",
    )
    assert "FASTCONV_NUM_THREADS" in warned


@linux
def test_default_number_of_threads_is_that_of_the_processors_allowed():
    cpus = os.sched_getaffinity(0)
    assert int(run("print(fc.get_num_threads())")) <= len(cpus)
    restrict = f"import os; os.sched_setaffinity(0, [{min(cpus)}])"
    program = "compute(); print(fc.get_num_threads(), threads_of_this_process())"
    shown = run(program, first=restrict, OPENBLAS_NUM_THREADS="1")
    assert shown == "1 1"


@linux
def test_instruction_set_from_the_environment():
    def bits(**variables):
        return run("print(compute()[:4000])", **variables)

    for isa in fc.isas():
        shown = run("fc.show_config()", FASTCONV_ISA=isa)
        assert re.search(rf"instruction set +{isa}$", shown, re.MULTILINE)
    assert bits() == bits(FASTCONV_ISA=fc.isas()[0]) != bits(FASTCONV_ISA="reference")


@linux
def test_an_unknown_instruction_set_is_ignored_with_a_warning():
    assert "FASTCONV_ISA" in run("assert fc.isas()", FASTCONV_ISA="sse9")


# ---- threadpoolctl ------------------------------------------------------------


@parallel
def test_threadpoolctl_sees_and_limits_it():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    assert [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "openmp"]
    run(
        """
        import threadpoolctl
        with threadpoolctl.threadpool_limits(1):
            assert fc.get_num_threads() == 1
            before = threads_of_this_process()
            compute()
            assert threads_of_this_process() == before
        assert fc.get_num_threads() == 2
        """,
        OMP_NUM_THREADS="2",
    )
