/* SPDX-License-Identifier: BSD-3-Clause
 * The strided copy over the vector vocabulary; see copy.h for the contract. */

FC_INLINE F(v) F(load_some)(const T *p, int n) { return n == F(VL) ? F(load)(p) : F(load_n)(p, n); }

FC_INLINE void F(store_some)(T *p, F(v) a, int n) {
    if (n == F(VL)) F(store)(p, a);
    else F(store_n)(p, a, n);
}

/* One row of adjacent numbers. The last vector overlaps the one before it instead of a tail of single numbers. */
FC_INLINE void F(copy_row)(int64_t n, const T *src, T *dst) {
    if (n < F(VL)) {
        F(store_n)(dst, F(load_n)(src, (int)n), (int)n);
        return;
    }
    for (int64_t i = 0; i + F(VL) < n; i += F(VL)) F(store)(dst + i, F(load)(src + i));
    F(store)(dst + n - F(VL), F(load)(src + n - F(VL)));
}

/* Rows of 1 to 4 whole vectors, the width of panels and of many images: no loop within a row. */
FC_INLINE void F(copy_narrow)(const int vectors, int64_t rows, const T *src, ptrdiff_t src_row, T *dst,
                              ptrdiff_t dst_row) {
    for (int64_t i = 0; i < rows; i++, src += src_row, dst += dst_row) {
        FC_UNROLL
        for (int l = 0; l < vectors; l++) F(store)(dst + l * F(VL), F(load)(src + l * F(VL)));
    }
}

static void F(copy_rows)(int64_t rows, int64_t columns, const T *src, ptrdiff_t src_row, T *dst, ptrdiff_t dst_row) {
    if (columns == F(VL)) F(copy_narrow)(1, rows, src, src_row, dst, dst_row);
    else if (columns == 2 * F(VL)) F(copy_narrow)(2, rows, src, src_row, dst, dst_row);
    else if (columns == 4 * F(VL)) F(copy_narrow)(4, rows, src, src_row, dst, dst_row);
    else
        for (int64_t i = 0; i < rows; i++) F(copy_row)(columns, src + i * src_row, dst + i * dst_row);
}

/* x[0], ..., x[rows-1], lane by lane: x[0][0], x[1][0], ..., x[0][1], ... log2(rows) rounds of interleaving row i with
 * row i + rows/2. With as many rows as lanes, this turns a square. */
FC_INLINE void F(interleave)(const int rows, F(v) x[]) {
    F(v) y[F(VL)];
    FC_UNROLL
    for (int width = 1; width < rows; width *= 2) {
        FC_UNROLL
        for (int i = 0; i < rows / 2; i++) {
            y[2 * i] = F(zip_lo)(x[i], x[i + rows / 2]);
            y[2 * i + 1] = F(zip_hi)(x[i], x[i + rows / 2]);
        }
        FC_UNROLL
        for (int i = 0; i < rows; i++) x[i] = y[i];
    }
}

/* VL x VL numbers, rows of src to columns of dst. */
FC_INLINE void F(transpose_block)(const T *src, ptrdiff_t src_row, T *dst, ptrdiff_t dst_row) {
    F(v) x[F(VL)];
    FC_UNROLL
    for (int i = 0; i < F(VL); i++) x[i] = F(load)(src + i * src_row);
    F(interleave)(F(VL), x);
    FC_UNROLL
    for (int i = 0; i < F(VL); i++) F(store)(dst + i * dst_row, x[i]);
}

/* The same of fewer rows or columns. */
static void F(transpose_part)(int rows, int columns, const T *src, ptrdiff_t src_row, T *dst, ptrdiff_t dst_row) {
    F(v) x[F(VL)];
    FC_UNROLL
    for (int i = 0; i < F(VL); i++) x[i] = i < rows ? F(load_some)(src + i * src_row, columns) : F(zero)();
    F(interleave)(F(VL), x);
    FC_UNROLL
    for (int i = 0; i < F(VL); i++)
        if (i < columns) F(store_some)(dst + i * dst_row, x[i], rows);
}

/* Up to `wide` rows, a power of 2 below VL: after the rounds, x holds columns of src one behind the other, `wide`
 * numbers each. Where dst has no gaps they are stored whole: what is too much of one the next one overwrites, so that
 * only the last column has to be stored by its length. */
