/* SPDX-License-Identifier: BSD-3-Clause
 * The pooling kernels over the vector vocabulary, vectors along channels; see pool.h for the contracts. */
/* Channels are taken four vectors at a time, then one, then what is left: several vectors hide latencies, and a pixel's
 * lines are read side by side.
 *
 * BY_TAPS: vectors of channels from which on windows that share no pixels go tap by tap over all channels, with what
 * they have so far in y. So memory is read in one run for each line of a window; from pieces of its pixels in turn,
 * 1 KiB and more apart, a processor does not guess what to fetch ahead. 2x2 windows of 56x56x256 images take half as
 * long, those of 14x14x512 images, which caches hold, x1.1 (Zen 4). */
enum { F(WIDE) = 4, F(BY_TAPS) = 9 };

FC_INLINE int F(goes_by_taps)(const fc_pool_run *run) {
    return run->channels >= F(BY_TAPS) * F(VL) && run->x_step >= run->columns * run->column_step;
}

/* What stays the best of a window. */
FC_INLINE F(v) F(greater)(F(v) best, F(v) value) { return F(pick)(F(beats)(value, best), value, best); }

FC_INLINE void F(max_window)(const fc_pool_run *run, const int vectors, const T *x, T *y, int n) {
    F(v) best[F(WIDE)];
    FC_UNROLL
    for (int l = 0; l < vectors; l++) best[l] = F(load_some)(x + l * F(VL), n);
    for (int64_t t = 0; t < run->slices; t++)
        for (int64_t u = 0; u < run->rows; u++)
            for (int64_t v = 0; v < run->columns; v++) {
                const T *p = x + t * run->slice_step + u * run->row_step + v * run->column_step;
                FC_UNROLL
                for (int l = 0; l < vectors; l++) {
                    const F(v) value = F(load_some)(p + l * F(VL), n);
                    best[l] = F(greater)(best[l], value);
                }
            }
    FC_UNROLL
    for (int l = 0; l < vectors; l++) F(store_some)(y + l * F(VL), best[l], n);
}

/* One vector of windows: n channels of each of some pixels. */
FC_INLINE F(v) F(load_pixels)(const int pixels, const T *x, ptrdiff_t step, int n) {
    F(v) a = F(load_some)(x, n);
    FC_UNROLL
    for (int i = 1; i < pixels; i++) a = F(load_at)(a, x + i * step, i * n, n);
    return a;
}

/* The winner's place is kept as a lane-wide integer relative to the first pixel of its window, which `offset` gives for
 * each lane relative to `index`. */
FC_INLINE void F(max_window_indexed)(const fc_pool_run *run, const int pixels, const T *x, T *y, int64_t *indices,
                                     int64_t index, const int64_t *offset, int n) {
    F(v) best = F(load_pixels)(pixels, x, run->x_step, n);
    F(i) place = F(iset1)(0);
    for (int64_t t = 0; t < run->slices; t++)
        for (int64_t u = 0; u < run->rows; u++)
            for (int64_t v = 0; v < run->columns; v++) {
                const T *p = x + t * run->slice_step + u * run->row_step + v * run->column_step;
                const F(v) value = F(load_pixels)(pixels, p, run->x_step, n);
                const F(m) wins = F(beats)(value, best);
                const F(lane) here = (F(lane))(t * run->index_slice + u * run->index_row + v * run->index_column);
                best = F(pick)(wins, value, best);
                place = F(ipick)(wins, F(iset1)(here), place);
            }
    F(store_some)(y, best, pixels * n);
    F(istore_places)(indices, place, offset, index, pixels * n);
}

/* One pixel of the window, all its channels. */
FC_INLINE void F(max_tap)(int64_t channels, const int first, const T *x, T *y) {
    int64_t j = 0;
    for (; j + F(VL) <= channels; j += F(VL))
        F(store)(y + j, first ? F(load)(x + j) : F(greater)(F(load)(y + j), F(load)(x + j)));
    const int n = (int)(channels - j);
    if (n > 0) F(store_n)(y + j, first ? F(load_n)(x + j, n) : F(greater)(F(load_n)(y + j, n), F(load_n)(x + j, n)), n);
}

