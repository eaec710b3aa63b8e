/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Batch normalisation: x - mean over the standard deviation, both of all pixels of all images of a channel, times a
 * weight plus a bias; and its gradients (Ioffe and Szegedy, 2015). Either way first sums over the pixels, then one pass
 * number by number. The kernels get a mean rounded to their type; what that leaves is part of the offset, so that means
 * far above the deviations cost no digits.
 *
 * Where pixels are adjacent (NCHW) a task does both for a few channels, whose numbers are then still in the cache. */
#include <math.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/element.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "blocking.h"
#include "moments.h"

enum {
    NUMBER_WORK = 8,       /* multiply-adds that a number moved is worth, as in elementwise.c */
    TILE = 1 << 14,        /* numbers of a task that goes number by number */
    CACHED = 1 << 20,      /* bytes of x that are still in L2 when they are read again */
    TOGETHER = 4           /* channels of a task that does both, at most */
};

typedef struct job {
    fc_moments sums;
    const fc_batch_norm *g;
    const fc_array *weight, *bias, *running_mean, *running_var;
    double momentum;
    char *to; /* y or grad_x; NULL: not wanted */
    fc_norm_walk to_walk;
    int backward, training;
    double *mean, *inverse_std;   /* [c]; given or a result */
    double *grad_weight, *grad_bias; /* [c] */
    double *first, *second;       /* [parts][c] */
    char *mean_rounded, *scale, *offset, *slope, *constant; /* [c], of the kernels' type */
    int64_t blocks, channels;     /* of channels: how many, how many in one */
    int64_t tile_pixels, tile_channels, pixel_tiles, channel_tiles;
} job;

static double parameter(const fc_array *a, int64_t c, double otherwise) {
    return a == NULL ? otherwise : fc_get(a, c * a->stride[3]);
}

static void put(const job *j, char *factors, int64_t c, double value) {
    if (j->sums.kernels->element_size == sizeof(float)) ((float *)(void *)factors)[c] = (float)value;
    else ((double *)(void *)factors)[c] = value;
}

/* What rounding the mean to the kernels' type leaves. */
static double rest_of(const job *j, double mean) {
    return j->sums.kernels->element_size == sizeof(float) ? mean - (double)(float)mean : 0;
}

static void set_factors(const job *j, int64_t c) {
    const double mean = j->mean[c], scale = parameter(j->weight, c, 1) * j->inverse_std[c];
    put(j, j->mean_rounded, c, mean);
    put(j, j->scale, c, scale);
    put(j, j->offset, c, parameter(j->bias, c, 0) - rest_of(j, mean) * scale);
}

/* ---------------------------------------------------------------- sums */

static void sum_block(const job *j, int64_t part, int64_t block) {
    const int64_t c = block * j->channels, channels = FC_MIN(j->channels, j->sums.c - c);
    fc_moments_part(&j->sums, part, c, channels, j->first + part * j->sums.c + c, j->second + part * j->sums.c + c);
}

/* The statistics of a channel from those of its parts. */
static void finish_statistics(const job *j, int64_t c) {
    const fc_moments *m = &j->sums;
    double count = m->count[0], mean = j->first[c], squares = j->second[c];
    for (int64_t part = 1; part < m->parts; part++) {
        const double more = m->count[part];
        if (more > 0) fc_moments_join(count, &mean, &squares, more, j->first[part * m->c + c], j->second[part * m->c + c]);
        count += more;
    }
    if (squares < 0) squares = 0;
    j->mean[c] = mean;
    j->inverse_std[c] = 1 / sqrt(squares / count + j->g->epsilon);
    const fc_array *running[2] = {j->running_mean, j->running_var};
    const double now[2] = {mean, squares / (count - 1)};
    for (int i = 0; i < 2; i++) {
        if (running[i] == NULL) continue;
        const double before = fc_get(running[i], c * running[i]->stride[3]);
        fc_put(running[i], c * running[i]->stride[3], (1 - j->momentum) * before + j->momentum * now[i]);
    }
}

