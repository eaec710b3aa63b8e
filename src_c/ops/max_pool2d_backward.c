/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Max pooling, backward. The indices alone say where each gradient goes; they need not come from a pooling.
 *
 *   measure   every index is checked, and for each row and column of windows it is noted which lines and columns of the
 *             image their indices lie in: indices of a pooling lie in narrow strips
 *   unpool    where they do, each pixel adds up the windows in whose strips it lies (unpool.h)
 *   scatter   where they do not, or channels are few or not adjacent, each window adds its gradient to the pixel that
 *             its index names, one number at a time: transposing both ways costs twice as much
 *
 * Both add in the order of the windows: the same bits. */
#include <stdatomic.h>
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/element.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "blocking.h"
#include "unpool.h"

enum {
    TASK_INDICES = 1 << 14,   /* measured by one task: 128 KiB, read some twice from the caches */
    CHANNELS = 64,            /* of a task that scatters, where channels are adjacent */
    PLANE_ELEMENTS = 1 << 12, /* of planes: cleared, they stay in L1 until gradients are added */
    MOST_VISITS = 16          /* of windows by pixels, for each number read or written; then scattering is faster */
};

typedef struct job {
    const fc_pool2d *g;
    const fc_array *grad_y, *grad_x;
    const int64_t *indices, *indices_stride;
    const fc_kernels *kernels;
    int64_t task_rows, row_blocks;    /* of a task that measures */
    int64_t channels, channel_blocks; /* of a task that scatters */
    atomic_int bad_index;
    int threads;
    char *scratch;
    size_t worker_bytes;
} job;

/* ---------------------------------------------------------------- measure */

/* What a worker has seen: of each row of windows the least and greatest index, of each column of windows the least and
 * greatest column of the image, by lanes. */
typedef struct strips {
    int64_t *rows; /* [P][2] */
    int64_t *least, *most; /* [Q][FC_INDEX_LANES] */
} strips;

static strips strips_of(const job *j, int worker) {
    strips s = {.rows = (int64_t *)(void *)(j->scratch + (size_t)worker * j->worker_bytes)};
    s.least = s.rows + 2 * j->g->p;
    s.most = s.least + j->g->q * FC_INDEX_LANES;
    return s;
}

static size_t strips_bytes(const fc_pool2d *g) {
    return (size_t)(2 * g->p + 2 * g->q * FC_INDEX_LANES) * sizeof(int64_t);
}

static void clear_strips(const job *j) {
    for (int worker = 0; worker < j->threads; worker++) {
        const strips s = strips_of(j, worker);
        for (int64_t p = 0; p < j->g->p; p++) s.rows[2 * p] = INT64_MAX, s.rows[2 * p + 1] = INT64_MIN;
        for (int64_t i = 0; i < j->g->q * FC_INDEX_LANES; i++) s.least[i] = INT64_MAX, s.most[i] = INT64_MIN;
    }
}

/* One row of windows. Lanes lie along channels. */
static void measure_row(const job *j, const strips *s, int64_t p, const int64_t *at) {
    fc_index_run run = {.items = j->g->q, .step = j->indices_stride[2], .depth = j->g->c / FC_INDEX_LANES,
                        .depth_step = FC_INDEX_LANES, .lanes = FC_INDEX_LANES, .width = j->g->w};
    fc_pool_divider(run.width, &run.factor, &run.shift);
    j->kernels->index_range(&run, at, s->rows + 2 * p, s->least, s->most);
    run.lanes = j->g->c % FC_INDEX_LANES;
    run.depth = 1;
    if (run.lanes > 0) j->kernels->index_range(&run, at + j->g->c - run.lanes, s->rows + 2 * p, s->least, s->most);
}

