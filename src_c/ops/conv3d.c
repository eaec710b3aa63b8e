/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Convolution of volumes, as convolution of images: an output slice is an image, the channels of the input slices that
 * its taps along the depth read are its channels, t*C + c. fc_depth (pack.h) lets every algorithm that packs its input
 * read them where they are. The weights are brought into the order (r, s, t, c, k) first, which is no more than their
 * packing costs; the gradient of the weights comes in it.
 *
 * The gradient of the input is, for each phase of the stride along the depth, the gradient of the input of such a
 * convolution of images: with the taps of that phase, of slices of grad_y. */
#include "conv3d.h"

#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "activation.h"
#include "conv2d_algorithms.h"
#include "direct.h"
#include "phase.h"

/* Those that find channels by fc_find_channel: all but the one for depthwise layers. */
static const fc_conv2d_algorithm *const algorithms[] = {&fc_bf16x3_algorithm, &fc_bf16x2_algorithm,
                                                        &fc_bf16x1_algorithm, &fc_winograd_algorithm,
                                                        &fc_few_filters_algorithm, &fc_direct_algorithm};

enum { ALGORITHMS = sizeof algorithms / sizeof algorithms[0] };

static fc_algorithm asked_of(const fc_options *options) { return options == NULL ? FC_AUTO : options->algorithm; }

static const fc_conv2d_algorithm *choose(const fc_problem *problem, const fc_options *options, const char **reason) {
    return fc_choose(algorithms, ALGORITHMS, problem, asked_of(options), reason);
}

/* ---------------------------------------------------------------- volumes as images */

/* The problem of images: so many of them, of so many input channels and filters. */
static fc_conv2d images_problem(const fc_conv3d *g, int64_t n, int64_t c, int64_t k) {
    return (fc_conv2d){.n = n, .h = g->h, .w = g->w, .c = c, .k = k, .r = g->r, .s = g->s, .stride_h = g->stride_h,
                       .stride_w = g->stride_w, .dilation_h = g->dilation_h, .dilation_w = g->dilation_w,
                       .groups = g->groups, .pad_top = g->pad_top, .pad_bottom = g->pad_bottom,
                       .pad_left = g->pad_left, .pad_right = g->pad_right, .p = g->p, .q = g->q};
}

/* Slices as images. *depth says which and keeps being used, unless they lie at one distance throughout. */
static fc_array images_of(const fc_array3d *volumes, int64_t n, fc_depth *depth) {
    const int64_t *stride = volumes->stride;
    fc_array a = {.data = volumes->data, .dtype = volumes->dtype, .depth = depth,
                  .stride = {stride[0], stride[2], stride[3], stride[4]}};
    depth->slice = stride[1];
    if (!fc_is_whole(&a)) return a;
    a.data = (char *)a.data - depth->before * depth->slice * (int64_t)fc_dtype_size(a.dtype);
    depth->before = 0;
    if (n > 1 && stride[0] != depth->count * depth->stride * depth->slice) return a;
    a.stride[0] = depth->stride * depth->slice;
    a.depth = NULL;
    return a;
}

/* Every slice, in order. */
static fc_depth slices(int64_t count, int64_t channels) {
    return (fc_depth){.count = count, .in = count, .stride = 1, .dilation = 1, .taps = 1, .channels = channels};
}

/* The slices of x that the taps of each output slice read. */
static fc_depth slices_read(const fc_conv3d *g) {
    return (fc_depth){.count = g->o, .in = g->d, .stride = g->stride_d, .dilation = g->dilation_d,
                      .before = g->pad_front, .taps = g->t, .channels = g->c / g->groups};
}

/* ---------------------------------------------------------------- the order of the weights */

typedef enum direction { TO_IMAGES, TO_GRADIENT, FROM_IMAGES } direction;

/* Some taps of weights between their own order and that of images: (r, s, taps, c, k), for the gradient of the input
 * (r, s, group, taps, k, c), where c is the filter. */
typedef struct weights {
    const fc_conv3d *g;
    const fc_array3d *own;
    const fc_kernels *kernels;
    direction direction;
    int64_t taps, first, step; /* taps first, first + step, ... along the depth */
    char *ordered;
} weights;

