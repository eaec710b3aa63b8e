/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Local response normalisation: x over a power of the squares of its neighbours among the channels of the same pixel
 * (Krizhevsky, Sutskever and Hinton, 2012), in PyTorch's formula. With y[c] = x[c] / d[c]^beta its gradient is
 *
 *   grad_x[c] = grad_y[c] / d[c]^beta - 2 * alpha/size * beta * x[c] * sum of grad_y[j] * y[j] / d[j]
 *
 * over the channels j whose windows contain c. A task does a tile of pixels and all channels: the terms of those sums
 * are set aside and are still in the cache when their neighbours read them. */
#include "../base/compiler.h"
#include "../base/scratch.h"
#include "blocking.h"
#include "norm_pass.h"

enum {
    TILE = 1 << 13, /* numbers of a tile */
    FEWEST = 64     /* pixels of one, unless there are fewer: runs of adjacent pixels */
};

typedef struct job {
    fc_moments arrays;
    fc_norm_target target;
    fc_response_block block;
    int64_t pixels, per_image; /* of a tile; tiles of an image */
    char *terms;               /* of each worker */
    size_t terms_bytes;
} job;

static void tile_task(void *context, int64_t index, int worker) {
    const job *j = context;
    const fc_moments *m = &j->arrays;
    const int64_t n = index / j->per_image, pixel = index % j->per_image * j->pixels, size = m->kernels->element_size;
    fc_response_block block = j->block;
    block.pixels = FC_MIN(j->pixels, m->pixels - pixel);
    const char *x = m->x + (n * m->x_walk.image + pixel * m->x_walk.pixel) * size;
    char *to = j->target.to + (n * j->target.walk.image + pixel * j->target.walk.pixel) * size;
    if (m->grad_y == NULL) {
        m->kernels->response(&block, x, to);
        return;
    }
    char *terms = j->terms + (size_t)worker * j->terms_bytes;
    const char *grad_y = m->grad_y + (n * m->grad_y_walk.image + pixel * m->grad_y_walk.pixel) * size;
    m->kernels->response_terms(&block, x, grad_y, to, terms);
    m->kernels->response_gradient(&block, x, terms, to);
}

static int quarters_of(double beta) {
    const double quarters = 4 * beta;
    return quarters >= 0 && quarters <= 8 && quarters == (double)(int)quarters ? (int)quarters : -1;
}

static fc_status prepare(job *j, const fc_local_response_norm *g, const fc_array *x, const fc_array *grad_y,
                         const fc_array *to) {
    if (g->size < 1) return FC_BAD_SIZE;
    const int64_t sizes[3] = {g->n, g->pixels, g->c};
    const fc_status status = fc_norm_set_up(&j->arrays, &j->target, sizes, 1, x, grad_y, to);
    if (status != FC_OK) return status;
    const fc_moments *m = &j->arrays;
    j->pixels = FC_MIN(m->pixels, FC_MAX(FEWEST, TILE / m->c));
    j->per_image = fc_ceil_div(m->pixels, j->pixels);
    j->block = (fc_response_block){
        .columns = m->c, .x = m->x_walk, .grad_y = m->grad_y_walk, .to = j->target.walk,
        /* no window is wider than all channels on either side */
        .before = FC_MIN(m->c, g->size / 2), .after = FC_MIN(m->c, (g->size - 1) / 2),
        .factor = g->alpha / (double)g->size, .beta = g->beta, .k = g->k, .quarters = quarters_of(g->beta)};
    j->block.terms = m->x_walk.pixel == 1 ? (fc_norm_walk){.pixel = 1, .column = j->pixels}
                                          : (fc_norm_walk){.pixel = m->c, .column = 1};
    return FC_OK;
}

static fc_status run(job *j) {
    const fc_moments *m = &j->arrays;
    const int64_t tasks = m->n * j->per_image;
    const int threads = fc_threads_for(tasks, fc_norm_work(m));
    if (tasks == 0) return FC_OK;
    if (m->grad_y == NULL) return fc_parallel_for(tasks, threads, tile_task, j);
    j->terms_bytes = FC_ALIGN_UP((size_t)j->pixels * (size_t)m->c * (size_t)m->kernels->element_size);
    j->terms = fc_scratch_take((size_t)threads * j->terms_bytes);
    if (j->terms == NULL) return FC_NO_MEMORY;
    const fc_status status = fc_parallel_for(tasks, threads, tile_task, j);
    fc_scratch_give_back(j->terms);
    return status;
}

fc_status fc_local_response_norm_forward(const fc_local_response_norm *g, const fc_array *x, const fc_array *y) {
    job j = {0};
    const fc_status status = prepare(&j, g, x, NULL, y);
    return status == FC_OK ? run(&j) : status;
}

fc_status fc_local_response_norm_backward(const fc_local_response_norm *g, const fc_array *grad_y, const fc_array *x,
                                          const fc_array *grad_x) {
    job j = {0};
    const fc_status status = prepare(&j, g, x, grad_y, grad_x);
    return status == FC_OK ? run(&j) : status;
}
