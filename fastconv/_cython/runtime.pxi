# SPDX-License-Identifier: BSD-3-Clause
# Threads, instruction sets, interruption.

cdef int poll() noexcept with gil:
    """Run Python's signal handlers; non-zero if one raised."""
    return PyErr_CheckSignals()


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


def clear_cache():
    """Free the scratch memory that the calling thread keeps between calls."""
    fc_clear_cache()
