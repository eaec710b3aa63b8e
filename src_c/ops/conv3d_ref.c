/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The definitions of the convolution of volumes and its gradients, written as loops in double precision. */
#include "../base/element.h"
#include "../base/threads.h"
#include "activation.h"
#include "conv3d.h"

typedef struct job {
    const fc_conv3d *g;
    const fc_array3d *x, *weight, *y; /* or their gradients */
    const fc_array *bias;
    fc_activation activation;
} job;

/* Element offset of a place along five axes. */
static int64_t at(const fc_array3d *a, int64_t i, int64_t j, int64_t k, int64_t l, int64_t m) {
    return i * a->stride[0] + j * a->stride[1] + k * a->stride[2] + l * a->stride[3] + m * a->stride[4];
}

static double get(const fc_array3d *a, int64_t offset) {
    const fc_array numbers = {.data = a->data, .dtype = a->dtype};
    return fc_get(&numbers, offset);
}

static void put(const fc_array3d *a, int64_t offset, double value) {
    const fc_array numbers = {.data = a->data, .dtype = a->dtype};
    fc_put(&numbers, offset, value);
}

/* The places of number `index` among sizes[0] x ... x sizes[4], the last axis fastest. */
static void places_of(int64_t index, const int64_t sizes[5], int64_t i[5]) {
    for (int axis = 4; axis >= 0; axis--) {
        i[axis] = index % sizes[axis];
        index /= sizes[axis];
    }
}

/* Along one axis: the place that a tap of an output reads, the output that reads a place through a tap; -1: none. */
static int64_t read_by(int64_t out, int64_t tap, int64_t stride, int64_t dilation, int64_t before, int64_t size) {
    const int64_t in = out * stride - before + tap * dilation;
    return in >= 0 && in < size ? in : -1;
}
static int64_t reader_of(int64_t in, int64_t tap, int64_t stride, int64_t dilation, int64_t before, int64_t size) {
    const int64_t start = in + before - tap * dilation;
    return start >= 0 && start % stride == 0 && start / stride < size ? start / stride : -1;
}

/* Places of the other side along three axes. */
typedef struct place {
    int64_t d, h, w;
} place;

static place input_of(const fc_conv3d *g, int64_t o, int64_t p, int64_t q, int64_t t, int64_t r, int64_t s) {
    return (place){read_by(o, t, g->stride_d, g->dilation_d, g->pad_front, g->d),
                   read_by(p, r, g->stride_h, g->dilation_h, g->pad_top, g->h),
                   read_by(q, s, g->stride_w, g->dilation_w, g->pad_left, g->w)};
}

static place output_of(const fc_conv3d *g, int64_t d, int64_t h, int64_t w, int64_t t, int64_t r, int64_t s) {
    return (place){reader_of(d, t, g->stride_d, g->dilation_d, g->pad_front, g->o),
                   reader_of(h, r, g->stride_h, g->dilation_h, g->pad_top, g->p),
                   reader_of(w, s, g->stride_w, g->dilation_w, g->pad_left, g->q)};
}

static int exists(place at) { return at.d >= 0 && at.h >= 0 && at.w >= 0; }

static void forward_one(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const fc_conv3d *g = j->g;
    int64_t y[5];
    places_of(index, (int64_t[5]){g->n, g->o, g->p, g->q, g->k}, y);
    const int64_t channels = g->c / g->groups, first = y[4] / (g->k / g->groups) * channels;
    double sum = 0;
    for (int64_t t = 0; t < g->t; t++)
        for (int64_t r = 0; r < g->r; r++)
            for (int64_t s = 0; s < g->s; s++) {
                const place x = input_of(g, y[1], y[2], y[3], t, r, s);
                for (int64_t c = 0; c < channels && exists(x); c++)
                    sum += get(j->x, at(j->x, y[0], x.d, x.h, x.w, first + c)) *
                           get(j->weight, at(j->weight, t, r, s, c, y[4]));
            }
    if (j->bias != NULL) sum += fc_get(j->bias, y[4] * j->bias->stride[3]);
    put(j->y, at(j->y, y[0], y[1], y[2], y[3], y[4]), fc_activate_one(j->activation, sum));
}

