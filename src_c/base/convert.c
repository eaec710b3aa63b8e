/* SPDX-License-Identifier: BSD-3-Clause */
#include "convert.h"

#include "compiler.h"
#include "element.h"

#include <string.h>

size_t fc_dtype_size(fc_dtype dtype) {
    switch (dtype) {
        case FC_FLOAT64: return 8;
        case FC_FLOAT32: return 4;
        case FC_FLOAT16:
        case FC_INT16: return 2;
        default: return 1;
    }
}

typedef uint16_t half;

/* IEEE 754 binary16 to binary32, exact. */
static float from_half(half x) {
    const uint32_t sign = (uint32_t)(x & 0x8000u) << 16, exponent = (x >> 10) & 31u, fraction = x & 1023u;
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24 */
        const float magnitude = (float)fraction * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    const uint32_t bits = sign | (exponent == 31 ? 255u << 23 : (exponent + 112u) << 23) | fraction << 13;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* One element as a double, which holds every value of every type. */
FC_INLINE double read_one(fc_dtype from, const void *src, ptrdiff_t at) {
    switch (from) {
        case FC_FLOAT32: return (double)((const float *)src)[at];
        case FC_FLOAT64: return ((const double *)src)[at];
        case FC_FLOAT16: return (double)from_half(((const half *)src)[at]);
        case FC_UINT8: return ((const uint8_t *)src)[at];
        case FC_INT8: return ((const int8_t *)src)[at];
        default: return ((const int16_t *)src)[at];
    }
}

/* The loop for one pair of types: `from` and `to` are constants after inlining. */
FC_INLINE void convert(fc_dtype from, fc_dtype to, int64_t rows, int64_t columns, const void *src, ptrdiff_t src_row,
                       ptrdiff_t src_column, void *dst, ptrdiff_t dst_row, ptrdiff_t dst_column) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            const double value = read_one(from, src, i * src_row + j * src_column);
            const ptrdiff_t at = i * dst_row + j * dst_column;
            if (to == FC_FLOAT64) ((double *)dst)[at] = value;
            else ((float *)dst)[at] = (float)value;
        }
}

#define FC_FROM(type)                                                                                           \
    case type:                                                                                                  \
        if (to == FC_FLOAT64)                                                                                   \
            convert(type, FC_FLOAT64, rows, columns, src, src_row, src_column, dst, dst_row, dst_column);       \
        else convert(type, FC_FLOAT32, rows, columns, src, src_row, src_column, dst, dst_row, dst_column);      \
        break;

void fc_convert(fc_dtype from, fc_dtype to, int64_t rows, int64_t columns, const void *src, ptrdiff_t src_row,
                ptrdiff_t src_column, void *dst, ptrdiff_t dst_row, ptrdiff_t dst_column) {
    switch (from) {
        FC_FROM(FC_FLOAT32) FC_FROM(FC_FLOAT64) FC_FROM(FC_FLOAT16)
        FC_FROM(FC_UINT8) FC_FROM(FC_INT8) FC_FROM(FC_INT16)
        default: break;
    }
}
#undef FC_FROM

double fc_get(const fc_array *a, int64_t at) { return read_one(a->dtype, a->data, at); }

void fc_put(const fc_array *a, int64_t at, double value) {
    if (a->dtype == FC_FLOAT64) ((double *)a->data)[at] = value;
    else ((float *)a->data)[at] = (float)value;
}
