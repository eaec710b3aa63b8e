/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradient of the weights of a depthwise convolution: for each tap and channel a sum over output pixels.
 *
 *   tasks     part of the pixels x block of channels       in parallel
 *     units     some rows of an image: tables of their lines in x and grad_y
 *       strips    columns whose lines stay in L1 while the rows go by
 *         rows      one call of the depthwise_weight kernel each
 *
 * A unit has at most UNIT_PIXELS pixels, added up FC_PIXEL_RUN at a time and in runs of some RUN_PIXELS; units are
 * added up as parts.h has it. Their cut follows from the geometry of an image: the bits depend on neither threads nor
 * strides. */
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "blocking.h"
#include "depthwise.h"
#include "direct.h"
#include "explain.h"
#include "parts.h"

enum { UNIT_PIXELS = 2048, RUN_PIXELS = 448 };

typedef struct plan {
    const fc_conv2d *g;
    const fc_kernels *kernels;
    fc_dtype dtype;
    size_t size; /* of an element */
    const fc_array *grad_weight;
    fc_lines x, grad_y;
    int64_t rows, columns, row_blocks, column_blocks; /* of a unit, in output pixels */
    int64_t strip;
    fc_reduction reduction; /* of units */
    fc_channel_blocks channels;
    int64_t most_channels;
    char *scratch;
    size_t part_bytes, workers_at, worker_bytes, grad_y_at, line_at, sums_at, sum_bytes;
} plan;

static int64_t lines_read(int64_t count, int64_t stride, int64_t kernel, int64_t dilation) {
    return (count - 1) * stride + (kernel - 1) * dilation + 1;
}

static int64_t unit_lines(const plan *pl, int64_t rows) {
    return lines_read(rows, pl->g->stride_h, pl->g->r, pl->g->dilation_h);
}

static int64_t unit_columns(const plan *pl, int64_t columns) {
    return lines_read(columns, pl->g->stride_w, pl->g->s, pl->g->dilation_w);
}

/* The most windows, `least` pixels long and `step` apart, within `room` pixels. */
static int64_t windows_within(int64_t room, int64_t least, int64_t step) {
    return room < least ? 1 : (room - least) / step + 1;
}

/* ---------------------------------------------------------------- planning */

/* Of a block whose sums stay in L1. */
static int64_t most_channels(const plan *pl) {
    return FC_DEPTHWISE_WEIGHT_BYTES / (pl->g->r * pl->g->s * (int64_t)pl->size);
}

/* Units and strips follow from the geometry alone, because they decide the order of summation. */
static void plan_units(plan *pl) {
    const fc_conv2d *g = pl->g;
    enum { WIDEST_VECTOR = 16, STRIP_BYTES = 24 << 10, STRIP_CHANNELS = 256 };
    const int64_t room = FC_MIN(FC_LINES_ELEMENTS / WIDEST_VECTOR, FC_LINES_ENTRIES);
    const int64_t most_columns = FC_MIN(UNIT_PIXELS, windows_within(room / (unit_lines(pl, 1) + 1),
                                                                    unit_columns(pl, 1), g->stride_w));
    pl->column_blocks = fc_ceil_div(g->q, most_columns);
    pl->columns = fc_ceil_div(g->q, pl->column_blocks);
    const int64_t most_rows = FC_MIN(FC_MAX(1, UNIT_PIXELS / pl->columns),
                                     windows_within(room / unit_columns(pl, pl->columns) - 1, unit_lines(pl, 1),
                                                    g->stride_h));
    pl->row_blocks = fc_ceil_div(g->p, most_rows);
    pl->rows = fc_ceil_div(g->p, pl->row_blocks);
    const int64_t pixel = FC_MIN(g->c, STRIP_CHANNELS) * (int64_t)pl->size * (g->r + 1) * g->stride_w;
    pl->strip = FC_MAX(1, STRIP_BYTES / pixel / FC_PIXEL_RUN) * FC_PIXEL_RUN;
    const int64_t taps = g->r * g->s, channels = FC_MIN(g->c, most_channels(pl));
    const double unit_work = 4.0 * (double)(pl->rows * pl->columns * taps) * (double)channels; /* 4: slowly */
    pl->reduction = fc_cut_reduction(g->n * pl->row_blocks * pl->column_blocks, FC_FIXED_TASKS, unit_work);
}

static void plan_channels(plan *pl, int threads) {
    int64_t most = most_channels(pl);
    if (!pl->x.in_place || !pl->grad_y.in_place)
        most = FC_MIN(most, FC_LINES_ELEMENTS / (unit_lines(pl, pl->rows) * unit_columns(pl, pl->columns)));
    const int64_t wanted = (int64_t)threads * FC_TASKS_PER_THREAD;
    if (threads > 1 && pl->reduction.parts < wanted)
        most = FC_MIN(most, fc_ceil_div(pl->g->c * pl->reduction.parts, wanted));
    const int64_t first = pl->grad_y.in_place ? fc_aligned_first(&pl->x, pl->g->c, pl->kernels->vl) : pl->kernels->vl;
    pl->channels = fc_split_channels(pl->g->c, pl->kernels->vl, first, most);
    pl->most_channels = fc_most_channels(&pl->channels);
}

