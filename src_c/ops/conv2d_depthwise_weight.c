/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradient of the weights of a depthwise convolution: for each tap and channel a sum over output pixels.
 *
 *   tasks     part of the pixels x block of channels       in parallel
 *     units     some rows of an image: tables of their lines in x and grad_y
 *       strips    columns whose lines stay in L1 while the rows go by
 *         rows      one call of the depthwise_weight kernel each
 *
 * A unit has at most UNIT_PIXELS pixels, added up in runs of FC_PIXEL_RUN; its sums are added to those of its part, in
 * order, and the PARTS parts are joined by a fixed tree. All of it follows from the geometry of an image and the number
 * of images: the bits depend on neither threads nor strides, and no chain of additions is longer than UNIT_PIXELS /
 * FC_PIXEL_RUN or the number of units of a part. */
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "blocking.h"
#include "depthwise.h"
#include "direct.h"
#include "explain.h"

enum { UNIT_PIXELS = 2048, PARTS = 8 };

/* A task is handed out again when it has done this many multiply-adds, so that a long call can be interrupted. */
static const double ROUND_WORK = 5e8;

typedef struct plan {
    const fc_conv2d *g;
    const fc_kernels *kernels;
    fc_dtype dtype;
    size_t size; /* of an element */
    const fc_array *grad_weight;
    fc_lines x, grad_y;
    int64_t rows, columns, row_blocks, column_blocks; /* of a unit, in output pixels */
    int64_t strip;
    int64_t units, parts, units_per_part, round, units_per_round;
    fc_channel_blocks channels;
    int64_t most_channels;
    char *scratch;
    size_t part_bytes, workers_at, worker_bytes, grad_y_at, line_at, sums_at;
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
    pl->units = g->n * pl->row_blocks * pl->column_blocks;
    pl->parts = FC_MIN(PARTS, pl->units);
    pl->units_per_part = fc_ceil_div(pl->units, pl->parts);
}

static void plan_channels(plan *pl, int threads) {
    const int64_t taps = pl->g->r * pl->g->s;
    int64_t most = FC_DEPTHWISE_WEIGHT_BYTES / (taps * (int64_t)pl->size);
    if (!pl->x.in_place || !pl->grad_y.in_place)
        most = FC_MIN(most, FC_LINES_ELEMENTS / (unit_lines(pl, pl->rows) * unit_columns(pl, pl->columns)));
    const int64_t wanted = (int64_t)threads * FC_TASKS_PER_THREAD;
    if (threads > 1 && pl->parts < wanted) most = FC_MIN(most, fc_ceil_div(pl->g->c * pl->parts, wanted));
    const int64_t first = pl->grad_y.in_place ? fc_aligned_first(&pl->x, pl->g->c, pl->kernels->vl) : pl->kernels->vl;
    pl->channels = fc_split_channels(pl->g->c, pl->kernels->vl, first, most);
    pl->most_channels = fc_most_channels(&pl->channels);
    const double unit_work = (double)(pl->rows * pl->columns * taps) * (double)pl->most_channels;
    pl->units_per_round = (int64_t)FC_MAX(1.0, ROUND_WORK / unit_work);
}

static size_t sums_bytes(const plan *pl, int64_t vectors) {
    return (size_t)(vectors * pl->g->r * pl->g->s * pl->kernels->vl) * pl->size;
}

static void lay_out_scratch(plan *pl, int threads) {
    pl->part_bytes = FC_ALIGN_UP(sums_bytes(pl, fc_vectors(&pl->channels)));
    pl->workers_at = (size_t)pl->parts * pl->part_bytes;
    pl->grad_y_at =
        fc_lines_bytes(&pl->x, unit_lines(pl, pl->rows), unit_columns(pl, pl->columns), pl->most_channels);
    pl->line_at = pl->grad_y_at + fc_lines_bytes(&pl->grad_y, pl->rows, pl->columns, pl->most_channels);
    pl->sums_at = pl->line_at + FC_ALIGN_UP((size_t)pl->g->r * sizeof(void *));
    pl->worker_bytes = pl->sums_at + FC_ALIGN_UP(sums_bytes(pl, pl->most_channels / pl->kernels->vl + 2));
    pl->scratch = fc_scratch_take(pl->workers_at + (size_t)threads * pl->worker_bytes);
}

/* ---------------------------------------------------------------- one task */

