/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Group normalisation: as batch normalisation, but mean and variance are those of a group of channels of one image (Wu
 * and He, 2018). The sums of each channel of an image are batch_norm.c's; those of the channels of a group are joined.
 * The gradients take the statistics anew: the sums of x are a small part of their work.
 *
 * With enough images a task does one from end to end, whose numbers are then still in the cache; else each step is cut
 * for itself. The sums are the same. */
#include <math.h>

#include "../base/compiler.h"
#include "../base/scratch.h"
#include "blocking.h"
#include "norm_pass.h"

typedef struct job {
    const fc_group_norm *g;
    const fc_array *weight, *bias;
    fc_moments moments, products; /* of one image: of x; of grad_y with x - mean. Their arrays are those of image 0 */
    fc_norm_target target;
    fc_norm_tiles tiles;
    int backward;
    double *mean, *inverse_std;   /* [n][groups] */
    double *first, *second;       /* [n][parts][c]; in the end of part 0: gradients of bias and weight */
    char *mean_rounded, *scale, *offset, *slope, *constant; /* [n][c], of the kernels' type */
    int64_t blocks;               /* of channels that are summed at once */
} job;

static const char *image_at(const char *data, const fc_norm_walk *w, int64_t n, int64_t size) {
    return data + n * w->image * size;
}

static fc_norm_factors factors_of(const job *j, int64_t n) {
    const int64_t at = n * j->g->c * j->moments.kernels->element_size;
    return (fc_norm_factors){.mean = j->mean_rounded + at, .scale = j->scale + at, .offset = j->offset + at,
                             .slope = j->slope + at, .constant = j->constant + at};
}

/* The sums of image n: `of` is j->moments or j->products. */
static fc_moments image_of(const job *j, const fc_moments *of, int64_t n) {
    const int64_t size = of->kernels->element_size;
    fc_moments m = *of;
    m.x = image_at(of->x, &of->x_walk, n, size);
    if (of->grad_y != NULL) m.grad_y = image_at(of->grad_y, &of->grad_y_walk, n, size);
    m.factors = factors_of(j, n);
    return m;
}

static double *sums_of(const job *j, double *sums, int64_t n) { return sums + n * j->moments.parts * j->g->c; }

static void sum_block(const job *j, const fc_moments *of, int64_t n, int64_t index) {
    const int64_t part = index / j->blocks, c = index % j->blocks * FC_NORM_CHANNELS, at = part * j->g->c + c;
    const fc_moments m = image_of(j, of, n);
    fc_moments_part(&m, part, c, FC_MIN(FC_NORM_CHANNELS, j->g->c - c), sums_of(j, j->first, n) + at,
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

static void image_task(void *context, int64_t n, int worker) {
    (void)worker;
    const job *j = context;
    const int64_t sums = j->moments.parts * j->blocks;
    for (int64_t index = 0; index < sums; index++) sum_block(j, &j->moments, n, index);
    for (int64_t group = 0; group < j->g->groups; group++) finish_statistics(j, n, group);
    if (j->backward) {
        for (int64_t index = 0; index < sums; index++) sum_block(j, &j->products, n, index);
        for (int64_t group = 0; group < j->g->groups; group++) finish_gradients(j, n, group);
    }
    if (j->target.to == NULL) return;
    const fc_moments *of = j->backward ? &j->products : &j->moments;
    const fc_norm_factors f = factors_of(j, n);
    fc_norm_images(of, &j->target, &f, n, 1, 0, of->c);
}

static void moments_task(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const int64_t sums = j->moments.parts * j->blocks;
    sum_block(j, &j->moments, index / sums, index % sums);
}

static void products_task(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const int64_t sums = j->moments.parts * j->blocks;
    sum_block(j, &j->products, index / sums, index % sums);
}

static void tile_task(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const int64_t n = index / j->tiles.per_image;
    const fc_norm_factors f = factors_of(j, n);
    fc_norm_tile(j->backward ? &j->products : &j->moments, &j->target, &f, &j->tiles, n, index % j->tiles.per_image);
}

static fc_status run_steps(job *j, double work) {
    const int64_t images = j->g->n, sums = images * j->moments.parts * j->blocks, groups = j->g->groups;
    fc_status status = fc_parallel_for(sums, fc_threads_for(sums, work), moments_task, j);
    for (int64_t i = 0; status == FC_OK && i < images * groups; i++) finish_statistics(j, i / groups, i % groups);
    if (j->backward && status == FC_OK) {
        status = fc_parallel_for(sums, fc_threads_for(sums, work), products_task, j);
        for (int64_t i = 0; status == FC_OK && i < images * groups; i++) finish_gradients(j, i / groups, i % groups);
    }
    if (status != FC_OK || j->target.to == NULL) return status;
    j->tiles = fc_norm_cut(&j->moments);
    const int64_t tiles = images * j->tiles.per_image;
    return fc_parallel_for(tiles, fc_threads_for(tiles, work), tile_task, j);
}

static fc_status run(job *j) {
    const int64_t images = j->g->n;
    const double work = fc_norm_work(&j->moments) * (double)images;
    const int threads = fc_threads_for(INT64_MAX, work); /* as many as the work is worth, were there enough tasks */
    if (images % threads == 0 || images >= FC_TASKS_PER_THREAD * threads)
        return fc_parallel_for(images, fc_threads_for(images, work), image_task, j);
    return run_steps(j, work);
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
    j->backward = grad_y != NULL;
    j->blocks = fc_ceil_div(g->c, FC_NORM_CHANNELS);
    return FC_OK;
}

/* Memory for the factors, the statistics and the sums of the parts; NULL when it cannot be had. */
static char *take_scratch(job *j) {
    const fc_moments *m = &j->moments;
    const size_t n = (size_t)j->g->n, c = (size_t)j->g->c, groups = n * (size_t)j->g->groups * sizeof(double);
    const size_t factor = n * c * (size_t)m->kernels->element_size, sums = n * (size_t)m->parts * c * sizeof(double);
    char **factors[5] = {&j->mean_rounded, &j->scale, &j->offset, &j->slope, &j->constant};
    double **numbers[4] = {&j->mean, &j->inverse_std, &j->first, &j->second};
    size_t end = 0, at[9];
    for (int i = 0; i < 9; i++) at[i] = fc_set_aside(&end, i < 5 ? factor : i < 7 ? groups : sums);
    char *scratch = fc_scratch_take(end);
    if (scratch == NULL) return NULL;
    for (int i = 0; i < 5; i++) *factors[i] = scratch + at[i];
    for (int i = 0; i < 4; i++) *numbers[i] = (double *)(void *)(scratch + at[5 + i]);
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
    job j = {.g = g, .weight = weight};
    fc_status status = prepare(&j, x, grad_y, grad_x);
    if (status != FC_OK) return status;
    for (int64_t c = 0; c < g->c; c++) grad_weight[c] = grad_bias[c] = 0;
    if (g->n == 0) return FC_OK;
    char *scratch = take_scratch(&j);
    if (scratch == NULL) return FC_NO_MEMORY;
    status = run(&j);
    for (int64_t c = 0; c < g->c && status == FC_OK; c++) {
        for (int64_t n = 0; n < g->n; n++) {
            grad_weight[c] += sums_of(&j, j.second, n)[c];
            grad_bias[c] += sums_of(&j, j.first, n)[c];
        }
    }
    fc_scratch_give_back(scratch);
    return status;
}
