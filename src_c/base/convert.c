/* SPDX-License-Identifier: BSD-3-Clause */
#include "convert.h"

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

static float same_f32(float x) { return x; }
static double same_f64(double x) { return x; }
static float from_u8(uint8_t x) { return x; }
static float from_i8(int8_t x) { return x; }
static float from_i16(int16_t x) { return x; }

/* One loop for each pair of types. */
#define FC_CONVERSION(name, From, To, value)                                                                    \
    static void name(int64_t rows, int64_t columns, const void *src, ptrdiff_t src_row, ptrdiff_t src_column,   \
                     void *dst, ptrdiff_t dst_row, ptrdiff_t dst_column) {                                      \
        for (int64_t i = 0; i < rows; i++)                                                                      \
            for (int64_t j = 0; j < columns; j++)                                                               \
                ((To *)dst)[i * dst_row + j * dst_column] =                                                     \
                    (To)value(((const From *)src)[i * src_row + j * src_column]);                               \
    }

FC_CONVERSION(f32_to_f32, float, float, same_f32)
FC_CONVERSION(f64_to_f32, double, float, same_f64)
FC_CONVERSION(f16_to_f32, half, float, from_half)
FC_CONVERSION(u8_to_f32, uint8_t, float, from_u8)
FC_CONVERSION(i8_to_f32, int8_t, float, from_i8)
FC_CONVERSION(i16_to_f32, int16_t, float, from_i16)
FC_CONVERSION(f32_to_f64, float, double, same_f32)
FC_CONVERSION(f64_to_f64, double, double, same_f64)
FC_CONVERSION(f16_to_f64, half, double, from_half)
FC_CONVERSION(u8_to_f64, uint8_t, double, from_u8)
FC_CONVERSION(i8_to_f64, int8_t, double, from_i8)
FC_CONVERSION(i16_to_f64, int16_t, double, from_i16)

typedef void (*conversion)(int64_t, int64_t, const void *, ptrdiff_t, ptrdiff_t, void *, ptrdiff_t, ptrdiff_t);

void fc_convert(fc_dtype from, fc_dtype to, int64_t rows, int64_t columns, const void *src, ptrdiff_t src_row,
                ptrdiff_t src_column, void *dst, ptrdiff_t dst_row, ptrdiff_t dst_column) {
    static const conversion table[FC_DTYPES][2] = {
        [FC_FLOAT32] = {f32_to_f32, f32_to_f64}, [FC_FLOAT64] = {f64_to_f32, f64_to_f64},
        [FC_FLOAT16] = {f16_to_f32, f16_to_f64}, [FC_UINT8] = {u8_to_f32, u8_to_f64},
        [FC_INT8] = {i8_to_f32, i8_to_f64},      [FC_INT16] = {i16_to_f32, i16_to_f64},
    };
    table[from][to == FC_FLOAT64](rows, columns, src, src_row, src_column, dst, dst_row, dst_column);
}

double fc_get(const fc_array *a, int64_t at) {
    double value;
    const void *element = (const char *)a->data + at * (int64_t)fc_dtype_size(a->dtype);
    fc_convert(a->dtype, FC_FLOAT64, 1, 1, element, 0, 0, &value, 0, 0);
    return value;
}

void fc_put(const fc_array *a, int64_t at, double value) {
    if (a->dtype == FC_FLOAT64) ((double *)a->data)[at] = value;
    else ((float *)a->data)[at] = (float)value;
}
