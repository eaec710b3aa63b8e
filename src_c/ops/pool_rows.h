/* SPDX-License-Identifier: BSD-3-Clause
 * What pooling and its gradients share: a row of windows cut into runs of windows of one shape, clipped to the image;
 * lines of an image packed with adjacent channels, and back. */
#ifndef FC_POOL_ROWS_H
#define FC_POOL_ROWS_H

#include "../include/fastconv.h"
#include "../kernels/pool/pool.h"
#include "pack.h"

/* How one image, or some lines of it, lies in memory: elements from line to line, column to column; the same for the
 * output and the indices. */
typedef struct fc_pool_layout {
    int64_t first_line; /* the image line at x */
    ptrdiff_t x_line, x_column;
    int64_t first_row;  /* the output row at y */
    ptrdiff_t y_row, y_column;
    ptrdiff_t indices_row, indices_column;
    int64_t channels;
} fc_pool_layout;

/* The lines that the windows of rows [p, p + rows) read. */
fc_span fc_pool_lines(const fc_pool2d *g, int64_t p, int64_t rows);

/* Which of the taps of window o along an axis lie inside: the position of the first and how many they are. */
void fc_pool_taps(int64_t o, int64_t kernel, int64_t stride, int64_t dilation, int64_t before, int64_t in,
                  int64_t *first, int64_t *count);

/* The run that starts at window (p, q): up to all windows that lie wholly inside the image, or a single one at the
 * border. *x_at and *y_at receive the offsets of its first pixel. It is that of an image; run->indices is left
 * alone. */
fc_pool_run fc_pool_run_at(const fc_pool2d *g, const fc_pool_layout *m, int64_t p, int64_t q, ptrdiff_t *x_at,
                           ptrdiff_t *y_at);

/* Pack some channels of the lines [line, line + lines) of image n, `width` pixels each, pixel after pixel. */
void fc_pool_read_lines(const fc_reader *x, int64_t width, int64_t n, int64_t line, int64_t lines, int64_t c,
                        int64_t channels, void *dst);

/* The way back, into an array of the kernels' own type. */
void fc_pool_write_lines(const fc_kernels *kernels, const void *src, const fc_array *x, int64_t width, int64_t n,
                         int64_t line, int64_t lines, int64_t c, int64_t channels);

/* Indices as numbers of 64 bits, to be packed by the same means: a copy does not change a bit. */
fc_array fc_pool_indices(const int64_t *indices, const int64_t stride[4]);

#endif
