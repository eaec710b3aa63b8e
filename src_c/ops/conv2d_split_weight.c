/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradient of the weights by products of parts: see kernels/split/split.h. Rows are (r, s, c),
 * columns filters, terms places of the image:
 *
 *   tasks     group x part of the pixels x block of channels x block of filters       in parallel
 *     chunks    some rows of results
 *               split x, a row for each channel; split grad_y into panels
 *       panels    32 filters
 *         tiles     16 channels of a tap, two tiles at a time: the kernel
 *
 * Pixels that follow one another in memory are split from where they lie: bringing them together first took a third of
 * the time of 1x1 layers. With stride 1 the lines of x are split once, borders and all, and every tap reads them from
 * another place on: terms are the places of all lines, one behind the other, and grad_y is zero where a line has no
 * result. With a stride, the pixels of each tap are gathered.
 *
 * Where a sum is not finite the direct algorithm computes everything again: it knows where infinities and NaN
 * belong. */
#include <stdatomic.h>
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "blocking.h"
#include "direct.h"
#include "explain.h"
#include "parts.h"
#include "split_panels.h"

enum {
    RESULT_ELEMENTS = 1 << 17, /* of a block of the result: 512 KiB of float32, a quarter of a 2 MiB L2 */
    MOST_CHANNELS = 256,       /* of a block */
    MOST_FILTERS = 256,
    INPUT_BYTES = 1 << 20 /* that a chunk of x and grad_y takes, split and not */
};

typedef struct plan {
    const fc_conv2d *g;
    const fc_kernels *kernels;
    const fc_split *split;
    int split_parts; /* of a number */
    fc_window window;
    fc_reader x, grad_y;
    const fc_array *grad_weight;
    int64_t c, k; /* of one group */
    int64_t total_rows;
    int64_t channels, channel_blocks, filters, filter_blocks;
    int gathered;
    int flat_x, flat_y;                      /* pixels of the array, the terms, follow one another */
    fc_row_blocks chunks;
    fc_reduction reduction;                  /* of chunks */
    int64_t places;                          /* of the packed x that terms are taken from, at most */
    int64_t lanes;                           /* pairs of places of a row of A */
    ptrdiff_t a_part, a_row, a_region;       /* of the split x, in bfloat16 numbers */
    atomic_uchar *doubtful;                  /* a result is not finite */
    char *scratch;
    size_t result_bytes, doubtful_at, workers_at, worker_bytes, raw_y_at, split_x_at, split_y_at, sums_at, offsets_at,
        tiles_at, marks_at;
} plan;

/* The block of the result that a task owns: [tap][channel][filter]. */
typedef struct block {
    int64_t group, part, c, channels, k, filters;
    float *result;
} block;

static int64_t taps(const plan *pl) { return pl->window.r * pl->window.s; }

static block block_at(const plan *pl, int64_t index) {
    block b;
    b.k = index % pl->filter_blocks * pl->filters;
    b.c = index / pl->filter_blocks % pl->channel_blocks * pl->channels;
    b.part = index / pl->filter_blocks / pl->channel_blocks % pl->reduction.parts;
    b.group = index / pl->filter_blocks / pl->channel_blocks / pl->reduction.parts;
    b.channels = FC_MIN(pl->channels, pl->c - b.c);
    b.filters = FC_MIN(pl->filters, pl->k - b.k);
    b.result = (float *)(void *)(pl->scratch + (size_t)index * pl->result_bytes);
    return b;
}

/* ---------------------------------------------------------------- planning */

/* Equal blocks of at most `most`, in multiples of `unit`; returns how many there are. */
static int64_t split_evenly(int64_t count, int64_t most, int64_t unit, int64_t *size) {
    const int64_t blocks = fc_ceil_div(count, FC_MAX(unit, most / unit * unit));
    *size = fc_ceil_div(fc_ceil_div(count, blocks), unit) * unit;
    return fc_ceil_div(count, *size);
}

