/* SPDX-License-Identifier: BSD-3-Clause
 * Contract of the strided copy, where every layout ends: packing reads with it, NCHW results leave with it.
 *
 *     dst[i*dst_row + j*dst_column] = src[i*src_row + j*src_column]     0 <= i < rows, 0 <= j < columns
 *
 * Strides count elements and may be negative (src also zero). src and dst do not overlap.
 * Fast when both columns are adjacent (rows are copied), and when adjacent columns meet adjacent
 * rows (blocks are transposed in registers). */
#ifndef FC_COPY_H
#define FC_COPY_H

#include <stddef.h>
#include <stdint.h>

typedef void (*fc_copy_fn)(int64_t rows, int64_t columns, const void *src, ptrdiff_t src_row, ptrdiff_t src_column,
                           void *dst, ptrdiff_t dst_row, ptrdiff_t dst_column);

/* Cut rows of adjacent numbers into blocks of `width` columns; the last block may be narrower, zeros fill it up.
 *
 *     dst[(j / width)*dst_block + i*width + j % width] = src[i*src_row + j]     0 <= i < rows, 0 <= j < columns
 *
 * Block after block: made for sources that were brought in beforehand. */
typedef void (*fc_spread_fn)(int64_t rows, int64_t columns, const void *src, ptrdiff_t src_row, void *dst,
                             int64_t width, ptrdiff_t dst_block);

#endif
