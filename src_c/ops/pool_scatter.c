/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool_scatter.h"

#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/element.h"
#include "../base/threads.h"
#include "blocking.h"

enum {
    CHANNELS = 64,           /* of a task, where channels are adjacent */
    PLANE_ELEMENTS = 1 << 12 /* of planes: cleared, they stay in L1 until gradients are added */
};

/* The image and the channels of a task. */
typedef struct task {
    int64_t n, c, channels;
} task;

static task task_at(const fc_scatter *j, int64_t index) {
    const int64_t c = index % j->channel_blocks * j->channels;
    return (task){.n = index / j->channel_blocks, .c = c, .channels = FC_MIN(j->channels, j->g->c - c)};
}

/* How the pixels of one of the arrays lie in memory: elements from image to image, line to line, column to column,
 * channel to channel, and from slice to slice. */
typedef struct grid {
    const int64_t *stride;
    ptrdiff_t slice;
    int64_t slices, lines, columns;
} grid;

static grid grid_x(const fc_scatter *j) {
    return (grid){j->grad_x->stride, j->depth->x, j->depth->d, j->g->h, j->g->w};
}

static grid grid_y(const fc_scatter *j) {
    return (grid){j->grad_y->stride, j->depth->y, j->depth->o, j->g->p, j->g->q};
}

static grid grid_indices(const fc_scatter *j) {
    return (grid){j->indices_stride, j->depth->indices, j->depth->o, j->g->p, j->g->q};
}

static int64_t pixels_of(const grid *a) { return a->slices * a->lines * a->columns; }

/* The start of line `line` of image n, counted over all slices. */
static int64_t line_at(const grid *a, int64_t n, int64_t line, int64_t c) {
    return line / a->lines * a->slice + fc_at(a->stride, n, line % a->lines, 0, c);
}

/* Whether pixels follow each other without gaps, so many elements apart. */
static int is_flat(const grid *a, int64_t step) {
    return (a->columns == 1 || a->stride[2] == step) && (a->lines == 1 || a->stride[1] == a->columns * step) &&
           (a->slices == 1 || a->slice == a->lines * a->columns * step);
}

/* Whether the planes of an array are without gaps, and those of the channels follow each other. */
static int planes_meet(const grid *a) { return is_flat(a, 1) && a->stride[3] == pixels_of(a); }

/* The same of pixels of so many channels. */
static int pixels_meet(const grid *a, int64_t channels) { return a->stride[3] == 1 && is_flat(a, channels); }

/* Whether `count` adjacent indices lie in an image of so many pixels. */
static int inside(const fc_scatter *j, const int64_t *at, int64_t count, int64_t pixels) {
    int64_t span[2] = {0, 0}, unused[2][FC_INDEX_LANES] = {{0}};
    fc_index_run run = {.items = 1, .depth = count / FC_INDEX_LANES, .depth_step = FC_INDEX_LANES,
                        .lanes = FC_INDEX_LANES, .width = 1};
    if (run.depth > 0) j->kernels->index_range(&run, at, span, NULL, unused[0], unused[1]);
    for (int64_t i = count - count % FC_INDEX_LANES; i < count; i++) {
        span[0] = FC_MIN(span[0], at[i]);
        span[1] = FC_MAX(span[1], at[i]);
    }
    return span[0] >= 0 && span[1] < pixels;
}

/* The same of a row of windows, run by run of adjacent indices: along channels or along columns, if along either. */
static int row_inside(const fc_scatter *j, const grid *at, const task *t, int64_t line, int64_t pixels) {
    const int64_t *first = j->indices + line_at(at, t->n, line, t->c);
    const int along_channels = at->stride[3] == 1, along_columns = !along_channels && at->stride[2] == 1;
    int good = 1;
    for (int64_t q = 0; q < (along_columns ? 1 : at->columns); q++)
        for (int64_t c = 0; c < (along_channels ? 1 : t->channels); c++)
            good &= inside(j, first + q * at->stride[2] + c * at->stride[3],
                           along_channels ? t->channels : along_columns ? at->columns : 1, pixels);
    return good;
}

static void check_indices(void *context, int64_t index, int worker) {
    (void)worker;
    fc_scatter *j = context;
    const task t = task_at(j, index);
    const grid x = grid_x(j), at = grid_indices(j);
    const int64_t pixels = pixels_of(&x);
    int good = 1;
    if (planes_meet(&at) || pixels_meet(&at, t.channels)) {
        good = inside(j, j->indices + line_at(&at, t.n, 0, t.c), t.channels * pixels_of(&at), pixels);
    } else {
        for (int64_t line = 0; line < at.slices * at.lines; line++) good &= row_inside(j, &at, &t, line, pixels);
    }
    if (!good) atomic_store(&j->bad_index, 1);
}

