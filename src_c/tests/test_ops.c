/* SPDX-License-Identifier: BSD-3-Clause
 * The operations on random geometries: every instruction set against the reference algorithm, 1 to 3 threads, both
 * layouts, arrays allocated to the byte; then bad sizes, and memory that cannot be had. */
#include "../base/compiler.h"
#include "check.h"

/* ---------------------------------------------------------------- arrays */

typedef enum layout { CHANNELS_LAST, CHANNELS_FIRST } layout;

static fc_array image(void *data, fc_dtype dtype, layout order, int64_t h, int64_t w, int64_t c) {
    fc_array a = {.data = data, .dtype = dtype, .stride = {h * w * c, w * c, c, 1}};
    if (order == CHANNELS_FIRST) a.stride[1] = w, a.stride[2] = 1, a.stride[3] = h * w;
    return a;
}

static fc_array filters(void *data, fc_dtype dtype, layout order, int64_t r, int64_t s, int64_t c, int64_t k) {
    fc_array a = {.data = data, .dtype = dtype, .stride = {s * c * k, c * k, k, 1}};
    if (order == CHANNELS_FIRST) a.stride[0] = s, a.stride[1] = 1, a.stride[2] = r * s, a.stride[3] = c * r * s;
    return a;
}

/* ---------------------------------------------------------------- convolution */

static int random_problem(fc_conv2d *g) {
    const int64_t groups = random_between(1, 4) == 4 ? random_between(2, 3) : 1;
    *g = (fc_conv2d){.n = random_between(1, 3), .h = random_between(1, 12), .w = random_between(1, 40),
                     .c = groups * random_between(1, 20), .k = groups * random_between(1, 40), .r = random_between(1, 4),
                     .s = random_between(1, 5), .stride_h = random_between(1, 3), .stride_w = random_between(1, 3),
                     .dilation_h = random_between(1, 2), .dilation_w = random_between(1, 3), .groups = groups,
                     .pad_top = random_between(0, 3), .pad_bottom = random_between(0, 3),
                     .pad_left = random_between(0, 3), .pad_right = random_between(0, 3)};
    if (random_between(0, 3) == 0) g->groups = g->k = g->c; /* depthwise */
    return fc_conv2d_resolve(g, (fc_padding)random_between(0, 3)) == FC_OK;
}

static void test_convolution(const fc_conv2d *g, fc_dtype dtype, layout order) {
    const size_t x_size = (size_t)(g->n * g->h * g->w * g->c), y_size = (size_t)(g->n * g->p * g->q * g->k);
    const size_t w_size = (size_t)(g->r * g->s * g->c / g->groups * g->k);
    fc_array x = image(new_array(dtype, x_size), dtype, order, g->h, g->w, g->c);
    fc_array w = filters(new_array(dtype, w_size), dtype, order, g->r, g->s, g->c / g->groups, g->k);
    fc_array y = image(new_poisoned(dtype, y_size), dtype, order, g->p, g->q, g->k), y_judge = y;
    fc_array bias = {.data = new_array(dtype, (size_t)g->k), .dtype = dtype, .stride = {0, 0, 0, 1}};
    y_judge.data = new_poisoned(dtype, y_size);
    const fc_options fast = {.activation = FC_RELU}, judge = {.activation = FC_RELU, .algorithm = FC_REFERENCE};
    CHECK(fc_conv2d_forward(g, &x, &w, &bias, &y, &fast) == FC_OK, "status of forward");
    CHECK(fc_conv2d_forward(g, &x, &w, &bias, &y_judge, &judge) == FC_OK, "status of the reference");
    CHECK(same_numbers(y.data, y_judge.data, dtype, y_size), "forward");

    fill(y.data, dtype, y_size);
    fc_array grad_x = x, grad_x_judge = x, grad_w = w, grad_w_judge = w;
    grad_x.data = new_poisoned(dtype, x_size), grad_x_judge.data = new_poisoned(dtype, x_size);
    grad_w.data = new_poisoned(dtype, w_size), grad_w_judge.data = new_poisoned(dtype, w_size);
    CHECK(fc_conv2d_backward_input(g, &y, &w, &grad_x, &fast) == FC_OK, "status of backward_input");
    fc_conv2d_backward_input(g, &y, &w, &grad_x_judge, &judge);
    CHECK(same_numbers(grad_x.data, grad_x_judge.data, dtype, x_size), "backward_input");
    CHECK(fc_conv2d_backward_weight(g, &y, &x, &grad_w, &fast) == FC_OK, "status of backward_weight");
    fc_conv2d_backward_weight(g, &y, &x, &grad_w_judge, &judge);
    CHECK(same_numbers(grad_w.data, grad_w_judge.data, dtype, w_size), "backward_weight");

    fc_array ones = y, grad_bias = bias;
    CHECK(fc_conv2d_backward_bias(g, &ones, &grad_bias) == FC_OK, "status of backward_bias");
    double sum = 0;
    for (int64_t i = 0; i < g->n * g->p * g->q; i++)
        sum += number_at(y.data, dtype, (size_t)(i / (g->p * g->q) * y.stride[0] + i / g->q % g->p * y.stride[1] + i % g->q * y.stride[2]));
    CHECK(number_at(bias.data, dtype, 0) == sum, "backward_bias");
    free(x.data), free(w.data), free(y.data), free(y_judge.data), free(bias.data);
    free(grad_x.data), free(grad_x_judge.data), free(grad_w.data), free(grad_w_judge.data);
}

