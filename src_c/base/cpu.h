/* SPDX-License-Identifier: BSD-3-Clause
 * What the processor, and the operating system for it, can do. */
#ifndef FC_CPU_H
#define FC_CPU_H

#include <stdint.h>

enum {
    FC_CPU_AVX2_FMA = 1,
    FC_CPU_AVX512 = 2, /* F, BW, DQ and VL: Skylake-SP and later */
    FC_CPU_AMX = 4,    /* tiles of bfloat16, and permission to use them */
    FC_CPU_BF16 = 8    /* AVX-512's products of bfloat16 */
};

/* A mask of the above, asked once. The compiler's runtime also checks that the system saves the wide registers. */
unsigned fc_cpu_features(void);

/* Why a feature is not among them, in words; NULL: it is. */
const char *fc_cpu_lacks(unsigned feature);

/* Bytes of a last cache so near that stores go to it faster than past it: AMD's, which a few cores share; else 0. */
int64_t fc_cpu_near_cache(void);

#endif
