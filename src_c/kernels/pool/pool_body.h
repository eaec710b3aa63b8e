/* SPDX-License-Identifier: BSD-3-Clause
 * The pooling kernels over the vector vocabulary, vectors along channels; see pool.h for the contracts. */
FC_INLINE F(v) F(load_some)(const T *p, int n) { return n == F(VL) ? F(load)(p) : F(load_n)(p, n); }

FC_INLINE void F(store_some)(T *p, F(v) a, int n) {
    if (n == F(VL)) F(store)(p, a);
    else F(store_n)(p, a, n);
}

FC_INLINE void F(max_window)(const fc_pool_run *run, const T *x, T *y, int n) {
    F(v) best = F(load_some)(x, n);
    for (int64_t u = 0; u < run->rows; u++)
        for (int64_t v = 0; v < run->columns; v++) {
            const F(v) value = F(load_some)(x + u * run->row_step + v * run->column_step, n);
            best = F(pick)(F(beats)(value, best), value, best);
        }
    F(store_some)(y, best, n);
}

/* The winner's place is kept as a lane-wide integer relative to the window's first pixel. */
FC_INLINE void F(max_window_indexed)(const fc_pool_run *run, const T *x, T *y, int64_t *indices, int64_t index,
                                     int n) {
    F(v) best = F(load_some)(x, n);
    F(i) place = F(iset1)(0);
    for (int64_t u = 0; u < run->rows; u++)
        for (int64_t v = 0; v < run->columns; v++) {
            const F(v) value = F(load_some)(x + u * run->row_step + v * run->column_step, n);
            const F(m) wins = F(beats)(value, best);
            best = F(pick)(wins, value, best);
            place = F(ipick)(wins, F(iset1)((F(lane))(u * run->index_row + v * run->index_column)), place);
        }
    F(store_some)(y, best, n);
    F(lane) lanes[F(VL)];
    memcpy(lanes, &place, sizeof lanes);
    for (int l = 0; l < n; l++) indices[l] = index + (int64_t)lanes[l];
}

static void F(max_pool)(const fc_pool_run *run, const void *x_, void *y_) {
    for (int64_t i = 0; i < run->pixels; i++) {
        const T *x = (const T *)x_ + i * run->x_step;
        T *y = (T *)y_ + i * run->y_step;
        for (int64_t j = 0; j < run->channels; j += F(VL)) {
            const int n = (int)FC_MIN((int64_t)F(VL), run->channels - j);
            if (run->indices == NULL) F(max_window)(run, x + j, y + j, n);
            else
                F(max_window_indexed)(run, x + j, y + j, run->indices + i * run->indices_step + j,
                                      run->index + i * run->index_step, n);
        }
    }
}

/* Move full chains to the level above. `added` is a multiple of FC_SUM_CHAIN. */
static void F(carry)(F(v) sums[FC_SUM_LEVELS], int64_t added) {
    for (int level = 0; level + 1 < FC_SUM_LEVELS && added % FC_SUM_CHAIN == 0; level++, added /= FC_SUM_CHAIN) {
        sums[level + 1] = F(add)(sums[level + 1], sums[level]);
        sums[level] = F(zero)();
    }
}

FC_INLINE F(v) F(sum_window)(const fc_pool_run *run, const T *x, int n) {
    F(v) sums[FC_SUM_LEVELS];
    FC_UNROLL
    for (int level = 0; level < FC_SUM_LEVELS; level++) sums[level] = F(zero)();
    int64_t added = 0;
    for (int64_t u = 0; u < run->rows; u++)
        for (int64_t v = 0; v < run->columns; v++) {
            sums[0] = F(add)(sums[0], F(load_some)(x + u * run->row_step + v * run->column_step, n));
            if (++added % FC_SUM_CHAIN == 0) F(carry)(sums, added);
        }
    F(v) sum = sums[0];
    FC_UNROLL
    for (int level = 1; level < FC_SUM_LEVELS; level++) sum = F(add)(sum, sums[level]);
    return sum;
}

static void F(avg_pool)(const fc_pool_run *run, const void *x_, void *y_) {
    const F(v) divisor = F(set1)((T)run->divisor);
    for (int64_t i = 0; i < run->pixels; i++) {
        const T *x = (const T *)x_ + i * run->x_step;
        T *y = (T *)y_ + i * run->y_step;
        for (int64_t j = 0; j < run->channels; j += F(VL)) {
            const int n = (int)FC_MIN((int64_t)F(VL), run->channels - j);
            F(store_some)(y + j, F(div)(F(sum_window)(run, x + j, n), divisor), n);
        }
    }
}

static void F(avg_pool_backward)(const fc_pool_run *run, void *x_, const void *y_) {
    const F(v) divisor = F(set1)((T)run->divisor);
    for (int64_t i = 0; i < run->pixels; i++) {
        const T *y = (const T *)y_ + i * run->y_step;
        for (int64_t j = 0; j < run->channels; j += F(VL)) {
            const int n = (int)FC_MIN((int64_t)F(VL), run->channels - j);
            const F(v) share = F(div)(F(load_some)(y + j, n), divisor);
            T *x = (T *)x_ + i * run->x_step + j;
            for (int64_t u = 0; u < run->rows; u++)
                for (int64_t v = 0; v < run->columns; v++) {
                    T *p = x + u * run->row_step + v * run->column_step;
                    F(store_some)(p, F(add)(F(load_some)(p, n), share), n);
                }
        }
    }
}
