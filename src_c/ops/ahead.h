/* SPDX-License-Identifier: BSD-3-Clause
 * Looking ahead: while tiles compute on one block, they bring in what the next needs. Prefetchers of the processor
 * follow one stream a page, but a tile reads seven pixels side by side: without help a 1x1 layer of 256 channels and 64
 * filters waits for its input as long as it computes (59 % of the peak, 87 % with it). Only speed depends on any of
 * this. Winograd's drivers do without: their operands are in L2, and looking ahead cost 3 to 5 %. */
#ifndef FC_AHEAD_H
#define FC_AHEAD_H

#include "blocking.h"
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

/* The order in which the workers of one call walk through its input: blocks of pixels, and the passes over each. */
typedef struct fc_walk {
    const fc_window *window;
    const fc_array *x;
    const fc_row_blocks *blocks;
    const fc_passes *passes;
    int64_t total_rows;       /* N*P */
    int64_t c;                /* channels of a group */
    int64_t filter_blocks;
} fc_walk;

/* What a worker will probably read after this pass over this block: other channels of its pixels, or another block. */
fc_region fc_next_input(const fc_walk *walk, int64_t group, int64_t block, int64_t pass);

/* A region on the way to be brought in, in equal shares. */
typedef struct fc_scan {
    fc_region region;
    int64_t share, outer, inner, line; /* lines a share; the first of the next */
    ptrdiff_t step;
} fc_scan;

/* As many shares as there are tiles to come, each with that many terms. */
fc_scan fc_scan_of(const fc_region *region, int64_t tiles, int64_t terms);

/* The next share. No division: with four of them a tile, they took 4 % of the gradient of the weights. */
static inline fc_ahead fc_next_share(fc_scan *scan) {
    const fc_region *r = &scan->region;
    if (scan->outer >= r->outer) return (fc_ahead){0};
    const char *at = r->base + scan->outer * r->outer_step + scan->inner * r->inner_step + scan->line * r->line_step;
    for (scan->line += scan->share; scan->line >= r->lines; scan->line -= r->lines)
        if (++scan->inner == r->inner) scan->inner = 0, scan->outer++;
    return (fc_ahead){at, scan->step};
}

#endif