static void F(max_by_taps)(const fc_pool_run *run, const T *x, T *y) {
    F(max_tap)(run->channels, 1, x, y);
    for (int64_t t = 0; t < run->slices; t++)
        for (int64_t u = 0; u < run->rows; u++)
            for (int64_t v = t + u == 0; v < run->columns; v++)
                F(max_tap)(run->channels, 0, x + t * run->slice_step + u * run->row_step + v * run->column_step, y);
}

FC_INLINE void F(max_pixel)(const fc_pool_run *run, const T *x, T *y) {
    int64_t j = 0;
    for (; j + F(WIDE) * F(VL) <= run->channels; j += F(WIDE) * F(VL)) F(max_window)(run, F(WIDE), x + j, y + j, F(VL));
    for (; j + F(VL) <= run->channels; j += F(VL)) F(max_window)(run, 1, x + j, y + j, F(VL));
    if (j < run->channels) F(max_window)(run, 1, x + j, y + j, (int)(run->channels - j));
}

FC_INLINE void F(max_pixel_indexed)(const fc_pool_run *run, const T *x, T *y, int64_t *indices, int64_t index) {
    static const int64_t offset[F(VL)]; /* zeros */
    int64_t j = 0;
    for (; j + F(VL) <= run->channels; j += F(VL))
        F(max_window_indexed)(run, 1, x + j, y + j, indices + j, index, offset, F(VL));
    if (j < run->channels)
        F(max_window_indexed)(run, 1, x + j, y + j, indices + j, index, offset, (int)(run->channels - j));
}

/* Pixels of few channels share a vector, if their results are adjacent: of pixels i, i + 1, ... as many as are left.
 * 2x2 windows of 6 channels, with indices, on AVX-512: x1.6 over a vector each. Returns the pixels done. */
FC_INLINE int64_t F(max_together)(const fc_pool_run *run, const int pixels, int64_t i, const T *x, T *y) {
    const int n = (int)run->channels;
    if (pixels > F(VL) || pixels * run->channels > F(VL)) return i;
    int64_t offset[F(VL)] = {0};
    for (int l = 0; l < pixels * n; l++) offset[l] = l / n * run->index_step;
    for (; i + pixels <= run->pixels; i += pixels) {
        if (run->indices != NULL) {
            F(max_window_indexed)(run, pixels, x + i * run->x_step, y + i * n, run->indices + i * n,
                                  run->index + i * run->index_step, offset, n);
            continue;
        }
        F(v) best = F(load_pixels)(pixels, x + i * run->x_step, run->x_step, n);
        for (int64_t t = 0; t < run->slices; t++)
            for (int64_t u = 0; u < run->rows; u++)
                for (int64_t v = 0; v < run->columns; v++) {
                    const T *p = x + i * run->x_step + t * run->slice_step + u * run->row_step + v * run->column_step;
                    best = F(greater)(best, F(load_pixels)(pixels, p, run->x_step, n));
                }
        F(store_some)(y + i * n, best, pixels * n);
    }
    return i;
}

/* Whether results of neighbouring pixels are adjacent, and several fit into a vector. */
FC_INLINE int F(shares_vectors)(const fc_pool_run *run) {
    return 2 * run->channels <= F(VL) && run->y_step == run->channels &&
           (run->indices == NULL || run->indices_step == run->channels);
}

static void F(max_pool)(const fc_pool_run *run, const void *x_, void *y_) {
    int64_t i = 0;
    if (F(shares_vectors)(run)) {
        i = F(max_together)(run, 16, i, x_, y_);
        i = F(max_together)(run, 8, i, x_, y_);
        i = F(max_together)(run, 4, i, x_, y_);
        i = F(max_together)(run, 2, i, x_, y_);
    }
    const int by_taps = F(goes_by_taps)(run);
    for (; i < run->pixels; i++) {
        const T *x = (const T *)x_ + i * run->x_step;
        T *y = (T *)y_ + i * run->y_step;
        if (run->indices == NULL && by_taps) F(max_by_taps)(run, x, y);
        else if (run->indices == NULL) F(max_pixel)(run, x, y);
        else
            F(max_pixel_indexed)(run, x, y, run->indices + i * run->indices_step, run->index + i * run->index_step);
    }
}

