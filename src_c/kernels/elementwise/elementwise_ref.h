/* SPDX-License-Identifier: BSD-3-Clause
 * The elementwise kernels, one number at a time; see elementwise.h for the contracts. */
static void F(sum)(fc_epilogue activation, int64_t count, const void *a, const void *b, void *y) {
    for (int64_t i = 0; i < count; i++)
        ((T *)y)[i] = F(epilogue)(((const T *)a)[i] + ((const T *)b)[i], activation);
}

static T F(drop_small)(T value, T least) { return value < least && value > -least ? 0 : value; }

static T F(clipped)(const fc_clip *clip, T g) {
    const T limit = (T)clip->limit;
    if (clip->factor != 1) g *= (T)clip->factor;
    return limit == 0 ? g : g > limit ? limit : g < -limit ? -limit : g;
}

static void F(sgd)(const fc_sgd_factors *f, int64_t count, void *p_, const void *g_, void *v_) {
    const T rate = (T)f->rate, momentum = (T)f->momentum, decay = (T)f->decay, least = (T)f->least;
    T *p = p_, *v = v_;
    for (int64_t i = 0; i < count; i++) {
        T g = F(clipped)(&f->clip, ((const T *)g_)[i]);
        if (decay != 0) g = p[i] * decay + g;
        if (momentum != 0) {
            v[i] = F(drop_small)(v[i], least) * momentum + g;
            g = f->nesterov ? v[i] * momentum + g : v[i];
        }
        p[i] -= g * rate;
    }
}

static T F(root_of)(T value) {
    return sizeof(T) == sizeof(float) ? (T)sqrtf((float)value) : (T)sqrt((double)value);
}

static void F(adam)(const fc_adam_factors *f, int64_t count, void *p_, const void *g_, void *m_, void *v_) {
    const T scale = (T)f->scale, beta1 = (T)f->beta1, beta2 = (T)f->beta2, epsilon = (T)f->epsilon;
    T *p = p_, *m = m_, *v = v_;
    for (int64_t i = 0; i < count; i++) {
        T g = F(clipped)(&f->clip, ((const T *)g_)[i]);
        if (f->decay != 0) g = p[i] * (T)f->decay + g;
        m[i] = F(drop_small)(m[i], (T)f->least) * beta1 + g;
        v[i] = v[i] * beta2 + g * g;
        if (f->keep != 1) p[i] *= (T)f->keep;
        p[i] -= m[i] / (F(root_of)(v[i]) + epsilon) * scale;
    }
}

static void F(rmsprop)(const fc_rmsprop_factors *f, int64_t count, void *p_, const void *g_, void *s_, void *v_) {
    T *p = p_, *s = s_, *v = v_;
    for (int64_t i = 0; i < count; i++) {
        T g = F(clipped)(&f->clip, ((const T *)g_)[i]);
        if (f->decay != 0) g = p[i] * (T)f->decay + g;
        s[i] = F(drop_small)(s[i], (T)f->least) * (T)f->alpha + g * g;
        T step = g / (F(root_of)(s[i]) + (T)f->epsilon);
        if (f->momentum != 0) step = v[i] = F(drop_small)(v[i], (T)f->least) * (T)f->momentum + step;
        p[i] -= step * (T)f->scale;
    }
}

static double F(square_sum)(int64_t count, const void *x) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)((const T *)x)[i] * (double)((const T *)x)[i];
    return sum;
}
