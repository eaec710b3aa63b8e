/* SPDX-License-Identifier: BSD-3-Clause
 * The direct algorithm by products of parts (conv2d_split.c), seen from its entry points: one algorithm for each number
 * of parts, which the precision decides. */
#include "../base/compiler.h"
#include "blocking.h"
#include "conv2d_algorithms.h"
#include "direct.h"

/* Fewer channels leave terms of a chunk idle, fewer filters columns of a tile; fewer pixels do not pay for the parts of
 * the weights. */
enum { LEAST_CHANNELS = 16, LEAST_FILTERS = 16, LEAST_PIXELS = 40 };

static int is_large(const fc_problem *problem) {
    const fc_conv2d *g = problem->g;
    const int backward = problem->operation == FC_BACKWARD_INPUT;
    const int64_t channels = (backward ? g->k : g->c) / g->groups, filters = (backward ? g->c : g->k) / g->groups;
    return channels >= LEAST_CHANNELS && filters >= LEAST_FILTERS && g->p * g->q >= LEAST_PIXELS;
}

/* Where the direct algorithm on vectors is faster this one refuses: "direct" then means that. */
static const char *refusal(const fc_problem *problem, fc_precision precision, const char *otherwise) {
    if (problem->dtype != FC_FLOAT32) return "it is made for float32";
    if (fc_kernels_for(FC_FLOAT32)->split == NULL) return "the instruction set has no matrix unit";
    if (problem->precision != precision) return otherwise;
    if (!is_large(problem)) return "vectors are faster on so few channels, filters or pixels";
    return NULL;
}

static int preferred(const fc_problem *problem) {
    (void)problem;
    return 1;
}

static fc_status run_1(const fc_direct *d) { return fc_split_run(d, 1); }
static fc_status run_2(const fc_direct *d) { return fc_split_run(d, 2); }
static fc_status run_3(const fc_direct *d) { return fc_split_run(d, 3); }

#define FC_BF16_ALGORITHM(parts, precision, when)                                                                      \
    static const char *refusal_##parts(const fc_problem *problem) {                                                    \
        return refusal(problem, precision, "it is for " when);                                                         \
    }                                                                                                                  \
    static fc_status forward_##parts(const fc_conv2d *g, const fc_array *x, const fc_array *weight,                    \
                                     const fc_array *bias, const fc_array *y, fc_activation activation) {              \
        const fc_direct d = fc_forward_view(g, x, weight, bias, y, activation);                                        \
        return fc_split_run(&d, parts);                                                                                \
    }                                                                                                                  \
    static fc_status backward_input_##parts(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,        \
                                            const fc_array *grad_x) {                                                  \
        return fc_backward_input_by(run_##parts, g, grad_y, weight, grad_x);                                           \
    }                                                                                                                  \
    static fc_status backward_weight_##parts(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,            \
                                             const fc_array *grad_weight) {                                            \
        return fc_split_backward_weight(g, grad_y, x, grad_weight, parts);                                             \
    }                                                                                                                  \
    const fc_conv2d_algorithm fc_bf16x##parts##_algorithm = {                                                          \
        "bf16x" #parts, FC_DIRECT, refusal_##parts, preferred, forward_##parts, backward_input_##parts,                \
        backward_weight_##parts,                                                                                       \
        "auto takes it on a matrix unit for " when};

FC_BF16_ALGORITHM(1, FC_MEDIUM, "\"medium\"")
FC_BF16_ALGORITHM(2, FC_HIGH, "\"high\"")
FC_BF16_ALGORITHM(3, FC_STRICT, "\"strict\"")