/* Gradients of the parameters of a channel, and what the gradient of x is made of. */
static void finish_gradients(const job *j, int64_t c) {
    const fc_moments *m = &j->sums;
    double sum = 0, product = 0;
    for (int64_t part = 0; part < m->parts; part++) {
        sum += j->first[part * m->c + c];
        product += j->second[part * m->c + c];
    }
    const double rest = rest_of(j, j->mean[c]), inverse = j->inverse_std[c];
    product -= rest * sum;
    j->grad_bias[c] = sum;
    j->grad_weight[c] = product * inverse;
    const double scale = parameter(j->weight, c, 1) * inverse, count = (double)m->n * (double)m->pixels;
    const double slope = j->training ? -scale * inverse * inverse * product / count : 0;
    put(j, j->slope, c, slope);
    put(j, j->constant, c, j->training ? -scale * sum / count - rest * slope : 0);
}

static void finish(const job *j, int64_t c) {
    if (j->backward) {
        finish_gradients(j, c);
    } else {
        finish_statistics(j, c);
        set_factors(j, c);
    }
}

/* ---------------------------------------------------------------- number by number */

static void run_tile(const job *j, int64_t n, int64_t images, int64_t pixel, int64_t pixels, int64_t c, int64_t channels) {
    const fc_moments *m = &j->sums;
    const int64_t size = m->kernels->element_size, at = c * size;
    const fc_norm_block block = {.images = images, .pixels = pixels, .columns = channels, .x = m->x_walk,
                                 .grad_y = m->grad_y_walk, .to = j->to_walk, .activation = m->activation};
    const fc_norm_factors f = {.mean = j->mean_rounded + at, .scale = j->scale + at, .offset = j->offset + at,
                               .slope = j->slope + at, .constant = j->constant + at};
    const char *x = m->x + (n * m->x_walk.image + pixel * m->x_walk.pixel + c * m->x_walk.column) * size;
    char *to = j->to + (n * j->to_walk.image + pixel * j->to_walk.pixel + c * j->to_walk.column) * size;
    if (!j->backward) {
        m->kernels->norm_apply(&block, x, &f, to);
        return;
    }
    const fc_norm_walk *w = &m->grad_y_walk;
    m->kernels->norm_gradient(&block, x, m->grad_y + (n * w->image + pixel * w->pixel + c * w->column) * size, &f, to);
}

static void cut_tiles(job *j) {
    const fc_moments *m = &j->sums;
    const int along = m->x_walk.pixel == 1;
    j->tile_channels = along ? FC_MAX(1, FC_MIN(m->c, TILE / m->pixels)) : m->c;
    j->tile_pixels = along ? FC_MIN(m->pixels, TILE) : FC_MAX(1, FC_MIN(m->pixels, TILE / m->c));
    j->channel_tiles = fc_ceil_div(m->c, j->tile_channels);
    j->pixel_tiles = fc_ceil_div(m->pixels, j->tile_pixels);
}

/* ---------------------------------------------------------------- tasks */

static void sum_task(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    sum_block(j, index / j->blocks, index % j->blocks);
}

static void tile_task(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const int64_t pixel = index % j->pixel_tiles * j->tile_pixels;
    const int64_t c = index / j->pixel_tiles % j->channel_tiles * j->tile_channels;
    run_tile(j, index / j->pixel_tiles / j->channel_tiles, 1, pixel, FC_MIN(j->tile_pixels, j->sums.pixels - pixel), c,
             FC_MIN(j->tile_channels, j->sums.c - c));
}

static void channels_task(void *context, int64_t block, int worker) {
    (void)worker;
    const job *j = context;
    const int64_t c = block * j->channels, channels = FC_MIN(j->channels, j->sums.c - c);
    for (int64_t part = 0; part < j->sums.parts; part++) sum_block(j, part, block);
    for (int64_t k = c; k < c + channels; k++) finish(j, k);
    if (j->to != NULL) run_tile(j, 0, j->sums.n, 0, j->sums.pixels, c, channels);
}

