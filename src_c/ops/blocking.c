/* SPDX-License-Identifier: BSD-3-Clause */
#include "blocking.h"

#include "../base/compiler.h"

fc_passes fc_split_reduction(int64_t r, int64_t s, int64_t c) {
    fc_passes passes = {.rows = r, .channels = c};
    if (r * s >= FC_KC) { /* a huge kernel: some of its rows, one channel at a time */
        passes.rows = FC_MAX(1, FC_MIN(r, FC_KC / s));
        passes.channels = FC_MIN(c, FC_MAX(1, FC_KC / (passes.rows * s)));
    } else if (r * s * c > FC_KC + FC_KC / 2) {
        /* equal parts, in multiples of a cache line where there are enough channels */
        const int64_t part = fc_ceil_div(c, fc_ceil_div(r * s * c, FC_KC));
        passes.channels = part >= 16 ? fc_ceil_div(part, 16) * 16 : part;
    }
    passes.row_blocks = fc_ceil_div(r, passes.rows);
    passes.channel_blocks = fc_ceil_div(c, passes.channels);
    return passes;
}

/* The share of tile rows that do work when `pixels` pixels are cut into tiles of mr. */
static double tile_use(int64_t pixels, int mr) {
    return (double)pixels / (double)(fc_ceil_div(pixels, mr) * mr);
}

/* Between half of `most` and `most` rows of q pixels, the number that fills tiles best; the larger of equals. */
static int64_t best_row_count(int64_t most, int64_t q, int mr) {
    int64_t best = most;
    for (int64_t rows = most; rows > most / 2 && rows > most - 2 * mr; rows--)
        if (tile_use(rows * q, mr) > tile_use(best * q, mr) + 0.01) best = rows;
    return best;
}

fc_row_blocks fc_split_pixels(const fc_window *w, int64_t total_rows, int64_t channels, int64_t pixels,
                              int64_t elements, int mr) {
    fc_row_blocks blocks = {.rows = 1, .columns = w->q};
    if (w->q > pixels) blocks.columns = FC_MAX(mr, pixels / mr * mr);
    while (blocks.columns > mr && fc_packed_size(w, 1, blocks.columns, channels) > elements)
        blocks.columns = FC_MAX(mr, blocks.columns / 2 / mr * mr);
    if (blocks.columns >= w->q) {
        blocks.columns = w->q;
        int64_t most = FC_MAX(1, FC_MIN(total_rows, pixels / w->q));
        while (most > 1 && fc_packed_size(w, most, w->q, channels) > elements) most = most * 3 / 4;
        blocks.rows = most < total_rows ? best_row_count(most, w->q, mr) : most; /* one block has the fewest tiles */
    }
    blocks.row_blocks = fc_ceil_div(total_rows, blocks.rows);
    blocks.column_blocks = fc_ceil_div(w->q, blocks.columns);
    return blocks;
}

fc_block fc_block_at(const fc_row_blocks *blocks, const fc_window *w, int64_t total_rows, int64_t index) {
    const int64_t row = index / blocks->column_blocks * blocks->rows;
    const int64_t q = index % blocks->column_blocks * blocks->columns;
    return (fc_block){.row = row,
                      .rows = FC_MIN(blocks->rows, total_rows - row),
                      .q = q,
                      .columns = FC_MIN(blocks->columns, w->q - q)};
}

fc_filter_blocks fc_split_filters(int64_t panels, int64_t most, int64_t other_tasks, int threads) {
    const int64_t wanted = (int64_t)threads * FC_TASKS_PER_THREAD;
    if (threads > 1 && other_tasks < wanted) most = FC_MIN(most, panels * other_tasks / wanted);
    const int64_t per_block = fc_ceil_div(panels, fc_ceil_div(panels, FC_MAX(1, most)));
    return (fc_filter_blocks){.panels = per_block, .blocks = fc_ceil_div(panels, per_block)};
}
