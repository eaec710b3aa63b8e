/* SPDX-License-Identifier: BSD-3-Clause
 * Convolution of volumes on random geometries: every instruction set against the reference algorithm, 1 to 3 threads,
 * both layouts, arrays allocated to the byte; then bad sizes. */
#include "../base/compiler.h"
#include "problems.h"

static fc_array3d volumes(void *data, fc_dtype dtype, layout order, int64_t d, int64_t h, int64_t w, int64_t c) {
    if (order == CHANNELS_FIRST) return (fc_array3d){data, dtype, {c * d * h * w, h * w, w, 1, d * h * w}};
    return (fc_array3d){data, dtype, {d * h * w * c, h * w * c, w * c, c, 1}};
}

static fc_array3d volume_filters(void *data, fc_dtype dtype, layout order, const fc_conv3d *g) {
    const int64_t t = g->t, r = g->r, s = g->s, c = g->c / g->groups, k = g->k;
    if (order == CHANNELS_FIRST) return (fc_array3d){data, dtype, {r * s, s, 1, t * r * s, c * t * r * s}};
    return (fc_array3d){data, dtype, {r * s * c * k, s * c * k, c * k, k, 1}};
}

static int random_volumes(fc_conv3d *g) {
    const int64_t groups = random_between(1, 4) == 4 ? random_between(2, 3) : 1;
    *g = (fc_conv3d){.n = random_between(1, 3), .d = random_between(1, 7), .h = random_between(1, 8),
                     .w = random_between(1, 12), .c = groups * random_between(1, 12),
                     .k = groups * random_between(1, 20),
                     .t = random_between(1, 4), .r = random_between(1, 3), .s = random_between(1, 4),
                     .stride_d = random_between(1, 3), .stride_h = random_between(1, 2),
                     .stride_w = random_between(1, 3), .dilation_d = random_between(1, 3),
                     .dilation_h = random_between(1, 2), .dilation_w = random_between(1, 2), .groups = groups,
                     .pad_front = random_between(0, 3), .pad_back = random_between(0, 3),
                     .pad_top = random_between(0, 2), .pad_bottom = random_between(0, 2),
                     .pad_left = random_between(0, 2), .pad_right = random_between(0, 2)};
    return fc_conv3d_resolve(g, (fc_padding)random_between(0, 3)) == FC_OK;
}

/* 3x3 filters with stride 1 in the plane; now and then enough channels for passes that begin within a tap, and for the
 * matrix unit. */
static int random_plane_problem(fc_conv3d *g) {
    if (!random_volumes(g)) return 0;
    g->r = g->s = 3;
    g->stride_h = g->stride_w = g->dilation_h = g->dilation_w = 1;
    g->pad_top = g->pad_bottom = g->pad_left = g->pad_right = 1;
    g->w = random_between(8, 14);
    if (random_between(1, 5) == 5) {
        g->c = g->groups * random_between(30, 70), g->k = g->groups * random_between(40, 70);
        g->n = 1, g->d = random_between(2, 4), g->h = random_between(4, 6);
    }
    return fc_conv3d_resolve(g, FC_PAD_EXPLICIT) == FC_OK;
}

typedef struct arrays {
    fc_array3d x, w, y;
    fc_array bias;
    size_t x_size, w_size, y_size;
} arrays;

static arrays arrays_of(const fc_conv3d *g, fc_dtype dtype, layout order) {
    arrays a = {.x_size = (size_t)(g->n * g->d * g->h * g->w * g->c),
                .y_size = (size_t)(g->n * g->o * g->p * g->q * g->k),
                .w_size = (size_t)(g->t * g->r * g->s * g->c / g->groups * g->k)};
    a.x = volumes(new_array(dtype, a.x_size), dtype, order, g->d, g->h, g->w, g->c);
    a.y = volumes(new_array(dtype, a.y_size), dtype, order, g->o, g->p, g->q, g->k);
    a.w = volume_filters(new_array(dtype, a.w_size), dtype, order, g);
    a.bias = vector(new_array(dtype, (size_t)g->k), dtype);
    return a;
}

static void free_arrays(arrays *a) { free(a->x.data), free(a->w.data), free(a->y.data), free(a->bias.data); }

