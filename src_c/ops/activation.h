/* SPDX-License-Identifier: BSD-3-Clause
 * Activations: what the tile kernel applies in registers, and what is applied to its results while they are in L1. */
#ifndef FC_ACTIVATION_H
#define FC_ACTIVATION_H

#include <stddef.h>

#include "../include/fastconv.h"
#include "../kernels/kernels.h"

/* The activation of a call; NULL: all defaults. */
static inline fc_activation fc_activation_of(const fc_options *options) {
    return options == NULL ? FC_NONE : options->activation;
}

/* The part of an activation that the tile kernel does itself. */
fc_epilogue fc_epilogue_of(fc_activation activation);

/* Whether an activation is left for fc_activate_row. */
static inline int fc_is_left(fc_activation activation) { return activation > FC_LEAKY_RELU; }

/* y[i * step] = f(y[i * step]) for the activations that the tile kernel leaves; nothing for the others. */
void fc_activate_row(const fc_kernels *kernels, fc_activation activation, int64_t n, void *y, ptrdiff_t step);

/* f(x), any activation. */
double fc_activate_one(fc_activation activation, double x);

#endif
