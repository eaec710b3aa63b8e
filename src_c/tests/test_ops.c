/* SPDX-License-Identifier: BSD-3-Clause
 * The operations on random geometries: every instruction set against the reference algorithm, 1 to 3 threads, both
 * layouts, arrays allocated to the byte; then bad sizes, and memory that cannot be had. */
#include "../base/compiler.h"
#include "../base/scratch.h"
#include "../ops/direct.h"
#include "../ops/conv2d_algorithms.h"
#include "problems.h"

/* ---------------------------------------------------------------- convolution */

/* 3x3 filters with stride 1. Now and then more channels and filters than a pass, a block or a panel has, and borders
 * that reach far beyond the filter. */
static int random_winograd_problem(fc_conv2d *g) {
    const int64_t groups = random_between(1, 4) == 4 ? random_between(2, 3) : 1;
    const int64_t far = random_between(1, 4) == 4 ? 5 : 2;
    *g = (fc_conv2d){.n = random_between(1, 3), .h = random_between(1, 14), .w = random_between(1, 40),
                     .c = groups * random_between(1, 20), .k = groups * random_between(1, 40), .r = 3, .s = 3,
                     .stride_h = 1, .stride_w = 1, .dilation_h = 1, .dilation_w = 1, .groups = groups,
                     .pad_top = random_between(0, far), .pad_bottom = random_between(0, far),
                     .pad_left = random_between(0, far), .pad_right = random_between(0, far)};
    if (random_between(1, 8) == 8) {
        g->c = groups * random_between(60, 150), g->k = groups * random_between(60, 80);
        g->n = 1, g->h = 4, g->w = random_between(3, 7);
    }
    return fc_conv2d_resolve(g, (fc_padding)FC_MAX(0, random_between(-3, 3))) == FC_OK;
}

/* What Winograd's results of whole numbers up to 4 may be off by: 32 u of the largest S, not more than 0.08. The direct
 * algorithm is exact. */
static double tolerance_of(const fc_conv2d *g, fc_dtype dtype, fc_algorithm algorithm) {
    if (algorithm == FC_DIRECT) return 0;
    const int64_t terms = FC_MAX(9 * FC_MAX(g->c, g->k) / g->groups, g->n * g->p * g->q);
    return 32 * unit_of(dtype) * 16 * (double)terms;
}