/* dL/dx: the sum of grad_y * weight over the outputs that read this pixel; with bias and activation the transposed
 * convolution. */
static void backward_input_one(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const fc_conv3d *g = j->g;
    int64_t x[5];
    places_of(index, (int64_t[5]){g->n, g->d, g->h, g->w, g->c}, x);
    const int64_t channels = g->c / g->groups, filters = g->k / g->groups, first = x[4] / channels * filters;
    double sum = 0;
    for (int64_t t = 0; t < g->t; t++)
        for (int64_t r = 0; r < g->r; r++)
            for (int64_t s = 0; s < g->s; s++) {
                const place y = output_of(g, x[1], x[2], x[3], t, r, s);
                for (int64_t k = first; k < first + filters && exists(y); k++)
                    sum += get(j->y, at(j->y, x[0], y.d, y.h, y.w, k)) *
                           get(j->weight, at(j->weight, t, r, s, x[4] % channels, k));
            }
    if (j->bias != NULL) sum += fc_get(j->bias, x[4] * j->bias->stride[3]);
    put(j->x, at(j->x, x[0], x[1], x[2], x[3], x[4]), fc_activate_one(j->activation, sum));
}

/* dL/dweight: the sum of grad_y * x over all outputs. */
static void backward_weight_one(void *context, int64_t index, int worker) {
    (void)worker;
    const job *j = context;
    const fc_conv3d *g = j->g;
    int64_t w[5];
    places_of(index, (int64_t[5]){g->t, g->r, g->s, g->c / g->groups, g->k}, w);
    const int64_t channel = w[4] / (g->k / g->groups) * (g->c / g->groups) + w[3];
    double sum = 0;
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t o = 0; o < g->o; o++)
            for (int64_t p = 0; p < g->p; p++)
                for (int64_t q = 0; q < g->q; q++) {
                    const place x = input_of(g, o, p, q, w[0], w[1], w[2]);
                    if (!exists(x)) continue;
                    sum += get(j->y, at(j->y, n, o, p, q, w[4])) * get(j->x, at(j->x, n, x.d, x.h, x.w, channel));
                }
    put(j->weight, at(j->weight, w[0], w[1], w[2], w[3], w[4]), sum);
}

static fc_status run(int64_t tasks, fc_task_fn task, job *j) {
    const fc_conv3d *g = j->g;
    const double work = (double)g->n * (double)(g->o * g->p * g->q) * (double)(g->t * g->r * g->s) *
                        (double)(g->c / g->groups) * (double)g->k;
    return tasks == 0 ? FC_OK : fc_parallel_for(tasks, fc_threads_for(tasks, work), task, j);
}

fc_status fc_conv3d_reference_forward(const fc_conv3d *g, const fc_array3d *x, const fc_array3d *weight,
                                      const fc_array *bias, const fc_array3d *y, fc_activation activation) {
    job j = {.g = g, .x = x, .weight = weight, .bias = bias, .y = y, .activation = activation};
    return run(g->n * g->o * g->p * g->q * g->k, forward_one, &j);
}

fc_status fc_conv3d_reference_backward_input(const fc_conv3d *g, const fc_array3d *grad_y, const fc_array3d *weight,
                                             const fc_array *bias, const fc_array3d *grad_x, fc_activation activation) {
    job j = {.g = g, .x = grad_x, .weight = weight, .bias = bias, .y = grad_y, .activation = activation};
    return run(g->n * g->d * g->h * g->w * g->c, backward_input_one, &j);
}

fc_status fc_conv3d_reference_backward_weight(const fc_conv3d *g, const fc_array3d *grad_y, const fc_array3d *x,
                                              const fc_array3d *grad_weight) {
    job j = {.g = g, .x = x, .weight = grad_weight, .y = grad_y};
    return run(g->t * g->r * g->s * (g->c / g->groups) * g->k, backward_weight_one, &j);
}
