/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Softmax along any axis, and the loss of a classifier. Each row of classes is one thread's, in the same order wherever
 * it lies: rows whose numbers are not adjacent are brought together first, a few at a time. */
#include <math.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "../isa/dispatch.h"
#include "blocking.h"

enum {
    TASK_NUMBERS = 1 << 13,
    TOGETHER = 16, /* rows, at most: a cache line of float32 neighbours */
    SCRATCH = 1 << 19, /* bytes of an array's rows that are brought together, unless one row has more */
    WORK = 48      /* multiply-adds that a number is worth */
};

typedef struct array {
    char *data;
    int64_t stride[3];
} array;

typedef struct job {
    const fc_kernels *kernels;
    fc_softmax g;
    array x, grad_y, y; /* of a gradient: the result, the gradient, and what is written */
    int64_t task_rows;  /* rows along `inner` that are one task's; the last of an `outer` has fewer */
    int64_t together;   /* rows that are brought together; 0: none need be */
    char *scratch;      /* per worker, one or two arrays [together][classes] */
    size_t worker_bytes;
} job;

static char *row_of(const job *j, const array *a, int64_t outer, int64_t inner) {
    return a->data + (outer * a->stride[0] + inner * a->stride[2]) * j->kernels->element_size;
}

static void run_row(const job *j, const void *x, const void *grad_y, void *y) {
    const int64_t classes = j->g.classes;
    if (grad_y != NULL) {
        j->kernels->softmax_backward(j->g.logarithm, classes, grad_y, x, y);
        return;
    }
    double most;
    const double sum = j->kernels->softmax_sum(classes, x, j->g.logarithm ? NULL : y, &most);
    if (j->g.logarithm) j->kernels->softmax_finish(1, classes, x, most, log(sum), y);
    else j->kernels->softmax_finish(0, classes, y, most, 1 / sum, y);
}

/* Rows from `inner` on, through scratch memory. */
static void run_together(const job *j, int64_t outer, int64_t inner, int64_t rows, char *scratch) {
    const int64_t classes = j->g.classes, size = j->kernels->element_size;
    const array *arrays[] = {&j->x, &j->grad_y};
    char *at[] = {scratch, scratch + j->together * classes * size};
    for (int i = 0; i < 2; i++)
        if (arrays[i]->data != NULL)
            j->kernels->copy(rows, classes, row_of(j, arrays[i], outer, inner), arrays[i]->stride[2],
                             arrays[i]->stride[1], at[i], classes, 1);
    for (int64_t r = 0; r < rows; r++) {
        char *x = at[0] + r * classes * size;
        run_row(j, x, j->grad_y.data == NULL ? NULL : at[1] + r * classes * size, x);
    }
    j->kernels->copy(rows, classes, at[0], classes, 1, row_of(j, &j->y, outer, inner), j->y.stride[2], j->y.stride[1]);
}

static void run_task(void *context, int64_t index, int worker) {
    const job *j = context;
    const int64_t end = FC_MIN((index + 1) * j->task_rows, j->g.outer * j->g.inner);
    for (int64_t row = index * j->task_rows; row < end;) {
        const int64_t outer = row / j->g.inner, inner = row % j->g.inner;
        if (j->together > 0) {
            const int64_t rows = FC_MIN(FC_MIN(j->together, end - row), j->g.inner - inner);
            run_together(j, outer, inner, rows, j->scratch + (size_t)worker * j->worker_bytes);
            row += rows;
            continue;
        }
        const char *grad_y = j->grad_y.data == NULL ? NULL : row_of(j, &j->grad_y, outer, inner);
        run_row(j, row_of(j, &j->x, outer, inner), grad_y, row_of(j, &j->y, outer, inner));
        row++;
    }
}

static int has_adjacent_classes(const job *j) {
    return j->x.stride[1] == 1 && j->y.stride[1] == 1 && (j->grad_y.data == NULL || j->grad_y.stride[1] == 1);
}

static int64_t rows_together(const job *j) {
    if (has_adjacent_classes(j)) return 0;
    const double row = (double)j->g.classes * j->kernels->element_size;
    return FC_MAX(1, FC_MIN(FC_MIN(TOGETHER, j->g.inner), (int64_t)(SCRATCH / row)));
}

