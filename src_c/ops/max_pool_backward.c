/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Max pooling of images and volumes, backward. The indices alone say where each gradient goes; they need not come
 * from a pooling.
 *
 *   measure   every index is checked, and for each slice, row and column of windows it is noted which slices, lines and
 *             columns of the input their indices lie in: indices of a pooling lie in narrow strips
 *   unpool    where they do, each pixel adds up the windows in whose strips it lies (unpool.h)
 *   scatter   where they do not, or channels are few or not adjacent, each window adds its gradient to the pixel that
 *             its index names, one number at a time (pool_scatter.h): transposing both ways costs twice as much
 *
 * Both add in the order of the windows: the same bits. */
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/element.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "blocking.h"
#include "pool_scatter.h"
#include "unpool.h"

enum {
    TASK_INDICES = 1 << 14,   /* measured by one task: 128 KiB, read some twice from the caches */
    MOST_VISITS = 6,          /* of windows by pixels, for each number read or written; then scattering is faster:
                                 3x3 windows at stride 1 make 4.5, 3x3x3 13.5, which takes 2.3 times as long */
    NARROW_VISITS = 4,        /* of pixels by each window, beyond which indices are made narrow: 2x2 windows make 4
                                 and read an index once; 3x3 ones at stride 1 are x1.4 as fast, at stride 2 x1.07 */
    PEEK = 4                  /* slices of windows of which one is worth a look before all are measured */
};

typedef struct job {
    const fc_pool2d *g; /* of a slice */
    const fc_pool_depth *depth;
    const fc_array *grad_y, *grad_x;
    const int64_t *indices, *indices_stride;
    const fc_kernels *kernels;
    int64_t task_rows, row_blocks; /* of a task that measures */
    int threads;
    double visits; /* of pixels by the windows that may reach them */
    char *scratch;
    size_t worker_bytes;
} job;

/* ---------------------------------------------------------------- measure */

/* What a worker has seen: of each slice of windows the least and greatest index, of each row the least and greatest
 * line within its slice, of each column the least and greatest column, by lanes. */
typedef struct strips {
    int64_t *slices; /* [O][2] */
    int64_t *rows;   /* [P][2] */
    int64_t *least, *most; /* [Q][FC_INDEX_LANES] */
} strips;

static strips strips_of(const job *j, int worker) {
    strips s = {.slices = (int64_t *)(void *)(j->scratch + (size_t)worker * j->worker_bytes)};
    s.rows = s.slices + 2 * j->depth->o;
    s.least = s.rows + 2 * j->g->p;
    s.most = s.least + j->g->q * FC_INDEX_LANES;
    return s;
}

static size_t strips_bytes(const fc_pool2d *g, const fc_pool_depth *depth) {
    return (size_t)(2 * depth->o + 2 * g->p + 2 * g->q * FC_INDEX_LANES) * sizeof(int64_t);
}

static void clear_strips(const job *j) {
    for (int worker = 0; worker < j->threads; worker++) {
        const strips s = strips_of(j, worker);
        for (int64_t i = 0; i < j->depth->o + j->g->p; i++) /* slices, rows behind them */
            s.slices[2 * i] = INT64_MAX, s.slices[2 * i + 1] = INT64_MIN;
        for (int64_t i = 0; i < j->g->q * FC_INDEX_LANES; i++) s.least[i] = INT64_MAX, s.most[i] = INT64_MIN;
    }
}

static void widen(int64_t strip[2], int64_t low, int64_t high) {
    strip[0] = FC_MIN(strip[0], low);
    strip[1] = FC_MAX(strip[1], high);
}

/* One row of windows. Lanes lie along channels. An image's lines follow from its indices. */
static void measure_row(const job *j, const strips *s, int64_t o, int64_t p, const int64_t *at) {
    int64_t span[2] = {INT64_MAX, INT64_MIN}, *lines = j->depth->d > 1 ? s->rows + 2 * p : NULL;
    fc_index_run run = {.items = j->g->q, .step = j->indices_stride[2], .depth = j->g->c / FC_INDEX_LANES,
                        .depth_step = FC_INDEX_LANES, .lanes = FC_INDEX_LANES, .width = j->g->w};
    fc_pool_divider(run.width, &run.factor, &run.shift);
    run.height = j->g->h;
    fc_pool_divider(run.height, &run.height_factor, &run.height_shift);
    j->kernels->index_range(&run, at, span, lines, s->least, s->most);
    run.lanes = j->g->c % FC_INDEX_LANES;
    run.depth = 1;
    if (run.lanes > 0) j->kernels->index_range(&run, at + j->g->c - run.lanes, span, lines, s->least, s->most);
    widen(s->slices + 2 * o, span[0], span[1]);
    if (lines == NULL) widen(s->rows + 2 * p, span[0] / j->g->w, span[1] / j->g->w);
}

