/* SPDX-License-Identifier: BSD-3-Clause
 * Element types: sizes, and the strided copy between two of them. */
#ifndef FC_CONVERT_H
#define FC_CONVERT_H

#include <stddef.h>

#include "../include/fastconv.h"

size_t fc_dtype_size(fc_dtype dtype);

/* Whether arithmetic is done in this type. */
static inline int fc_is_compute_type(fc_dtype dtype) { return dtype == FC_FLOAT32 || dtype == FC_FLOAT64; }

/* As the copy kernel (kernels/copy/copy.h), from any type to float32 or float64. */
void fc_convert(fc_dtype from, fc_dtype to, int64_t rows, int64_t columns, const void *src, ptrdiff_t src_row,
                ptrdiff_t src_column, void *dst, ptrdiff_t dst_row, ptrdiff_t dst_column);

#endif
