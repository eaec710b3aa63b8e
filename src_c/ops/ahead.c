/* SPDX-License-Identifier: BSD-3-Clause */
#include "ahead.h"

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"

static int64_t lines_in(int64_t bytes) { return (bytes + FC_CACHE_LINE - 1) / FC_CACHE_LINE; }

fc_region fc_region_of(const fc_window *w, const fc_reader *x, const fc_block *block, int64_t c, int64_t channels) {
    const int64_t *stride = x->array.stride, size = (int64_t)fc_dtype_size(x->array.dtype);
    const int64_t n = block->row / w->p, p = block->row % w->p;
    const int64_t top = FC_MAX(0, p * w->stride_h - w->top), left = FC_MAX(0, block->q * w->stride_w - w->left);
    const int64_t rows = block->rows * w->stride_h, columns = FC_MIN(block->columns * w->stride_w, w->w - left);
    fc_region region = {.line_step = FC_CACHE_LINE};
    int64_t at, tap_end;
    if (!fc_find_channel(&x->array, n, c, &at, &tap_end)) return (fc_region){0};
    channels = FC_MIN(channels, tap_end - c);
    region.base = (const char *)x->array.data + (at + top * stride[1] + left * stride[2]) * size;
    region.outer = rows;
    region.outer_step = stride[1] * size;
    region.inner = 1;
    if (stride[3] == 1 && stride[2] == channels) { /* lines of adjacent pixels */
        region.lines = lines_in(columns * channels * size);
    } else if (stride[3] == 1) { /* some channels of each pixel */
        region.inner = columns;
        region.inner_step = stride[2] * size;
        region.lines = lines_in(channels * size);
    } else if (stride[2] == 1) { /* lines of each channel */
        region.outer = channels;
        region.outer_step = stride[3] * size;
        region.inner = rows;
        region.inner_step = stride[1] * size;
        region.lines = lines_in(columns * size);
    } else {
        region.outer = 0;
    }
    return region;
}

fc_region fc_next_input(const fc_walk *walk, int64_t group, int64_t block, int64_t pass) {
    const fc_passes *passes = walk->passes;
    const int same_block = pass + 1 < passes->channel_blocks;
    if (passes->row_blocks > 1 || (!same_block && walk->filter_blocks > 1)) return (fc_region){0};
    if (!same_block) block++;
    if (block >= walk->blocks->row_blocks * walk->blocks->column_blocks) return (fc_region){0};
    const int64_t c = same_block ? (pass + 1) * passes->channels : 0, channels = FC_MIN(passes->channels, walk->c - c);
    const fc_block b = fc_block_at(walk->blocks, walk->window, walk->total_rows, block);
    const fc_reader reader = {.array = *walk->x};
    return fc_region_of(walk->window, &reader, &b, group * walk->c + c, channels);
}

fc_scan fc_scan_of(const fc_region *region, int64_t tiles, int64_t terms) {
    const int64_t total = region->outer * region->inner * region->lines, slots = FC_MAX(1, terms / 2);
    if (total <= 0) return (fc_scan){0};
    fc_scan scan = {.region = *region, .share = (total + tiles - 1) / tiles, .step = region->line_step};
    if (region->line_step == FC_CACHE_LINE && scan.share < slots) /* adjacent lines are spread over the terms */
        scan.step = FC_MAX(1, FC_CACHE_LINE * scan.share / slots);
    return scan;
}
