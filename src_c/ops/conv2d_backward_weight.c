/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradient of the weights: tiles of (r, s, c) rows x filters, summed over output pixels.
 *
 *   tasks     group x part of the pixels x block of channels x block of filters       in parallel
 *     chunks    at most FC_PIXEL_CHAIN output pixels: pack x
 *       panels    2 vectors of filters (NR): pack grad_y, or the first tile does it
 *         tiles     MR rows (r, s, c), read from the packed x where the taps overlap in memory
 *
 * Each task owns its block of the result and adds its chunks in order (parts.h). Only where there are fewer blocks than
 * FC_FIXED_TASKS are the pixels cut into parts too. */
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "ahead.h"
#include "blocking.h"
#include "direct.h"
#include "explain.h"
#include "parts.h"

enum {
    FC_ROWS = 256,               /* (r, s, c) rows of a block of the result, or what whole lines of c make of it */
    FC_RESULT_ELEMENTS = 5 << 14 /* ... which is 320 KiB of float32, a sixth of a 2 MiB L2 */
};

typedef struct plan {
    const fc_conv2d *g;
    const fc_kernels *kernels;
    size_t size;
    fc_window window;
    fc_reader x, grad_y;
    const fc_array *grad_weight;
    int64_t c, k;       /* of one group */
    int64_t total_rows; /* N*P */
    int64_t channels, channel_blocks;
    int64_t line_channels; /* channels that are packed together: a cache line of them */
    int64_t panels, panels_per_block, filter_blocks;
    fc_row_blocks chunks;
    fc_reduction reduction; /* of chunks */
    int in_place;           /* results are added up in grad_weight itself */
    int tiles_pack;         /* panels of grad_y, all but a narrow one */
    char *scratch;
    size_t result_bytes, sum_bytes, workers_at, worker_bytes, line_block_bytes, grad_y_at, sums_at, offsets_at;
} plan;

/* The block of the result that a task owns. */
typedef struct block {
    int64_t group, part, c, channels, rows, first_panel, panels, columns;
    char *result;           /* where it adds up, and ... */
    ptrdiff_t result_width; /* ... row to row, unless in place */
} block;

static int64_t panel_width(const plan *pl) { return 2 * pl->kernels->vl; }

/* Rows (r, s, c) of a block, at most. */
static int64_t row_count(const plan *pl) { return pl->window.r * pl->window.s * pl->channels; }

static block block_at(const plan *pl, int64_t index) {
    block b;
    const int64_t filter_block = index % pl->filter_blocks;
    const int64_t channel_block = index / pl->filter_blocks % pl->channel_blocks;
    b.part = index / pl->filter_blocks / pl->channel_blocks % pl->reduction.parts;
    b.group = index / pl->filter_blocks / pl->channel_blocks / pl->reduction.parts;
    b.c = channel_block * pl->channels;
    b.channels = FC_MIN(pl->channels, pl->c - b.c);
    b.rows = pl->window.r * pl->window.s * b.channels;
    b.first_panel = filter_block * pl->panels_per_block;
    b.panels = FC_MIN(pl->panels_per_block, pl->panels - b.first_panel);
    b.columns = FC_MIN(b.panels * panel_width(pl), pl->k - b.first_panel * panel_width(pl));
    b.result = pl->scratch + (size_t)index * pl->result_bytes;
    b.result_width = b.panels * panel_width(pl);
    return b;
}

/* Element offset of tap (r, s), first channel and filter of a block, in grad_weight. */
static ptrdiff_t weight_tap(const plan *pl, const block *b, int64_t r, int64_t s) {
    const int64_t *stride = pl->grad_weight->stride;
    return r * stride[0] + s * stride[1] + b->c * stride[2] +
           (b->group * pl->k + b->first_panel * panel_width(pl)) * stride[3];
}

/* ---------------------------------------------------------------- planning */

