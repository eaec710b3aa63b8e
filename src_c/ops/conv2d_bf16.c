/* SPDX-License-Identifier: BSD-3-Clause
 * The direct algorithm by products of parts (conv2d_split.c), seen from its entry points: one algorithm for each number
 * of parts, which the precision decides. */
#include "../base/compiler.h"
#include "blocking.h"
#include "conv2d_algorithms.h"
#include "direct.h"

/* Products of one part that take the time of one of float32, over those that this many parts need. */
static double gain_of(int parts) {
    return (double)fc_kernels_for(FC_FLOAT32)->split->speed / fc_split_products(parts);
}

/* Multiply-adds for each number that is split or written, and the share of terms and columns that are not filled with
 * zeros. A written number counts twice: it is also fetched. */
static double worth(const fc_problem *problem, double *used) {
    const fc_conv2d *g = problem->g;
    const int backward = problem->operation == FC_BACKWARD_INPUT;
    const double c = (double)(backward ? g->k : g->c) / (double)g->groups;
    const double k = (double)(backward ? g->c : g->k) / (double)g->groups;
    const double taps = (double)(g->r * g->s) / (backward ? (double)(g->stride_h * g->stride_w) : 1);
    *used = c / (double)(fc_ceil_div((int64_t)c, FC_SPLIT_TERMS) * FC_SPLIT_TERMS) * k /
            (double)(fc_ceil_div((int64_t)k, FC_SPLIT_ROWS) * FC_SPLIT_ROWS);
    return taps * c * k / (c + 2 * k);
}

/* Measured against the direct algorithm on AVX-512, layers of ResNet-50 and VGG-16, 1 and 8 images. On a matrix unit,
 * three parts: x1.1 to x1.6 from 64 multiply-adds a number on (256 channels, 128 filters, 1x1), x0.6 to x0.9 below 58;
 * with 7x7 results x0.7 to x0.9 for one image, which splits all weights for few products. Two parts: x1.05 to x2.5 from
 * 28 on (64 channels, 256 filters), x0.9 at 21. One part: x1 to x5 from 21 on. With 24 to 36 results an image two parts
 * take one image x1.1 to x1.3 as fast forward, x0.9 to x1.1 in the gradient of the input, and eight images x1.4 to
 * x2.4; with 16 results x0.8 to x1.3 forward. In the gradient of the weights one image of 49 results is still x0.75,
 * eight x1.15.
 *
 * On vectors one part: x1.0 to x1.7 from 10 on (64 channels, 16 filters), x0.5 to x0.95 below 9 or where half of the
 * products are with zeros; x1.05 to x1.4 with 16 to 49 results an image. In the gradient of the weights one image of 49
 * results is x1.1 for 1x1 and x0.65 to x1.1 for 3x3, eight x1.07 to x1.4, one of 64 and more x1.1 to x1.5.
 *
 * Dense layers are images of one pixel, and stay with float32. With 400 x 120 to 4096 x 4096 weights two parts were
 * x1.6 to x2.0 with 64 rows and more, but x0.4 with one row, for which all weights are split; three parts x1.1 to x1.4
 * and x0.3. Weights packed before: x1.1 and x0.7 with one row. */
static int is_large(const fc_problem *problem, int parts) {
    const fc_conv2d *g = problem->g;
    const int64_t pixels = problem->operation == FC_BACKWARD_INPUT
                               ? fc_ceil_div(g->h, g->stride_h) * fc_ceil_div(g->w, g->stride_w)
                               : g->p * g->q;
    const double gain = gain_of(parts);
    double used;
    const double work = worth(problem, &used) * used;
    if (gain * used < 1.2) return 0;
    if (problem->precision == FC_STRICT) return work >= 60 && pixels >= 150;
    const int on_vectors = gain < 4;
    const int64_t least = problem->operation != FC_BACKWARD_WEIGHT ? 20 : on_vectors && g->r * g->s > 1 ? 60 : 40;
    return work >= (problem->precision == FC_HIGH ? 25 : on_vectors ? 10 : 20) && pixels >= least;
}

/* The gradient of the weights splits more and has more sums to keep. Three parts win where taps share what was split:
 * x1.2 to x1.3 for 3x3, at most x1.07 for 1x1, x0.9 with stride 2. */
