/* SPDX-License-Identifier: BSD-3-Clause */
#if defined(__aarch64__)
#include <arm_neon.h> /* part of every 64-bit Arm: no target region */
#include <string.h>

#include "../base/compiler.h"
#include "../kernels/kernels.h"

#define FC_ISA neon
#define FC_VECTOR_REGISTER(x) "+w"(x)
#include "vec_neon.h"
#include "isa_template.h"
#else
typedef int fc_not_empty;
#endif
