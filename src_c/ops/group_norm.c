/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Group normalisation: as batch normalisation, but mean and variance are those of a group of channels of one image (Wu
 * and He, 2018). The sums of each channel of an image are batch_norm.c's; those of the channels of a group are joined.
 * The gradients take the statistics anew: the sums of x are a small part of their work.
 *
 * Images are done a block at a time, so that what is kept of each does not grow with the batch. With enough images a
 * task does one from end to end, whose numbers are then still in the cache; else each step is cut for itself. The sums
 * are the same. */
#include <math.h>

#include "../base/compiler.h"
#include "../base/scratch.h"
#include "blocking.h"
#include "norm_pass.h"

enum { SCRATCH = 1 << 20 /* bytes that are kept of the images of a block, for each thread */ };

typedef struct job {
    const fc_group_norm *g;
    const fc_array *weight, *bias;
    fc_moments moments, products; /* of one image: of x; of grad_y with x - mean. Their arrays are those of image 0 */
    const fc_moments *summed;     /* by the step that runs: one of these */
    fc_norm_target target;
    fc_norm_tiles tiles;
    int threads;                  /* at most */
    int64_t images, from;         /* of a block, at most; the first of this one. n below counts from there */
    double *mean, *inverse_std;   /* [images][groups] */
    double *first, *second;       /* [images][parts][c]; in the end of part 0: gradients of bias and weight */
    char *mean_rounded, *scale, *offset, *slope, *constant; /* [images][c], of the kernels' type */
    char *worker_scratch;         /* fc_moments_scratch() bytes each */
    double *grad_weight, *grad_bias; /* [c]; NULL: no gradients are asked for */
    int64_t channels, channel_blocks; /* summed at once; how many such blocks there are */
} job;

static const char *image_at(const job *j, const char *data, const fc_norm_walk *w, int64_t n) {
    return data + (j->from + n) * w->image * j->moments.kernels->element_size;
}

static fc_norm_factors factors_of(const job *j, int64_t n) {
    const int64_t at = n * j->g->c * j->moments.kernels->element_size;
    return (fc_norm_factors){.mean = j->mean_rounded + at, .scale = j->scale + at, .offset = j->offset + at,
                             .slope = j->slope + at, .constant = j->constant + at};
}

/* The sums of image n: `of` is j->moments or j->products. */
static fc_moments image_of(const job *j, const fc_moments *of, int64_t n) {
    fc_moments m = *of;
    m.x = image_at(j, of->x, &of->x_walk, n);
    if (of->grad_y != NULL) m.grad_y = image_at(j, of->grad_y, &of->grad_y_walk, n);
    m.factors = factors_of(j, n);
    return m;
}

static double *sums_of(const job *j, double *sums, int64_t n) { return sums + n * j->moments.parts * j->g->c; }

static void sum_block(const job *j, const fc_moments *of, int64_t n, int64_t index, int worker) {
    const int64_t part = index / j->channel_blocks, c = index % j->channel_blocks * j->channels;
    const int64_t at = part * j->g->c + c;
    const fc_moments m = image_of(j, of, n);
    fc_moments_part(&m, part, c, FC_MIN(j->channels, j->g->c - c),
                    j->worker_scratch + (size_t)worker * fc_moments_scratch(), sums_of(j, j->first, n) + at,
                    sums_of(j, j->second, n) + at);
}

/* Mean and deviation of a group from the sums of its channels, and the factors of each. */
static void finish_statistics(const job *j, int64_t n, int64_t group) {
    const fc_moments *m = &j->moments;
    const double *first = sums_of(j, j->first, n), *second = sums_of(j, j->second, n);
    const int64_t wide = j->g->c / j->g->groups, begin = group * wide, at = n * j->g->c;
    double mean, squares, count = fc_moments_total(m, first + begin, second + begin, m->c, &mean, &squares);
    for (int64_t c = begin + 1; c < begin + wide; c++) {
        double its_mean, its_squares;
        const double more = fc_moments_total(m, first + c, second + c, m->c, &its_mean, &its_squares);
        fc_moments_join(count, &mean, &squares, more, its_mean, its_squares);
        count += more;
    }
    const double inverse = 1 / sqrt(squares / count + j->g->epsilon), rest = fc_norm_rest(m, mean);
    j->mean[n * j->g->groups + group] = mean;
    j->inverse_std[n * j->g->groups + group] = inverse;
    for (int64_t c = begin; c < begin + wide; c++) {
        const double scale = fc_norm_parameter(j->weight, c, 1) * inverse;
        fc_norm_put(m, j->mean_rounded, at + c, mean);
        fc_norm_put(m, j->scale, at + c, scale);
        fc_norm_put(m, j->offset, at + c, fc_norm_parameter(j->bias, c, 0) - rest * scale);
    }
}