/* ---------------------------------------------------------------- pooling */

static int random_pool(fc_pool2d *g) {
    *g = (fc_pool2d){.n = random_between(1, 2), .h = random_between(1, 10), .w = random_between(1, 12),
                     .c = random_between(1, 40), .r = random_between(1, 3), .s = random_between(1, 3),
                     .stride_h = random_between(1, 3), .stride_w = random_between(1, 3),
                     .dilation_h = random_between(1, 2), .dilation_w = random_between(1, 2),
                     .pad_top = random_between(0, 1), .pad_bottom = random_between(0, 1),
                     .pad_left = random_between(0, 1), .pad_right = random_between(0, 1),
                     .ceil_mode = (int)random_between(0, 1), .count_include_pad = (int)random_between(0, 1)};
    return fc_pool2d_resolve(g, FC_PAD_EXPLICIT) == FC_OK;
}

/* The maximum by definition: the border is minus infinity, the first winner stays. */
static double max_of_window(const fc_pool2d *g, const fc_array *x, int64_t n, int64_t p, int64_t q, int64_t c, int64_t *place) {
    double best = -INFINITY;
    *place = -1;
    for (int64_t r = 0; r < g->r; r++)
        for (int64_t s = 0; s < g->s; s++) {
            const int64_t h = p * g->stride_h - g->pad_top + r * g->dilation_h, w = q * g->stride_w - g->pad_left + s * g->dilation_w;
            if (h < 0 || h >= g->h || w < 0 || w >= g->w) continue;
            const double value = number_at(x->data, x->dtype, (size_t)(n * x->stride[0] + h * x->stride[1] + w * x->stride[2] + c * x->stride[3]));
            if (*place < 0 || value > best) best = value, *place = h * g->w + w;
        }
    return best;
}

