/* SPDX-License-Identifier: BSD-3-Clause
 * Which kernels the calling thread uses. */
#ifndef FC_DISPATCH_H
#define FC_DISPATCH_H

#include "../include/fastconv.h"
#include "../kernels/kernels.h"

/* Kernels for arithmetic in float32 or float64 with the instruction set chosen by thread, process or CPU. */
const fc_kernels *fc_kernels_for(fc_dtype dtype);

/* The same of one instruction set, and the judge of all of them. */
const fc_kernels *fc_kernels_of(int isa, fc_dtype dtype);
const fc_kernels *fc_reference_kernels(fc_dtype dtype);

/* Products by parts: those of the instruction set, or their judge. */
const fc_split *fc_split_kernels(void);
extern const fc_split fc_reference_split;

/* The k-th kernel of the list: its name (NULL past the end), and whether `isa` has code of its own for it,
 * or its base has. */
const char *fc_kernel_name(int k);
int fc_kernel_is_own(int isa, fc_dtype dtype, int k);

#endif
