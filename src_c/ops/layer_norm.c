/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Layer normalisation over the channels: mean and variance are those of one pixel (Ba, Kiros and Hinton, 2016). For the
 * kernels of normalisation that is their usual problem with pixels and channels exchanged, so one number of each factor
 * is a pixel's; weight and bias, which are a channel's, are applied by a second pass over a tile that is in L1. The
 * gradients take the statistics anew, likewise tile by tile:
 *
 *   h = (x - mean) / deviation        of the tile, set aside
 *   grad_weight, grad_bias            sums of grad_y * h and of grad_y over the pixels, the usual way round
 *   t = grad_y * weight               set aside
 *   grad_x = (t - mean of t - h * mean of t*h) / deviation     the means over the channels: the other way round
 *
 * The gradients of the parameters are summed in parts that depend on the sizes alone. */
#include <math.h>
#include <string.h>

#include "../base/compiler.h"
#include "../base/scratch.h"
#include "blocking.h"
#include "norm_pass.h"

enum {
    TILE = 1 << 12,     /* numbers of a tile; with the two that are set aside 48 KiB of float32 */
    ROWS = 64,          /* pixels whose statistics are taken at once */
    MOST_SUMS = 1 << 20 /* numbers of all parts' sums, unless two parts have more */
};

/* What a worker has to itself; all of the kernels' type, but for the sums. */
typedef struct desk {
    char *mean, *inverse, *offset, *slope, *constant; /* [rows] */
    char *normal, *slanted;                           /* h and t of a tile */
    char *sum, *product;                              /* [c] */
    double *first, *second;                           /* [parts of a pixel][ROWS] */
    char *scratch;                                    /* fc_moments_scratch() bytes */
} desk;

enum { DESK_ARRAYS = 12 };

typedef struct job {
    const fc_layer_norm *g;
    fc_moments pixels;      /* all of them, the usual way round */
    fc_moments channels;    /* the sums of ROWS pixels over their channels, the other way round */
    fc_norm_target target;
    fc_norm_walk tile_walk; /* of what is set aside */
    const fc_array *weight, *bias;
    char *scale, *offset, *zeros; /* [c], [c], [the longer of c and rows] */
    char *desks;
    int64_t rows, per_image, tiles, parts; /* of a tile; tiles of an image, in all; parts of the gradients' sums */
    double *grad_weight, *grad_bias;       /* [parts][c] */
} job;

/* One tile: rows pixels from x on. */
typedef struct tile {
    int64_t rows;
    const char *x, *grad_y;
    char *to;
} tile;

static fc_norm_walk turned(fc_norm_walk w) {
    return (fc_norm_walk){.image = w.image, .pixel = w.column, .column = w.pixel};
}

static tile tile_at(const job *j, int64_t index) {
    const fc_moments *m = &j->pixels;
    const int64_t n = index / j->per_image, pixel = index % j->per_image * j->rows, size = m->kernels->element_size;
    tile t = {.rows = FC_MIN(j->rows, m->pixels - pixel)};
    t.x = m->x + (n * m->x_walk.image + pixel * m->x_walk.pixel) * size;
    if (m->grad_y != NULL) t.grad_y = m->grad_y + (n * m->grad_y_walk.image + pixel * m->grad_y_walk.pixel) * size;
    if (j->target.to != NULL)
        t.to = j->target.to + (n * j->target.walk.image + pixel * j->target.walk.pixel) * size;
    return t;
}

/* Where the arrays of a desk begin; returns how many bytes it has. */
static size_t place_desk(const job *j, size_t at[DESK_ARRAYS]) {
    const size_t size = (size_t)j->pixels.kernels->element_size, rows = (size_t)j->rows * size;
    const size_t c = (size_t)j->g->c * size, sums = (size_t)j->channels.parts * ROWS * sizeof(double);
    const size_t numbers = (size_t)FC_MAX(2, j->rows) * (size_t)FC_MAX(2, j->g->c) * size;
    size_t end = 0;
    for (int i = 0; i < 11; i++) at[i] = fc_set_aside(&end, i < 5 ? rows : i < 7 ? c : i < 9 ? numbers : sums);
    at[11] = fc_set_aside(&end, fc_moments_scratch());
    return end;
}

