/* SPDX-License-Identifier: BSD-3-Clause
 * Winograd's transforms over the vector vocabulary; see winograd.h for the contracts.
 *
 * A two-dimensional transform is two one-dimensional ones: down the columns of the tile, then along its rows, with the
 * columns' results in L1 (36 vectors are more than there are registers). The points come in pairs +-a, +-b: even and
 * odd powers are summed once and serve both. */
#define WG(constant) F(set1)((T)(constant))

/* Keeps the compiler from computing the 36 addresses of a tile before the loop: it spills them, and a transform took
 * 250 cycles instead of 100. */
#define FC_HERE(distance) __asm__("" : "+r"(distance))

/* t = Bt d */
FC_INLINE void F(wino_bt)(const F(v) d[], F(v) t[]) {
    const F(v) even_a = F(fma)(WG(-FC_WINOGRAD_B2), d[2], d[4]), odd_a = F(fma)(WG(-FC_WINOGRAD_B2), d[1], d[3]);
    const F(v) even_b = F(fma)(WG(-FC_WINOGRAD_A2), d[2], d[4]), odd_b = F(fma)(WG(-FC_WINOGRAD_A2), d[1], d[3]);
    const F(v) sum = WG(-(FC_WINOGRAD_A2 + FC_WINOGRAD_B2)), product = WG(FC_WINOGRAD_A2 * FC_WINOGRAD_B2);
    t[0] = F(fma)(product, d[0], F(fma)(sum, d[2], d[4]));
    t[1] = F(fma)(WG(FC_WINOGRAD_A), odd_a, even_a);
    t[2] = F(fma)(WG(-FC_WINOGRAD_A), odd_a, even_a);
    t[3] = F(fma)(WG(FC_WINOGRAD_B), odd_b, even_b);
    t[4] = F(fma)(WG(-FC_WINOGRAD_B), odd_b, even_b);
    t[5] = F(fma)(product, d[1], F(fma)(sum, d[3], d[5]));
}

/* t = G g */
FC_INLINE void F(wino_g)(const F(v) g[], F(v) t[]) {
    const F(v) even_a = F(fma)(WG(FC_WINOGRAD_A2), g[2], g[0]), even_b = F(fma)(WG(FC_WINOGRAD_B2), g[2], g[0]);
    t[0] = g[0];
    t[1] = F(fma)(WG(FC_WINOGRAD_A), g[1], even_a);
    t[2] = F(fma)(WG(-FC_WINOGRAD_A), g[1], even_a);
    t[3] = F(fma)(WG(FC_WINOGRAD_B), g[1], even_b);
    t[4] = F(fma)(WG(-FC_WINOGRAD_B), g[1], even_b);
    t[5] = g[2];
}

/* t = Z d */
FC_INLINE void F(wino_z)(const F(v) d[], F(v) t[]) {
    const F(v) even_a = F(fma)(WG(FC_WINOGRAD_A2), d[2], d[0]), odd_a = F(fma)(WG(FC_WINOGRAD_A2), d[3], d[1]);
    const F(v) even_b = F(fma)(WG(FC_WINOGRAD_B2), d[2], d[0]), odd_b = F(fma)(WG(FC_WINOGRAD_B2), d[3], d[1]);
    t[0] = d[0];
    t[1] = F(fma)(WG(FC_WINOGRAD_A), odd_a, even_a);
    t[2] = F(fma)(WG(-FC_WINOGRAD_A), odd_a, even_a);
    t[3] = F(fma)(WG(FC_WINOGRAD_B), odd_b, even_b);
    t[4] = F(fma)(WG(-FC_WINOGRAD_B), odd_b, even_b);
    t[5] = d[3];
}

/* y = At m (4 rows) or Gs m (3 rows) */
FC_INLINE void F(wino_at)(const int rows, const F(v) m[], F(v) y[]) {
    const F(v) sum_a = F(add)(m[1], m[2]), difference_a = F(sub)(m[1], m[2]);
    const F(v) sum_b = F(add)(m[3], m[4]), difference_b = F(sub)(m[3], m[4]);
    const double a = FC_WINOGRAD_A, b = FC_WINOGRAD_B, fa = FC_WINOGRAD_FA, fb = FC_WINOGRAD_FB;
    y[0] = F(fma)(WG(FC_WINOGRAD_F0), m[0], F(fma)(WG(fa), sum_a, F(mul)(WG(fb), sum_b)));
    y[1] = F(fma)(WG(a * fa), difference_a, F(mul)(WG(b * fb), difference_b));
    if (rows == 3) {
        y[2] = F(fma)(WG(a * a * fa), sum_a, F(fma)(WG(b * b * fb), sum_b, m[5]));
    } else {
        y[2] = F(fma)(WG(a * a * fa), sum_a, F(mul)(WG(b * b * fb), sum_b));
        y[3] = F(fma)(WG(a * a * a * fa), difference_a, F(fma)(WG(b * b * b * fb), difference_b, m[5]));
    }
}

