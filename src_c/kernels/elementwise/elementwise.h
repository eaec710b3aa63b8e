/* SPDX-License-Identifier: BSD-3-Clause
 * Contract of the elementwise kernels of a training step: each is one pass over adjacent numbers where NumPy makes
 * several. Products are rounded before they are added, in the order of the formulas: the bits of NumPy's. Arrays do not
 * overlap but where they are the same array. */
#ifndef FC_ELEMENTWISE_H
#define FC_ELEMENTWISE_H

#include <stddef.h>
#include <stdint.h>

#include "../../include/fastconv.h"
#include "../gemm/gemm.h"

/* y[i] = activation(a[i] + b[i]). y may be a or b. */
typedef void (*fc_sum_fn)(fc_epilogue activation, int64_t count, const void *a, const void *b, void *y);

/* Factors of an update; those that are 0 cost nothing. */
typedef struct fc_sgd_factors {
    double rate, momentum, decay;
    int nesterov;
    double least; /* what is smaller becomes 0 in the velocity first; 0: nothing */
    fc_clip clip;
} fc_sgd_factors;

typedef struct fc_adam_factors {
    double scale, beta1, beta2, epsilon, decay;
    double keep;  /* what p is multiplied with first; 1: nothing */
    double least; /* the same in m */
    fc_clip clip;
} fc_adam_factors;

typedef struct fc_rmsprop_factors {
    double scale, alpha, epsilon, momentum, decay;
    double least; /* the same in s and v */
    fc_clip clip;
} fc_rmsprop_factors;

/* Every g of these is clipped first: g*factor, then brought into -limit .. limit.
 *
 * g' = g + decay*p; v = momentum*v + g'; with nesterov p -= rate*(momentum*v + g'), else p -= rate*v; without momentum
 * p -= rate*g', and v is not touched. */
typedef void (*fc_sgd_fn)(const fc_sgd_factors *f, int64_t count, void *p, const void *g, void *v);

/* g' = g + decay*p; m = beta1*m + g'; v = beta2*v + g'*g'; p = keep*p - m / (sqrt(v) + epsilon) * scale. */
typedef void (*fc_adam_fn)(const fc_adam_factors *f, int64_t count, void *p, const void *g, void *m, void *v);

/* g' = g + decay*p; s = alpha*s + g'*g'; d = g' / (sqrt(s) + epsilon); with momentum v = momentum*v + d and
 * p -= v * scale, else p -= d * scale, and v is not touched. */
typedef void (*fc_rmsprop_fn)(const fc_rmsprop_factors *f, int64_t count, void *p, const void *g, void *s, void *v);

/* The sum of x[i]*x[i] in a fixed order, in double precision beyond a thousand numbers. */
typedef double (*fc_square_sum_fn)(int64_t count, const void *x);

#endif
