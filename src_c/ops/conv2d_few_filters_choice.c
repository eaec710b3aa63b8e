/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The algorithm for few filters, seen from its entry points, and when it is worth taking: where pixels fill vectors
 * better than filters would. */
#include "../base/compiler.h"
#include "blocking.h"
#include "conv2d_algorithms.h"
#include "few_filters.h"

/* What the gradient of the input does for one phase of the image: a forward pass over grad_y. */
static fc_window backward_window(const fc_conv2d *g) {
    return (fc_window){.h = g->p,
                       .p = fc_ceil_div(g->h, g->stride_h),
                       .q = fc_ceil_div(g->w, g->stride_w),
                       .r = fc_ceil_div(g->r, g->stride_h),
                       .s = fc_ceil_div(g->s, g->stride_w),
                       .stride_h = 1,
                       .stride_w = 1,
                       .dilation_h = g->dilation_h,
                       .dilation_w = g->dilation_w,
                       .top = g->r / g->stride_h - 1 - g->pad_top / g->stride_h};
}

/* The share of lanes that outputs fill, of an image (of a phase of it, in the gradient of the input). */
static double use_by_pixels(const fc_problem *problem, int64_t vl) {
    const fc_conv2d *g = problem->g;
    const fc_window w = problem->operation == FC_BACKWARD_INPUT
                            ? backward_window(g)
                            : (fc_window){.h = g->h, .p = g->p, .q = g->q, .r = g->r, .s = g->s,
                                          .stride_h = g->stride_h,
                                          .stride_w = g->stride_w, .dilation_h = g->dilation_h,
                                          .dilation_w = g->dilation_w, .top = g->pad_top};
    const int64_t over = (w.s - 1) * w.dilation_w / w.stride_w;
    const int64_t joined = fc_joined_vectors(w.p, w.q + over, w.q, vl) * w.r, separate = fc_separate_work(&w, w.q, vl);
    return (double)(w.p * w.q * w.r) / (double)(FC_MIN(joined, separate) * vl);
}

/* The share of lanes that places of the window fill in the gradient of the weights, less what interleaving costs. */
static double use_by_places(const fc_conv2d *g, int64_t vl) {
    const int64_t c = g->c / g->groups;
    const fc_places places = fc_places_of(g->r, g->s, c, (int)vl);
    return (double)(g->r * g->s * c) / (double)(places.vectors * vl) * (places.interleaved ? 0.75 : 1);
}

/* The share of lanes that filters fill in the direct algorithm; a tile of one vector takes 5/8 as long as one of
 * two. */
static double use_by_filters(int64_t filters, int64_t vl) {
    const int64_t rest = filters % (2 * vl);
    return (double)filters / ((double)(filters - rest) + (double)vl * (rest == 0 ? 0 : rest > vl ? 2 : 1.25));
}

/* Measured on AVX-512 against the direct algorithm: 3x3, 8 filters, 7x7 to 56x56 x1.1 to x2, 4 filters x1.6 to x5, 12
 * filters x0.7 to x2; 5x5, 28x28x1 -> 6 x5. With a single tap (x0.1 to x2) or 3x3 with stride 2 (x0.4 to x0.7) turning
 * the image costs more than the arithmetic. */
static const double WORTHWHILE = 0.8;
enum { LEAST_TAPS = 8 };

/* A strided gradient of the input, or transposed convolution, packs its image once for all phases. One and eight images
 * of 28x28 to 112x112, 2x2 to 11x11 with strides 2 and 4: 1 channel x2 to x7, 4 channels x1.4 to x4.2, 8 channels x1.1
 * to x2, 12 channels x1.2 to x1.6 (3x3 with stride 2 x0.97), 16 channels x0.8 to x1.2. */
static const double WORTHWHILE_STRIDED = 0.87;
enum { LEAST_STRIDED_TAPS = 1 };

/* The gradient of the weights: 5x5, 6 channels, 16 filters x1.2; 3x3, 16 channels, 20 filters x1.6, 32 filters
 * x1.05. */
enum { MOST_WEIGHTS = 1 << 14 };

static const char *refusal_of_weight_gradient(const fc_conv2d *g, int64_t vl) {
    const int64_t filters = g->k / g->groups;
    if (g->dilation_h > 1 || g->dilation_w > 1) return "its gradient of the weights needs dilation 1";
    if (filters * (g->c / g->groups) > MOST_WEIGHTS / (g->r * g->s))
        return "its gradient of the weights is made for few weights";
    if (use_by_places(g, vl) <= use_by_filters(filters, vl))
        return "the filters fill vectors as well as the windows do";
    return NULL;
}

static const char *refusal(const fc_problem *problem) {
    const fc_conv2d *g = problem->g;
    const int64_t filters = (problem->operation == FC_BACKWARD_INPUT ? g->c : g->k) / g->groups;
    const int64_t vl = fc_kernels_for(problem->dtype)->vl;
    const int has_phases = problem->operation == FC_BACKWARD_INPUT && g->stride_h * g->stride_w > 1;
    const int64_t least = has_phases ? LEAST_STRIDED_TAPS : LEAST_TAPS;
    if (g->stride_h > g->r || g->stride_w > g->s || g->r * g->s < least * g->stride_h * g->stride_w)
        return "it is made for windows of 8 and more taps, of one a phase in a strided gradient of the input";
    if (problem->operation == FC_BACKWARD_WEIGHT) return refusal_of_weight_gradient(g, vl);
    if ((double)filters > (has_phases ? WORTHWHILE_STRIDED : WORTHWHILE) * use_by_pixels(problem, vl) * (double)vl)
        return "it is made for fewer filters than a vector has numbers";
    return NULL;
}

static int preferred(const fc_problem *problem) {
    (void)problem;
    return 1;
}

static fc_status forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                         const fc_array *y, fc_activation activation) {
    const fc_direct d = fc_forward_view(g, x, weight, bias, y, activation);
    return fc_few_filters_run(&d);
}

static fc_status backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                const fc_array *bias, const fc_array *grad_x, fc_activation activation) {
    return fc_backward_input_by(fc_few_filters_run_all, NULL, g, grad_y, weight, bias, grad_x, activation);
}

const fc_conv2d_algorithm fc_few_filters_algorithm = {
    "few_filters", FC_DIRECT, refusal, preferred, forward, backward_input, fc_few_filters_backward_weight,
    "auto takes it for a handful of filters and windows of several taps: lanes are pixels", NULL};