/* Places from the first to the last result of a chunk, and those that its taps reach. */
static int64_t places_of_results(const plan *pl) {
    const int64_t rows = pl->chunks.rows, columns = pl->chunks.columns;
    return pl->gathered ? rows * columns : fc_lines_size(&pl->window, rows, columns);
}

static int64_t farthest_tap(const plan *pl) {
    const fc_window *w = &pl->window;
    const int64_t line = pl->chunks.columns + (w->s - 1) * w->dilation_w;
    return pl->gathered ? 0 : (w->r - 1) * w->dilation_h * line + (w->s - 1) * w->dilation_w;
}

/* Whether n images of p x q pixels are all one sequence of pixels. */
static int is_flat(const fc_array *a, int64_t n, int64_t p, int64_t q) {
    return a->depth == NULL && a->dtype == FC_FLOAT32 && a->stride[3] == 1 &&
           (p == 1 || a->stride[1] == q * a->stride[2]) && (n == 1 || a->stride[0] == p * q * a->stride[2]);
}

static void plan_flat(plan *pl) {
    const fc_window *w = &pl->window;
    const int pointwise = w->r * w->s == 1 && w->stride_h == 1 && w->stride_w == 1 && w->top == 0 && w->left == 0 &&
                          w->p == w->h && w->q == w->w;
    pl->flat_x = pointwise && is_flat(&pl->x.array, pl->g->n, w->p, w->q);
    pl->flat_y = pl->gathered && is_flat(&pl->grad_y.array, pl->g->n, w->p, w->q);
}

/* Where the channels from c on of the first pixel of a chunk lie in an array whose pixels follow one another. */
static const float *flat_chunk(const plan *pl, const fc_array *a, const fc_block *chunk, int64_t c) {
    return (const float *)a->data + (chunk->row * pl->window.q + chunk->q) * a->stride[2] + c;
}

static void plan_blocks(plan *pl) {
    pl->channel_blocks =
        split_evenly(pl->c, FC_MIN(MOST_CHANNELS, RESULT_ELEMENTS / (taps(pl) * 128)), FC_SPLIT_ROWS, &pl->channels);
    pl->filter_blocks = split_evenly(pl->k, FC_MIN(MOST_FILTERS, RESULT_ELEMENTS / (taps(pl) * pl->channels)),
                                     FC_SPLIT_COLUMNS, &pl->filters);
    const int64_t copies = pl->gathered ? taps(pl) : 1, halves = pl->gathered ? 1 : 2;
    const int64_t bytes = pl->channels * (4 + 2 * halves * pl->split_parts) * copies +
                          pl->filters * (4 + 2 * pl->split_parts);
    const int64_t pixels = FC_MAX(FC_SPLIT_TERMS, INPUT_BYTES / bytes);
    pl->chunks = fc_split_pixels(&pl->window, pl->total_rows, pl->channels, pixels, INPUT_BYTES / 8, 1);
    pl->places = places_of_results(pl);
    const int64_t chunks = fc_ceil_div(pl->places, FC_SPLIT_TERMS);
    pl->lanes = pl->gathered ? chunks * 16 : chunks * 32 + fc_ceil_div(farthest_tap(pl), 16) * 16;
    pl->a_part = 2 * pl->lanes;
    pl->a_row = ((pl->split_parts * pl->lanes / 16) | 1) * 32; /* an odd number of cache lines */
    pl->a_region = pl->channels * pl->a_row;
    const int64_t blocks = pl->g->groups * pl->channel_blocks * pl->filter_blocks;
    const double work = fc_split_work((double)(pl->places * taps(pl)) * (double)(pl->channels * pl->filters),
                                      pl->split_parts);
    pl->reduction = fc_cut_reduction(pl->chunks.row_blocks * pl->chunks.column_blocks, FC_FIXED_TASKS / blocks, work);
}

static int64_t task_count(const plan *pl) {
    return pl->g->groups * pl->reduction.parts * pl->channel_blocks * pl->filter_blocks;
}

