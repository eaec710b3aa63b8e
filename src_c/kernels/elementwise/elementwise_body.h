/* SPDX-License-Identifier: BSD-3-Clause
 * The elementwise kernels over the vector vocabulary; see elementwise.h for the contracts. */
FC_INLINE void F(sum_of)(const fc_epilogue activation, int64_t count, const T *a, const T *b, T *y) {
    int64_t i = 0;
    for (; i + F(VL) <= count; i += F(VL))
        F(store)(y + i, F(activate)(F(add)(F(load)(a + i), F(load)(b + i)), activation));
    const int n = (int)(count - i);
    if (n > 0) F(store_n)(y + i, F(activate)(F(add)(F(load_n)(a + i, n), F(load_n)(b + i, n)), activation), n);
}

static void F(sum)(fc_epilogue activation, int64_t count, const void *a, const void *b, void *y) {
    switch (activation) {
        case FC_EPILOGUE_RELU: F(sum_of)(FC_EPILOGUE_RELU, count, a, b, y); break;
        case FC_EPILOGUE_LEAKY_RELU: F(sum_of)(FC_EPILOGUE_LEAKY_RELU, count, a, b, y); break;
        default: F(sum_of)(FC_EPILOGUE_NONE, count, a, b, y); break;
    }
}

FC_INLINE F(v) F(minus)(F(v) a, F(v) b) { return F(add)(a, F(mul)(b, F(set1)(-1))); }

FC_INLINE F(v) F(drop_small)(F(v) value, F(v) least) {
    const F(v) low = F(pick)(F(above)(value, F(mul)(least, F(set1)(-1))), F(zero)(), value);
    return F(pick)(F(above)(least, value), low, value);
}

FC_INLINE F(v) F(clipped)(const fc_clip *clip, F(v) g) {
    if (clip->factor != 1) g = F(mul)(g, F(set1)((T)clip->factor));
    if (clip->limit == 0) return g;
    const F(v) high = F(set1)((T)clip->limit), low = F(set1)((T)-clip->limit);
    return F(pick)(F(above)(g, high), high, F(pick)(F(above)(low, g), low, g));
}

/* The updates below work with a copy of their factors, which no store can change: else these are read and rounded anew
 * for every vector, 44 instructions in place of 20 (SGD with momentum, AVX2). */
FC_INLINE void F(sgd_some)(const fc_sgd_factors *f, T *p, const T *g_, T *v, int n) {
    const F(v) rate = F(set1)((T)f->rate), momentum = F(set1)((T)f->momentum), decay = F(set1)((T)f->decay);
    const F(v) before = F(load_some)(p, n);
    F(v) g = F(clipped)(&f->clip, F(load_some)(g_, n));
    if (f->decay != 0) g = F(add)(F(mul)(before, decay), g);
    if (f->momentum != 0) {
        F(v) velocity = F(load_some)(v, n);
        if (f->least != 0) velocity = F(drop_small)(velocity, F(set1)((T)f->least));
        velocity = F(add)(F(mul)(velocity, momentum), g);
        F(store_some)(v, velocity, n);
        g = f->nesterov ? F(add)(F(mul)(velocity, momentum), g) : velocity;
    }
    F(store_some)(p, F(minus)(before, F(mul)(g, rate)), n);
}

static void F(sgd)(const fc_sgd_factors *factors, int64_t count, void *p_, const void *g_, void *v_) {
    T *p = p_, *v = v_;
    const T *g = g_;
    const fc_sgd_factors f = *factors;
    int64_t i = 0;
    for (; i + F(VL) <= count; i += F(VL)) F(sgd_some)(&f, p + i, g + i, v == NULL ? NULL : v + i, F(VL));
    if (i < count) F(sgd_some)(&f, p + i, g + i, v == NULL ? NULL : v + i, (int)(count - i));
}

FC_INLINE void F(adam_some)(const fc_adam_factors *f, T *p, const T *g_, T *m, T *v, int n) {
    const F(v) scale = F(set1)((T)f->scale), epsilon = F(set1)((T)f->epsilon);
    const F(v) beta1 = F(set1)((T)f->beta1), beta2 = F(set1)((T)f->beta2);
    F(v) before = F(load_some)(p, n), g = F(clipped)(&f->clip, F(load_some)(g_, n)), first = F(load_some)(m, n);
    if (f->decay != 0) g = F(add)(F(mul)(before, F(set1)((T)f->decay)), g);
    if (f->least != 0) first = F(drop_small)(first, F(set1)((T)f->least));
    first = F(add)(F(mul)(first, beta1), g);
    const F(v) second = F(add)(F(mul)(F(load_some)(v, n), beta2), F(mul)(g, g));
    F(store_some)(m, first, n);
    F(store_some)(v, second, n);
    const F(v) step = F(mul)(F(div)(first, F(add)(F(root)(second), epsilon)), scale);
    if (f->keep != 1) before = F(mul)(before, F(set1)((T)f->keep));
    F(store_some)(p, F(minus)(before, step), n);
}

static void F(adam)(const fc_adam_factors *factors, int64_t count, void *p_, const void *g_, void *m_, void *v_) {
    T *p = p_, *m = m_, *v = v_;
    const T *g = g_;
    const fc_adam_factors f = *factors;
    int64_t i = 0;
    for (; i + F(VL) <= count; i += F(VL)) F(adam_some)(&f, p + i, g + i, m + i, v + i, F(VL));
    if (i < count) F(adam_some)(&f, p + i, g + i, m + i, v + i, (int)(count - i));
}

FC_INLINE void F(rmsprop_some)(const fc_rmsprop_factors *f, T *p, const T *g_, T *s, T *v, int n) {
    const F(v) least = F(set1)((T)f->least), before = F(load_some)(p, n);
    F(v) g = F(clipped)(&f->clip, F(load_some)(g_, n)), squares = F(load_some)(s, n);
    if (f->decay != 0) g = F(add)(F(mul)(before, F(set1)((T)f->decay)), g);
    if (f->least != 0) squares = F(drop_small)(squares, least);
    squares = F(add)(F(mul)(squares, F(set1)((T)f->alpha)), F(mul)(g, g));
    F(store_some)(s, squares, n);
    F(v) step = F(div)(g, F(add)(F(root)(squares), F(set1)((T)f->epsilon)));
    if (f->momentum != 0) {
        F(v) velocity = F(load_some)(v, n);
        if (f->least != 0) velocity = F(drop_small)(velocity, least);
        step = F(add)(F(mul)(velocity, F(set1)((T)f->momentum)), step);
        F(store_some)(v, step, n);
    }
    F(store_some)(p, F(minus)(before, F(mul)(step, F(set1)((T)f->scale))), n);
}

static void F(rmsprop)(const fc_rmsprop_factors *factors, int64_t count, void *p_, const void *g_, void *s_, void *v_) {
    T *p = p_, *s = s_, *v = v_;
    const T *g = g_;
    const fc_rmsprop_factors f = *factors;
    int64_t i = 0;
    for (; i + F(VL) <= count; i += F(VL))
        F(rmsprop_some)(&f, p + i, g + i, s + i, v == NULL ? NULL : v + i, F(VL));
    if (i < count) F(rmsprop_some)(&f, p + i, g + i, s + i, v == NULL ? NULL : v + i, (int)(count - i));
}

static double F(square_sum)(int64_t count, const void *x) { return F(sum_of_products)(count, x, x); }
