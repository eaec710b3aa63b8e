/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The rest of a training step: gradients of activations, the loss of a classifier, the update of the parameters, each
 * in one pass. Numbers do not meet, so the bits depend on no thread; the loss is summed by one. */
#include <math.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/threads.h"
#include "../isa/dispatch.h"
#include "blocking.h"

enum { TASK_NUMBERS = 1 << 15 }; /* 128 KiB an array */

typedef struct job {
    const fc_kernels *kernels;
    int64_t count;
    fc_slope slope;
    fc_sgd_factors sgd;
    fc_adam_factors adam;
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

static void run_activation(const job *j, int64_t at, int64_t count) {
    j->kernels->activation_backward(j->slope, count, j->b + at, j->c + at, j->a + at);
}

fc_status fc_activation_backward(fc_activation activation, fc_dtype dtype, int64_t count, const void *grad_y,
                                 const void *y, void *grad_x) {
    if (!fc_is_compute_type(dtype)) return FC_BAD_DTYPE;
    job j = {.kernels = fc_kernels_for(dtype), .count = count, .a = grad_x, .b = grad_y,
             .c = (char *)(uintptr_t)y, .run = run_activation};
    switch (activation) {
        case FC_RELU: j.slope = FC_SLOPE_RELU; break;
        case FC_LEAKY_RELU: j.slope = FC_SLOPE_LEAKY_RELU; break;
        case FC_TANH: j.slope = FC_SLOPE_TANH; break;
        case FC_SIGMOID: j.slope = FC_SLOPE_SIGMOID; break;
        default: return FC_BAD_ALGORITHM;
    }
    return run_all(&j);
}

static void run_sgd(const job *j, int64_t at, int64_t count) {
    j->kernels->sgd(&j->sgd, count, j->a + at, j->b + at, j->c == NULL ? NULL : j->c + at);
}

fc_status fc_sgd_step(fc_dtype dtype, int64_t count, void *parameters, const void *gradients, void *velocity,
                      double rate, double momentum, double decay, int nesterov, double least) {
    if (!fc_is_compute_type(dtype)) return FC_BAD_DTYPE;
    job j = {.kernels = fc_kernels_for(dtype), .count = count, .a = parameters, .b = gradients, .c = velocity,
             .run = run_sgd};
    j.sgd = (fc_sgd_factors){.rate = rate, .momentum = velocity == NULL ? 0 : momentum, .decay = decay,
                             .nesterov = nesterov, .least = least};
    return run_all(&j);
}

static void run_adam(const job *j, int64_t at, int64_t count) {
    j->kernels->adam(&j->adam, count, j->a + at, j->b + at, j->c + at, j->d + at);
}

fc_status fc_adam_step(fc_dtype dtype, int64_t count, void *parameters, const void *gradients, void *m, void *v,
                       double scale, double beta1, double beta2, double epsilon, double least) {
    if (!fc_is_compute_type(dtype)) return FC_BAD_DTYPE;
    job j = {.kernels = fc_kernels_for(dtype), .count = count, .a = parameters, .b = gradients, .c = m, .d = v,
             .run = run_adam};
    j.adam = (fc_adam_factors){.scale = scale, .beta1 = beta1, .beta2 = beta2, .epsilon = epsilon, .least = least};
    return run_all(&j);
}

/* ---------------------------------------------------------------- cross-entropy */

/* One row: gradient of the mean over `rows` rows, and the row's loss. The maximum as NumPy takes it: a NaN wins. */
static double cross_entropy_f32(int64_t classes, const float *x, int64_t label, double rows, float *grad) {
    float most = x[0], total = 0;
    for (int64_t k = 1; k < classes; k++)
        if (x[k] > most || x[k] != x[k]) most = x[k];
    const float labelled = x[label] - most;
    for (int64_t k = 0; k < classes; k++) total += grad[k] = expf(x[k] - most);
    for (int64_t k = 0; k < classes; k++) grad[k] = (grad[k] / total - (float)(k == label)) / (float)rows;
    return log((double)total) - (double)labelled;
}

static double cross_entropy_f64(int64_t classes, const double *x, int64_t label, double rows, double *grad) {
    double most = x[0], total = 0;
    for (int64_t k = 1; k < classes; k++)
        if (x[k] > most || x[k] != x[k]) most = x[k];
    const double labelled = x[label] - most;
    for (int64_t k = 0; k < classes; k++) total += grad[k] = exp(x[k] - most);
    for (int64_t k = 0; k < classes; k++) grad[k] = (grad[k] / total - (double)(k == label)) / rows;
    return log(total) - labelled;
}

fc_status fc_cross_entropy(fc_dtype dtype, int64_t rows, int64_t classes, const void *logits, const int64_t *labels,
                           void *grad, double *loss) {
    if (!fc_is_compute_type(dtype)) return FC_BAD_DTYPE;
    if (rows < 1 || classes < 1) return FC_BAD_SIZE;
    for (int64_t n = 0; n < rows; n++)
        if (labels[n] < 0 || labels[n] >= classes) return FC_BAD_INDEX;
    double sum = 0;
    for (int64_t n = 0; n < rows; n++) {
        /* another thread may have changed a label since */
        const int64_t at = n * classes, label = FC_MAX(0, FC_MIN(classes - 1, labels[n]));
        if (dtype == FC_FLOAT32)
            sum += cross_entropy_f32(classes, (const float *)logits + at, label, (double)rows, (float *)grad + at);
        else sum += cross_entropy_f64(classes, (const double *)logits + at, label, (double)rows, (double *)grad + at);
    }
    *loss = sum / (double)rows;
    return FC_OK;
}
