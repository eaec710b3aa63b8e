/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tasks are image x slice (of volumes) x block of lines x block of channels. Where channels are adjacent the kernel
 * reads and writes the arrays themselves; elsewhere (averages in NCHW) what a task reads is packed with adjacent
 * channels and its lines are copied out. */
#include "unpool.h"

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/element.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "blocking.h"
#include "stream.h"

enum { TASK_ELEMENTS = 1 << 15 }; /* pixels times channels of one task: some ten microseconds of work */

/* The windows that reach any of the lines [line, line + lines). */
static fc_span rows_reaching(const fc_unpool *u, int64_t line, int64_t lines) {
    fc_span all = {.first = u->g->p, .end = 0};
    for (int64_t h = line; h < line + lines; h++)
        if (u->rows[h].first < u->rows[h].end) {
            all.first = FC_MIN(all.first, u->rows[h].first);
            all.end = FC_MAX(all.end, u->rows[h].end);
        }
    if (all.first >= all.end) all.first = all.end = 0;
    return all;
}

/* The most slices of windows that reach a slice. */
static int64_t most_slices(const fc_unpool *u) {
    int64_t most = 1;
    for (int64_t d = 0; u->slices != NULL && d < u->depth->d; d++)
        most = FC_MAX(most, u->slices[d].end - u->slices[d].first);
    return most;
}

/* Lay out the scratch of a task of so many lines and channels. */
static size_t lay_out(fc_unpool *u, int64_t lines, int64_t channels) {
    const fc_pool2d *g = u->g;
    int64_t rows = 0;
    for (int64_t line = 0; line < g->h; line += lines) {
        const fc_span reaching = rows_reaching(u, line, FC_MIN(lines, g->h - line));
        rows = FC_MAX(rows, reaching.end - reaching.first);
    }
    const size_t size = (size_t)u->kernels->element_size, windows = (size_t)(rows * g->q * channels);
    const int packed = !u->in_place;
    u->y_at = packed ? FC_ALIGN_UP((size_t)(lines * g->w * channels) * size) : 0;
    u->shares_at = u->y_at + (packed ? FC_ALIGN_UP(windows * size) : 0);
    u->places_at = u->shares_at + (u->indices == NULL ? FC_ALIGN_UP(windows * size) : 0);
    u->worker_bytes = u->places_at;
    if (u->narrow) u->worker_bytes += FC_ALIGN_UP(windows * (size_t)most_slices(u) * sizeof(int32_t));
    return u->worker_bytes;
}

int fc_unpool_plan(fc_unpool *u, size_t bytes) {
    const fc_pool2d *g = u->g;
    const int adjacent = g->c == 1 || (u->grad_x->stride[3] == 1 && u->grad_y->stride[3] == 1);
    const int index_adjacent = u->indices == NULL || g->c == 1 || u->indices_stride[3] == 1;
    u->kernels = fc_kernels_for(u->grad_x->dtype);
    u->in_place = adjacent && index_adjacent && u->grad_y->dtype == u->grad_x->dtype;
    if (u->indices != NULL && !u->in_place) return 0;
    u->channels = u->in_place ? g->c : FC_MIN(g->c, 4 * u->kernels->vl);
    u->narrow = u->narrow && u->kernels->element_size == sizeof(int32_t) && lay_out(u, 1, u->channels) <= bytes;
    u->task_rows = FC_MAX(1, FC_MIN(g->h, TASK_ELEMENTS / (g->w * u->channels)));
    while (lay_out(u, u->task_rows, u->channels) > bytes) {
        if (u->task_rows > 1) u->task_rows = fc_ceil_div(u->task_rows, 2);
        else if (u->channels > 1) u->channels = fc_ceil_div(u->channels, 2);
        else return 0;
    }
    u->row_blocks = fc_ceil_div(g->h, u->task_rows);
    u->channel_blocks = fc_ceil_div(g->c, u->channels);
    return 1;
}

/* What the windows of some rows send to each of their pixels: grad_y over the divisor. */
static void divide(const fc_unpool *u, fc_span rows, int64_t channels, const char *y, ptrdiff_t y_row,
                   ptrdiff_t y_column, char *shares) {
    const int64_t size = u->kernels->element_size;
    const fc_pool_layout m = {.first_row = rows.first, .y_row = u->g->q * channels, .y_column = channels,
                              .channels = channels};
    for (int64_t p = rows.first; p < rows.end; p++)
        for (int64_t q = 0; q < u->g->q;) {
            ptrdiff_t x_at, at;
            fc_pool_run run = fc_pool_run_at(u->g, &m, p, q, &x_at, &at);
            run.rows = run.columns = 1;
            run.x_step = y_column;
            u->kernels->avg_pool(&run, y + ((p - rows.first) * y_row + q * y_column) * size, shares + at * size);
            q += run.pixels;
        }
}

/* The operands of a task: window rows [rows.first, rows.end) from a slice of windows on, distances in elements. */
typedef struct operands {
    const char *y;
    const int64_t *indices;
    const int32_t *places; /* the same, narrow */
    ptrdiff_t y_row, y_column, indices_slice, indices_row, indices_column;
} operands;

/* The indices of some slices and rows of windows, as narrow as the numbers. All lie in the image, or did: one that
 * another thread has changed since names a pixel, or none, but no memory. */
static void narrow(const fc_unpool *u, int64_t slices, int64_t rows, int64_t channels, operands *o, int32_t *to) {
    const int64_t q = u->g->q;
    o->places = to;
    for (int64_t i = 0; i < slices * rows * q; i++, to += channels) {
        const int64_t *from = o->indices + i / q / rows * o->indices_slice + i / q % rows * o->indices_row +
                              i % q * o->indices_column;
        for (int64_t c = 0; c < channels; c++) to[c] = (int32_t)from[c];
    }
    o->indices_column = channels;
    o->indices_row = q * channels;
    o->indices_slice = rows * o->indices_row;
}