/* The array with other numbers: all NaN. */
static fc_array3d empty(const fc_array3d *a, size_t size) {
    fc_array3d b = *a;
    b.data = new_poisoned(a->dtype, size);
    return b;
}

/* What Winograd's results of whole numbers up to 4 may be off by: 32 u of the largest S. The others are exact. */
static double tolerance_of(const fc_conv3d *g, fc_dtype dtype, fc_algorithm algorithm) {
    if (algorithm == FC_DIRECT) return 0;
    const int64_t terms = FC_MAX(9 * g->t * FC_MAX(g->c, g->k) / g->groups, g->n * g->o * g->p * g->q);
    return 32 * unit_of(dtype) * 16 * (double)terms;
}

static void test_convolution(const fc_conv3d *g, fc_dtype dtype, layout order, fc_algorithm algorithm) {
    const double tolerance = tolerance_of(g, dtype, algorithm);
    const fc_options fast = {.activation = FC_RELU, .algorithm = algorithm};
    const fc_options judge = {.activation = FC_RELU, .algorithm = FC_REFERENCE};
    arrays a = arrays_of(g, dtype, order);
    for (int operation = FC_FORWARD; operation <= FC_BACKWARD_WEIGHT; operation++) {
        const fc_array3d *like = operation == FC_FORWARD ? &a.y : operation == FC_BACKWARD_INPUT ? &a.x : &a.w;
        const size_t size = operation == FC_FORWARD ? a.y_size : operation == FC_BACKWARD_INPUT ? a.x_size : a.w_size;
        const fc_array3d result = empty(like, size), truth = empty(like, size);
        for (int i = 0; i < 2; i++) {
            const fc_options *options = i == 0 ? &fast : &judge;
            const fc_array3d *to = i == 0 ? &result : &truth;
            const fc_status status =
                operation == FC_FORWARD          ? fc_conv3d_forward(g, &a.x, &a.w, &a.bias, to, options)
                : operation == FC_BACKWARD_INPUT ? fc_conv3d_backward_input(g, &a.y, &a.w, to, options)
                                                 : fc_conv3d_backward_weight(g, &a.y, &a.x, to, options);
            CHECK(status == FC_OK, "status");
        }
        CHECK(close_numbers(result.data, truth.data, dtype, size, tolerance),
              operation == FC_FORWARD          ? "forward"
              : operation == FC_BACKWARD_INPUT ? "backward_input"
                                               : "backward_weight");
        free(result.data), free(truth.data);
    }
    double sum = 0;
    fc_conv3d_backward_bias(g, &a.y, &a.bias);
    const int64_t *stride = a.y.stride, pixels = g->o * g->p * g->q;
    for (int64_t i = 0; i < g->n * pixels; i++)
        sum += number_at(a.y.data, dtype, (size_t)(i / pixels * stride[0] + i / g->q / g->p % g->o * stride[1] +
                                                   i / g->q % g->p * stride[2] + i % g->q * stride[3]));
    CHECK(number_at(a.bias.data, dtype, 0) == sum, "backward_bias");
    free_arrays(&a);
}

/* A number that is not finite shows where the reference has it, whichever algorithm ran. */
static void test_not_finite(const fc_conv3d *g, layout order, fc_algorithm algorithm) {
    arrays a = arrays_of(g, FC_FLOAT32, order);
    const fc_array3d y = empty(&a.y, a.y_size), truth = empty(&a.y, a.y_size);
    const fc_options fast = {.algorithm = algorithm}, judge = {.algorithm = FC_DIRECT, .precision = FC_STRICT};
    set_number(a.x.data, FC_FLOAT32, (size_t)random_between(0, (int64_t)a.x_size - 1), INFINITY);
    const fc_options *options = algorithm == FC_AUTO ? NULL : &fast; /* the same */
    CHECK(fc_conv3d_forward(g, &a.x, &a.w, NULL, &y, options) == FC_OK, "status with infinity");
    fc_conv3d_forward(g, &a.x, &a.w, NULL, &truth, &judge);
    const double tolerance = tolerance_of(g, FC_FLOAT32, FC_WINOGRAD);
    CHECK(close_numbers(y.data, truth.data, FC_FLOAT32, a.y_size, tolerance), "infinity");
    free(y.data), free(truth.data);
    free_arrays(&a);
}

