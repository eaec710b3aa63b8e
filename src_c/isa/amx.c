/* SPDX-License-Identifier: BSD-3-Clause
 * AVX-512 and the matrix unit beside it. */
#include <stddef.h>

#include "../base/compiler.h"
#include "../kernels/kernels.h"

#if defined(__x86_64__) && FC_HAS_AMX
#include <immintrin.h> /* system headers stay outside the target region */
#include <string.h>

FC_TARGET_BEGIN("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-bf16,prfchw")
#include "vec_avx512.h"
#include "vec_amx.h"
#include "../kernels/split/split_tiles_body.h"
FC_TARGET_END

static const fc_split split = {16, split_rows, split_panel, split_columns, split_multiply};
extern const fc_isa fc_isa_avx512;
const fc_isa fc_isa_amx = {.name = "amx", .base = &fc_isa_avx512, .split = &split};
#elif defined(__x86_64__)
extern const fc_isa fc_isa_avx512;
const fc_isa fc_isa_amx = {.name = "amx", .base = &fc_isa_avx512}; /* unknown to the compiler */
#endif
