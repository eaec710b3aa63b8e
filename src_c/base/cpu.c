/* SPDX-License-Identifier: BSD-3-Clause */
#include "cpu.h"

#include <pthread.h>

static unsigned features;
static pthread_once_t features_once = PTHREAD_ONCE_INIT;

static void ask(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) features |= FC_CPU_AVX2_FMA;
    if ((features & FC_CPU_AVX2_FMA) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        features |= FC_CPU_AVX512;
#endif
}

unsigned fc_cpu_features(void) {
    pthread_once(&features_once, ask);
    return features;
}
