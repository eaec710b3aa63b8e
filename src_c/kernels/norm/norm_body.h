/* SPDX-License-Identifier: BSD-3-Clause
 * The kernels of normalisation over the vector vocabulary; see norm.h for the contracts.
 *
 * Adjacent columns: a chain is a row of sums, and pixels are added in runs of neighbours whose chains fit L1 together.
 * That reads memory in long pieces: 2048 columns at once take a sixth less time than 512. Where these pieces have gaps
 * no processor guesses what to fetch ahead, and it is brought in meanwhile, in order: the sums of 28x28x512 images take
 * x0.4 of the time on Zen 4, training and gradients x0.65 to x0.8. Long rows of sums lie in L2; a chain takes several
 * pixels at a time, so that they move rarely: up to 28x28x128 and 7x7x2048 training takes x0.8 of the time.
 * The pass number by number takes as many columns as L1 holds factors of (7x7x2048: x0.88).
 * Adjacent pixels: a vector holds one number of each chain; several columns at a time hide the latency of the sums.
 * Images are the outer loop, so that memory is read in long pieces again. The pass number by number goes from column to
 * column without a break, so that small maps too are stored in whole cache lines. */
enum {
    F(NORM_RUN) = 2048, /* numbers, of as many sums of either kind */
    F(NORM_NEAR) = (1 << 18) / sizeof(T), /* numbers that are read in several runs: L2 holds them, and the next */
    F(NORM_FACTORS) = (1 << 12) / sizeof(T), /* columns of a pass: L1 holds their five factors */
    F(NORM_TOGETHER) = 4,
    F(NORM_PIXELS) = 4, /* of a chain at once, whose sums stay in registers: see norm_add_some */
    F(NORM_BLOCK) = 128 /* columns of adjacent pixels */
};

/* What the sums are of. */
typedef struct F(norm_terms) {
    int products;
    fc_epilogue activation;
} F(norm_terms);