/* Rows of adjacent pixels are cleared in one stroke. */
static void zero_plane(const fc_scatter *j, const task *t) {
    const int64_t size = j->kernels->element_size, *stride = j->grad_x->stride;
    const int whole_rows = stride[3] == 1 && stride[2] == t->channels;
    const grid x = grid_x(j);
    for (int64_t line = 0; line < x.slices * x.lines; line++) {
        char *row = (char *)j->grad_x->data + line_at(&x, t->n, line, t->c) * size;
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
FC_INLINE void scatter_row(const size_t size, const fc_scatter *j, const task *t, const int64_t *at, const void *y,
                           void *x) {
    const int64_t *xs = j->grad_x->stride, *ys = j->grad_y->stride, *is = j->indices_stride;
    const grid to = grid_x(j);
    const int64_t w = j->g->w, pixels = pixels_of(&to);
    const int flat = is_flat(&to, xs[2]); /* an index is an offset: no division */
    for (int64_t q = 0; q < j->g->q; q++)
        for (int64_t c = 0; c < t->channels; c++) {
            const int64_t place = at[q * is[2] + c * is[3]];
            if (place < 0 || place >= pixels) continue;
            const int64_t winner =
                (flat ? place * xs[2] : line_at(&to, 0, place / w, 0) + place % w * xs[2]) + c * xs[3];
            const int64_t source = q * ys[2] + c * ys[3];
            if (size == sizeof(float)) ((float *)x)[winner] += ((const float *)y)[source];
            else ((double *)x)[winner] += ((const double *)y)[source];
        }
}

/* The same where channels are adjacent and an index is an offset: one multiplication a number; 6 channels x1.3. */
FC_INLINE void scatter_adjacent(const size_t size, const fc_scatter *j, const task *t, const int64_t *at, const char *y,
                                char *x) {
    const int64_t pixel = j->grad_x->stride[2], ys = j->grad_y->stride[2] * (int64_t)size, is = j->indices_stride[2];
    const uint64_t pixels = (uint64_t)(j->depth->d * j->g->h * j->g->w);
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
    const fc_scatter *j = context;
    const task t = task_at(j, index);
    const int64_t size = j->kernels->element_size;
    char *x = (char *)j->grad_x->data + fc_at(j->grad_x->stride, t.n, 0, 0, t.c) * size;
    const grid to = grid_x(j), from = grid_y(j), indices = grid_indices(j);
    const int adjacent = is_flat(&to, to.stride[2]) && to.stride[3] == 1 && from.stride[3] == 1 &&
                         indices.stride[3] == 1;
    zero_plane(j, &t);
    for (int64_t line = 0; line < from.slices * from.lines; line++) {
        const int64_t *at = j->indices + line_at(&indices, t.n, line, t.c);
        const char *y = (const char *)j->grad_y->data + line_at(&from, t.n, line, t.c) * size;
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
    const fc_scatter *j = context;
    const task t = task_at(j, index);
    const grid to = grid_x(j), from = grid_y(j);
    const int64_t size = j->kernels->element_size, windows = pixels_of(&from), pixels = pixels_of(&to);
    const int64_t cleared = planes_meet(&to) ? t.channels : 1; /* planes at a time */
    for (int64_t c = t.c; c < t.c + t.channels; c++) {
        char *x = (char *)j->grad_x->data + fc_at(j->grad_x->stride, t.n, 0, 0, c) * size;
        const char *y = (const char *)j->grad_y->data + fc_at(j->grad_y->stride, t.n, 0, 0, c) * size;
        const int64_t *at = j->indices + fc_at(j->indices_stride, t.n, 0, 0, c);
        if ((c - t.c) % cleared == 0) memset(x, 0, (size_t)(cleared * pixels * size));
        if (size == sizeof(float)) scatter_plane(sizeof(float), windows, at, y, x, pixels);
        else scatter_plane(sizeof(double), windows, at, y, x, pixels);
    }
}

fc_status fc_scatter_maxima(fc_scatter *j) {
    const fc_pool2d *g = j->g;
    const grid to = grid_x(j), from = grid_y(j), indices = grid_indices(j);
    const int planes = is_flat(&to, 1) && is_flat(&from, 1) && is_flat(&indices, 1);
    j->channels = j->grad_x->stride[3] == 1 ? FC_MIN(CHANNELS, g->c) : 1;
    if (planes) j->channels = FC_MAX(1, FC_MIN(g->c, PLANE_ELEMENTS / pixels_of(&to)));
    j->channel_blocks = fc_ceil_div(g->c, j->channels);
    const int64_t tasks = g->n * j->channel_blocks;
    const fc_status status = j->checked ? FC_OK : fc_parallel_for(tasks, j->threads, check_indices, j);
    if (status != FC_OK) return status;
    if (atomic_load(&j->bad_index)) return FC_BAD_INDEX;
    return fc_parallel_for(tasks, j->threads, planes ? scatter_planes : scatter, j);
}
