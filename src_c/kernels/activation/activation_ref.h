/* SPDX-License-Identifier: BSD-3-Clause
 * The activations, one number at a time; see activation.h for the contracts. */
static void F(activation)(fc_activation activation, double slope, int64_t count, const void *x, void *y) {
    for (int64_t i = 0; i < count; i++)
        ((T *)y)[i] = (T)fc_exact_activation(activation, (T)slope, (double)((const T *)x)[i]);
}

/* Slopes of results are rounded in T, as the vectors round them. */
static T F(slope_at)(fc_activation activation, double slope, T y) {
    if (activation == FC_TANH) return (T)((T)(1 - y) * (T)(1 + y));
    if (activation == FC_SIGMOID) return (T)((T)(1 - y) * y);
    return (T)fc_exact_slope(activation, slope, (double)y);
}

static void F(activation_backward)(fc_activation activation, double slope, int64_t count, const void *grad_y,
                                   const void *y, void *grad_x) {
    for (int64_t i = 0; i < count; i++)
        ((T *)grad_x)[i] = ((const T *)grad_y)[i] * F(slope_at)(activation, slope, ((const T *)y)[i]);
}
