/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Activations: behind a convolution, and over whole arrays. Numbers do not meet, so no bit depends on threads. */
#include "activation.h"

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/threads.h"
#include "../isa/dispatch.h"
#include "../kernels/activation/exact.h"
#include "blocking.h"

enum {
    TASK_NUMBERS = 1 << 14, /* 64 KiB an array */
    GATHERED = 64,          /* numbers that are brought together at a time where they are not adjacent */
    WORK = 32               /* multiply-adds that an exponential function is worth */
};

fc_epilogue fc_epilogue_of(fc_activation activation) {
    switch (activation) {
        case FC_RELU: return FC_EPILOGUE_RELU;
        case FC_LEAKY_RELU: return FC_EPILOGUE_LEAKY_RELU;
        default: return FC_EPILOGUE_NONE;
    }
}

void fc_activate_row(const fc_kernels *kernels, fc_activation activation, int64_t n, void *y, ptrdiff_t step) {
    if (!fc_is_left(activation)) return;
    if (step == 1) {
        kernels->activation(activation, FC_LEAKY_SLOPE, n, y, y);
        return;
    }
    double gathered[GATHERED]; /* large enough for either type */
    for (int64_t i = 0; i < n; i += GATHERED) {
        const int64_t some = FC_MIN(GATHERED, n - i);
        char *at = (char *)y + i * step * kernels->element_size;
        kernels->copy(some, 1, at, step, 1, gathered, 1, 1);
        kernels->activation(activation, FC_LEAKY_SLOPE, some, gathered, gathered);
        kernels->copy(some, 1, gathered, 1, 1, at, step, 1);
    }
}

double fc_activate_one(fc_activation activation, double x) {
    return fc_exact_activation(activation, FC_LEAKY_SLOPE, x);
}

/* ---------------------------------------------------------------- over arrays */

typedef struct job {
    const fc_kernels *kernels;
    fc_activation activation;
    double slope;
    fc_rows rows;
    const char *x, *grad_y; /* grad_y NULL: forward */
    char *y;
} job;

/* `count` numbers of a row, from this one on. */
static void run_part(const job *j, int64_t row, int64_t column, int64_t count) {
    const int64_t size = j->kernels->element_size;
    const char *x = j->x + (row * j->rows.x_row + column) * size;
    char *y = j->y + (row * j->rows.y_row + column) * size;
    if (j->grad_y == NULL) {
        j->kernels->activation(j->activation, j->slope, count, x, y);
        return;
    }
    const char *grad_y = j->grad_y + (row * j->rows.grad_row + column) * size;
    j->kernels->activation_backward(j->activation, j->slope, count, grad_y, x, y);
}

static void run_task(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const int64_t columns = j->rows.columns, first = index * TASK_NUMBERS;
    int64_t left = FC_MIN(TASK_NUMBERS, j->rows.rows * columns - first);
    for (int64_t row = first / columns, column = first % columns; left > 0; row++, column = 0) {
        const int64_t count = FC_MIN(left, columns - column);
        run_part(j, row, column, count);
        left -= count;
    }
}

static fc_status run(job *j, fc_dtype dtype) {
    if (!fc_is_compute_type(dtype)) return FC_BAD_DTYPE;
    if (j->activation <= FC_NONE || j->activation >= FC_ACTIVATIONS) return FC_BAD_ALGORITHM;
    const int64_t numbers = j->rows.rows * j->rows.columns, tasks = fc_ceil_div(numbers, TASK_NUMBERS);
    if (tasks == 0) return FC_OK;
    j->kernels = fc_kernels_for(dtype);
    const double work = fc_is_left(j->activation) ? WORK : FC_NUMBER_WORK;
    return fc_parallel_for(tasks, fc_threads_for(tasks, work * (double)numbers), run_task, j);
}

fc_status fc_activate(fc_activation activation, double slope, fc_dtype dtype, const fc_rows *rows, const void *x,
                      void *y) {
    job j = {.activation = activation, .slope = slope, .rows = *rows, .x = x, .y = y};
    return run(&j, dtype);
}

fc_status fc_activation_backward(fc_activation activation, double slope, fc_dtype dtype, const fc_rows *rows,
                                 const void *grad_y, const void *x, void *grad_x) {
    job j = {.activation = activation, .slope = slope, .rows = *rows, .x = x, .grad_y = grad_y, .y = grad_x};
    return run(&j, dtype);
}