static void add_unit(const plan *pl, int64_t unit, const fc_channel_block *b, char *memory) {
    const fc_conv2d *g = pl->g;
    const int64_t column = unit % pl->column_blocks * pl->columns;
    const int64_t row = unit / pl->column_blocks % pl->row_blocks * pl->rows;
    const int64_t rows = FC_MIN(pl->rows, g->p - row), columns = FC_MIN(pl->columns, g->q - column);
    fc_piece piece = {.n = unit / pl->column_blocks / pl->row_blocks, .row = row, .rows = rows, .column = column,
                      .columns = columns, .c = b->c, .channels = b->channels};
    const void *const *const *grad_y = fc_lines_bring(&pl->grad_y, &piece, memory + pl->grad_y_at);
    piece.row = row * g->stride_h - g->pad_top;
    piece.rows = unit_lines(pl, rows);
    piece.column = column * g->stride_w - g->pad_left;
    piece.columns = unit_columns(pl, columns);
    const void *const *const *table = fc_lines_bring(&pl->x, &piece, memory);
    const void *const **line = (const void *const **)(void *)(memory + pl->line_at);
    const int vl = pl->kernels->vl;
    fc_depthwise d = {.rows = g->r, .columns = g->s, .stride = g->stride_w, .dilation = g->dilation_w,
                      .channels = b->channels, .lanes = vl, .first = b->first,
                      .w_vector = g->r * g->s * vl, .w_row = g->s * vl, .w_column = vl,
                      .y_pixel = pl->grad_y.in_place ? pl->grad_y.reader.array.stride[2] : b->channels};
    for (int64_t q = 0; q < columns; q += pl->strip) {
        d.pixels = FC_MIN(pl->strip, columns - q);
        for (int64_t p = 0; p < rows; p++) {
            for (int64_t r = 0; r < g->r; r++)
                line[r] = table[p * g->stride_h + r * g->dilation_h] + q * g->stride_w;
            pl->kernels->depthwise_weight(&d, line, grad_y[p][q], memory + pl->sums_at);
        }
    }
}

/* to[i] += from[i] */
static void add_numbers(size_t numbers, size_t size, void *to, const void *from) {
    if (size == sizeof(float))
        for (size_t i = 0; i < numbers; i++) ((float *)to)[i] += ((const float *)from)[i];
    else
        for (size_t i = 0; i < numbers; i++) ((double *)to)[i] += ((const double *)from)[i];
}

static void run_task(void *context, int64_t index, int worker) {
    const plan *pl = context;
    char *memory = pl->scratch + pl->workers_at + (size_t)worker * pl->worker_bytes;
    const int64_t part = index / pl->channels.blocks;
    const fc_channel_block b = fc_channel_block_at(&pl->channels, index % pl->channels.blocks);
    const size_t bytes = sums_bytes(pl, b.vectors);
    char *total = pl->scratch + (size_t)part * pl->part_bytes + sums_bytes(pl, b.vector);
    const int64_t first = part * pl->units_per_part, end = FC_MIN(pl->units, first + pl->units_per_part);
    const int64_t from = first + pl->round * pl->units_per_round;
    if (pl->round == 0) memset(total, 0, bytes);
    for (int64_t unit = from; unit < FC_MIN(end, from + pl->units_per_round); unit++) {
        memset(memory + pl->sums_at, 0, bytes);
        add_unit(pl, unit, &b, memory);
        add_numbers(bytes / pl->size, pl->size, total, memory + pl->sums_at);
    }
}

/* ---------------------------------------------------------------- the result */

/* Add part i+step to part i for step 1, 2, 4 ...: a tree that depends on the number of parts alone. */
static void join_parts(const plan *pl) {
    for (int64_t step = 1; step < pl->parts; step *= 2)
        for (int64_t i = 0; i + step < pl->parts; i += 2 * step)
            add_numbers(sums_bytes(pl, fc_vectors(&pl->channels)) / pl->size, pl->size,
                        pl->scratch + (size_t)i * pl->part_bytes, pl->scratch + (size_t)(i + step) * pl->part_bytes);
}

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
    const double units = (double)pl->units * (double)g->c * size;
    fc_tell_kernel(e, "depthwise_weight", 1, pl->kernels->vl, threads, work * lanes / (double)g->c);
    if (!pl->x.in_place)
        fc_tell_copy(&e->x, units * (double)(unit_lines(pl, pl->rows) * unit_columns(pl, pl->columns)),
                     fc_why_channels(&pl->x.reader.array, g->c, pl->dtype));
    if (!pl->grad_y.in_place)
        fc_tell_copy(&e->y, units * (double)(pl->rows * pl->columns),
                     fc_why_channels(&pl->grad_y.reader.array, g->c, pl->dtype));
    fc_tell_copy(&e->weight, (double)pl->part_bytes * (double)pl->parts, FC_COPY_PARTS);
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
    const int64_t tasks = pl.parts * pl.channels.blocks;
    threads = (int)FC_MIN(tasks, threads);
    lay_out_scratch(&pl, threads);
    if (pl.scratch == NULL) return explain(&pl, threads, work);
    fc_status status = FC_OK;
    const int64_t rounds = fc_ceil_div(pl.units_per_part, pl.units_per_round);
    for (; pl.round < rounds && status == FC_OK; pl.round++) status = fc_parallel_for(tasks, threads, run_task, &pl);
    if (status == FC_OK) {
        join_parts(&pl);
        put_weights(&pl);
    }
    fc_scratch_give_back(pl.scratch);
    return status;
}