static operands read_operands(const fc_unpool *u, int64_t n, fc_span slices, fc_span rows, int64_t c,
                              int64_t channels, char *memory) {
    const fc_pool2d *g = u->g;
    const int64_t size = u->kernels->element_size, *ys = u->grad_y->stride, *is = u->indices_stride;
    const int64_t packed_row = g->q * channels;
    operands o = {.y = memory + u->y_at, .y_row = packed_row, .y_column = channels};
    if (u->in_place) {
        o = (operands){.y = (const char *)u->grad_y->data + fc_at(ys, n, rows.first, 0, c) * size, .y_row = ys[1],
                       .y_column = ys[2]};
        if (u->indices != NULL) {
            o.y += slices.first * u->depth->y * size;
            o.indices = u->indices + slices.first * u->depth->indices + fc_at(is, n, rows.first, 0, c);
            o.indices_slice = u->depth->indices;
            o.indices_row = is[1];
            o.indices_column = is[2];
            if (u->narrow)
                narrow(u, slices.end - slices.first, rows.end - rows.first, channels, &o,
                       (int32_t *)(void *)(memory + u->places_at));
        }
    } else {
        const fc_reader y = {.array = *u->grad_y, .to = u->grad_x->dtype, .kernels = u->kernels};
        fc_pool_read_lines(&y, g->q, n, rows.first, rows.end - rows.first, c, channels, memory + u->y_at);
    }
    if (u->indices == NULL) {
        divide(u, rows, channels, o.y, o.y_row, o.y_column, memory + u->shares_at);
        o.y = memory + u->shares_at;
        o.y_row = packed_row;
        o.y_column = channels;
    }
    return o;
}

typedef struct job {
    const fc_unpool *u;
    char *scratch;
} job;

static void run_task(void *context, int64_t index, int worker) {
    const job *j = context;
    const fc_unpool *u = j->u;
    const fc_pool2d *g = u->g;
    char *memory = j->scratch + (size_t)worker * u->worker_bytes;
    const int64_t c = index % u->channel_blocks * u->channels, channels = FC_MIN(u->channels, g->c - c);
    const int64_t line = index / u->channel_blocks % u->row_blocks * u->task_rows;
    const int64_t lines = FC_MIN(u->task_rows, g->h - line);
    const int64_t d = index / u->channel_blocks / u->row_blocks % u->depth->d;
    const int64_t n = index / u->channel_blocks / u->row_blocks / u->depth->d;
    const fc_span rows = rows_reaching(u, line, lines);
    const fc_span slices = u->slices == NULL ? (fc_span){0, 1} : u->slices[d];
    const operands o = read_operands(u, n, slices, rows, c, channels, memory);
    const int64_t size = u->kernels->element_size, *xs = u->grad_x->stride;
    for (int64_t h = line; h < line + lines;) {
        const fc_span own = u->rows[h];
        const int two = h + 1 < line + lines && u->rows[h + 1].first == own.first && u->rows[h + 1].end == own.end;
        const int64_t skipped = own.first < own.end ? own.first - rows.first : 0;
        const fc_unpool_run run = {.lines = 1 + two, .pixels = g->w, .channels = channels,
                                   .x_line = u->in_place ? xs[1] : g->w * channels,
                                   .x_step = u->in_place ? xs[2] : channels, .slices = slices.end - slices.first,
                                   .y_slice = u->depth->y, .indices_slice = o.indices_slice,
                                   .rows = FC_MAX(0, own.end - own.first),
                                   .columns = u->columns, .y_row = o.y_row, .y_column = o.y_column,
                                   .indices_row = o.indices_row, .indices_column = o.indices_column,
                                   .index = (d * g->h + h) * g->w, .index_line = g->w,
                                   .streams = u->streams,
                                   .indices = o.indices == NULL ? NULL : o.indices + skipped * o.indices_row,
                                   .places = o.places == NULL ? NULL : o.places + skipped * o.indices_row};
        char *x = u->in_place ? (char *)u->grad_x->data + (d * u->depth->x + fc_at(xs, n, h, 0, c)) * size
                              : memory + (h - line) * g->w * channels * size;
        u->kernels->unpool(&run, x, o.y + skipped * o.y_row * size);
        h += run.lines;
    }
    if (!u->in_place) fc_pool_write_lines(u->kernels, memory, u->grad_x, g->w, n, line, lines, c, channels);
}

static int streams(const fc_unpool *u, int threads) {
    const fc_pool2d *g = u->g;
    const int64_t size = u->kernels->element_size, line = FC_CACHE_LINE / size;
    const double numbers = (double)(g->n * u->depth->d) * (double)(g->h * g->w) * (double)g->c;
    const double windows = (double)(g->n * u->depth->o) * (double)(g->p * g->q) * (double)g->c;
    const double inputs = windows * (double)(size + (u->indices == NULL ? 0 : (int64_t)sizeof *u->indices));
    return u->in_place && u->channels % line == 0 && u->depth->x % line == 0 &&
           fc_streams_pixels(u->grad_x, numbers * (double)size, inputs, threads);
}

fc_status fc_unpool_run_tasks(fc_unpool *u, int threads, char *scratch) {
    u->streams = streams(u, threads);
    job j = {.u = u, .scratch = scratch};
    return fc_parallel_for(fc_unpool_tasks(u), threads, run_task, &j);
}