static double work_of(const job *j) {
    return NUMBER_WORK * (double)j->sums.n * (double)j->sums.pixels * (double)j->sums.c;
}

static fc_status run_tiles(job *j) {
    if (j->to == NULL) return FC_OK;
    cut_tiles(j);
    const int64_t tasks = j->sums.n * j->pixel_tiles * j->channel_tiles;
    return fc_parallel_for(tasks, fc_threads_for(tasks, work_of(j)), tile_task, j);
}

/* Whether a task can do a few channels from end to end, with enough tasks for all threads. */
static int by_channels(job *j) {
    const fc_moments *m = &j->sums;
    if (m->x_walk.pixel != 1) return 0;
    const double bytes = (double)m->n * (double)m->pixels * m->kernels->element_size * (m->grad_y == NULL ? 1 : 2);
    for (j->channels = TOGETHER; j->channels > 1 && bytes * (double)j->channels > CACHED;) j->channels /= 2;
    j->blocks = fc_ceil_div(m->c, j->channels);
    return bytes <= CACHED && j->blocks >= FC_TASKS_PER_THREAD * fc_threads_for(j->blocks, work_of(j));
}

static fc_status run_sums(job *j) {
    if (by_channels(j)) return fc_parallel_for(j->blocks, fc_threads_for(j->blocks, work_of(j)), channels_task, j);
    j->channels = FC_NORM_CHANNELS;
    j->blocks = fc_ceil_div(j->sums.c, j->channels);
    const int64_t tasks = j->sums.parts * j->blocks;
    fc_status status = fc_parallel_for(tasks, fc_threads_for(tasks, work_of(j)), sum_task, j);
    if (status != FC_OK) return status;
    for (int64_t c = 0; c < j->sums.c; c++) finish(j, c);
    return run_tiles(j);
}

/* ---------------------------------------------------------------- entry points */

static fc_status prepare(job *j, const fc_array *x, const fc_array *grad_y, const fc_array *to) {
    const fc_batch_norm *g = j->g;
    if (g->n < 0 || g->pixels < 1 || g->c < 1) return FC_BAD_SIZE;
    if (!fc_is_compute_type(x->dtype) || (to != NULL && to->dtype != x->dtype) ||
        (grad_y != NULL && grad_y->dtype != x->dtype))
        return FC_BAD_DTYPE;
    fc_moments *m = &j->sums;
    *m = (fc_moments){.kernels = fc_kernels_for(x->dtype), .n = g->n, .pixels = g->pixels, .c = g->c, .x = x->data};
    switch (g->activation) {
        case FC_NONE: m->activation = FC_EPILOGUE_NONE; break;
        case FC_RELU: m->activation = FC_EPILOGUE_RELU; break;
        case FC_LEAKY_RELU: m->activation = FC_EPILOGUE_LEAKY_RELU; break;
        default: return FC_BAD_ALGORITHM;
    }
    const fc_array *arrays[3] = {x, grad_y, to};
    fc_norm_walk *walks[3] = {&m->x_walk, &m->grad_y_walk, &j->to_walk};
    for (int i = 0; i < 3; i++) {
        if (arrays[i] == NULL) continue;
        fc_array a = *arrays[i];
        if (g->pixels == 1) a.stride[2] = a.stride[0]; /* images of one pixel are the pixels of one image */
        *walks[i] = fc_norm_walk_of(&a, g->pixels == 1 ? g->n : g->pixels, g->c);
        if (g->n > 0 && !fc_norm_walks_agree(&m->x_walk, walks[i])) return FC_BAD_ORDER;
    }
    if (g->pixels == 1) m->n = FC_MIN(1, g->n), m->pixels = FC_MAX(1, g->n);
    if (grad_y != NULL) m->grad_y = grad_y->data;
    if (to != NULL) j->to = to->data;
    fc_moments_cut(m);
    return FC_OK;
}

