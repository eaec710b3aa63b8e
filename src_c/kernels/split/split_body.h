/* SPDX-License-Identifier: BSD-3-Clause
 * Products by parts over float vectors of 16 numbers: what all instruction sets share, splitting and the results; see
 * split.h for the contract. The products themselves are split_tiles_body.h, on a matrix unit, or
 * split_vectors_body.h. */

#define T float
#define TYPE f32
#define F(name) FC_JOIN(name, TYPE)
#include "../gemm/epilogue_body.h"
#undef F
#undef T
#undef TYPE

/* The 8 leading bits of x, by Veltkamp's rounding. */
FC_INLINE v_f32 leading_bits(v_f32 x) {
    const v_f32 far = mul_f32(x, set1_f32(65537.0f));
    return sub_f32(far, sub_f32(far, x));
}

/* 32 numbers become `parts` vectors, `step` apart; terms j and j + 16 side by side. */
FC_INLINE void split_vectors(const int parts, v_f32 low, v_f32 high, fc_bf16 *dst, ptrdiff_t step) {
    FC_UNROLL
    for (int part = 0; part < parts; part++) {
        const v_f32 low_head = part < 2 ? leading_bits(low) : low, high_head = part < 2 ? leading_bits(high) : high;
        store_halves(dst + part * step, low_head, high_head);
        low = sub_f32(low, low_head);
        high = sub_f32(high, high_head);
    }
}

/* The first n numbers of a vector, zeros behind them; n may lie beyond either end. */
FC_INLINE v_f32 load_up_to(const float *p, int64_t n) {
    return n >= VL_f32 ? load_f32(p) : n > 0 ? load_n_f32(p, (int)n) : zero_f32();
}

FC_INLINE void split_rows_fixed(const int parts, int64_t rows, int64_t columns, const float *src, ptrdiff_t src_row,
                                fc_bf16 *dst, ptrdiff_t dst_chunk) {
    for (int64_t i = 0; i < rows; i++, src += src_row, dst += parts * FC_SPLIT_TERMS) {
        fc_bf16 *to = dst;
        int64_t j = 0;
        for (; columns - j >= FC_SPLIT_TERMS; j += FC_SPLIT_TERMS, to += dst_chunk)
            split_vectors(parts, load_f32(src + j), load_f32(src + j + VL_f32), to, FC_SPLIT_TERMS);
        if (j < columns)
            split_vectors(parts, load_up_to(src + j, columns - j), load_up_to(src + j + VL_f32, columns - j - VL_f32),
                          to, FC_SPLIT_TERMS);
    }
}

static void split_rows(int parts, int64_t rows, int64_t columns, const float *src, ptrdiff_t src_row, fc_bf16 *dst,
                       ptrdiff_t dst_chunk) {
    if (parts == 1) split_rows_fixed(1, rows, columns, src, src_row, dst, dst_chunk);
    else if (parts == 2) split_rows_fixed(2, rows, columns, src, src_row, dst, dst_chunk);
    else split_rows_fixed(3, rows, columns, src, src_row, dst, dst_chunk);
}

/* What is read here are short pieces of many rows, in which processors do not see what comes next: without hints
 * a panel of weights came in at a third of the speed of memory. In the order of memory, not in that of the pieces,
 * gradients of weights take x0.8 to x0.95 of the time on Zen 4, layers of one small image x0.75 to x0.95. */
FC_INLINE void bring_line(fc_rows_ahead *ahead) {
    __builtin_prefetch(ahead->at, 0, 2);
    ahead->at += 64;
    if (--ahead->left == 0) ahead->left = ahead->lines, ahead->at += ahead->gap;
}