/* Nothing is taken, and that is no error, where no rows are brought together. */
static fc_status take_scratch(job *j, int threads) {
    if (j->together == 0) return FC_OK;
    const int64_t arrays = j->grad_y.data == NULL ? 1 : 2, size = j->kernels->element_size;
    const double bytes = (double)(arrays * j->together * size) * (double)j->g.classes;
    if (bytes * threads > (double)PTRDIFF_MAX / 2) return FC_NO_MEMORY;
    j->worker_bytes = FC_ALIGN_UP((size_t)(arrays * j->together * size * j->g.classes));
    j->scratch = fc_scratch_take(j->worker_bytes * (size_t)threads);
    return j->scratch == NULL ? FC_NO_MEMORY : FC_OK;
}

static fc_status run(job *j, fc_dtype dtype) {
    if (!fc_is_compute_type(dtype)) return FC_BAD_DTYPE;
    const int64_t rows = j->g.outer * j->g.inner, classes = j->g.classes;
    if (rows == 0 || classes == 0) return FC_OK;
    j->kernels = fc_kernels_for(dtype);
    j->task_rows = FC_MAX(1, TASK_NUMBERS / classes);
    j->together = rows_together(j);
    if (j->together > 0) j->task_rows = fc_ceil_div(j->task_rows, j->together) * j->together;
    const int64_t tasks = fc_ceil_div(rows, j->task_rows);
    const int threads = fc_threads_for(tasks, (double)WORK * (double)rows * (double)classes);
    fc_status status = take_scratch(j, threads);
    if (status != FC_OK) return status;
    status = fc_parallel_for(tasks, threads, run_task, j);
    if (j->scratch != NULL) fc_scratch_give_back(j->scratch);
    return status;
}

static array array_of(const void *data, const int64_t stride[3]) {
    return (array){.data = (char *)(uintptr_t)data, .stride = {stride[0], stride[1], stride[2]}};
}

fc_status fc_softmax_forward(const fc_softmax *g, fc_dtype dtype, const void *x, const int64_t x_stride[3], void *y,
                             const int64_t y_stride[3]) {
    job j = {.g = *g, .x = array_of(x, x_stride), .y = array_of(y, y_stride)};
    return run(&j, dtype);
}

fc_status fc_softmax_backward(const fc_softmax *g, fc_dtype dtype, const void *grad_y, const int64_t grad_y_stride[3],
                              const void *y, const int64_t y_stride[3], void *grad_x, const int64_t grad_x_stride[3]) {
    job j = {.g = *g, .x = array_of(y, y_stride), .grad_y = array_of(grad_y, grad_y_stride),
             .y = array_of(grad_x, grad_x_stride)};
    return run(&j, dtype);
}

/* ---------------------------------------------------------------- cross-entropy */

/* One row: gradient of the mean over `rows` rows, and the row's loss. */
static double cross_entropy_row(const fc_kernels *kernels, int64_t classes, const void *x, int64_t label, double rows,
                                void *grad) {
    double most;
    const double sum = kernels->softmax_sum(classes, x, grad, &most);
    const int single = kernels->element_size == sizeof(float);
    const double labelled = single ? (double)((const float *)x)[label] : ((const double *)x)[label];
    const double share = (single ? (double)((const float *)grad)[label] : ((const double *)grad)[label]) / sum;
    kernels->softmax_finish(0, classes, grad, most, 1 / (sum * rows), grad);
    if (single) ((float *)grad)[label] = (float)((share - 1) / rows);
    else ((double *)grad)[label] = (share - 1) / rows;
    return log(sum) - (labelled - most);
}

fc_status fc_cross_entropy(fc_dtype dtype, int64_t rows, int64_t classes, const void *logits, const int64_t *labels,
                           void *grad, double *loss) {
    if (!fc_is_compute_type(dtype)) return FC_BAD_DTYPE;
    if (rows < 1 || classes < 1) return FC_BAD_SIZE;
    for (int64_t n = 0; n < rows; n++)
        if (labels[n] < 0 || labels[n] >= classes) return FC_BAD_INDEX;
    const fc_kernels *kernels = fc_kernels_for(dtype);
    double sum = 0;
    for (int64_t n = 0; n < rows; n++) {
        /* another thread may have changed a label since */
        const int64_t at = n * classes * kernels->element_size, label = FC_MAX(0, FC_MIN(classes - 1, labels[n]));
        sum += cross_entropy_row(kernels, classes, (const char *)logits + at, label, (double)rows, (char *)grad + at);
    }
    *loss = sum / (double)rows;
    return FC_OK;
}
