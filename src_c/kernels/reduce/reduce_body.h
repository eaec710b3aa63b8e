/* SPDX-License-Identifier: BSD-3-Clause
 * Sums of columns, of products, and the FMA loop over the vector vocabulary; see reduce.h for the contracts. */

/* Four chains hide the latency of the addition; they are joined at the end, always in the same order. */
FC_INLINE F(v) F(sum_rows)(int64_t rows, const T *x, ptrdiff_t x_row, int n) {
    F(v) sum[4];
    FC_UNROLL
    for (int l = 0; l < 4; l++) sum[l] = F(zero)();
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4) {
        FC_UNROLL
        for (int l = 0; l < 4; l++) sum[l] = F(add)(sum[l], F(load_some)(x + (i + l) * x_row, n));
    }
    for (; i < rows; i++) sum[0] = F(add)(sum[0], F(load_some)(x + i * x_row, n));
    return F(add)(F(add)(sum[0], sum[1]), F(add)(sum[2], sum[3]));
}

static void F(column_sum)(int64_t rows, int64_t columns, const void *x, ptrdiff_t x_row, void *y) {
    for (int64_t j = 0; j < columns; j += F(VL)) {
        const int n = (int)FC_MIN((int64_t)F(VL), columns - j);
        F(store_some)((T *)y + j, F(sum_rows)(rows, (const T *)x + j, x_row, n), n);
    }
}

enum { F(CHAIN) = 64 * F(VL) }; /* numbers after which a sum goes over to double precision: 16 in each chain */

/* The sum of a*b, or of a alone where b is NULL. */
FC_INLINE double F(sum_of_products)(int64_t count, const T *a, const T *b) {
    double total = 0;
    for (int64_t i = 0; i < count;) {
        const int64_t end = FC_MIN(count, i + F(CHAIN));
        F(v) sum[4];
        FC_UNROLL
        for (int l = 0; l < 4; l++) sum[l] = F(zero)();
        for (; i + 4 * F(VL) <= end; i += 4 * F(VL)) {
            FC_UNROLL
            for (int l = 0; l < 4; l++) {
                const F(v) one = b == NULL ? F(set1)(1) : F(load)(b + i + l * F(VL));
                sum[l] = F(fma)(F(load)(a + i + l * F(VL)), one, sum[l]);
            }
        }
        for (; i < end; i += F(VL)) {
            const int n = (int)FC_MIN((int64_t)F(VL), end - i);
            const F(v) one = b == NULL ? F(set1)(1) : F(load_some)(b + i, n);
            sum[0] = F(fma)(F(load_some)(a + i, n), one, sum[0]);
        }
        i = end;
        total += F(sum_lanes)(F(add)(F(add)(sum[0], sum[1]), F(add)(sum[2], sum[3])));
    }
    return total;
}

static double F(fma_peak)(int64_t rounds) {
    F(v) sum[FC_PEAK_CHAINS];
    const F(v) x = F(set1)((T)0.5), y = F(set1)((T)0.25);
    FC_UNROLL
    for (int chain = 0; chain < FC_PEAK_CHAINS; chain++) sum[chain] = F(zero)();
    for (int64_t i = 0; i < rounds; i++) {
        FC_UNROLL
        for (int chain = 0; chain < FC_PEAK_CHAINS; chain++) {
            F(v) next = F(fma)(sum[chain], x, y);
            __asm__ volatile("" : FC_VECTOR_REGISTER(next)); /* or the compiler folds the loop */
            sum[chain] = next;
        }
    }
    T lanes[FC_PEAK_CHAINS][F(VL)];
    double total = 0;
    for (int chain = 0; chain < FC_PEAK_CHAINS; chain++) {
        F(store)(lanes[chain], sum[chain]);
        total += (double)lanes[chain][0];
    }
    return total;
}
