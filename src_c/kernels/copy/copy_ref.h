/* SPDX-License-Identifier: BSD-3-Clause
 * The strided copy, one number at a time; see copy.h for the contract. */
static void F(copy)(int64_t rows, int64_t columns, const void *src_, ptrdiff_t src_row, ptrdiff_t src_column,
                    void *dst_, ptrdiff_t dst_row, ptrdiff_t dst_column) {
    const T *src = src_;
    T *dst = dst_;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) dst[i * dst_row + j * dst_column] = src[i * src_row + j * src_column];
}

static void F(spread)(int64_t rows, int64_t columns, const void *src, ptrdiff_t src_row, void *dst, int64_t width,
                      ptrdiff_t dst_block) {
    const int64_t blocks = (columns + width - 1) / width;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < blocks * width; j++) {
            const T value = j < columns ? ((const T *)src)[i * src_row + j] : 0;
            ((T *)dst)[j / width * dst_block + i * width + j % width] = value;
        }
}
