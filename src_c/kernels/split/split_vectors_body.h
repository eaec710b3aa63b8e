/* SPDX-License-Identifier: BSD-3-Clause
 * Products by parts on vectors that add up pairs of products of bfloat16; see split.h for the contract.
 *
 * A pair of A, in all lanes, times a vector of pairs of B: twice the products of a float32 multiply-add in the time of
 * one, where the processor has it in full. Up to 8 rows by two vectors are summed up at a time: 16 chains, more than
 * the latency asks for, and 10 loads for 16 products. The small products are added up before the large ones, as on the
 * matrix unit. */
#include "split_body.h"

enum { FC_PAIR_ROWS = 8 };

/* sums += one product of parts of a chunk. Unrolled: the loop takes x1.06 of the time. */
FC_INLINE void add_pairs(const int rows, const int wide, const fc_bf16 *a, ptrdiff_t a_row, const fc_bf16 *b,
                         v_f32 sum0[], v_f32 sum1[]) {
    const fc_bf16 *row[FC_PAIR_ROWS];
    FC_UNROLL
    for (int i = 0; i < rows; i++) row[i] = a + i * a_row;
    FC_UNROLL
    for (ptrdiff_t at = 0; at < FC_SPLIT_TERMS; at += 2, b += 2 * VL_f32) {
        const v_f32 b0 = load_pairs(b), b1 = wide ? load_pairs(b + FC_SPLIT_PANEL / 2) : b0;
        FC_UNROLL
        for (int i = 0; i < rows; i++) {
            const v_f32 x = set1_pair(row[i] + at);
            sum0[i] = add_products(sum0[i], x, b0);
            if (wide) sum1[i] = add_products(sum1[i], x, b1);
        }
    }
}

/* Some rows of a tile. */
typedef struct pair_rows {
    const fc_bf16 *a;
    const ptrdiff_t *c_row;
    unsigned char *doubtful;
    fc_ahead ahead;
    int ahead_lines; /* of a chunk */
} pair_rows;

FC_INLINE void multiply_fixed(const int rows, const int wide, const fc_split_block *t, const pair_rows *of,
                              const fc_bf16 *b, const float *bias, int columns, float *c) {
    static const int product[6][2] = {{2, 0}, {0, 2}, {1, 1}, {1, 0}, {0, 1}, {0, 0}}; /* part of A, part of B */
    static const int first_product[FC_MOST_PARTS + 1] = {6, 5, 3, 0};
    v_f32 sum0[FC_PAIR_ROWS], sum1[FC_PAIR_ROWS];
    FC_UNROLL
    for (int i = 0; i < rows; i++) {
        sum0[i] = sum1[i] = zero_f32();
        if (t->streams) continue;
        __builtin_prefetch(c + of->c_row[i], 1, 3);
        if (wide) __builtin_prefetch(c + of->c_row[i] + VL_f32, 1, 3);
    }
    const char *ahead = of->ahead.at;
    for (int p = first_product[t->parts]; p < 6; p++)
        for (int64_t l = 0; l < t->chunks; l++) {
            for (int i = 0; i < of->ahead_lines; i++, ahead += of->ahead.step) __builtin_prefetch(ahead, 0, 2);
            add_pairs(rows, wide, of->a + t->a_chunk[l] + product[p][0] * t->a_part, t->a_row,
                      b + (l * t->parts + product[p][1]) * FC_SPLIT_PANEL, sum0, sum1);
        }
    const v_f32 bias0 = load_bias_f32(bias, columns);
    const v_f32 bias1 = wide ? load_bias_f32(bias == NULL ? NULL : bias + VL_f32, columns - VL_f32) : bias0;
    FC_UNROLL
    for (int i = 0; i < rows; i++) {
        float *to = c + of->c_row[i];
        int finite = finish_sums(t, sum0[i], bias0, columns, to);
        if (wide) finite &= finish_sums(t, sum1[i], bias1, columns - VL_f32, to + VL_f32);
        if (!finite) of->doubtful[i] = 1;
    }
}

#define FC_ROWS(rows)                                                                      \
    case rows:                                                                             \
        if (columns > VL_f32) multiply_fixed(rows, 1, t, of, b, bias, columns, c);         \
        else multiply_fixed(rows, 0, t, of, b, bias, columns, c);                          \
        break;

static void multiply_rows(int rows, const fc_split_block *t, const pair_rows *of, const fc_bf16 *b, const float *bias,
                          int columns, float *c) {
    switch (rows) {
        FC_ROWS(1) FC_ROWS(2) FC_ROWS(3) FC_ROWS(4) FC_ROWS(5) FC_ROWS(6) FC_ROWS(7) FC_ROWS(8)
        default: break;
    }
}
#undef FC_ROWS

/* A tile in equal blocks of rows. What is brought in during a pair of tiles is shared among all of them. */
static void split_multiply(const fc_split_block *t, const fc_bf16 *a, const fc_bf16 *b, const float *bias, int columns,
                           float *c, const ptrdiff_t *c_row, unsigned char *doubtful) {
    enum { BLOCKS = 2 * FC_SPLIT_ROWS / FC_PAIR_ROWS }; /* of a pair of tiles */
    const int lines = t->ahead == NULL ? 0 : (t->ahead_lines + BLOCKS - 1) / BLOCKS;
    for (int64_t i = 0; i < t->tiles; i++) {
        const fc_row_tile *tile = t->tile + i;
        const int blocks = (tile->rows + FC_PAIR_ROWS - 1) / FC_PAIR_ROWS, rows = (tile->rows + blocks - 1) / blocks;
        for (int first = 0; first < tile->rows; first += rows) {
            pair_rows of = {.a = a + tile->a + first * t->a_row, .c_row = c_row + tile->first + first,
                            .doubtful = doubtful + tile->first + first, .ahead_lines = lines};
            if (lines > 0) {
                of.ahead = t->ahead[i / 2];
                of.ahead.at += (i % 2 * BLOCKS / 2 + first / rows) * lines * t->chunks * of.ahead.step;
            }
            multiply_rows(FC_MIN(rows, tile->rows - first), t, &of, b, bias, columns, c);
        }
    }
}
