/* SPDX-License-Identifier: BSD-3-Clause
 * Stamps one instruction set: both element types of every kernel body, and their table.
 * Define FC_ISA (the name) and the vector vocabulary before; everything is static but the table. */
#ifndef FC_VECTOR_REGISTER
#define FC_VECTOR_REGISTER(x) "+v"(x)
#endif

typedef int32_t lane_f32; /* the element type of i_f32 and i_f64 */
typedef int64_t lane_f64;

/* Doubles are as wide as indices. */
FC_INLINE m_f64 same_place_f64(const int64_t *p, int64_t value) { return same_f64(p, value); }
FC_INLINE m_f64 same_place_n_f64(const int64_t *p, int64_t value, int n) { return same_n_f64(p, value, n); }

#define T float
#define TYPE f32
#include "../kernels/bodies.h"
#undef T
#undef TYPE
#define T double
#define TYPE f64
#include "../kernels/bodies.h"
#undef T
#undef TYPE

#include "isa_table.h"
