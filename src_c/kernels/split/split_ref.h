/* SPDX-License-Identifier: BSD-3-Clause
 * Products by parts, one number at a time; see split.h for the contract. */
static const int split_products[6][2] = {{2, 0}, {0, 2}, {1, 1}, {1, 0}, {0, 1}, {0, 0}}; /* part of A, part of B */
static const int split_first_product[FC_MOST_PARTS + 1] = {6, 5, 3, 0};

static float upper_half(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= 0xFFFF0000u;
    memcpy(&x, &bits, sizeof bits);
    return x;
}

static fc_bf16 to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (fc_bf16)(bits >> 16);
}

static float from_bf16(fc_bf16 x) {
    const uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

/* dst[part*step] */
static void split_number(int parts, float x, fc_bf16 *dst, ptrdiff_t step) {
    for (int part = 0; part < parts; part++) {
        float head = x;
        if (part < 2) {
            const float far = x * 65537.0f, rest = far - x; /* Veltkamp: rounds to 24 - 16 bits */
            head = upper_half(far - rest);
        }
        dst[part * step] = to_bf16(head);
        x -= head;
    }
}

static int place_of_term(int64_t term) { return (int)(term % 16 * 2 + term % 32 / 16); }

static void split_rows(int parts, int64_t rows, int64_t columns, const float *src, ptrdiff_t src_row, fc_bf16 *dst,
                       ptrdiff_t dst_chunk) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < (columns + 31) / 32 * 32; j++)
            split_number(parts, j < columns ? src[i * src_row + j] : 0.0f,
                         dst + j / 32 * dst_chunk + i * parts * 32 + place_of_term(j), 32);
}

static void split_panel(int parts, int terms, int columns, const float *src, ptrdiff_t src_term, ptrdiff_t src_column,
                        fc_rows_ahead *ahead, fc_bf16 *dst) {
    (void)ahead;
    for (int l = 0; l < FC_SPLIT_TERMS; l++)
        for (int j = 0; j < (columns > 16 ? 32 : 16); j++)
            split_number(parts, l < terms && j < columns ? src[l * src_term + j * src_column] : 0.0f,
                         dst + j / 16 * 512 + l % 16 * 32 + j % 16 * 2 + l / 16, FC_SPLIT_PANEL);
}

static void split_columns(int parts, int64_t rows, int64_t columns, const float *src, ptrdiff_t src_row, int64_t blocks,
                          int step, fc_bf16 *dst, ptrdiff_t dst_row, ptrdiff_t dst_part) {
    for (int64_t j = 0; j < columns; j++)
        for (int64_t place = 0; place < 32 * blocks; place++) {
            const int64_t i = place / 32 * step + place % 32 / 2 + place % 2 * 16;
            split_number(parts, i < rows ? src[i * src_row + j] : 0.0f, dst + j * dst_row + place, dst_part);
        }
}

/* One chunk of a sum: all terms of a product, then the next product. */
static float add_chunk(int parts, float sum, const fc_bf16 *a, ptrdiff_t a_part, const fc_bf16 *b) {
    for (int product = split_first_product[parts]; product < 6; product++) {
        const fc_bf16 *x = a + split_products[product][0] * a_part;
        const fc_bf16 *w = b + split_products[product][1] * FC_SPLIT_PANEL;
        float chain[2] = {0, 0};
        for (int l = 0; l < FC_SPLIT_TERMS; l++) chain[l % 2] += from_bf16(x[l]) * from_bf16(w[l / 2 * 32 + l % 2]);
        sum += chain[0] + chain[1];
    }
    return sum;
}

static void split_multiply(const fc_split_block *t, const fc_bf16 *a, const fc_bf16 *b, const float *bias, int columns,
                           float *c, const ptrdiff_t *c_row, unsigned char *doubtful) {
    for (const fc_row_tile *tile = t->tile; tile < t->tile + t->tiles; tile++)
        for (int i = 0; i < tile->rows; i++)
            for (int j = 0; j < columns; j++) {
                float sum = 0, *to = c + c_row[tile->first + i] + j;
                for (int64_t l = 0; l < t->chunks; l++)
                    sum = add_chunk(t->parts, sum, a + tile->a + i * t->a_row + t->a_chunk[l], t->a_part,
                                    b + l * t->parts * FC_SPLIT_PANEL + j / 16 * 512 + j % 16 * 2);
                if (t->accumulate) sum += *to;
                if (bias != NULL) sum += bias[j];
                if (!isfinite(sum)) doubtful[tile->first + i] = 1;
                *to = epilogue_f32(sum, t->activation);
            }
}
