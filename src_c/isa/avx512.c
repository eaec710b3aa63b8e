/* SPDX-License-Identifier: BSD-3-Clause */
#if defined(__x86_64__)
#include <immintrin.h> /* system headers stay outside the target region */
#include <string.h>

#include "../base/compiler.h"
#include "../kernels/kernels.h"

FC_TARGET_BEGIN("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prfchw")
#define FC_ISA avx512
#include "vec_avx512.h"
#include "isa_template.h"
FC_TARGET_END
#else
typedef int fc_not_empty;
#endif