FC_INLINE F(v) F(wino_load)(const T *p, int lanes) { return lanes >= F(VL) ? F(load)(p) : F(load_n)(p, lanes); }

FC_INLINE void F(wino_input_vector)(const T *x, ptrdiff_t row, ptrdiff_t column, int lanes, T *v, ptrdiff_t plane) {
    F(v) down[36], d[6], t[6];
    FC_HERE(row);
    FC_HERE(plane);
    FC_UNROLL
    for (int j = 0; j < 6; j++, x += column) {
        FC_UNROLL
        for (int i = 0; i < 6; i++) d[i] = F(wino_load)(x + i * row, lanes);
        F(wino_bt)(d, t);
        FC_UNROLL
        for (int i = 0; i < 6; i++) down[6 * i + j] = t[i];
    }
    FC_UNROLL
    for (int i = 0; i < 6; i++, v += 6 * plane) {
        F(wino_bt)(down + 6 * i, t);
        FC_UNROLL
        for (int j = 0; j < 6; j++) F(store)(v + j * plane, t[j]);
    }
}

static void F(winograd_input)(int64_t channels, const void *x_, ptrdiff_t row, ptrdiff_t column, void *v_,
                              ptrdiff_t plane) {
    const T *x = x_;
    T *v = v_;
    int64_t c = 0;
    for (; c + F(VL) <= channels; c += F(VL)) F(wino_input_vector)(x + c, row, column, F(VL), v + c, plane);
    if (c < channels) F(wino_input_vector)(x + c, row, column, (int)(channels - c), v + c, plane);
}

FC_INLINE void F(wino_grad_output_vector)(const T *x, ptrdiff_t row, ptrdiff_t column, int lanes, T *v,
                                          ptrdiff_t plane) {
    F(v) down[24], d[4], t[6];
    FC_HERE(row);
    FC_HERE(plane);
    FC_UNROLL
    for (int j = 0; j < 4; j++, x += column) {
        FC_UNROLL
        for (int i = 0; i < 4; i++) d[i] = F(wino_load)(x + i * row, lanes);
        F(wino_z)(d, t);
        FC_UNROLL
        for (int i = 0; i < 6; i++) down[4 * i + j] = t[i];
    }
    FC_UNROLL
    for (int i = 0; i < 6; i++, v += 6 * plane) {
        F(wino_z)(down + 4 * i, t);
        FC_UNROLL
        for (int j = 0; j < 6; j++) F(store)(v + j * plane, t[j]);
    }
}

static void F(winograd_grad_output)(int64_t channels, const void *x_, ptrdiff_t row, ptrdiff_t column, void *v_,
                                    ptrdiff_t plane) {
    const T *x = x_;
    T *v = v_;
    int64_t c = 0;
    for (; c + F(VL) <= channels; c += F(VL)) F(wino_grad_output_vector)(x + c, row, column, F(VL), v + c, plane);
    if (c < channels) F(wino_grad_output_vector)(x + c, row, column, (int)(channels - c), v + c, plane);
}

FC_INLINE void F(wino_filter_vector)(const T *w, const ptrdiff_t tap[9], int lanes, T *u, ptrdiff_t plane) {
    F(v) down[18], g[3], t[6];
    FC_HERE(plane);
    FC_UNROLL
    for (int s = 0; s < 3; s++) {
        FC_UNROLL
        for (int r = 0; r < 3; r++) g[r] = F(wino_load)(w + tap[3 * r + s], lanes);
        F(wino_g)(g, t);
        FC_UNROLL
        for (int i = 0; i < 6; i++) down[3 * i + s] = t[i];
    }
    FC_UNROLL
    for (int i = 0; i < 6; i++, u += 6 * plane) {
        F(wino_g)(down + 3 * i, t);
        FC_UNROLL
        for (int j = 0; j < 6; j++) F(store)(u + j * plane, t[j]);
    }
}

static void F(winograd_filter)(int64_t channels, int columns, const void *w_, const ptrdiff_t tap[9], ptrdiff_t step,
                               void *u_, int width, ptrdiff_t plane) {
    const T *w = w_;
    T *u = u_;
    for (int64_t c = 0; c < channels; c++, w += step, u += width)
        for (int k = 0; k < width; k += F(VL)) {
            if (columns - k >= F(VL)) F(wino_filter_vector)(w + k, tap, F(VL), u + k, plane);
            else F(wino_filter_vector)(w + k, tap, FC_MAX(0, columns - k), u + k, plane);
        }
}

