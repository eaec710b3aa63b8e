/* SPDX-License-Identifier: BSD-3-Clause
 * Winograd's transforms of every instruction set against the reference, and the reference against sums. */
#include "../base/compiler.h"
#include "pairs.h"

static int whole_vectors(const fc_kernels *kernels, int numbers) {
    return (numbers + kernels->vl - 1) / kernels->vl * kernels->vl;
}

/* Nine taps at places that are neither adjacent nor in order, as those of filters seen from behind. */
static void scatter_taps(ptrdiff_t tap[9], ptrdiff_t distance) {
    for (int i = 0; i < 9; i++) tap[i] = i * 5 % 9 * distance;
}

/* Input tiles and tiles of grad_y; of whole numbers up to 4 both transforms are exact. With a NaN: it goes where the
 * matrices have no zero. */
static void test_winograd_spread(const pair *p, int channels, int gradient, int with_nan) {
    const int side = gradient ? 4 : 6, whole = whole_vectors(p->fast, channels);
    const int most = FC_MAX(whole, whole_vectors(p->judge, channels));
    const ptrdiff_t column = channels + 1, row = side * column + 2, plane = most + 3;
    const size_t x_size = (size_t)((side - 1) * (row + column) + channels), v_size = (size_t)(35 * plane + most);
    void *x = new_array(p->dtype, x_size);
    void *v = new_poisoned(p->dtype, v_size), *expected = new_poisoned(p->dtype, v_size);
    if (with_nan) set_number(x, p->dtype, (size_t)random_between(0, (int64_t)x_size - 1), NAN);
    (gradient ? p->fast->winograd_grad_output : p->fast->winograd_input)(channels, x, row, column, v, plane);
    (gradient ? p->judge->winograd_grad_output : p->judge->winograd_input)(channels, x, row, column, expected, plane);
    for (int i = 0; i < 36; i++) /* the judge's vectors have another length */
        for (int c = channels; c < most; c++)
            set_number(expected, p->dtype, (size_t)(i * plane + c), c < whole ? 0 : NAN);
    CHECK(same_numbers(v, expected, p->dtype, v_size), gradient ? "winograd_grad_output" : "winograd_input");
    free(x), free(v), free(expected);
}

static void test_winograd_filter(const pair *p, int columns, int width) {
    enum { CHANNELS = 3 };
    const ptrdiff_t step = columns + 1, plane = CHANNELS * width + 5;
    ptrdiff_t tap[9];
    scatter_taps(tap, CHANNELS * step + 2);
    const size_t w_size = (size_t)(tap[7] + (CHANNELS - 1) * step + columns);
    const size_t u_size = (size_t)(35 * plane + CHANNELS * width);
    void *w = new_array(p->dtype, w_size);
    void *u = new_poisoned(p->dtype, u_size), *expected = new_poisoned(p->dtype, u_size);
    p->fast->winograd_filter(CHANNELS, columns, w, tap, step, u, width, plane);
    p->judge->winograd_filter(CHANNELS, columns, w, tap, step, expected, width, plane);
    CHECK(same_numbers(u, expected, p->dtype, u_size), "winograd_filter");
    free(w), free(u), free(expected);
}

/* In units of 31 u, 31 being the largest sum of magnitudes. A transform back rounds four times in each direction, and
 * its coefficients once: at most 10 units. In 40 runs of all sizes float32, whose judge computes in double, was off by
 * 2.1 units at most, and float64, whose judge rounds as well, adding 36 products one by one, by 4.1; each instruction
 * set alike, since all do the same operations. */
static double winograd_tolerance(const pair *p) {
    return (p->dtype == FC_FLOAT64 ? 6 : 4) * 31 * unit_of(p->dtype);
}

static void test_winograd_output_shape(const pair *p, int filters, int rows, int columns) {
    const ptrdiff_t plane = whole_vectors(p->fast, filters) + 3, column = filters + 1, row = columns * column + 2;
    const size_t m_size = (size_t)(35 * plane + whole_vectors(p->fast, filters));
    const size_t y_size = (size_t)((rows - 1) * row + (columns - 1) * column + filters);
    const fc_epilogue activation = (fc_epilogue)((rows + columns + filters) % 3);
    void *m = new_array(p->dtype, m_size), *bias = new_array(p->dtype, (size_t)filters);
    void *y = new_poisoned(p->dtype, y_size), *expected = new_poisoned(p->dtype, y_size);
    void *b = (rows + filters) & 1 ? bias : NULL;
    const fc_winograd_output_fn fast = p->fast->winograd_output, judge = p->judge->winograd_output;
    CHECK(fast(filters, m, plane, b, activation, rows, columns, y, row, column), "finite");
    CHECK(judge(filters, m, plane, b, activation, rows, columns, expected, row, column), "finite");
    CHECK(close_numbers(y, expected, p->dtype, y_size, winograd_tolerance(p)), "winograd_output");
    /* one number that is not finite is seen wherever it is, though its results be cut off */
    static const double bad[] = {NAN, INFINITY, -INFINITY};
    const size_t at = (size_t)(random_between(0, 35) * plane + random_between(0, filters - 1));
    set_number(m, p->dtype, at, bad[random_between(0, 2)]);
    CHECK(!fast(filters, m, plane, b, activation, rows, columns, y, row, column), "not finite");
    CHECK(!judge(filters, m, plane, b, activation, rows, columns, expected, row, column), "not finite");
    free(m), free(bias), free(y), free(expected);
}

