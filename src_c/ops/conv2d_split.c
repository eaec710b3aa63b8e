/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The direct algorithm by products of parts: see kernels/split/split.h. The loops, from the outside:
 *
 *   tasks     group x block of output pixels x block of filters                in parallel
 *     passes    chunks of 32 channels, for some rows of the kernel             always in the same order
 *               split the input of the block: every number once a pass
 *       panels    32 filters, split beforehand or when they are needed
 *         tiles     up to 16 output pixels, two tiles at a time: the kernel
 *
 * A tile of A is loaded from the packed lines of the image, pixels of one row of results: taps overlap in memory. Rows
 * too short for that are gathered, tap by tap.
 *
 * An image with a result that is not finite is computed again by fc_direct_run, which knows where infinities and NaN
 * belong, and which does not overflow where parts did. */
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "activation.h"
#include "ahead.h"
#include "blocking.h"
#include "split_panels.h"
#include "stream.h"
#include "together.h"

typedef struct plan {
    fc_share share;
    fc_split_product of;
    int64_t total_rows;
    const fc_bf16 *weights; /* all panels, unless they are packed late: in scratch memory, or packed before the call */
    fc_filter_blocks filters;
    int direct_y;  /* results are added up in y itself, ... */
    int streams;   /* ... past the caches */
    int pack_late; /* a panel of weights is packed by the task that uses it */
    fc_walk walk;
    fc_row_blocks blocks;
    atomic_uchar *doubtful; /* [image] */
    size_t doubtful_at, bias_at;                                          /* in the scratch memory of the problem */
    size_t output_at, panel_at, offsets_at, tiles_at, ahead_at, marks_at; /* in that of a worker */
} plan;

/* ---------------------------------------------------------------- planning */

/* Pixels of a block: each chunk of weights that a pass brings in serves this many. */
enum { BLOCK_PIXELS = 336 };

/* Bytes of a block's input, in parts: a third of a 2 MiB L2. */
enum { INPUT_BYTES = 704 << 10 };

/* Packed pixels of a block, times the taps where they are gathered. */
static int64_t packed_pixels(const plan *pl) {
    if (pl->of.gathered) return pl->blocks.rows * pl->blocks.columns * pl->of.passes.rows * pl->of.window.s;
    return fc_lines_size(&pl->of.window, pl->blocks.rows, pl->blocks.columns);
}

static void split_pixels(plan *pl) {
    const int64_t elements = INPUT_BYTES / (pl->of.parts * (int64_t)sizeof(fc_bf16));
    int64_t pixels = BLOCK_PIXELS;
    fc_window w = pl->of.window;
    if (pl->of.gathered) { /* as if the window were one pixel: every block is as long as its results */
        pixels = FC_MIN(pixels, elements / (pl->of.passes.rows * w.s * pl->of.passes.channels));
        w.r = w.s = w.stride_h = w.stride_w = 1;
    }
    pl->blocks = fc_split_pixels(&w, pl->total_rows, pl->of.passes.channels, pixels, elements, FC_SPLIT_ROWS);
}

static int64_t most_tiles(const plan *pl) {
    return pl->blocks.rows * fc_ceil_div(pl->blocks.columns, FC_SPLIT_ROWS);
}

static void lay_out_scratch(plan *pl) {
    const fc_direct *d = pl->of.d;
    const size_t pixels = (size_t)(pl->blocks.rows * pl->blocks.columns), part = sizeof(fc_bf16) * (size_t)pl->of.parts;
    const fc_passes *passes = &pl->of.passes;
    const size_t pass_chunks = (size_t)(passes->rows * pl->of.window.s * (passes->channels / FC_SPLIT_TERMS));
    const size_t weights = pl->pack_late || d->weight.packed != NULL ? 0 : (size_t)fc_split_all_panels(&pl->of);
    const size_t output = pl->direct_y ? 0 : pixels * (size_t)(pl->filters.panels * FC_SPLIT_COLUMNS);
    const size_t late = pl->pack_late ? (size_t)FC_MIN(FC_SPLIT_PANELS_AT_ONCE, pl->filters.panels) : 0;
    size_t at = 0;
    fc_set_aside(&at, weights * sizeof(fc_bf16));
    pl->doubtful_at = fc_set_aside(&at, (size_t)d->n);
    pl->bias_at = fc_set_aside(&at, d->bias == NULL ? 0 : (size_t)(d->groups * d->k) * sizeof(float));
    pl->share.scratch_bytes = at;
    at = 0;
    fc_set_aside(&at, (size_t)(packed_pixels(pl) * pl->of.passes.channels) * part);
    pl->output_at = fc_set_aside(&at, output * sizeof(float));
    pl->panel_at = fc_set_aside(&at, late * pass_chunks * FC_SPLIT_PANEL * part);
    /* per pixel: a row of C; per output row: its start; per chunk: its offset in A */
    pl->offsets_at = fc_set_aside(&at, (pixels + (size_t)pl->blocks.rows + pass_chunks) * sizeof(ptrdiff_t));
    pl->tiles_at = fc_set_aside(&at, (size_t)most_tiles(pl) * sizeof(fc_row_tile));
    pl->ahead_at = fc_set_aside(&at, (size_t)(most_tiles(pl) / 2 + 1) * sizeof(fc_ahead));
    pl->marks_at = fc_set_aside(&at, pixels);
    pl->share.worker_bytes = at;
}

