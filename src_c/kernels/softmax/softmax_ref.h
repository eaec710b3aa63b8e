/* SPDX-License-Identifier: BSD-3-Clause
 * Softmax, one number at a time; see softmax.h for the contracts. */
static double F(softmax_sum)(int64_t count, const void *x_, void *e, double *most) {
    const T *x = x_;
    T largest = x[0];
    long double sum = 0;
    for (int64_t i = 1; i < count; i++)
        if (x[i] > largest || largest != largest) largest = x[i];
    for (int64_t i = 0; i < count; i++) {
        const T term = (T)expl((long double)x[i] - (long double)largest);
        if (e != NULL) ((T *)e)[i] = term;
        sum += (long double)term;
    }
    *most = (double)largest;
    return (double)sum;
}

static void F(softmax_finish)(int logarithm, int64_t count, const void *x_, double most, double factor, void *y) {
    const T *x = x_;
    for (int64_t i = 0; i < count; i++)
        ((T *)y)[i] = logarithm ? (T)((T)(x[i] - (T)most) - (T)factor) : (T)(x[i] * (T)factor);
}

static void F(softmax_backward)(int logarithm, int64_t count, const void *grad_y_, const void *y_, void *grad_x_) {
    const T *grad_y = grad_y_, *y = y_;
    T *grad_x = grad_x_;
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)grad_y[i] * (logarithm ? 1 : (double)y[i]);
    for (int64_t i = 0; i < count; i++)
        grad_x[i] = logarithm ? (T)((double)grad_y[i] - exp((double)y[i]) * sum)
                              : (T)((T)(grad_y[i] - (T)sum) * y[i]);
}