static void lay_out_scratch(plan *pl, int threads) {
    const int64_t regions = pl->gathered ? taps(pl) : 1, rows = taps(pl) * pl->channels;
    const int64_t chunks = fc_ceil_div(pl->places, FC_SPLIT_TERMS);
    pl->result_bytes = FC_ALIGN_UP((size_t)(rows * pl->filters) * sizeof(float));
    size_t at = pl->result_bytes * (size_t)task_count(pl);
    pl->doubtful_at = fc_set_aside(&at, 1);
    pl->workers_at = at;
    at = 0;
    fc_set_aside(&at, (size_t)(regions * pl->places * pl->channels) * sizeof(float));
    pl->raw_y_at = fc_set_aside(&at, (size_t)(pl->places * pl->filters) * sizeof(float));
    pl->split_x_at = fc_set_aside(&at, (size_t)(regions * pl->a_region) * sizeof(fc_bf16));
    const size_t split_y = (size_t)(chunks * FC_SPLIT_TERMS * pl->filters * pl->split_parts);
    pl->split_y_at = fc_set_aside(&at, split_y * sizeof(fc_bf16));
    pl->sums_at = fc_set_aside(&at, (size_t)pl->reduction.levels * pl->result_bytes);
    /* per row of the result: its place; per chunk of terms: its offset; per row of grad_y: its start */
    pl->offsets_at = fc_set_aside(&at, (size_t)(rows + chunks + pl->chunks.rows) * sizeof(ptrdiff_t));
    pl->tiles_at = fc_set_aside(&at, (size_t)(rows / FC_SPLIT_ROWS) * sizeof(fc_row_tile));
    pl->marks_at = fc_set_aside(&at, (size_t)rows);
    pl->worker_bytes = at;
    pl->scratch = fc_scratch_take(pl->workers_at + (size_t)threads * pl->worker_bytes);
    if (pl->scratch == NULL) return;
    pl->doubtful = (atomic_uchar *)(void *)(pl->scratch + pl->doubtful_at);
    atomic_store(pl->doubtful, 0);
}

/* ---------------------------------------------------------------- one task */

typedef struct task {
    const plan *pl;
    block b;
    float *raw_x, *raw_y, *sums;
    fc_bf16 *split_x, *split_y;
    ptrdiff_t *c_row, *chunk, *row_at;
    fc_row_tile *tile;
    unsigned char *marks;
} task;

static task task_at(const plan *pl, int64_t index, int worker) {
    char *memory = pl->scratch + pl->workers_at + (size_t)worker * pl->worker_bytes;
    task t = {.pl = pl, .b = block_at(pl, index), .raw_x = (void *)memory, .raw_y = (void *)(memory + pl->raw_y_at),
              .split_x = (void *)(memory + pl->split_x_at), .split_y = (void *)(memory + pl->split_y_at),
              .sums = (void *)(memory + pl->sums_at),
              .c_row = (void *)(memory + pl->offsets_at), .tile = (void *)(memory + pl->tiles_at),
              .marks = (unsigned char *)memory + pl->marks_at};
    t.chunk = t.c_row + taps(pl) * pl->channels;
    t.row_at = t.chunk + fc_ceil_div(pl->places, FC_SPLIT_TERMS);
    const int64_t rows = taps(pl) * t.b.channels;
    for (int64_t i = 0; i < rows; i++) t.c_row[i] = i * pl->filters;
    memset(t.marks, 0, (size_t)rows);
    return t;
}

/* The pixels of x that a chunk reads, from *from on, *step numbers apart. */
static fc_packed bring_pixels(task *t, const fc_block *chunk, const float **from, int64_t *step) {
    const plan *pl = t->pl;
    const block *b = &t->b;
    const fc_channels all = {.c = b->group * pl->c + b->c, .channels = b->channels, .width = b->channels};
    *from = t->raw_x, *step = b->channels;
    if (pl->flat_x) {
        *from = flat_chunk(pl, &pl->x.array, chunk, all.c), *step = pl->x.array.stride[2];
        for (int64_t j = 0; j < chunk->rows; j++) t->row_at[j] = j * chunk->columns * b->channels;
        return (fc_packed){.pixel = b->channels};
    }
    return pl->gathered ? fc_pack_gathered(&pl->window, &pl->x, chunk, &all, t->raw_x, t->row_at)
                        : fc_pack_lines(&pl->window, &pl->x, chunk, &all, t->raw_x, t->row_at);
}