static int streams(const plan *pl, int threads) {
    const fc_direct *d = pl->of.d;
    const double size = sizeof(float), pixels = (double)d->n * (double)(pl->of.window.h * pl->of.window.w);
    const double results = (double)pl->total_rows * (double)pl->of.window.q * (double)(d->k * d->groups) * size;
    const double inputs = pixels * (double)(d->c * d->groups) * size;
    const fc_depth *slices = d->y.depth;
    if (slices != NULL && slices->slice % (FC_CACHE_LINE / (int64_t)sizeof(float)) != 0) return 0;
    return pl->direct_y && fc_split_pass_count(&pl->of) == 1 && d->k % pl->of.kernels->vl == 0 &&
           !fc_is_left(d->activation) && fc_streams_pixels(&d->y, results, inputs, threads);
}

static void make_plan(fc_share *share, const fc_direct *d, int parts, int threads) {
    plan *pl = (plan *)share;
    *pl = (plan){.of = fc_split_product_of(d, parts)};
    pl->total_rows = d->n * pl->of.window.p;
    pl->direct_y = d->y.stride[3] == 1 || d->k == 1;
    split_pixels(pl);
    const int few_blocks = pl->blocks.row_blocks * pl->blocks.column_blocks <= FC_LATE_PACKING_BLOCKS;
    pl->pack_late = few_blocks && d->weight.packed == NULL;
    pl->streams = streams(pl, threads);
    const int64_t pixel_blocks = pl->blocks.row_blocks * pl->blocks.column_blocks;
    const int64_t output = pl->blocks.rows * pl->blocks.columns * FC_SPLIT_COLUMNS;
    const int64_t most = pl->direct_y ? pl->of.panels : FC_OUTPUT_ELEMENTS / output;
    pl->filters = fc_split_filters(pl->of.panels, most, pixel_blocks * d->groups, threads);
    pl->walk = (fc_walk){&pl->of.window, &pl->of.x, &pl->blocks, &pl->of.passes,
                         pl->total_rows, d->c, pl->filters.blocks};
    lay_out_scratch(pl);
    pl->share.tasks = d->groups * pixel_blocks * pl->filters.blocks;
}

static void pack_bias(const plan *pl) {
    const fc_direct *d = pl->of.d;
    if (d->bias == NULL) return;
    const fc_reader reader = {.array = *d->bias, .to = FC_FLOAT32, .kernels = pl->of.kernels};
    char *to = pl->share.scratch + pl->bias_at;
    fc_copy_as(&reader, 1, d->groups * d->k, d->bias->data, 0, d->bias->stride[3], to, 0, 1);
}

/* ---------------------------------------------------------------- one task */

typedef struct task {
    const plan *pl;
    fc_block block;
    int64_t pixel_block, group, first_panel, panels, pixels;
    fc_bf16 *input, *panel;
    float *output;
    ptrdiff_t *c_row, *row_at, *chunk;
    fc_row_tile *tile;
    fc_ahead *ahead;
    unsigned char *marks; /* [pixel]: a result is not finite */
} task;