/* ---------------------------------------------------------------- average */

/* Sums of more than one chain take eight vectors at a time, as the pixels of large windows lie far apart in memory: 7x7
 * windows over 2048 channels take half the time they take with one, x0.85 of that with four, as long with sixteen. */
enum { F(LARGE_WIDE) = 8 };

/* Move full chains to the level above. `added` is a multiple of FC_SUM_CHAIN. */
FC_INLINE void F(carry)(const int vectors, F(v) sums[][F(LARGE_WIDE)], int64_t added) {
    for (int level = 0; level + 1 < FC_SUM_LEVELS && added % FC_SUM_CHAIN == 0; level++, added /= FC_SUM_CHAIN)
        for (int l = 0; l < vectors; l++) {
            sums[level + 1][l] = F(add)(sums[level + 1][l], sums[level][l]);
            sums[level][l] = F(zero)();
        }
}

/* The numbers of the next chain, of which `count` are left. */
FC_INLINE void F(sum_chain)(const fc_pool_run *run, const int vectors, const T *x, int64_t first, int64_t count, int n,
                            F(v) *sums) {
    F(v) sum[F(LARGE_WIDE)];
    FC_UNROLL
    for (int l = 0; l < vectors; l++) sum[l] = sums[l];
    int64_t u = first / run->columns, v = first % run->columns;
    for (int64_t i = 0; i < count; i++) {
        const T *p = x + u * run->row_step + v * run->column_step;
        FC_UNROLL
        for (int l = 0; l < vectors; l++) sum[l] = F(add)(sum[l], F(load_some)(p + l * F(VL), n));
        if (++v == run->columns) v = 0, u++;
    }
    FC_UNROLL
    for (int l = 0; l < vectors; l++) sums[l] = sum[l];
}

/* The sums of a window of several chains. */
FC_INLINE void F(sum_large_window)(const fc_pool_run *run, const int vectors, const T *x, int n, F(v) *sum) {
    const int64_t all = run->rows * run->columns;
    F(v) sums[FC_SUM_LEVELS][F(LARGE_WIDE)];
    for (int level = 0; level < FC_SUM_LEVELS; level++)
        for (int l = 0; l < vectors; l++) sums[level][l] = F(zero)();
    for (int64_t i = 0; i < all; i += FC_SUM_CHAIN) {
        const int64_t count = FC_MIN((int64_t)FC_SUM_CHAIN, all - i);
        F(sum_chain)(run, vectors, x, i, count, n, sums[0]);
        if (count == FC_SUM_CHAIN) F(carry)(vectors, sums, i + count);
    }
    for (int l = 0; l < vectors; l++) {
        sum[l] = sums[0][l];
        for (int level = 1; level < FC_SUM_LEVELS; level++) sum[l] = F(add)(sum[l], sums[level][l]);
    }
}

/* How a sum becomes an average. Halving is exact, so a power of two divides by its reciprocal: the same bits, and a
 * vector division would take longer than the window. */
typedef struct F(divisor) {
    F(v) divisor, reciprocal;
    int halves;
} F(divisor);

FC_INLINE F(v) F(divide)(const F(divisor) *d, F(v) sum) {
    return d->halves ? F(mul)(sum, d->reciprocal) : F(div)(sum, d->divisor);
}

/* The sums of a window of one chain at most. */
FC_INLINE void F(sum_window)(const fc_pool_run *run, const int vectors, const T *x, int n, F(v) *sum) {
    FC_UNROLL
    for (int l = 0; l < vectors; l++) sum[l] = F(zero)();
    for (int64_t u = 0; u < run->rows; u++)
        for (int64_t v = 0; v < run->columns; v++) {
            const T *p = x + u * run->row_step + v * run->column_step;
            FC_UNROLL
            for (int l = 0; l < vectors; l++) sum[l] = F(add)(sum[l], F(load_some)(p + l * F(VL), n));
        }
}

