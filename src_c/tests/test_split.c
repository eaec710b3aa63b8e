/* SPDX-License-Identifier: BSD-3-Clause
 * The kernels of products by parts: those of every matrix unit against their reference, and the reference against what
 * parts are. */
#include "check.h"

enum { MOST_CHUNKS = 3, ROW_GAP = 2 }; /* rows of A overlap when the gap is less than a row: windows do */

/* Numbers of all magnitudes; the parts of a number add up to it as far as they go. */
static void test_split_numbers(const fc_split *fast, int parts, int64_t rows, int64_t columns) {
    const int64_t pitch = columns + 3, chunks = (columns + 31) / 32, size = chunks * rows * parts * 32;
    float *x = malloc((size_t)(rows * pitch) * sizeof *x);
    for (int64_t i = 0; i < rows * pitch; i++)
        x[i] = ldexpf((float)random_bits() - 0x1p31f, (int)random_between(-60, 30));
    fc_bf16 *a = malloc((size_t)size * sizeof *a), *expected = malloc((size_t)size * sizeof *a);
    memset(a, 0xFF, (size_t)size * sizeof *a);
    fast->rows(parts, rows, columns, x, pitch, a, rows * parts * 32);
    fc_reference_split.rows(parts, rows, columns, x, pitch, expected, rows * parts * 32);
    CHECK(memcmp(a, expected, (size_t)size * sizeof *a) == 0, "rows in parts");
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            double sum = 0;
            for (int part = 0; part < parts; part++) {
                const int64_t at = (j / 32 * rows + i) * parts * 32 + part * 32 + j % 16 * 2 + j % 32 / 16;
                const uint32_t bits = (uint32_t)a[at] << 16;
                float number;
                memcpy(&number, &bits, sizeof number);
                sum += (double)number;
            }
            const double number = (double)x[i * pitch + j], u = parts == 1 ? 0x1p-8 : parts == 2 ? 0x1p-16 : 0;
            CHECK(fabs(sum - number) <= u * fabs(number), "the sum of the parts");
        }
    if (rows <= 32 && columns <= 32) { /* the same numbers as a panel */
        fc_bf16 *b = malloc((size_t)parts * 2048), *b_expected = malloc((size_t)parts * 2048);
        for (int turned = 0; turned < 2; turned++) { /* rows are terms, or columns */
            const int terms = (int)(turned ? columns : rows), filters = (int)(turned ? rows : columns);
            const ptrdiff_t term = turned ? 1 : pitch, filter = turned ? pitch : 1;
            memset(b, 0xFF, (size_t)parts * 2048), memset(b_expected, 0xFF, (size_t)parts * 2048);
            fast->panel(parts, terms, filters, x, term, filter, NULL, b);
            fc_reference_split.panel(parts, terms, filters, x, term, filter, NULL, b_expected);
            CHECK(memcmp(b, b_expected, (size_t)parts * 2048) == 0, "a panel in parts");
        }
        free(b), free(b_expected);
    }
    const int64_t blocks = random_between(1, 3), a_part = blocks * 32, a_row = parts * a_part + 32;
    const size_t lanes = (size_t)(columns * a_row);
    fc_bf16 *c = malloc(lanes * sizeof *c), *c_expected = malloc(lanes * sizeof *c);
    memset(c, 0xFF, lanes * sizeof *c), memset(c_expected, 0xFF, lanes * sizeof *c);
    const int step = 16 * (int)random_between(1, 2);
    fast->columns(parts, rows, columns, x, pitch, blocks, step, c, a_row, a_part);
    fc_reference_split.columns(parts, rows, columns, x, pitch, blocks, step, c_expected, a_row, a_part);
    CHECK(memcmp(c, c_expected, lanes * sizeof *c) == 0, "columns in parts");
    free(c), free(c_expected);
    free(x), free(a), free(expected);
}

