/* SPDX-License-Identifier: BSD-3-Clause
 * Entry points of convolution: check the element types, choose the algorithm, keep the caller's float state. */
#include "../base/convert.h"
#include "../base/float_state.h"
#include "activation.h"
#include "conv2d_algorithms.h"
#include "explain.h"

/* In the order in which "auto" asks them. */
static const fc_conv2d_algorithm *const algorithms[] = {
    &fc_depthwise_algorithm, &fc_bf16x3_algorithm,      &fc_bf16x2_algorithm, &fc_bf16x1_algorithm,
    &fc_winograd_algorithm,  &fc_few_filters_algorithm, &fc_direct_algorithm, &fc_reference_algorithm};

enum { ALGORITHMS = sizeof algorithms / sizeof algorithms[0] };
_Static_assert(ALGORITHMS <= 1 + sizeof((fc_explanation *)0)->others / sizeof(fc_verdict),
               "an explanation has room for all");

const fc_conv2d_algorithm *fc_choose(const fc_conv2d_algorithm *const *list, int count, const fc_problem *problem,
                                     fc_algorithm asked, const char **reason) {
    *reason = "there is no such algorithm";
    for (int i = 0; i < count; i++) {
        const fc_conv2d_algorithm *a = list[i];
        if (asked != FC_AUTO && asked != a->family) continue;
        *reason = a->refusal(problem);
        if (*reason == NULL && (asked != FC_AUTO || a->preferred(problem))) return a;
    }
    return NULL;
}

fc_problem fc_problem_of(const fc_conv2d *g, fc_operation operation, fc_dtype dtype, const fc_options *options) {
    const fc_precision asked = options == NULL ? FC_DEFAULT : options->precision;
    const fc_precision precision = asked == FC_DEFAULT ? fc_get_precision() : asked;
    return (fc_problem){.g = g, .operation = operation, .dtype = dtype, .precision = precision};
}

const fc_conv2d_algorithm *fc_conv2d_choose(const fc_problem *problem, const fc_options *options, const char **reason) {
    return fc_choose(algorithms, ALGORITHMS, problem, options == NULL ? FC_AUTO : options->algorithm, reason);
}

const char *fc_conv2d_choice(const fc_conv2d *g, fc_operation operation, fc_dtype dtype, const fc_options *options,
                             const char **reason) {
    const fc_problem problem = fc_problem_of(g, operation, dtype, options);
    const fc_conv2d_algorithm *algorithm = fc_conv2d_choose(&problem, options, reason);
    return algorithm == NULL ? NULL : algorithm->name;
}

/* ---------------------------------------------------------------- explaining */

static void tell_others(const fc_problem *problem, fc_algorithm asked, const fc_conv2d_algorithm *chosen,
                        fc_explanation *e) {
    int before = 1; /* it was asked before the one that was chosen */
    e->reason = asked == FC_AUTO ? chosen->purpose : "it was named outright";
    for (int i = 0; i < ALGORITHMS; i++) {
        const fc_conv2d_algorithm *a = algorithms[i];
        if (a == chosen) before = 0;
        if (a == chosen) continue;
        const char *reason = a->refusal(problem);
        if (reason == NULL && asked != FC_AUTO) reason = "it was not asked for";
        if (reason == NULL) reason = before || !a->preferred(problem) ? a->purpose : "auto asks it later";
        e->others[e->other_count].algorithm = a->name;
        e->others[e->other_count++].reason = reason;
    }
}

/* The gradient of the input reads y and writes x: algorithms tell of what they read as x, of what they write as y. */
static void run_for_explanation(const fc_conv2d_algorithm *a, const fc_conv2d *g, fc_operation operation,
                                const fc_array *x, const fc_array *weight, const fc_array *bias, const fc_array *y,
                                fc_activation activation) {
    if (operation == FC_FORWARD) a->forward(g, x, weight, bias, y, activation);
    else if (operation == FC_BACKWARD_INPUT) a->backward_input(g, y, weight, bias, x, activation);
    else a->backward_weight(g, y, x, weight);
}

