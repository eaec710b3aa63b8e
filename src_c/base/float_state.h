/* SPDX-License-Identifier: BSD-3-Clause
 * The floating-point state of a thread: rounding, flags, and whether subnormal numbers are flushed to zero. */
#ifndef FC_FLOAT_STATE_H
#define FC_FLOAT_STATE_H

#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>

static inline uint64_t fc_float_state(void) { return _mm_getcsr(); }
static inline void fc_set_float_state(uint64_t state) { _mm_setcsr((unsigned)state); }
enum { FC_FLUSH_SUBNORMALS = 0x8040 }; /* results (FTZ) and operands (DAZ) */
#elif defined(__aarch64__)
static inline uint64_t fc_float_state(void) {
    uint64_t state;
    __asm__ volatile("mrs %0, fpcr" : "=r"(state));
    return state;
}
static inline void fc_set_float_state(uint64_t state) { __asm__ volatile("msr fpcr, %0" : : "r"(state)); }
enum { FC_FLUSH_SUBNORMALS = 1 << 24 };
#else
static inline uint64_t fc_float_state(void) { return 0; }
static inline void fc_set_float_state(uint64_t state) { (void)state; }
enum { FC_FLUSH_SUBNORMALS = 0 };
#endif

#endif