static void plan_blocks(plan *pl) {
    const int64_t taps = pl->window.r * pl->window.s;
    const int64_t most = FC_MAX(1, FC_ROWS / taps);
    pl->channel_blocks = fc_ceil_div(pl->c, most);
    pl->channels = fc_ceil_div(pl->c, pl->channel_blocks);
    const int64_t line = FC_CACHE_LINE / (int64_t)pl->size;
    if (pl->channels > line) pl->channels = fc_ceil_div(pl->channels, line) * line;
    pl->channel_blocks = fc_ceil_div(pl->c, pl->channels);
    /* A tile reads 7 channels of each pixel of a chunk. With all channels of a pixel side by side these lie in a few
     * of L1's sets, which hold a tenth of a chunk; a line of channels a pixel spreads them over all sets. */
    pl->line_channels = FC_MIN(pl->channels, FC_CACHE_LINE / (int64_t)pl->size);
    pl->panels = fc_ceil_div(pl->k, panel_width(pl));
    const int64_t per_block = FC_MAX(1, FC_RESULT_ELEMENTS / (taps * pl->channels * panel_width(pl)));
    pl->filter_blocks = fc_ceil_div(pl->panels, per_block);
    pl->panels_per_block = fc_ceil_div(pl->panels, pl->filter_blocks);
    pl->chunks = fc_split_pixels(&pl->window, pl->total_rows, pl->channels, FC_PIXEL_CHAIN, FC_INPUT_ELEMENTS, 1);
    const int64_t blocks = pl->g->groups * pl->channel_blocks * pl->filter_blocks;
    const int64_t result = taps * pl->channels * pl->panels_per_block * panel_width(pl);
    const int64_t parts = FC_MIN(FC_FIXED_TASKS / blocks, FC_FIXED_TASKS * FC_RESULT_ELEMENTS / result);
    const double chunk_work = (double)(pl->chunks.rows * pl->chunks.columns * taps * pl->channels) *
                              (double)(pl->panels_per_block * panel_width(pl));
    pl->reduction = fc_cut_reduction(pl->chunks.row_blocks * pl->chunks.column_blocks, parts, chunk_work);
    pl->in_place = pl->reduction.parts == 1 && (pl->grad_weight->stride[3] == 1 || pl->k == 1);
    const fc_array *grad_y = &pl->grad_y.array;
    pl->tiles_pack = grad_y->dtype == pl->grad_y.to && grad_y->stride[3] == 1 && fc_is_whole(grad_y);
}

static int64_t task_count(const plan *pl) {
    return pl->g->groups * pl->reduction.parts * pl->channel_blocks * pl->filter_blocks;
}

static void lay_out_scratch(plan *pl, int threads) {
    const int64_t pixels = pl->chunks.rows * pl->chunks.columns, columns = pl->panels_per_block * panel_width(pl);
    pl->sum_bytes = FC_ALIGN_UP((size_t)(row_count(pl) * columns) * pl->size);
    pl->result_bytes = pl->in_place ? 0 : pl->sum_bytes;
    pl->workers_at = pl->result_bytes * (size_t)task_count(pl);
    const int64_t line_block = fc_packed_size(&pl->window, pl->chunks.rows, pl->chunks.columns, pl->line_channels);
    pl->line_block_bytes = FC_ALIGN_UP((size_t)line_block * pl->size);
    pl->grad_y_at = (size_t)fc_ceil_div(pl->channels, pl->line_channels) * pl->line_block_bytes;
    pl->sums_at = pl->grad_y_at + FC_ALIGN_UP((size_t)(pixels * panel_width(pl)) * pl->size);
    pl->offsets_at = pl->sums_at + (size_t)pl->reduction.levels * pl->sum_bytes;
    /* per row of the result: its places there, in sums, in x; per output row: its start; per pixel: its two offsets */
    pl->worker_bytes =
        pl->offsets_at + FC_ALIGN_UP((size_t)(3 * row_count(pl) + pl->chunks.rows + 2 * pixels) * sizeof(ptrdiff_t));
    pl->scratch = fc_scratch_take(pl->workers_at + (size_t)threads * pl->worker_bytes);
}

/* ---------------------------------------------------------------- one task */

static int width_at(const plan *pl, int64_t columns) {
    return columns > pl->kernels->vl ? 2 * pl->kernels->vl : pl->kernels->vl;
}

/* The first filter of a panel. */
static int64_t filter_at(const plan *pl, const block *b, int64_t panel) {
    return b->group * pl->k + (b->first_panel + panel) * panel_width(pl);
}

/* A panel of grad_y of a chunk: [pixel][filter]. All panels are packed to the same place, one after the other: it stays
 * in L1, where L2 takes a cache line in nine cycles. Packed by the first tile that reads it, where that can be, it is
 * no time lost: 1x1 layers x1.01 to x1.04, 3x3 on a colour image x1.27. */
static void pack_panel(const plan *pl, const block *b, const fc_block *chunk, int64_t panel, int64_t columns, int width,
                       char *dst) {
    const fc_channels filters = {.c = filter_at(pl, b, panel), .channels = columns, .width = width};
    for (int64_t j = 0; j < chunk->rows; j++) {
        const int64_t row = chunk->row + j;
        fc_read_line(&pl->grad_y, pl->window.p, pl->window.q, row / pl->window.p, row % pl->window.p, chunk->q, 1,
                     chunk->columns, &filters, dst);
        dst += (size_t)(chunk->columns * width) * pl->size;
    }
}