FC_INLINE void F(avg_window)(const fc_pool_run *run, const int large, const F(divisor) *d, const int vectors,
                             const T *x, T *y, int n) {
    F(v) sum[F(LARGE_WIDE)];
    if (large) F(sum_large_window)(run, vectors, x, n, sum);
    else F(sum_window)(run, vectors, x, n, sum);
    FC_UNROLL
    for (int l = 0; l < vectors; l++) F(store_some)(y + l * F(VL), F(divide)(d, sum[l]), n);
}

/* All channels of a window, of one chain or of more. */
FC_INLINE void F(avg_pixel)(const fc_pool_run *run, const int large, const F(divisor) *d, const T *x, T *y) {
    const int wide = large ? F(LARGE_WIDE) : F(WIDE);
    int64_t j = 0;
    for (; j + wide * F(VL) <= run->channels; j += wide * F(VL))
        F(avg_window)(run, large, d, wide, x + j, y + j, F(VL));
    for (; j + F(VL) <= run->channels; j += F(VL)) F(avg_window)(run, large, d, 1, x + j, y + j, F(VL));
    if (j < run->channels) F(avg_window)(run, large, d, 1, x + j, y + j, (int)(run->channels - j));
}

/* n channels of one pixel of the window. */
FC_INLINE F(v) F(avg_some)(const F(divisor) *d, const int first, int last, const T *x, const T *y, int n) {
    const F(v) sum = F(add)(first ? F(zero)() : F(load_some)(y, n), F(load_some)(x, n));
    return last ? F(divide)(d, sum) : sum;
}

FC_INLINE void F(avg_tap)(const F(divisor) *d, int64_t channels, const int first, const int last, const T *x, T *y) {
    int64_t j = 0;
    for (; j + F(VL) <= channels; j += F(VL)) F(store)(y + j, F(avg_some)(d, first, last, x + j, y + j, F(VL)));
    const int n = (int)(channels - j);
    if (n > 0) F(store_n)(y + j, F(avg_some)(d, first, last, x + j, y + j, n), n);
}

/* A window of one chain, and of several pixels. */
static void F(avg_by_taps)(const fc_pool_run *run, const F(divisor) *d, const T *x, T *y) {
    const int64_t taps = run->rows * run->columns;
    F(avg_tap)(d, run->channels, 1, 0, x, y);
    for (int64_t tap = 1; tap < taps; tap++) {
        const T *p = x + tap / run->columns * run->row_step + tap % run->columns * run->column_step;
        if (tap + 1 < taps) F(avg_tap)(d, run->channels, 0, 0, p, y);
        else F(avg_tap)(d, run->channels, 0, 1, p, y);
    }
}

/* As max_together, windows of one chain at most. */
FC_INLINE int64_t F(avg_together)(const fc_pool_run *run, const F(divisor) *d, const int pixels, int64_t i, const T *x,
                                  T *y) {
    const int n = (int)run->channels;
    if (pixels > F(VL) || pixels * run->channels > F(VL)) return i;
    for (; i + pixels <= run->pixels; i += pixels) {
        F(v) sum = F(zero)();
        for (int64_t u = 0; u < run->rows; u++)
            for (int64_t v = 0; v < run->columns; v++) {
                const T *p = x + i * run->x_step + u * run->row_step + v * run->column_step;
                sum = F(add)(sum, F(load_pixels)(pixels, p, run->x_step, n));
            }
        F(store_some)(y + i * n, F(divide)(d, sum), pixels * n);
    }
    return i;
}

static void F(avg_pool)(const fc_pool_run *run, const void *x_, void *y_) {
    const F(divisor) d = {.divisor = F(set1)((T)run->divisor), .reciprocal = F(set1)((T)1 / (T)run->divisor),
                          .halves = (run->divisor & (run->divisor - 1)) == 0};
    const int one_chain = run->rows * run->columns <= FC_SUM_CHAIN;
    int64_t i = 0;
    if (one_chain && F(shares_vectors)(run)) {
        i = F(avg_together)(run, &d, 16, i, x_, y_);
        i = F(avg_together)(run, &d, 8, i, x_, y_);
        i = F(avg_together)(run, &d, 4, i, x_, y_);
        i = F(avg_together)(run, &d, 2, i, x_, y_);
    }
    const int by_taps = one_chain && run->rows * run->columns > 1 && F(goes_by_taps)(run);
    for (; i < run->pixels; i++) {
        const T *x = (const T *)x_ + i * run->x_step;
        T *y = (T *)y_ + i * run->y_step;
        if (by_taps) F(avg_by_taps)(run, &d, x, y);
        else if (one_chain) F(avg_pixel)(run, 0, &d, x, y);
        else F(avg_pixel)(run, 1, &d, x, y);
    }
}

