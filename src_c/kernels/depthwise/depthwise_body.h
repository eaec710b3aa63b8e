/* SPDX-License-Identifier: BSD-3-Clause
 * The depthwise kernels over the vector vocabulary; see depthwise.h for the contract.
 *
 * `pixels`, `columns` and `stride` are constants after inlining for the kernels that networks have; others run term by
 * term. A pixel of x is loaded once for all outputs of the run that read it: arrays from NumPy begin 16 bytes behind a
 * cache line, so that every load of 64 bytes crosses one and counts twice. */

/* The shortest way to the runs of a line: as many as needed, spread evenly, so that no last run is short. */
#define FC_RUN_FROM(run, runs, pixels) ((run) * (pixels) / (runs))

/* Where the next vector begins. */
FC_INLINE int64_t F(next)(const fc_depthwise *d, int64_t channel) { return channel == 0 ? d->first : channel + F(VL); }

FC_INLINE F(v) F(load_lanes)(const void *p, ptrdiff_t l, int narrow) {
    return narrow > 0 ? F(load_n)((const T *)p + l, narrow) : F(load)((const T *)p + l);
}

/* ---------------------------------------------------------------- sums over a window */

/* The terms of one row of the kernel: even columns add to a, odd ones to b. */
FC_INLINE void F(window_row)(const int pixels, const int columns, const int stride, const void *const *x, ptrdiff_t l,
                             const T *w, ptrdiff_t w_column, F(v) a[], F(v) b[]) {
    F(v) weight[5];
    FC_OPAQUE(x);
    FC_UNROLL
    for (int s = 0; s < columns; s++) weight[s] = F(load)(w + s * w_column);
    FC_UNROLL
    for (int j = 0; j < (pixels - 1) * stride + columns; j++) {
        const F(v) value = F(load)((const T *)x[j] + l);
        FC_UNROLL
        for (int s = 0; s < columns; s++) {
            const int i = (j - s) / stride;
            if (j < s || (j - s) % stride != 0 || i >= pixels) continue;
            if (s % 2 == 0) a[i] = F(fma)(value, weight[s], a[i]);
            else b[i] = F(fma)(value, weight[s], b[i]);
        }
    }
}

/* The same for any kernel: one weight at a time. The chains change places with every term. */
FC_INLINE void F(window_row_any)(const fc_depthwise *d, const int pixels, const void *const *x, ptrdiff_t l, int narrow,
                                 const T *w, int64_t first_term, F(v) even[], F(v) odd[]) {
    for (int64_t s = 0; s < d->columns; s++, x += d->dilation) {
        const F(v) weight = F(load)(w + s * d->w_column);
        if ((first_term + s) % 2 == 0) {
            FC_UNROLL
            for (int i = 0; i < pixels; i++)
                even[i] = F(fma)(F(load_lanes)(x[i * d->stride], l, narrow), weight, even[i]);
        } else {
            FC_UNROLL
            for (int i = 0; i < pixels; i++)
                odd[i] = F(fma)(F(load_lanes)(x[i * d->stride], l, narrow), weight, odd[i]);
        }
    }
}

FC_INLINE void F(finish_pixels)(const fc_depthwise *d, const int pixels, ptrdiff_t l, int narrow, const T *bias,
                                const F(v) even[], const F(v) odd[], T *y) {
    const ptrdiff_t step = d->y_pixel;
    const fc_epilogue activation = d->activation;
    F(v) sum[FC_PIXEL_RUN];
    FC_UNROLL
    for (int i = 0; i < pixels; i++) sum[i] = F(add)(even[i], odd[i]);
    if (bias != NULL || activation != FC_EPILOGUE_NONE) {
        const F(v) b = bias == NULL ? F(set1)((T)-0.0) : F(load_lanes)(bias, l, narrow); /* x + -0 is x */
        FC_UNROLL
        for (int i = 0; i < pixels; i++) sum[i] = F(activate)(F(add)(sum[i], b), activation);
    }
    FC_UNROLL
    for (int i = 0; i < pixels; i++) {
        if (narrow > 0) F(store_n)(y + i * step + l, sum[i], narrow);
        else F(put)(d->streams, y + i * step + l, sum[i]);
    }
}

/* A run of pixels, all vectors of channels: neighbouring channels are read one after the other. columns 0: any kernel.
 * `rows` is a constant too: with a loop that the compiler cannot unroll the 3x3 kernel took twice as long. */