/* One vector of filters of a tile; `rows`, `columns` and `lanes` are constants where the tile is whole. The products of
 * results and zero are NaN where a result is not finite. */
FC_INLINE F(v) F(wino_output_vector)(const T *m, ptrdiff_t plane, F(v) bias, fc_epilogue activation, int rows,
                                     int columns, int lanes, T *y, ptrdiff_t row, ptrdiff_t column) {
    F(v) down[24], t[6], check = F(zero)();
    ptrdiff_t line = 6 * plane;
    FC_HERE(line);
    FC_HERE(row);
    FC_HERE(column);
    FC_UNROLL
    for (int j = 0; j < 6; j++, m += plane) {
        F(v) d[6];
        FC_UNROLL
        for (int i = 0; i < 6; i++) d[i] = F(load)(m + i * line);
        F(wino_at)(4, d, t);
        FC_UNROLL
        for (int i = 0; i < 4; i++) down[6 * i + j] = t[i];
    }
    FC_UNROLL
    for (int i = 0; i < 4; i++, y += row) {
        F(wino_at)(4, down + 6 * i, t);
        FC_UNROLL
        for (int j = 0; j < 4; j++) {
            check = F(fma)(t[j], F(zero)(), check);
            const F(v) result = F(activate)(F(add)(t[j], bias), activation);
            if (i >= rows || j >= columns) continue;
            if (lanes >= F(VL)) F(store)(y + j * column, result);
            else F(store_n)(y + j * column, result, lanes);
        }
    }
    return check;
}

static int F(winograd_output)(int filters, const void *m_, ptrdiff_t plane, const void *bias_, fc_epilogue activation,
                              int rows, int columns, void *y_, ptrdiff_t row, ptrdiff_t column) {
    const T *m = m_, *bias = bias_;
    T *y = y_;
    F(v) check = F(zero)();
    for (int k = 0; k < filters; k += F(VL)) {
        const F(v) b = F(load_bias)(bias == NULL ? NULL : bias + k, filters - k);
        const int whole = rows == 4 && columns == 4 && filters - k >= F(VL);
        check = F(add)(check,
                       whole ? F(wino_output_vector)(m + k, plane, b, activation, 4, 4, F(VL), y + k, row, column)
                             : F(wino_output_vector)(m + k, plane, b, activation, rows, columns, filters - k, y + k,
                                                     row, column));
    }
    return !F(any_nan)(check);
}

FC_INLINE F(v) F(wino_grad_filter_vector)(const T *s, ptrdiff_t plane, int lanes, T *g, const ptrdiff_t tap[9]) {
    F(v) down[18], t[3], check = F(zero)();
    ptrdiff_t line = 6 * plane;
    FC_HERE(line);
    FC_UNROLL
    for (int j = 0; j < 6; j++, s += plane) {
        F(v) d[6];
        FC_UNROLL
        for (int i = 0; i < 6; i++) d[i] = F(wino_load)(s + i * line, lanes);
        F(wino_at)(3, d, t);
        FC_UNROLL
        for (int i = 0; i < 3; i++) down[6 * i + j] = t[i];
    }
    FC_UNROLL
    for (int r = 0; r < 3; r++) {
        F(wino_at)(3, down + 6 * r, t);
        FC_UNROLL
        for (int i = 0; i < 3; i++) {
            check = F(fma)(t[i], F(zero)(), check);
            if (lanes >= F(VL)) F(store)(g + tap[3 * r + i], t[i]);
            else F(store_n)(g + tap[3 * r + i], t[i], lanes);
        }
    }
    return check;
}

static int F(winograd_grad_filter)(int64_t channels, int filters, const void *s_, int width, ptrdiff_t plane, void *g_,
                                   const ptrdiff_t tap[9], ptrdiff_t step) {
    const T *s = s_;
    T *g = g_;
    F(v) check = F(zero)();
    for (int64_t c = 0; c < channels; c++, s += width, g += step)
        for (int k = 0; k < filters; k += F(VL)) {
            const int lanes = filters - k >= F(VL) ? F(VL) : filters - k;
            check = F(add)(check, lanes == F(VL) ? F(wino_grad_filter_vector)(s + k, plane, F(VL), g + k, tap)
                                                 : F(wino_grad_filter_vector)(s + k, plane, lanes, g + k, tap));
        }
    return !F(any_nan)(check);
}
#undef FC_HERE
#undef WG