static void measure(void *context, int64_t index, int worker) {
    const job *j = context;
    const strips s = strips_of(j, worker);
    const int64_t n = index / j->row_blocks, p = index % j->row_blocks * j->task_rows;
    for (int64_t row = p; row < FC_MIN(j->g->p, p + j->task_rows); row++)
        measure_row(j, &s, row, j->indices + fc_at(j->indices_stride, n, row, 0, 0));
}

static fc_status measure_all(job *j) {
    const fc_pool2d *g = j->g;
    j->task_rows = FC_MAX(1, FC_MIN(g->p, TASK_INDICES / (g->q * g->c)));
    j->row_blocks = fc_ceil_div(g->p, j->task_rows);
    clear_strips(j);
    return fc_parallel_for(g->n * j->row_blocks, j->threads, measure, j);
}

/* ---------------------------------------------------------------- from strips to windows that reach a pixel */

/* One strip: [low, high] of the axis is reached by window `o`. Windows come in rising order. */
static void widen(fc_span *spans, int64_t low, int64_t high, int64_t o) {
    for (int64_t i = low; i <= high; i++) {
        if (spans[i].end == 0) spans[i].first = o;
        spans[i].end = o + 1;
    }
}

/* Least and greatest index of a row of windows, of all workers. */
static void join_row(const job *j, int64_t p, int64_t *low, int64_t *high) {
    *low = INT64_MAX;
    *high = INT64_MIN;
    for (int worker = 0; worker < j->threads; worker++) {
        const int64_t *row = strips_of(j, worker).rows + 2 * p;
        *low = FC_MIN(*low, row[0]);
        *high = FC_MAX(*high, row[1]);
    }
}

static void join_column(const job *j, int64_t q, int64_t *low, int64_t *high) {
    *low = INT64_MAX;
    *high = INT64_MIN;
    for (int worker = 0; worker < j->threads; worker++) {
        const strips s = strips_of(j, worker);
        for (int64_t i = q * FC_INDEX_LANES; i < (q + 1) * FC_INDEX_LANES; i++) {
            *low = FC_MIN(*low, s.least[i]);
            *high = FC_MAX(*high, s.most[i]);
        }
    }
}

static int is_bad(const job *j) {
    for (int64_t p = 0; p < j->g->p; p++) {
        int64_t low, high;
        join_row(j, p, &low, &high);
        if (low < 0 || high >= j->g->h * j->g->w) return 1;
    }
    return 0;
}

/* Fill in which windows reach each line and column; 0 if those are too many. */
static int find_windows(const job *j, fc_span *rows, fc_span *columns) {
    const fc_pool2d *g = j->g;
    if (g->h > INT32_MAX / g->w) return 0; /* beyond what index_range divides */
    double tall = 0, wide = 0, most = MOST_VISITS * ((double)g->h * (double)g->w + (double)g->p * (double)g->q);
    memset(rows, 0, (size_t)g->h * sizeof *rows);
    memset(columns, 0, (size_t)g->w * sizeof *columns);
    for (int64_t p = 0; p < g->p && tall <= most; p++) {
        int64_t low, high;
        join_row(j, p, &low, &high);
        widen(rows, low / g->w, high / g->w, p);
        tall += (double)(high / g->w - low / g->w + 1);
    }
    for (int64_t q = 0; q < g->q && wide <= most; q++) {
        int64_t low, high;
        join_column(j, q, &low, &high);
        widen(columns, low, high, q);
        wide += (double)(high - low + 1);
    }
    if (tall > most || wide > most) return 0;
    tall = wide = 0;
    for (int64_t h = 0; h < g->h; h++) tall += (double)(rows[h].end - rows[h].first);
    for (int64_t w = 0; w < g->w; w++) wide += (double)(columns[w].end - columns[w].first);
    return tall * wide <= most;
}

/* ---------------------------------------------------------------- scatter */

/* The image and the channels of a task. */
typedef struct task {
    int64_t n, c, channels;
} task;

static task task_at(const job *j, int64_t index) {
    const int64_t c = index % j->channel_blocks * j->channels;
    return (task){.n = index / j->channel_blocks, .c = c, .channels = FC_MIN(j->channels, j->g->c - c)};
}

