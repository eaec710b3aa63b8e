/* SPDX-License-Identifier: BSD-3-Clause
 * Contract of the kernels of local response normalisation. All walk a block of pixels and all channels, of which either
 * the pixels or the channels are adjacent numbers, in all its arrays alike. With d[c] = k + factor * sum of x[j]^2 over
 * the channels j from c - before to c + after that there are, in ascending order:
 *
 *   response           y[c] = x[c] / d[c]^beta
 *   response_terms     direct[c] = grad_y[c] / d[c]^beta and terms[c] = direct[c] * x[c] / d[c]
 *   response_gradient  grad_x[c] = direct[c] - 2 * beta * factor * x[c] * sum of terms[j]
 *
 * the last over j from c - after to c + before; grad_x is what holds `direct`. */
#ifndef FC_RESPONSE_H
#define FC_RESPONSE_H

#include <math.h>
#include <stdint.h>

#include "../norm/norm.h"

typedef struct fc_response_block {
    int64_t pixels, columns;
    fc_norm_walk x, grad_y, to, terms; /* .image is not read */
    int64_t before, after;
    double factor, beta, k;
    int quarters; /* beta in quarters, where that is a whole number from 0 to 8: roots give the power; else -1 */
} fc_response_block;

typedef void (*fc_response_fn)(const fc_response_block *b, const void *x, void *y);
typedef void (*fc_response_terms_fn)(const fc_response_block *b, const void *x, const void *grad_y, void *direct,
                                     void *terms);
typedef void (*fc_response_gradient_fn)(const fc_response_block *b, const void *x, const void *terms, void *grad_x);

/* The libraries of C have two names for it. */
static inline float fc_power_f32(float a, float b) { return powf(a, b); }
static inline double fc_power_f64(double a, double b) { return pow(a, b); }

#endif