static task task_at(const plan *pl, int64_t index, int worker) {
    const int64_t pixel_blocks = pl->blocks.row_blocks * pl->blocks.column_blocks;
    char *memory = pl->share.workers + (size_t)worker * pl->share.worker_bytes;
    task t = {.pl = pl, .pixel_block = index / pl->filters.blocks % pixel_blocks, .input = (void *)memory,
              .output = (void *)(memory + pl->output_at), .panel = (void *)(memory + pl->panel_at),
              .tile = (void *)(memory + pl->tiles_at), .ahead = (void *)(memory + pl->ahead_at),
              .c_row = (void *)(memory + pl->offsets_at), .marks = (unsigned char *)memory + pl->marks_at};
    t.block = fc_block_at(&pl->blocks, &pl->of.window, pl->total_rows, t.pixel_block);
    t.group = index / pl->filters.blocks / pixel_blocks;
    t.first_panel = index % pl->filters.blocks * pl->filters.panels;
    t.panels = FC_MIN(pl->filters.panels, pl->of.panels - t.first_panel);
    t.pixels = t.block.rows * t.block.columns;
    t.row_at = t.c_row + pl->blocks.rows * pl->blocks.columns;
    t.chunk = t.row_at + pl->blocks.rows;
    memset(t.marks, 0, (size_t)t.pixels);
    return t;
}

/* Element offset of the first pixel of row j of the block, in y. */
static int64_t row_in_y(const task *t, int64_t j) {
    const plan *pl = t->pl;
    const int64_t *stride = pl->of.d->y.stride, row = t->block.row + j, p = pl->of.window.p;
    return fc_image_at(&pl->of.d->y, row / p) + row % p * stride[1] + t->block.q * stride[2];
}

/* c_row: where the results of each pixel go, in y or in scratch memory. */
static void place_results(task *t) {
    const plan *pl = t->pl;
    ptrdiff_t *to = t->c_row;
    for (int64_t j = 0; j < t->block.rows; j++) {
        const int64_t first = pl->direct_y ? row_in_y(t, j) : j * t->block.columns * t->panels * FC_SPLIT_COLUMNS;
        const int64_t step = pl->direct_y ? pl->of.d->y.stride[2] : t->panels * FC_SPLIT_COLUMNS;
        for (int64_t q = 0; q < t->block.columns; q++) *to++ = first + q * step;
    }
}

/* Tiles of `count` pixels that begin at `a` and follow one another; they are as high as each other, but for the
 * last. */
static fc_row_tile *place_run(fc_row_tile *tile, ptrdiff_t a, ptrdiff_t a_row, int64_t first, int64_t count) {
    const int64_t rows = fc_ceil_div(count, fc_ceil_div(count, FC_SPLIT_ROWS));
    for (int64_t i = 0; i < count; i += rows)
        *tile++ = (fc_row_tile){.a = a + i * a_row, .first = (int)(first + i), .rows = (int)FC_MIN(rows, count - i)};
    return tile;
}

/* Rows that follow one another without a gap are one. */
static int64_t place_tiles(const task *t, ptrdiff_t a_row) {
    fc_row_tile *tile = t->tile;
    const int parts = t->pl->of.parts;
    int64_t joined = 1;
    for (int64_t j = 0; j < t->block.rows; j += joined) {
        joined = 1;
        while (j + joined < t->block.rows &&
               (t->row_at[j + joined] - t->row_at[j]) * parts == joined * t->block.columns * a_row)
            joined++;
        tile = place_run(tile, t->row_at[j] * parts, a_row, j * t->block.columns, joined * t->block.columns);
    }
    return tile - t->tile;
}