static desk desk_of(const job *j, int worker) {
    size_t at[DESK_ARRAYS];
    char *begin = j->desks + (size_t)worker * place_desk(j, at);
    return (desk){.mean = begin + at[0], .inverse = begin + at[1], .offset = begin + at[2], .slope = begin + at[3],
                  .constant = begin + at[4], .sum = begin + at[5], .product = begin + at[6], .normal = begin + at[7],
                  .slanted = begin + at[8], .first = (double *)(void *)(begin + at[9]),
                  .second = (double *)(void *)(begin + at[10]), .scratch = begin + at[11]};
}

/* ---------------------------------------------------------------- steps of a tile */

/* Walks that the kernels see; the arrays of a tile are given as they lie. */
static fc_norm_block block_of(int64_t pixels, int64_t columns, fc_norm_walk x, fc_norm_walk grad_y, fc_norm_walk to) {
    return (fc_norm_block){.images = 1, .pixels = pixels, .columns = columns, .x = x, .grad_y = grad_y, .to = to};
}

/* Sums over the channels of the pixels [row, row + rows) of a tile. */
static void sum_rows(fc_moments *m, const desk *d, int64_t rows) {
    m->c = rows;
    for (int64_t part = 0; part < m->parts; part++)
        fc_moments_part(m, part, 0, rows, d->scratch, d->first + part * ROWS, d->second + part * ROWS);
}

/* Factors that make h of x. */
static void take_statistics(const job *j, const tile *t, const desk *d) {
    fc_moments m = j->channels;
    const int64_t step = m.x_walk.column * m.kernels->element_size;
    for (int64_t row = 0; row < t->rows; row += ROWS) {
        const int64_t rows = FC_MIN(ROWS, t->rows - row);
        m.x = t->x + row * step;
        sum_rows(&m, d, rows);
        for (int64_t i = 0; i < rows; i++) {
            double mean, squares;
            const double count = fc_moments_total(&m, d->first + i, d->second + i, ROWS, &mean, &squares);
            const double inverse = 1 / sqrt(squares / count + j->g->epsilon);
            fc_norm_put(&m, d->mean, row + i, mean);
            fc_norm_put(&m, d->inverse, row + i, inverse);
            fc_norm_put(&m, d->offset, row + i, -fc_norm_rest(&m, mean) * inverse);
        }
    }
}

static void normalize(const job *j, const tile *t, const desk *d, fc_norm_walk walk, char *to) {
    const fc_norm_walk x = j->channels.x_walk;
    const fc_norm_block block = block_of(j->g->c, t->rows, x, x, turned(walk));
    const fc_norm_factors f = {.mean = d->mean, .scale = d->inverse, .offset = d->offset};
    j->pixels.kernels->norm_apply(&block, t->x, &f, to);
}

static void forward_task(void *context, int64_t index, int worker) {
    const job *j = context;
    const tile t = tile_at(j, index);
    const desk d = desk_of(j, worker);
    take_statistics(j, &t, &d);
    normalize(j, &t, &d, j->target.walk, t.to);
    if (j->weight == NULL && j->bias == NULL) return;
    const fc_norm_walk w = j->target.walk;
    const fc_norm_block block = block_of(t.rows, j->g->c, w, w, w);
    const fc_norm_factors f = {.mean = j->zeros, .scale = j->scale, .offset = j->offset};
    j->pixels.kernels->norm_apply(&block, t.to, &f, t.to);
}

/* Add the sums of grad_y and of grad_y * h over the pixels of a tile to those of a part. */
static void sum_pixels(const job *j, const tile *t, const desk *d, double *grad_bias, double *grad_weight) {
    const fc_moments *m = &j->pixels;
    fc_norm_block block = block_of(t->rows, m->c, j->tile_walk, m->grad_y_walk, j->tile_walk);
    block.chains = d->scratch;
    const fc_norm_factors zeros = {.mean = j->zeros};
    m->kernels->norm_products(&block, d->normal, t->grad_y, &zeros, d->sum, d->product);
    for (int64_t c = 0; c < m->c; c++) {
        const int wide = m->kernels->element_size == sizeof(double);
        grad_bias[c] += wide ? ((double *)(void *)d->sum)[c] : (double)((float *)(void *)d->sum)[c];
        grad_weight[c] += wide ? ((double *)(void *)d->product)[c] : (double)((float *)(void *)d->product)[c];
    }
}

