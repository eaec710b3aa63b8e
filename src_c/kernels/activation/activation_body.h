/* SPDX-License-Identifier: BSD-3-Clause
 * The activations over the vector vocabulary; see activation.h for the contracts and functions_body.h for what they are
 * made of. The last numbers go through the same vectors as all others: no bit depends on where a number stands. */
FC_INLINE F(v) F(activation_at)(const fc_activation activation, F(v) slope, F(v) x) {
    switch (activation) {
        case FC_RELU: return F(max)(F(zero)(), x);
        case FC_LEAKY_RELU: return F(pick)(F(above)(x, F(zero)()), x, F(mul)(x, slope));
        case FC_TANH: return F(tanh)(x);
        case FC_SIGMOID: return F(sigmoid)(x);
        case FC_SILU: return F(silu)(x);
        case FC_GELU: return F(gelu)(x);
        default: return F(gelu_tanh)(x);
    }
}

FC_INLINE void F(activation_of)(const fc_activation activation, double slope_, int64_t count, const T *x, T *y) {
    const F(v) slope = F(set1)((T)slope_);
    int64_t i = 0;
    for (; i + F(VL) <= count; i += F(VL)) F(store)(y + i, F(activation_at)(activation, slope, F(load)(x + i)));
    const int n = (int)(count - i);
    if (n > 0) F(store_n)(y + i, F(activation_at)(activation, slope, F(load_n)(x + i, n)), n);
}

static void F(activation)(fc_activation activation, double slope, int64_t count, const void *x, void *y) {
    switch (activation) {
        case FC_RELU: F(activation_of)(FC_RELU, slope, count, x, y); break;
        case FC_LEAKY_RELU: F(activation_of)(FC_LEAKY_RELU, slope, count, x, y); break;
        case FC_TANH: F(activation_of)(FC_TANH, slope, count, x, y); break;
        case FC_SIGMOID: F(activation_of)(FC_SIGMOID, slope, count, x, y); break;
        case FC_SILU: F(activation_of)(FC_SILU, slope, count, x, y); break;
        case FC_GELU: F(activation_of)(FC_GELU, slope, count, x, y); break;
        default: F(activation_of)(FC_GELU_TANH, slope, count, x, y); break;
    }
}

FC_INLINE F(v) F(slope_at)(const fc_activation activation, F(v) slope, F(v) y) {
    const F(v) one = F(set1)(1);
    switch (activation) {
        case FC_RELU: return F(pick)(F(above)(y, F(zero)()), one, F(zero)());
        case FC_LEAKY_RELU: return F(pick)(F(above)(y, F(zero)()), one, slope);
        case FC_TANH: return F(mul)(F(sub)(one, y), F(add)(one, y));
        case FC_SIGMOID: return F(mul)(F(sub)(one, y), y);
        case FC_SILU: return F(silu_slope)(y);
        case FC_GELU: return F(gelu_slope)(y);
        default: return F(gelu_tanh_slope)(y);
    }
}

FC_INLINE void F(activation_backward_of)(const fc_activation activation, double slope_, int64_t count, const T *grad_y,
                                         const T *y, T *grad_x) {
    const F(v) slope = F(set1)((T)slope_);
    int64_t i = 0;
    for (; i + F(VL) <= count; i += F(VL))
        F(store)(grad_x + i, F(mul)(F(load)(grad_y + i), F(slope_at)(activation, slope, F(load)(y + i))));
    const int n = (int)(count - i);
    if (n <= 0) return;
    F(store_n)(grad_x + i, F(mul)(F(load_n)(grad_y + i, n), F(slope_at)(activation, slope, F(load_n)(y + i, n))), n);
}

static void F(activation_backward)(fc_activation activation, double slope, int64_t count, const void *grad_y,
                                   const void *y, void *grad_x) {
    switch (activation) {
        case FC_RELU: F(activation_backward_of)(FC_RELU, slope, count, grad_y, y, grad_x); break;
        case FC_LEAKY_RELU: F(activation_backward_of)(FC_LEAKY_RELU, slope, count, grad_y, y, grad_x); break;
        case FC_TANH: F(activation_backward_of)(FC_TANH, slope, count, grad_y, y, grad_x); break;
        case FC_SIGMOID: F(activation_backward_of)(FC_SIGMOID, slope, count, grad_y, y, grad_x); break;
        case FC_SILU: F(activation_backward_of)(FC_SILU, slope, count, grad_y, y, grad_x); break;
        case FC_GELU: F(activation_backward_of)(FC_GELU, slope, count, grad_y, y, grad_x); break;
        default: F(activation_backward_of)(FC_GELU_TANH, slope, count, grad_y, y, grad_x); break;
    }
}