/* Whether the planes of an array are without gaps, and those of the channels follow each other. */
static int is_plane(const int64_t stride[4], int64_t rows, int64_t columns) {
    return (columns == 1 || stride[2] == 1) && (rows == 1 || stride[1] == columns);
}

static int planes_meet(const int64_t stride[4], int64_t rows, int64_t columns) {
    return is_plane(stride, rows, columns) && stride[3] == rows * columns;
}

/* The same of pixels of so many channels. */
static int pixels_meet(const int64_t stride[4], int64_t columns, int64_t channels) {
    return stride[3] == 1 && stride[2] == channels && stride[1] == columns * channels;
}

/* Whether `count` adjacent indices lie in an image of so many pixels. */
static int inside(const job *j, const int64_t *at, int64_t count, int64_t pixels) {
    int64_t span[2] = {0, 0}, unused[2][FC_INDEX_LANES] = {{0}};
    fc_index_run run = {.items = 1, .depth = count / FC_INDEX_LANES, .depth_step = FC_INDEX_LANES,
                        .lanes = FC_INDEX_LANES, .width = 1};
    if (run.depth > 0) j->kernels->index_range(&run, at, span, unused[0], unused[1]);
    for (int64_t i = count - count % FC_INDEX_LANES; i < count; i++) {
        span[0] = FC_MIN(span[0], at[i]);
        span[1] = FC_MAX(span[1], at[i]);
    }
    return span[0] >= 0 && span[1] < pixels;
}

static void check_indices(void *context, int64_t index, int worker) {
    (void)worker;
    job *j = context;
    const fc_pool2d *g = j->g;
    const task t = task_at(j, index);
    const int64_t *stride = j->indices_stride, pixels = g->h * g->w;
    const int64_t run = stride[2] == 1 ? g->q : 1; /* adjacent indices */
    int good = 1;
    if (planes_meet(stride, g->p, g->q) || pixels_meet(stride, g->q, t.channels)) {
        good = inside(j, j->indices + fc_at(stride, t.n, 0, 0, t.c), t.channels * g->p * g->q, pixels);
    } else {
        for (int64_t i = 0; i < t.channels * g->p * g->q; i += run) {
            const int64_t c = t.c + i / g->q / g->p, p = i / g->q % g->p;
            good &= inside(j, j->indices + fc_at(stride, t.n, p, i % g->q, c), run, pixels);
        }
    }
    if (!good) atomic_store(&j->bad_index, 1);
}

/* Rows of adjacent pixels are cleared in one stroke. */
static void zero_plane(const job *j, const task *t) {
    const int64_t size = j->kernels->element_size, *stride = j->grad_x->stride;
    const int whole_rows = stride[3] == 1 && stride[2] == t->channels;
    for (int64_t h = 0; h < j->g->h; h++) {
        char *row = (char *)j->grad_x->data + fc_at(stride, t->n, h, 0, t->c) * size;
        if (whole_rows) {
            memset(row, 0, (size_t)(j->g->w * t->channels * size));
            continue;
        }
        for (int64_t w = 0; w < j->g->w; w++, row += stride[2] * size)
            for (int64_t c = 0; c < (stride[3] == 1 ? 1 : t->channels); c++)
                memset(row + c * stride[3] * size, 0, (size_t)(stride[3] == 1 ? t->channels * size : size));
    }
}

/* A row of windows: grad_y of each channel is added to the pixel that won. `size` is a constant after inlining. Indices
 * are checked again: another thread may have changed them since. */