/* t = grad_y * weight; returns where it is. */
static const char *slant(const job *j, const tile *t, const desk *d, fc_norm_walk *walk) {
    *walk = j->pixels.grad_y_walk;
    if (j->weight == NULL) return t->grad_y;
    const fc_norm_block block = block_of(t->rows, j->g->c, *walk, *walk, j->tile_walk);
    const fc_norm_factors f = {.mean = j->zeros, .scale = j->scale, .offset = j->zeros};
    j->pixels.kernels->norm_apply(&block, t->grad_y, &f, d->slanted);
    *walk = j->tile_walk;
    return d->slanted;
}

static void input_gradient(const job *j, const tile *t, const desk *d) {
    fc_norm_walk walk;
    const char *slanted = slant(j, t, d, &walk);
    fc_moments m = j->channels;
    const int64_t size = m.kernels->element_size;
    m.x_walk = turned(j->tile_walk), m.grad_y_walk = turned(walk);
    m.factors = (fc_norm_factors){.mean = j->zeros, .scale = j->zeros, .offset = j->zeros};
    for (int64_t row = 0; row < t->rows; row += ROWS) {
        const int64_t rows = FC_MIN(ROWS, t->rows - row);
        m.x = d->normal + row * m.x_walk.column * size;
        m.grad_y = slanted + row * m.grad_y_walk.column * size;
        sum_rows(&m, d, rows);
        for (int64_t i = 0; i < rows; i++) {
            double sum, product;
            const double count = fc_moments_total(&m, d->first + i, d->second + i, ROWS, &sum, &product);
            const double inverse = size == sizeof(float) ? (double)((float *)(void *)d->inverse)[row + i]
                                                         : ((double *)(void *)d->inverse)[row + i];
            fc_norm_put(&m, d->slope, row + i, -inverse * product / count);
            fc_norm_put(&m, d->constant, row + i, -inverse * sum / count);
        }
    }
    const fc_norm_block block = block_of(j->g->c, t->rows, m.x_walk, m.grad_y_walk, turned(j->target.walk));
    const fc_norm_factors f = {.mean = j->zeros, .scale = d->inverse, .slope = d->slope, .constant = d->constant};
    m.kernels->norm_gradient(&block, d->normal, slanted, &f, t->to);
}

/* One part of the sums, tile by tile. */
static void backward_task(void *context, int64_t part, int worker) {
    const job *j = context;
    const int64_t c = j->g->c, each = fc_ceil_div(j->tiles, j->parts);
    const desk d = desk_of(j, worker);
    double *grad_weight = j->grad_weight + part * c, *grad_bias = j->grad_bias + part * c;
    memset(grad_weight, 0, (size_t)c * sizeof(double));
    memset(grad_bias, 0, (size_t)c * sizeof(double));
    for (int64_t index = part * each; index < FC_MIN(j->tiles, (part + 1) * each); index++) {
        const tile t = tile_at(j, index);
        take_statistics(j, &t, &d);
        normalize(j, &t, &d, j->tile_walk, d.normal);
        sum_pixels(j, &t, &d, grad_bias, grad_weight);
        if (t.to != NULL) input_gradient(j, &t, &d);
    }
}

/* ---------------------------------------------------------------- entry points */