static void move_tap(void *context, int64_t index, int worker) {
    (void)worker;
    const weights *w = context;
    const fc_conv3d *g = w->g;
    const int64_t *stride = w->own->stride, size = w->kernels->element_size;
    const int64_t j = index % w->taps, s = index / w->taps % g->s, r = index / w->taps / g->s;
    const int64_t c = g->c / g->groups, k = g->k / g->groups, tap = (w->first + j * w->step) * stride[0];
    char *own = (char *)w->own->data + (tap + r * stride[1] + s * stride[2]) * size;
    char *ordered = w->ordered + index * c * g->k * size;
    if (w->direction == TO_IMAGES) w->kernels->copy(c, g->k, own, stride[3], stride[4], ordered, g->k, 1);
    if (w->direction == FROM_IMAGES) w->kernels->copy(c, g->k, ordered, g->k, 1, own, stride[3], stride[4]);
    if (w->direction != TO_GRADIENT) return;
    ordered = w->ordered + ((r * g->s + s) * w->taps * g->k + j * k) * c * size;
    for (int64_t i = 0; i < g->groups; i++, own += k * stride[4] * size, ordered += w->taps * k * c * size)
        w->kernels->copy(k, c, own, stride[4], stride[3], ordered, c, 1);
}

static fc_status move_weights(weights *w) {
    const int64_t tasks = w->taps * w->g->r * w->g->s;
    const double numbers = (double)tasks * (double)(w->g->c / w->g->groups) * (double)w->g->k;
    return fc_parallel_for(tasks, fc_threads_for(tasks, numbers), move_tap, w);
}

static size_t weights_bytes(const weights *w) {
    const fc_conv3d *g = w->g;
    return (size_t)(w->taps * g->r * g->s * (g->c / g->groups) * g->k) * (size_t)w->kernels->element_size;
}

/* The weights in the order of images: where they lie if they are of one tap, else in scratch memory, to be filled or
 * read by move_weights. No data: there is no memory. */
static fc_array order_weights(weights *w) {
    const int64_t *stride = w->own->stride, c = w->g->c / w->g->groups, k = w->taps * w->g->k;
    fc_array a = {.dtype = w->own->dtype, .stride = {stride[1], stride[2], stride[3], stride[4]}};
    if (w->taps == 1) {
        a.data = (char *)w->own->data + w->first * stride[0] * (int64_t)fc_dtype_size(a.dtype);
        return a;
    }
    a.data = w->ordered = fc_scratch_take(weights_bytes(w));
    a.stride[0] = w->g->s * k * c;
    a.stride[1] = k * c;
    a.stride[2] = w->direction == TO_GRADIENT ? 1 : w->g->k;
    a.stride[3] = w->direction == TO_GRADIENT ? c : 1;
    return a;
}

static void give_back(const weights *w) {
    if (w->ordered != NULL) fc_scratch_give_back(w->ordered);
}

/* ---------------------------------------------------------------- forward, gradient of the weights */

/* The problem of images that stands for one of volumes. It is filled in where it lies: arrays point to its depths. */
typedef struct as_images {
    fc_conv2d g;
    fc_problem problem;
    const fc_conv2d_algorithm *algorithm; /* NULL: none can */
    fc_depth read, written;
    fc_array x, y;
    weights weights;
} as_images;

static void see_as_images(as_images *s, const fc_conv3d *g, fc_operation operation, const fc_array3d *x,
                          const fc_array3d *weight, const fc_array3d *y, fc_dtype dtype, const fc_options *options) {
    const char *reason;
    s->g = images_problem(g, g->n * g->o, g->t * g->c, g->k);
    s->problem = fc_problem_of(&s->g, operation, dtype, options);
    s->algorithm = choose(&s->problem, options, &reason);
    s->read = slices_read(g);
    s->written = slices(g->o, g->k);
    s->x = images_of(x, g->n, &s->read);
    s->y = images_of(y, g->n, &s->written);
    s->weights = (weights){.g = g, .own = weight, .kernels = fc_kernels_for(weight->dtype),
                           .direction = operation == FC_FORWARD ? TO_IMAGES : FROM_IMAGES, .taps = g->t, .step = 1};
}

