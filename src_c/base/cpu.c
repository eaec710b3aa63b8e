/* SPDX-License-Identifier: BSD-3-Clause */
#define _DEFAULT_SOURCE /* syscall */
#include "cpu.h"

#include <pthread.h>
#include <stddef.h>

#include "compiler.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static unsigned features;
static const char *amx_refusal;
static int64_t near_cache;
static pthread_once_t features_once = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)
/* Whether the system saves tiles (bits 17 and 18 of XCR0) when it changes from thread to thread. */
static int system_saves_tiles(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (a >> 17 & 3) == 3;
}

/* Linux hands out tiles to processes that ask: their signal frames grow by 8 KiB. It refuses while a thread has a
 * signal stack that would not hold such a frame. Threads and children inherit the permission. */
static int permission_to_use_tiles(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
#else
    return 0;
#endif
}

static const char *ask_for_amx(void) {
    enum { BFLOAT16 = 1 << 22, TILES = 1 << 24 };
    unsigned a, b, c, d;
    if (!FC_HAS_AMX) return "the compiler of this build does not know it";
    if (FC_EMULATED_TILES) return NULL;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & BFLOAT16) || !(d & TILES)) return "the processor lacks it";
    if (!system_saves_tiles()) return "the operating system does not know it";
    if (!permission_to_use_tiles()) return "the operating system refuses it to this process";
    return NULL;
}

static int knows_bf16(void) {
    enum { AVX512_BF16 = 1 << 5 };
    unsigned a, b, c, d;
    return FC_HAS_AVX512_BF16 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & AVX512_BF16);
}

/* The third level of the cache, of the processors that tell of it in this leaf. */
static int64_t ask_for_near_cache(void) {
    enum { CACHES = (int)0x8000001d, THIRD = 3 };
    unsigned a, b, c, d;
    if (!__builtin_cpu_is("amd") || !__get_cpuid_count((unsigned)CACHES, THIRD, &a, &b, &c, &d)) return 0;
    const int64_t line = (b & 0xfff) + 1, partitions = (b >> 12 & 0x3ff) + 1, ways = (b >> 22) + 1;
    return (a & 31) == 0 ? 0 : ways * partitions * line * ((int64_t)c + 1); /* 0: there is none */
}
#endif

static void ask(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) features |= FC_CPU_AVX2_FMA;
    if ((features & FC_CPU_AVX2_FMA) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        features |= FC_CPU_AVX512;
    if ((features & FC_CPU_AVX512) && knows_bf16()) features |= FC_CPU_BF16;
    amx_refusal = features & FC_CPU_AVX512 ? ask_for_amx() : "the processor lacks it";
    if (amx_refusal == NULL) features |= FC_CPU_AMX;
    near_cache = ask_for_near_cache();
#endif
}

unsigned fc_cpu_features(void) {
    pthread_once(&features_once, ask);
    return features;
}

int64_t fc_cpu_near_cache(void) {
    pthread_once(&features_once, ask);
    return near_cache;
}

const char *fc_cpu_lacks(unsigned feature) {
    if ((fc_cpu_features() & feature) == feature) return NULL;
    return feature & FC_CPU_AMX ? amx_refusal : "the processor lacks it";
}
