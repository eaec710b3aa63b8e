/* SPDX-License-Identifier: BSD-3-Clause
 * Winograd's algorithm on views, and what its two drivers share. */
#ifndef FC_WINOGRAD_OPS_H
#define FC_WINOGRAD_OPS_H

#include "blocking.h"
#include "direct.h"

/* What fc_direct_run does, for 3x3 filters with stride and dilation 1. Images whose result is not finite are computed
 * again by fc_direct_run, which knows where infinities and NaN belong. */
fc_status fc_winograd_run(const fc_direct *problem);

fc_status fc_winograd_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                      const fc_array *grad_weight);

/* The window of `size` x `size` pixels around each 4x4 tile of p x q outputs. */
static inline fc_window fc_tile_window(const fc_window *w, int64_t size, int64_t h, int64_t width, int64_t top,
                                       int64_t left) {
    return (fc_window){.h = h, .w = width, .p = fc_ceil_div(w->p, FC_WINOGRAD_TILE),
                       .q = fc_ceil_div(w->q, FC_WINOGRAD_TILE), .r = size, .s = size,
                       .stride_h = FC_WINOGRAD_TILE, .stride_w = FC_WINOGRAD_TILE,
                       .dilation_h = 1, .dilation_w = 1, .top = top, .left = left};
}

/* Elements of a row, and of one of 36 planes: odd numbers of cache lines, so that neither the rows of a tile nor the 36
 * places that a transform writes to fall into the same sets of a cache. */
static inline int64_t fc_odd_lines(int64_t elements, size_t size) {
    const int64_t line = FC_CACHE_LINE / (int64_t)size;
    return (fc_ceil_div(elements, line) | 1) * line;
}

#endif