FC_INLINE void F(window_run)(const fc_depthwise *d, const int pixels, const int64_t rows, const int columns,
                             const int stride, const int narrow, const void *const *const *line, int64_t at,
                             const T *weight, const T *bias, T *y) {
    for (int64_t channel = 0; channel < d->channels; channel = F(next)(d, channel), weight += d->w_vector) {
        const ptrdiff_t l = narrow > 0 ? 0 : FC_MIN(channel, d->channels - F(VL));
        F(v) even[FC_PIXEL_RUN], odd[FC_PIXEL_RUN];
        FC_UNROLL
        for (int i = 0; i < pixels; i++) even[i] = odd[i] = F(zero)();
        const T *w = weight;
        if (columns > 0) {
            if (d->y_ahead != 0) {
                FC_UNROLL
                for (int i = 0; i < pixels; i++) __builtin_prefetch(y + i * d->y_pixel + d->y_ahead + l, 1);
            }
            FC_UNROLL
            for (int64_t r = 0; r < rows; r += 2, w += 2 * d->w_row) { /* an odd row may begin with an odd term */
                F(window_row)(pixels, columns, stride, line[r] + at, l, w, d->w_column, even, odd);
                if (r + 1 == rows) break;
                if (columns % 2 == 0)
                    F(window_row)(pixels, columns, stride, line[r + 1] + at, l, w + d->w_row, d->w_column, even, odd);
                else
                    F(window_row)(pixels, columns, stride, line[r + 1] + at, l, w + d->w_row, d->w_column, odd, even);
            }
        } else {
            for (int64_t r = 0; r < rows; r++, w += d->w_row)
                F(window_row_any)(d, pixels, line[r] + at, l, narrow, w, r * d->columns, even, odd);
        }
        F(finish_pixels)(d, pixels, l, narrow, bias, even, odd, y);
    }
}

/* The runs of a line. */
FC_INLINE void F(window_line)(const fc_depthwise *d, const int64_t rows, const int columns, const int stride,
                              const void *const *const *line, const T *weight, const T *bias, T *y) {
    const int64_t runs = (d->pixels + FC_PIXEL_RUN - 1) / FC_PIXEL_RUN;
    for (int64_t run = 0; run < runs; run++) {
        const int64_t i = FC_RUN_FROM(run, runs, d->pixels);
        switch (FC_RUN_FROM(run + 1, runs, d->pixels) - i) {
#define FC_RUN(pixels)                                                                                             \
    case pixels:                                                                                                   \
        F(window_run)(d, pixels, rows, columns, stride, 0, line, i * stride, weight, bias, y + i * d->y_pixel);    \
        break;
            FC_RUN(1) FC_RUN(2) FC_RUN(3) FC_RUN(4) FC_RUN(5) FC_RUN(6) FC_RUN(7)
#undef FC_RUN
            default: break;
        }
    }
}

static void F(window_line_any)(const fc_depthwise *d, const void *const *const *line, const T *weight, const T *bias,
                               T *y) {
    int64_t i = 0;
    if (d->channels < F(VL)) {
        const int narrow = (int)d->channels;
        for (; i < d->pixels; i++)
            F(window_run)(d, 1, d->rows, 0, 0, narrow, line, i * d->stride, weight, bias, y + i * d->y_pixel);
        return;
    }
    for (; i + 4 <= d->pixels; i += 4)
        F(window_run)(d, 4, d->rows, 0, 0, 0, line, i * d->stride, weight, bias, y + i * d->y_pixel);
    for (; i < d->pixels; i++)
        F(window_run)(d, 1, d->rows, 0, 0, 0, line, i * d->stride, weight, bias, y + i * d->y_pixel);
}

static void F(depthwise)(const fc_depthwise *d, const void *const *const *line, const void *weight, const void *bias,
                         void *y) {
    const int known = d->channels >= F(VL) && d->dilation == 1 && d->rows == d->columns;
    if (known && d->stride == 1 && d->columns == 2) F(window_line)(d, 2, 2, 1, line, weight, bias, y);
    else if (known && d->stride == 1 && d->columns == 3) F(window_line)(d, 3, 3, 1, line, weight, bias, y);
    else if (known && d->stride == 2 && d->columns == 3) F(window_line)(d, 3, 3, 2, line, weight, bias, y);
    else if (known && d->stride == 1 && d->columns == 5) F(window_line)(d, 5, 5, 1, line, weight, bias, y);
    else if (known && d->stride == 2 && d->columns == 5) F(window_line)(d, 5, 5, 2, line, weight, bias, y);
    else F(window_line_any)(d, line, weight, bias, y);
}

/* ---------------------------------------------------------------- sums over pixels */

