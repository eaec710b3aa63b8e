/* SPDX-License-Identifier: BSD-3-Clause
 * The kernels of normalisation over the vector vocabulary; see norm.h for the contracts.
 *
 * Adjacent columns: a chain is a row of sums, and pixels are added in runs of neighbours whose chains fit L1 together.
 * That reads memory in long pieces: 2048 columns at once take a sixth less time than 512.
 * Adjacent pixels: a vector holds one number of each chain; several columns at a time hide the latency of the sums. */
enum { F(NORM_RUN) = 2048 /* numbers, of as many sums of either kind */, F(NORM_TOGETHER) = 4 };

/* What the sums are of. */
typedef struct F(norm_terms) {
    int products;
    fc_epilogue activation;
} F(norm_terms);

/* The factors of one vector of columns, or of one column in all lanes. */
typedef struct F(norm_lane) {
    F(v) mean, scale, offset;
} F(norm_lane);

FC_INLINE F(v) F(norm_sloped)(const fc_epilogue activation, F(v) g, F(v) d, const F(norm_lane) *f) {
    if (activation == FC_EPILOGUE_NONE) return g;
    const T below = activation == FC_EPILOGUE_RELU ? (T)0 : (T)FC_LEAKY_SLOPE;
    const F(v) argument = F(fma)(d, f->scale, f->offset);
    return F(mul)(g, F(pick)(F(above)(argument, F(zero)()), F(set1)(1), F(set1)(below)));
}

/* first += d, second += d*d; or the sums of products. */
FC_INLINE void F(norm_add)(const F(norm_terms) t, F(v) d, F(v) g, const F(norm_lane) *f, F(v) *first, F(v) *second) {
    if (t.products) {
        g = F(norm_sloped)(t.activation, g, d, f);
        *first = F(add)(*first, g);
        *second = F(fma)(g, d, *second);
    } else {
        *first = F(add)(*first, d);
        *second = F(fma)(d, d, *second);
    }
}

/* ---------------------------------------------------------------- sums over adjacent columns */

/* One vector of columns of one pixel. */
FC_INLINE void F(norm_add_columns)(const F(norm_terms) t, const T *x, const T *g, const fc_norm_factors *f, int64_t c,
                                   int n, T *sums, T *others) {
    F(norm_lane) lane = {.mean = F(load_some)((const T *)f->mean + c, n)};
    if (t.activation != FC_EPILOGUE_NONE) {
        lane.scale = F(load_some)((const T *)f->scale + c, n);
        lane.offset = F(load_some)((const T *)f->offset + c, n);
    }
    F(v) first = F(load_some)(sums, n), second = F(load_some)(others, n);
    const F(v) d = F(sub)(F(load_some)(x, n), lane.mean);
    F(norm_add)(t, d, t.products ? F(load_some)(g, n) : d, &lane, &first, &second);
    F(store_some)(sums, first, n);
    F(store_some)(others, second, n);
}

/* `width` columns from c on of one pixel. */
FC_INLINE void F(norm_add_pixel)(const F(norm_terms) t, const T *x, const T *g, const fc_norm_factors *f, int64_t c,
                                 int64_t width, T *sums, T *others) {
    int64_t k = 0;
    for (; k + F(VL) <= width; k += F(VL))
        F(norm_add_columns)(t, x + k, g + k, f, c + k, F(VL), sums + k, others + k);
    if (k < width) F(norm_add_columns)(t, x + k, g + k, f, c + k, (int)(width - k), sums + k, others + k);
}

/* The chains become one: chain l + h goes to chain l. */
FC_INLINE void F(norm_join)(T *chains, int64_t width, T *sum) {
    for (int half = F(VL) / 2; half > 0; half /= 2)
        for (int64_t k = 0; k < half * width; k++) chains[k] += chains[half * width + k];
    memcpy(sum, chains, (size_t)width * sizeof(T));
}