/* x of a chunk: [cache line of channels][image line][column][channel]. */
static fc_packed pack_x(const plan *pl, const block *b, const fc_block *chunk, char *dst, ptrdiff_t *row_at) {
    const fc_channels lines = {.c = b->group * pl->c + b->c, .channels = b->channels, .width = pl->line_channels,
                               .block = (ptrdiff_t)(pl->line_block_bytes / pl->size)};
    return fc_pack_block(&pl->window, &pl->x, chunk, &lines, dst, row_at);
}

typedef struct task {
    const plan *pl;
    block b;
    char *memory;
} task;

/* A block of results: where it begins, and its rows (r, s, c). */
typedef struct target {
    char *at;
    ptrdiff_t *row;
} target;

/* The sums of a task: see fc_adder. */
static target sum_of(const task *t, int sum) {
    const plan *pl = t->pl;
    ptrdiff_t *row = (ptrdiff_t *)(void *)(t->memory + pl->offsets_at);
    if (sum < pl->reduction.levels)
        return (target){t->memory + pl->sums_at + (size_t)sum * pl->sum_bytes, row + row_count(pl)};
    return (target){pl->in_place ? (char *)pl->grad_weight->data : t->b.result, row};
}

static void place_results(const task *t) {
    const plan *pl = t->pl;
    const block *b = &t->b;
    ptrdiff_t *in_result = (ptrdiff_t *)(void *)(t->memory + pl->offsets_at), *in_sum = in_result + row_count(pl);
    for (int64_t r = 0, i = 0; r < pl->window.r; r++)
        for (int64_t s = 0; s < pl->window.s; s++) {
            const ptrdiff_t tap = weight_tap(pl, b, r, s);
            for (int64_t c = 0; c < b->channels; c++, i++) {
                in_sum[i] = i * b->result_width;
                in_result[i] = pl->in_place ? tap + c * pl->grad_weight->stride[2] : in_sum[i];
            }
        }
}

/* Where the rows (r, s, c) begin in the packed x. No division here: with three of them a row, this took a fifth of
 * the time of a layer of 64 channels. */
static void place_rows(const plan *pl, const block *b, const fc_packed *packed, ptrdiff_t *a_row) {
    const ptrdiff_t line_block = (ptrdiff_t)(pl->line_block_bytes / pl->size);
    for (int64_t r = 0, i = 0; r < pl->window.r; r++)
        for (int64_t s = 0; s < pl->window.s; s++) {
            ptrdiff_t at = r * packed->tap_row + s * packed->tap_column;
            for (int64_t c = 0; c < b->channels; c += pl->line_channels, at += line_block)
                for (int64_t l = 0; l < FC_MIN(pl->line_channels, b->channels - c); l++) a_row[i++] = at + l;
        }
}

/* Where the pixels of a chunk lie in the packed x, and in grad_y; returns how many there are. */
static int64_t place_pixels(const plan *pl, const fc_block *chunk, const fc_packed *packed, const ptrdiff_t *row_at,
                            ptrdiff_t *in_x, ptrdiff_t *in_grad_y) {
    const fc_array *grad_y = &pl->grad_y.array;
    int64_t i = 0;
    for (int64_t j = 0; j < chunk->rows; j++) {
        const int64_t n = (chunk->row + j) / pl->window.p, p = (chunk->row + j) % pl->window.p;
        const ptrdiff_t at = fc_image_at(grad_y, n) + p * grad_y->stride[1] + chunk->q * grad_y->stride[2];
        for (int64_t q = 0; q < chunk->columns; q++, i++) {
            in_x[i] = row_at[j] + q * packed->pixel;
            in_grad_y[i] = at + q * grad_y->stride[2];
        }
    }
    return i;
}

typedef struct next_chunk {
    fc_scan x, grad_y;
} next_chunk;

static next_chunk chunk_after(const plan *pl, const block *b, int64_t index, int64_t tiles, int64_t terms) {
    if (index + 1 >= pl->reduction.chunks) return (next_chunk){0};
    const fc_block chunk = fc_block_at(&pl->chunks, &pl->window, pl->total_rows, index + 1);
    const fc_window pixels = {.h = pl->window.p, .w = pl->window.q, .p = pl->window.p, .q = pl->window.q, .r = 1,
                              .s = 1, .stride_h = 1, .stride_w = 1, .dilation_h = 1, .dilation_w = 1};
    const int64_t k = filter_at(pl, b, 0);
    const fc_region x = fc_region_of(&pl->window, &pl->x, &chunk, b->group * pl->c + b->c, b->channels);
    const fc_region grad_y = fc_region_of(&pixels, &pl->grad_y, &chunk, k, b->columns);
    return (next_chunk){fc_scan_of(&x, tiles, terms), fc_scan_of(&grad_y, tiles, terms)};
}

