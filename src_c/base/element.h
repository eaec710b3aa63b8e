/* SPDX-License-Identifier: BSD-3-Clause
 * One element of an array of any type, for code that need not be fast. */
#ifndef FC_ELEMENT_H
#define FC_ELEMENT_H

#include "../include/fastconv.h"

/* Offset in elements of a place in an array of four axes. */
static inline int64_t fc_at(const int64_t stride[4], int64_t i, int64_t j, int64_t k, int64_t l) {
    return i * stride[0] + j * stride[1] + k * stride[2] + l * stride[3];
}

double fc_get(const fc_array *a, int64_t at);           /* any type */
void fc_put(const fc_array *a, int64_t at, double value); /* float32 and float64 */

#endif