FC_INLINE void split_panel_fixed(const int parts, int terms, int columns, const float *src, ptrdiff_t src_term,
                                 fc_rows_ahead *ahead, fc_bf16 *dst) {
    for (int l = 0; l < VL_f32; l++)
        for (int j = 0; j < columns; j += VL_f32) {
            bring_line(ahead);
            bring_line(ahead);
            const v_f32 low = load_up_to(src + l * src_term + j, l < terms ? columns - j : 0);
            const v_f32 high = load_up_to(src + (l + VL_f32) * src_term + j, l + VL_f32 < terms ? columns - j : 0);
            split_vectors(parts, low, high, dst + j * FC_SPLIT_TERMS + l * FC_SPLIT_TERMS, FC_SPLIT_PANEL);
        }
}

/* 16 vectors as the rows of a square, which is transposed: four perfect shuffles. */
FC_INLINE void transpose(v_f32 x[VL_f32]) {
    v_f32 y[VL_f32];
    FC_UNROLL
    for (int round = 0; round < 4; round++) {
        FC_UNROLL
        for (int i = 0; i < VL_f32 / 2; i++) {
            y[2 * i] = zip_lo_f32(x[i], x[i + VL_f32 / 2]);
            y[2 * i + 1] = zip_hi_f32(x[i], x[i + VL_f32 / 2]);
        }
        FC_UNROLL
        for (int i = 0; i < VL_f32; i++) x[i] = y[i];
    }
}

/* The pairs of 16 rows, which become columns, of which the first `columns` are stored. */
FC_INLINE void store_turned(const int parts, fc_bf16 pairs[FC_MOST_PARTS][VL_f32][2 * VL_f32], int columns,
                            fc_bf16 *dst, ptrdiff_t dst_row, ptrdiff_t dst_part) {
    for (int part = 0; part < parts; part++) {
        v_f32 x[VL_f32];
        FC_UNROLL
        for (int i = 0; i < VL_f32; i++) x[i] = load_f32((const float *)(const void *)pairs[part][i]);
        transpose(x);
        fc_bf16 *to = dst + part * dst_part;
        if (columns == VL_f32) {
            FC_UNROLL
            for (int j = 0; j < VL_f32; j++) store_f32((float *)(void *)(to + j * dst_row), x[j]);
            continue;
        }
        FC_UNROLL
        for (int j = 0; j < VL_f32; j++)
            if (j < columns) store_f32((float *)(void *)(to + j * dst_row), x[j]);
    }
}

/* A panel from rows of terms. */
FC_INLINE void split_turned_panel(const int parts, int terms, int columns, const float *src, ptrdiff_t src_column,
                                  fc_rows_ahead *ahead, fc_bf16 *dst) {
    fc_bf16 pairs[FC_MOST_PARTS][VL_f32][2 * VL_f32] __attribute__((aligned(64)));
    for (int half = 0; half < columns; half += VL_f32) {
        for (int j = 0; j < VL_f32; j++) {
            bring_line(ahead);
            bring_line(ahead);
            const float *row = src + (half + j) * src_column;
            const int left = half + j < columns ? terms : 0;
            split_vectors(parts, load_up_to(row, left), load_up_to(row + VL_f32, left - VL_f32), pairs[0][j],
                          2 * VL_f32 * VL_f32);
        }
        store_turned(parts, pairs, VL_f32, dst + half * FC_SPLIT_TERMS, FC_SPLIT_TERMS, FC_SPLIT_PANEL);
    }
}

FC_INLINE void split_panel_parts(const int parts, int terms, int columns, const float *src, ptrdiff_t src_term,
                                 ptrdiff_t src_column, fc_rows_ahead *ahead, fc_bf16 *dst) {
    if (src_column == 1) split_panel_fixed(parts, terms, columns, src, src_term, ahead, dst);
    else split_turned_panel(parts, terms, columns, src, src_column, ahead, dst);
}

