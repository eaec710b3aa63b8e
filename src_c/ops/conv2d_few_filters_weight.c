/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradient of the weights of a handful of filters: rows are filters, lanes are the places (r, s, c) of the window,
 * which lie one behind the other where the window's lines are packed [column][channel]: S*C numbers a line. Windows
 * that are narrow, 5 numbers of one channel, would waste the lanes; their lines are interleaved,
 * [column][line][channel], once a line of outputs, so that the whole window is one run.
 *
 *   tasks     group x part of the pixels                              in parallel
 *     chunks    at most FC_PIXEL_CHAIN output pixels: pack x and grad_y
 *       vectors   two vectors of places
 *         tiles     up to MR filters, summed over the pixels of the chunk
 */
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "blocking.h"
#include "direct.h"
#include "explain.h"
#include "few_filters.h"
#include "parts.h"

typedef struct plan {
    const fc_kernels *kernels;
    size_t size;
    fc_window window;
    fc_reader x, grad_y;
    const fc_array *grad_weight;
    int64_t c, k, groups; /* c and k of one group */
    int64_t total_rows;   /* N*P */
    fc_places places;
    int64_t lanes;        /* from filter to filter in the result */
    fc_row_blocks chunks;
    fc_reduction reduction; /* of chunks */
    char *scratch;
    size_t result_bytes, workers_at, worker_bytes, windows_at, grad_y_at, offsets_at, sums_at;
} plan;

fc_places fc_places_of(int64_t r, int64_t s, int64_t c, int vl) {
    const int64_t by_line = r * fc_ceil_div(s * c, vl), joined = fc_ceil_div(r * s * c, vl);
    /* Interleaving costs a quarter of the arithmetic of 16 filters; it has to save more than that. */
    const int interleaved = 4 * by_line >= 5 * joined + 2;
    return (fc_places){.vectors = interleaved ? joined : by_line, .interleaved = interleaved};
}

/* ---------------------------------------------------------------- planning */

static int64_t columns_read(const plan *pl, int64_t columns) {
    return (columns - 1) * pl->window.stride_w + pl->window.s;
}

static void plan_chunks(plan *pl) {
    pl->chunks = fc_split_pixels(&pl->window, pl->total_rows, pl->c, FC_PIXEL_CHAIN, FC_INPUT_ELEMENTS, 1);
    const double chunk_work = (double)(pl->chunks.rows * pl->chunks.columns) * (double)(pl->lanes * pl->k);
    const int64_t chunks = pl->chunks.row_blocks * pl->chunks.column_blocks;
    pl->reduction = fc_cut_reduction(chunks, FC_FIXED_TASKS / pl->groups, chunk_work);
}

static void lay_out_scratch(plan *pl, int threads) {
    const fc_window *w = &pl->window;
    const int64_t rows = pl->chunks.rows, columns = pl->chunks.columns, vl = pl->kernels->vl;
    const int64_t windows = pl->places.interleaved ? rows * columns_read(pl, columns) * w->r * pl->c : 0;
    pl->result_bytes = FC_ALIGN_UP((size_t)(pl->k * pl->lanes) * pl->size);
    pl->workers_at = pl->result_bytes * (size_t)(pl->groups * pl->reduction.parts);
    /* the last vector may read over the end of the last window */
    pl->windows_at = FC_ALIGN_UP((size_t)(fc_lines_size(w, rows, columns) * pl->c + vl) * pl->size);
    pl->grad_y_at = pl->windows_at + FC_ALIGN_UP((size_t)(windows + vl) * pl->size);
    pl->offsets_at = pl->grad_y_at + FC_ALIGN_UP((size_t)(rows * columns * pl->k) * pl->size);
    pl->sums_at = pl->offsets_at + FC_ALIGN_UP((size_t)(rows + rows * columns) * sizeof(ptrdiff_t));
    pl->worker_bytes = pl->sums_at + (size_t)pl->reduction.levels * pl->result_bytes;
    pl->scratch = fc_scratch_take(pl->workers_at + (size_t)threads * pl->worker_bytes);
}

