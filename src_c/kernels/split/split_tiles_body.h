/* SPDX-License-Identifier: BSD-3-Clause
 * Products by parts on the words of a matrix unit; see split.h for the contract.
 *
 * Two tiles of rows by two of columns are summed up at a time: 4 tiles of sums, 2 of A, 2 of B, 8 in all. A product of
 * tiles takes 16 cycles, a load from L1 8, from L2 some 22: with 4 products for at most 4 loads the unit never waits
 * for L1, and little for L2. The order of products is that of the fewest loads; but of 6, the large ones are added up
 * after all others: in between, each of the small ones was rounded as if it were large (1.8 to 2.6e-7 of the
 * result). */
#include "split_body.h"

/* Tiles 0 to 3: sums [tile of rows][half of the columns]; 4 and 5: A; 6 and 7: B. */
#define FC_LOAD_A(part)                                                             \
    FC_TILE_LOAD(4, a0 + at + (part) * a_part, row_bytes);                          \
    if (pair) FC_TILE_LOAD(5, a1 + at + (part) * a_part, row_bytes)
#define FC_LOAD_B(part)                                                             \
    FC_TILE_LOAD(6, b + (part) * FC_SPLIT_PANEL, 64);                               \
    if (wide) FC_TILE_LOAD(7, b + (part) * FC_SPLIT_PANEL + FC_SPLIT_PANEL / 2, 64)
#define FC_MULTIPLY                           \
    FC_TILE_ADD_PRODUCTS(0, 4, 6);            \
    if (wide) FC_TILE_ADD_PRODUCTS(1, 4, 7);  \
    if (pair) FC_TILE_ADD_PRODUCTS(2, 5, 6);  \
    if (pair && wide) FC_TILE_ADD_PRODUCTS(3, 5, 7)

FC_INLINE void add_up_tiles(const int parts, const int pair, const int wide, const fc_split_block *t, const fc_bf16 *a0,
                            const fc_bf16 *a1, const fc_bf16 *b, fc_ahead ahead, float *sums) {
    const ptrdiff_t row_bytes = t->a_row * (ptrdiff_t)sizeof *a0, a_part = t->a_part;
    FC_TILE_ZERO(0);
    FC_TILE_ZERO(1);
    FC_TILE_ZERO(2);
    FC_TILE_ZERO(3);
    for (int64_t l = 0; l < t->chunks; l++, b += parts * FC_SPLIT_PANEL) {
        const ptrdiff_t at = t->a_chunk[l];
        for (int i = 0; i < t->ahead_lines; i++, ahead.at += ahead.step) __builtin_prefetch(ahead.at, 0, 2);
        if (parts == 3) {
            FC_LOAD_A(0);
            FC_LOAD_B(2);
            FC_MULTIPLY;
            FC_LOAD_B(1);
            FC_MULTIPLY;
            FC_LOAD_A(1);
            FC_MULTIPLY;
            FC_LOAD_B(0);
            FC_MULTIPLY;
            FC_LOAD_A(2);
            FC_MULTIPLY;
            continue;
        } else if (parts == 2) {
            FC_LOAD_A(0);
            FC_LOAD_B(1);
            FC_MULTIPLY;
            FC_LOAD_A(1);
            FC_LOAD_B(0);
            FC_MULTIPLY;
        } else {
            FC_LOAD_B(0);
        }
        FC_LOAD_A(0);
        FC_MULTIPLY;
    }
    for (int64_t l = 0; parts == 3 && l < t->chunks; l++) {
        const ptrdiff_t at = t->a_chunk[t->chunks - 1 - l];
        b -= parts * FC_SPLIT_PANEL;
        FC_LOAD_A(0);
        FC_LOAD_B(0);
        FC_MULTIPLY;
    }
    FC_TILE_STORE(0, sums, 4 * FC_SPLIT_COLUMNS);
    if (wide) FC_TILE_STORE(1, sums + 16, 4 * FC_SPLIT_COLUMNS);
    if (pair) FC_TILE_STORE(2, sums + 16 * FC_SPLIT_COLUMNS, 4 * FC_SPLIT_COLUMNS);
    if (pair && wide) FC_TILE_STORE(3, sums + 16 * FC_SPLIT_COLUMNS + 16, 4 * FC_SPLIT_COLUMNS);
}
#undef FC_LOAD_A
#undef FC_LOAD_B
#undef FC_MULTIPLY