/* Memory for the factors and the sums of the parts; NULL when it cannot be had. */
static char *take_scratch(job *j) {
    const fc_moments *m = &j->sums;
    const size_t factor = (size_t)m->c * (size_t)m->kernels->element_size, sums = (size_t)(m->parts * m->c) * sizeof(double);
    char **factors[5] = {&j->mean_rounded, &j->scale, &j->offset, &j->slope, &j->constant};
    size_t end = 0, at[7];
    for (int i = 0; i < 5; i++) at[i] = fc_set_aside(&end, factor);
    for (int i = 5; i < 7; i++) at[i] = fc_set_aside(&end, sums);
    char *scratch = fc_scratch_take(end);
    if (scratch == NULL) return NULL;
    for (int i = 0; i < 5; i++) *factors[i] = scratch + at[i];
    j->first = (double *)(void *)(scratch + at[5]);
    j->second = (double *)(void *)(scratch + at[6]);
    j->sums.factors = (fc_norm_factors){.mean = j->mean_rounded, .scale = j->scale, .offset = j->offset};
    return scratch;
}

fc_status fc_batch_norm_train(const fc_batch_norm *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                              const fc_array *running_mean, const fc_array *running_var, double momentum,
                              const fc_array *y, double *mean, double *inverse_std) {
    job j = {.g = g, .weight = weight, .bias = bias, .running_mean = running_mean, .running_var = running_var,
             .momentum = momentum, .training = 1, .mean = mean, .inverse_std = inverse_std};
    fc_status status = prepare(&j, x, NULL, y);
    if (status != FC_OK) return status;
    if ((double)g->n * (double)g->pixels < 2) return FC_BAD_SIZE; /* one number has no variance */
    char *scratch = take_scratch(&j);
    if (scratch == NULL) return FC_NO_MEMORY;
    status = run_sums(&j);
    fc_scratch_give_back(scratch);
    return status;
}

fc_status fc_batch_norm_apply(const fc_batch_norm *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                              const double *mean, const double *inverse_std, const fc_array *y) {
    job j = {.g = g, .weight = weight, .bias = bias, .mean = (double *)(uintptr_t)mean,
             .inverse_std = (double *)(uintptr_t)inverse_std};
    fc_status status = prepare(&j, x, NULL, y);
    if (status != FC_OK || g->n == 0) return status;
    char *scratch = take_scratch(&j);
    if (scratch == NULL) return FC_NO_MEMORY;
    for (int64_t c = 0; c < g->c; c++) set_factors(&j, c);
    status = run_tiles(&j);
    fc_scratch_give_back(scratch);
    return status;
}

fc_status fc_batch_norm_backward(const fc_batch_norm *g, int training, const fc_array *grad_y, const fc_array *x,
                                 const fc_array *weight, const fc_array *bias, const double *mean,
                                 const double *inverse_std, const fc_array *grad_x, double *grad_weight,
                                 double *grad_bias) {
    job j = {.g = g, .weight = weight, .bias = bias, .backward = 1, .training = training,
             .mean = (double *)(uintptr_t)mean, .inverse_std = (double *)(uintptr_t)inverse_std,
             .grad_weight = grad_weight, .grad_bias = grad_bias};
    fc_status status = prepare(&j, x, grad_y, grad_x);
    if (status != FC_OK) return status;
    if (g->n == 0) {
        for (int64_t c = 0; c < g->c; c++) grad_weight[c] = grad_bias[c] = 0;
        return FC_OK;
    }
    char *scratch = take_scratch(&j);
    if (scratch == NULL) return FC_NO_MEMORY;
    for (int64_t c = 0; c < g->c; c++) set_factors(&j, c);
    status = run_sums(&j);
    fc_scratch_give_back(scratch);
    return status;
}