/* ---------------------------------------------------------------- gradients */

FC_INLINE F(m) F(same_some)(const int64_t *indices, int64_t place, int n) {
    return n == F(VL) ? F(same)(indices, place) : F(same_n)(indices, place, n);
}

/* What tells which windows a pixel won. */
typedef enum F(winners) { F(ALL), F(INDICES), F(PLACES) } F(winners);

/* The lanes of channels from j on, of the window at `offset`, that the pixel won. */
FC_INLINE F(m) F(won)(const fc_unpool_run *run, const F(winners) by, ptrdiff_t offset, int64_t place, int n) {
    if (by == F(INDICES)) return F(same_some)(run->indices + offset, place, n);
    const F(lane) *at = (const F(lane) *)run->places + offset;
    return n == F(VL) ? F(same_place)(at, (F(lane))place) : F(same_place_n)(at, (F(lane))place, n);
}

/* A block of `side` x `side` pixels with the same windows; `vectors` of n channels from j on. */
FC_INLINE void F(unpool_block)(const fc_unpool_run *run, const int side, const int vectors, const F(winners) by,
                               const fc_span *columns, int64_t place, T *x, const T *y, int64_t j, int n) {
    F(v) sum[2][2][F(WIDE)];
    FC_UNROLL
    for (int k = 0; k < side * side * vectors; k++)
        sum[k / vectors / side][k / vectors % side][k % vectors] = F(zero)();
    for (int64_t o = 0; o < run->slices; o++)
        for (int64_t p = 0; p < run->rows; p++)
            for (int64_t q = columns->first; q < columns->end; q++) {
                const T *from = y + o * run->y_slice + p * run->y_row + q * run->y_column + j;
                const ptrdiff_t offset = o * run->indices_slice + p * run->indices_row + q * run->indices_column + j;
                FC_UNROLL
                for (int l = 0; l < vectors; l++) {
                    const F(v) more = F(load_some)(from + l * F(VL), n);
                    FC_UNROLL
                    for (int k = 0; k < side * side; k++) {
                        F(v) *to = &sum[k / side][k % side][l];
                        const F(v) added = F(add)(*to, more);
                        const int64_t own = place + k / side * run->index_line + k % side;
                        *to = by == F(ALL) ? added : F(pick)(F(won)(run, by, offset + l * F(VL), own, n), added, *to);
                    }
                }
            }
    FC_UNROLL
    for (int k = 0; k < side * side; k++) {
        FC_UNROLL
        for (int l = 0; l < vectors; l++) {
            T *to = x + k / side * run->x_line + k % side * run->x_step + j + l * F(VL);
            if (n == F(VL)) F(put)(run->streams, to, sum[k / side][k % side][l]);
            else F(store_n)(to, sum[k / side][k % side][l], n);
        }
    }
}

/* All channels of a block, as many vectors at a time as the registers hold sums for. */
FC_INLINE void F(unpool_channels)(const fc_unpool_run *run, const int side, const F(winners) by,
                                  const fc_span *columns, int64_t place, T *x, const T *y) {
    const int wide = side == 1 ? F(WIDE) : 2;
    int64_t j = 0;
    for (; j + wide * F(VL) <= run->channels; j += wide * F(VL))
        F(unpool_block)(run, side, wide, by, columns, place, x, y, j, F(VL));
    for (; j + F(VL) <= run->channels; j += F(VL))
        F(unpool_block)(run, side, 1, by, columns, place, x, y, j, F(VL));
    if (j < run->channels)
        F(unpool_block)(run, side, 1, by, columns, place, x, y, j, (int)(run->channels - j));
}

