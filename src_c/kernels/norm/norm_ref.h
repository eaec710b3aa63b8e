/* SPDX-License-Identifier: BSD-3-Clause
 * The kernels of normalisation, one number at a time; see norm.h for the contracts. */
static int64_t F(norm_place)(const fc_norm_walk *w, int64_t n, int64_t i, int64_t c) {
    return n * w->image + i * w->pixel + c * w->column;
}

static void F(norm_moments)(const fc_norm_block *b, const void *x, void *shift, void *sum, void *square) {
    const int64_t first = FC_MIN(FC_NORM_FIRST, b->pixels);
    for (int64_t c = 0; c < b->columns; c++) {
        T start = 0, once = 0, twice = 0;
        for (int64_t i = 0; i < first; i++) start += ((const T *)x)[F(norm_place)(&b->x, 0, i, c)];
        start *= (T)1 / (T)first;
        for (int64_t n = 0; n < b->images; n++)
            for (int64_t i = 0; i < b->pixels; i++) {
                const T d = ((const T *)x)[F(norm_place)(&b->x, n, i, c)] - start;
                once += d;
                twice += d * d;
            }
        ((T *)shift)[c] = start, ((T *)sum)[c] = once, ((T *)square)[c] = twice;
    }
}

/* (x - mean) * scale + offset, before the activation. */
static T F(norm_argument)(const fc_norm_factors *f, T x, int64_t c) {
    return (x - ((const T *)f->mean)[c]) * ((const T *)f->scale)[c] + ((const T *)f->offset)[c];
}

/* grad_y times the slope of the activation. */
static T F(norm_sloped)(const fc_norm_block *b, const fc_norm_factors *f, T x, T grad_y, int64_t c) {
    if (b->activation == FC_EPILOGUE_NONE || F(norm_argument)(f, x, c) > 0) return grad_y;
    return grad_y * (T)(b->activation == FC_EPILOGUE_RELU ? 0 : FC_LEAKY_SLOPE);
}

static void F(norm_products)(const fc_norm_block *b, const void *x_, const void *grad_y, const fc_norm_factors *f,
                             void *sum, void *product) {
    for (int64_t c = 0; c < b->columns; c++) {
        T once = 0, twice = 0;
        for (int64_t n = 0; n < b->images; n++)
            for (int64_t i = 0; i < b->pixels; i++) {
                const T x = ((const T *)x_)[F(norm_place)(&b->x, n, i, c)];
                const T g = F(norm_sloped)(b, f, x, ((const T *)grad_y)[F(norm_place)(&b->grad_y, n, i, c)], c);
                once += g;
                twice += g * (x - ((const T *)f->mean)[c]);
            }
        ((T *)sum)[c] = once, ((T *)product)[c] = twice;
    }
}

static void F(norm_apply)(const fc_norm_block *b, const void *x, const fc_norm_factors *f, void *y) {
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t i = 0; i < b->pixels; i++)
            for (int64_t c = 0; c < b->columns; c++) {
                const T value = F(norm_argument)(f, ((const T *)x)[F(norm_place)(&b->x, n, i, c)], c);
                ((T *)y)[F(norm_place)(&b->to, n, i, c)] = F(epilogue)(value, b->activation);
            }
}

static void F(norm_gradient)(const fc_norm_block *b, const void *x_, const void *grad_y, const fc_norm_factors *f,
                             void *grad_x) {
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t i = 0; i < b->pixels; i++)
            for (int64_t c = 0; c < b->columns; c++) {
                const T x = ((const T *)x_)[F(norm_place)(&b->x, n, i, c)];
                const T g = F(norm_sloped)(b, f, x, ((const T *)grad_y)[F(norm_place)(&b->grad_y, n, i, c)], c);
                ((T *)grad_x)[F(norm_place)(&b->to, n, i, c)] =
                    (x - ((const T *)f->mean)[c]) * ((const T *)f->slope)[c] +
                    (g * ((const T *)f->scale)[c] + ((const T *)f->constant)[c]);
            }
}
