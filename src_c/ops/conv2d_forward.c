/* SPDX-License-Identifier: BSD-3-Clause
 * The direct algorithm seen from its entry points. The forward convolution needs no change of view. */
#include "conv2d_algorithms.h"
#include "direct.h"

fc_direct fc_forward_view(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                          const fc_array *y, fc_activation activation) {
    const int64_t c = g->c / g->groups, k = g->k / g->groups;
    return (fc_direct){
        .window = {.h = g->h, .w = g->w, .p = g->p, .q = g->q, .r = g->r, .s = g->s, .stride_h = g->stride_h,
                   .stride_w = g->stride_w, .dilation_h = g->dilation_h, .dilation_w = g->dilation_w,
                   .top = g->pad_top, .left = g->pad_left},
        .n = g->n, .c = c, .k = k, .groups = g->groups, .x = *x, .weight = *weight, .y = *y,
        .x_group = c * x->stride[3], .weight_group = k * weight->stride[3], .y_group = k * y->stride[3],
        .bias = bias, .activation = activation};
}

fc_status fc_direct_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                            const fc_array *y, fc_activation activation) {
    const fc_direct d = fc_forward_view(g, x, weight, bias, y, activation);
    return fc_direct_run(&d);
}

static const char *refusal(const fc_problem *problem) {
    (void)problem;
    return NULL;
}

static int preferred(const fc_problem *problem) {
    (void)problem;
    return 1;
}

const fc_conv2d_algorithm fc_direct_algorithm = {
    "direct", FC_DIRECT, refusal, preferred, fc_direct_forward, fc_direct_backward_input, fc_direct_backward_weight,
    "auto takes it where no other serves better"};
