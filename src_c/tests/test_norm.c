/* SPDX-License-Identifier: BSD-3-Clause
 * The kernels of normalisation of every instruction set against the reference, and the bits of their sums with adjacent
 * columns against those with adjacent pixels. */
#include "../base/compiler.h"
#include "pairs.h"

enum { COLUMNS = FC_NORM_CHANNELS + 5 };

static double chains[FC_NORM_CHAIN_BYTES / sizeof(double)];

/* x, grad_y and the result lie alike, with gaps or without. */
typedef struct problem {
    fc_norm_block block;
    size_t size;
    void *x, *grad_y, *factor[5];
    fc_norm_factors factors;
} problem;

static problem new_problem(const pair *p, int64_t images, int64_t pixels, int64_t columns, int along, int turn) {
    problem q = {.block = {.images = images, .pixels = pixels, .columns = columns, .chains = chains}};
    q.block.activation = (fc_epilogue)(turn % 3);
    q.block.streams = turn / 2 % 2;
    const int64_t gap = turn / 4 % 2 == 0 ? 3 : 0;
    const int64_t row = (along ? pixels : columns) + gap, rows = along ? columns : pixels;
    q.block.x = (fc_norm_walk){.image = row * rows, .pixel = along ? 1 : row, .column = along ? row : 1};
    q.block.grad_y = q.block.to = q.block.x;
    q.size = (size_t)(images * row * rows - gap);
    q.x = new_array(p->dtype, q.size), q.grad_y = new_array(p->dtype, q.size);
    for (int i = 0; i < 5; i++) q.factor[i] = new_array(p->dtype, (size_t)columns);
    q.factors = (fc_norm_factors){q.factor[0], q.factor[1], q.factor[2], q.factor[3], q.factor[4]};
    return q;
}

static void free_problem(problem *q) {
    free(q->x), free(q->grad_y);
    for (int i = 0; i < 5; i++) free(q->factor[i]);
}

/* Whole numbers: sums of products are exact. The shift of the moments is not one, so its sums are compared loosely. */
static void test_sums(const pair *p, const problem *q) {
    const size_t columns = (size_t)q->block.columns;
    static double got[3][COLUMNS], expected[3][COLUMNS]; /* large enough for either type */
    p->fast->norm_moments(&q->block, q->x, got[0], got[1], got[2]);
    p->judge->norm_moments(&q->block, q->x, expected[0], expected[1], expected[2]);
    const double numbers = (double)q->block.images * (double)q->block.pixels;
    for (int i = 0; i < 3; i++)
        CHECK(close_numbers(got[i], expected[i], p->dtype, columns, 80 * numbers * unit_of(p->dtype)), "norm_moments");
    p->fast->norm_products(&q->block, q->x, q->grad_y, &q->factors, got[0], got[1]);
    p->judge->norm_products(&q->block, q->x, q->grad_y, &q->factors, expected[0], expected[1]);
    const double slack = q->block.activation == FC_EPILOGUE_LEAKY_RELU ? 32 * numbers * unit_of(p->dtype) : 0;
    for (int i = 0; i < 2; i++)
        CHECK(close_numbers(got[i], expected[i], p->dtype, columns, slack), "norm_products");
}

static void test_numbers(const pair *p, const problem *q) {
    void *got = new_poisoned(p->dtype, q->size), *expected = new_poisoned(p->dtype, q->size);
    const double slack = 64 * unit_of(p->dtype);
    p->fast->norm_apply(&q->block, q->x, &q->factors, got);
    p->judge->norm_apply(&q->block, q->x, &q->factors, expected);
    CHECK(close_numbers(got, expected, p->dtype, q->size, slack), "norm_apply");
    p->fast->norm_gradient(&q->block, q->x, q->grad_y, &q->factors, got);
    p->judge->norm_gradient(&q->block, q->x, q->grad_y, &q->factors, expected);
    CHECK(close_numbers(got, expected, p->dtype, q->size, slack), "norm_gradient");
    memcpy(got, q->grad_y, q->size * size_of(p->dtype));
    fc_norm_block in_place = q->block;
    in_place.streams = 0;
    p->fast->norm_gradient(&in_place, q->x, got, &q->factors, got);
    for (size_t i = 0; i < q->size; i++) /* the gaps of the result were not written, those of grad_y stay */
        if (isnan(number_at(expected, p->dtype, i))) set_number(got, p->dtype, i, NAN);
    CHECK(close_numbers(got, expected, p->dtype, q->size, slack), "norm_gradient in place");
    free(got), free(expected);
}

/* The same numbers, columns adjacent and pixels adjacent. */
static void test_order(const pair *p, int64_t pixels, int64_t columns) {
    const size_t size = (size_t)(2 * pixels * columns);
    void *down = new_array(p->dtype, size), *along = new_array(p->dtype, size);
    for (int64_t n = 0; n < 2; n++)
        for (int64_t i = 0; i < pixels; i++)
            for (int64_t c = 0; c < columns; c++) {
                const double value = (double)random_between(0, 1 << 20) / 977; /* rounded at every step */
                set_number(down, p->dtype, (size_t)((n * pixels + i) * columns + c), value);
                set_number(along, p->dtype, (size_t)((n * columns + c) * pixels + i), value);
            }
    fc_norm_block block = {.images = 2, .pixels = pixels, .columns = columns, .chains = chains,
                           .x = {.image = pixels * columns, .pixel = columns, .column = 1}};
    static double one[3][COLUMNS], other[3][COLUMNS]; /* 0 behind float32 results */
    p->fast->norm_moments(&block, down, one[0], one[1], one[2]);
    block.x.pixel = 1, block.x.column = pixels;
    p->fast->norm_moments(&block, along, other[0], other[1], other[2]);
    CHECK(memcmp(one, other, sizeof one) == 0, "the order of the sums");
    free(down), free(along);
}

static void test_all(const pair *p) {
    static const int64_t pixel_counts[] = {1, 2, 7, 16, 33, 64, 130};
    static const int64_t column_counts[] = {1, 3, 4, 5, 8, 17, 70, 130, COLUMNS};
    int turn = 0;
    for (int i = 0; i < 7; i++)
        for (int c = 0; c < 9; c++) {
            for (int along = 0; along < 2; along++, turn++) {
                problem q = new_problem(p, 1 + turn % 3, pixel_counts[i] + (along ? 0 : pixel_counts[i] == 1),
                                        column_counts[c] + (along && column_counts[c] == 1), along, turn);
                test_sums(p, &q);
                test_numbers(p, &q);
                free_problem(&q);
            }
            if (pixel_counts[i] > 1 && column_counts[c] > 1) test_order(p, pixel_counts[i], column_counts[c]);
        }
}

int main(void) {
    for_each_pair(test_all);
    return report();
}
