/* SPDX-License-Identifier: BSD-3-Clause
 * Softmax over the vector vocabulary; see softmax.h for the contracts. */

FC_INLINE F(v) F(load_or)(T rest, const T *p, int n) {
    return n >= F(VL) ? F(load)(p) : F(load_at)(F(set1)(rest), p, 0, n);
}

/* NaN is passed over here: the sum will have it. */
FC_INLINE T F(largest)(int64_t count, const T *x) {
    F(v) most[4];
    FC_UNROLL
    for (int l = 0; l < 4; l++) most[l] = F(set1)(-(T)__builtin_huge_val());
    int64_t i = 0;
    for (; i + 4 * F(VL) <= count; i += 4 * F(VL)) {
        FC_UNROLL
        for (int l = 0; l < 4; l++) {
            const F(v) some = F(load)(x + i + l * F(VL));
            most[l] = F(pick)(F(above)(some, most[l]), some, most[l]);
        }
    }
    for (; i < count; i += F(VL)) {
        const F(v) some = F(load_or)(-(T)__builtin_huge_val(), x + i, (int)FC_MIN((int64_t)F(VL), count - i));
        most[0] = F(pick)(F(above)(some, most[0]), some, most[0]);
    }
    return F(max_lanes)(F(max)(F(max)(most[0], most[1]), F(max)(most[2], most[3])));
}

/* Lanes beyond the row are e^-inf = 0. */
FC_INLINE F(v) F(term)(const T *x, T *e, F(v) most, int n) {
    const F(v) term = F(exp_below)(F(load_or)(-(T)__builtin_huge_val(), x, n), most);
    if (e != NULL) F(store_some)(e, term, n);
    return term;
}

FC_INLINE double F(sum_of_terms)(int64_t count, const T *x, T *e, F(v) most) {
    F(v) sum[4];
    FC_UNROLL
    for (int l = 0; l < 4; l++) sum[l] = F(zero)();
    int64_t i = 0;
    for (; i + 4 * F(VL) <= count; i += 4 * F(VL)) {
        FC_UNROLL
        for (int l = 0; l < 4; l++) {
            T *to = e == NULL ? NULL : e + i + l * F(VL);
            sum[l] = F(add)(sum[l], F(term)(x + i + l * F(VL), to, most, F(VL)));
        }
    }
    for (; i < count; i += F(VL)) {
        const int n = (int)FC_MIN((int64_t)F(VL), count - i);
        sum[0] = F(add)(sum[0], F(term)(x + i, e == NULL ? NULL : e + i, most, n));
    }
    return F(sum_lanes)(F(add)(F(add)(sum[0], sum[1]), F(add)(sum[2], sum[3])));
}

static double F(softmax_sum)(int64_t count, const void *x_, void *e_, double *most) {
    const T *x = x_, largest = F(largest)(count, x);
    T *e = e_;
    double sum = 0;
    for (int64_t i = 0; i < count; i += F(CHAIN)) {
        const int64_t some = FC_MIN((int64_t)F(CHAIN), count - i);
        if (e == NULL) sum += F(sum_of_terms)(some, x + i, NULL, F(set1)(largest));
        else sum += F(sum_of_terms)(some, x + i, e + i, F(set1)(largest));
    }
    *most = (double)largest;
    return sum;
}

static void F(softmax_finish)(int logarithm, int64_t count, const void *x_, double most_, double factor_, void *y_) {
    const T *x = x_;
    T *y = y_;
    const F(v) most = F(set1)((T)most_), factor = F(set1)((T)factor_);
    for (int64_t i = 0; i < count; i += F(VL)) {
        const int n = (int)FC_MIN((int64_t)F(VL), count - i);
        const F(v) some = F(load_some)(x + i, n);
        F(store_some)(y + i, logarithm ? F(sub)(F(sub)(some, most), factor) : F(mul)(some, factor), n);
    }
}

static void F(softmax_backward)(int logarithm, int64_t count, const void *grad_y_, const void *y_, void *grad_x_) {
    const T *grad_y = grad_y_, *y = y_;
    T *grad_x = grad_x_;
    const F(v) sum = F(set1)((T)(logarithm ? F(sum_of_products)(count, grad_y, NULL)
                                           : F(sum_of_products)(count, grad_y, y)));
    for (int64_t i = 0; i < count; i += F(VL)) {
        const int n = (int)FC_MIN((int64_t)F(VL), count - i);
        const F(v) grad = F(load_some)(grad_y + i, n), result = F(load_some)(y + i, n);
        F(v) slope;
        if (logarithm) slope = F(sub)(grad, F(mul)(F(exp)(result), sum));
        else slope = F(mul)(F(sub)(grad, sum), result);
        F(store_some)(grad_x + i, slope, n);
    }
}
