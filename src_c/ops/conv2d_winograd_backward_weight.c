/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradient of 3x3 weights by Winograd's algorithm: 4x4 tiles of grad_y against 6x6 tiles of x, 36 multiplications
 * instead of 144. The loops, from the outside:
 *
 *   tasks     group x part of the tiles x block of channels x block of filters        in parallel
 *     chunks    of CHUNK tiles: transform x and grad_y
 *       planes    36 matrix products S[channel][filter] += Vt Z, summed over the tiles, by the tile kernel
 *   join the parts, transform S back (where there is one part, at the end of the task, S still in L2)
 *
 * As in the direct algorithm a task owns its block, and parts are cut where there are few blocks (parts.h). */
#include <stdatomic.h>
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "explain.h"
#include "parts.h"
#include "winograd.h"

/* Channels and filters of a block: S is 590 KiB of float32, as much again the transformed tiles of a chunk. */
enum { CHANNELS = 64, FILTERS = 64, CHUNK = 48, SLICE = 32 /* channels that are packed at a time */ };

typedef struct plan {
    const fc_conv2d *g;
    const fc_kernels *kernels;
    size_t size;
    fc_window x_tiles, y_tiles;
    fc_reader x, grad_y;
    const fc_array *grad_weight;
    int64_t c, k; /* of one group */
    int64_t total_rows;
    int64_t channels, channel_blocks, filters, filter_blocks;
    fc_row_blocks chunks;
    fc_reduction reduction; /* of chunks */
    int local; /* one part in one round: S is the worker's, and the task ends with the result */
    int64_t v_row, v_plane, z_plane, s_plane; /* in elements */
    char *scratch;
    atomic_uchar doubtful; /* a result is not finite */
    size_t result_bytes, workers_at, worker_bytes, z_at, input_at, offsets_at, sums_at; /* the last sum: the result */
} plan;

typedef struct block {
    int64_t group, part, c, channels, k, filters;
    char *result; /* S */
} block;

static int panel_width(const plan *pl) { return 2 * pl->kernels->vl; }

static char *worker_memory_at(const plan *pl, int worker) {
    return pl->scratch + pl->workers_at + (size_t)worker * pl->worker_bytes;
}

static char *sum_at(const plan *pl, int worker, int sum) {
    return worker_memory_at(pl, worker) + pl->sums_at + (size_t)sum * pl->result_bytes;
}

static block block_at(const plan *pl, int64_t index, int worker) {
    block b = {.result = pl->local ? sum_at(pl, worker, pl->reduction.levels)
                                   : pl->scratch + (size_t)index * pl->result_bytes};
    b.k = index % pl->filter_blocks * pl->filters;
    b.c = index / pl->filter_blocks % pl->channel_blocks * pl->channels;
    b.part = index / pl->filter_blocks / pl->channel_blocks % pl->reduction.parts;
    b.group = index / pl->filter_blocks / pl->channel_blocks / pl->reduction.parts;
    b.channels = FC_MIN(pl->channels, pl->c - b.c);
    b.filters = FC_MIN(pl->filters, pl->k - b.k);
    return b;
}

static int64_t task_count(const plan *pl) {
    return pl->g->groups * pl->reduction.parts * pl->channel_blocks * pl->filter_blocks;
}

/* ---------------------------------------------------------------- planning */