/* What the gradient of x is made of, and the image's share of the gradients of the parameters. */
static void finish_gradients(const job *j, int64_t n, int64_t group) {
    const fc_moments *m = &j->products;
    double *first = sums_of(j, j->first, n), *second = sums_of(j, j->second, n), sum = 0, product = 0;
    const int64_t wide = j->g->c / j->g->groups, begin = group * wide, at = n * j->g->c;
    const double mean = j->mean[n * j->g->groups + group], inverse = j->inverse_std[n * j->g->groups + group];
    const double rest = fc_norm_rest(m, mean), count = (double)m->pixels * (double)wide;
    for (int64_t c = begin; c < begin + wide; c++) {
        double once, twice;
        fc_moments_total(m, first + c, second + c, m->c, &once, &twice);
        twice -= rest * once;
        first[c] = once, second[c] = twice * inverse;
        sum += fc_norm_parameter(j->weight, c, 1) * once;
        product += fc_norm_parameter(j->weight, c, 1) * twice;
    }
    const double slope = -inverse * inverse * inverse * product / count;
    for (int64_t c = begin; c < begin + wide; c++) {
        fc_norm_put(m, j->slope, at + c, slope);
        fc_norm_put(m, j->constant, at + c, -inverse * sum / count - rest * slope);
    }
}

/* ---------------------------------------------------------------- tasks */

static int64_t sums_per_image(const job *j) { return j->moments.parts * j->channel_blocks; }

static const fc_moments *last_summed(const job *j) { return j->grad_weight != NULL ? &j->products : &j->moments; }

static void image_task(void *context, int64_t n, int worker) {
    const job *j = context;
    for (int64_t i = 0; i < sums_per_image(j); i++) sum_block(j, &j->moments, n, i, worker);
    for (int64_t group = 0; group < j->g->groups; group++) finish_statistics(j, n, group);
    if (j->grad_weight != NULL) {
        for (int64_t i = 0; i < sums_per_image(j); i++) sum_block(j, &j->products, n, i, worker);
        for (int64_t group = 0; group < j->g->groups; group++) finish_gradients(j, n, group);
    }
    if (j->target.to == NULL) return;
    const fc_norm_factors f = factors_of(j, n);
    fc_norm_images(last_summed(j), &j->target, &f, j->from + n, 1, 0, j->g->c);
}

static void sum_task(void *context, int64_t index, int worker) {
    const job *j = context;
    sum_block(j, j->summed, index / sums_per_image(j), index % sums_per_image(j), worker);
}

static void tile_task(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const int64_t n = index / j->tiles.per_image;
    const fc_norm_factors f = factors_of(j, n);
    fc_norm_tile(last_summed(j), &j->target, &f, &j->tiles, j->from + n, index % j->tiles.per_image);
}

static fc_status run_tasks(job *j, int64_t tasks, fc_task_fn task) {
    return fc_parallel_for(tasks, (int)FC_MIN(tasks, j->threads), task, j);
}

static fc_status run_sums(job *j, int64_t images, const fc_moments *of,
                          void (*finish)(const job *j, int64_t n, int64_t group)) {
    j->summed = of;
    const fc_status status = run_tasks(j, images * sums_per_image(j), sum_task);
    for (int64_t i = 0; status == FC_OK && i < images * j->g->groups; i++)
        finish(j, i / j->g->groups, i % j->g->groups);
    return status;
}

static fc_status run_steps(job *j, int64_t images) {
    fc_status status = run_sums(j, images, &j->moments, finish_statistics);
    if (status == FC_OK && j->grad_weight != NULL) status = run_sums(j, images, &j->products, finish_gradients);
    if (status != FC_OK || j->target.to == NULL) return status;
    j->tiles = fc_norm_cut(&j->moments);
    return run_tasks(j, images * j->tiles.per_image, tile_task);
}

/* Add what the images of a block have to the gradients of the parameters, image by image. */
static void add_gradients(const job *j, int64_t images) {
    for (int64_t n = 0; n < images; n++)
        for (int64_t c = 0; c < j->g->c; c++) {
            j->grad_weight[c] += sums_of(j, j->second, n)[c];
            j->grad_bias[c] += sums_of(j, j->first, n)[c];
        }
}