fc_status fc_conv3d_forward(const fc_conv3d *g, const fc_array3d *x, const fc_array3d *weight, const fc_array *bias,
                            const fc_array3d *y, const fc_options *options) {
    if (!fc_is_compute_type(y->dtype) || !fc_is_compute_type(weight->dtype)) return FC_BAD_DTYPE;
    if (bias != NULL && !fc_is_compute_type(bias->dtype)) return FC_BAD_DTYPE;
    const fc_activation activation = fc_activation_of(options);
    if (asked_of(options) == FC_REFERENCE) return fc_conv3d_reference_forward(g, x, weight, bias, y, activation);
    as_images s;
    see_as_images(&s, g, FC_FORWARD, x, weight, y, y->dtype, options);
    if (s.algorithm == NULL) return FC_BAD_ALGORITHM;
    const fc_array ordered = order_weights(&s.weights);
    if (ordered.data == NULL) return FC_NO_MEMORY;
    fc_status status = s.weights.ordered == NULL ? FC_OK : move_weights(&s.weights);
    const fc_call call = fc_enter(s.algorithm, &s.problem);
    if (status == FC_OK) status = s.algorithm->forward(&s.g, &s.x, &ordered, bias, &s.y, activation);
    give_back(&s.weights);
    return fc_leave(call, status);
}

fc_status fc_conv3d_backward_weight(const fc_conv3d *g, const fc_array3d *grad_y, const fc_array3d *x,
                                    const fc_array3d *grad_weight, const fc_options *options) {
    if (!fc_is_compute_type(grad_weight->dtype)) return FC_BAD_DTYPE;
    if (asked_of(options) == FC_REFERENCE) return fc_conv3d_reference_backward_weight(g, grad_y, x, grad_weight);
    as_images s;
    see_as_images(&s, g, FC_BACKWARD_WEIGHT, x, grad_weight, grad_y, grad_weight->dtype, options);
    if (s.algorithm == NULL) return FC_BAD_ALGORITHM;
    const fc_array ordered = order_weights(&s.weights);
    if (ordered.data == NULL) return FC_NO_MEMORY;
    const fc_call call = fc_enter(s.algorithm, &s.problem);
    fc_status status = s.algorithm->backward_weight(&s.g, &s.y, &s.x, &ordered);
    if (status == FC_OK && s.weights.ordered != NULL) status = move_weights(&s.weights);
    give_back(&s.weights);
    return fc_leave(call, status);
}

fc_status fc_conv3d_backward_bias(const fc_conv3d *g, const fc_array3d *grad_y, const fc_array *grad_bias) {
    const fc_conv2d images = {.n = g->n * g->o, .p = g->p, .q = g->q, .k = g->k};
    fc_depth received = slices(g->o, g->k);
    const fc_array y_images = images_of(grad_y, g->n, &received);
    return fc_backward_bias(&images, &y_images, grad_bias);
}

/* ---------------------------------------------------------------- gradient of the input */

static fc_phase phase_at(const fc_conv3d *g, int64_t index) {
    return fc_phase_at(index, g->d, g->t, g->stride_d, g->dilation_d, g->pad_front);
}

/* The slices of a phase that no tap reaches. */
static fc_status fill_slices(const fc_conv3d *g, const fc_array *bias, const fc_array *grad_x, int64_t count,
                             fc_activation activation) {
    const fc_direct d = {.window = {.p = g->h, .q = g->w}, .n = g->n * count, .k = g->c, .groups = 1, .y = *grad_x,
                         .bias = bias, .activation = activation};
    return fc_fill_results(&d);
}

