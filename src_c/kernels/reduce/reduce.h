/* SPDX-License-Identifier: BSD-3-Clause
 * Contract of the column sums (the gradient of a bias) and of the loop that measures the FMA peak. */
#ifndef FC_REDUCE_H
#define FC_REDUCE_H

#include <stddef.h>
#include <stdint.h>

/* y[j] = sum over i < rows of x[i*x_row + j], j < columns. The rows are added in a fixed order. */
typedef void (*fc_column_sum_fn)(int64_t rows, int64_t columns, const void *x, ptrdiff_t x_row, void *y);

/* Fused multiply-adds on registers alone, `rounds` times FC_PEAK_CHAINS of them, one vector each.
 * Returns a number that depends on all of them. */
#define FC_PEAK_CHAINS 12
typedef double (*fc_fma_peak_fn)(int64_t rounds);

#endif