static void make_plan(plan *pl, const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                      const fc_array *grad_weight) {
    const fc_kernels *kernels = fc_kernels_for(grad_weight->dtype);
    *pl = (plan){.g = g, .kernels = kernels, .size = (size_t)kernels->element_size, .grad_weight = grad_weight};
    const fc_window w = {.p = g->p, .q = g->q};
    pl->x_tiles = fc_tile_window(&w, FC_WINOGRAD_INPUT, g->h, g->w, g->pad_top, g->pad_left);
    pl->y_tiles = fc_tile_window(&w, FC_WINOGRAD_TILE, g->p, g->q, 0, 0);
    pl->x = (fc_reader){.array = *x, .to = grad_weight->dtype, .kernels = kernels};
    pl->grad_y = (fc_reader){.array = *grad_y, .to = grad_weight->dtype, .kernels = kernels};
    pl->c = g->c / g->groups;
    pl->k = g->k / g->groups;
    pl->total_rows = g->n * pl->x_tiles.p;
    pl->channel_blocks = fc_ceil_div(pl->c, CHANNELS);
    pl->channels = fc_ceil_div(pl->c, pl->channel_blocks);
    pl->filters = FC_MIN(FC_MAX(FILTERS, panel_width(pl)), fc_ceil_div(pl->k, panel_width(pl)) * panel_width(pl));
    pl->filter_blocks = fc_ceil_div(pl->k, pl->filters);
    pl->chunks = fc_split_pixels(&pl->x_tiles, pl->total_rows, CHANNELS, CHUNK, FC_INPUT_ELEMENTS, 1);
    const int64_t blocks = g->groups * pl->channel_blocks * pl->filter_blocks;
    const int64_t parts = blocks == 1 ? 4 : blocks <= 3 ? 2 : 1; /* their sums take 2.3 to 3.4 MiB */
    const double chunk_work = (double)(pl->chunks.rows * pl->chunks.columns * FC_WINOGRAD_PLANES) *
                              (double)(pl->channels * pl->filters);
    pl->reduction = fc_cut_reduction(pl->chunks.row_blocks * pl->chunks.column_blocks, parts, chunk_work);
    pl->local = pl->reduction.parts == 1 && pl->reduction.chunks_per_part <= pl->reduction.chunks_per_round;
}

static void lay_out_scratch(plan *pl, int threads) {
    const int64_t tiles = pl->chunks.rows * pl->chunks.columns, width = panel_width(pl);
    pl->v_row = fc_ceil_div(pl->channels, pl->kernels->vl) * pl->kernels->vl;
    pl->v_plane = fc_odd_lines(tiles * pl->v_row, pl->size);
    pl->z_plane = fc_odd_lines(tiles * width, pl->size);
    pl->s_plane = fc_odd_lines(pl->channels * pl->filters, pl->size);
    pl->result_bytes = FC_ALIGN_UP((size_t)(FC_WINOGRAD_PLANES * pl->s_plane) * pl->size);
    pl->workers_at = pl->local ? 0 : pl->result_bytes * (size_t)task_count(pl);
    const int64_t x = fc_packed_size(&pl->x_tiles, pl->chunks.rows, pl->chunks.columns, SLICE);
    const int64_t y = fc_packed_size(&pl->y_tiles, pl->chunks.rows, pl->chunks.columns, SLICE);
    const int64_t transposed = 9 * pl->channels * pl->filters; /* results whose filters are not adjacent */
    pl->z_at = FC_ALIGN_UP((size_t)(FC_WINOGRAD_PLANES * pl->v_plane) * pl->size);
    const int64_t panels = pl->filters / width;
    pl->input_at = pl->z_at + FC_ALIGN_UP((size_t)(FC_WINOGRAD_PLANES * pl->z_plane * panels) * pl->size);
    pl->offsets_at = pl->input_at + FC_ALIGN_UP((size_t)FC_MAX(FC_MAX(x, y), transposed) * pl->size);
    /* per channel: its places in V and S; per tile: its place in V; per row of tiles: its start */
    const int64_t offsets = 2 * pl->channels + tiles + pl->chunks.rows;
    pl->sums_at = pl->offsets_at + FC_ALIGN_UP((size_t)offsets * sizeof(ptrdiff_t));
    pl->worker_bytes = pl->sums_at + (size_t)(pl->reduction.levels + pl->local) * pl->result_bytes;
    pl->scratch = fc_scratch_take(pl->workers_at + (size_t)threads * pl->worker_bytes);
}

/* ---------------------------------------------------------------- one task */

typedef struct worker_memory {
    char *v, *z, *input;
    ptrdiff_t *a_row, *c_row, *term, *row_at;
} worker_memory;

static worker_memory memory_of(const plan *pl, int worker) {
    char *memory = worker_memory_at(pl, worker);
    worker_memory m = {.v = memory, .z = memory + pl->z_at, .input = memory + pl->input_at};
    m.a_row = (ptrdiff_t *)(void *)(memory + pl->offsets_at);
    m.c_row = m.a_row + pl->channels;
    m.term = m.c_row + pl->channels;
    m.row_at = m.term + pl->chunks.rows * pl->chunks.columns;
    for (int64_t c = 0; c < pl->channels; c++) {
        m.a_row[c] = c;
        m.c_row[c] = c * pl->filters;
    }
    return m;
}