static int shares_taps(const fc_conv2d *g) {
    return g->r * g->s >= 4 && g->stride_h == 1 && g->stride_w == 1 && g->q >= 12;
}

/* Where the direct algorithm in float32 is faster this one refuses: "direct" then means that. */
static const char *refusal(const fc_problem *problem, int parts, fc_precision precision, const char *otherwise) {
    if (problem->dtype != FC_FLOAT32) return "it is made for float32";
    if (fc_kernels_for(FC_FLOAT32)->split == NULL) return "the instruction set has no products of bfloat16";
    if (problem->precision != precision) return otherwise;
    if (gain_of(parts) <= 1) return "the instruction set is faster by float32";
    if (!is_large(problem, parts)) return "float32 is faster on so few channels, filters or pixels";
    if (problem->operation == FC_BACKWARD_WEIGHT && precision == FC_STRICT && !shares_taps(problem->g))
        return "float32 is faster on a gradient of the weights whose taps share nothing";
    return NULL;
}

/* Winograd's algorithm saves three of four products. On a matrix unit two parts of the gradient of the weights are as
 * fast at best (x0.7 to x1.0), and all others beat it by 1.2 and more; on vectors one part takes x1.0 to x1.8 of its
 * time. */
static int preferred(const fc_problem *problem, int parts) {
    const int slower = gain_of(parts) < 4 || (problem->operation == FC_BACKWARD_WEIGHT && parts == 2);
    return !slower || fc_winograd_algorithm.refusal(problem) != NULL || !fc_winograd_algorithm.preferred(problem);
}

static fc_status pack_all(const fc_direct *problems, int count, int parts) {
    fc_status status = FC_OK;
    for (int i = 0; i < count && status == FC_OK; i++) status = fc_split_pack(&problems[i], parts);
    return status;
}

#define FC_BF16_ALGORITHM(parts, precision, when)                                                                      \
    static fc_status run_##parts(const fc_direct *problems, int count) {                                               \
        return fc_split_run_all(problems, count, parts);                                                               \
    }                                                                                                                  \
    static size_t panel_bytes_##parts(const fc_direct *d) { return fc_split_panel_bytes(d, parts); }                   \
    static fc_status pack_##parts(const fc_direct *problems, int count) {                                              \
        return pack_all(problems, count, parts);                                                                       \
    }                                                                                                                  \
    static int64_t form_##parts(const fc_direct *d) { return fc_split_form(d, parts); }                                \
    static const fc_panels panels_##parts = {panel_bytes_##parts, pack_##parts, form_##parts};                         \
    static const char *refusal_##parts(const fc_problem *problem) {                                                    \
        return refusal(problem, parts, precision, "it is for " when);                                                  \
    }                                                                                                                  \
    static int preferred_##parts(const fc_problem *problem) { return preferred(problem, parts); }                      \
    static fc_status forward_##parts(const fc_conv2d *g, const fc_array *x, const fc_array *weight,                    \
                                     const fc_array *bias, const fc_array *y, fc_activation activation) {              \
        const fc_direct d = fc_forward_view(g, x, weight, bias, y, activation);                                        \
        return fc_split_run_all(&d, 1, parts);                                                                         \
    }                                                                                                                  \
    static fc_status backward_input_##parts(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,        \
                                            const fc_array *bias, const fc_array *grad_x,                              \
                                            fc_activation activation) {                                                \
        return fc_backward_input_by(run_##parts, &panels_##parts, g, grad_y, weight, bias, grad_x, activation);        \
    }                                                                                                                  \
    static fc_status backward_weight_##parts(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,            \
                                             const fc_array *grad_weight) {                                            \
        return fc_split_backward_weight(g, grad_y, x, grad_weight, parts);                                             \
    }                                                                                                                  \
    const fc_conv2d_algorithm fc_bf16x##parts##_algorithm = {                                                          \
        "bf16x" #parts, FC_DIRECT, refusal_##parts, preferred_##parts, forward_##parts, backward_input_##parts,        \
        backward_weight_##parts,                                                                                       \
        "auto takes it where products of bfloat16 are fast, for " when, &panels_##parts};

FC_BF16_ALGORITHM(1, FC_MEDIUM, "\"medium\"")
FC_BF16_ALGORITHM(2, FC_HIGH, "\"high\"")
FC_BF16_ALGORITHM(3, FC_STRICT, "\"strict\"")