static void test_max_pool(const fc_pool2d *g, fc_dtype dtype, layout order) {
    const size_t x_size = (size_t)(g->n * g->h * g->w * g->c), y_size = (size_t)(g->n * g->p * g->q * g->c);
    fc_array x = image(new_array(dtype, x_size), dtype, order, g->h, g->w, g->c), grad_x = x;
    fc_array y = image(new_poisoned(dtype, y_size), dtype, order, g->p, g->q, g->c);
    int64_t *indices = malloc(y_size * sizeof *indices);
    grad_x.data = new_poisoned(dtype, x_size);
    CHECK(fc_max_pool2d(g, &x, &y, indices, y.stride) == FC_OK, "status of max_pool2d");
    int right = 1, right_place = 1;
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t p = 0; p < g->p; p++)
            for (int64_t q = 0; q < g->q; q++)
                for (int64_t c = 0; c < g->c; c++) {
                    const size_t at = (size_t)(n * y.stride[0] + p * y.stride[1] + q * y.stride[2] + c * y.stride[3]);
                    int64_t place;
                    right &= number_at(y.data, dtype, at) == max_of_window(g, &x, n, p, q, c, &place);
                    right_place &= indices[at] == place;
                }
    CHECK(right, "max_pool2d");
    CHECK(right_place, "indices of max_pool2d");
    CHECK(fc_max_pool2d_backward(g, &y, indices, y.stride, &grad_x) == FC_OK, "status of max_pool2d_backward");
    double spread = 0, given = 0;
    for (size_t i = 0; i < x_size; i++) spread += number_at(grad_x.data, dtype, i);
    for (size_t i = 0; i < y_size; i++) given += number_at(y.data, dtype, i);
    CHECK(spread == given, "max_pool2d_backward keeps the sum");
    memset(grad_x.data, 0xFF, x_size * size_of(dtype));
    indices[y_size / 2] = g->h * g->w;
    CHECK(fc_max_pool2d_backward(g, &y, indices, y.stride, &grad_x) == FC_BAD_INDEX, "an index behind the image");
    CHECK(isnan(number_at(grad_x.data, dtype, 0)), "nothing is written after a bad index");
    free(x.data), free(y.data), free(grad_x.data), free(indices);
}

/* <avg(x), y> = <x, avg_backward(y)> */
static void test_avg_pool(const fc_pool2d *g, fc_dtype dtype, layout order) {
    const size_t x_size = (size_t)(g->n * g->h * g->w * g->c), y_size = (size_t)(g->n * g->p * g->q * g->c);
    fc_array x = image(new_array(dtype, x_size), dtype, order, g->h, g->w, g->c), grad_x = x;
    fc_array y = image(new_poisoned(dtype, y_size), dtype, order, g->p, g->q, g->c), grad_y = y;
    grad_x.data = new_poisoned(dtype, x_size), grad_y.data = new_array(dtype, y_size);
    CHECK(fc_avg_pool2d(g, &x, &y) == FC_OK, "status of avg_pool2d");
    CHECK(fc_avg_pool2d_backward(g, &grad_y, &grad_x) == FC_OK, "status of avg_pool2d_backward");
    double forward = 0, backward = 0, magnitude = 1;
    for (size_t i = 0; i < y_size; i++) forward += number_at(y.data, dtype, i) * number_at(grad_y.data, dtype, i);
    for (size_t i = 0; i < x_size; i++) {
        backward += number_at(x.data, dtype, i) * number_at(grad_x.data, dtype, i);
        magnitude += fabs(number_at(x.data, dtype, i) * number_at(grad_x.data, dtype, i));
    }
    CHECK(fabs(forward - backward) <= 1e-6 * magnitude, "average pooling and its gradient are adjoint");
    free(x.data), free(y.data), free(grad_x.data), free(grad_y.data);
}

/* ---------------------------------------------------------------- errors */