/* The factors of one vector of columns, or of one column in all lanes. */
typedef struct F(norm_lane) {
    F(v) mean, scale, offset, slope, constant;
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

/* 0, 1, 2 ... */
FC_INLINE F(v) F(norm_numbers)(void) {
    T numbers[F(VL)];
    for (int l = 0; l < F(VL); l++) numbers[l] = (T)l;
    return F(load)(numbers);
}

/* ---------------------------------------------------------------- sums over adjacent columns */

/* One vector of columns of `count` pixels of a chain, `x_step` and `g_step` numbers apart. */
FC_INLINE void F(norm_add_columns)(const F(norm_terms) t, const int count, const T *x, int64_t x_step, const T *g,
                                   int64_t g_step, const fc_norm_factors *f, int64_t c, int n, T *sums, T *others) {
    F(norm_lane) lane = {.mean = F(load_some)((const T *)f->mean + c, n)};
    if (t.activation != FC_EPILOGUE_NONE) {
        lane.scale = F(load_some)((const T *)f->scale + c, n);
        lane.offset = F(load_some)((const T *)f->offset + c, n);
    }
    F(v) first = F(load_some)(sums, n), second = F(load_some)(others, n);
    for (int i = 0; i < count; i++) { /* no FC_UNROLL: clang 14 refuses, gcc does it anyway */
        const F(v) d = F(sub)(F(load_some)(x + i * x_step, n), lane.mean);
        F(norm_add)(t, d, t.products ? F(load_some)(g + i * g_step, n) : d, &lane, &first, &second);
    }
    F(store_some)(sums, first, n);
    F(store_some)(others, second, n);
}

/* `width` columns from c on of `count` pixels of a chain; as many pixels from x_next and g_next on are fetched ahead,
 * unless that is NULL. */
FC_INLINE void F(norm_add_chain)(const F(norm_terms) t, const int count, const fc_norm_block *b, const T *x,
                                 const T *g, const T *x_next, const T *g_next, const fc_norm_factors *f, int64_t c,
                                 int64_t width, T *sums, T *others) {
    const int64_t x_step = F(VL) * b->x.pixel, g_step = F(VL) * b->grad_y.pixel;
    int64_t k = 0;
    for (; k + F(VL) <= width; k += F(VL)) {
        FC_UNROLL
        for (int i = 0; i < count; i++) {
            if (x_next != NULL) __builtin_prefetch(x_next + i * b->x.pixel + k, 0, 2);
            if (x_next != NULL && t.products) __builtin_prefetch(g_next + i * b->grad_y.pixel + k, 0, 2);
        }
        F(norm_add_columns)(t, count, x + k, x_step, g + k, g_step, f, c + k, F(VL), sums + k, others + k);
    }
    if (k < width)
        F(norm_add_columns)(t, count, x + k, x_step, g + k, g_step, f, c + k, (int)(width - k), sums + k, others + k);
}

/* The chains become one: chain l + h goes to chain l. */
FC_INLINE void F(norm_join)(T *chains, int64_t width, T *sum) {
    for (int half = F(VL) / 2; half > 0; half /= 2)
        for (int64_t k = 0; k < half * width; k++) chains[k] += chains[half * width + k];
    memcpy(sum, chains, (size_t)width * sizeof(T));
}

/* The same for a count known only now: each up to NORM_PIXELS has code of its own. */
FC_INLINE void F(norm_add_some)(const F(norm_terms) t, int64_t count, const fc_norm_block *b, const T *x, const T *g,
                                const T *x_next, const T *g_next, const fc_norm_factors *f, int64_t c, int64_t width,
                                T *sums, T *others) {
    switch (count) {
        case 1: F(norm_add_chain)(t, 1, b, x, g, x_next, g_next, f, c, width, sums, others); break;
        case 2: F(norm_add_chain)(t, 2, b, x, g, x_next, g_next, f, c, width, sums, others); break;
        case 3: F(norm_add_chain)(t, 3, b, x, g, x_next, g_next, f, c, width, sums, others); break;
        default: F(norm_add_chain)(t, F(NORM_PIXELS), b, x, g, x_next, g_next, f, c, width, sums, others);
    }
}

/* How many pixels are taken of each of `run` chains from pixel i on. */
FC_INLINE int64_t F(norm_count)(int64_t i, int64_t end, int64_t run) {
    const int64_t all = FC_MAX(0, end - i - run) / F(VL) + 1;
    return FC_MIN(all, F(NORM_PIXELS));
}

/* `width` columns from c on of the pixels [from, end) of all images, to their chains; `brings`: the pixels behind them,
 * as many, come in meanwhile. */
FC_INLINE void F(norm_add_pixels)(const F(norm_terms) t, const fc_norm_block *b, const T *x, const T *g,
                                  const fc_norm_factors *f, int64_t images, int64_t from, int64_t end,
                                  const int brings, int64_t run, int64_t c, int64_t width, T *sums, T *others) {
    const int64_t x_step = b->x.pixel, g_step = t.products ? b->grad_y.pixel : 0;
    const T *x_next = brings ? x + end * x_step + c : NULL, *g_next = brings ? g + end * g_step + c : NULL;
    for (int64_t chain = 0; chain < F(VL); chain += run)
        for (int64_t image = 0; image < images; image++) {
            const T *at = x + image * b->x.image + c, *g_at = g + image * b->grad_y.image + c;
            for (int64_t i = from + chain, count; i < end; i += count * F(VL)) {
                count = F(norm_count)(i, end, run);
                for (int64_t l = 0; l < FC_MIN(run, end - i); l++) {
                    F(norm_add_some)(t, count, b, at + (i + l) * x_step, g_at + (i + l) * g_step, x_next, g_next, f,
                                     c, width, sums + (chain + l) * width, others + (chain + l) * width);
                    if (brings) x_next += count * x_step, g_next += count * g_step;
                }
            }
        }
}

/* `width` columns from c on: small images one after the other, of large ones some pixels at a time. */
FC_INLINE void F(norm_add_images)(const F(norm_terms) t, const fc_norm_block *b, const T *x, const T *g,
                                  const fc_norm_factors *f, int64_t c, int64_t width, T *sums, T *others) {
    int64_t run = F(VL);
    while (run > 1 && run * width > F(NORM_RUN)) run /= 2;
    if (run == F(VL) || b->pixels * width <= F(NORM_NEAR)) {
        F(norm_add_pixels)(t, b, x, g, f, b->images, 0, b->pixels, 0, run, c, width, sums, others);
        return;
    }
    const int64_t step = FC_MAX(F(NORM_PIXELS), F(NORM_NEAR) / (F(VL) * width)) * F(VL);
    for (int64_t image = 0; image < b->images; image++, x += b->x.image, g += b->grad_y.image)
        for (int64_t i = 0; i < b->pixels; i += step)
            F(norm_add_pixels)(t, b, x, g, f, 1, i, FC_MIN(b->pixels, i + step), 1, run, c, width, sums, others);
}

FC_INLINE void F(norm_sums_down)(const F(norm_terms) t, const fc_norm_block *b, const T *x, const T *g,
                                 const fc_norm_factors *f, T *sum, T *other) {
    for (int64_t c = 0; c < b->columns; c += FC_NORM_CHANNELS) {
        const int64_t width = FC_MIN(FC_NORM_CHANNELS, b->columns - c);
        T *sums = b->chains, *others = sums + F(VL) * width;
        memset(sums, 0, 2 * sizeof(F(v)) * (size_t)width);
        F(norm_add_images)(t, b, x, g, f, c, width, sums, others);
        F(norm_join)(sums, width, sum + c);
        F(norm_join)(others, width, other + c);
    }
}

/* ---------------------------------------------------------------- sums over adjacent pixels */

/* `count` columns from c on of one image, to the chains of each: sums[k*VL + lane]. Lanes behind the last pixel add
 * zeros. */
FC_INLINE void F(norm_add_rows)(const F(norm_terms) t, const int count, const fc_norm_block *b, const T *x,
                                const T *g, const fc_norm_factors *f, int64_t c, F(v) lane_numbers, T *sums,
                                T *others) {
    F(v) first[F(NORM_TOGETHER)], second[F(NORM_TOGETHER)];
    F(norm_lane) lane[F(NORM_TOGETHER)];
    FC_UNROLL
    for (int k = 0; k < count; k++) {
        first[k] = F(load)(sums + k * F(VL)), second[k] = F(load)(others + k * F(VL));
        lane[k].mean = F(set1)(((const T *)f->mean)[c + k]);
        if (t.activation != FC_EPILOGUE_NONE) {
            lane[k].scale = F(set1)(((const T *)f->scale)[c + k]);
            lane[k].offset = F(set1)(((const T *)f->offset)[c + k]);
        }
    }
    int64_t i = 0;
    for (; i + F(VL) <= b->pixels; i += F(VL)) {
        FC_UNROLL
        for (int k = 0; k < count; k++) {
            const F(v) d = F(sub)(F(load)(x + k * b->x.column + i), lane[k].mean);
            F(norm_add)(t, d, t.products ? F(load)(g + k * b->grad_y.column + i) : d, &lane[k], &first[k],
                        &second[k]);
        }
    }
    const int n = (int)(b->pixels - i);
    const F(m) there = F(above)(F(set1)((T)n), lane_numbers);
    FC_UNROLL
    for (int k = 0; k < count && n > 0; k++) {
        const F(v) d = F(sub)(F(load_n)(x + k * b->x.column + i, n), lane[k].mean);
        F(norm_add)(t, F(pick)(there, d, F(zero)()), t.products ? F(load_n)(g + k * b->grad_y.column + i, n) : d,
                    &lane[k], &first[k], &second[k]);
    }
    FC_UNROLL
    for (int k = 0; k < count; k++) F(store)(sums + k * F(VL), first[k]), F(store)(others + k * F(VL), second[k]);
}

FC_INLINE void F(norm_add_image)(const F(norm_terms) t, const fc_norm_block *b, const T *x, const T *g,
                                 const fc_norm_factors *f, int64_t c, int64_t width, F(v) lane_numbers, T *sums,
                                 T *others) {
    int64_t k = 0;
    for (; k + F(NORM_TOGETHER) <= width; k += F(NORM_TOGETHER))
        F(norm_add_rows)(t, F(NORM_TOGETHER), b, x + k * b->x.column, g + k * b->grad_y.column, f, c + k,
                         lane_numbers, sums + k * F(VL), others + k * F(VL));
    for (; k < width; k++)
        F(norm_add_rows)(t, 1, b, x + k * b->x.column, g + k * b->grad_y.column, f, c + k, lane_numbers,
                         sums + k * F(VL), others + k * F(VL));
}

FC_INLINE void F(norm_sums_along)(const F(norm_terms) t, const fc_norm_block *b, const T *x, const T *g,
                                  const fc_norm_factors *f, T *sum, T *other) {
    const F(v) lane_numbers = F(norm_numbers)();
    for (int64_t c = 0; c < b->columns; c += F(NORM_BLOCK)) {
        const int64_t width = FC_MIN(F(NORM_BLOCK), b->columns - c);
        T *sums = b->chains, *others = sums + F(VL) * width, *turned = others + F(VL) * width;
        memset(sums, 0, 2 * sizeof(F(v)) * (size_t)width);
        for (int64_t image = 0; image < b->images; image++)
            F(norm_add_image)(t, b, x + image * b->x.image + c * b->x.column,
                              g + image * b->grad_y.image + c * b->grad_y.column, f, c, width, lane_numbers, sums,
                              others);
        F(copy)(width, F(VL), sums, F(VL), 1, turned, 1, width);
        F(norm_join)(turned, width, sum + c);
        F(copy)(width, F(VL), others, F(VL), 1, turned, 1, width);
        F(norm_join)(turned, width, other + c);
    }
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

/* What becomes of a number. */
typedef struct F(norm_pass) {
    int gradient;
    fc_epilogue activation;
} F(norm_pass);

/* The factors of n columns from c on or, `along` pixels, of column c in all lanes. */
FC_INLINE F(v) F(norm_factor)(const int along, const void *factor, int64_t c, int n) {
    return along ? F(set1)(((const T *)factor)[c]) : F(load_some)((const T *)factor + c, n);
}

FC_INLINE F(norm_lane) F(norm_factors)(const F(norm_pass) pass, const int along, const fc_norm_factors *f, int64_t c,
                                       int n) {
    F(norm_lane) lane;
    lane.mean = F(norm_factor)(along, f->mean, c, n);
    lane.scale = F(norm_factor)(along, f->scale, c, n);
    if (!pass.gradient || pass.activation != FC_EPILOGUE_NONE) lane.offset = F(norm_factor)(along, f->offset, c, n);
    if (!pass.gradient) return lane;
    lane.slope = F(norm_factor)(along, f->slope, c, n);
    lane.constant = F(norm_factor)(along, f->constant, c, n);
    return lane;
}

FC_INLINE F(v) F(norm_passed)(const F(norm_pass) pass, const T *x, const T *g_, const F(norm_lane) *f, int n) {
    const F(v) d = F(sub)(F(load_some)(x, n), f->mean);
    if (!pass.gradient) return F(activate)(F(fma)(d, f->scale, f->offset), pass.activation);
    const F(v) g = F(norm_sloped)(pass.activation, F(load_some)(g_, n), d, f);
    return F(fma)(d, f->slope, F(fma)(g, f->scale, f->constant));
}

/* Where a walk along pixels is: in column c, which ends before number `end`, and whose factors fill `lane`. */
typedef struct F(norm_place) {
    int64_t c, end;
    F(norm_lane) lane;
} F(norm_place);

/* The factors of n numbers from i on, some of them of later columns; the walk goes on to the column of the last. */
FC_INLINE F(norm_lane) F(norm_mixed)(const F(norm_pass) pass, const fc_norm_factors *f, int64_t pixels, int64_t i,
                                     int64_t n, F(v) lane_numbers, F(norm_place) *now) {
    F(norm_lane) mixed = now->lane;
    while (now->end < i + n) {
        const F(m) later = F(above)(lane_numbers, F(set1)((T)(now->end - i - 1)));
        const F(norm_lane) next = now->lane = F(norm_factors)(pass, 1, f, ++now->c, F(VL));
        now->end += pixels;
        mixed.mean = F(pick)(later, next.mean, mixed.mean);
        mixed.scale = F(pick)(later, next.scale, mixed.scale);
        if (!pass.gradient || pass.activation != FC_EPILOGUE_NONE)
            mixed.offset = F(pick)(later, next.offset, mixed.offset);
        if (!pass.gradient) continue;
        mixed.slope = F(pick)(later, next.slope, mixed.slope);
        mixed.constant = F(pick)(later, next.constant, mixed.constant);
    }
    return mixed;
}

/* `columns` columns from c on, the pixels of each adjacent, each behind the one before. Factors stay in registers: read
 * anew for each vector, the gradient took x1.1 to x1.3 as long. */
FC_INLINE void F(norm_pass_along)(const F(norm_pass) pass, int streams, int64_t ahead, const T *x, const T *g,
                                  const fc_norm_factors *f, int64_t c, int64_t columns, int64_t pixels,
                                  F(v) lane_numbers, T *to) {
    const int64_t count = columns * pixels, head = streams ? F(before_stream)(to, count) : 0;
    F(norm_place) now = {.c = c, .end = pixels, .lane = F(norm_factors)(pass, 1, f, c, F(VL))};
    int64_t i = head;
    if (head > 0) {
        const F(norm_lane) lane = F(norm_mixed)(pass, f, pixels, 0, head, lane_numbers, &now);
        F(store_n)(to, F(norm_passed)(pass, x, g, &lane, (int)head), (int)head);
    }
    for (; i + F(VL) <= count; i += F(VL)) {
        for (; i + F(VL) <= now.end; i += F(VL)) {
            __builtin_prefetch(x + i + ahead, 0, 2);
            if (pass.gradient) __builtin_prefetch(g + i + ahead, 0, 2);
            F(put)(streams, to + i, F(norm_passed)(pass, x + i, g + i, &now.lane, F(VL)));
        }
        if (i + F(VL) > count) break;
        const F(norm_lane) lane = F(norm_mixed)(pass, f, pixels, i, F(VL), lane_numbers, &now);
        F(put)(streams, to + i, F(norm_passed)(pass, x + i, g + i, &lane, F(VL)));
    }
    const int n = (int)(count - i);
    if (n == 0) return;
    const F(norm_lane) lane = F(norm_mixed)(pass, f, pixels, i, n, lane_numbers, &now);
    F(store_n)(to + i, F(norm_passed)(pass, x + i, g + i, &lane, n), n);
}

/* n columns from c on of one pixel. */
FC_INLINE F(v) F(norm_columns)(const F(norm_pass) pass, const T *x, const T *g, const fc_norm_factors *f, int64_t c,
                               int n) {
    const F(norm_lane) lane = F(norm_factors)(pass, 0, f, c, n);
    return F(norm_passed)(pass, x + c, g + c, &lane, n);
}

/* Columns [from, end) of one pixel. */
FC_INLINE void F(norm_pass_down)(const F(norm_pass) pass, int streams, const T *x, const T *g,
                                 const fc_norm_factors *f, int64_t from, int64_t end, T *to) {
    int64_t c = from;
    if (streams) c += F(before_stream)(to + from, end - from);
    if (c > from) F(store_n)(to + from, F(norm_columns)(pass, x, g, f, from, (int)(c - from)), (int)(c - from));
    for (; c + F(VL) <= end; c += F(VL)) F(put)(streams, to + c, F(norm_columns)(pass, x, g, f, c, F(VL)));
    const int n = (int)(end - c);
    if (n > 0) F(store_n)(to + c, F(norm_columns)(pass, x, g, f, c, n), n);
}

FC_INLINE void F(norm_pass_all)(const F(norm_pass) pass, const fc_norm_block *b, const T *x, const T *g,
                                const fc_norm_factors *factors, T *to) {
    const fc_norm_factors f = *factors; /* a copy that no store can change: else each is read anew after it */
    const int dense = b->x.column == b->pixels && b->to.column == b->pixels &&
                      (!pass.gradient || b->grad_y.column == b->pixels);
    const int64_t together = dense ? b->columns : 1;
    const F(v) lane_numbers = F(norm_numbers)();
    for (int64_t n = 0; n < b->images; n++, x += b->x.image, g += b->grad_y.image, to += b->to.image) {
        if (b->x.pixel == 1)
            for (int64_t c = 0; c < b->columns; c += together)
                F(norm_pass_along)(pass, b->streams, b->ahead, x + c * b->x.column, g + c * b->grad_y.column, &f, c,
                                   together, b->pixels, lane_numbers, to + c * b->to.column);
        else
            for (int64_t c = 0; c < b->columns; c += F(NORM_FACTORS))
                for (int64_t i = 0; i < b->pixels; i++)
                    F(norm_pass_down)(pass, b->streams, x + i * b->x.pixel, g + i * b->grad_y.pixel, &f, c,
                                      FC_MIN(b->columns, c + F(NORM_FACTORS)), to + i * b->to.pixel);
    }
}

FC_INLINE void F(norm_pass_with)(const int gradient, const fc_norm_block *b, const void *x, const void *g,
                                 const fc_norm_factors *f, void *to) {
    switch (b->activation) {
        case FC_EPILOGUE_NONE: F(norm_pass_all)((F(norm_pass)){gradient, FC_EPILOGUE_NONE}, b, x, g, f, to); break;
        case FC_EPILOGUE_RELU: F(norm_pass_all)((F(norm_pass)){gradient, FC_EPILOGUE_RELU}, b, x, g, f, to); break;
        default: F(norm_pass_all)((F(norm_pass)){gradient, FC_EPILOGUE_LEAKY_RELU}, b, x, g, f, to);
    }
}

static void F(norm_apply)(const fc_norm_block *b, const void *x, const fc_norm_factors *f, void *y) {
    F(norm_pass_with)(0, b, x, x, f, y);
}

static void F(norm_gradient)(const fc_norm_block *b, const void *x, const void *g, const fc_norm_factors *f,
                             void *grad_x) {
    F(norm_pass_with)(1, b, x, g, f, grad_x);
}
