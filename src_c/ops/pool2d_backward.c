/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Pooling, backward. Tasks are image x block of channels: windows overlap within an image, never beyond it, so each
 * task adds to pixels of its own, in the order of the windows. */
#include <stdatomic.h>
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/element.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "blocking.h"
#include "pool_rows.h"

enum {
    CHANNELS = 64,           /* of one task, where channels are adjacent */
    PLANE_ELEMENTS = 1 << 18 /* packed planes of one task: 1 MiB of float32 */
};

typedef struct job {
    const fc_pool2d *g;
    const fc_array *grad_y, *grad_x;
    const int64_t *indices, *indices_stride;
    const fc_kernels *kernels;
    int64_t channels, channel_blocks;
    int in_place;
    char *scratch;
    size_t worker_bytes, grad_y_at;
    atomic_int bad_index;
} job;

/* The image and the channels of a task. */
typedef struct task {
    int64_t n, c, channels;
} task;

static task task_at(const job *j, int64_t index) {
    const int64_t c = index % j->channel_blocks * j->channels;
    return (task){.n = index / j->channel_blocks, .c = c, .channels = FC_MIN(j->channels, j->g->c - c)};
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

/* ---------------------------------------------------------------- maximum */

static void check_indices(void *context, int64_t index, int worker) {
    (void)worker;
    job *j = context;
    const fc_pool2d *g = j->g;
    const task t = task_at(j, index);
    int bad = 0;
    for (int64_t p = 0; p < g->p; p++)
        for (int64_t q = 0; q < g->q; q++) {
            const int64_t *at = j->indices + fc_at(j->indices_stride, t.n, p, q, t.c);
            for (int64_t c = 0; c < t.channels; c++) {
                const int64_t place = at[c * j->indices_stride[3]];
                bad |= place < 0 || place >= g->h * g->w;
            }
        }
    if (bad) atomic_store(&j->bad_index, 1);
}

/* One window: grad_y of each channel is added to the pixel that won. `size` is a constant after inlining. Indices are
 * checked again: another thread may have changed them since. */
FC_INLINE void scatter_window(const size_t size, const job *j, const task *t, const int64_t *at, int64_t from,
                              int64_t to, int flat) {
    const int64_t *xs = j->grad_x->stride, *ys = j->grad_y->stride, step = j->indices_stride[3];
    const int64_t w = j->g->w, pixels = j->g->h * w;
    for (int64_t c = 0; c < t->channels; c++) {
        const int64_t place = at[c * step];
        if (place < 0 || place >= pixels) continue;
        const int64_t pixel = flat ? place * xs[2] : place / w * xs[1] + place % w * xs[2];
        const int64_t winner = to + pixel + c * xs[3], source = from + c * ys[3];
        if (size == sizeof(float)) ((float *)j->grad_x->data)[winner] += ((const float *)j->grad_y->data)[source];
        else ((double *)j->grad_x->data)[winner] += ((const double *)j->grad_y->data)[source];
    }
}

static void scatter(void *context, int64_t index, int worker) {
    (void)worker;
    job *j = context;
    const fc_pool2d *g = j->g;
    const task t = task_at(j, index);
    const int64_t *xs = j->grad_x->stride, to = t.n * xs[0] + t.c * xs[3];
    const int flat = xs[1] == g->w * xs[2]; /* an index is an offset: no division */
    zero_plane(j, &t);
    for (int64_t p = 0; p < g->p; p++)
        for (int64_t q = 0; q < g->q; q++) {
            const int64_t *at = j->indices + fc_at(j->indices_stride, t.n, p, q, t.c);
            const int64_t from = fc_at(j->grad_y->stride, t.n, p, q, t.c);
            if (j->kernels->element_size == sizeof(float)) scatter_window(sizeof(float), j, &t, at, from, to, flat);
            else scatter_window(sizeof(double), j, &t, at, from, to, flat);
        }
}

static double writes_of(const fc_pool2d *g) {
    return (double)g->n * (double)g->c * ((double)g->h * (double)g->w + (double)g->p * (double)g->q);
}

fc_status fc_max_pool2d_backward(const fc_pool2d *g, const fc_array *grad_y, const int64_t *indices,
                                 const int64_t indices_stride[4], const fc_array *grad_x) {
    if (!fc_is_compute_type(grad_x->dtype) || grad_y->dtype != grad_x->dtype) return FC_BAD_DTYPE;
    if (g->n == 0) return FC_OK;
    job j = {.g = g, .grad_y = grad_y, .grad_x = grad_x, .indices = indices, .indices_stride = indices_stride,
             .kernels = fc_kernels_for(grad_x->dtype)};
    j.channels = grad_x->stride[3] == 1 ? FC_MIN(CHANNELS, g->c) : 1;
    j.channel_blocks = fc_ceil_div(g->c, j.channels);
    const int64_t tasks = g->n * j.channel_blocks;
    const int threads = fc_threads_for(tasks, writes_of(g));
    fc_status status = fc_parallel_for(tasks, threads, check_indices, &j);
    if (status != FC_OK) return status;
    if (atomic_load(&j.bad_index)) return FC_BAD_INDEX;
    return fc_parallel_for(tasks, threads, scatter, &j);
}

/* ---------------------------------------------------------------- average */

static void spread_windows(const job *j, const fc_pool_layout *m, char *grad_x, const char *grad_y) {
    const int64_t size = j->kernels->element_size;
    for (int64_t p = 0; p < j->g->p; p++)
        for (int64_t q = 0; q < j->g->q;) {
            ptrdiff_t x_at, y_at;
            const fc_pool_run run = fc_pool_run_at(j->g, m, p, q, &x_at, &y_at);
            j->kernels->avg_pool_backward(&run, grad_x + x_at * size, grad_y + y_at * size);
            q += run.pixels;
        }
}

static void spread(void *context, int64_t index, int worker) {
    const job *j = context;
    const fc_pool2d *g = j->g;
    const task t = task_at(j, index);
    const int64_t *xs = j->grad_x->stride, *ys = j->grad_y->stride, size = j->kernels->element_size;
    char *grad_x = (char *)j->grad_x->data + fc_at(xs, t.n, 0, 0, t.c) * size;
    if (j->in_place) {
        const fc_pool_layout m = {.x_line = xs[1], .x_column = xs[2], .y_row = ys[1], .y_column = ys[2],
                                  .channels = t.channels};
        zero_plane(j, &t);
        spread_windows(j, &m, grad_x, (const char *)j->grad_y->data + fc_at(ys, t.n, 0, 0, t.c) * size);
        return;
    }
    char *x = j->scratch + (size_t)worker * j->worker_bytes, *y = x + j->grad_y_at;
    const fc_pool_layout m = {.x_line = g->w * t.channels, .x_column = t.channels, .y_row = g->q * t.channels,
                              .y_column = t.channels, .channels = t.channels};
    const fc_reader reader = {.array = *j->grad_y, .to = j->grad_x->dtype, .kernels = j->kernels};
    memset(x, 0, (size_t)(g->h * g->w * t.channels * size));
    const fc_channels some = {.c = t.c, .channels = t.channels, .width = t.channels};
    for (int64_t p = 0; p < g->p; p++)
        fc_read_line(&reader, g->p, g->q, t.n, p, 0, 1, g->q, &some, y + p * m.y_row * size);
    spread_windows(j, &m, x, y);
    for (int64_t h = 0; h < g->h; h++)
        j->kernels->copy(g->w, t.channels, x + h * m.x_line * size, t.channels, 1, grad_x + h * xs[1] * size, xs[2],
                         xs[3]);
}

fc_status fc_avg_pool2d_backward(const fc_pool2d *g, const fc_array *grad_y, const fc_array *grad_x) {
    if (!fc_is_compute_type(grad_x->dtype)) return FC_BAD_DTYPE;
    if (g->n == 0) return FC_OK;
    job j = {.g = g, .grad_y = grad_y, .grad_x = grad_x, .kernels = fc_kernels_for(grad_x->dtype)};
    j.in_place = grad_y->dtype == grad_x->dtype && (g->c == 1 || (grad_x->stride[3] == 1 && grad_y->stride[3] == 1));
    const int64_t plane = g->h * g->w + g->p * g->q;
    j.channels = FC_MIN(CHANNELS, g->c);
    if (!j.in_place) j.channels = FC_MAX(1, FC_MIN(FC_MIN(g->c, 2 * j.kernels->vl), PLANE_ELEMENTS / plane));
    j.channel_blocks = fc_ceil_div(g->c, j.channels);
    const int64_t tasks = g->n * j.channel_blocks;
    const int threads = fc_threads_for(tasks, writes_of(g) * (double)FC_MIN(4, g->r * g->s));
    if (!j.in_place) {
        const int64_t size = j.kernels->element_size;
        j.grad_y_at = FC_ALIGN_UP((size_t)(g->h * g->w * j.channels * size));
        j.worker_bytes = j.grad_y_at + FC_ALIGN_UP((size_t)(g->p * g->q * j.channels * size));
        j.scratch = fc_scratch_take((size_t)threads * j.worker_bytes);
        if (j.scratch == NULL) return FC_NO_MEMORY;
    }
    const fc_status status = fc_parallel_for(tasks, threads, spread, &j);
    if (!j.in_place) fc_scratch_give_back(j.scratch);
    return status;
}
