/* SPDX-License-Identifier: BSD-3-Clause
 * What the processor, and the operating system for it, can do. */
#ifndef FC_CPU_H
#define FC_CPU_H

enum {
    FC_CPU_AVX2_FMA = 1,
    FC_CPU_AVX512 = 2 /* F, BW, DQ and VL: Skylake-SP and later */
};

/* A mask of the above, asked once. The compiler's runtime also checks that the system saves the wide registers. */
unsigned fc_cpu_features(void);

#endif