/* x of a chunk, in rows of channels; returns the number of tiles of A, and how many places terms come from. */
static int64_t bring_x(task *t, const fc_block *chunk, int64_t *places) {
    const plan *pl = t->pl;
    const block *b = &t->b;
    const int64_t regions = pl->gathered ? taps(pl) : 1, pixels = chunk->rows * chunk->columns;
    const float *from;
    int64_t step;
    const fc_packed at = bring_pixels(t, chunk, &from, &step);
    *places = t->row_at[chunk->rows - 1] / b->channels + chunk->columns;
    const int64_t chunks = fc_ceil_div(*places, FC_SPLIT_TERMS);
    const int64_t farthest = ((pl->window.r - 1) * at.tap_row + (pl->window.s - 1) * at.tap_column) / b->channels;
    const int64_t packed = pl->gathered ? pixels : *places + farthest; /* behind them is what was there before */
    const int64_t blocks = pl->gathered ? chunks : 2 * chunks + fc_ceil_div(farthest, 16);
    for (int64_t i = 0; i < regions; i++)
        pl->split->columns(pl->split_parts, packed, b->channels, from + i * pixels * b->channels, step, blocks,
                           pl->gathered ? 32 : 16, t->split_x + i * pl->a_region, pl->a_row, pl->a_part);
    for (int64_t l = 0; l < chunks; l++) t->chunk[l] = l * (pl->gathered ? 32 : 64);
    fc_row_tile *tile = t->tile; /* taps of some channels one after the other: they read the same cache lines */
    for (int64_t c = 0; c < b->channels; c += FC_SPLIT_ROWS)
        for (int64_t tap = 0; tap < taps(pl); tap++) {
            const int64_t r = tap / pl->window.s, s = tap % pl->window.s;
            const ptrdiff_t place = (r * at.tap_row + s * at.tap_column) / b->channels;
            const ptrdiff_t row = pl->gathered ? tap * pl->a_region : 2 * place;
            *tile++ = (fc_row_tile){.a = row + c * pl->a_row, .first = (int)(tap * b->channels + c),
                                    .rows = (int)FC_MIN(FC_SPLIT_ROWS, b->channels - c)};
        }
    return tile - t->tile;
}

/* grad_y of a chunk at the places of x's first tap, zeros between. */
static void read_grad_y(task *t, const fc_block *chunk) {
    const plan *pl = t->pl;
    const block *b = &t->b;
    const fc_channels all = {.c = b->group * pl->k + b->k, .channels = b->filters, .width = b->filters};
    int64_t at = 0;
    for (int64_t j = 0; j < chunk->rows; j++) {
        const int64_t row = chunk->row + j, first = t->row_at[j] / b->channels;
        memset(t->raw_y + at * b->filters, 0, (size_t)((first - at) * b->filters) * sizeof(float));
        fc_read_line(&pl->grad_y, pl->window.p, pl->window.q, row / pl->window.p, row % pl->window.p, chunk->q, 1,
                     chunk->columns, &all, t->raw_y + first * b->filters);
        at = first + chunk->columns;
    }
}

