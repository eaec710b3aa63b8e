/* SPDX-License-Identifier: BSD-3-Clause
 * Counting checks and making exact data. Arrays are allocated to the byte, so that AddressSanitizer sees every step
 * beyond them. */
#ifndef FC_CHECK_H
#define FC_CHECK_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../isa/dispatch.h"

static long passed, failed;

/* Count a check; say where it failed, but not more than a screen of it. */
static inline void check_at(int ok, const char *what, const char *where, int line) {
    if (ok) passed++;
    else if (failed++ < 25) fprintf(stderr, "%s:%d: %s\n", where, line, what);
}
#define CHECK(ok, what) check_at((ok), (what), __FILE__, __LINE__)

static inline int report(void) {
    printf("%ld passed, %ld failed\n", passed, failed);
    return failed != 0 || passed == 0;
}

/* A small generator with a fixed start: the same problems in every run. */
static uint64_t random_state = 0x9E3779B97F4A7C15u;
static inline uint32_t random_bits(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}
static inline int64_t random_between(int64_t low, int64_t high) {
    return low + (int64_t)(random_bits() % (uint32_t)(high - low + 1));
}

/* Whole numbers from -4 to 4: sums of a few thousand products are exact in float32, whatever their order. */
static inline void fill(void *data, fc_dtype dtype, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const int64_t value = random_between(-4, 4);
        if (dtype == FC_FLOAT32) ((float *)data)[i] = (float)value;
        else ((double *)data)[i] = (double)value;
    }
}

static inline size_t size_of(fc_dtype dtype) { return dtype == FC_FLOAT64 ? 8 : 4; }

static inline void *new_array(fc_dtype dtype, size_t count) {
    void *data = malloc(count * size_of(dtype) + (count == 0));
    fill(data, dtype, count);
    return data;
}

/* Every byte 0xFF is a NaN in either type: what was not written shows. */
static inline void *new_poisoned(fc_dtype dtype, size_t count) {
    void *data = malloc(count * size_of(dtype) + (count == 0));
    memset(data, 0xFF, count * size_of(dtype));
    return data;
}

static inline double number_at(const void *data, fc_dtype dtype, size_t i) {
    return dtype == FC_FLOAT64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

static inline void set_number(void *data, fc_dtype dtype, size_t i, double value) {
    if (dtype == FC_FLOAT64) ((double *)data)[i] = value;
    else ((float *)data)[i] = (float)value;
}

/* u: half the distance from 1 to the next larger number. */
static inline double unit_of(fc_dtype dtype) { return dtype == FC_FLOAT64 ? 0x1p-53 : 0x1p-24; }

/* Within `tolerance` of each other, and NaN where NaN is. */
static inline int close_numbers(const void *a, const void *b, fc_dtype dtype, size_t count, double tolerance) {
    for (size_t i = 0; i < count; i++) {
        const double x = number_at(a, dtype, i), y = number_at(b, dtype, i);
        if (!(x == y || fabs(x - y) <= tolerance || (isnan(x) && isnan(y)))) return 0;
    }
    return 1;
}

/* Equal as numbers (-0 is 0), and NaN where NaN is. */
static inline int same_numbers(const void *a, const void *b, fc_dtype dtype, size_t count) {
    return close_numbers(a, b, dtype, count, 0);
}

#endif