FC_INLINE void scatter_row(const size_t size, const job *j, const task *t, const int64_t *at, const void *y, void *x) {
    const int64_t *xs = j->grad_x->stride, *ys = j->grad_y->stride, *is = j->indices_stride;
    const int64_t w = j->g->w, pixels = j->g->h * w;
    const int flat = xs[1] == w * xs[2]; /* an index is an offset: no division */
    for (int64_t q = 0; q < j->g->q; q++)
        for (int64_t c = 0; c < t->channels; c++) {
            const int64_t place = at[q * is[2] + c * is[3]];
            if (place < 0 || place >= pixels) continue;
            const int64_t winner = (flat ? place * xs[2] : place / w * xs[1] + place % w * xs[2]) + c * xs[3];
            const int64_t source = q * ys[2] + c * ys[3];
            if (size == sizeof(float)) ((float *)x)[winner] += ((const float *)y)[source];
            else ((double *)x)[winner] += ((const double *)y)[source];
        }
}

/* The same where channels are adjacent and an index is an offset: one multiplication a number; 6 channels x1.3. */
FC_INLINE void scatter_adjacent(const size_t size, const job *j, const task *t, const int64_t *at, const char *y,
                                char *x) {
    const int64_t pixel = j->grad_x->stride[2], ys = j->grad_y->stride[2] * (int64_t)size, is = j->indices_stride[2];
    const uint64_t pixels = (uint64_t)(j->g->h * j->g->w);
    for (int64_t q = 0; q < j->g->q; q++, at += is, y += ys)
        for (int64_t c = 0; c < t->channels; c++) {
            const uint64_t place = (uint64_t)at[c];
            if (place >= pixels) continue;
            const int64_t winner = (int64_t)place * pixel + c;
            if (size == sizeof(float)) ((float *)(void *)x)[winner] += ((const float *)(const void *)y)[c];
            else ((double *)(void *)x)[winner] += ((const double *)(const void *)y)[c];
        }
}

static void scatter(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const task t = task_at(j, index);
    const int64_t size = j->kernels->element_size;
    char *x = (char *)j->grad_x->data + fc_at(j->grad_x->stride, t.n, 0, 0, t.c) * size;
    const int64_t *xs = j->grad_x->stride;
    const int flat = xs[1] == j->g->w * xs[2];
    const int adjacent = flat && xs[3] == 1 && j->grad_y->stride[3] == 1 && j->indices_stride[3] == 1;
    zero_plane(j, &t);
    for (int64_t p = 0; p < j->g->p; p++) {
        const int64_t *at = j->indices + fc_at(j->indices_stride, t.n, p, 0, t.c);
        const char *y = (const char *)j->grad_y->data + fc_at(j->grad_y->stride, t.n, p, 0, t.c) * size;
        if (adjacent && size == sizeof(float)) scatter_adjacent(sizeof(float), j, &t, at, y, x);
        else if (adjacent) scatter_adjacent(sizeof(double), j, &t, at, y, x);
        else if (size == sizeof(float)) scatter_row(sizeof(float), j, &t, at, y, x);
        else scatter_row(sizeof(double), j, &t, at, y, x);
    }
}

/* Planes without gaps (NCHW): one loop over the windows of each. */
FC_INLINE void scatter_plane(const size_t size, int64_t windows, const int64_t *at, const void *y, void *x,
                             int64_t pixels) {
    for (int64_t i = 0; i < windows; i++) {
        const uint64_t place = (uint64_t)at[i];
        if (place >= (uint64_t)pixels) continue;
        if (size == sizeof(float)) ((float *)x)[place] += ((const float *)y)[i];
        else ((double *)x)[place] += ((const double *)y)[i];
    }
}

