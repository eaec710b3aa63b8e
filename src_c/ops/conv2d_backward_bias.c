/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradient of the bias: the sum of grad_y over all pixels, filter by filter. Chunks of FC_PIXEL_CHAIN pixels are
 * summed by the column_sum kernel, their sums in double precision, in order, within a fixed number of parts whose
 * sums are joined in order. Pixels are counted through images and rows alike, and copied side by side where they do not
 * lie evenly: the bits depend neither on threads nor on strides. */
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/element.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "blocking.h"
#include "conv2d_algorithms.h"

enum { PARTS = 16, FILTERS = 64 /* summed at a time; a chunk that must be copied first is this wide */ };

typedef struct job {
    fc_reader grad_y;
    int64_t pixels, p, q, k;
    int64_t chunks, parts, chunks_per_part;
    int even;     /* pixels lie at one distance throughout ... */
    ptrdiff_t step; /* ... this one */
    double *sums; /* [parts][k] */
    char *workers;
    size_t worker_bytes;
} job;

/* Whether all pixels of all images lie at one distance, and at which. An axis of one element has any. */
static void find_step(job *j, int64_t n) {
    const int64_t *stride = j->grad_y.array.stride;
    j->step = j->q > 1 ? stride[2] : j->p > 1 ? stride[1] : stride[0];
    j->even = j->grad_y.array.depth == NULL && (j->p == 1 || stride[1] == j->q * j->step) &&
              (n == 1 || stride[0] == j->p * j->q * j->step);
}

static const char *element(const job *j, int64_t pixel, int64_t k) {
    const fc_array *a = &j->grad_y.array;
    const int64_t row = pixel / j->q;
    const int64_t at = fc_image_at(a, row / j->p) + fc_at(a->stride, 0, row % j->p, pixel % j->q, k);
    return (const char *)a->data + at * (int64_t)fc_dtype_size(a->dtype);
}

/* Pixels [pixel, pixel + count), filters [k, k + filters) side by side. */
static void gather(const job *j, int64_t pixel, int64_t count, int64_t k, int64_t filters, char *dst) {
    const int64_t *stride = j->grad_y.array.stride;
    for (int64_t done = 0; done < count;) {
        const int64_t piece = FC_MIN(count - done, j->q - (pixel + done) % j->q); /* to the end of the row */
        fc_copy_as(&j->grad_y, piece, filters, element(j, pixel + done, k), stride[2], stride[3],
                   dst + (size_t)(done * filters) * fc_dtype_size(j->grad_y.to), filters, 1);
        done += piece;
    }
}

static void sum_chunk(const job *j, int64_t chunk, char *memory, double *sums) {
    const int64_t pixel = chunk * FC_PIXEL_CHAIN, count = FC_MIN(FC_PIXEL_CHAIN, j->pixels - pixel);
    const int in_place = j->even && j->grad_y.array.stride[3] == 1 && j->grad_y.array.dtype == j->grad_y.to;
    for (int64_t k = 0; k < j->k; k += FILTERS) {
        const int64_t filters = FC_MIN(FILTERS, j->k - k);
        double chunk_sums[FILTERS]; /* large enough for either type */
        if (!in_place) gather(j, pixel, count, k, filters, memory);
        j->grad_y.kernels->column_sum(count, filters, in_place ? element(j, pixel, k) : memory,
                                      in_place ? j->step : filters, chunk_sums);
        const fc_array view = {.data = chunk_sums, .dtype = j->grad_y.to};
        for (int64_t i = 0; i < filters; i++) sums[k + i] += fc_get(&view, i);
    }
}

static void sum_part(void *context, int64_t part, int worker) {
    const job *j = context;
    double *sums = j->sums + part * j->k;
    memset(sums, 0, (size_t)j->k * sizeof(double));
    const int64_t end = FC_MIN(j->chunks, (part + 1) * j->chunks_per_part);
    for (int64_t chunk = part * j->chunks_per_part; chunk < end; chunk++)
        sum_chunk(j, chunk, j->workers + (size_t)worker * j->worker_bytes, sums);
}

static void join_parts(const job *j, const fc_array *grad_bias) {
    for (int64_t k = 0; k < j->k; k++) {
        double sum = 0;
        for (int64_t part = 0; part < j->parts; part++) sum += j->sums[part * j->k + k];
        fc_put(grad_bias, k * grad_bias->stride[3], sum);
    }
}

fc_status fc_conv2d_backward_bias(const fc_conv2d *g, const fc_array *grad_y, const fc_array *grad_bias) {
    const fc_array images = fc_images_of(grad_y);
    return fc_backward_bias(g, &images, grad_bias);
}

fc_status fc_backward_bias(const fc_conv2d *g, const fc_array *grad_y, const fc_array *grad_bias) {
    if (!fc_is_compute_type(grad_bias->dtype)) return FC_BAD_DTYPE;
    job j = {.pixels = g->n * g->p * g->q, .p = g->p, .q = g->q, .k = g->k};
    j.grad_y = (fc_reader){.array = *grad_y, .to = grad_bias->dtype, .kernels = fc_kernels_for(grad_bias->dtype)};
    find_step(&j, g->n);
    j.chunks = fc_ceil_div(j.pixels, FC_PIXEL_CHAIN);
    j.parts = FC_MAX(1, FC_MIN(PARTS, j.chunks));
    j.chunks_per_part = fc_ceil_div(j.chunks, j.parts);
    const int threads = fc_threads_for(j.parts, FC_NUMBER_WORK * (double)j.pixels * (double)g->k);
    const size_t sums_bytes = FC_ALIGN_UP((size_t)(j.parts * j.k) * sizeof(double));
    j.worker_bytes = FILTERS * FC_PIXEL_CHAIN * sizeof(double);
    char *scratch = fc_scratch_take(sums_bytes + (size_t)threads * j.worker_bytes);
    if (scratch == NULL) return FC_NO_MEMORY;
    j.sums = (double *)(void *)scratch;
    j.workers = scratch + sums_bytes;
    const fc_status status = fc_parallel_for(j.parts, threads, sum_part, &j);
    if (status == FC_OK) join_parts(&j, grad_bias);
    fc_scratch_give_back(scratch);
    return status;
}
