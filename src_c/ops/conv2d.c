/* SPDX-License-Identifier: BSD-3-Clause
 * Entry points of convolution: check the element types, choose the algorithm, keep the caller's float state. */
#include "../base/convert.h"
#include "../base/float_state.h"
#include "conv2d_algorithms.h"

/* In the order in which "auto" asks them. */
static const fc_conv2d_algorithm *const algorithms[] = {&fc_winograd_algorithm, &fc_depthwise_algorithm,
                                                       &fc_few_filters_algorithm, &fc_direct_algorithm,
                                                       &fc_reference_algorithm};

enum { ALGORITHMS = sizeof algorithms / sizeof algorithms[0] };

static const fc_options defaults;

static const fc_conv2d_algorithm *choose(const fc_problem *problem, fc_algorithm asked, const char **reason) {
    *reason = "there is no such algorithm";
    for (int i = 0; i < ALGORITHMS; i++) {
        const fc_conv2d_algorithm *a = algorithms[i];
        if (asked != FC_AUTO && asked != a->family) continue;
        *reason = a->refusal(problem);
        if (*reason == NULL && (asked != FC_AUTO || a->preferred(problem))) return a;
    }
    return NULL;
}

static fc_problem problem_of(const fc_conv2d *g, fc_operation operation, fc_dtype dtype, const fc_options *options) {
    const fc_precision precision = options->precision == FC_DEFAULT ? fc_get_precision() : options->precision;
    return (fc_problem){.g = g, .operation = operation, .dtype = dtype, .precision = precision};
}

const char *fc_conv2d_choice(const fc_conv2d *g, fc_operation operation, fc_dtype dtype, const fc_options *options,
                             const char **reason) {
    if (options == NULL) options = &defaults;
    const fc_problem problem = problem_of(g, operation, dtype, options);
    const fc_conv2d_algorithm *algorithm = choose(&problem, options->algorithm, reason);
    return algorithm == NULL ? NULL : algorithm->name;
}

/* A call: the algorithm that does it, and the caller's float state. One subnormal operand costs a multiply-add of the
 * tile kernel some 150 cycles; below "strict" they count as zero. */
typedef struct call {
    const fc_conv2d_algorithm *algorithm; /* NULL: none can */
    uint64_t state;
} call;

static call enter(const fc_conv2d *g, fc_operation operation, fc_dtype dtype, const fc_options *options) {
    const char *reason;
    if (options == NULL) options = &defaults;
    const fc_problem problem = problem_of(g, operation, dtype, options);
    const call c = {choose(&problem, options->algorithm, &reason), fc_float_state()};
    if (c.algorithm != NULL && dtype == FC_FLOAT32 && problem.precision != FC_STRICT &&
        c.algorithm != &fc_reference_algorithm)
        fc_set_float_state(c.state | FC_FLUSH_SUBNORMALS);
    return c;
}

static fc_status leave(call c, fc_status status) {
    fc_set_float_state(c.state);
    return status;
}

fc_status fc_conv2d_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                            const fc_array *y, const fc_options *options) {
    if (!fc_is_compute_type(y->dtype) || !fc_is_compute_type(weight->dtype)) return FC_BAD_DTYPE;
    if (bias != NULL && !fc_is_compute_type(bias->dtype)) return FC_BAD_DTYPE;
    const call c = enter(g, FC_FORWARD, y->dtype, options);
    if (c.algorithm == NULL) return FC_BAD_ALGORITHM;
    const fc_activation activation = options == NULL ? FC_NONE : options->activation;
    return leave(c, c.algorithm->forward(g, x, weight, bias, y, activation));
}

fc_status fc_conv2d_backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                   const fc_array *grad_x, const fc_options *options) {
    if (!fc_is_compute_type(grad_x->dtype) || !fc_is_compute_type(weight->dtype)) return FC_BAD_DTYPE;
    const call c = enter(g, FC_BACKWARD_INPUT, grad_x->dtype, options);
    if (c.algorithm == NULL) return FC_BAD_ALGORITHM;
    return leave(c, c.algorithm->backward_input(g, grad_y, weight, grad_x));
}

fc_status fc_conv2d_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                    const fc_array *grad_weight, const fc_options *options) {
    if (!fc_is_compute_type(grad_weight->dtype)) return FC_BAD_DTYPE;
    const call c = enter(g, FC_BACKWARD_WEIGHT, grad_weight->dtype, options);
    if (c.algorithm == NULL) return FC_BAD_ALGORITHM;
    return leave(c, c.algorithm->backward_weight(g, grad_y, x, grad_weight));
}
