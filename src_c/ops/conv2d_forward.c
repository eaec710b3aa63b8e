/* SPDX-License-Identifier: BSD-3-Clause
 * The direct algorithm seen from its entry points. The forward convolution needs no change of view. */
#include "../base/convert.h"
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
        .x_group = fc_channels_in_memory(x, c) * x->stride[3], .weight_group = k * weight->stride[3],
        .y_group = k * y->stride[3],
        .bias = bias, .activation = activation};
}

fc_status fc_direct_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                            const fc_array *y, fc_activation activation) {
    const fc_direct d = fc_forward_view(g, x, weight, bias, y, activation);
    return fc_direct_run(&d);
}

/* Let an operand begin with image n; `depth` is memory for what that changes. */
static void begin_with(fc_array *a, int64_t n, fc_depth *depth) {
    if (a->depth == NULL) {
        a->data = (char *)a->data + n * a->stride[0] * (int64_t)fc_dtype_size(a->dtype);
        return;
    }
    *depth = *a->depth;
    depth->first += n;
    a->depth = depth;
}

/* Images [n, n + count). */
static fc_status run_some(const fc_direct *d, int64_t n, int64_t count) {
    fc_direct some = *d;
    fc_depth x, y;
    some.n = count;
    begin_with(&some.x, n, &x);
    begin_with(&some.y, n, &y);
    return d->exact != NULL ? d->exact(&some) : fc_direct_run(&some);
}

fc_status fc_direct_run_doubtful(const fc_direct *d, const atomic_uchar *doubtful) {
    fc_status status = FC_OK;
    for (int64_t n = 0; n < d->n && status == FC_OK; n++) {
        int64_t count = 0;
        while (n + count < d->n && doubtful[n + count]) count++;
        if (count > 0) status = run_some(d, n, count);
        n += count;
    }
    return status;
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
    "auto takes it where no other serves better", &fc_direct_panels};