FC_INLINE void F(norm_sums_down)(const F(norm_terms) t, const fc_norm_block *b, const T *x, const T *g,
                                 const fc_norm_factors *f, T *sum, T *other) {
    for (int64_t c = 0; c < b->columns; c += FC_NORM_CHANNELS) {
        const int64_t width = FC_MIN(FC_NORM_CHANNELS, b->columns - c);
        T *sums = b->chains, *others = sums + F(VL) * width;
        memset(sums, 0, 2 * sizeof(F(v)) * (size_t)width);
        int64_t run = F(VL);
        while (run > 1 && run * width > F(NORM_RUN)) run /= 2;
        for (int64_t chain = 0; chain < F(VL); chain += run)
            for (int64_t image = 0; image < b->images; image++)
                for (int64_t i = chain; i < b->pixels; i += F(VL))
                    for (int64_t l = 0; l < FC_MIN(run, b->pixels - i); l++)
                        F(norm_add_pixel)(t, x + image * b->x.image + (i + l) * b->x.pixel + c,
                                          t.products ? g + image * b->grad_y.image + (i + l) * b->grad_y.pixel + c : x,
                                          f, c, width, sums + (chain + l) * width, others + (chain + l) * width);
        F(norm_join)(sums, width, sum + c);
        F(norm_join)(others, width, other + c);
    }
}

/* ---------------------------------------------------------------- sums over adjacent pixels */