/* The same in panels: [panel][chunk of terms]. */
static void bring_grad_y(task *t, const fc_block *chunk, int64_t places) {
    const plan *pl = t->pl;
    const block *b = &t->b;
    const float *y = t->raw_y;
    int64_t step = b->filters;
    if (pl->flat_y) {
        y = flat_chunk(pl, &pl->grad_y.array, chunk, b->group * pl->k + b->k);
        step = pl->grad_y.array.stride[2];
    } else {
        read_grad_y(t, chunk);
    }
    const int64_t chunks = fc_ceil_div(places, FC_SPLIT_TERMS);
    for (int64_t i = 0; i < chunks; i++) {
        const float *from = y + i * FC_SPLIT_TERMS * step;
        fc_rows_ahead ahead = fc_split_rows_ahead(from + FC_SPLIT_TERMS * step, step, b->filters);
        for (int64_t k = 0; k < b->filters; k += FC_SPLIT_COLUMNS)
            pl->split->panel(pl->split_parts, (int)FC_MIN(FC_SPLIT_TERMS, places - i * FC_SPLIT_TERMS),
                             (int)FC_MIN(FC_SPLIT_COLUMNS, b->filters - k), from + k, step, 1, &ahead,
                             t->split_y + (k / FC_SPLIT_COLUMNS * chunks + i) * pl->split_parts * FC_SPLIT_PANEL);
    }
}

static float *sum_of(const task *t, int sum) {
    return sum < t->pl->reduction.levels ? t->sums + (size_t)sum * (t->pl->result_bytes / sizeof(float)) : t->b.result;
}

static void add_chunk(void *context, int64_t index, int sum, int accumulate) {
    task *t = context;
    const plan *pl = t->pl;
    const block *b = &t->b;
    const fc_block chunk = fc_block_at(&pl->chunks, &pl->window, pl->total_rows, index);
    int64_t places;
    fc_split_block job = {.parts = pl->split_parts, .a_chunk = t->chunk, .a_row = pl->a_row, .a_part = pl->a_part,
                          .tile = t->tile, .accumulate = accumulate};
    job.tiles = bring_x(t, &chunk, &places);
    job.chunks = fc_ceil_div(places, FC_SPLIT_TERMS);
    bring_grad_y(t, &chunk, places);
    const fc_bf16 *panel = t->split_y;
    for (int64_t k = 0; k < b->filters; k += FC_SPLIT_COLUMNS, panel += job.chunks * pl->split_parts * FC_SPLIT_PANEL)
        pl->split->multiply(&job, t->split_x, panel, NULL, (int)FC_MIN(FC_SPLIT_COLUMNS, b->filters - k),
                            sum_of(t, sum) + k, t->c_row, t->marks);
}

static void add_sum(void *context, int to, int from, int accumulate) {
    const task *t = context;
    const size_t numbers = (size_t)(taps(t->pl) * t->b.channels * t->pl->filters);
    fc_add_numbers(sum_of(t, to), sum_of(t, from), numbers, sizeof(float), accumulate);
}

static void run_task(void *context, int64_t index, int worker) {
    const plan *pl = context;
    task t = task_at(pl, index, worker);
    fc_add_up(&pl->reduction, t.b.part, &(fc_adder){&t, add_chunk, add_sum});
    if (memchr(t.marks, 1, (size_t)(taps(pl) * t.b.channels)) != NULL)
        atomic_store_explicit(pl->doubtful, 1, memory_order_relaxed);
}

/* ---------------------------------------------------------------- joining the parts */

static void join_parts(void *context, int64_t index, int worker) {
    (void)worker;
    const plan *pl = context;
    const int64_t per_group = pl->channel_blocks * pl->filter_blocks;
    const int64_t parts = pl->reduction.parts;
    if (atomic_load_explicit(pl->doubtful, memory_order_relaxed)) return; /* the direct algorithm will do it */
    const block b = block_at(pl, index / per_group * parts * per_group + index % per_group);
    fc_join_parts((char *)b.result, (ptrdiff_t)((size_t)per_group * pl->result_bytes), parts,
                  pl->result_bytes / sizeof(float), sizeof(float));
    const int64_t *stride = pl->grad_weight->stride;
    for (int64_t tap = 0; tap < taps(pl); tap++) {
        const int64_t to = tap / pl->window.s * stride[0] + tap % pl->window.s * stride[1] + b.c * stride[2] +
                           (b.group * pl->k + b.k) * stride[3];
        pl->kernels->copy(b.channels, b.filters, b.result + tap * b.channels * pl->filters, pl->filters, 1,
                          (float *)pl->grad_weight->data + to, stride[2], stride[3]);
    }
}

