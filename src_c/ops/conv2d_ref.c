/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The definitions of convolution and its gradients, written as loops in double precision. Each output number is one
 * sum: read them as the documentation of what the fast algorithms compute. */
#include "../base/element.h"
#include "../base/threads.h"
#include "activation.h"
#include "conv2d_algorithms.h"
#include "explain.h"

typedef struct job {
    const fc_conv2d *g;
    const fc_array *x, *weight, *bias, *y; /* x and weight stand for their gradients where those are computed */
    fc_activation activation;
} job;

/* The input row (column) that tap r of output row p reads; outside the image it is padding. */
static int64_t input_row(const fc_conv2d *g, int64_t p, int64_t r) {
    return p * g->stride_h - g->pad_top + r * g->dilation_h;
}
static int64_t input_column(const fc_conv2d *g, int64_t q, int64_t s) {
    return q * g->stride_w - g->pad_left + s * g->dilation_w;
}

static double output_pixel(const job *j, int64_t n, int64_t p, int64_t q, int64_t k) {
    const fc_conv2d *g = j->g;
    const int64_t channels = g->c / g->groups, first = k / (g->k / g->groups) * channels;
    double sum = 0;
    for (int64_t r = 0; r < g->r; r++)
        for (int64_t s = 0; s < g->s; s++) {
            const int64_t h = input_row(g, p, r), w = input_column(g, q, s);
            if (h < 0 || h >= g->h || w < 0 || w >= g->w) continue;
            for (int64_t c = 0; c < channels; c++)
                sum += fc_get(j->x, fc_at(j->x->stride, n, h, w, first + c)) *
                       fc_get(j->weight, fc_at(j->weight->stride, r, s, c, k));
        }
    return sum;
}

/* Tasks are single numbers, so that even the largest problem can be interrupted. */
static void forward_one(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const fc_conv2d *g = j->g;
    const int64_t k = index % g->k, q = index / g->k % g->q, p = index / g->k / g->q % g->p;
    const int64_t n = index / g->k / g->q / g->p;
    double value = output_pixel(j, n, p, q, k);
    if (j->bias != NULL) value += fc_get(j->bias, k * j->bias->stride[3]);
    fc_put(j->y, fc_at(j->y->stride, n, p, q, k), fc_activate_one(j->activation, value));
}

/* dL/dx[n,h,w,c] = sum of grad_y * weight over the outputs that read this pixel. */
static double input_gradient(const job *j, int64_t n, int64_t h, int64_t w, int64_t c) {
    const fc_conv2d *g = j->g;
    const int64_t channels = g->c / g->groups, filters = g->k / g->groups, first = c / channels * filters;
    double sum = 0;
    for (int64_t r = 0; r < g->r; r++)
        for (int64_t s = 0; s < g->s; s++) {
            const int64_t top = h + g->pad_top - r * g->dilation_h, left = w + g->pad_left - s * g->dilation_w;
            if (top < 0 || left < 0 || top % g->stride_h != 0 || left % g->stride_w != 0) continue;
            const int64_t p = top / g->stride_h, q = left / g->stride_w;
            if (p >= g->p || q >= g->q) continue;
            for (int64_t k = first; k < first + filters; k++)
                sum += fc_get(j->y, fc_at(j->y->stride, n, p, q, k)) *
                       fc_get(j->weight, fc_at(j->weight->stride, r, s, c % channels, k));
        }
    return sum;
}

static void backward_input_one(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const fc_conv2d *g = j->g;
    const int64_t c = index % g->c, w = index / g->c % g->w, h = index / g->c / g->w % g->h;
    const int64_t n = index / g->c / g->w / g->h;
    double value = input_gradient(j, n, h, w, c);
    if (j->bias != NULL) value += fc_get(j->bias, c * j->bias->stride[3]);
    fc_put(j->x, fc_at(j->x->stride, n, h, w, c), fc_activate_one(j->activation, value));
}

/* dL/dweight[r,s,c,k] = sum of grad_y * x over all output pixels. */
static double weight_gradient(const job *j, int64_t r, int64_t s, int64_t c, int64_t k) {
    const fc_conv2d *g = j->g;
    const int64_t channel = k / (g->k / g->groups) * (g->c / g->groups) + c;
    double sum = 0;
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t p = 0; p < g->p; p++)
            for (int64_t q = 0; q < g->q; q++) {
                const int64_t h = input_row(g, p, r), w = input_column(g, q, s);
                if (h < 0 || h >= g->h || w < 0 || w >= g->w) continue;
                sum += fc_get(j->y, fc_at(j->y->stride, n, p, q, k)) *
                       fc_get(j->x, fc_at(j->x->stride, n, h, w, channel));
            }
    return sum;
}

static void backward_weight_one(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const fc_conv2d *g = j->g;
    const int64_t channels = g->c / g->groups;
    const int64_t k = index % g->k, c = index / g->k % channels, s = index / g->k / channels % g->s;
    const int64_t r = index / g->k / channels / g->s;
    fc_put(j->weight, fc_at(j->weight->stride, r, s, c, k), weight_gradient(j, r, s, c, k));
}

static fc_status run(int64_t tasks, fc_task_fn task, job *j) {
    const double work = (double)j->g->n * (double)j->g->p * (double)j->g->q * (double)(j->g->r * j->g->s) *
                        (double)(j->g->c / j->g->groups) * (double)j->g->k;
    const int threads = fc_threads_for(tasks, work);
    if (fc_explaining() != NULL) {
        fc_tell_kernel(fc_explaining(), "loops", 0, 0, threads, work);
        return FC_OK;
    }
    return tasks == 0 ? FC_OK : fc_parallel_for(tasks, threads, task, j);
}

static fc_status reference_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                                   const fc_array *y, fc_activation activation) {
    job j = {g, x, weight, bias, y, activation};
    return run(g->n * g->p * g->q * g->k, forward_one, &j);
}

static fc_status reference_backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                          const fc_array *bias, const fc_array *grad_x, fc_activation activation) {
    job j = {.g = g, .x = grad_x, .weight = weight, .bias = bias, .y = grad_y, .activation = activation};
    return run(g->n * g->h * g->w * g->c, backward_input_one, &j);
}

static fc_status reference_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                           const fc_array *grad_weight) {
    job j = {.g = g, .x = x, .weight = grad_weight, .y = grad_y};
    return run(g->r * g->s * (g->c / g->groups) * g->k, backward_weight_one, &j);
}

static const char *refusal(const fc_problem *problem) {
    (void)problem;
    return NULL;
}

static int preferred(const fc_problem *problem) {
    (void)problem;
    return 0;
}

const fc_conv2d_algorithm fc_reference_algorithm = {
    "reference", FC_REFERENCE, refusal, preferred, reference_forward, reference_backward_input,
    reference_backward_weight, "auto never takes it: it is slow, the judge of the others", NULL};
