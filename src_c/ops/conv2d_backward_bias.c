/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradient of the bias: the sum of grad_y over all pixels, filter by filter. Lines of at most FC_PIXEL_CHAIN
 * pixels are summed by the column_sum kernel, their sums in double precision, in order, within a fixed number of
 * parts whose sums are joined in order: the bits do not depend on the number of threads. */
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/element.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "blocking.h"

enum { PARTS = 16, FILTERS = 64 /* summed at a time; a line of grad_y that must be copied first is this wide */ };

typedef struct job {
    fc_reader grad_y;
    int64_t n, p, q, k;
    int64_t pieces, lines, parts, lines_per_part; /* a row of pixels has `pieces` lines */
    double *sums;                                 /* [parts][k] */
    char *workers;
    size_t worker_bytes;
} job;

/* Rows that follow one another at the same distance as their pixels are one longer row. */
static void join_rows(job *j) {
    int64_t *stride = j->grad_y.array.stride;
    if (j->p == 1 || stride[1] == j->q * stride[2] || j->q == 1) {
        if (j->q == 1) stride[2] = stride[1];
        j->q *= j->p;
        j->p = 1;
    }
    if (j->p == 1 && (j->n == 1 || stride[0] == j->q * stride[2] || j->q == 1)) {
        if (j->q == 1) stride[2] = stride[0];
        j->q *= j->n;
        j->n = 1;
    }
}

static void sum_line(const job *j, int64_t line, char *memory, double *sums) {
    const fc_array *a = &j->grad_y.array;
    const int64_t row = line / j->pieces, q = line % j->pieces * FC_PIXEL_CHAIN;
    const int64_t pixels = FC_MIN(FC_PIXEL_CHAIN, j->q - q);
    for (int64_t k = 0; k < j->k; k += FILTERS) {
        const int64_t filters = FC_MIN(FILTERS, j->k - k);
        const int64_t at = fc_at(a->stride, row / j->p, row % j->p, q, k);
        const void *src = (const char *)a->data + at * (int64_t)fc_dtype_size(a->dtype);
        ptrdiff_t step = a->stride[2];
        if (a->dtype != j->grad_y.to || a->stride[3] != 1) {
            fc_copy_as(&j->grad_y, pixels, filters, src, a->stride[2], a->stride[3], memory, filters, 1);
            src = memory;
            step = filters;
        }
        double line_sums[FILTERS]; /* large enough for either type */
        j->grad_y.kernels->column_sum(pixels, filters, src, step, line_sums);
        const fc_array sums_of_line = {.data = line_sums, .dtype = j->grad_y.to};
        for (int64_t i = 0; i < filters; i++) sums[k + i] += fc_get(&sums_of_line, i);
    }
}

static void sum_part(void *context, int64_t part, int worker) {
    const job *j = context;
    double *sums = j->sums + part * j->k;
    memset(sums, 0, (size_t)j->k * sizeof(double));
    const int64_t end = FC_MIN(j->lines, (part + 1) * j->lines_per_part);
    for (int64_t line = part * j->lines_per_part; line < end; line++)
        sum_line(j, line, j->workers + (size_t)worker * j->worker_bytes, sums);
}

static void join_parts(const job *j, const fc_array *grad_bias) {
    for (int64_t k = 0; k < j->k; k++) {
        double sum = 0;
        for (int64_t part = 0; part < j->parts; part++) sum += j->sums[part * j->k + k];
        fc_put(grad_bias, k * grad_bias->stride[3], sum);
    }
}

fc_status fc_conv2d_backward_bias(const fc_conv2d *g, const fc_array *grad_y, const fc_array *grad_bias) {
    if (!fc_is_compute_type(grad_bias->dtype)) return FC_BAD_DTYPE;
    job j = {.n = g->n, .p = g->p, .q = g->q, .k = g->k};
    j.grad_y = (fc_reader){.array = *grad_y, .to = grad_bias->dtype, .kernels = fc_kernels_for(grad_bias->dtype)};
    if (g->n > 0) join_rows(&j);
    j.pieces = fc_ceil_div(j.q, FC_PIXEL_CHAIN);
    j.lines = j.n * j.p * j.pieces;
    j.parts = FC_MAX(1, FC_MIN(PARTS, j.lines));
    j.lines_per_part = fc_ceil_div(j.lines, j.parts);
    const int threads = fc_threads_for(j.parts, (double)g->n * (double)g->p * (double)g->q * (double)g->k);
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