fc_status fc_conv2d_explain(const fc_conv2d *g, fc_operation operation, const fc_array *x, const fc_array *weight,
                            const fc_array *bias, const fc_array *y, const fc_options *options, fc_explanation *e) {
    const fc_array *result = operation == FC_FORWARD ? y : operation == FC_BACKWARD_INPUT ? x : weight;
    *e = (fc_explanation){.isa = fc_isa_name(fc_get_isa()), .threads = 1};
    if (!fc_is_compute_type(result->dtype)) return FC_BAD_DTYPE;
    const fc_problem problem = fc_problem_of(g, operation, result->dtype, options);
    const fc_conv2d_algorithm *algorithm = fc_conv2d_choose(&problem, options, &e->reason);
    if (algorithm == NULL) return FC_BAD_ALGORITHM;
    e->algorithm = algorithm->name;
    tell_others(&problem, options == NULL ? FC_AUTO : options->algorithm, algorithm, e);
    e->multiplications = (double)g->n * (double)g->p * (double)g->q * (double)(g->r * g->s) *
                         (double)(g->c / g->groups) * (double)g->k;
    fc_array weights = *weight;
    const int packable = operation != FC_BACKWARD_WEIGHT;
    if (packable && fc_open_packed(&problem, algorithm, weight, &weights) != FC_OK) return FC_BAD_PACKED;
    if (g->n == 0) return FC_OK; /* zeros, or nothing */
    fc_explain_into(e);
    const fc_array x_images = fc_images_of(x), y_images = fc_images_of(y);
    run_for_explanation(algorithm, g, operation, &x_images, &weights, bias, &y_images, fc_activation_of(options));
    fc_explain_into(NULL);
    if (operation == FC_BACKWARD_INPUT) {
        const fc_copy read = e->x;
        e->x = e->y;
        e->y = read;
    }
    return FC_OK;
}

/* ---------------------------------------------------------------- entry points */

fc_call fc_enter(const fc_conv2d_algorithm *algorithm, const fc_problem *problem) {
    const fc_call call = {algorithm, fc_float_state()};
    if (problem->dtype == FC_FLOAT32 && problem->precision != FC_STRICT && algorithm != &fc_reference_algorithm)
        fc_set_float_state(call.state | FC_FLUSH_SUBNORMALS);
    return call;
}

fc_status fc_leave(fc_call call, fc_status status) {
    fc_set_float_state(call.state);
    return status;
}

/* Choose the algorithm, NULL if none can, and enter. Of weights that it is to read, `opened` is what it reads. */
static fc_status begin(fc_call *call, const fc_problem *problem, const fc_options *options, const fc_array *weight,
                       fc_array *opened) {
    const char *reason;
    const fc_conv2d_algorithm *algorithm = fc_conv2d_choose(problem, options, &reason);
    if (algorithm == NULL) return FC_BAD_ALGORITHM;
    const fc_status status = weight == NULL ? FC_OK : fc_open_packed(problem, algorithm, weight, opened);
    if (status == FC_OK) *call = fc_enter(algorithm, problem);
    return status;
}

static int are_compute_types(const fc_array *result, const fc_array *weight, const fc_array *bias) {
    return fc_is_compute_type(result->dtype) && fc_is_compute_type(weight->dtype) &&
           (bias == NULL || fc_is_compute_type(bias->dtype));
}

fc_status fc_conv2d_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                            const fc_array *y, const fc_options *options) {
    if (!are_compute_types(y, weight, bias)) return FC_BAD_DTYPE;
    const fc_problem problem = fc_problem_of(g, FC_FORWARD, y->dtype, options);
    const fc_array from = fc_images_of(x), to = fc_images_of(y);
    fc_array weights;
    fc_call c;
    const fc_status status = begin(&c, &problem, options, weight, &weights);
    if (status != FC_OK) return status;
    return fc_leave(c, c.algorithm->forward(g, &from, &weights, bias, &to, fc_activation_of(options)));
}

static fc_status backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                const fc_array *bias, const fc_array *grad_x, fc_activation activation,
                                const fc_options *options) {
    if (!are_compute_types(grad_x, weight, bias)) return FC_BAD_DTYPE;
    const fc_problem problem = fc_problem_of(g, FC_BACKWARD_INPUT, grad_x->dtype, options);
    const fc_array from = fc_images_of(grad_y), to = fc_images_of(grad_x);
    fc_array weights;
    fc_call c;
    const fc_status status = begin(&c, &problem, options, weight, &weights);
    if (status != FC_OK) return status;
    return fc_leave(c, c.algorithm->backward_input(g, &from, &weights, bias, &to, activation));
}

fc_status fc_conv2d_backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                   const fc_array *grad_x, const fc_options *options) {
    return backward_input(g, grad_y, weight, NULL, grad_x, FC_NONE, options);
}

fc_status fc_conv_transpose2d(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                              const fc_array *y, const fc_options *options) {
    return backward_input(g, x, weight, bias, y, fc_activation_of(options), options);
}

fc_status fc_conv2d_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                    const fc_array *grad_weight, const fc_options *options) {
    if (!fc_is_compute_type(grad_weight->dtype)) return FC_BAD_DTYPE;
    const fc_problem problem = fc_problem_of(g, FC_BACKWARD_WEIGHT, grad_weight->dtype, options);
    const fc_array from = fc_images_of(grad_y), pixels = fc_images_of(x);
    fc_call c;
    const fc_status status = begin(&c, &problem, options, NULL, NULL);
    if (status != FC_OK) return status;
    return fc_leave(c, c.algorithm->backward_weight(g, &from, &pixels, grad_weight));
}
