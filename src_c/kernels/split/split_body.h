/* SPDX-License-Identifier: BSD-3-Clause
 * Products by parts over the words of a matrix unit and of float vectors of 16 numbers; see split.h for the contract.
 *
 * Two tiles of rows by two of columns are summed up at a time: 4 tiles of sums, 2 of A, 2 of B, 8 in all. A product of
 * tiles takes 16 cycles, a load from L1 8, from L2 some 22: with 4 products for at most 4 loads the unit never waits
 * for L1, and little for L2. The order of products is that of the fewest loads; but of 6, the large ones are added up
 * after all others: in between, each of the small ones was rounded as if it were large (1.8 to 2.6e-7 of the
 * result). */

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

/* Rows of 128 bytes are too short for the processor to see what comes next: without a hint a panel of weights came in
 * at a third of the speed of memory. */
FC_INLINE void split_panel_fixed(const int parts, int terms, int columns, const float *src, ptrdiff_t src_term,
                                 const float *next, fc_bf16 *dst) {
    for (int l = 0; l < VL_f32; l++)
        for (int j = 0; j < columns; j += VL_f32) {
            __builtin_prefetch(next + l * src_term + j, 0, 3);
            __builtin_prefetch(next + (l + VL_f32) * src_term + j, 0, 3);
            const v_f32 low = load_up_to(src + l * src_term + j, l < terms ? columns - j : 0);
            const v_f32 high = load_up_to(src + (l + VL_f32) * src_term + j, l + VL_f32 < terms ? columns - j : 0);
            split_vectors(parts, low, high, dst + j * FC_SPLIT_TERMS + l * FC_SPLIT_TERMS, FC_SPLIT_PANEL);
        }
}

static void split_panel(int parts, int terms, int columns, const float *src, ptrdiff_t src_term, const float *next,
                        fc_bf16 *dst) {
    if (parts == 1) split_panel_fixed(1, terms, columns, src, src_term, next, dst);
    else if (parts == 2) split_panel_fixed(2, terms, columns, src, src_term, next, dst);
    else split_panel_fixed(3, terms, columns, src, src_term, next, dst);
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

/* 16 pairs of up to 16 columns. `low` and `high`: numbers left of the first and of the second half. The same columns of
 * the next square are fetched, which may lie behind the array: 32 rows side by side are too many for the processor to
 * foresee (56x56 pixels, 256 channels from memory, 64 filters: x1.27). */
FC_INLINE void split_square(const int parts, int64_t low, int64_t high, int columns, const float *src,
                            ptrdiff_t src_row, fc_bf16 *dst, ptrdiff_t dst_row, ptrdiff_t dst_part) {
    fc_bf16 pairs[FC_MOST_PARTS][VL_f32][2 * VL_f32] __attribute__((aligned(64)));
    for (int i = 0; i < VL_f32; i++) {
        __builtin_prefetch(src + (i + 2 * VL_f32) * src_row, 0, 2);
        __builtin_prefetch(src + (i + 3 * VL_f32) * src_row, 0, 2);
        const v_f32 first = load_up_to(src + i * src_row, i < low ? columns : 0);
        const v_f32 second = load_up_to(src + (i + VL_f32) * src_row, i < high ? columns : 0);
        split_vectors(parts, first, second, pairs[0][i], 2 * VL_f32 * VL_f32);
    }
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

FC_INLINE void split_columns_fixed(const int parts, int64_t rows, int64_t columns, const float *src, ptrdiff_t src_row,
                                   int64_t blocks, int step, fc_bf16 *dst, ptrdiff_t dst_row, ptrdiff_t dst_part) {
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t j = 0; j < columns; j += VL_f32)
            split_square(parts, rows - b * step, rows - b * step - VL_f32, (int)FC_MIN(VL_f32, columns - j),
                         src + b * step * src_row + j, src_row, dst + j * dst_row + b * 2 * VL_f32, dst_row, dst_part);
}

static void split_columns(int parts, int64_t rows, int64_t columns, const float *src, ptrdiff_t src_row, int64_t blocks,
                          int step, fc_bf16 *dst, ptrdiff_t dst_row, ptrdiff_t dst_part) {
    if (parts == 1) split_columns_fixed(1, rows, columns, src, src_row, blocks, step, dst, dst_row, dst_part);
    else if (parts == 2) split_columns_fixed(2, rows, columns, src, src_row, blocks, step, dst, dst_row, dst_part);
    else split_columns_fixed(3, rows, columns, src, src_row, blocks, step, dst, dst_row, dst_part);
}

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