static void split_panel(int parts, int terms, int columns, const float *src, ptrdiff_t src_term, ptrdiff_t src_column,
                        fc_rows_ahead *ahead, fc_bf16 *dst) {
    fc_rows_ahead lines = {.at = (const char *)src, .gap = -64, .lines = 1, .left = 1}; /* none but one */
    if (ahead != NULL) lines = *ahead;
    if (parts == 1) split_panel_parts(1, terms, columns, src, src_term, src_column, &lines, dst);
    else if (parts == 2) split_panel_parts(2, terms, columns, src, src_term, src_column, &lines, dst);
    else split_panel_parts(3, terms, columns, src, src_term, src_column, &lines, dst);
    if (ahead != NULL) *ahead = lines;
}

/* 16 pairs of up to 16 columns. `low` and `high`: numbers left of the first and of the second half. */
FC_INLINE void split_square(const int parts, const int step, int64_t low, int64_t high, int columns, const float *src,
                            ptrdiff_t src_row, fc_rows_ahead *ahead, fc_bf16 *dst, ptrdiff_t dst_row,
                            ptrdiff_t dst_part) {
    fc_bf16 pairs[FC_MOST_PARTS][VL_f32][2 * VL_f32] __attribute__((aligned(64)));
    for (int i = 0; i < VL_f32; i++) {
        bring_line(ahead);
        if (step > VL_f32) bring_line(ahead);
        const v_f32 first = load_up_to(src + i * src_row, i < low ? columns : 0);
        const v_f32 second = load_up_to(src + (i + VL_f32) * src_row, i < high ? columns : 0);
        split_vectors(parts, first, second, pairs[0][i], 2 * VL_f32 * VL_f32);
    }
    store_turned(parts, pairs, columns, dst, dst_row, dst_part);
}

/* While a row of squares is split, the rows that the next one adds to it are brought in, which may lie behind the
 * array. */
FC_INLINE void split_columns_fixed(const int parts, int64_t rows, int64_t columns, const float *src, ptrdiff_t src_row,
                                   int64_t blocks, int step, fc_bf16 *dst, ptrdiff_t dst_row, ptrdiff_t dst_part) {
    const int lines = (int)((columns + VL_f32 - 1) / VL_f32);
    for (int64_t b = 0; b < blocks; b++) {
        const float *from = src + b * step * src_row;
        fc_rows_ahead ahead = {.at = (const char *)(from + 2 * VL_f32 * src_row),
                               .gap = (src_row - lines * VL_f32) * (ptrdiff_t)sizeof *src, .lines = lines,
                               .left = lines};
        for (int64_t j = 0; j < columns; j += VL_f32)
            split_square(parts, step, rows - b * step, rows - b * step - VL_f32, (int)FC_MIN(VL_f32, columns - j),
                         from + j, src_row, &ahead, dst + j * dst_row + b * 2 * VL_f32, dst_row, dst_part);
    }
}

static void split_columns(int parts, int64_t rows, int64_t columns, const float *src, ptrdiff_t src_row, int64_t blocks,
                          int step, fc_bf16 *dst, ptrdiff_t dst_row, ptrdiff_t dst_part) {
    if (parts == 1) split_columns_fixed(1, rows, columns, src, src_row, blocks, step, dst, dst_row, dst_part);
    else if (parts == 2) split_columns_fixed(2, rows, columns, src, src_row, blocks, step, dst, dst_row, dst_part);
    else split_columns_fixed(3, rows, columns, src, src_row, blocks, step, dst, dst_row, dst_part);
}

/* One vector of one row; returns whether all its results are finite. */
FC_INLINE int finish_sums(const fc_split_block *t, v_f32 sum, v_f32 bias, int columns, float *c) {
    if (columns >= VL_f32) {
        if (t->accumulate) sum = add_f32(load_f32(c), sum);
        sum = add_f32(sum, bias);
        if (t->streams) stream_f32(c, activate_f32(sum, t->activation));
        else store_f32(c, activate_f32(sum, t->activation));
        return all_finite(sum);
    }
    if (t->accumulate) sum = add_f32(load_n_f32(c, columns), sum);
    sum = add_f32(sum, bias);
    store_n_f32(c, activate_f32(sum, t->activation), columns);
    return all_finite(sum);
}
