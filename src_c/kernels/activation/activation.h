/* SPDX-License-Identifier: BSD-3-Clause
 * Contract of the activations: one pass over adjacent numbers, each on its own. */
#ifndef FC_ACTIVATION_KERNELS_H
#define FC_ACTIVATION_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "../../include/fastconv.h"

/* y[i] = activation(x[i]), by the formulas of fc_activation in fastconv.h; `slope` is that of FC_LEAKY_RELU. A NaN
 * stays one. Within 4 units of rounding of the true value wherever that is no subnormal number. y may be x. */
typedef void (*fc_activation_fn)(fc_activation activation, double slope, int64_t count, const void *x, void *y);

/* grad_x[i] = grad_y[i] * slope of the activation, at
 *     its result y[i]:    relu y > 0 ? 1 : 0; leaky relu y > 0 ? 1 : slope; tanh (1 - y)*(1 + y); sigmoid (1 - y)*y
 *     its argument y[i]:  silu, gelu and gelu by tanh
 * grad_x may be grad_y or y. */
typedef void (*fc_activation_backward_fn)(fc_activation activation, double slope, int64_t count, const void *grad_y,
                                          const void *y, void *grad_x);

#endif
