/* SPDX-License-Identifier: BSD-3-Clause
 * The kernels of local response normalisation of every instruction set against the reference, and their bits with
 * adjacent channels against those with adjacent pixels. */
#include "../base/compiler.h"
#include "pairs.h"

/* All arrays lie alike, with gaps. */
static fc_response_block block_of(int64_t pixels, int64_t columns, int along, int64_t size, double beta) {
    const int64_t row = (along ? pixels : columns) + 3;
    fc_response_block b = {.pixels = pixels, .columns = columns, .before = size / 2, .after = (size - 1) / 2,
                           .factor = 0.01, .beta = beta, .k = 1.5, .quarters = -1};
    if (4 * beta == (double)(int)(4 * beta)) b.quarters = (int)(4 * beta);
    b.x = (fc_norm_walk){.pixel = along ? 1 : row, .column = along ? row : 1};
    b.grad_y = b.to = b.terms = b.x;
    return b;
}

static size_t size_of_block(const fc_response_block *b) {
    return (size_t)((b->pixels - 1) * b->x.pixel + (b->columns - 1) * b->x.column + 1);
}

/* y, grad_x of one set of kernels. */
static void compute(const fc_kernels *kernels, const fc_response_block *b, const void *x, const void *grad_y, void *y,
                    void *grad_x, void *terms) {
    kernels->response(b, x, y);
    kernels->response_terms(b, x, grad_y, grad_x, terms);
    kernels->response_gradient(b, x, terms, grad_x);
}

static void test_block(const pair *p, const fc_response_block *b) {
    const size_t size = size_of_block(b);
    void *x = new_array(p->dtype, size), *grad_y = new_array(p->dtype, size), *results[6];
    for (int i = 0; i < 6; i++) results[i] = new_poisoned(p->dtype, size);
    compute(p->fast, b, x, grad_y, results[0], results[1], results[2]);
    compute(p->judge, b, x, grad_y, results[3], results[4], results[5]);
    const double slack = 64 * unit_of(p->dtype);
    CHECK(close_numbers(results[0], results[3], p->dtype, size, slack), "response");
    CHECK(close_numbers(results[1], results[4], p->dtype, size, slack), "response_gradient");
    CHECK(close_numbers(results[2], results[5], p->dtype, size, slack), "response_terms");
    for (int i = 0; i < 6; i++) free(results[i]);
    free(x), free(grad_y);
}

/* The same numbers, channels adjacent and pixels adjacent. */
static void test_order(const pair *p, int64_t pixels, int64_t columns, int64_t size, double beta) {
    const fc_response_block down = block_of(pixels, columns, 0, size, beta);
    const fc_response_block along = block_of(pixels, columns, 1, size, beta);
    const fc_response_block *blocks[2] = {&down, &along};
    void *arrays[2][5];
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 5; i++) arrays[k][i] = new_array(p->dtype, size_of_block(blocks[k]));
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; c < columns; c++)
            for (int a = 0; a < 2; a++) {
                const double value = (double)random_between(-1000, 1000) / 977; /* rounded at every step */
                set_number(arrays[0][a], p->dtype, (size_t)(i * down.x.pixel + c), value);
                set_number(arrays[1][a], p->dtype, (size_t)(i + c * along.x.column), value);
            }
    for (int k = 0; k < 2; k++)
        compute(p->fast, blocks[k], arrays[k][0], arrays[k][1], arrays[k][2], arrays[k][3], arrays[k][4]);
    int same = 1;
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; c < columns; c++)
            for (int a = 2; a < 4; a++)
                same &= number_at(arrays[0][a], p->dtype, (size_t)(i * down.x.pixel + c)) ==
                        number_at(arrays[1][a], p->dtype, (size_t)(i + c * along.x.column));
    CHECK(same, "the order of the sums");
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 5; i++) free(arrays[k][i]);
}

static void test_all(const pair *p) {
    static const int64_t counts[] = {1, 2, 5, 8, 16, 19, 40};
    static const int64_t sizes[] = {1, 2, 5, 40};
    static const double betas[] = {0.75, 0.5, 0.6, 1, 2, 0, 1.25};
    int turn = 0;
    for (int i = 0; i < 7; i++)
        for (int c = 0; c < 7; c++)
            for (int s = 0; s < 4; s++, turn++) {
                for (int along = 0; along < 2; along++) {
                    const fc_response_block b = block_of(counts[i] + (along ? 0 : counts[i] == 1), counts[c], along,
                                                         sizes[s], betas[turn % 7]);
                    test_block(p, &b);
                }
                if (counts[i] > 1) test_order(p, counts[i], counts[c], sizes[s], betas[turn % 7]);
            }
}

int main(void) {
    for_each_pair(test_all);
    return report();
}
