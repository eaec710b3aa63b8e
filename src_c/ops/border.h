/* SPDX-License-Identifier: BSD-3-Clause
 * Which taps of a window lie inside the image: products with the zeros of the border need not be made. */
#ifndef FC_BORDER_H
#define FC_BORDER_H

#include "../base/compiler.h"
#include "pack.h"

/* Taps [first, end) of a row or a column of the window; never none. */
typedef struct fc_taps {
    int64_t first, end;
} fc_taps;

/* Along one axis: the taps of a kernel of so many that lie inside an image of `in` pixels, the first of them at pixel
 * `start`; of a window that lies outside altogether one, which reads zeros. */
static inline fc_taps fc_taps_inside(int64_t start, int64_t taps, int64_t dilation, int64_t in) {
    fc_taps t = {0, taps};
    if (start < 0) t.first = FC_MIN(taps - 1, (-start + dilation - 1) / dilation);
    if (start + (taps - 1) * dilation >= in) t.end = start < in ? (in - start + dilation - 1) / dilation : 0;
    t.end = FC_MAX(t.end, t.first + 1);
    return t;
}

static inline fc_taps fc_row_taps(const fc_window *w, int64_t p) {
    return fc_taps_inside(p * w->stride_h - w->top, w->r, w->dilation_h, w->h);
}

static inline fc_taps fc_column_taps(const fc_window *w, int64_t q) {
    return fc_taps_inside(q * w->stride_w - w->left, w->s, w->dilation_w, w->w);
}

/* The share of an image's products that are with its pixels. */
double fc_share_inside(const fc_window *w);

/* Pixels of a block that have the same taps: order[from .. from + count). */
typedef struct fc_pixel_class {
    fc_taps rows, columns;
    int64_t from, count;
} fc_pixel_class;

/* Sort the pixels of a block by their taps: order[] gets their numbers, row by row, in the block. Returns the number of
 * classes, at most one a pixel. `taps` is scratch memory for rows + columns of the block. */
int64_t fc_sort_by_taps(const fc_window *w, const fc_block *block, fc_taps *taps, int64_t *order,
                        fc_pixel_class *classes);

#endif