/* One vector of channels of a run of pixels; see window_run. */
FC_INLINE void F(pixels_run)(const fc_depthwise *d, const int pixels, const int columns, const int stride,
                             const void *const *const *line, int64_t at, ptrdiff_t l, const T *g, T *weight) {
    F(v) grad[FC_PIXEL_RUN];
    FC_UNROLL
    for (int i = 0; i < pixels; i++) grad[i] = F(load)(g + i * d->y_pixel + l);
    for (int64_t r = 0; r < d->rows; r++, weight += d->w_row) {
        const void *const *x = line[r] + at;
        F(v) sum[5];
        FC_OPAQUE(x);
        FC_UNROLL
        for (int s = 0; s < columns; s++) sum[s] = F(zero)();
        FC_UNROLL
        for (int j = 0; j < (pixels - 1) * stride + columns; j++) {
            const F(v) value = F(load)((const T *)x[j] + l);
            FC_UNROLL
            for (int s = 0; s < columns; s++) {
                const int i = (j - s) / stride;
                if (j < s || (j - s) % stride != 0 || i >= pixels) continue;
                sum[s] = F(fma)(value, grad[i], sum[s]);
            }
        }
        FC_UNROLL
        for (int s = 0; s < columns; s++) {
            T *w = weight + s * d->w_column;
            F(store)(w, F(add)(F(load)(w), sum[s]));
        }
    }
}

/* The same for any kernel, any number of channels and of pixels up to FC_PIXEL_RUN. */
FC_INLINE void F(pixels_run_any)(const fc_depthwise *d, const int pixels, int narrow, const void *const *const *line,
                                 int64_t at, ptrdiff_t l, const T *g, T *weight) {
    F(v) grad[FC_PIXEL_RUN];
    for (int i = 0; i < pixels; i++) grad[i] = F(load_lanes)(g + i * d->y_pixel, l, narrow);
    for (int64_t r = 0; r < d->rows; r++)
        for (int64_t s = 0; s < d->columns; s++) {
            const void *const *x = line[r] + at + s * d->dilation;
            F(v) sum = F(zero)();
            for (int i = 0; i < pixels; i++)
                sum = F(fma)(F(load_lanes)(x[i * d->stride], l, narrow), grad[i], sum);
            T *w = weight + r * d->w_row + s * d->w_column;
            F(store)(w, F(add)(F(load)(w), sum));
        }
}

FC_INLINE void F(pixels_line)(const fc_depthwise *d, const int columns, const int stride,
                              const void *const *const *line, const T *g, T *weight) {
    const int64_t runs = (d->pixels + FC_PIXEL_RUN - 1) / FC_PIXEL_RUN;
    for (int64_t run = 0; run < runs; run++) {
        const int64_t i = FC_RUN_FROM(run, runs, d->pixels), at = i * d->stride;
        const int pixels = (int)(FC_RUN_FROM(run + 1, runs, d->pixels) - i);
        const T *grad = g + i * d->y_pixel;
        T *w = weight;
        for (int64_t channel = 0; channel < d->channels; channel = F(next)(d, channel), w += d->w_vector) {
            const ptrdiff_t l = FC_MAX(0, FC_MIN(channel, d->channels - F(VL)));
            if (columns > 0 && pixels == 7) F(pixels_run)(d, 7, columns, stride, line, at, l, grad, w);
            else if (columns > 0 && pixels == 6) F(pixels_run)(d, 6, columns, stride, line, at, l, grad, w);
            else if (columns > 0 && pixels == 5) F(pixels_run)(d, 5, columns, stride, line, at, l, grad, w);
            else if (columns > 0 && pixels == 4) F(pixels_run)(d, 4, columns, stride, line, at, l, grad, w);
            else F(pixels_run_any)(d, pixels, d->channels < F(VL) ? (int)d->channels : 0, line, at, l, grad, w);
        }
    }
}

static void F(depthwise_weight)(const fc_depthwise *d, const void *const *const *line, const void *grad_y,
                                void *weight) {
    const int known = d->channels >= F(VL) && d->dilation == 1;
    if (known && d->stride == 1 && d->columns == 3) F(pixels_line)(d, 3, 1, line, grad_y, weight);
    else if (known && d->stride == 2 && d->columns == 3) F(pixels_line)(d, 3, 2, line, grad_y, weight);
    else if (known && d->stride == 1 && d->columns == 5) F(pixels_line)(d, 5, 1, line, grad_y, weight);
    else if (known && d->stride == 2 && d->columns == 5) F(pixels_line)(d, 5, 2, line, grad_y, weight);
    else F(pixels_line)(d, 0, 0, line, grad_y, weight);
}
#undef FC_RUN_FROM
