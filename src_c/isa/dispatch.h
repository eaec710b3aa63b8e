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

/* The k-th kernel of the list: its name (NULL past the end), and whether `isa` has code of its own for it. */
const char *fc_kernel_name(int k);
int fc_kernel_is_own(int isa, fc_dtype dtype, int k);

#endif