/* Pack some channels of a chunk of tiles and transform them: to + tile*row + position*plane. */
static void transform(const plan *pl, const worker_memory *m, const fc_window *tiles, const fc_reader *from,
                      const fc_block *chunk, int64_t channel, int64_t channels, fc_winograd_input_fn kernel, char *to,
                      int64_t row, int64_t plane) {
    for (int64_t c = 0; c < channels; c += SLICE) {
        const int64_t here = FC_MIN(SLICE, channels - c);
        const fc_channels slice = {.c = channel + c, .channels = here, .width = here};
        const fc_packed at = fc_pack_block(tiles, from, chunk, &slice, m->input, m->row_at);
        for (int64_t j = 0, i = 0; j < chunk->rows; j++)
            for (int64_t q = 0; q < chunk->columns; q++, i++)
                kernel(here, m->input + (size_t)(m->row_at[j] + q * at.pixel) * pl->size, at.tap_row, at.tap_column,
                       to + (size_t)(i * row + c) * pl->size, plane);
    }
}

typedef struct task {
    const plan *pl;
    block b;
    worker_memory m;
    int worker;
} task;

static char *sum_of(const task *t, int sum) {
    return sum < t->pl->reduction.levels ? sum_at(t->pl, t->worker, sum) : t->b.result;
}

static void add_chunk(void *context, int64_t index, int sum, int accumulate) {
    const task *t = context;
    const plan *pl = t->pl;
    const block *b = &t->b;
    const worker_memory *m = &t->m;
    const fc_block now = fc_block_at(&pl->chunks, &pl->x_tiles, pl->total_rows, index), *chunk = &now;
    const int64_t width = panel_width(pl), panels = fc_ceil_div(b->filters, width);
    const size_t panel_bytes = (size_t)(FC_WINOGRAD_PLANES * pl->z_plane) * pl->size;
    transform(pl, m, &pl->x_tiles, &pl->x, chunk, b->group * pl->c + b->c, b->channels, pl->kernels->winograd_input,
              m->v, pl->v_row, pl->v_plane);
    for (int64_t i = 0; i < panels; i++)
        transform(pl, m, &pl->y_tiles, &pl->grad_y, chunk, b->group * pl->k + b->k + i * width,
                  FC_MIN(width, b->filters - i * width), pl->kernels->winograd_grad_output,
                  m->z + (size_t)i * panel_bytes, width, pl->z_plane);
    const fc_tile tile = {.terms = chunk->rows * chunk->columns, .a_term = m->term, .width = (int)width,
                          .accumulate = accumulate};
    for (int64_t t = 0; t < tile.terms; t++) m->term[t] = t * pl->v_row;
    const int64_t groups = fc_ceil_div(b->channels, pl->kernels->mr);
    for (int64_t plane = 0; plane < FC_WINOGRAD_PLANES; plane++)
        for (int64_t panel = 0; panel < panels; panel++) {
            const char *v = m->v + (size_t)(plane * pl->v_plane) * pl->size;
            const char *z = m->z + (size_t)panel * panel_bytes + (size_t)(plane * pl->z_plane) * pl->size;
            char *s = sum_of(t, sum) + (size_t)(plane * pl->s_plane + panel * width) * pl->size;
            const int columns = (int)FC_MIN(width, b->filters - panel * width);
            for (int64_t i = 0; i < groups; i++) {
                const int64_t from = i * b->channels / groups, to = (i + 1) * b->channels / groups;
                pl->kernels->tile(&tile, (int)(to - from), v, m->a_row + from, z, NULL, columns, s, m->c_row + from);
            }
        }
}

static void add_sum(void *context, int to, int from, int accumulate) {
    const task *t = context;
    fc_add_numbers(sum_of(t, to), sum_of(t, from), t->pl->result_bytes / t->pl->size, t->pl->size, accumulate);
}