static void scatter_planes(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const fc_pool2d *g = j->g;
    const task t = task_at(j, index);
    const int64_t size = j->kernels->element_size, windows = g->p * g->q, pixels = g->h * g->w;
    const int64_t cleared = planes_meet(j->grad_x->stride, g->h, g->w) ? t.channels : 1; /* planes at a time */
    for (int64_t c = t.c; c < t.c + t.channels; c++) {
        char *x = (char *)j->grad_x->data + fc_at(j->grad_x->stride, t.n, 0, 0, c) * size;
        const char *y = (const char *)j->grad_y->data + fc_at(j->grad_y->stride, t.n, 0, 0, c) * size;
        const int64_t *at = j->indices + fc_at(j->indices_stride, t.n, 0, 0, c);
        if ((c - t.c) % cleared == 0) memset(x, 0, (size_t)(cleared * pixels * size));
        if (size == sizeof(float)) scatter_plane(sizeof(float), windows, at, y, x, pixels);
        else scatter_plane(sizeof(double), windows, at, y, x, pixels);
    }
}

static fc_status scatter_all(job *j) {
    const fc_pool2d *g = j->g;
    const int planes = is_plane(j->grad_x->stride, g->h, g->w) && is_plane(j->grad_y->stride, g->p, g->q) &&
                       is_plane(j->indices_stride, g->p, g->q);
    j->channels = j->grad_x->stride[3] == 1 ? FC_MIN(CHANNELS, g->c) : 1;
    if (planes) j->channels = FC_MAX(1, FC_MIN(g->c, PLANE_ELEMENTS / (g->h * g->w)));
    j->channel_blocks = fc_ceil_div(g->c, j->channels);
    const int64_t tasks = g->n * j->channel_blocks;
    const fc_status status = fc_parallel_for(tasks, j->threads, check_indices, j);
    if (status != FC_OK) return status;
    if (atomic_load(&j->bad_index)) return FC_BAD_INDEX;
    return fc_parallel_for(tasks, j->threads, planes ? scatter_planes : scatter, j);
}

/* ---------------------------------------------------------------- entry point */

static fc_status run(job *j, fc_span *rows, fc_span *columns) {
    const int adjacent = j->grad_x->stride[3] == 1 && j->grad_y->stride[3] == 1 && j->indices_stride[3] == 1;
    if (!adjacent || 2 * j->g->c <= j->kernels->vl) return scatter_all(j); /* few channels: most lanes would be idle */
    const fc_status status = measure_all(j);
    if (status != FC_OK) return status;
    if (is_bad(j)) return FC_BAD_INDEX;
    fc_unpool u = {.g = j->g, .grad_y = j->grad_y, .grad_x = j->grad_x, .indices = j->indices,
                   .indices_stride = j->indices_stride, .rows = rows, .columns = columns};
    if (find_windows(j, rows, columns) && fc_unpool_plan(&u, FC_UNPOOL_BYTES))
        return fc_unpool_run_tasks(&u, j->threads, j->scratch);
    return scatter_all(j);
}

fc_status fc_max_pool2d_backward(const fc_pool2d *g, const fc_array *grad_y, const int64_t *indices,
                                 const int64_t indices_stride[4], const fc_array *grad_x) {
    if (!fc_is_compute_type(grad_x->dtype) || grad_y->dtype != grad_x->dtype) return FC_BAD_DTYPE;
    if (g->n == 0) return FC_OK;
    const double work = (double)g->n * (double)g->c * ((double)g->h * (double)g->w + (double)g->p * (double)g->q);
    job j = {.g = g, .grad_y = grad_y, .grad_x = grad_x, .indices = indices, .indices_stride = indices_stride,
             .kernels = fc_kernels_for(grad_x->dtype), .threads = fc_threads_for(INT64_MAX, FC_NUMBER_WORK * work)};
    j.worker_bytes = FC_ALIGN_UP(strips_bytes(g));
    const size_t windows_bytes = FC_ALIGN_UP((size_t)(g->h + g->w) * sizeof(fc_span));
    char *memory = fc_scratch_take(windows_bytes + (size_t)j.threads * j.worker_bytes);
    if (memory == NULL) return FC_NO_MEMORY;
    fc_span *rows = (fc_span *)(void *)memory;
    j.scratch = memory + windows_bytes;
    const fc_status status = run(&j, rows, rows + g->h);
    fc_scratch_give_back(memory);
    return status;
}