static void add_chunk(void *context, int64_t index, int sum, int accumulate) {
    const task *t = context;
    const plan *pl = t->pl;
    const block *b = &t->b;
    char *memory = t->memory;
    const target to = sum_of(t, sum);
    const fc_block now = fc_block_at(&pl->chunks, &pl->window, pl->total_rows, index), *chunk = &now;
    ptrdiff_t *a_row = (ptrdiff_t *)(void *)(memory + pl->offsets_at) + 2 * row_count(pl);
    ptrdiff_t *row_at = a_row + row_count(pl);
    const fc_packed packed = pack_x(pl, b, chunk, memory, row_at);
    place_rows(pl, b, &packed, a_row);
    ptrdiff_t *in_x = row_at + pl->chunks.rows, *in_grad_y = in_x + pl->chunks.rows * pl->chunks.columns;
    char *grad_y = memory + pl->grad_y_at;
    fc_tile tile = {.a_term = in_x, .accumulate = accumulate, .panel = grad_y};
    tile.terms = place_pixels(pl, chunk, &packed, row_at, in_x, in_grad_y);
    const int64_t tiles = fc_ceil_div(b->rows, pl->kernels->mr);
    next_chunk next = chunk_after(pl, b, index, b->panels * tiles, tile.terms);
    for (int64_t panel = 0; panel < b->panels; panel++) {
        const int64_t columns = FC_MIN(panel_width(pl), b->columns - panel * panel_width(pl));
        const int tiles_pack = pl->tiles_pack && columns == panel_width(pl);
        const char *unpacked = (const char *)pl->grad_y.array.data + filter_at(pl, b, panel) * (int64_t)pl->size;
        tile.width = width_at(pl, columns);
        if (!tiles_pack) pack_panel(pl, b, chunk, panel, columns, tile.width, grad_y);
        char *c = to.at + panel * panel_width(pl) * (int64_t)pl->size;
        for (int64_t i = 0, from = 0, end; i < tiles; i++, from = end) {
            end = (i + 1) * b->rows / tiles; /* spread evenly: a last tile of 2 rows would cost as much as 8 */
            const int packs = tiles_pack && i == 0;
            tile.ahead[0] = fc_next_share(&next.x);
            tile.ahead[1] = fc_next_share(&next.grad_y);
            tile.b_term = packs ? in_grad_y : NULL;
            pl->kernels->tile(&tile, (int)(end - from), memory, a_row + from, packs ? unpacked : grad_y, NULL,
                              (int)columns, c, to.row + from);
        }
    }
}

static void add_sum(void *context, int sum, int addend, int accumulate) {
    const task *t = context;
    const size_t size = t->pl->size;
    const target to = sum_of(t, sum), from = sum_of(t, addend);
    for (int64_t i = 0; i < t->b.rows; i++)
        fc_add_numbers(to.at + to.row[i] * (ptrdiff_t)size, from.at + from.row[i] * (ptrdiff_t)size,
                       (size_t)t->b.columns, size, accumulate);
}

static void run_task(void *context, int64_t index, int worker) {
    const plan *pl = context;
    task t = {pl, block_at(pl, index), pl->scratch + pl->workers_at + (size_t)worker * pl->worker_bytes};
    place_results(&t);
    fc_add_up(&pl->reduction, t.b.part, &(fc_adder){&t, add_chunk, add_sum});
}

/* ---------------------------------------------------------------- joining the parts */

static void join_parts(void *context, int64_t index, int worker) {
    (void)worker;
    const plan *pl = context;
    const int64_t per_group = pl->channel_blocks * pl->filter_blocks;
    const int64_t parts = pl->reduction.parts;
    const block b = block_at(pl, index / per_group * parts * per_group + index % per_group);
    fc_join_parts(b.result, (ptrdiff_t)((size_t)per_group * pl->result_bytes), parts, pl->result_bytes / pl->size,
                  pl->size);
    const int64_t *stride = pl->grad_weight->stride;
    for (int64_t tap = 0; tap < pl->window.r * pl->window.s; tap++) { /* the channels of a tap are evenly spaced */
        const ptrdiff_t to = weight_tap(pl, &b, tap / pl->window.s, tap % pl->window.s);
        pl->kernels->copy(b.channels, b.columns, b.result + (size_t)(tap * b.channels * b.result_width) * pl->size,
                          b.result_width, 1, (char *)pl->grad_weight->data + to * (int64_t)pl->size, stride[2],
                          stride[3]);
    }
}