/* ---------------------------------------------------------------- entry */

/* There is no memory, or there is to be none: see explain.h. */
static fc_status explain(const plan *pl, int threads) {
    fc_explanation *e = fc_explaining();
    if (e == NULL) return FC_NO_MEMORY;
    const double element = (double)pl->split_parts * sizeof(fc_bf16), groups = (double)pl->g->groups;
    const double places = (double)pl->places * (double)pl->reduction.chunks * groups;
    const double filters = (double)(fc_ceil_div(pl->k, FC_SPLIT_COLUMNS) * FC_SPLIT_COLUMNS);
    const double products = fc_split_products(pl->split_parts);
    const double read = pl->gathered ? (double)taps(pl) : 2; /* every place is in two pairs */
    fc_tell_kernel(e, "split", 2 * FC_SPLIT_ROWS, FC_SPLIT_COLUMNS, threads,
                   products * places * (double)taps(pl) * (double)pl->c * filters);
    fc_tell_copy(&e->x, places * read * (double)pl->c * (double)pl->filter_blocks * element, FC_COPY_SPLIT);
    fc_tell_copy(&e->y, places * filters * (double)pl->channel_blocks * element, FC_COPY_SPLIT);
    fc_tell_copy(&e->weight, (double)pl->result_bytes * (double)task_count(pl),
                 pl->reduction.parts > 1 ? FC_COPY_PARTS : FC_COPY_ORDER);
    return FC_OK;
}

static void make_plan(plan *pl, const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                      const fc_array *grad_weight, int parts) {
    *pl = (plan){.g = g, .kernels = fc_kernels_for(FC_FLOAT32), .split = fc_split_kernels(), .split_parts = parts,
                 .grad_weight = grad_weight, .c = g->c / g->groups, .k = g->k / g->groups, .total_rows = g->n * g->p};
    pl->window = (fc_window){.h = g->h, .w = g->w, .p = g->p, .q = g->q, .r = g->r, .s = g->s,
                             .stride_h = g->stride_h, .stride_w = g->stride_w, .dilation_h = g->dilation_h,
                             .dilation_w = g->dilation_w, .top = g->pad_top, .left = g->pad_left};
    pl->x = (fc_reader){.array = *x, .to = FC_FLOAT32, .kernels = pl->kernels};
    pl->grad_y = (fc_reader){.array = *grad_y, .to = FC_FLOAT32, .kernels = pl->kernels};
    fc_drop_unread(&pl->window, &pl->x.array);
    const fc_window *w = &pl->window;
    pl->gathered = w->r * w->s == 1 || w->stride_h > 1 || w->stride_w > 1;
    plan_flat(pl);
    plan_blocks(pl);
}

fc_status fc_split_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                   const fc_array *grad_weight, int parts) {
    plan pl;
    if (g->n == 0) return fc_direct_backward_weight(g, grad_y, x, grad_weight);
    make_plan(&pl, g, grad_y, x, grad_weight, parts);
    const int64_t tasks = task_count(&pl);
    const double work = (double)pl.total_rows * (double)g->q * (double)(taps(&pl) * pl.c) * (double)g->k;
    const int threads = fc_threads_for(tasks, fc_split_work(work, parts));
    lay_out_scratch(&pl, threads);
    if (pl.scratch == NULL) return explain(&pl, threads);
    const double numbers = (double)(pl.result_bytes / sizeof(float)) * (double)tasks;
    const fc_status status = fc_reduce(&pl.reduction, tasks, threads, run_task, numbers, join_parts, &pl);
    const int doubtful = status == FC_OK && atomic_load(pl.doubtful);
    fc_scratch_give_back(pl.scratch);
    return doubtful ? fc_direct_backward_weight(g, grad_y, x, grad_weight) : status;
}