static void test_convolution(const fc_conv2d *g, fc_dtype dtype, layout order, fc_algorithm algorithm) {
    const double tolerance = tolerance_of(g, dtype, algorithm);
    const size_t x_size = (size_t)(g->n * g->h * g->w * g->c), y_size = (size_t)(g->n * g->p * g->q * g->k);
    const size_t w_size = (size_t)(g->r * g->s * g->c / g->groups * g->k);
    fc_array x = image(new_array(dtype, x_size), dtype, order, g->h, g->w, g->c);
    fc_array w = filters(new_array(dtype, w_size), dtype, order, g->r, g->s, g->c / g->groups, g->k);
    fc_array y = image(new_poisoned(dtype, y_size), dtype, order, g->p, g->q, g->k), y_judge = y;
    fc_array bias = vector(new_array(dtype, (size_t)g->k), dtype);
    y_judge.data = new_poisoned(dtype, y_size);
    const fc_options fast = {.activation = FC_RELU, .algorithm = algorithm};
    const fc_options judge = {.activation = FC_RELU, .algorithm = FC_REFERENCE};
    CHECK(fc_conv2d_forward(g, &x, &w, &bias, &y, &fast) == FC_OK, "status of forward");
    CHECK(fc_conv2d_forward(g, &x, &w, &bias, &y_judge, &judge) == FC_OK, "status of the reference");
    CHECK(close_numbers(y.data, y_judge.data, dtype, y_size, tolerance), "forward");

    fill(y.data, dtype, y_size);
    fc_array grad_x = x, grad_x_judge = x, grad_w = w, grad_w_judge = w;
    grad_x.data = new_poisoned(dtype, x_size), grad_x_judge.data = new_poisoned(dtype, x_size);
    grad_w.data = new_poisoned(dtype, w_size), grad_w_judge.data = new_poisoned(dtype, w_size);
    CHECK(fc_conv2d_backward_input(g, &y, &w, &grad_x, &fast) == FC_OK, "status of backward_input");
    fc_conv2d_backward_input(g, &y, &w, &grad_x_judge, &judge);
    CHECK(close_numbers(grad_x.data, grad_x_judge.data, dtype, x_size, tolerance), "backward_input");
    const fc_array channels = vector(new_array(dtype, (size_t)g->c), dtype);
    CHECK(fc_conv_transpose2d(g, &y, &w, &channels, &grad_x, &fast) == FC_OK, "status of the transposed convolution");
    fc_conv_transpose2d(g, &y, &w, &channels, &grad_x_judge, &judge);
    CHECK(close_numbers(grad_x.data, grad_x_judge.data, dtype, x_size, tolerance), "transposed convolution");
    free(channels.data);
    CHECK(fc_conv2d_backward_weight(g, &y, &x, &grad_w, &fast) == FC_OK, "status of backward_weight");
    fc_conv2d_backward_weight(g, &y, &x, &grad_w_judge, &judge);
    CHECK(close_numbers(grad_w.data, grad_w_judge.data, dtype, w_size, tolerance), "backward_weight");

    fc_array ones = y, grad_bias = bias;
    CHECK(fc_conv2d_backward_bias(g, &ones, &grad_bias) == FC_OK, "status of backward_bias");
    double sum = 0;
    for (int64_t i = 0; i < g->n * g->p * g->q; i++)
        sum += number_at(y.data, dtype,
                         (size_t)(i / (g->p * g->q) * y.stride[0] + i / g->q % g->p * y.stride[1] +
                                  i % g->q * y.stride[2]));
    CHECK(number_at(bias.data, dtype, 0) == sum, "backward_bias");
    free(x.data), free(w.data), free(y.data), free(y_judge.data), free(bias.data);
    free(grad_x.data), free(grad_x_judge.data), free(grad_w.data), free(grad_w_judge.data);
}

/* For what callers cannot call themselves, and is therefore to read all of the array. */
static fc_array plain_image(void *data, layout order, int64_t h, int64_t w, int64_t c) {
    const fc_array a = image(data, FC_FLOAT32, order, h, w, c);
    return fc_images_of(&a);
}

/* The same by products of parts, which are exact on whole numbers up to 4; with a number that is not finite they fall
 * back on the direct algorithm. Without fast products of bfloat16 the judges of their kernels run. */
static void test_split(const fc_conv2d *g, layout order, int parts, int with_nan) {
    const size_t x_size = (size_t)(g->n * g->h * g->w * g->c), y_size = (size_t)(g->n * g->p * g->q * g->k);
    const size_t w_size = (size_t)(g->r * g->s * g->c / g->groups * g->k);
    const fc_array x = plain_image(new_array(FC_FLOAT32, x_size), order, g->h, g->w, g->c);
    const fc_array w = filters(new_array(FC_FLOAT32, w_size), FC_FLOAT32, order, g->r, g->s, g->c / g->groups, g->k);
    const fc_array bias = vector(new_array(FC_FLOAT32, (size_t)g->k), FC_FLOAT32);
    const fc_array y = plain_image(new_poisoned(FC_FLOAT32, y_size), order, g->p, g->q, g->k);
    fc_array y_judge = y;
    y_judge.data = new_poisoned(FC_FLOAT32, y_size);
    if (with_nan) ((float *)x.data)[x_size / 2] = with_nan == 1 ? INFINITY : 3e38f;
    const fc_direct d = fc_forward_view(g, &x, &w, &bias, &y, FC_RELU);
    const fc_options judge = {.activation = FC_RELU, .algorithm = FC_DIRECT, .precision = FC_STRICT};
    CHECK(fc_split_run_all(&d, 1, parts) == FC_OK, "status by parts");
    fc_conv2d_forward(g, &x, &w, &bias, &y_judge, &judge);
    CHECK(close_numbers(y.data, y_judge.data, FC_FLOAT32, y_size, with_nan == 2 ? 1e33 : 0), "by parts");
    fill(y.data, FC_FLOAT32, y_size);
    fc_array grad_w = w, grad_w_judge = w;
    grad_w.data = new_poisoned(FC_FLOAT32, w_size), grad_w_judge.data = new_poisoned(FC_FLOAT32, w_size);
    CHECK(fc_split_backward_weight(g, &y, &x, &grad_w, parts) == FC_OK, "status of the gradient by parts");
    fc_conv2d_backward_weight(g, &y, &x, &grad_w_judge, &judge);
    CHECK(close_numbers(grad_w.data, grad_w_judge.data, FC_FLOAT32, w_size, with_nan == 2 ? 1e33 : 0),
          "gradient by parts");
    free(grad_w.data), free(grad_w_judge.data);
    free(x.data), free(w.data), free(bias.data), free(y.data), free(y_judge.data);
}