static void measure(void *context, int64_t index, int worker) {
    const job *j = context;
    const strips s = strips_of(j, worker);
    const int64_t p = index % j->row_blocks * j->task_rows, o = index / j->row_blocks % j->depth->o;
    const int64_t n = index / j->row_blocks / j->depth->o;
    for (int64_t row = p; row < FC_MIN(j->g->p, p + j->task_rows); row++)
        measure_row(j, &s, o, row, j->indices + o * j->depth->indices + fc_at(j->indices_stride, n, row, 0, 0));
}

static fc_status measure_all(job *j) {
    const fc_pool2d *g = j->g;
    j->task_rows = FC_MAX(1, FC_MIN(g->p, TASK_INDICES / (g->q * g->c)));
    j->row_blocks = fc_ceil_div(g->p, j->task_rows);
    clear_strips(j);
    return fc_parallel_for(g->n * j->depth->o * j->row_blocks, j->threads, measure, j);
}

/* ---------------------------------------------------------------- from strips to windows that reach a pixel */

/* One strip: [low, high] of the axis is reached by window `o`. Windows come in rising order. */
static void reach(fc_span *spans, int64_t low, int64_t high, int64_t o) {
    for (int64_t i = low; i <= high; i++) {
        if (spans[i].end == 0) spans[i].first = o;
        spans[i].end = o + 1;
    }
}

/* The strip of a slice of windows, or behind those of a row, of all workers. */
static void join(const job *j, int64_t i, int64_t strip[2]) {
    strip[0] = INT64_MAX;
    strip[1] = INT64_MIN;
    for (int worker = 0; worker < j->threads; worker++) {
        const int64_t *seen = strips_of(j, worker).slices + 2 * i;
        widen(strip, seen[0], seen[1]);
    }
}

static void join_column(const job *j, int64_t q, int64_t strip[2]) {
    strip[0] = INT64_MAX;
    strip[1] = INT64_MIN;
    for (int worker = 0; worker < j->threads; worker++) {
        const strips s = strips_of(j, worker);
        for (int64_t i = q * FC_INDEX_LANES; i < (q + 1) * FC_INDEX_LANES; i++) widen(strip, s.least[i], s.most[i]);
    }
}

/* Whether an index of a slice of windows does not lie in the volume. */
static int is_outside(const job *j, int64_t o) {
    int64_t strip[2];
    join(j, o, strip);
    return strip[0] < 0 || strip[1] >= j->depth->d * j->g->h * j->g->w;
}

static int is_bad(const job *j) {
    for (int64_t o = 0; o < j->depth->o; o++)
        if (is_outside(j, o)) return 1;
    return 0;
}

/* Beyond how many visits, in all places of one axis, scattering is faster. */
static double most_visits(const job *j) {
    const fc_pool2d *g = j->g;
    const double pixels = (double)j->depth->d * (double)g->h * (double)g->w;
    return MOST_VISITS * (pixels + (double)j->depth->o * (double)g->p * (double)g->q);
}

enum { SLICES, ROWS, COLUMNS, AXES };

/* Which slices, lines or columns the i-th windows of an axis lie in, from the first to the last. */
static void strip_of(const job *j, int axis, int64_t i, int64_t strip[2]) {
    if (axis == COLUMNS) join_column(j, i, strip);
    else join(j, axis == SLICES ? i : j->depth->o + i, strip);
    for (int end = 0; end < 2 && axis == SLICES; end++) strip[end] /= j->g->h * j->g->w;
}

/* The windows of one axis that reach each of its `in` places; returns the visits of all. */
static double reach_axis(const job *j, int axis, int64_t out, fc_span *spans, int64_t in) {
    double visits = 0, most = most_visits(j);
    memset(spans, 0, (size_t)in * sizeof *spans);
    for (int64_t i = 0; i < out && visits <= most; i++) {
        int64_t strip[2];
        strip_of(j, axis, i, strip);
        reach(spans, strip[0], strip[1], i);
        visits += (double)(strip[1] - strip[0] + 1);
    }
    if (visits > most) return visits;
    visits = 0; /* a window between others reaches what both do */
    for (int64_t i = 0; i < in; i++) visits += (double)(spans[i].end - spans[i].first);
    return visits;
}

/* Fill in which windows reach each slice, line and column; 0 if those are too many. */
static int find_windows(job *j, fc_span *slices) {
    const fc_pool2d *g = j->g;
    if (g->h > INT32_MAX / g->w || j->depth->d > INT32_MAX / (g->h * g->w)) return 0; /* not divided by index_range */
    const double deep = reach_axis(j, SLICES, j->depth->o, slices, j->depth->d);
    const double tall = reach_axis(j, ROWS, g->p, slices + j->depth->d, g->h);
    const double wide = reach_axis(j, COLUMNS, g->q, slices + j->depth->d + g->h, g->w);
    j->visits = deep * tall * wide;
    return j->visits <= most_visits(j);
}