static void make_plan(plan *pl, const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                      const fc_array *grad_weight) {
    const fc_kernels *kernels = fc_kernels_for(grad_weight->dtype);
    *pl = (plan){.kernels = kernels, .size = (size_t)kernels->element_size, .grad_weight = grad_weight,
                 .c = g->c / g->groups, .k = g->k / g->groups, .groups = g->groups, .total_rows = g->n * g->p};
    pl->window = (fc_window){.h = g->h, .w = g->w, .p = g->p, .q = g->q, .r = g->r, .s = g->s,
                             .stride_h = g->stride_h, .stride_w = g->stride_w, .dilation_h = 1, .dilation_w = 1,
                             .top = g->pad_top, .left = g->pad_left};
    pl->x = (fc_reader){.array = *x, .to = grad_weight->dtype, .kernels = kernels};
    pl->grad_y = (fc_reader){.array = *grad_y, .to = grad_weight->dtype, .kernels = kernels};
    pl->places = fc_places_of(g->r, g->s, pl->c, kernels->vl);
    pl->lanes = pl->places.vectors * kernels->vl;
    plan_chunks(pl);
}

/* ---------------------------------------------------------------- one task */

/* Interleave the lines that each line of outputs reads. */
static void interleave_lines(const plan *pl, const fc_block *chunk, char *memory, const ptrdiff_t *row_at) {
    const int64_t columns = columns_read(pl, chunk->columns), c = pl->c, r = pl->window.r, line = columns * c;
    char *dst = memory + pl->windows_at;
    for (int64_t j = 0; j < chunk->rows; j++, dst += (size_t)(line * r) * pl->size) {
        const char *src = memory + (size_t)row_at[j] * pl->size;
        if (c == 1) pl->kernels->copy(r, columns, src, line, 1, dst, 1, r);
        else
            for (int64_t i = 0; i < r; i++)
                pl->kernels->copy(columns, c, src + (size_t)(i * line) * pl->size, c, 1,
                                  dst + (size_t)(i * c) * pl->size, r * c, 1);
    }
}

/* Where the windows of the pixels begin in lines of the image. */
static void place_windows(const fc_block *chunk, ptrdiff_t pixel, const ptrdiff_t *row_at, ptrdiff_t *term) {
    for (int64_t j = 0; j < chunk->rows; j++)
        for (int64_t q = 0; q < chunk->columns; q++) *term++ = row_at[j] + q * pixel;
}

/* The same in interleaved lines. A chunk with fewer pixels, which are of one line or of whole lines, uses the first. */
static void place_interleaved_windows(const plan *pl, char *memory) {
    const int64_t pixel = pl->c * pl->window.r, line = columns_read(pl, pl->chunks.columns) * pixel;
    ptrdiff_t *term = (ptrdiff_t *)(void *)(memory + pl->offsets_at) + pl->chunks.rows;
    for (int64_t j = 0; j < pl->chunks.rows; j++)
        for (int64_t q = 0; q < pl->chunks.columns; q++) *term++ = j * line + q * pl->window.stride_w * pixel;
}

/* grad_y of a chunk: one copy where nothing lies between its lines. (Read where it lies, outside the caches, the tiles
 * took 1.2 to 1.4 times as long.) */
static void bring_grad_y(const plan *pl, int64_t group, const fc_block *chunk, char *dst) {
    const int64_t *stride = pl->grad_y.array.stride, p = pl->window.p, q = pl->window.q;
    const fc_channels filters = {.c = group * pl->k, .channels = pl->k, .width = pl->k};
    const int unbroken = pl->grad_y.array.depth == NULL && stride[3] == 1 && stride[2] == pl->k &&
                         stride[1] == q * stride[2] && stride[0] == p * stride[1];
    if (unbroken) {
        const int64_t at = chunk->row * stride[1] + chunk->q * stride[2];
        const char *src = (const char *)pl->grad_y.array.data + at * (int64_t)fc_dtype_size(pl->grad_y.array.dtype);
        fc_copy_as(&pl->grad_y, 1, chunk->rows * chunk->columns * pl->k, src, 0, 1, dst, 0, 1);
        return;
    }
    for (int64_t j = 0; j < chunk->rows; j++, dst += (size_t)(chunk->columns * pl->k) * pl->size) {
        const int64_t row = chunk->row + j;
        fc_read_line(&pl->grad_y, p, q, row / p, row % p, chunk->q, 1, chunk->columns, &filters, dst);
    }
}

