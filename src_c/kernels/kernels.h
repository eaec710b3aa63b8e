/* SPDX-License-Identifier: BSD-3-Clause
 * The kernels of one instruction set for one element type. Kernels do not allocate, thread or fail. */
#ifndef FC_KERNELS_H
#define FC_KERNELS_H

#include "activation/activation.h"
#include "copy/copy.h"
#include "depthwise/depthwise.h"
#include "elementwise/elementwise.h"
#include "gemm/gemm.h"
#include "norm/norm.h"
#include "pool/pool.h"
#include "reduce/reduce.h"
#include "response/response.h"
#include "softmax/softmax.h"
#include "split/split.h"
#include "winograd/winograd.h"

#define FC_MAX_MR 8 /* no instruction set has taller tiles */

typedef struct fc_kernels {
    int element_size;
    int vl; /* numbers in a vector */
    int mr; /* rows of a full tile; it is 2*vl columns wide */
    const fc_split *split; /* NULL: no fast products of bfloat16, or not for this type */
#define FC_KERNEL(name, type) type name;
#include "kernels.inc"
#undef FC_KERNEL
} fc_kernels;

/* One instruction set: [0] float32, [1] float64. */
typedef struct fc_isa {
    const char *name;
    const struct fc_isa *base; /* NULL; or the set whose kernels are also those of this one ... */
    const fc_split *split;     /* ... and what it adds to them */
    fc_kernels kernels[2];
} fc_isa;

#endif