/* Split the input of one pass and say where it is. */
static fc_split_block bring_input(task *t, const fc_split_pass *ps) {
    const plan *pl = t->pl;
    fc_window w = pl->of.window;
    fc_reader reader = {.array = pl->of.x, .to = FC_FLOAT32, .kernels = pl->of.kernels, .parts = pl->of.parts,
                        .split = pl->of.split};
    reader.array.data = (char *)pl->of.x.data + t->group * pl->of.d->x_group * (int64_t)fc_dtype_size(pl->of.x.dtype);
    w.r = ps->rows;
    w.top -= ps->r * w.dilation_h;
    const int64_t pixels = pl->of.gathered ? t->pixels * w.r * w.s : fc_lines_size(&w, t->block.rows, t->block.columns);
    const fc_channels channels = {.c = ps->c, .channels = ps->channels, .width = FC_SPLIT_TERMS,
                                  .block = pixels * FC_SPLIT_TERMS};
    const fc_packed packed = pl->of.gathered ? fc_pack_gathered(&w, &reader, &t->block, &channels, t->input, t->row_at)
                                          : fc_pack_lines(&w, &reader, &t->block, &channels, t->input, t->row_at);
    ptrdiff_t *to = t->chunk;
    for (int64_t c = 0; c < fc_ceil_div(ps->channels, FC_SPLIT_TERMS); c++)
        for (int64_t r = 0; r < ps->rows; r++)
            for (int64_t s = 0; s < w.s; s++)
                *to++ = (c * channels.block + r * packed.tap_row + s * packed.tap_column) * pl->of.parts;
    const ptrdiff_t a_row = packed.pixel * pl->of.parts;
    return (fc_split_block){.parts = pl->of.parts, .chunks = ps->chunks, .tiles = place_tiles(t, a_row),
                            .a_chunk = t->chunk, .a_row = a_row, .a_part = FC_SPLIT_TERMS, .tile = t->tile};
}

/* The share of each pair of tiles of a panel. */
static void look_ahead(const task *t, fc_scan *scan, fc_split_block *block) {
    block->ahead = t->ahead;
    for (int64_t i = 0; i < (block->tiles + 1) / 2; i++) t->ahead[i] = fc_next_share(scan);
}

/* Cache lines of it to be brought in during each chunk of a pair of tiles. */
static int lines_ahead(const task *t, const fc_region *region, const fc_split_block *block) {
    enum { MOST_LINES = 40 };
    const int64_t slots = t->panels * ((block->tiles + 1) / 2) * block->chunks;
    return (int)FC_MIN(MOST_LINES, fc_ceil_div(region->outer * region->inner * region->lines, slots));
}

/* A panel of weights, packed. */
static const fc_bf16 *panel_of(const task *t, const fc_split_pass *ps, int64_t panel) {
    const plan *pl = t->pl;
    if (!pl->pack_late) return pl->weights + fc_split_panel_at(&pl->of, t->group, ps, panel);
    const int64_t place = (panel - t->first_panel) % FC_SPLIT_PANELS_AT_ONCE, left = t->first_panel + t->panels - panel;
    if (place == 0) fc_split_pack_panels(&pl->of, t->group, ps, panel, FC_MIN(FC_SPLIT_PANELS_AT_ONCE, left), t->panel);
    return t->panel + place * ps->chunks * pl->of.parts * FC_SPLIT_PANEL;
}

static void multiply_pass(task *t, int64_t pass_index) {
    const plan *pl = t->pl;
    const fc_direct *d = pl->of.d;
    const fc_split_pass now = fc_split_pass_at(&pl->of, pass_index), *ps = &now;
    const int last = pass_index + 1 == fc_split_pass_count(&pl->of);
    fc_split_block block = bring_input(t, ps);
    block.accumulate = pass_index > 0;
    block.streams = pl->streams;
    block.activation = last ? fc_epilogue_of(d->activation) : FC_EPILOGUE_NONE;
    float *y = (float *)d->y.data + t->group * d->y_group;
    const fc_region input = fc_next_input(&pl->walk, t->group, t->pixel_block, pass_index);
    block.ahead_lines = lines_ahead(t, &input, &block);
    fc_scan scan = fc_scan_of(&input, t->panels * ((block.tiles + 1) / 2), 2 * block.chunks * block.ahead_lines);
    for (int64_t panel = t->first_panel; panel < t->first_panel + t->panels; panel++) {
        const fc_bf16 *b = panel_of(t, ps, panel);
        const int64_t k = panel * FC_SPLIT_COLUMNS;
        const float *bias = (const float *)(const void *)(pl->share.scratch + pl->bias_at) + t->group * d->k + k;
        float *c = pl->direct_y ? y + k : t->output + k - t->first_panel * FC_SPLIT_COLUMNS;
        look_ahead(t, &scan, &block);
        pl->of.split->multiply(&block, t->input, b, last && d->bias != NULL ? bias : NULL,
                               fc_split_panel_columns(&pl->of, panel), c, t->c_row, t->marks);
    }
}

/* What the kernel could not do: activations by library functions, filters that are not adjacent in y; and which images
 * are doubtful. */
