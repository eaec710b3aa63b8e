/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Pooling, forward. Tasks are image x output slice (of volumes) x block of output rows x block of channels. Where
 * channels are adjacent the kernels read and write the arrays themselves; elsewhere (NCHW) the lines that a task reads
 * are packed with adjacent channels and its results copied out, so that both layouts run one kernel. */
#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "blocking.h"
#include "pool.h"

enum {
    TASK_ELEMENTS = 1 << 15, /* outputs of one task: some ten microseconds of work */
    LINE_ELEMENTS = 1 << 16  /* packed input of one task: 256 KiB of float32 */
};

typedef struct job {
    const fc_pool2d *g; /* of a slice */
    const fc_pool_depth *depth;
    const fc_array *x, *y;
    int64_t *indices;
    const int64_t *indices_stride;
    const fc_kernels *kernels, *index_kernels;
    int maximum, in_place;
    int64_t rows, row_blocks;         /* output rows of a task */
    int64_t channels, channel_blocks;
    char *scratch;
    size_t worker_bytes, y_at, indices_at;
} job;

static int64_t lines_for(const fc_pool2d *g, int64_t rows) {
    return FC_MIN(g->h, (rows - 1) * g->stride_h + (g->r - 1) * g->dilation_h + 1);
}

static void plan_tasks(job *j) {
    const fc_pool2d *g = j->g;
    const int64_t slices = FC_MIN(j->depth->t, j->depth->d);
    j->channels = g->c;
    if (!j->in_place) {
        const int64_t pixels = slices * lines_for(g, 1) * g->w;
        j->channels = FC_MAX(1, FC_MIN(FC_MIN(g->c, 4 * j->kernels->vl), LINE_ELEMENTS / pixels));
    }
    j->rows = FC_MAX(1, FC_MIN(g->p, TASK_ELEMENTS / (g->q * j->channels)));
    while (!j->in_place && j->rows > 1 && slices * lines_for(g, j->rows) * g->w * j->channels > LINE_ELEMENTS)
        j->rows /= 2;
    j->row_blocks = fc_ceil_div(g->p, j->rows);
    j->channel_blocks = fc_ceil_div(g->c, j->channels);
}

/* The slices that the windows of output slice o read: the first of them is at x, `step` elements lead to the next. */
typedef struct slices {
    int64_t first, count;
    ptrdiff_t step;
} slices;

static slices slices_of(const job *j, int64_t o) {
    const fc_pool_depth *depth = j->depth;
    slices s = {.step = depth->dilation * depth->x};
    fc_pool_taps(o, depth->t, depth->stride, depth->dilation, depth->before, depth->d, &s.first, &s.count);
    return s;
}

/* Every window of some rows of one slice, run by run. */
static void pool_rows(const job *j, const fc_pool_layout *m, const slices *from, int64_t p, int64_t rows, const char *x,
                      char *y, int64_t *indices) {
    const int64_t size = j->kernels->element_size;
    for (int64_t row = p; row < p + rows; row++)
        for (int64_t q = 0; q < j->g->q;) {
            ptrdiff_t x_at, y_at;
            fc_pool_run run = fc_pool_run_at(j->g, m, row, q, &x_at, &y_at);
            run.slices = from->count;
            run.slice_step = from->step;
            run.index += from->first * j->g->h * j->g->w;
            run.index_slice = j->depth->dilation * j->g->h * j->g->w;
            if (indices != NULL)
                run.indices = indices + (row - m->first_row) * m->indices_row + q * m->indices_column;
            (j->maximum ? j->kernels->max_pool : j->kernels->avg_pool)(&run, x + x_at * size, y + y_at * size);
            q += run.pixels;
        }
}

static void pool_in_place(const job *j, int64_t n, int64_t o, int64_t p, int64_t rows) {
    const slices from = slices_of(j, o);
    const int64_t *xs = j->x->stride, *ys = j->y->stride, size = j->kernels->element_size;
    fc_pool_layout m = {.x_line = xs[1], .x_column = xs[2], .y_row = ys[1], .y_column = ys[2], .channels = j->g->c};
    int64_t *indices = j->indices;
    if (indices != NULL) {
        m.indices_row = j->indices_stride[1];
        m.indices_column = j->indices_stride[2];
        indices += n * j->indices_stride[0] + o * j->depth->indices + p * m.indices_row;
    }
    m.first_row = p;
    pool_rows(j, &m, &from, p, rows, (const char *)j->x->data + (n * xs[0] + from.first * j->depth->x) * size,
              (char *)j->y->data + (n * ys[0] + o * j->depth->y + p * ys[1]) * size, indices);
}

/* The array, from a slice on. */
static fc_array at_slice(const fc_array *array, ptrdiff_t slice_stride, int64_t slice) {
    fc_array view = *array;
    view.data = (char *)array->data + slice * slice_stride * (ptrdiff_t)fc_dtype_size(array->dtype);
    return view;
}

