# SPDX-License-Identifier: BSD-3-Clause
# Threads, instruction sets, interruption.

cdef extern from "Python.h":
    int run_signal_handlers "PyErr_CheckSignals"() noexcept  # a raised exception stays set, for `check` to find


cdef int poll() noexcept with gil:
    """Run Python's signal handlers; non-zero if one raised."""
    return run_signal_handlers()


fc_set_poll(poll)


def set_num_threads(int threads):
    fc_set_num_threads(threads)


def get_num_threads():
    return fc_get_num_threads()


def set_thread_num_threads(int threads):
    """Set the number for the calling thread (0: follow the process) and return the former one."""
    cdef int before = fc_get_thread_num_threads()
    fc_set_thread_num_threads(threads)
    return before


def openmp_runtime():
    return fc_openmp_runtime().decode()


def isa_names():
    """Every instruction set this build knows, best first, with whether this machine can run it."""
    return [(fc_isa_name(i).decode(), bool(fc_isa_available(i))) for i in range(fc_isa_count())]


def isa_refusals():
    """Why this machine does not run an instruction set, for those that it does not."""
    refusals = {}
    for i in range(fc_isa_count()):
        if not fc_isa_available(i):
            refusals[fc_isa_name(i).decode()] = fc_isa_refusal(i).decode()
    return refusals


def get_isa():
    return fc_isa_name(fc_get_isa()).decode()


def set_isa(int index):
    """For the process; -1: the best available."""
    fc_set_isa(index)


def set_thread_isa(int index):
    """Set the instruction set of the calling thread (-1: follow the process) and return the former one."""
    cdef int before = fc_get_thread_isa()
    fc_set_thread_isa(index)
    return before


def set_precision(object name):
    fc_set_precision(<fc_precision>to_precision(name))


def get_precision():
    return errors.PRECISIONS[<int>fc_get_precision() - 1]


def set_thread_precision(object name):
    """Set the precision of the calling thread (None: follow the process) and return the former one."""
    cdef int before = fc_get_thread_precision()
    fc_set_thread_precision(<fc_precision>to_precision(name))
    return errors.PRECISIONS[before - 1] if before > 0 else None


def clear_cache():
    """Free the scratch memory that the calling thread keeps between calls."""
    fc_clear_cache()