static fc_status run(job *j) {
    fc_status status = FC_OK;
    for (j->from = 0; j->from < j->g->n && status == FC_OK; j->from += j->images) {
        const int64_t images = FC_MIN(j->images, j->g->n - j->from);
        const int whole = images % j->threads == 0 || images >= FC_TASKS_PER_THREAD * j->threads;
        status = whole ? run_tasks(j, images, image_task) : run_steps(j, images);
        if (status == FC_OK && j->grad_weight != NULL) add_gradients(j, images);
    }
    return status;
}

/* ---------------------------------------------------------------- entry points */

static fc_status prepare(job *j, const fc_array *x, const fc_array *grad_y, const fc_array *to) {
    const fc_group_norm *g = j->g;
    if (g->groups < 1 || g->c < 1 || g->c % g->groups != 0) return FC_BAD_SIZE;
    const int64_t sizes[3] = {g->n, g->pixels, g->c};
    const fc_status status = fc_norm_set_up(&j->products, &j->target, sizes, 0, x, grad_y, to);
    if (status != FC_OK) return status;
    j->products.n = 1;
    fc_moments_cut(&j->products);
    j->moments = j->products;
    j->moments.grad_y = NULL;
    return FC_OK;
}

/* Bytes that are kept of an image. */
static double bytes_of_image(const job *j) {
    const double c = (double)j->g->c, parts = (double)j->moments.parts, factors = 5;
    return c * (factors * j->moments.kernels->element_size + 2 * parts * (double)sizeof(double)) +
           2 * (double)j->g->groups * (double)sizeof(double);
}

/* Memory for the factors, the statistics and the sums of the parts; NULL when it cannot be had. */
static char *take_scratch(job *j) {
    const fc_moments *m = &j->moments;
    j->threads = fc_threads_for(INT64_MAX, fc_norm_work(m) * (double)j->g->n); /* worth waking, with enough tasks */
    j->channels = fc_moments_channels(m, j->threads);
    j->channel_blocks = fc_ceil_div(m->c, j->channels);
    j->images = FC_MAX(1, FC_MIN(j->g->n, (int64_t)((double)SCRATCH * j->threads / bytes_of_image(j))));
    const size_t n = (size_t)j->images, c = (size_t)j->g->c, groups = n * (size_t)j->g->groups * sizeof(double);
    const size_t factor = n * c * (size_t)m->kernels->element_size, sums = n * (size_t)m->parts * c * sizeof(double);
    char **factors[5] = {&j->mean_rounded, &j->scale, &j->offset, &j->slope, &j->constant};
    double **numbers[4] = {&j->mean, &j->inverse_std, &j->first, &j->second};
    size_t end = 0, at[10];
    for (int i = 0; i < 9; i++) at[i] = fc_set_aside(&end, i < 5 ? factor : i < 7 ? groups : sums);
    at[9] = fc_set_aside(&end, (size_t)j->threads * fc_moments_scratch());
    char *scratch = fc_scratch_take(end);
    if (scratch == NULL) return NULL;
    for (int i = 0; i < 5; i++) *factors[i] = scratch + at[i];
    for (int i = 0; i < 4; i++) *numbers[i] = (double *)(void *)(scratch + at[5 + i]);
    j->worker_scratch = scratch + at[9];
    return scratch;
}

fc_status fc_group_norm_forward(const fc_group_norm *g, const fc_array *x, const fc_array *weight,
                                const fc_array *bias, const fc_array *y) {
    job j = {.g = g, .weight = weight, .bias = bias};
    fc_status status = prepare(&j, x, NULL, y);
    if (status != FC_OK || g->n == 0) return status;
    char *scratch = take_scratch(&j);
    if (scratch == NULL) return FC_NO_MEMORY;
    status = run(&j);
    fc_scratch_give_back(scratch);
    return status;
}

fc_status fc_group_norm_backward(const fc_group_norm *g, const fc_array *grad_y, const fc_array *x,
                                 const fc_array *weight, const fc_array *grad_x, double *grad_weight,
                                 double *grad_bias) {
    job j = {.g = g, .weight = weight, .grad_weight = grad_weight, .grad_bias = grad_bias};
    fc_status status = prepare(&j, x, grad_y, grad_x);
    if (status != FC_OK) return status;
    for (int64_t c = 0; c < g->c; c++) grad_weight[c] = grad_bias[c] = 0;
    if (g->n == 0) return FC_OK;
    char *scratch = take_scratch(&j);
    if (scratch == NULL) return FC_NO_MEMORY;
    status = run(&j);
    fc_scratch_give_back(scratch);
    return status;
}