/* Bring in x and grad_y of a chunk; returns the windows. */
static const char *bring_chunk(const plan *pl, int64_t group, const fc_block *chunk, char *memory, fc_packed *packed) {
    ptrdiff_t *row_at = (ptrdiff_t *)(void *)(memory + pl->offsets_at), *term = row_at + pl->chunks.rows;
    const fc_channels channels = {.c = group * pl->c, .channels = pl->c, .width = pl->c};
    *packed = fc_pack_lines(&pl->window, &pl->x, chunk, &channels, memory, row_at);
    if (pl->places.interleaved) interleave_lines(pl, chunk, memory, row_at);
    else place_windows(chunk, packed->pixel, row_at, term);
    bring_grad_y(pl, group, chunk, memory + pl->grad_y_at);
    return pl->places.interleaved ? memory + pl->windows_at : memory;
}

/* Where a vector of places begins in the first window. */
static ptrdiff_t vector_at(const plan *pl, const fc_packed *packed, int64_t vector) {
    const int64_t vl = pl->kernels->vl, a_line = pl->places.vectors / pl->window.r;
    if (pl->places.interleaved) return vector * vl;
    return vector / a_line * packed->tap_row + vector % a_line * vl;
}

typedef struct task {
    const plan *pl;
    int64_t group;
    char *memory, *result;
} task;

static char *sum_of(const task *t, int sum) {
    return sum < t->pl->reduction.levels ? t->memory + t->pl->sums_at + (size_t)sum * t->pl->result_bytes : t->result;
}

static void add_chunk(void *context, int64_t index, int sum, int accumulate) {
    const task *t = context;
    const plan *pl = t->pl;
    const fc_block now = fc_block_at(&pl->chunks, &pl->window, pl->total_rows, index), *chunk = &now;
    char *memory = t->memory, *result = sum_of(t, sum);
    fc_packed packed;
    const char *windows = bring_chunk(pl, t->group, chunk, memory, &packed);
    const ptrdiff_t *term = (const ptrdiff_t *)(const void *)(memory + pl->offsets_at) + pl->chunks.rows;
    const fc_lanes tile = {.terms = chunk->rows * chunk->columns, .a_term = pl->k, .b_term = term, .c_row = pl->lanes,
                           .lanes = pl->kernels->vl, .accumulate = accumulate};
    const int64_t tiles = fc_ceil_div(pl->k, pl->kernels->mr);
    for (int64_t v = 0; v < pl->places.vectors; v += 2) {
        const int vectors = v + 1 < pl->places.vectors ? 2 : 1;
        const void *const b[2] = {windows + vector_at(pl, &packed, v) * (ptrdiff_t)pl->size,
                                  vectors == 1 ? NULL : windows + vector_at(pl, &packed, v + 1) * (ptrdiff_t)pl->size};
        for (int64_t i = 0; i < tiles; i++) {
            const int64_t from = i * pl->k / tiles, to = (i + 1) * pl->k / tiles;
            pl->kernels->tile_lanes(&tile, (int)(to - from), memory + pl->grad_y_at + (size_t)from * pl->size, NULL,
                                    vectors, b, result + (size_t)(from * pl->lanes + v * pl->kernels->vl) * pl->size);
        }
    }
}

static void add_sum(void *context, int to, int from, int accumulate) {
    const task *t = context;
    fc_add_numbers(sum_of(t, to), sum_of(t, from), (size_t)(t->pl->k * t->pl->lanes), t->pl->size, accumulate);
}