/* ---------------------------------------------------------------- entry */

static void zero_weights(const plan *pl) {
    const fc_conv2d *g = pl->g;
    const int64_t *stride = pl->grad_weight->stride;
    for (int64_t r = 0; r < g->r; r++)
        for (int64_t s = 0; s < g->s; s++)
            for (int64_t c = 0; c < pl->c; c++)
                for (int64_t k = 0; k < g->k; k++)
                    memset((char *)pl->grad_weight->data +
                               (r * stride[0] + s * stride[1] + c * stride[2] + k * stride[3]) * (int64_t)pl->size,
                           0, pl->size);
}

static void make_plan(plan *pl, const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                      const fc_array *grad_weight) {
    const fc_kernels *kernels = fc_kernels_for(grad_weight->dtype);
    *pl = (plan){.g = g, .kernels = kernels, .size = (size_t)kernels->element_size, .grad_weight = grad_weight};
    pl->window = (fc_window){.h = g->h, .w = g->w, .p = g->p, .q = g->q, .r = g->r, .s = g->s,
                             .stride_h = g->stride_h, .stride_w = g->stride_w, .dilation_h = g->dilation_h,
                             .dilation_w = g->dilation_w, .top = g->pad_top, .left = g->pad_left};
    pl->x = (fc_reader){.array = *x, .to = grad_weight->dtype, .kernels = kernels};
    pl->grad_y = (fc_reader){.array = *grad_y, .to = grad_weight->dtype, .kernels = kernels};
    fc_drop_unread(&pl->window, &pl->x.array);
    pl->c = g->c / g->groups;
    pl->k = g->k / g->groups;
    pl->total_rows = g->n * g->p;
}

/* There is no memory, or there is to be none: see explain.h. */
static fc_status explain(const plan *pl, int threads) {
    fc_explanation *e = fc_explaining();
    if (e == NULL) return FC_NO_MEMORY;
    const double size = (double)pl->size, chunks = (double)(pl->reduction.chunks * pl->g->groups);
    const double pixels = (double)(pl->chunks.rows * pl->chunks.columns), taps = (double)(pl->window.r * pl->window.s);
    const double x = (double)fc_packed_size(&pl->window, pl->chunks.rows, pl->chunks.columns, pl->c);
    const double filters = (double)(pl->panels - 1) * (double)panel_width(pl) +
                           width_at(pl, pl->k - (pl->panels - 1) * panel_width(pl));
    const double products = (double)pl->total_rows * (double)pl->window.q * taps * (double)pl->c * filters;
    fc_tell_kernel(e, "tile", pl->kernels->mr, (int)panel_width(pl), threads, products * (double)pl->g->groups);
    const int border = pl->g->pad_top + pl->g->pad_bottom + pl->g->pad_left + pl->g->pad_right > 0;
    const unsigned why = FC_COPY_ORDER | (border ? FC_COPY_BORDER : 0);
    fc_tell_copy(&e->x, x * chunks * (double)pl->filter_blocks * size,
                 why | fc_why_channels(&pl->x.array, pl->c, pl->x.to));
    fc_tell_copy(&e->y, pixels * filters * chunks * (double)pl->channel_blocks * size, FC_COPY_PANELS);
    if (!pl->in_place)
        fc_tell_copy(&e->weight, (double)pl->result_bytes * (double)task_count(pl),
                     pl->reduction.parts > 1 ? FC_COPY_PARTS : FC_COPY_CHANNELS);
    return FC_OK;
}

fc_status fc_direct_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                    const fc_array *grad_weight) {
    plan pl;
    make_plan(&pl, g, grad_y, x, grad_weight);
    if (g->n == 0) {
        zero_weights(&pl);
        return FC_OK;
    }
    plan_blocks(&pl);
    const int64_t tasks = task_count(&pl);
    const double work = (double)pl.total_rows * (double)g->q * (double)(g->r * g->s * pl.c) * (double)g->k;
    const int threads = fc_threads_for(tasks, work);
    lay_out_scratch(&pl, threads);
    if (pl.scratch == NULL) return explain(&pl, threads);
    const double numbers = (double)(pl.result_bytes / pl.size) * (double)tasks;
    const fc_status status =
        fc_reduce(&pl.reduction, tasks, threads, run_task, numbers, pl.in_place ? NULL : join_parts, &pl);
    fc_scratch_give_back(pl.scratch);
    return status;
}