FC_INLINE T F(norm_join_lanes)(F(v) sum) {
    T lanes[F(VL)];
    F(store)(lanes, sum);
    for (int half = F(VL) / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lanes[l] += lanes[l + half];
    return lanes[0];
}

/* `count` columns from c on. Lanes behind the last pixel add zeros. */
FC_INLINE void F(norm_columns_along)(const F(norm_terms) t, const int count, const fc_norm_block *b, const T *x,
                                     const T *g, const fc_norm_factors *f, int64_t c, F(v) lane_numbers, T *sum,
                                     T *other) {
    F(v) first[F(NORM_TOGETHER)], second[F(NORM_TOGETHER)];
    F(norm_lane) lane[F(NORM_TOGETHER)];
    FC_UNROLL
    for (int k = 0; k < count; k++) {
        first[k] = second[k] = F(zero)();
        lane[k].mean = F(set1)(((const T *)f->mean)[c + k]);
        if (t.activation != FC_EPILOGUE_NONE) {
            lane[k].scale = F(set1)(((const T *)f->scale)[c + k]);
            lane[k].offset = F(set1)(((const T *)f->offset)[c + k]);
        }
    }
    for (int64_t image = 0; image < b->images; image++) {
        const T *at = x + image * b->x.image + c * b->x.column;
        const T *g_at = t.products ? g + image * b->grad_y.image + c * b->grad_y.column : x;
        int64_t i = 0;
        for (; i + F(VL) <= b->pixels; i += F(VL)) {
            FC_UNROLL
            for (int k = 0; k < count; k++) {
                const F(v) d = F(sub)(F(load)(at + k * b->x.column + i), lane[k].mean);
                F(norm_add)(t, d, t.products ? F(load)(g_at + k * b->grad_y.column + i) : d, &lane[k], &first[k],
                            &second[k]);
            }
        }
        const int n = (int)(b->pixels - i);
        const F(m) there = F(above)(F(set1)((T)n), lane_numbers);
        FC_UNROLL
        for (int k = 0; k < count && n > 0; k++) {
            const F(v) d = F(sub)(F(load_n)(at + k * b->x.column + i, n), lane[k].mean);
            F(norm_add)(t, F(pick)(there, d, F(zero)()),
                        t.products ? F(load_n)(g_at + k * b->grad_y.column + i, n) : F(zero)(), &lane[k], &first[k],
                        &second[k]);
        }
    }
    FC_UNROLL
    for (int k = 0; k < count; k++) {
        sum[c + k] = F(norm_join_lanes)(first[k]);
        other[c + k] = F(norm_join_lanes)(second[k]);
    }
}

FC_INLINE void F(norm_sums_along)(const F(norm_terms) t, const fc_norm_block *b, const T *x, const T *g,
                                  const fc_norm_factors *f, T *sum, T *other) {
    T numbers[F(VL)];
    for (int l = 0; l < F(VL); l++) numbers[l] = (T)l;
    const F(v) lane_numbers = F(load)(numbers);
    int64_t c = 0;
    for (; c + F(NORM_TOGETHER) <= b->columns; c += F(NORM_TOGETHER))
        F(norm_columns_along)(t, F(NORM_TOGETHER), b, x, g, f, c, lane_numbers, sum, other);
    for (; c < b->columns; c++) F(norm_columns_along)(t, 1, b, x, g, f, c, lane_numbers, sum, other);
}

/* ---------------------------------------------------------------- both */

FC_INLINE void F(norm_sums)(const F(norm_terms) t, const fc_norm_block *b, const T *x, const T *g,
                            const fc_norm_factors *f, T *sum, T *other) {
    if (b->x.pixel == 1) F(norm_sums_along)(t, b, x, g, f, sum, other);
    else F(norm_sums_down)(t, b, x, g, f, sum, other);
}

static void F(norm_moments)(const fc_norm_block *b, const void *x_, void *shift_, void *sum, void *square) {
    const int64_t first = FC_MIN(FC_NORM_FIRST, b->pixels);
    const T *x = x_;
    T *shift = shift_;
    if (b->x.column == 1)
        for (int64_t c = 0; c < b->columns; c++) shift[c] = x[c];
    else
        for (int64_t c = 0; c < b->columns; c++) shift[c] = x[c * b->x.column];
    for (int64_t i = 1; i < first; i++) {
        if (b->x.column == 1)
            for (int64_t c = 0; c < b->columns; c++) shift[c] += x[i * b->x.pixel + c];
        else
            for (int64_t c = 0; c < b->columns; c++) shift[c] += x[i * b->x.pixel + c * b->x.column];
    }
    for (int64_t c = 0; c < b->columns; c++) shift[c] *= (T)1 / (T)first;
    const fc_norm_factors f = {.mean = shift};
    const F(norm_terms) terms = {0, FC_EPILOGUE_NONE};
    F(norm_sums)(terms, b, x, x, &f, sum, square);
}

static void F(norm_products)(const fc_norm_block *b, const void *x, const void *g, const fc_norm_factors *f, void *sum,
                             void *product) {
    switch (b->activation) {
        case FC_EPILOGUE_NONE: F(norm_sums)((F(norm_terms)){1, FC_EPILOGUE_NONE}, b, x, g, f, sum, product); break;
        case FC_EPILOGUE_RELU: F(norm_sums)((F(norm_terms)){1, FC_EPILOGUE_RELU}, b, x, g, f, sum, product); break;
        default: F(norm_sums)((F(norm_terms)){1, FC_EPILOGUE_LEAKY_RELU}, b, x, g, f, sum, product);
    }
}

/* ---------------------------------------------------------------- number by number */

/* The factors of a vector of columns or, `along` pixels, of one column in all lanes. */
FC_INLINE F(v) F(norm_factor)(const int along, const void *factor, int64_t c, int n) {
    return along ? F(set1)(((const T *)factor)[c]) : F(load_some)((const T *)factor + c, n);
}

/* With the factors at place `at`: of a vector of columns, or of one column. */
FC_INLINE F(v) F(norm_applied)(const fc_epilogue activation, const int along, const T *x, const fc_norm_factors *f,
                               int64_t at, int n) {
    const F(v) d = F(sub)(F(load_some)(x, n), F(norm_factor)(along, f->mean, at, n));
    const F(v) value = F(fma)(d, F(norm_factor)(along, f->scale, at, n), F(norm_factor)(along, f->offset, at, n));
    return F(activate)(value, activation);
}

FC_INLINE void F(norm_apply_run)(const fc_epilogue activation, const int along, int streams, const T *x,
                                 const fc_norm_factors *f, int64_t c, int64_t count, T *y) {
    int64_t i = streams ? F(before_stream)(y, count) : 0;
    if (i > 0) F(store_n)(y, F(norm_applied)(activation, along, x, f, along ? c : 0, (int)i), (int)i);
    for (; i + F(VL) <= count; i += F(VL))
        F(put)(streams, y + i, F(norm_applied)(activation, along, x + i, f, along ? c : i, F(VL)));
    const int n = (int)(count - i);
    if (n > 0) F(store_n)(y + i, F(norm_applied)(activation, along, x + i, f, along ? c : i, n), n);
}

FC_INLINE void F(norm_apply_all)(const fc_epilogue activation, const fc_norm_block *b, const T *x,
                                 const fc_norm_factors *f, T *y) {
    for (int64_t n = 0; n < b->images; n++, x += b->x.image, y += b->to.image) {
        if (b->x.pixel == 1)
            for (int64_t c = 0; c < b->columns; c++)
                F(norm_apply_run)(activation, 1, b->streams, x + c * b->x.column, f, c, b->pixels,
                                  y + c * b->to.column);
        else
            for (int64_t i = 0; i < b->pixels; i++)
                F(norm_apply_run)(activation, 0, b->streams, x + i * b->x.pixel, f, 0, b->columns,
                                  y + i * b->to.pixel);
    }
}

static void F(norm_apply)(const fc_norm_block *b, const void *x, const fc_norm_factors *f, void *y) {
    switch (b->activation) {
        case FC_EPILOGUE_NONE: F(norm_apply_all)(FC_EPILOGUE_NONE, b, x, f, y); break;
        case FC_EPILOGUE_RELU: F(norm_apply_all)(FC_EPILOGUE_RELU, b, x, f, y); break;
        default: F(norm_apply_all)(FC_EPILOGUE_LEAKY_RELU, b, x, f, y);
    }
}

FC_INLINE F(v) F(norm_sloping)(const fc_epilogue activation, const int along, const T *x, const T *g_,
                               const fc_norm_factors *f, int64_t at, int n) {
    const F(norm_lane) lane = {.mean = F(norm_factor)(along, f->mean, at, n),
                               .scale = F(norm_factor)(along, f->scale, at, n),
                               .offset = activation == FC_EPILOGUE_NONE ? F(zero)()
                                                                         : F(norm_factor)(along, f->offset, at, n)};
    const F(v) slope = F(norm_factor)(along, f->slope, at, n), constant = F(norm_factor)(along, f->constant, at, n);
    const F(v) d = F(sub)(F(load_some)(x, n), lane.mean);
    const F(v) g = F(norm_sloped)(activation, F(load_some)(g_, n), d, &lane);
    return F(fma)(d, slope, F(fma)(g, lane.scale, constant));
}

FC_INLINE void F(norm_gradient_run)(const fc_epilogue activation, const int along, int streams, const T *x, const T *g,
                                    const fc_norm_factors *f, int64_t c, int64_t count, T *to) {
    int64_t i = streams ? F(before_stream)(to, count) : 0;
    if (i > 0) F(store_n)(to, F(norm_sloping)(activation, along, x, g, f, along ? c : 0, (int)i), (int)i);
    for (; i + F(VL) <= count; i += F(VL))
        F(put)(streams, to + i, F(norm_sloping)(activation, along, x + i, g + i, f, along ? c : i, F(VL)));
    const int n = (int)(count - i);
    if (n > 0) F(store_n)(to + i, F(norm_sloping)(activation, along, x + i, g + i, f, along ? c : i, n), n);
}

FC_INLINE void F(norm_gradient_all)(const fc_epilogue activation, const fc_norm_block *b, const T *x, const T *g,
                                    const fc_norm_factors *f, T *to) {
    for (int64_t n = 0; n < b->images; n++, x += b->x.image, g += b->grad_y.image, to += b->to.image) {
        if (b->x.pixel == 1)
            for (int64_t c = 0; c < b->columns; c++)
                F(norm_gradient_run)(activation, 1, b->streams, x + c * b->x.column, g + c * b->grad_y.column, f, c,
                                     b->pixels, to + c * b->to.column);
        else
            for (int64_t i = 0; i < b->pixels; i++)
                F(norm_gradient_run)(activation, 0, b->streams, x + i * b->x.pixel, g + i * b->grad_y.pixel, f, 0,
                                     b->columns, to + i * b->to.pixel);
    }
}

static void F(norm_gradient)(const fc_norm_block *b, const void *x, const void *g, const fc_norm_factors *f,
                             void *grad_x) {
    switch (b->activation) {
        case FC_EPILOGUE_NONE: F(norm_gradient_all)(FC_EPILOGUE_NONE, b, x, g, f, grad_x); break;
        case FC_EPILOGUE_RELU: F(norm_gradient_all)(FC_EPILOGUE_RELU, b, x, g, f, grad_x); break;
        default: F(norm_gradient_all)(FC_EPILOGUE_LEAKY_RELU, b, x, g, f, grad_x);
    }
}
