# SPDX-License-Identifier: BSD-3-Clause
# A door for tests and benchmarks, behind the public header.

cdef extern from "isa/dispatch.h" nogil:
    ctypedef double (*fc_fma_peak_fn)(int64_t rounds) noexcept
    ctypedef struct fc_kernels:
        int vl
        fc_fma_peak_fn fma_peak
    const fc_kernels *fc_kernels_of(int isa, fc_dtype dtype)
    const char *fc_kernel_name(int k)
    int fc_kernel_is_own(int isa, fc_dtype dtype, int k)
    enum:
        FC_PEAK_CHAINS

cdef extern from "base/scratch.h" nogil:
    size_t fc_scratch_kept()

cdef extern from "time.h" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec *now)


cdef int isa_index(object name) except -1:
    cdef int i
    for i in range(fc_isa_count()):
        if fc_isa_name(i).decode() == name and fc_isa_available(i):
            return i
    raise errors.unknown_name("isa", name, [known for known, available in isa_names() if available])


def kernel_table(object isa):
    """{kernel name: instruction set whose code is used} for both element types, e.g. {"tile_float32": "avx2"}."""
    cdef int i = isa_index(isa), k = 0
    table = {}
    while fc_kernel_name(k) != NULL:
        for dtype, suffix in ((FC_FLOAT32, "float32"), (FC_FLOAT64, "float64")):
            own = fc_kernel_is_own(i, dtype, k)
            table[f"{fc_kernel_name(k).decode()}_{suffix}"] = isa if own else "reference"
        k += 1
    return table


def scratch_kept():
    """Bytes of scratch memory that the calling thread keeps: what its largest call since clear_cache took."""
    return fc_scratch_kept()


cdef double now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return t.tv_sec + 1e-9 * t.tv_nsec


def fma_peak(object isa, object dtype, double seconds):
    """FLOP/s of one thread that does nothing but fused multiply-adds on registers, the best of many short
    stretches within `seconds`. A multiply-add counts as two operations."""
    cdef const fc_kernels *kernels = fc_kernels_of(isa_index(isa), FC_FLOAT64 if dtype == "float64" else FC_FLOAT32)
    cdef int64_t rounds = 4000
    cdef double best = 0, start, took, end, unused = 0
    with nogil:
        end = now() + seconds
        while best == 0 or now() < end:
            start = now()
            unused += kernels.fma_peak(rounds)
            took = now() - start
            if took < 1e-4:  # too short for the clock
                rounds *= 2
            elif 2.0 * FC_PEAK_CHAINS * kernels.vl * rounds / took > best:
                best = 2.0 * FC_PEAK_CHAINS * kernels.vl * rounds / took
    return best if unused == unused else 0.0
