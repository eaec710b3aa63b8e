/* SPDX-License-Identifier: BSD-3-Clause
 * Column sums and the FMA loop, one number at a time; see reduce.h for the contracts. */
static void F(column_sum)(int64_t rows, int64_t columns, const void *x_, ptrdiff_t x_row, void *y_) {
    const T *x = x_;
    for (int64_t j = 0; j < columns; j++) {
        T sum = 0;
        for (int64_t i = 0; i < rows; i++) sum += x[i * x_row + j];
        ((T *)y_)[j] = sum;
    }
}

static double F(fma_peak)(int64_t rounds) {
    T sums[FC_PEAK_CHAINS] = {0};
    const T x = (T)0.5, y = (T)0.25;
    for (int64_t i = 0; i < rounds; i++)
        for (int chain = 0; chain < FC_PEAK_CHAINS; chain++) sums[chain] = sums[chain] * x + y;
    double total = 0;
    for (int chain = 0; chain < FC_PEAK_CHAINS; chain++) total += (double)sums[chain];
    return total;
}