FC_INLINE void add_up_parts(const int parts, const int wide, const fc_split_block *t, const fc_bf16 *a0,
                            const fc_bf16 *a1, const fc_bf16 *b, fc_ahead ahead, float *sums) {
    if (a1 != NULL) add_up_tiles(parts, 1, wide, t, a0, a1, b, ahead, sums);
    else add_up_tiles(parts, 0, wide, t, a0, a0, b, ahead, sums);
}

FC_INLINE void add_up(const int parts, int columns, const fc_split_block *t, const fc_bf16 *a0, const fc_bf16 *a1,
                      const fc_bf16 *b, fc_ahead ahead, float *sums) {
    if (columns > VL_f32) add_up_parts(parts, 1, t, a0, a1, b, ahead, sums);
    else add_up_parts(parts, 0, t, a0, a1, b, ahead, sums);
}

FC_INLINE void finish_tile(const fc_split_block *t, const fc_row_tile *tile, const float *sums, const float *bias,
                           int columns, float *c, const ptrdiff_t *c_row, unsigned char *doubtful) {
    const v_f32 bias0 = load_bias_f32(bias, columns);
    const v_f32 bias1 = columns > VL_f32 ? load_bias_f32(bias == NULL ? NULL : bias + VL_f32, columns - VL_f32) : bias0;
    for (int i = 0; i < tile->rows; i++, sums += FC_SPLIT_COLUMNS) {
        float *to = c + c_row[tile->first + i];
        int finite = finish_sums(t, load_f32(sums), bias0, columns, to);
        if (columns > VL_f32) finite &= finish_sums(t, load_f32(sums + VL_f32), bias1, columns - VL_f32, to + VL_f32);
        if (!finite) doubtful[tile->first + i] = 1;
    }
}

/* Where the results go, before they are there. */
FC_INLINE void fetch_results(const fc_row_tile *tile, int columns, const float *c, const ptrdiff_t *c_row) {
    for (int i = 0; i < tile->rows; i++) {
        __builtin_prefetch(c + c_row[tile->first + i], 1, 3);
        if (columns > VL_f32) __builtin_prefetch(c + c_row[tile->first + i] + VL_f32, 1, 3);
    }
}

FC_INLINE void split_multiply_fixed(const int parts, const fc_split_block *t, const fc_bf16 *a, const fc_bf16 *b,
                                    const float *bias, int columns, float *c, const ptrdiff_t *c_row,
                                    unsigned char *doubtful) {
    float sums[2 * FC_SPLIT_ROWS * FC_SPLIT_COLUMNS] __attribute__((aligned(64)));
    int rows0 = 0, rows1 = 0; /* as the unit was told */
    for (int64_t i = 0; i < t->tiles; i += 2) {
        const fc_row_tile *first = t->tile + i, *second = i + 1 < t->tiles ? first + 1 : NULL;
        const int more = second == NULL ? first->rows : second->rows;
        if (first->rows != rows0 || more != rows1) tiles_begin(rows0 = first->rows, rows1 = more);
        if (!t->streams) fetch_results(first, columns, c, c_row);
        if (!t->streams && second != NULL) fetch_results(second, columns, c, c_row);
        add_up(parts, columns, t, a + first->a, second == NULL ? NULL : a + second->a, b,
               t->ahead == NULL ? (fc_ahead){0} : t->ahead[i / 2], sums);
        finish_tile(t, first, sums, bias, columns, c, c_row, doubtful);
        if (second != NULL)
            finish_tile(t, second, sums + FC_SPLIT_ROWS * FC_SPLIT_COLUMNS, bias, columns, c, c_row, doubtful);
    }
    tiles_end();
}

static void split_multiply(const fc_split_block *t, const fc_bf16 *a, const fc_bf16 *b, const float *bias, int columns,
                           float *c, const ptrdiff_t *c_row, unsigned char *doubtful) {
    if (t->parts == 1) split_multiply_fixed(1, t, a, b, bias, columns, c, c_row, doubtful);
    else if (t->parts == 2) split_multiply_fixed(2, t, a, b, bias, columns, c, c_row, doubtful);
    else split_multiply_fixed(3, t, a, b, bias, columns, c, c_row, doubtful);
}