static int scratch_byte = 0xFF; /* what scratch memory is full of */

/* What lay in scratch memory before makes no difference: as NaN it would, by way of the direct algorithm. */
static void test_split_scratch(const fc_conv2d *g, layout order, int parts) {
    const size_t x_size = (size_t)(g->n * g->h * g->w * g->c), y_size = (size_t)(g->n * g->p * g->q * g->k);
    const size_t w_size = (size_t)(g->r * g->s * g->c / g->groups * g->k);
    fc_array x = plain_image(new_array(FC_FLOAT32, x_size), order, g->h, g->w, g->c);
    fc_array w[2], y[2];
    for (size_t i = 0; i < x_size; i++) ((float *)x.data)[i] /= 3;
    for (int i = 0; i < 2; i++) {
        scratch_byte = i ? 0xFF : 0;
        w[i] = filters(new_array(FC_FLOAT32, w_size), FC_FLOAT32, order, g->r, g->s, g->c / g->groups, g->k);
        if (i > 0) memcpy(w[1].data, w[0].data, w_size * sizeof(float));
        y[i] = plain_image(new_array(FC_FLOAT32, y_size), order, g->p, g->q, g->k);
        const fc_direct d = fc_forward_view(g, &x, &w[i], NULL, &y[i], FC_NONE);
        fc_clear_cache();
        CHECK(fc_split_run_all(&d, 1, parts) == FC_OK, "status by parts");
        fc_clear_cache();
    }
    CHECK(memcmp(y[0].data, y[1].data, y_size * sizeof(float)) == 0, "the same whatever scratch memory held");
    for (int i = 0; i < 2; i++) {
        scratch_byte = i ? 0xFF : 0;
        CHECK(fc_split_backward_weight(g, &y[0], &x, &w[i], parts) == FC_OK, "status of the gradient by parts");
        fc_clear_cache();
    }
    CHECK(memcmp(w[0].data, w[1].data, w_size * sizeof(float)) == 0, "the same gradient whatever scratch memory held");
    free(x.data), free(w[0].data), free(w[1].data), free(y[0].data), free(y[1].data);
}