FC_INLINE void F(unpool_lines)(const fc_unpool_run *run, const F(winners) by, T *x, const T *y) {
    for (int64_t i = 0; i < run->pixels; i++) {
        const fc_span *columns = run->columns + i;
        const int two = run->lines == 2 && i + 1 < run->pixels && columns[0].first == columns[1].first &&
                        columns[0].end == columns[1].end;
        if (two) {
            F(unpool_channels)(run, 2, by, columns, run->index + i, x + i * run->x_step, y);
            i++;
            continue;
        }
        for (int64_t k = 0; k < run->lines; k++)
            F(unpool_channels)(run, 1, by, columns, run->index + k * run->index_line + i,
                               x + k * run->x_line + i * run->x_step, y);
    }
}

static void F(unpool)(const fc_unpool_run *run, void *x, const void *y) {
    if (run->places != NULL) F(unpool_lines)(run, F(PLACES), x, y);
    else if (run->indices != NULL) F(unpool_lines)(run, F(INDICES), x, y);
    else F(unpool_lines)(run, F(ALL), x, y);
}

/* span[0] and span[1] widened to the lanes of the two. */
FC_INLINE void F(widen)(int64_t span[2], i_f64 first, i_f64 last) {
    int64_t lanes[2][VL_f64];
    istore_f64(lanes[0], first);
    istore_f64(lanes[1], last);
    for (int l = 0; l < VL_f64; l++) {
        span[0] = FC_MIN(span[0], lanes[0][l]);
        span[1] = FC_MAX(span[1], lanes[1][l]);
    }
}

/* Indices are 64 bits wide whatever the numbers are. `n` of the VL_f64 lanes are there. */
FC_INLINE void F(index_range_lanes)(const fc_index_run *run, const int64_t *indices, int64_t span[2], int64_t *lines,
                                    const int with_lines, int64_t *least, int64_t *most, int n) {
    const i_f64 factor = iset1_f64(run->factor), width = iset1_f64(run->width);
    const i_f64 height_factor = iset1_f64(run->height_factor), height = iset1_f64(run->height);
    i_f64 first = iset1_f64(span[0]), last = iset1_f64(span[1]);
    i_f64 top = iset1_f64(with_lines ? lines[0] : 0), bottom = iset1_f64(with_lines ? lines[1] : 0);
    for (int64_t i = 0; i < run->items; i++) {
        i_f64 low = iload_f64(least + i * FC_INDEX_LANES), high = iload_f64(most + i * FC_INDEX_LANES);
        const int64_t *at = indices + i * run->step;
        for (int64_t d = 0; d < run->depth; d++, at += run->depth_step) {
            const i_f64 index = n == VL_f64 ? iload_f64(at) : iload_n_f64(at, n, iset1_f64(at[0]));
            const i_f64 row = ishift_f64(imul_f64(index, factor), run->shift);
            const i_f64 column = isub_f64(index, imul_f64(row, width));
            first = imin_f64(first, index);
            last = imax_f64(last, index);
            low = imin_f64(low, column);
            high = imax_f64(high, column);
            if (!with_lines) continue;
            const i_f64 slice = ishift_f64(imul_f64(row, height_factor), run->height_shift);
            const i_f64 line = isub_f64(row, imul_f64(slice, height));
            top = imin_f64(top, line);
            bottom = imax_f64(bottom, line);
        }
        istore_f64(least + i * FC_INDEX_LANES, low);
        istore_f64(most + i * FC_INDEX_LANES, high);
    }
    F(widen)(span, first, last);
    if (with_lines) F(widen)(lines, top, bottom);
}

static void F(index_range)(const fc_index_run *run, const int64_t *indices, int64_t span[2], int64_t *lines,
                           int64_t *least, int64_t *most) {
    for (int64_t l = 0; l < run->lanes; l += VL_f64) {
        const int n = (int)FC_MIN((int64_t)VL_f64, run->lanes - l);
        const int64_t *at = indices + l;
        if (lines != NULL) F(index_range_lanes)(run, at, span, lines, 1, least + l, most + l, n);
        else if (n == VL_f64) F(index_range_lanes)(run, at, span, NULL, 0, least + l, most + l, VL_f64);
        else F(index_range_lanes)(run, at, span, NULL, 0, least + l, most + l, n);
    }
}