static fc_status backward_phase(const fc_conv3d *g, const fc_phase *f, const fc_array3d *grad_y,
                                const fc_array3d *weight, const fc_array *bias, const fc_array3d *grad_x,
                                fc_activation activation, const fc_options *options) {
    const char *reason;
    fc_depth written = slices(f->count, g->c);
    fc_array3d phase = *grad_x;
    phase.data = (char *)grad_x->data + f->first * grad_x->stride[1] * (int64_t)fc_dtype_size(grad_x->dtype);
    phase.stride[1] *= g->stride_d;
    const fc_array x_images = images_of(&phase, g->n, &written);
    if (f->taps == 0) return fill_slices(g, bias, &x_images, f->count, activation);
    fc_depth read = {.count = f->count, .in = g->o, .stride = 1, .dilation = f->dilation, .before = f->before,
                     .taps = f->taps, .channels = g->k / g->groups};
    const fc_array y_images = images_of(grad_y, g->n, &read);
    const fc_conv2d images = images_problem(g, g->n * f->count, g->c, f->taps * g->k);
    const fc_problem problem = fc_problem_of(&images, FC_BACKWARD_INPUT, grad_x->dtype, options);
    const fc_conv2d_algorithm *algorithm = choose(&problem, options, &reason);
    weights w = {.g = g, .own = weight, .kernels = fc_kernels_for(weight->dtype), .direction = TO_GRADIENT,
                 .taps = f->taps, .first = f->tap + (f->taps - 1) * f->tap_step, .step = -f->tap_step};
    const fc_array ordered = order_weights(&w);
    if (ordered.data == NULL) return FC_NO_MEMORY;
    fc_status status = w.ordered == NULL ? FC_OK : move_weights(&w);
    const fc_call call = fc_enter(algorithm, &problem);
    if (status == FC_OK)
        status = algorithm->backward_input(&images, &y_images, &ordered, bias, &x_images, activation);
    give_back(&w);
    return fc_leave(call, status);
}

static fc_status backward_input(const fc_conv3d *g, const fc_array3d *grad_y, const fc_array3d *weight,
                                const fc_array *bias, const fc_array3d *grad_x, fc_activation activation,
                                const fc_options *options) {
    const char *reason;
    if (!fc_is_compute_type(grad_x->dtype) || !fc_is_compute_type(weight->dtype)) return FC_BAD_DTYPE;
    if (bias != NULL && !fc_is_compute_type(bias->dtype)) return FC_BAD_DTYPE;
    if (fc_conv3d_choice(g, FC_BACKWARD_INPUT, grad_x->dtype, options, &reason) == NULL) return FC_BAD_ALGORITHM;
    if (asked_of(options) == FC_REFERENCE)
        return fc_conv3d_reference_backward_input(g, grad_y, weight, bias, grad_x, activation);
    fc_status status = FC_OK;
    for (int64_t i = 0; i < FC_MIN(g->stride_d, g->d) && status == FC_OK && g->n > 0; i++) {
        const fc_phase f = phase_at(g, i);
        status = backward_phase(g, &f, grad_y, weight, bias, grad_x, activation, options);
    }
    return status;
}

fc_status fc_conv3d_backward_input(const fc_conv3d *g, const fc_array3d *grad_y, const fc_array3d *weight,
                                   const fc_array3d *grad_x, const fc_options *options) {
    return backward_input(g, grad_y, weight, NULL, grad_x, FC_NONE, options);
}

fc_status fc_conv_transpose3d(const fc_conv3d *g, const fc_array3d *x, const fc_array3d *weight, const fc_array *bias,
                              const fc_array3d *y, const fc_options *options) {
    return backward_input(g, x, weight, bias, y, fc_activation_of(options), options);
}

const char *fc_conv3d_choice(const fc_conv3d *g, fc_operation operation, fc_dtype dtype, const fc_options *options,
                             const char **reason) {
    if (asked_of(options) == FC_REFERENCE) return "reference";
    fc_conv2d images = images_problem(g, g->n * g->o, g->t * g->c, g->k);
    if (operation == FC_BACKWARD_INPUT) { /* of the first phase that does anything: no algorithm refuses another */
        fc_phase f = phase_at(g, 0);
        for (int64_t i = 1; f.taps == 0 && i < FC_MIN(g->stride_d, g->d); i++) f = phase_at(g, i);
        images = images_problem(g, g->n * f.count, g->c, FC_MAX(1, f.taps) * g->k);
    }
    const fc_problem problem = fc_problem_of(&images, operation, dtype, options);
    const fc_conv2d_algorithm *algorithm = choose(&problem, options, reason);
    return algorithm == NULL ? NULL : algorithm->name;
}