static void transform_result(plan *pl, const block *b, char *transposed) {
    const int64_t *stride = pl->grad_weight->stride;
    char *to = (char *)pl->grad_weight->data +
               (b->c * stride[2] + (b->group * pl->k + b->k) * stride[3]) * (int64_t)pl->size;
    const int in_place = stride[3] == 1 || b->filters == 1;
    ptrdiff_t tap[9];
    for (int i = 0; i < 9; i++)
        tap[i] = in_place ? i / 3 * stride[0] + i % 3 * stride[1] : i * b->channels * b->filters;
    const int finite = pl->kernels->winograd_grad_filter(b->channels, (int)b->filters, b->result, (int)pl->filters,
                                                         pl->s_plane, in_place ? to : transposed, tap,
                                                         in_place ? stride[2] : b->filters);
    if (!finite) atomic_store_explicit(&pl->doubtful, 1, memory_order_relaxed);
    for (int i = 0; i < 9 && !in_place; i++)
        pl->kernels->copy(b->channels, b->filters, transposed + (size_t)tap[i] * pl->size, b->filters, 1,
                          to + (i / 3 * stride[0] + i % 3 * stride[1]) * (int64_t)pl->size, stride[2], stride[3]);
}

static void run_task(void *context, int64_t index, int worker) {
    plan *pl = context;
    task t = {pl, block_at(pl, index, worker), memory_of(pl, worker), worker};
    fc_add_up(&pl->reduction, t.b.part, &(fc_adder){&t, add_chunk, add_sum});
    if (pl->local) transform_result(pl, &t.b, t.m.input);
}

/* ---------------------------------------------------------------- entry */

/* Join the parts of a block of the result. */
static void join_parts(void *context, int64_t index, int worker) {
    plan *pl = context;
    const int64_t per_group = pl->channel_blocks * pl->filter_blocks;
    const int64_t parts = pl->reduction.parts;
    const block b = block_at(pl, index / per_group * parts * per_group + index % per_group, worker);
    fc_join_parts(b.result, (ptrdiff_t)((size_t)per_group * pl->result_bytes), parts, pl->result_bytes / pl->size,
                  pl->size);
    transform_result(pl, &b, memory_of(pl, worker).input);
}

/* There is no memory, or there is to be none: see explain.h. */
static fc_status explain(const plan *pl, int threads, double work) {
    fc_explanation *e = fc_explaining();
    if (e == NULL) return FC_NO_MEMORY;
    const double size = (double)pl->size, groups = (double)pl->g->groups, chunks = (double)pl->reduction.chunks;
    const double tiles = (double)(pl->chunks.rows * pl->chunks.columns) * FC_WINOGRAD_PLANES;
    const fc_row_blocks *chunk = &pl->chunks;
    const double x = (double)fc_packed_size(&pl->x_tiles, chunk->rows, chunk->columns, pl->c) + tiles * (double)pl->c;
    const double y = (double)fc_packed_size(&pl->y_tiles, chunk->rows, chunk->columns, pl->k) + tiles * (double)pl->k;
    fc_tell_kernel(e, "tile", pl->kernels->mr, panel_width(pl), threads, work);
    fc_tell_copy(&e->x, x * chunks * groups * (double)pl->filter_blocks * size, FC_COPY_TRANSFORM);
    fc_tell_copy(&e->y, y * chunks * groups * (double)pl->channel_blocks * size, FC_COPY_TRANSFORM);
    fc_tell_copy(&e->weight, (double)pl->result_bytes * (double)task_count(pl),
                 FC_COPY_TRANSFORM | (pl->reduction.parts > 1 ? FC_COPY_PARTS : 0));
    return FC_OK;
}

fc_status fc_winograd_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                      const fc_array *grad_weight) {
    if (g->n == 0) return fc_direct_backward_weight(g, grad_y, x, grad_weight);
    plan pl;
    make_plan(&pl, g, grad_y, x, grad_weight);
    const double work = (double)(pl.total_rows * pl.x_tiles.q) * FC_WINOGRAD_PLANES * (double)pl.c * (double)g->k;
    const int threads = fc_threads_for(task_count(&pl), work);
    lay_out_scratch(&pl, threads);
    if (pl.scratch == NULL) return explain(&pl, threads, work);
    const double numbers = (double)(pl.result_bytes / pl.size) * (double)task_count(&pl);
    const fc_status status = fc_reduce(&pl.reduction, task_count(&pl), threads, run_task, numbers,
                                       pl.local ? NULL : join_parts, &pl);
    fc_scratch_give_back(pl.scratch);
    if (status != FC_OK || !pl.doubtful) return status;
    return fc_direct_backward_weight(g, grad_y, x, grad_weight); /* which knows where infinities and NaN belong */
}
