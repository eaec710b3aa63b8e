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
#include "../base/scratch.h"
#include "activation.h"
#include "blocking.h"
#include "norm_pass.h"

enum {
    CACHED = 1 << 20, /* bytes of x that are still in L2 when they are read again */
    TOGETHER = 16     /* channels of a task that does both, at most; 7x7 maps took x1.3 as long with one at a time */
};

typedef struct job {
    fc_moments sums;
    const fc_batch_norm *g;
    const fc_array *weight, *bias, *running_mean, *running_var;
    double momentum;
    fc_norm_target target; /* y or grad_x */
    fc_norm_tiles tiles;
    int backward, training;
    double *mean, *inverse_std;   /* [c]; given or a result */
    double *grad_weight, *grad_bias; /* [c] */
    double *first, *second;       /* [parts][c] */
    char *mean_rounded, *scale, *offset, *slope, *constant; /* [c], of the kernels' type */
    fc_norm_factors factors;      /* the same */
    char *worker_scratch;         /* fc_moments_scratch() bytes each */
    int threads;                  /* at most */
    int64_t blocks, channels;     /* of channels: how many, how many in one */
} job;

static void set_factors(const job *j, int64_t c) {
    const double mean = j->mean[c], scale = fc_norm_parameter(j->weight, c, 1) * j->inverse_std[c];
    fc_norm_put(&j->sums, j->mean_rounded, c, mean);
    fc_norm_put(&j->sums, j->scale, c, scale);
    fc_norm_put(&j->sums, j->offset, c, fc_norm_parameter(j->bias, c, 0) - fc_norm_rest(&j->sums, mean) * scale);
}

/* ---------------------------------------------------------------- sums */

static void sum_block(const job *j, int64_t part, int64_t block, int worker) {
    const int64_t c = block * j->channels, channels = FC_MIN(j->channels, j->sums.c - c), at = part * j->sums.c + c;
    fc_moments_part(&j->sums, part, c, channels, j->worker_scratch + (size_t)worker * fc_moments_scratch(),
                    j->first + at, j->second + at);
}

static void finish_statistics(const job *j, int64_t c) {
    const fc_moments *m = &j->sums;
    double mean, squares;
    const double count = fc_moments_total(m, j->first + c, j->second + c, m->c, &mean, &squares);
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
    double sum, product;
    fc_moments_total(m, j->first + c, j->second + c, m->c, &sum, &product);
    const double rest = fc_norm_rest(&j->sums, j->mean[c]), inverse = j->inverse_std[c];
    product -= rest * sum;
    j->grad_bias[c] = sum;
    j->grad_weight[c] = product * inverse;
    const double scale = fc_norm_parameter(j->weight, c, 1) * inverse, count = (double)m->n * (double)m->pixels;
    const double slope = j->training ? -scale * inverse * inverse * product / count : 0;
    fc_norm_put(&j->sums, j->slope, c, slope);
    fc_norm_put(&j->sums, j->constant, c, j->training ? -scale * sum / count - rest * slope : 0);
}

static void finish(const job *j, int64_t c) {
    if (j->backward) {
        finish_gradients(j, c);
    } else {
        finish_statistics(j, c);
        set_factors(j, c);
    }
}

/* ---------------------------------------------------------------- tasks */

static void sum_task(void *context, int64_t index, int worker) {
    const job *j = context;
    sum_block(j, index / j->blocks, index % j->blocks, worker);
}

static void tile_task(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    /* the sums ended at the end of each range: 7x7x512, 16 images, x1.13; 14x14x256 x1.06; larger ones as fast */
    const int64_t per_image = j->tiles.per_image, tasks = j->sums.n * per_image;
    index = fc_task_from_end(index, tasks, (int)FC_MIN(tasks, j->threads));
    fc_norm_tile(&j->sums, &j->target, &j->factors, &j->tiles, index / per_image, index % per_image);
}