static void finish_results(task *t) {
    const plan *pl = t->pl;
    const fc_direct *d = pl->of.d;
    const int64_t k0 = t->first_panel * FC_SPLIT_COLUMNS, *stride = d->y.stride, width = t->panels * FC_SPLIT_COLUMNS;
    const int64_t filters = FC_MIN(width, d->k - k0);
    float *y = (float *)d->y.data + t->group * d->y_group + k0 * stride[3];
    float *results = pl->direct_y ? y : t->output;
    if (fc_is_left(d->activation))
        for (int64_t i = 0; i < t->pixels; i++)
            fc_activate_row(pl->of.kernels, d->activation, filters, results + t->c_row[i], 1);
    for (int64_t j = 0; j < t->block.rows; j++) {
        const int64_t first = j * t->block.columns;
        if (!pl->direct_y)
            pl->of.kernels->copy(t->block.columns, filters, t->output + first * width, width, 1, y + row_in_y(t, j),
                              stride[2], stride[3]);
        if (memchr(t->marks + first, 1, (size_t)t->block.columns) != NULL)
            atomic_store_explicit(&pl->doubtful[(t->block.row + j) / pl->of.window.p], 1, memory_order_relaxed);
    }
}

static void run_task(const fc_share *share, int64_t index, int worker) {
    const plan *pl = (const plan *)share;
    task t = task_at(pl, index, worker);
    place_results(&t);
    for (int64_t i = 0; i < fc_split_pass_count(&pl->of); i++) multiply_pass(&t, i);
    finish_results(&t);
}

/* ---------------------------------------------------------------- entry */

static void explain(const fc_share *share, fc_explanation *e, int threads) {
    const plan *pl = (const plan *)share;
    const fc_direct *d = pl->of.d;
    const double element = (double)pl->of.parts * sizeof(fc_bf16), groups = (double)d->groups;
    const double blocks = (double)pl->blocks.row_blocks * (double)pl->blocks.column_blocks;
    const double weights = (double)fc_split_all_panels(&pl->of) / pl->of.parts;
    const double taps = pl->of.gathered ? (double)(pl->of.window.r * pl->of.window.s) : 1;
    const double pixels = (double)pl->total_rows * (double)pl->of.window.q;
    const double input = (pl->of.gathered ? pixels * taps : (double)packed_pixels(pl) * blocks) *
                         (double)(pl->of.chunks * FC_SPLIT_TERMS) * (double)pl->filters.blocks * groups;
    const double products = fc_split_products(pl->of.parts);
    fc_tell_kernel(e, "split", 2 * FC_SPLIT_ROWS, FC_SPLIT_COLUMNS, threads, products * pixels * weights);
    fc_tell_copy(&e->x, input * element, FC_COPY_SPLIT);
    if (d->weight.packed == NULL)
        fc_tell_copy(&e->weight, weights * (pl->pack_late ? blocks : 1) * element, FC_COPY_SPLIT);
    if (!pl->direct_y) fc_tell_copy(&e->y, pixels * (double)d->k * groups * sizeof(float), FC_COPY_CHANNELS);
}

static fc_status begin(fc_share *share) {
    plan *pl = (plan *)share;
    const fc_direct *d = pl->of.d;
    pl->weights = d->weight.packed != NULL ? d->weight.packed : (void *)share->scratch;
    pl->doubtful = (atomic_uchar *)(void *)(share->scratch + pl->doubtful_at);
    memset(share->scratch + pl->doubtful_at, 0, (size_t)d->n);
    pack_bias(pl);
    return pl->pack_late || d->weight.packed != NULL ? FC_OK : fc_split_pack_all(&pl->of, (void *)share->scratch);
}

static fc_status end(const fc_share *share) {
    const plan *pl = (const plan *)share;
    fc_direct whole = *pl->of.d;
    whole.weight.packed = NULL; /* panels of parts */
    return fc_direct_run_doubtful(&whole, pl->doubtful);
}

static const fc_steps steps = {sizeof(plan), make_plan, explain, begin, run_task, end};

fc_status fc_split_run_all(const fc_direct *problems, int count, int parts) {
    plan plans[FC_TOGETHER];
    double work = 0;
    for (int i = 0; i < count; i++) work += fc_split_work(fc_multiply_adds(&problems[i]), parts);
    return fc_run_together(&steps, plans, problems, count, parts, work);
}