static void pool_packed(const job *j, int64_t n, int64_t o, int64_t p, int64_t rows, int64_t c, int64_t channels,
                        char *memory) {
    const fc_pool2d *g = j->g;
    const fc_span lines = fc_pool_lines(g, p, rows);
    const int64_t slice = (lines.end - lines.first) * g->w * channels;
    slices from = slices_of(j, o);
    for (int64_t t = 0; t < from.count; t++) {
        const fc_reader reader = {.array = at_slice(j->x, j->depth->x, from.first + t * j->depth->dilation),
                                  .to = j->y->dtype, .kernels = j->kernels};
        fc_pool_read_lines(&reader, g->w, n, lines.first, lines.end - lines.first, c, channels,
                           memory + t * slice * j->kernels->element_size);
    }
    from.step = slice;
    const fc_pool_layout m = {.first_line = lines.first, .x_line = g->w * channels, .x_column = channels,
                              .first_row = p, .y_row = g->q * channels, .y_column = channels,
                              .indices_row = g->q * channels, .indices_column = channels, .channels = channels};
    int64_t *indices = j->indices == NULL ? NULL : (int64_t *)(void *)(memory + j->indices_at);
    pool_rows(j, &m, &from, p, rows, memory, memory + j->y_at, indices);
    const fc_array y = at_slice(j->y, j->depth->y, o);
    fc_pool_write_lines(j->kernels, memory + j->y_at, &y, g->q, n, p, rows, c, channels);
    if (indices == NULL) return;
    const fc_array view = fc_pool_indices(j->indices + o * j->depth->indices, j->indices_stride);
    fc_pool_write_lines(j->index_kernels, indices, &view, g->q, n, p, rows, c, channels);
}

static void run_task(void *context, int64_t index, int worker) {
    const job *j = context;
    const int64_t c = index % j->channel_blocks * j->channels;
    const int64_t p = index / j->channel_blocks % j->row_blocks * j->rows;
    const int64_t o = index / j->channel_blocks / j->row_blocks % j->depth->o;
    const int64_t n = index / j->channel_blocks / j->row_blocks / j->depth->o;
    const int64_t rows = FC_MIN(j->rows, j->g->p - p);
    if (j->in_place) pool_in_place(j, n, o, p, rows);
    else
        pool_packed(j, n, o, p, rows, c, FC_MIN(j->channels, j->g->c - c),
                    j->scratch + (size_t)worker * j->worker_bytes);
}

static fc_status run(job *j) {
    const fc_pool2d *g = j->g;
    if (g->n == 0) return FC_OK;
    plan_tasks(j);
    const int64_t tasks = g->n * j->depth->o * j->row_blocks * j->channel_blocks;
    const double outputs = (double)(g->n * j->depth->o) * (double)g->p * (double)g->q * (double)g->c;
    const double reads = outputs * (double)j->depth->t * (double)(g->r * g->s);
    const int threads = fc_threads_for(tasks, FC_NUMBER_WORK * reads);
    if (!j->in_place) {
        const size_t size = (size_t)j->kernels->element_size, results = (size_t)(j->rows * g->q * j->channels);
        const int64_t slices_read = FC_MIN(j->depth->t, j->depth->d);
        j->y_at = FC_ALIGN_UP((size_t)(slices_read * lines_for(g, j->rows) * g->w * j->channels) * size);
        j->indices_at = j->y_at + FC_ALIGN_UP(results * size);
        j->worker_bytes = j->indices_at + FC_ALIGN_UP(j->indices == NULL ? 0 : results * sizeof(int64_t));
        j->scratch = fc_scratch_take((size_t)threads * j->worker_bytes);
        if (j->scratch == NULL) return FC_NO_MEMORY;
    }
    const fc_status status = fc_parallel_for(tasks, threads, run_task, j);
    if (!j->in_place) fc_scratch_give_back(j->scratch);
    return status;
}

/* The vector kernels keep a winner's place within its window in an integer as wide as the element. */
static int place_fits(const fc_pool2d *g, const fc_pool_depth *depth, fc_dtype dtype) {
    int64_t farthest, below = (depth->t - 1) * depth->dilation, last_row = (g->r - 1) * g->dilation_h;
    if (__builtin_mul_overflow(below, g->h, &below) || __builtin_add_overflow(below, last_row, &last_row) ||
        __builtin_mul_overflow(last_row, g->w, &farthest))
        return 0;
    return dtype == FC_FLOAT64 || farthest + (g->s - 1) * g->dilation_w <= INT32_MAX;
}

fc_status fc_max_pool(const fc_pool2d *g, const fc_pool_depth *depth, const fc_array *x, const fc_array *y,
                      int64_t *indices, const int64_t indices_stride[4]) {
    if (!fc_is_compute_type(y->dtype)) return FC_BAD_DTYPE;
    job j = {.g = g, .depth = depth, .x = x, .y = y, .indices = indices, .indices_stride = indices_stride,
             .maximum = 1};
    j.index_kernels = fc_kernels_for(FC_FLOAT64);
    j.kernels = place_fits(g, depth, y->dtype) ? fc_kernels_for(y->dtype) : fc_reference_kernels(y->dtype);
    j.in_place = x->dtype == y->dtype && (g->c == 1 || (x->stride[3] == 1 && y->stride[3] == 1 &&
                                                         (indices == NULL || indices_stride[3] == 1)));
    return run(&j);
}

fc_status fc_max_pool2d(const fc_pool2d *g, const fc_array *x, const fc_array *y, int64_t *indices,
                        const int64_t indices_stride[4]) {
    return fc_max_pool(g, &fc_pool_flat, x, y, indices, indices_stride);
}

fc_status fc_avg_pool2d(const fc_pool2d *g, const fc_array *x, const fc_array *y) {
    if (!fc_is_compute_type(y->dtype)) return FC_BAD_DTYPE;
    job j = {.g = g, .depth = &fc_pool_flat, .x = x, .y = y, .kernels = fc_kernels_for(y->dtype)};
    j.in_place = x->dtype == y->dtype && (g->c == 1 || (x->stride[3] == 1 && y->stride[3] == 1));
    return run(&j);
}