static void run_task(void *context, int64_t index, int worker) {
    const plan *pl = context;
    task t = {pl, index / pl->reduction.parts, pl->scratch + pl->workers_at + (size_t)worker * pl->worker_bytes,
              pl->scratch + (size_t)index * pl->result_bytes};
    if (pl->places.interleaved) place_interleaved_windows(pl, t.memory);
    fc_add_up(&pl->reduction, index % pl->reduction.parts, &(fc_adder){&t, add_chunk, add_sum});
}

/* ---------------------------------------------------------------- entry */

/* Join the parts, and lay the places of the window where the caller wants them. */
static void finish_group(void *context, int64_t group, int worker) {
    (void)worker;
    const plan *pl = context;
    const fc_window *w = &pl->window;
    const int64_t *stride = pl->grad_weight->stride;
    char *result = pl->scratch + (size_t)(group * pl->reduction.parts) * pl->result_bytes;
    fc_join_parts(result, (ptrdiff_t)pl->result_bytes, pl->reduction.parts, (size_t)(pl->k * pl->lanes),
                  pl->size);
    const int64_t line = pl->places.vectors / w->r * pl->kernels->vl; /* lanes of a line */
    for (int64_t r = 0; r < w->r; r++)
        for (int64_t s = 0; s < w->s; s++) {
            const int64_t at = pl->places.interleaved ? (s * w->r + r) * pl->c : r * line + s * pl->c;
            const ptrdiff_t to = r * stride[0] + s * stride[1] + group * pl->k * stride[3];
            pl->kernels->copy(pl->c, pl->k, result + (size_t)at * pl->size, 1, pl->lanes,
                              (char *)pl->grad_weight->data + to * (ptrdiff_t)pl->size, stride[2], stride[3]);
        }
}

/* There is no memory, or there is to be none: see explain.h. */
static fc_status explain(const plan *pl, int threads) {
    const fc_window *w = &pl->window;
    fc_explanation *e = fc_explaining();
    if (e == NULL) return FC_NO_MEMORY;
    const int64_t rows = pl->chunks.rows, columns = pl->chunks.columns;
    const double chunks = (double)(pl->reduction.chunks * pl->groups) * (double)pl->size;
    const double pixels = (double)(rows * columns);
    const double lines = (double)fc_lines_size(w, rows, columns);
    const double windows = pl->places.interleaved ? (double)(rows * columns_read(pl, columns) * w->r) : 0;
    const double results = (double)(pl->k * pl->lanes) * (double)pl->groups;
    fc_tell_kernel(e, "tile_lanes", pl->kernels->mr, 2 * pl->kernels->vl, threads,
                   (double)pl->total_rows * (double)w->q * results);
    fc_tell_copy(&e->x, (lines + windows) * (double)pl->c * chunks, FC_COPY_ORDER);
    fc_tell_copy(&e->y, pixels * (double)pl->k * chunks, FC_COPY_ORDER);
    fc_tell_copy(&e->weight, results * (double)pl->reduction.parts * (double)pl->size, FC_COPY_PARTS | FC_COPY_ORDER);
    return FC_OK;
}

fc_status fc_few_filters_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                         const fc_array *grad_weight) {
    if (g->n == 0) return fc_direct_backward_weight(g, grad_y, x, grad_weight);
    plan pl;
    make_plan(&pl, g, grad_y, x, grad_weight);
    const int64_t tasks = pl.groups * pl.reduction.parts;
    const double work = (double)pl.total_rows * (double)g->q * (double)(g->r * g->s * pl.c) * (double)g->k;
    const int threads = fc_threads_for(tasks, work);
    lay_out_scratch(&pl, threads);
    if (pl.scratch == NULL) return explain(&pl, threads);
    const double numbers = (double)(pl.result_bytes / pl.size) * (double)tasks;
    const fc_status status = fc_reduce(&pl.reduction, tasks, threads, run_task, numbers, finish_group, &pl);
    fc_scratch_give_back(pl.scratch);
    return status;
}