static void test_winograd_grad_filter(const pair *p, int filters, int channels) {
    const int width = filters + 2;
    const ptrdiff_t plane = channels * width + 3, step = filters + 1;
    ptrdiff_t tap[9];
    scatter_taps(tap, channels * step + 1);
    const size_t s_size = (size_t)(35 * plane + (channels - 1) * width + filters);
    const size_t g_size = (size_t)(tap[7] + (channels - 1) * step + filters);
    void *s = new_array(p->dtype, s_size);
    void *g = new_poisoned(p->dtype, g_size), *expected = new_poisoned(p->dtype, g_size);
    CHECK(p->fast->winograd_grad_filter(channels, filters, s, width, plane, g, tap, step), "finite");
    CHECK(p->judge->winograd_grad_filter(channels, filters, s, width, plane, expected, tap, step), "finite");
    CHECK(close_numbers(g, expected, p->dtype, g_size, winograd_tolerance(p)), "winograd_grad_filter");
    const int64_t c = random_between(0, channels - 1), k = random_between(0, filters - 1);
    set_number(s, p->dtype, (size_t)(random_between(0, 35) * plane + c * width + k), INFINITY);
    CHECK(!p->fast->winograd_grad_filter(channels, filters, s, width, plane, g, tap, step), "not finite");
    CHECK(!p->judge->winograd_grad_filter(channels, filters, s, width, plane, expected, tap, step), "not finite");
    free(s), free(g), free(expected);
}

/* What the matrices are for: a tile of a convolution, and of the gradient of its filters, from 36 products a channel
 * and filter. Judged by the sums that define both, so that the reference kernels stand trial as well. */
static void test_winograd_identity(const fc_kernels *kernels, fc_dtype dtype) {
    enum { C = 3, K = 2, VECTOR = 16, WIDTH = 16 };
    ptrdiff_t tap[9];
    for (int i = 0; i < 9; i++) tap[i] = i * C * K;
    void *d = new_array(dtype, 36 * C), *w = new_array(dtype, 9 * C * K), *grad_y = new_array(dtype, 16 * K);
    void *v = new_poisoned(dtype, 36 * VECTOR), *u = new_poisoned(dtype, 36 * C * WIDTH);
    void *z = new_poisoned(dtype, 36 * VECTOR), *m = new_array(dtype, 36 * VECTOR);
    void *s = new_array(dtype, 36 * C * WIDTH);
    void *y = new_poisoned(dtype, 16 * K), *true_y = calloc(16 * K, 8);
    void *g = new_poisoned(dtype, 9 * C * K), *true_g = calloc(9 * C * K, 8);
    kernels->winograd_input(C, d, 6 * C, C, v, VECTOR);
    kernels->winograd_filter(C, K, w, tap, K, u, WIDTH, C * WIDTH);
    kernels->winograd_grad_output(K, grad_y, 4 * K, K, z, VECTOR);
    for (size_t i = 0; i < 36; i++)
        for (size_t k = 0; k < K; k++) {
            double sum = 0;
            for (size_t c = 0; c < C; c++) {
                const double here = number_at(v, dtype, i * VECTOR + c);
                sum += here * number_at(u, dtype, (i * C + c) * WIDTH + k);
                set_number(s, dtype, (i * C + c) * WIDTH + k, here * number_at(z, dtype, i * VECTOR + k));
            }
            set_number(m, dtype, i * VECTOR + k, sum);
        }
    kernels->winograd_output(K, m, VECTOR, NULL, FC_EPILOGUE_NONE, 4, 4, y, 4 * K, K);
    kernels->winograd_grad_filter(C, K, s, WIDTH, C * WIDTH, g, tap, K);
    for (size_t i = 0; i < 16 * 9 * C * K; i++) {
        const size_t pixel = i / (9 * C * K), of_filter = i % (9 * C * K), r = of_filter / (3 * C * K);
        const size_t t = of_filter / (C * K) % 3, c = of_filter / K % C, k = of_filter % K;
        const double x = number_at(d, dtype, ((pixel / 4 + r) * 6 + pixel % 4 + t) * C + c);
        const size_t y_at = pixel * K + k;
        set_number(true_y, dtype, y_at, number_at(true_y, dtype, y_at) + x * number_at(w, dtype, of_filter));
        set_number(true_g, dtype, of_filter, number_at(true_g, dtype, of_filter) + x * number_at(grad_y, dtype, y_at));
    }
    const double tolerance = 64 * unit_of(dtype) * 16 * 9 * C * 4; /* u of the largest sum of magnitudes, and room */
    CHECK(close_numbers(y, true_y, dtype, 16 * K, tolerance), "Y = At [(G g Gt) . (Bt d B)] A");
    CHECK(close_numbers(g, true_g, dtype, 9 * C * K, tolerance), "dg = Gs [(Z dY Zt) . (Bt d B)] Gst");
    free(d), free(w), free(grad_y), free(v), free(u), free(z), free(m), free(s);
    free(y), free(true_y), free(g), free(true_g);
}

static void test_winograd(const pair *p) {
    const int vl = p->fast->vl;
    for (int repeat = 0; repeat < 10; repeat++) {
        test_winograd_identity(p->judge, p->dtype);
        test_winograd_identity(p->fast, p->dtype);
    }
    for (int count = 1; count <= 2 * vl + 1; count++) {
        for (int form = 0; form < 4; form++) test_winograd_spread(p, count, form & 1, form >> 1);
        for (int rows = 1; rows <= 4; rows++)
            for (int columns = 1; columns <= 4; columns++) test_winograd_output_shape(p, count, rows, columns);
        for (int channels = 1; channels <= 3; channels += 2) test_winograd_grad_filter(p, count, channels);
    }
    for (int width = vl; width <= 2 * vl; width += vl)
        for (int columns = 1; columns <= width; columns++) test_winograd_filter(p, columns, width);
}

int main(void) {
    for_each_pair(test_winograd);
    return report();
}
