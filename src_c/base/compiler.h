/* SPDX-License-Identifier: BSD-3-Clause
 * The few spellings in which gcc and clang differ. */
#ifndef FC_COMPILER_H
#define FC_COMPILER_H

#define FC_PRAGMA(x) _Pragma(#x)

#if defined(__clang__)
#define FC_UNROLL FC_PRAGMA(clang loop unroll(full))
#define FC_TARGET_BEGIN(list) FC_PRAGMA(clang attribute push(__attribute__((target(list))), apply_to = function))
#define FC_TARGET_END FC_PRAGMA(clang attribute pop)
#else
#define FC_UNROLL FC_PRAGMA(GCC unroll 32)
#define FC_TARGET_BEGIN(list) FC_PRAGMA(GCC push_options) FC_PRAGMA(GCC target(list))
#define FC_TARGET_END FC_PRAGMA(GCC pop_options)
#endif

/* Whether the compiler knows the matrix unit of x86. */
#if defined(__has_include)
#if __has_include(<amxtileintrin.h>) && __has_include(<amxbf16intrin.h>)
#define FC_HAS_AMX 1
#elif __has_include(<amxintrin.h>)
#define FC_HAS_AMX 1
#endif
#endif
#ifndef FC_HAS_AMX
#define FC_HAS_AMX 0
#endif

/* Tests of the matrix unit without one: see tests/emulated_tiles.h. */
#ifndef FC_EMULATED_TILES
#define FC_EMULATED_TILES 0
#endif

/* Whether the compiler knows products of bfloat16 vectors of x86. */
#if defined(__has_include)
#if __has_include(<avx512bf16intrin.h>)
#define FC_HAS_AVX512_BF16 1
#endif
#endif
#ifndef FC_HAS_AVX512_BF16
#define FC_HAS_AVX512_BF16 0
#endif

/* The compiler forgets where a pointer came from, so that it keeps no sums of it and of offsets in registers. */
#define FC_OPAQUE(pointer) __asm__("" : "+r"(pointer))

#define FC_INLINE static inline __attribute__((always_inline))

#define FC_MIN(a, b) ((a) < (b) ? (a) : (b))
#define FC_MAX(a, b) ((a) > (b) ? (a) : (b))

#define FC_JOIN_(a, b) a##_##b
#define FC_JOIN(a, b) FC_JOIN_(a, b)

#endif
