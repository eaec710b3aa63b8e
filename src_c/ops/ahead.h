/* SPDX-License-Identifier: BSD-3-Clause
 * Looking ahead: while tiles compute on one block, they bring in what the next needs. Prefetchers of the processor follow
 * one stream a page, but a tile reads seven pixels side by side: without help a 1x1 layer of 256 channels and 64 filters
 * waits for its input as long as it computes (59 % of the peak, 87 % with it). Only speed depends on any of this.
 * Winograd's drivers do without: their operands are in L2, and looking ahead cost 3 to 5 %. */
#ifndef FC_AHEAD_H
#define FC_AHEAD_H

#include "pack.h"

/* Memory as runs of cache lines: run (i, j) begins at i*outer_step + j*inner_step, its lines are line_step apart.
 * Distances in bytes; no runs: nothing to bring in. */
typedef struct fc_region {
    const char *base;
    int64_t outer, inner, lines;
    ptrdiff_t outer_step, inner_step, line_step;
} fc_region;

/* What fc_pack_block reads for this block, near enough. */
fc_region fc_region_of(const fc_window *w, const fc_reader *x, const fc_block *block, int64_t c, int64_t channels);

/* Weights of rows [r, r + rows), all s columns, channels [c, c + channels), filters [k, k + filters), where filters are
 * adjacent. */
fc_region fc_region_of_weights(const fc_array *weight, int64_t r, int64_t rows, int64_t s, int64_t c, int64_t channels,
                               int64_t k, int64_t filters);

/* The share of tile number `call` out of `calls`, each with that many terms. */
fc_ahead fc_share_of_lines(const fc_region *region, int64_t total, int64_t call, int64_t calls, int64_t terms);

static inline fc_ahead fc_share_of(const fc_region *region, int64_t call, int64_t calls, int64_t terms) {
    const int64_t total = region->outer * region->inner * region->lines;
    return total > 0 ? fc_share_of_lines(region, total, call, calls, terms) : (fc_ahead){0};
}

#endif