/* The same bits with 1, 2 and 3 threads. */
static void test_winograd_threads(const fc_conv2d *g, fc_dtype dtype, layout order) {
    const size_t x_size = (size_t)(g->n * g->h * g->w * g->c), y_size = (size_t)(g->n * g->p * g->q * g->k);
    const size_t w_size = (size_t)(9 * g->c / g->groups * g->k);
    const fc_array x = image(new_array(dtype, x_size), dtype, order, g->h, g->w, g->c);
    const fc_array w = filters(new_array(dtype, w_size), dtype, order, 3, 3, g->c / g->groups, g->k);
    const fc_array grad_y = image(new_array(dtype, y_size), dtype, order, g->p, g->q, g->k);
    const fc_options options = {.algorithm = FC_WINOGRAD};
    void *first[3] = {0};
    for (int threads = 1; threads <= 3; threads++) {
        const size_t sizes[3] = {y_size * size_of(dtype), x_size * size_of(dtype), w_size * size_of(dtype)};
        fc_array y = grad_y, grad_x = x, grad_w = w;
        y.data = new_poisoned(dtype, y_size), grad_x.data = new_poisoned(dtype, x_size);
        grad_w.data = new_poisoned(dtype, w_size);
        fc_set_num_threads(threads);
        CHECK(fc_conv2d_forward(g, &x, &w, NULL, &y, &options) == FC_OK, "status of forward");
        CHECK(fc_conv2d_backward_input(g, &grad_y, &w, &grad_x, &options) == FC_OK, "status of backward_input");
        CHECK(fc_conv2d_backward_weight(g, &grad_y, &x, &grad_w, &options) == FC_OK, "status of backward_weight");
        void *now[3] = {y.data, grad_x.data, grad_w.data};
        for (int i = 0; i < 3; i++) {
            CHECK(threads == 1 || memcmp(first[i], now[i], sizes[i]) == 0, "threads change bits");
            free(threads == 1 ? NULL : now[i]);
            if (threads == 1) first[i] = now[i];
        }
    }
    free(x.data), free(w.data), free(grad_y.data), free(first[0]), free(first[1]), free(first[2]);
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
static double max_of_window(const fc_pool2d *g, const fc_array *x, int64_t n, int64_t p, int64_t q, int64_t c,
                            int64_t *place) {
    double best = -INFINITY;
    *place = -1;
    for (int64_t r = 0; r < g->r; r++)
        for (int64_t s = 0; s < g->s; s++) {
            const int64_t h = p * g->stride_h - g->pad_top + r * g->dilation_h;
            const int64_t w = q * g->stride_w - g->pad_left + s * g->dilation_w;
            if (h < 0 || h >= g->h || w < 0 || w >= g->w) continue;
            const int64_t at = n * x->stride[0] + h * x->stride[1] + w * x->stride[2] + c * x->stride[3];
            const double value = number_at(x->data, x->dtype, (size_t)at);
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
    const fc_conv2d small = {.n = 1, .h = 5, .w = 5, .c = 2, .k = 2, .r = 3, .s = 3, .stride_h = 1, .stride_w = 1,
                             .dilation_h = 1, .dilation_w = 1, .groups = 1};
    fc_conv2d g = small;
    CHECK(fc_conv2d_resolve(&g, FC_PAD_EXPLICIT) == FC_OK && g.p == 3 && g.q == 3, "a good problem");
#define EXPECT(field, value, status) \
    g = small, g.field = (value);     \
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

static const fc_conv2d good = {.n = 2, .h = 12, .w = 12, .c = 16, .k = 16, .r = 3, .s = 3, .stride_h = 1, .stride_w = 1,
                               .dilation_h = 1, .dilation_w = 1, .groups = 1, .pad_top = 1, .pad_bottom = 1,
                               .pad_left = 1, .pad_right = 1};

/* What an algorithm cannot do it refuses with a reason, and writes nothing. */
static void test_refused(fc_conv2d g) {
    const fc_options winograd = {.algorithm = FC_WINOGRAD};
    CHECK(fc_conv2d_resolve(&g, FC_PAD_EXPLICIT) == FC_OK, "a good problem");
    const size_t x_size = (size_t)(g.n * g.h * g.w * g.c), y_size = (size_t)(g.n * g.p * g.q * g.k);
    const size_t w_size = (size_t)(g.r * g.s * g.c * g.k);
    const fc_array x = image(new_poisoned(FC_FLOAT32, x_size), FC_FLOAT32, CHANNELS_LAST, g.h, g.w, g.c);
    const fc_array y = image(new_poisoned(FC_FLOAT32, y_size), FC_FLOAT32, CHANNELS_LAST, g.p, g.q, g.k);
    const fc_array w = filters(new_poisoned(FC_FLOAT32, w_size), FC_FLOAT32, CHANNELS_LAST, g.r, g.s, g.c, g.k);
    for (int operation = FC_FORWARD; operation <= FC_BACKWARD_WEIGHT; operation++) {
        const fc_array *to = operation == FC_FORWARD ? &y : operation == FC_BACKWARD_INPUT ? &x : &w;
        const fc_array *from = operation == FC_FORWARD ? &x : &y, *other = operation == FC_BACKWARD_WEIGHT ? &x : &w;
        const size_t size = operation == FC_FORWARD ? y_size : operation == FC_BACKWARD_INPUT ? x_size : w_size;
        memset(from->data, 0, size_of(FC_FLOAT32)), memset(other->data, 0, size_of(FC_FLOAT32));
        memset(to->data, 0xFF, size * size_of(FC_FLOAT32));
        const char *reason = NULL;
        CHECK(fc_conv2d_choice(&g, (fc_operation)operation, FC_FLOAT32, &winograd, &reason) == NULL, "refused");
        CHECK(reason != NULL && strlen(reason) > 0, "the reason");
        CHECK(fc_conv2d_choice(&g, (fc_operation)operation, FC_FLOAT32, NULL, &reason) != NULL, "auto finds another");
        fc_status status;
        if (operation == FC_FORWARD) status = fc_conv2d_forward(&g, from, other, NULL, to, &winograd);
        else if (operation == FC_BACKWARD_INPUT) status = fc_conv2d_backward_input(&g, from, other, to, &winograd);
        else status = fc_conv2d_backward_weight(&g, from, other, to, &winograd);
        CHECK(status == FC_BAD_ALGORITHM, "status of a refusal");
        size_t nans = 0;
        for (size_t i = 0; i < size; i++) nans += (size_t)isnan(number_at(to->data, FC_FLOAT32, i));
        CHECK(nans == size, "nothing is written after a refusal");
    }
    free(x.data), free(y.data), free(w.data);
}

static int is_choice(const fc_conv2d *g, fc_dtype dtype, fc_precision precision, fc_algorithm algorithm,
                     const char *name) {
    const fc_options options = {.precision = precision, .algorithm = algorithm};
    const char *reason, *choice = fc_conv2d_choice(g, FC_FORWARD, dtype, &options, &reason);
    return choice != NULL && strcmp(choice, name) == 0;
}

static void test_choice(void) {
    const fc_split *split = fc_kernels_for(FC_FLOAT32)->split;
    const int unit = split != NULL && split->speed > 6; /* which does the problems below */
    fc_conv2d g = good;
    fc_conv2d_resolve(&g, FC_PAD_EXPLICIT);
    for (g.n = 0; g.n <= 1000; g.n += 1 + 99 * g.n)
        for (int threads = 1; threads <= 8; threads++) {
            fc_set_num_threads(threads);
            CHECK(is_choice(&g, FC_FLOAT32, FC_DEFAULT, FC_AUTO, "winograd"), "auto, for any batch and threads");
        }
    CHECK(is_choice(&g, FC_FLOAT32, FC_MEDIUM, FC_AUTO, unit ? "bf16x1" : "winograd"), "auto in medium");
    CHECK(is_choice(&g, FC_FLOAT32, FC_STRICT, FC_AUTO, "direct"), "strict");
    CHECK(is_choice(&g, FC_FLOAT64, FC_HIGH, FC_AUTO, "direct"), "float64");
    CHECK(is_choice(&g, FC_FLOAT64, FC_STRICT, FC_WINOGRAD, "winograd"), "what is named outright wins");
    CHECK(is_choice(&g, FC_FLOAT32, FC_HIGH, FC_DIRECT, "direct"), "what is named outright wins");
    g = good, g.h = g.w = 14, g.c = g.k = 64;
    fc_conv2d_resolve(&g, FC_PAD_EXPLICIT);
    for (g.n = 0; g.n <= 1000; g.n += 1 + 99 * g.n)
        for (int threads = 1; threads <= 8; threads++) {
            fc_set_num_threads(threads);
            CHECK(is_choice(&g, FC_FLOAT32, FC_STRICT, FC_AUTO, unit ? "bf16x3" : "direct"), "strict on a matrix unit");
            CHECK(is_choice(&g, FC_FLOAT32, FC_HIGH, FC_AUTO, unit ? "bf16x2" : "winograd"), "high on a matrix unit");
            CHECK(is_choice(&g, FC_FLOAT32, FC_HIGH, FC_DIRECT, unit ? "bf16x2" : "direct"), "direct in high");
            CHECK(is_choice(&g, FC_FLOAT32, FC_MEDIUM, FC_DIRECT, split ? "bf16x1" : "direct"), "direct in medium");
        }
#define REFUSED(field, value) \
    g = good, g.field = (value), test_refused(g)
    REFUSED(r, 5);
    REFUSED(s, 1);
    REFUSED(stride_h, 2);
    REFUSED(stride_w, 3);
    REFUSED(dilation_h, 2);
    REFUSED(dilation_w, 2);
#undef REFUSED
}

/* ---------------------------------------------------------------- explanations */

/* The data of the arrays is not there to be touched. */
static void test_explain(const fc_conv2d *g, fc_dtype dtype, layout order, fc_algorithm algorithm) {
    static _Alignas(64) char nothing[64];
    const fc_options options = {.algorithm = algorithm};
    const fc_array x = image(nothing, dtype, order, g->h, g->w, g->c);
    const fc_array y = image(nothing, dtype, order, g->p, g->q, g->k);
    const fc_array w = filters(nothing, dtype, order, g->r, g->s, g->c / g->groups, g->k);
    for (int operation = FC_FORWARD; operation <= FC_BACKWARD_WEIGHT; operation++) {
        fc_explanation e;
        const char *reason;
        const fc_status status = fc_conv2d_explain(g, (fc_operation)operation, &x, &w, NULL, &y, &options, &e);
        const char *choice = fc_conv2d_choice(g, (fc_operation)operation, dtype, &options, &reason);
        CHECK(status == (choice == NULL ? FC_BAD_ALGORITHM : FC_OK), "status of an explanation");
        CHECK(e.algorithm == choice && e.reason != NULL, "the algorithm told is the one chosen");
        if (choice == NULL) continue;
        CHECK(strcmp(e.isa, fc_isa_name(fc_get_isa())) == 0, "the instruction set");
        CHECK(e.kernel != NULL || e.workspace == 0, "the kernel, unless a stride leaves only zeros to write");
        CHECK(e.threads >= 1 && e.threads <= fc_get_num_threads(), "threads");
        for (int i = 0; i < e.other_count; i++) CHECK(e.others[i].reason != NULL, "why not the others");
    }
    void *memory = fc_scratch_take(1);
    CHECK(memory != NULL, "memory is to be had again");
    fc_scratch_give_back(memory);
    for (unsigned why = 1; why <= FC_COPY_SPLIT; why *= 2) CHECK(fc_copy_reason(why) != NULL, "reasons of copies");
    CHECK(fc_copy_reason(2 * FC_COPY_SPLIT) == NULL, "and no more");
}

/* ---------------------------------------------------------------- memory */

/* The linker sends the library's allocations here (--wrap). */
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
static long allocations = -1; /* that still succeed; negative: all */

/* Scratch memory comes full of NaN, so that it shows where it is taken for zeros. */
void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
    if (allocations == 0) return NULL;
    if (allocations > 0) allocations--;
    void *block = __real_aligned_alloc(alignment, bytes);
    return block == NULL ? NULL : memset(block, scratch_byte, bytes);
}

static fc_status run_operation(int operation, const fc_conv2d *g, const fc_array *x, const fc_array *w,
                               const fc_array *y, const fc_options *options) {
    if (operation == FC_FORWARD) return fc_conv2d_forward(g, x, w, NULL, y, options);
    if (operation == FC_BACKWARD_INPUT) return fc_conv2d_backward_input(g, y, w, x, options);
    return fc_conv2d_backward_weight(g, y, x, w, options);
}

/* The first allocation fails, then the second, until the operation finds what it needs: one block, or a second one
 * where Winograd or parts meet numbers that are not finite and the direct algorithm computes their images. */
static void test_no_memory(fc_algorithm algorithm, int operation, int with_nan) {
    const fc_options options = {.algorithm = algorithm};
    fc_conv2d g = good;
    fc_conv2d_resolve(&g, FC_PAD_EXPLICIT);
    const size_t image_size = (size_t)(g.n * g.h * g.w * g.c), w_size = (size_t)(9 * g.c * g.k);
    const fc_array x = image(new_array(FC_FLOAT32, image_size), FC_FLOAT32, CHANNELS_LAST, g.h, g.w, g.c);
    const fc_array y = image(new_array(FC_FLOAT32, image_size), FC_FLOAT32, CHANNELS_LAST, g.p, g.q, g.k);
    const fc_array w = filters(new_array(FC_FLOAT32, w_size), FC_FLOAT32, CHANNELS_LAST, 3, 3, g.c, g.k);
    const fc_array *from = operation == FC_FORWARD ? &x : &y;
    const fc_array *to = operation == FC_FORWARD ? &y : operation == FC_BACKWARD_INPUT ? &x : &w;
    const size_t size = operation == FC_BACKWARD_WEIGHT ? w_size : image_size;
    if (with_nan) set_number(from->data, FC_FLOAT32, image_size / 3, NAN);
    fc_status status = FC_NO_MEMORY;
    long needed = 0;
    for (; status == FC_NO_MEMORY && needed < 9; needed++) {
        memset(to->data, 0xFF, size * size_of(FC_FLOAT32));
        fc_clear_cache();
        allocations = needed;
        status = run_operation(operation, &g, &x, &w, &y, &options);
        allocations = -1;
        CHECK(status == FC_NO_MEMORY || (status == FC_OK && needed > 0), "status without memory");
        size_t nans = 0;
        for (size_t i = 0; i < size; i++) nans += (size_t)isnan(number_at(to->data, FC_FLOAT32, i));
        CHECK(needed > 0 || nans == size, "nothing is written without memory");
        CHECK(status != FC_OK || with_nan || nans == 0, "all is written with memory");
    }
    const int unit = fc_kernels_for(FC_FLOAT32)->split != NULL;
    CHECK(status == FC_OK && needed <= (with_nan && (algorithm == FC_WINOGRAD || unit) ? 3 : 2),
          "blocks of memory needed");
    free(x.data), free(w.data), free(y.data);
}

static void test_memory(void) {
    static const fc_algorithm algorithms[] = {FC_DIRECT, FC_WINOGRAD};
    for (int i = 0; i < 2; i++)
        for (int operation = FC_FORWARD; operation <= FC_BACKWARD_WEIGHT; operation++)
            for (int with_nan = 0; with_nan < 2; with_nan++) test_no_memory(algorithms[i], operation, with_nan);
}

int main(int argc, char **argv) {
    const int problems = argc > 1 ? atoi(argv[1]) : 300;
    test_bad_sizes();
    for (int isa = 0; isa < fc_isa_count(); isa++) {
        if (fc_set_thread_isa(isa) != 0) continue;
        printf("%s\n", fc_isa_name(isa));
        test_choice();
        test_memory();
        for (int i = 0; i < problems; i++) {
            const fc_dtype dtype = i & 1 ? FC_FLOAT64 : FC_FLOAT32;
            const layout order = i & 2 ? CHANNELS_FIRST : CHANNELS_LAST;
            fc_conv2d g;
            fc_pool2d pool;
            fc_set_num_threads(1 + i % 3);
            fc_clear_cache();
            if (random_problem(&g)) {
                test_explain(&g, dtype, order, (fc_algorithm)(i % 4));
                test_convolution(&g, dtype, order, FC_DIRECT);
                test_split(&g, order, 1 + i % 3, i % 11 < 3 ? i % 11 : 0);
                if (i % 3 == 0) test_split_scratch(&g, order, 1 + i / 3 % 3);
            }
            if (i % 5 == 0 && random_winograd_problem(&g)) { /* no divisor in common with the cycles above */
                test_convolution(&g, dtype, order, FC_WINOGRAD);
                test_winograd_threads(&g, dtype, order);
            }
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
