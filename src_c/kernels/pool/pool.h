/* SPDX-License-Identifier: BSD-3-Clause
 * Contract of the pooling kernels: a run of output pixels whose windows have the same shape.
 *
 *     window of pixel i, channel j = { x[i*x_step + t*slice_step + u*row_step + v*column_step + j] }
 *                                    t < slices (maximum only; of an image one), u < rows, v < columns
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
    int64_t slices, rows, columns;   /* of the window */
    ptrdiff_t x_step, slice_step, row_step, column_step;
    ptrdiff_t y_step;
    int64_t *indices;                /* maximum only; NULL: not wanted */
    ptrdiff_t indices_step;
    int64_t index, index_step;       /* of the first window's first pixel in the image; from pixel to pixel */
    int64_t index_slice, index_row, index_column; /* from window slice to slice, row to row, column to column */
    int64_t divisor;                 /* average only */
} fc_pool_run;

/* y[i*y_step + j] = maximum of the window, in row-major order: a NaN beats a number, else the greater beats,
 * else the earlier stays. indices[i*indices_step + j] = where it was. */
typedef void (*fc_max_pool_fn)(const fc_pool_run *run, const void *x, void *y);

/* y[i*y_step + j] = sum of the window / divisor. The numbers of a window are added in row-major order, FC_SUM_CHAIN of
 * them, then as many of such sums, and so on, FC_SUM_LEVELS deep: the chains stay short, so the error of a mean over a
 * million pixels stays near one rounding. */
typedef void (*fc_avg_pool_fn)(const fc_pool_run *run, const void *x, void *y);

/* first <= place < end */
typedef struct fc_span {
    int64_t first, end;
} fc_span;

/* One or two lines of input pixels and the windows that reach them: of window slices [0, slices) (of an image one) the
 * rows [0, rows), for pixel i columns[i].
 * Where windows do not overlap, two lines have the same windows, which are then read once. */
typedef struct fc_unpool_run {
    int64_t lines, pixels, channels;
    ptrdiff_t x_line, x_step;
    int64_t slices, rows;
    const fc_span *columns;
    ptrdiff_t y_slice, y_row, y_column;
    const int64_t *indices; /* NULL: every window has its share in each of its pixels, unless there are places */
    const void *places; /* the same as indices, of integers as wide as the numbers; if given, indices are not read */
    ptrdiff_t indices_slice, indices_row, indices_column;
    int64_t index, index_line; /* of pixel 0, those of the line's others follow; from line to line */
    int streams; /* x goes past the caches; each pixel begins at a multiple of the vector's size */
} fc_unpool_run;

/* x[k*x_line + i*x_step + j] = the sum, in row-major order of the windows (o, p, q), of y[o*y_slice + p*y_row +
 * q*y_column + j], where indices are given of those with the same element of indices == index + k*index_line + i. The
 * gradient of a pooling seen from the pixels: each is written once, by whom it belongs to. */
typedef void (*fc_unpool_fn)(const fc_unpool_run *run, void *x, const void *y);

enum { FC_INDEX_LANES = 8 };

typedef struct fc_index_run {
    int64_t items;
    ptrdiff_t step;        /* from item to item */
    int64_t depth;
    ptrdiff_t depth_step;
    int64_t lanes;         /* 1 .. FC_INDEX_LANES, adjacent */
    int64_t width;         /* of the image: at most 2^31 pixels */
    int64_t factor;        /* index * factor >> shift == index / width; see fc_pool_divider */
    int shift;
    int64_t height;        /* the same for index / width, where the lines within the slices are asked for */
    int64_t height_factor;
    int height_shift;
} fc_index_run;

/* Where the indices[i*step + d*depth_step + l] of item i and lane l lie, d < depth: least[i*FC_INDEX_LANES + l] and
 * most[...] are widened to their columns (index % width), span[0] and span[1] to the indices themselves, and unless
 * lines is NULL, lines[0] and lines[1] to their lines (index / width % height). Where indices
 * lie outside the image (which span tells) the columns mean nothing. Lanes beyond `lanes` may be widened, too. */
typedef void (*fc_index_range_fn)(const fc_index_run *run, const int64_t *indices, int64_t span[2], int64_t *lines,
                                  int64_t *least, int64_t *most);

#endif