FC_INLINE void F(transpose_few)(const int wide, int rows, int64_t columns, const T *src, ptrdiff_t src_row, T *dst,
                                ptrdiff_t dst_row) {
    const int each = F(VL) / wide;
    for (int64_t j = 0; j < columns; j += F(VL), src += F(VL)) {
        const int there = (int)FC_MIN((int64_t)F(VL), columns - j);
        F(v) x[F(VL)];
        FC_UNROLL
        for (int i = 0; i < wide; i++) x[i] = i < rows ? F(load_some)(src + i * src_row, there) : F(zero)();
        F(interleave)(wide, x);
        const int whole = dst_row == rows ? (int)FC_MIN((int64_t)wide, (columns - j - 1) / each) : 0; /* vectors */
        FC_UNROLL
        for (int i = 0; i < wide; i++) {
            if (i >= whole) break;
            if (rows == wide) F(store)(dst, x[i]);
            else F(store_pieces)(dst, x[i], wide, dst_row);
            dst += each * dst_row;
        }
        for (int l = whole * each; l < there; l++, dst += dst_row)
            for (int r = 0; r < rows; r++) dst[r] = src[r * src_row + l];
    }
}

/* dst[j*dst_row + i] = src[i*src_row + j] */
static void F(transpose)(int64_t rows, int64_t columns, const T *src, ptrdiff_t src_row, T *dst, ptrdiff_t dst_row) {
    if (rows == 1)
        for (int64_t j = 0; j < columns; j++) dst[j * dst_row] = src[j];
    else if (rows == 2 && F(VL) > 2) F(transpose_few)(2, (int)rows, columns, src, src_row, dst, dst_row);
    else if (rows <= 4 && F(VL) > 4) F(transpose_few)(4, (int)rows, columns, src, src_row, dst, dst_row);
    else if (rows <= 8 && F(VL) > 8) F(transpose_few)(8, (int)rows, columns, src, src_row, dst, dst_row);
    else
        for (int64_t i = 0; i < rows; i += F(VL)) {
            const int row_count = (int)FC_MIN((int64_t)F(VL), rows - i);
            int64_t j = 0;
            for (; row_count == F(VL) && j + F(VL) <= columns; j += F(VL))
                F(transpose_block)(src + i * src_row + j, src_row, dst + j * dst_row + i, dst_row);
            for (; j < columns; j += F(VL))
                F(transpose_part)(row_count, (int)FC_MIN((int64_t)F(VL), columns - j), src + i * src_row + j, src_row,
                                  dst + j * dst_row + i, dst_row);
        }
}

static void F(copy)(int64_t rows, int64_t columns, const void *src_, ptrdiff_t src_row, ptrdiff_t src_column,
                    void *dst_, ptrdiff_t dst_row, ptrdiff_t dst_column) {
    const T *src = src_;
    T *dst = dst_;
    if (src_column == 1 && dst_column == 1)
        F(copy_rows)(rows, columns, src, src_row, dst, dst_row);
    else if (src_row == 1 && dst_row == 1)
        F(copy_rows)(columns, rows, src, src_column, dst, dst_column);
    else if (src_column == 1 && dst_row == 1)
        F(transpose)(rows, columns, src, src_row, dst, dst_column);
    else if (src_row == 1 && dst_column == 1)
        F(transpose)(columns, rows, src, src_column, dst, dst_row);
    else
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++)
                dst[i * dst_row + j * dst_column] = src[i * src_row + j * src_column];
}

/* The columns of a block that is not full: zeros behind them. */
static void F(spread_part)(int64_t rows, int64_t columns, const T *src, ptrdiff_t src_row, T *dst, int64_t width) {
    for (int64_t i = 0; i < rows; i++, src += src_row, dst += width)
        for (int64_t l = 0; l < width; l += F(VL)) {
            const int there = (int)FC_MIN((int64_t)F(VL), FC_MAX(0, columns - l));
            F(store_n)(dst + l, F(load_n)(src + l, there), (int)FC_MIN((int64_t)F(VL), width - l));
        }
}

/* Block after block: stores that go on in one stream take half the time of those that take turns among blocks. */
static void F(spread)(int64_t rows, int64_t columns, const void *src_, ptrdiff_t src_row, void *dst_, int64_t width,
                      ptrdiff_t dst_block) {
    const T *src = src_;
    T *dst = dst_;
    for (; columns >= width; columns -= width, src += width, dst += dst_block)
        F(copy_rows)(rows, width, src, src_row, dst, width);
    if (columns > 0) F(spread_part)(rows, columns, src, src_row, dst, width);
}