/* Plus or minus 1, 1.5 or 2: sums of their products are exact. */
static fc_bf16 small_bf16(void) {
    return (fc_bf16)(random_between(0, 1) * 0x8000 + 0x3F80 + random_between(0, 2) * 64);
}

/* Tiles of different heights over rows of A that overlap, results in no order. */
static void test_split_product(const fc_split *fast, int parts, int columns, int turn) {
    const int tiles = 1 + turn % 4, heights[] = {16, 16, 7, 1, 14, 16, 3, 5};
    const int64_t chunks = 1 + turn % MOST_CHUNKS, rows = 16 * tiles, a_row = parts * 32 + ROW_GAP * (turn & 1);
    const size_t a_size = (size_t)(rows * a_row + chunks * 64), b_size = (size_t)(chunks * parts * FC_SPLIT_PANEL);
    fc_bf16 *a = malloc(a_size * sizeof *a), *b = malloc(b_size * sizeof *b);
    for (size_t i = 0; i < a_size; i++) a[i] = small_bf16();
    for (size_t i = 0; i < b_size; i++) b[i] = small_bf16();
    ptrdiff_t a_chunk[MOST_CHUNKS], c_row[64];
    fc_row_tile tile[4];
    int first = 0;
    for (int64_t l = 0; l < chunks; l++) a_chunk[l] = (chunks - 1 - l) * 32;
    for (int i = 0; i < tiles; first += tile[i++].rows)
        tile[i] = (fc_row_tile){.a = (tiles - 1 - i) * 16 * a_row, .first = first, .rows = heights[(turn + i) % 8]};
    for (int i = 0; i < first; i++) c_row[i] = (first - 1 - i) * (columns + 1);
    const size_t c_size = (size_t)(first * (columns + 1) - 1);
    float *c = new_poisoned(FC_FLOAT32, c_size), *expected = new_poisoned(FC_FLOAT32, c_size);
    float *bias = new_array(FC_FLOAT32, (size_t)columns);
    if (turn == 5) bias[columns - 1] = INFINITY;
    unsigned char marks[64] = {0}, expected_marks[64] = {0};
    const fc_split_block t = {.parts = parts, .chunks = chunks, .tiles = tiles, .a_chunk = a_chunk, .a_row = a_row,
                              .a_part = 32, .tile = tile, .accumulate = turn & 1,
                              .activation = (fc_epilogue)(turn % 3)};
    for (int i = 0; t.accumulate && i < first; i++) fill(c + c_row[i], FC_FLOAT32, (size_t)columns);
    if (turn == 7) c[c_row[first - 1]] = NAN;
    memcpy(expected, c, c_size * sizeof *c);
    fast->multiply(&t, a, b, turn & 4 ? bias : NULL, columns, c, c_row, marks);
    fc_reference_split.multiply(&t, a, b, turn & 4 ? bias : NULL, columns, expected, c_row, expected_marks);
    CHECK(same_numbers(c, expected, FC_FLOAT32, c_size), "product by parts");
    CHECK(memcmp(marks, expected_marks, sizeof marks) == 0, "results that are not finite");
    free(a), free(b), free(c), free(expected), free(bias);
}

static void test_split(const fc_split *fast) {
    for (int parts = 1; parts <= FC_MOST_PARTS; parts++)
        for (int columns = 1; columns <= 33; columns++) {
            test_split_numbers(fast, parts, random_between(1, 90), columns);
            test_split_numbers(fast, parts, random_between(1, 33), 32 + columns);
            for (int turn = 0; turn < 12 && columns <= 32; turn++) test_split_product(fast, parts, columns, turn);
        }
}

int main(void) {
    test_split(&fc_reference_split);
    for (int isa = 0; isa < fc_isa_count(); isa++) {
        const fc_split *fast = fc_isa_available(isa) ? fc_kernels_of(isa, FC_FLOAT32)->split : NULL;
        if (fast == NULL) continue;
        printf("%s\n", fc_isa_name(isa));
        test_split(fast);
    }
    return report();
}