static const fc_conv3d good = {.n = 1, .d = 3, .h = 5, .w = 6, .c = 4, .k = 4, .t = 3, .r = 3, .s = 3, .stride_d = 1,
                               .stride_h = 1, .stride_w = 1, .dilation_d = 1, .dilation_h = 1, .dilation_w = 1,
                               .groups = 1, .pad_front = 1, .pad_back = 1};

static fc_status status_of(fc_conv3d g) { return fc_conv3d_resolve(&g, FC_PAD_EXPLICIT); }

#define WITH(field, value) (bad = good, bad.field = (value), status_of(bad))

static void test_bad_sizes(void) {
    fc_conv3d bad;
    CHECK(status_of(good) == FC_OK, "a good problem");
    CHECK(WITH(d, 0) == FC_BAD_SIZE && WITH(t, 0) == FC_BAD_SIZE && WITH(n, -1) == FC_BAD_SIZE, "sizes");
    CHECK(WITH(stride_d, 0) == FC_BAD_STRIDE && WITH(dilation_d, 0) == FC_BAD_DILATION, "strides");
    CHECK(WITH(pad_back, -1) == FC_BAD_PADDING && WITH(groups, 3) == FC_BAD_GROUPS, "padding, groups");
    CHECK(WITH(t, 6) == FC_EMPTY_OUTPUT, "a kernel deeper than the volume");
    CHECK(WITH(n, INT64_MAX / 8) == FC_TOO_LARGE && WITH(d, INT64_MAX / 64) == FC_TOO_LARGE, "too large");
    CHECK(WITH(pad_front, INT64_MAX) == FC_TOO_LARGE && WITH(stride_d, INT64_MAX) == FC_OK, "overflow");
    fc_conv3d same = good;
    same.d = 7, same.stride_d = 2, same.t = 4;
    CHECK(fc_conv3d_resolve(&same, FC_PAD_SAME) == FC_OK && same.o == 4 && same.pad_front == 1 && same.pad_back == 2,
          "same");
}

static void test_choice(void) {
    const fc_options winograd = {.algorithm = FC_WINOGRAD}, strict = {.precision = FC_STRICT};
    const char *reason;
    fc_conv3d g = good;
    g.c = g.k = 40;
    fc_conv3d_resolve(&g, FC_PAD_EXPLICIT);
    CHECK(strcmp(fc_conv3d_choice(&g, FC_FORWARD, FC_FLOAT64, &strict, &reason), "direct") == 0, "direct");
    CHECK(strcmp(fc_conv3d_choice(&g, FC_BACKWARD_INPUT, FC_FLOAT32, &winograd, &reason), "winograd") == 0, "winograd");
    g.stride_h = 2;
    fc_conv3d_resolve(&g, FC_PAD_EXPLICIT);
    CHECK(fc_conv3d_choice(&g, FC_FORWARD, FC_FLOAT32, &winograd, &reason) == NULL, "winograd with a stride");
}

int main(int argc, char **argv) {
    const int problems = argc > 1 ? atoi(argv[1]) : 300;
    test_bad_sizes();
    test_choice();
    for (int isa = 0; isa < fc_isa_count(); isa++) {
        if (fc_set_thread_isa(isa) != 0) continue;
        printf("%s\n", fc_isa_name(isa));
        for (int i = 0; i < problems; i++) {
            const fc_dtype dtype = i & 1 ? FC_FLOAT64 : FC_FLOAT32;
            const layout order = i & 2 ? CHANNELS_FIRST : CHANNELS_LAST;
            fc_conv3d g;
            fc_set_num_threads(1 + i % 3);
            if (random_volumes(&g)) test_convolution(&g, dtype, order, FC_DIRECT);
            if (i % 5 == 0 && random_plane_problem(&g)) { /* no divisor in common with the cycles above */
                test_convolution(&g, dtype, order, FC_WINOGRAD);
                test_convolution(&g, dtype, order, FC_DIRECT);
                test_not_finite(&g, order, FC_AUTO);
                test_not_finite(&g, order, FC_WINOGRAD);
            }
        }
    }
    fc_clear_cache();
    return report();
}