static fc_status prepare(job *j, const fc_array *x, const fc_array *grad_y, const fc_array *to) {
    const fc_layer_norm *g = j->g;
    const int64_t sizes[3] = {g->n, g->pixels, g->c};
    const fc_status status = fc_norm_set_up(&j->pixels, &j->target, sizes, 1, x, grad_y, to);
    if (status != FC_OK) return status;
    const fc_moments *m = &j->pixels;
    j->rows = FC_MAX(1, FC_MIN(m->pixels, TILE / m->c));
    /* adjacent is what is adjacent in x, and nothing else, also where an axis has one element */
    j->tile_walk = m->x_walk.pixel == 1 ? (fc_norm_walk){.pixel = 1, .column = FC_MAX(2, j->rows)}
                                        : (fc_norm_walk){.pixel = FC_MAX(2, m->c), .column = 1};
    j->per_image = fc_ceil_div(m->pixels, j->rows);
    j->tiles = m->n * j->per_image;
    j->parts = FC_MIN(FC_MAX(1, j->tiles), FC_MAX(2, FC_MIN(FC_NORM_PARTS, MOST_SUMS / m->c)));
    j->channels = (fc_moments){.kernels = m->kernels, .n = 1, .pixels = m->c, .c = ROWS, .x_walk = turned(m->x_walk)};
    fc_moments_cut(&j->channels);
    return FC_OK;
}

/* Memory, and in it weight, bias and zeros as the kernels want them; NULL when it cannot be had. */
static char *take_scratch(job *j, int threads) {
    const size_t size = (size_t)j->pixels.kernels->element_size, c = (size_t)j->g->c;
    const size_t longer = FC_MAX(c, (size_t)j->rows) * size;
    const size_t sums = j->pixels.grad_y == NULL ? 0 : (size_t)j->parts * c * sizeof(double);
    size_t end = 0, at[6], unused[DESK_ARRAYS];
    const size_t bytes[6] = {c * size, c * size, longer, sums, sums, (size_t)threads * place_desk(j, unused)};
    for (int i = 0; i < 6; i++) at[i] = fc_set_aside(&end, bytes[i]);
    char *scratch = fc_scratch_take(end);
    if (scratch == NULL) return NULL;
    j->scale = scratch + at[0], j->offset = scratch + at[1], j->zeros = scratch + at[2], j->desks = scratch + at[5];
    j->grad_weight = (double *)(void *)(scratch + at[3]), j->grad_bias = (double *)(void *)(scratch + at[4]);
    memset(j->zeros, 0, longer);
    for (int64_t k = 0; k < j->g->c; k++) {
        fc_norm_put(&j->pixels, j->scale, k, fc_norm_parameter(j->weight, k, 1));
        fc_norm_put(&j->pixels, j->offset, k, fc_norm_parameter(j->bias, k, 0));
    }
    return scratch;
}

fc_status fc_layer_norm_forward(const fc_layer_norm *g, const fc_array *x, const fc_array *weight,
                                const fc_array *bias, const fc_array *y) {
    job j = {.g = g, .weight = weight, .bias = bias};
    fc_status status = prepare(&j, x, NULL, y);
    if (status != FC_OK || g->n == 0) return status;
    const int threads = fc_threads_for(j.tiles, fc_norm_work(&j.pixels));
    char *scratch = take_scratch(&j, threads);
    if (scratch == NULL) return FC_NO_MEMORY;
    status = fc_parallel_for(j.tiles, threads, forward_task, &j);
    fc_scratch_give_back(scratch);
    return status;
}

fc_status fc_layer_norm_backward(const fc_layer_norm *g, const fc_array *grad_y, const fc_array *x,
                                 const fc_array *weight, const fc_array *grad_x, double *grad_weight,
                                 double *grad_bias) {
    job j = {.g = g, .weight = weight};
    fc_status status = prepare(&j, x, grad_y, grad_x);
    if (status != FC_OK) return status;
    for (int64_t c = 0; c < g->c; c++) grad_weight[c] = grad_bias[c] = 0;
    if (g->n == 0) return FC_OK;
    const int threads = fc_threads_for(j.parts, fc_norm_work(&j.pixels));
    char *scratch = take_scratch(&j, threads);
    if (scratch == NULL) return FC_NO_MEMORY;
    status = fc_parallel_for(j.parts, threads, backward_task, &j);
    for (int64_t i = 0; i < j.parts * g->c && status == FC_OK; i++) {
        grad_weight[i % g->c] += j.grad_weight[i];
        grad_bias[i % g->c] += j.grad_bias[i];
    }
    fc_scratch_give_back(scratch);
    return status;
}
