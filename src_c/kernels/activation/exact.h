/* SPDX-License-Identifier: BSD-3-Clause
 * The activations and their slopes at one number, by the library functions of C: what the vector kernels are judged by.
 * The tails of gelu are computed in long double: e^(-x*x/2) multiplies an error of its argument by x*x. */
#ifndef FC_EXACT_H
#define FC_EXACT_H

#include <math.h>

#include "../../include/fastconv.h"

static inline double fc_exact_sigmoid(double x) {
    const double small = exp(-fabs(x)); /* does not overflow */
    return (x < 0 ? small : 1) / (1 + small);
}

/* The argument of the sigmoid in x * sigmoid(..), by which gelu is approximated (Hendrycks and Gimpel, 2016). */
static inline long double fc_exact_gelu_argument(long double x) {
    return 1.5957691216057307117597842397375275L * (x + 0.044715L * x * x * x); /* 2 * sqrt(2 / pi) */
}

static inline long double fc_exact_long_sigmoid(long double x) {
    const long double small = expl(-fabsl(x));
    return (x < 0 ? small : 1) / (1 + small);
}

/* The share of the normal distribution below x. */
static inline long double fc_exact_normal(long double x) { return erfcl(x * -0.70710678118654752440084436210L) / 2; }

static inline double fc_exact_activation(fc_activation activation, double slope, double x) {
    switch (activation) {
        case FC_RELU: return 0 > x ? 0 : x;
        case FC_LEAKY_RELU: return x > 0 ? x : x * slope;
        case FC_TANH: return tanh(x);
        case FC_SIGMOID: return fc_exact_sigmoid(x);
        case FC_SILU: return x < -1e4 ? -0.0 : (double)(x * fc_exact_long_sigmoid(x));
        case FC_GELU: return x < -1e4 ? -0.0 : (double)(x * fc_exact_normal(x));
        case FC_GELU_TANH:
            return x < -1e4 ? -0.0 : (double)(x * fc_exact_long_sigmoid(fc_exact_gelu_argument(x)));
        default: return x;
    }
}

/* From the result y, of silu and gelu from the argument. */
static inline double fc_exact_slope(fc_activation activation, double slope, double y) {
    const double far = 1e4, x = y > far ? far : y < -far ? -far : y; /* beyond it is 0 or 1, but 0 * inf is NaN */
    switch (activation) {
        case FC_RELU: return y > 0;
        case FC_LEAKY_RELU: return y > 0 ? 1 : slope;
        case FC_TANH: return (1 - y) * (1 + y);
        case FC_SIGMOID: return (1 - y) * y;
        case FC_SILU: return (double)(fc_exact_long_sigmoid(x) * (1 + x * fc_exact_long_sigmoid(-x)));
        case FC_GELU:
            return (double)(fc_exact_normal(x) +
                            x * expl((long double)x * x / -2) * 0.39894228040143267793994605993438L); /* 1/sqrt(2 pi) */
        case FC_GELU_TANH: {
            const long double z = fc_exact_gelu_argument(x), rise = 1.5957691216057307L * (1 + 0.134145L * x * x);
            return (double)(fc_exact_long_sigmoid(z) * (1 + x * fc_exact_long_sigmoid(-z) * rise));
        }
        default: return 1;
    }
}

#endif
