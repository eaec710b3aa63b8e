/* SPDX-License-Identifier: BSD-3-Clause
 * Contract of the pooling kernels: a run of output pixels whose windows have the same shape.
 *
 *     window of pixel i, channel j = { x[i*x_step + u*row_step + v*column_step + j] }   u < rows, v < columns
 *
 * Channels are adjacent. A window is never empty and lies inside the image: the caller has clipped it.
 * x, y, indices do not overlap; nothing beyond the numbers named is read or written. */
#ifndef FC_POOL_H
#define FC_POOL_H

#include <stddef.h>
#include <stdint.h>

enum { FC_SUM_CHAIN = 16, FC_SUM_LEVELS = 4 };

typedef struct fc_pool_run {
    int64_t pixels, channels;
    int64_t rows, columns;           /* of the window */
    ptrdiff_t x_step, row_step, column_step;
    ptrdiff_t y_step;
    int64_t *indices;                /* maximum only; NULL: not wanted */
    ptrdiff_t indices_step;
    int64_t index, index_step;       /* of the first window's first pixel in the image; from pixel to pixel */
    int64_t index_row, index_column; /* from window row to row, column to column */
    int64_t divisor;                 /* average only */
} fc_pool_run;

/* y[i*y_step + j] = maximum of the window, in row-major order: a NaN beats a number, else the greater beats,
 * else the earlier stays. indices[i*indices_step + j] = where it was. */
typedef void (*fc_max_pool_fn)(const fc_pool_run *run, const void *x, void *y);

/* y[i*y_step + j] = sum of the window / divisor. The numbers of a window are added in row-major order, FC_SUM_CHAIN of
 * them, then as many of such sums, and so on, FC_SUM_LEVELS deep: the chains stay short, so the error of a mean over a
 * million pixels stays near one rounding. */
typedef void (*fc_avg_pool_fn)(const fc_pool_run *run, const void *x, void *y);

/* window[u][v] += y[i*y_step + j] / divisor: the transpose of the average; x is read and written. */
typedef void (*fc_avg_pool_backward_fn)(const fc_pool_run *run, void *x, const void *y);

#endif