static void test_bad_sizes(void) {
    const fc_conv2d good = {.n = 1, .h = 5, .w = 5, .c = 2, .k = 2, .r = 3, .s = 3, .stride_h = 1, .stride_w = 1,
                            .dilation_h = 1, .dilation_w = 1, .groups = 1};
    fc_conv2d g = good;
    CHECK(fc_conv2d_resolve(&g, FC_PAD_EXPLICIT) == FC_OK && g.p == 3 && g.q == 3, "a good problem");
#define EXPECT(field, value, status) \
    g = good, g.field = (value);     \
    CHECK(fc_conv2d_resolve(&g, FC_PAD_EXPLICIT) == (status), #field " = " #value)
    EXPECT(n, -1, FC_BAD_SIZE);
    EXPECT(c, 0, FC_BAD_SIZE);
    EXPECT(k, 0, FC_BAD_SIZE);
    EXPECT(r, 0, FC_BAD_SIZE);
    EXPECT(h, -3, FC_BAD_SIZE);
    EXPECT(stride_h, 0, FC_BAD_STRIDE);
    EXPECT(stride_w, -1, FC_BAD_STRIDE);
    EXPECT(dilation_w, 0, FC_BAD_DILATION);
    EXPECT(pad_left, -1, FC_BAD_PADDING);
    EXPECT(groups, 0, FC_BAD_GROUPS);
    EXPECT(groups, 3, FC_BAD_GROUPS);
    EXPECT(r, 6, FC_EMPTY_OUTPUT);
    EXPECT(dilation_h, INT64_MAX, FC_TOO_LARGE);
    EXPECT(dilation_h, INT64_MAX / 2, FC_EMPTY_OUTPUT);
    EXPECT(pad_top, INT64_MAX, FC_TOO_LARGE);
    EXPECT(pad_top, INT64_MAX / 2, FC_TOO_LARGE);
    EXPECT(n, INT64_MAX, FC_TOO_LARGE);
#undef EXPECT
}

/* ---------------------------------------------------------------- memory */

/* The linker sends the library's allocations here (--wrap). */
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
static int refuse_memory;
void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
    return refuse_memory ? NULL : __real_aligned_alloc(alignment, bytes);
}

static void test_no_memory(void) {
    fc_conv2d g = {.n = 1, .h = 9, .w = 9, .c = 5, .k = 7, .r = 3, .s = 3, .stride_h = 1, .stride_w = 1,
                   .dilation_h = 1, .dilation_w = 1, .groups = 1};
    fc_conv2d_resolve(&g, FC_PAD_SAME);
    void *x = new_array(FC_FLOAT32, 81 * 5), *w = new_array(FC_FLOAT32, 9 * 35), *y = new_poisoned(FC_FLOAT32, 81 * 7);
    const fc_array x_view = image(x, FC_FLOAT32, CHANNELS_LAST, 9, 9, 5), y_view = image(y, FC_FLOAT32, CHANNELS_LAST, 9, 9, 7);
    const fc_array w_view = filters(w, FC_FLOAT32, CHANNELS_LAST, 3, 3, 5, 7);
    fc_clear_cache();
    refuse_memory = 1;
    CHECK(fc_conv2d_forward(&g, &x_view, &w_view, NULL, &y_view, NULL) == FC_NO_MEMORY, "forward without memory");
    CHECK(isnan(number_at(y, FC_FLOAT32, 0)), "nothing is written without memory");
    CHECK(fc_conv2d_backward_input(&g, &y_view, &w_view, &x_view, NULL) == FC_NO_MEMORY, "backward_input without memory");
    CHECK(fc_conv2d_backward_weight(&g, &y_view, &x_view, &w_view, NULL) == FC_NO_MEMORY, "backward_weight without memory");
    refuse_memory = 0;
    CHECK(fc_conv2d_forward(&g, &x_view, &w_view, NULL, &y_view, NULL) == FC_OK, "forward after memory came back");
    free(x), free(w), free(y);
}

int main(int argc, char **argv) {
    const int problems = argc > 1 ? atoi(argv[1]) : 300;
    test_bad_sizes();
    test_no_memory();
    for (int isa = 0; isa < fc_isa_count(); isa++) {
        if (fc_set_thread_isa(isa) != 0) continue;
        printf("%s\n", fc_isa_name(isa));
        for (int i = 0; i < problems; i++) {
            const fc_dtype dtype = i & 1 ? FC_FLOAT64 : FC_FLOAT32;
            const layout order = i & 2 ? CHANNELS_FIRST : CHANNELS_LAST;
            fc_conv2d g;
            fc_pool2d pool;
            fc_set_num_threads(1 + i % 3);
            if (random_problem(&g)) test_convolution(&g, dtype, order);
            if (random_pool(&pool)) {
                test_max_pool(&pool, dtype, order);
                pool.dilation_h = pool.dilation_w = 1;
                if (fc_pool2d_resolve(&pool, FC_PAD_EXPLICIT) == FC_OK) test_avg_pool(&pool, dtype, order);
            }
        }
    }
    fc_clear_cache();
    return report();
}