static size_t sums_bytes(const plan *pl, int64_t vectors) {
    return (size_t)(vectors * pl->g->r * pl->g->s * pl->kernels->vl) * pl->size;
}

static void lay_out_scratch(plan *pl, int threads) {
    pl->part_bytes = FC_ALIGN_UP(sums_bytes(pl, fc_vectors(&pl->channels)));
    pl->workers_at = (size_t)pl->reduction.parts * pl->part_bytes;
    pl->grad_y_at =
        fc_lines_bytes(&pl->x, unit_lines(pl, pl->rows), unit_columns(pl, pl->columns), pl->most_channels);
    pl->line_at = pl->grad_y_at + fc_lines_bytes(&pl->grad_y, pl->rows, pl->columns, pl->most_channels);
    pl->sums_at = pl->line_at + FC_ALIGN_UP((size_t)pl->g->r * sizeof(void *));
    pl->sum_bytes = FC_ALIGN_UP(sums_bytes(pl, pl->most_channels / pl->kernels->vl + 2));
    pl->worker_bytes = pl->sums_at + (size_t)(pl->reduction.levels + 2) * pl->sum_bytes; /* and of a unit and a run */
    pl->scratch = fc_scratch_take(pl->workers_at + (size_t)threads * pl->worker_bytes);
}

/* ---------------------------------------------------------------- one task */

typedef struct task {
    const plan *pl;
    int64_t part;
    fc_channel_block b;
    char *memory;
} task;

static char *sum_of(const task *t, int sum) {
    const plan *pl = t->pl;
    if (sum < pl->reduction.levels) return t->memory + pl->sums_at + (size_t)(sum + 2) * pl->sum_bytes;
    return pl->scratch + (size_t)t->part * pl->part_bytes + sums_bytes(pl, t->b.vector);
}

static void add_sum(void *context, int to, int from, int accumulate) {
    const task *t = context;
    const size_t size = t->pl->size;
    fc_add_numbers(sum_of(t, to), sum_of(t, from), sums_bytes(t->pl, t->b.vectors) / size, size, accumulate);
}

/* Lines of a unit in x and grad_y. */
typedef struct unit {
    int64_t rows, columns;
    const void *const *const *x, *const *const *grad_y;
} unit;

static unit bring_unit(const task *t, int64_t index) {
    const plan *pl = t->pl;
    const fc_conv2d *g = pl->g;
    const int64_t column = index % pl->column_blocks * pl->columns;
    const int64_t row = index / pl->column_blocks % pl->row_blocks * pl->rows;
    unit u = {.rows = FC_MIN(pl->rows, g->p - row), .columns = FC_MIN(pl->columns, g->q - column)};
    fc_piece piece = {.n = index / pl->column_blocks / pl->row_blocks, .row = row, .rows = u.rows, .column = column,
                      .columns = u.columns, .c = t->b.c, .channels = t->b.channels};
    u.grad_y = fc_lines_bring(&pl->grad_y, &piece, t->memory + pl->grad_y_at);
    piece.row = row * g->stride_h - g->pad_top;
    piece.rows = unit_lines(pl, u.rows);
    piece.column = column * g->stride_w - g->pad_left;
    piece.columns = unit_columns(pl, u.columns);
    u.x = fc_lines_bring(&pl->x, &piece, t->memory);
    return u;
}

/* The kernel adds row after row to one sum: some rows of a strip are a run of their own. */
static void add_chunk(void *context, int64_t index, int sum, int accumulate) {
    const task *t = context;
    const plan *pl = t->pl;
    const fc_conv2d *g = pl->g;
    const unit u = bring_unit(t, index);
    const void *const **line = (const void *const **)(void *)(t->memory + pl->line_at);
    const int vl = pl->kernels->vl;
    fc_depthwise d = {.rows = g->r, .columns = g->s, .stride = g->stride_w, .dilation = g->dilation_w,
                      .channels = t->b.channels, .lanes = vl, .first = t->b.first,
                      .w_vector = g->r * g->s * vl, .w_row = g->s * vl, .w_column = vl,
                      .y_pixel = pl->grad_y.in_place ? pl->grad_y.reader.array.stride[2] : t->b.channels};
    const size_t bytes = sums_bytes(pl, t->b.vectors);
    char *of_unit = t->memory + pl->sums_at, *run = of_unit + pl->sum_bytes;
    const int64_t run_rows = FC_MAX(1, RUN_PIXELS / FC_MIN(pl->strip, u.columns));
    for (int64_t q = 0; q < u.columns; q += pl->strip) {
        d.pixels = FC_MIN(pl->strip, u.columns - q);
        for (int64_t p = 0; p < u.rows; p++) {
            if (p % run_rows == 0) memset(run, 0, bytes);
            for (int64_t r = 0; r < g->r; r++)
                line[r] = u.x[p * g->stride_h + r * g->dilation_h] + q * g->stride_w;
            pl->kernels->depthwise_weight(&d, line, u.grad_y[p][q], run);
            if ((p + 1) % run_rows > 0 && p + 1 < u.rows) continue;
            fc_add_numbers(of_unit, run, bytes / pl->size, pl->size, q > 0 || p >= run_rows);
        }
    }
    fc_add_numbers(sum_of(t, sum), of_unit, bytes / pl->size, pl->size, accumulate);
}