static void channels_task(void *context, int64_t block, int worker) {
    const job *j = context;
    const int64_t c = block * j->channels, channels = FC_MIN(j->channels, j->sums.c - c);
    for (int64_t part = 0; part < j->sums.parts; part++) sum_block(j, part, block, worker);
    for (int64_t k = c; k < c + channels; k++) finish(j, k);
    if (j->target.to != NULL) fc_norm_images(&j->sums, &j->target, &j->factors, 0, j->sums.n, c, channels);
}

static fc_status run_tasks(job *j, int64_t tasks, fc_task_fn task) {
    return fc_parallel_for(tasks, (int)FC_MIN(tasks, j->threads), task, j);
}

static fc_status run_tiles(job *j) {
    if (j->target.to == NULL) return FC_OK;
    j->tiles = fc_norm_cut(&j->sums);
    const int64_t tasks = j->sums.n * j->tiles.per_image;
    return run_tasks(j, tasks, tile_task);
}

/* Whether a task can do a few channels from end to end, with enough tasks for all threads. */
static int by_channels(job *j) {
    const fc_moments *m = &j->sums;
    if (m->x_walk.pixel != 1) return 0;
    const double bytes = (double)m->n * (double)m->pixels * m->kernels->element_size * (m->grad_y == NULL ? 1 : 2);
    const int64_t tasks = FC_TASKS_PER_THREAD * j->threads;
    for (j->channels = TOGETHER; j->channels > 1; j->channels /= 2)
        if (bytes * (double)j->channels <= CACHED && m->c >= tasks * j->channels) break;
    j->blocks = fc_ceil_div(m->c, j->channels);
    return bytes <= CACHED && j->blocks >= tasks;
}

static fc_status run_sums(job *j) {
    if (by_channels(j)) return run_tasks(j, j->blocks, channels_task);
    j->channels = fc_moments_channels(&j->sums, j->threads);
    j->blocks = fc_ceil_div(j->sums.c, j->channels);
    const fc_status status = run_tasks(j, j->sums.parts * j->blocks, sum_task);
    if (status != FC_OK) return status;
    for (int64_t c = 0; c < j->sums.c; c++) finish(j, c);
    return run_tiles(j);
}

/* ---------------------------------------------------------------- entry points */

static fc_status prepare(job *j, const fc_array *x, const fc_array *grad_y, const fc_array *to) {
    const fc_batch_norm *g = j->g;
    const int64_t sizes[3] = {g->n, g->pixels, g->c};
    const fc_status status = fc_norm_set_up(&j->sums, &j->target, sizes, 1, x, grad_y, to);
    if (status != FC_OK) return status;
    j->sums.activation = fc_epilogue_of(g->activation);
    return g->activation != FC_NONE && j->sums.activation == FC_EPILOGUE_NONE ? FC_BAD_ALGORITHM : FC_OK;
}

/* Memory for the factors and the sums of the parts; NULL when it cannot be had. */
static char *take_scratch(job *j) {
    const fc_moments *m = &j->sums;
    const size_t factor = (size_t)m->c * (size_t)m->kernels->element_size;
    const size_t sums = (size_t)(m->parts * m->c) * sizeof(double);
    char **factors[5] = {&j->mean_rounded, &j->scale, &j->offset, &j->slope, &j->constant};
    j->threads = fc_threads_for(INT64_MAX, fc_norm_work(m));
    const size_t workers = (size_t)j->threads * fc_moments_scratch();
    size_t end = 0, at[8];
    for (int i = 0; i < 8; i++) at[i] = fc_set_aside(&end, i < 5 ? factor : i < 7 ? sums : workers);
    char *scratch = fc_scratch_take(end);
    if (scratch == NULL) return NULL;
    for (int i = 0; i < 5; i++) *factors[i] = scratch + at[i];
    j->first = (double *)(void *)(scratch + at[5]);
    j->second = (double *)(void *)(scratch + at[6]);
    j->worker_scratch = scratch + at[7];
    j->factors = j->sums.factors = (fc_norm_factors){
        .mean = j->mean_rounded, .scale = j->scale, .offset = j->offset, .slope = j->slope, .constant = j->constant};
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
