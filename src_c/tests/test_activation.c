/* SPDX-License-Identifier: BSD-3-Clause
 * The kernels of activations and softmax of every instruction set against the reference; no bit depends on where a
 * number stands. */
#include "../base/compiler.h"
#include "pairs.h"

/* Sizes from the smallest normal number to far beyond where the functions have come to their limits, either sign. */
static void *new_numbers(fc_dtype dtype, size_t count) {
    static const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e4, -1e4, 3e38, -3e38, 1e-39, -1e-39};
    void *data = new_array(dtype, count);
    for (size_t i = 0; i < count; i++) {
        const double size = pow(2, (double)random_between(-126000, 9000) / 1000) * (random_bits() & 1 ? 1 : -1);
        const double value = random_bits() & 3 ? (double)random_between(-1048576, 1048576) / 20000 : size;
        set_number(data, dtype, i, random_bits() % 16 == 0 ? special[random_bits() % 11] : value);
    }
    return data;
}

/* Within so many units of the larger of abs(y) and `least`, or a few of the smallest numbers. */
static int near_numbers(const void *a, const void *b, fc_dtype dtype, size_t count, double units, double least) {
    const double smallest = dtype == FC_FLOAT64 ? 0x1p-1074 : 0x1p-149;
    for (size_t i = 0; i < count; i++) {
        const double x = number_at(a, dtype, i), y = number_at(b, dtype, i);
        const double slack = units * unit_of(dtype) * fmax(fabs(y), least) + 4 * smallest;
        if (!(x == y || fabs(x - y) <= slack || (isnan(x) && isnan(y)))) return 0;
    }
    return 1;
}

/* From the argument where the function is not monotonic, else from the result. */
static void test_slopes(const pair *p, fc_activation activation, size_t count, const void *x, const void *y) {
    const void *at = activation < FC_SILU ? y : x;
    void *grad = new_array(p->dtype, count), *got = new_poisoned(p->dtype, count);
    void *expected = new_poisoned(p->dtype, count);
    p->fast->activation_backward(activation, 0.3, (int64_t)count, grad, at, got);
    p->judge->activation_backward(activation, 0.3, (int64_t)count, grad, at, expected);
    CHECK(near_numbers(got, expected, p->dtype, count, activation < FC_SILU ? 0 : 8, activation < FC_SILU ? 0 : 4),
          "activation_backward");
    p->fast->activation_backward(activation, 0.3, (int64_t)count, grad, at, grad);
    CHECK(memcmp(grad, got, count * size_of(p->dtype)) == 0, "activation_backward in place");
    free(grad), free(got), free(expected);
}

static void test_activation(const pair *p, fc_activation activation, size_t count) {
    const size_t size = size_of(p->dtype);
    void *x = new_numbers(p->dtype, count), *y = new_poisoned(p->dtype, count);
    void *expected = new_poisoned(p->dtype, count), *one = new_poisoned(p->dtype, 1);
    p->fast->activation(activation, 0.3, (int64_t)count, x, y);
    p->judge->activation(activation, 0.3, (int64_t)count, x, expected);
    CHECK(near_numbers(y, expected, p->dtype, count, activation < FC_TANH ? 0 : 5, 0), "activation");
    for (size_t i = 0; i < count; i++) {
        p->fast->activation(activation, 0.3, 1, (char *)x + i * size, one);
        if (!isnan(number_at(one, p->dtype, 0))) CHECK(memcmp(one, (char *)y + i * size, size) == 0, "a number alone");
    }
    test_slopes(p, activation, count, x, expected);
    p->fast->activation(activation, 0.3, (int64_t)count, x, x);
    CHECK(same_numbers(x, y, p->dtype, count), "activation in place");
    free(x), free(y), free(expected), free(one);
}

static void test_softmax(const pair *p, size_t count, int logarithm) {
    void *x = new_array(p->dtype, count), *y[2], *grad = new_array(p->dtype, count);
    double most[2], sum[2];
    const fc_kernels *kernels[] = {p->fast, p->judge};
    for (int i = 0; i < 2; i++) {
        y[i] = new_poisoned(p->dtype, count);
        sum[i] = kernels[i]->softmax_sum((int64_t)count, x, logarithm ? NULL : y[i], &most[i]);
        kernels[i]->softmax_finish(logarithm, (int64_t)count, logarithm ? x : y[i], most[i],
                                   logarithm ? log(sum[i]) : 1 / sum[i], y[i]);
    }
    CHECK(most[0] == most[1] && fabs(sum[0] - sum[1]) <= 8 * unit_of(p->dtype) * sum[1], "softmax_sum");
    CHECK(near_numbers(y[0], y[1], p->dtype, count, 8, logarithm), "softmax_finish");
    void *got = new_poisoned(p->dtype, count), *expected = new_poisoned(p->dtype, count);
    p->fast->softmax_backward(logarithm, (int64_t)count, grad, y[1], got);
    p->judge->softmax_backward(logarithm, (int64_t)count, grad, y[1], expected);
    CHECK(near_numbers(got, expected, p->dtype, count, 64, (double)count), "softmax_backward");
    p->fast->softmax_backward(logarithm, (int64_t)count, grad, y[1], grad);
    CHECK(memcmp(grad, got, count * size_of(p->dtype)) == 0, "softmax_backward in place");
    free(x), free(y[0]), free(y[1]), free(grad), free(got), free(expected);
}

static void test_all(const pair *p) {
    for (size_t count = 1; count <= (size_t)(5 * p->fast->vl + 1); count++) {
        for (int activation = FC_RELU; activation < FC_ACTIVATIONS; activation++)
            for (int turn = 0; turn < 8; turn++) test_activation(p, (fc_activation)activation, count);
        for (int logarithm = 0; logarithm < 2; logarithm++) test_softmax(p, count * count, logarithm);
    }
}

int main(void) {
    for_each_pair(test_all);
    return report();
}
