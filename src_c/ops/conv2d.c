/* SPDX-License-Identifier: BSD-3-Clause
 * Entry points of convolution: check the element types, choose the algorithm, keep the caller's float state. */
#include "../base/convert.h"
#include "../base/float_state.h"
#include "conv2d_algorithms.h"
#include "direct.h"

static const fc_options defaults;

/* Set the state for arithmetic in `dtype` and return the caller's. One subnormal operand costs a multiply-add of the
 * tile kernel some 150 cycles; below "strict" they count as zero. */
static uint64_t enter(const fc_options *options, fc_dtype dtype) {
    const uint64_t state = fc_float_state();
    const fc_precision precision = options->precision == FC_DEFAULT ? fc_get_precision() : options->precision;
    if (dtype == FC_FLOAT32 && precision != FC_STRICT && options->algorithm != FC_REFERENCE)
        fc_set_float_state(state | FC_FLUSH_SUBNORMALS);
    return state;
}

static fc_status leave(uint64_t state, fc_status status) {
    fc_set_float_state(state);
    return status;
}

fc_status fc_direct_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                            const fc_array *y, fc_activation activation) {
    const int64_t c = g->c / g->groups, k = g->k / g->groups;
    const fc_direct d = {
        .window = {.h = g->h, .w = g->w, .p = g->p, .q = g->q, .r = g->r, .s = g->s, .stride_h = g->stride_h,
                   .stride_w = g->stride_w, .dilation_h = g->dilation_h, .dilation_w = g->dilation_w,
                   .top = g->pad_top, .left = g->pad_left},
        .n = g->n, .c = c, .k = k, .groups = g->groups, .x = *x, .weight = *weight, .y = *y,
        .x_group = c * x->stride[3], .weight_group = k * weight->stride[3], .y_group = k * y->stride[3],
        .bias = bias, .activation = activation};
    return fc_direct_run(&d);
}

fc_status fc_conv2d_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                            const fc_array *y, const fc_options *options) {
    if (options == NULL) options = &defaults;
    if (!fc_is_compute_type(y->dtype) || !fc_is_compute_type(weight->dtype)) return FC_BAD_DTYPE;
    if (bias != NULL && !fc_is_compute_type(bias->dtype)) return FC_BAD_DTYPE;
    const uint64_t state = enter(options, y->dtype);
    if (options->algorithm == FC_REFERENCE)
        return leave(state, fc_reference_forward(g, x, weight, bias, y, options->activation));
    return leave(state, fc_direct_forward(g, x, weight, bias, y, options->activation));
}

fc_status fc_conv2d_backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                   const fc_array *grad_x, const fc_options *options) {
    if (options == NULL) options = &defaults;
    if (!fc_is_compute_type(grad_x->dtype) || !fc_is_compute_type(weight->dtype)) return FC_BAD_DTYPE;
    const uint64_t state = enter(options, grad_x->dtype);
    if (options->algorithm == FC_REFERENCE) return leave(state, fc_reference_backward_input(g, grad_y, weight, grad_x));
    return leave(state, fc_direct_backward_input(g, grad_y, weight, grad_x));
}

fc_status fc_conv2d_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                    const fc_array *grad_weight, const fc_options *options) {
    if (options == NULL) options = &defaults;
    if (!fc_is_compute_type(grad_weight->dtype)) return FC_BAD_DTYPE;
    const uint64_t state = enter(options, grad_weight->dtype);
    if (options->algorithm == FC_REFERENCE)
        return leave(state, fc_reference_backward_weight(g, grad_y, x, grad_weight));
    return leave(state, fc_direct_backward_weight(g, grad_y, x, grad_weight));
}
