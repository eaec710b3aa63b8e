/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The rest of a training step: sums of branches and the update of the parameters, each in one pass. Numbers do not
 * meet, so the bits depend on no thread; the squares of the gradients are summed in parts that depend on their
 * number. */
#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/threads.h"
#include "../isa/dispatch.h"
#include "activation.h"
#include "blocking.h"

enum {
    TASK_NUMBERS = 1 << 15, /* 128 KiB an array */
    PARTS = 64,             /* of a sum of squares, at most; ... */
    LEAST_PART = 1 << 12    /* ... of a multiple of so many numbers */
};

typedef struct job {
    const fc_kernels *kernels;
    int64_t count;
    fc_epilogue epilogue;
    fc_sgd_factors sgd;
    fc_adam_factors adam;
    fc_rmsprop_factors rmsprop;
    char *a, *c, *d;
    const char *b;
    void (*run)(const struct job *j, int64_t first, int64_t count);
} job;

static void run_task(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const int64_t first = index * TASK_NUMBERS;
    j->run(j, first * j->kernels->element_size, FC_MIN(TASK_NUMBERS, j->count - first));
}

static fc_status run_all(job *j) {
    const int64_t tasks = fc_ceil_div(j->count, TASK_NUMBERS);
    if (tasks == 0) return FC_OK;
    return fc_parallel_for(tasks, fc_threads_for(tasks, FC_NUMBER_WORK * (double)j->count), run_task, j);
}

static void run_sum(const job *j, int64_t at, int64_t count) {
    j->kernels->sum(j->epilogue, count, j->b + at, j->c + at, j->a + at);
}

fc_status fc_add(fc_activation activation, fc_dtype dtype, int64_t count, const void *a, const void *b, void *y) {
    if (!fc_is_compute_type(dtype)) return FC_BAD_DTYPE;
    if (activation != FC_NONE && fc_epilogue_of(activation) == FC_EPILOGUE_NONE) return FC_BAD_ALGORITHM;
    job j = {.kernels = fc_kernels_for(dtype), .count = count, .a = y, .b = a, .c = (char *)(uintptr_t)b,
             .epilogue = fc_epilogue_of(activation), .run = run_sum};
    return run_all(&j);
}
static fc_clip clip_of(const fc_clip *clip) { return clip == NULL ? (fc_clip){.factor = 1} : *clip; }

static void run_sgd(const job *j, int64_t at, int64_t count) {
    j->kernels->sgd(&j->sgd, count, j->a + at, j->b + at, j->c == NULL ? NULL : j->c + at);
}

fc_status fc_sgd_step(fc_dtype dtype, int64_t count, void *parameters, const void *gradients, void *velocity,
                      double rate, double momentum, double decay, int nesterov, double least, const fc_clip *clip) {
    if (!fc_is_compute_type(dtype)) return FC_BAD_DTYPE;
    job j = {.kernels = fc_kernels_for(dtype), .count = count, .a = parameters, .b = gradients, .c = velocity,
             .run = run_sgd};
    j.sgd = (fc_sgd_factors){.rate = rate, .momentum = velocity == NULL ? 0 : momentum, .decay = decay,
                             .nesterov = nesterov, .least = least, .clip = clip_of(clip)};
    return run_all(&j);
}

static void run_adam(const job *j, int64_t at, int64_t count) {
    j->kernels->adam(&j->adam, count, j->a + at, j->b + at, j->c + at, j->d + at);
}

fc_status fc_adam_step(fc_dtype dtype, int64_t count, void *parameters, const void *gradients, void *m, void *v,
                       double scale, double beta1, double beta2, double epsilon, double decay, double keep,
                       double least, const fc_clip *clip) {
    if (!fc_is_compute_type(dtype)) return FC_BAD_DTYPE;
    job j = {.kernels = fc_kernels_for(dtype), .count = count, .a = parameters, .b = gradients, .c = m, .d = v,
             .run = run_adam};
    j.adam = (fc_adam_factors){.scale = scale, .beta1 = beta1, .beta2 = beta2, .epsilon = epsilon, .decay = decay,
                               .keep = keep, .least = least, .clip = clip_of(clip)};
    return run_all(&j);
}

static void run_rmsprop(const job *j, int64_t at, int64_t count) {
    j->kernels->rmsprop(&j->rmsprop, count, j->a + at, j->b + at, j->c + at, j->d == NULL ? NULL : j->d + at);
}

fc_status fc_rmsprop_step(fc_dtype dtype, int64_t count, void *parameters, const void *gradients, void *squares,
                          void *velocity, double scale, double alpha, double epsilon, double momentum, double decay,
                          double least, const fc_clip *clip) {
    if (!fc_is_compute_type(dtype)) return FC_BAD_DTYPE;
    job j = {.kernels = fc_kernels_for(dtype), .count = count, .a = parameters, .b = gradients, .c = squares,
             .d = velocity, .run = run_rmsprop};
    j.rmsprop = (fc_rmsprop_factors){.scale = scale, .alpha = alpha, .epsilon = epsilon,
                                     .momentum = velocity == NULL ? 0 : momentum, .decay = decay, .least = least,
                                     .clip = clip_of(clip)};
    return run_all(&j);
}

/* ---------------------------------------------------------------- sum of squares */

typedef struct sum_job {
    const fc_kernels *kernels;
    int64_t count, part; /* numbers of a part */
    const char *x;
    double sums[PARTS];
} sum_job;

static void sum_part(void *context, int64_t index, int worker) {
    (void)worker;
    sum_job *j = context;
    const int64_t first = index * j->part, count = FC_MIN(j->part, j->count - first);
    j->sums[index] = j->kernels->square_sum(count, j->x + first * j->kernels->element_size);
}

fc_status fc_square_sum(fc_dtype dtype, int64_t count, const void *x, double *sum) {
    if (!fc_is_compute_type(dtype)) return FC_BAD_DTYPE;
    sum_job j = {.kernels = fc_kernels_for(dtype), .count = count, .x = x};
    j.part = FC_MAX(1, fc_ceil_div(fc_ceil_div(count, PARTS), LEAST_PART)) * LEAST_PART;
    const int64_t parts = fc_ceil_div(count, j.part);
    const fc_status status =
        parts == 0 ? FC_OK : fc_parallel_for(parts, fc_threads_for(parts, (double)count), sum_part, &j);
    double total = 0;
    for (int64_t part = 0; part < parts; part++) total += j.sums[part];
    if (status == FC_OK) *sum = total;
    return status;
}