/* Whether a look at one slice of windows shows that all make too many visits: the strips of all are no narrower. */
static int has_wide_strips(const job *j) {
    const fc_pool2d *g = j->g;
    const int64_t o = j->depth->o / 2;
    const strips s = strips_of(j, 0);
    int64_t strip[2];
    double tall = 0, wide = 0;
    if (g->n * j->depth->o < PEEK) return 0;
    clear_strips(j);
    for (int64_t p = 0; p < g->p; p++)
        measure_row(j, &s, o, p, j->indices + o * j->depth->indices + p * j->indices_stride[1]);
    if (is_outside(j, o)) return 0;
    for (int64_t p = 0; p < g->p; p++) {
        strip_of(j, ROWS, p, strip);
        tall += (double)(strip[1] - strip[0] + 1);
    }
    for (int64_t q = 0; q < g->q; q++) {
        strip_of(j, COLUMNS, q, strip);
        wide += (double)(strip[1] - strip[0] + 1);
    }
    strip_of(j, SLICES, o, strip);
    return (double)((strip[1] - strip[0] + 1) * j->depth->o) * tall * wide > most_visits(j);
}

/* ---------------------------------------------------------------- entry point */

static fc_status scatter(const job *j, int checked) {
    fc_scatter s = {.g = j->g, .depth = j->depth, .grad_y = j->grad_y, .grad_x = j->grad_x, .indices = j->indices,
                    .indices_stride = j->indices_stride, .kernels = j->kernels, .threads = j->threads,
                    .checked = checked};
    return fc_scatter_maxima(&s);
}

static fc_status run(job *j, fc_span *slices) {
    const int adjacent = j->grad_x->stride[3] == 1 && j->grad_y->stride[3] == 1 && j->indices_stride[3] == 1;
    if (!adjacent || 2 * j->g->c <= j->kernels->vl) return scatter(j, 0); /* few channels: most lanes would be idle */
    if (has_wide_strips(j)) return scatter(j, 0);
    const fc_status status = measure_all(j);
    if (status != FC_OK) return status;
    if (is_bad(j)) return FC_BAD_INDEX;
    fc_unpool u = {.g = j->g, .depth = j->depth, .grad_y = j->grad_y, .grad_x = j->grad_x, .indices = j->indices,
                   .indices_stride = j->indices_stride, .slices = slices, .rows = slices + j->depth->d,
                   .columns = slices + j->depth->d + j->g->h};
    const int few = find_windows(j, slices);
    u.narrow = j->visits > NARROW_VISITS * (double)j->depth->o * (double)(j->g->p * j->g->q);
    if (few && fc_unpool_plan(&u, FC_UNPOOL_BYTES))
        return fc_unpool_run_tasks(&u, j->threads, j->scratch);
    return scatter(j, 1);
}

fc_status fc_max_pool_backward(const fc_pool2d *g, const fc_pool_depth *depth, const fc_array *grad_y,
                               const int64_t *indices, const int64_t indices_stride[4], const fc_array *grad_x) {
    if (!fc_is_compute_type(grad_x->dtype) || grad_y->dtype != grad_x->dtype) return FC_BAD_DTYPE;
    if (g->n == 0) return FC_OK;
    const double in = (double)depth->d * (double)g->h * (double)g->w, out = (double)depth->o * (double)g->p *
                                                                            (double)g->q;
    const double work = (double)g->n * (double)g->c * (in + out);
    job j = {.g = g, .depth = depth, .grad_y = grad_y, .grad_x = grad_x, .indices = indices,
             .indices_stride = indices_stride, .kernels = fc_kernels_for(grad_x->dtype),
             .threads = fc_threads_for(INT64_MAX, FC_NUMBER_WORK * work)};
    /* when the strips have been read, narrow indices lie there */
    const size_t narrow_bytes = j.kernels->element_size == sizeof(float) ? FC_UNPOOL_BYTES : 0;
    j.worker_bytes = FC_ALIGN_UP(FC_MAX(strips_bytes(g, depth), narrow_bytes));
    const size_t windows_bytes = FC_ALIGN_UP((size_t)(depth->d + g->h + g->w) * sizeof(fc_span));
    char *memory = fc_scratch_take(windows_bytes + (size_t)j.threads * j.worker_bytes);
    if (memory == NULL) return FC_NO_MEMORY;
    j.scratch = memory + windows_bytes;
    const fc_status status = run(&j, (fc_span *)(void *)memory);
    fc_scratch_give_back(memory);
    return status;
}

fc_status fc_max_pool2d_backward(const fc_pool2d *g, const fc_array *grad_y, const int64_t *indices,
                                 const int64_t indices_stride[4], const fc_array *grad_x) {
    return fc_max_pool_backward(g, &fc_pool_flat, grad_y, indices, indices_stride, grad_x);
}
