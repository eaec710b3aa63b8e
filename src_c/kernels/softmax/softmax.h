/* SPDX-License-Identifier: BSD-3-Clause
 * Contract of softmax: the passes over one row of adjacent numbers. Sums go over to double precision after so many
 * numbers that rounding stays within a few units however long the row is. */
#ifndef FC_SOFTMAX_H
#define FC_SOFTMAX_H

#include <stddef.h>
#include <stdint.h>

/* Returns the sum of e[i] = exp(x[i] - most), where most is the largest x[i]. Unless `e` is NULL it takes them; e may
 * be x. A NaN among the x gives a NaN. count is at least 1. */
typedef double (*fc_softmax_sum_fn)(int64_t count, const void *x, void *e, double *most);

/* y[i] = x[i]*factor, or with `logarithm` (x[i] - most) - factor. y may be x. */
typedef void (*fc_softmax_finish_fn)(int logarithm, int64_t count, const void *x, double most, double factor, void *y);

/* Gradient from the result y: grad_x[i] = (grad_y[i] - sum of grad_y*y) * y[i], or with `logarithm`
 * grad_y[i] - exp(y[i]) * sum of grad_y. grad_x may be grad_y or y. */
typedef void (*fc_softmax_backward_fn)(int logarithm, int64_t count, const void *grad_y, const void *y, void *grad_x);

#endif