static void run_task(void *context, int64_t index, int worker) {
    const plan *pl = context;
    task t = {pl, index / pl->channels.blocks, fc_channel_block_at(&pl->channels, index % pl->channels.blocks),
              pl->scratch + pl->workers_at + (size_t)worker * pl->worker_bytes};
    fc_add_up(&pl->reduction, t.part, &(fc_adder){&t, add_chunk, add_sum});
}

/* ---------------------------------------------------------------- the result */

/* From [vector][tap][lane] to where the weights lie. */
static void put_weights(const plan *pl) {
    const fc_conv2d *g = pl->g;
    const int64_t *stride = pl->grad_weight->stride;
    const int vl = pl->kernels->vl;
    const int joined = stride[0] == g->s * stride[1];
    const char *src = pl->scratch;
    for (int64_t v = 0; v < fc_vectors(&pl->channels); v++) {
        const int64_t c = fc_vector_first(&pl->channels, v);
        for (int64_t r = 0; r < (joined ? 1 : g->r); r++) {
            const int64_t taps = joined ? g->r * g->s : g->s;
            pl->kernels->copy(taps, FC_MIN(g->c, vl), src, vl, 1,
                              (char *)pl->grad_weight->data + (c * stride[3] + r * stride[0]) * (int64_t)pl->size,
                              stride[1], stride[3]);
            src += (size_t)(taps * vl) * pl->size;
        }
    }
}

/* There is no memory, or there is to be none: see explain.h. */
static fc_status explain(const plan *pl, int threads, double work) {
    const fc_conv2d *g = pl->g;
    fc_explanation *e = fc_explaining();
    if (e == NULL) return FC_NO_MEMORY;
    const double lanes = (double)fc_vectors(&pl->channels) * pl->kernels->vl, size = (double)pl->size;
    const double units = (double)pl->reduction.chunks * (double)g->c * size;
    fc_tell_kernel(e, "depthwise_weight", 1, pl->kernels->vl, threads, work * lanes / (double)g->c);
    if (!pl->x.in_place)
        fc_tell_copy(&e->x, units * (double)(unit_lines(pl, pl->rows) * unit_columns(pl, pl->columns)),
                     fc_why_channels(&pl->x.reader.array, g->c, pl->dtype));
    if (!pl->grad_y.in_place)
        fc_tell_copy(&e->y, units * (double)(pl->rows * pl->columns),
                     fc_why_channels(&pl->grad_y.reader.array, g->c, pl->dtype));
    fc_tell_copy(&e->weight, (double)pl->part_bytes * (double)pl->reduction.parts, FC_COPY_PARTS);
    return FC_OK;
}

fc_status fc_depthwise_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                       const fc_array *grad_weight) {
    plan pl = {.g = g, .dtype = grad_weight->dtype, .grad_weight = grad_weight};
    if (g->n == 0) return fc_direct_backward_weight(g, grad_y, x, grad_weight); /* zeros */
    pl.kernels = fc_kernels_for(pl.dtype);
    pl.size = (size_t)pl.kernels->element_size;
    pl.x = fc_lines_of(x, g->h, g->w, g->c, pl.dtype, pl.kernels);
    pl.grad_y = fc_lines_of(grad_y, g->p, g->q, g->c, pl.dtype, pl.kernels);
    plan_units(&pl);
    const double work = (double)g->n * (double)(g->p * g->q) * (double)(g->r * g->s) * (double)g->c;
    int threads = fc_threads_for(INT32_MAX, work);
    plan_channels(&pl, threads);
    const int64_t tasks = pl.reduction.parts * pl.channels.blocks;
    threads = (int)FC_MIN(tasks, threads);
    lay_out_scratch(&pl, threads);
    if (pl.scratch == NULL) return explain(&pl, threads, work);
    const fc_status status = fc_reduce(&pl.reduction, tasks, threads, run_task, 0, NULL, &pl);
    if (status == FC_OK) {
        const size_t numbers = sums_bytes(&pl, fc_vectors(&pl.channels)) / pl.size;
        fc_join_parts(pl.scratch, (ptrdiff_t)pl.part_bytes, pl.reduction.parts, numbers, pl.size);
        put_weights(&pl);
    }
    fc_scratch_give_back(pl.scratch);
    return status;
}
