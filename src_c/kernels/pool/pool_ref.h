/* SPDX-License-Identifier: BSD-3-Clause
 * The pooling kernels, one number at a time; see pool.h for the contracts. */
static void F(max_pool)(const fc_pool_run *run, const void *x_, void *y_) {
    for (int64_t i = 0; i < run->pixels; i++)
        for (int64_t j = 0; j < run->channels; j++) {
            const T *x = (const T *)x_ + i * run->x_step + j;
            T best = x[0];
            int64_t place = 0;
            for (int64_t t = 0; t < run->slices; t++)
                for (int64_t u = 0; u < run->rows; u++)
                    for (int64_t v = 0; v < run->columns; v++) {
                        const T value = x[t * run->slice_step + u * run->row_step + v * run->column_step];
                        if (value > best || (value != value && best == best)) {
                            best = value;
                            place = t * run->index_slice + u * run->index_row + v * run->index_column;
                        }
                    }
            ((T *)y_)[i * run->y_step + j] = best;
            if (run->indices != NULL)
                run->indices[i * run->indices_step + j] = run->index + i * run->index_step + place;
        }
}

static T F(sum_window)(const fc_pool_run *run, const T *x) {
    T sums[FC_SUM_LEVELS] = {0};
    int64_t added = 0;
    for (int64_t u = 0; u < run->rows; u++)
        for (int64_t v = 0; v < run->columns; v++) {
            sums[0] += x[u * run->row_step + v * run->column_step];
            int64_t whole = ++added;
            for (int level = 0; level + 1 < FC_SUM_LEVELS && whole % FC_SUM_CHAIN == 0; level++) {
                sums[level + 1] += sums[level];
                sums[level] = 0;
                whole /= FC_SUM_CHAIN;
            }
        }
    T sum = sums[0];
    for (int level = 1; level < FC_SUM_LEVELS; level++) sum += sums[level];
    return sum;
}

static void F(avg_pool)(const fc_pool_run *run, const void *x, void *y) {
    for (int64_t i = 0; i < run->pixels; i++)
        for (int64_t j = 0; j < run->channels; j++)
            ((T *)y)[i * run->y_step + j] = F(sum_window)(run, (const T *)x + i * run->x_step + j) / (T)run->divisor;
}

/* Whether the pixel is the winner that the indices, or places, name at `at`. */
static int F(won)(const fc_unpool_run *run, ptrdiff_t at, int64_t place) {
    if (run->places == NULL) return run->indices == NULL || run->indices[at] == place;
    if (sizeof(T) == sizeof(float)) return ((const int32_t *)run->places)[at] == place;
    return ((const int64_t *)run->places)[at] == place;
}

static T F(unpool_pixel)(const fc_unpool_run *run, int64_t i, int64_t j, int64_t place, const T *y) {
    T sum = 0;
    for (int64_t o = 0; o < run->slices; o++)
        for (int64_t p = 0; p < run->rows; p++)
            for (int64_t q = run->columns[i].first; q < run->columns[i].end; q++) {
                const ptrdiff_t at = o * run->indices_slice + p * run->indices_row + q * run->indices_column + j;
                if (F(won)(run, at, place)) sum += y[o * run->y_slice + p * run->y_row + q * run->y_column + j];
            }
    return sum;
}

static void F(unpool)(const fc_unpool_run *run, void *x, const void *y) {
    for (int64_t k = 0; k < run->lines; k++)
        for (int64_t i = 0; i < run->pixels; i++)
            for (int64_t j = 0; j < run->channels; j++)
                ((T *)x)[k * run->x_line + i * run->x_step + j] =
                    F(unpool_pixel)(run, i, j, run->index + k * run->index_line + i, y);
}

static void F(index_range)(const fc_index_run *run, const int64_t *indices, int64_t span[2], int64_t *lines,
                           int64_t *least, int64_t *most) {
    for (int64_t i = 0; i < run->items; i++)
        for (int64_t d = 0; d < run->depth; d++)
            for (int64_t l = 0; l < run->lanes; l++) {
                const int64_t index = indices[i * run->step + d * run->depth_step + l], at = i * FC_INDEX_LANES + l;
                const int64_t column = index % run->width;
                span[0] = FC_MIN(span[0], index);
                span[1] = FC_MAX(span[1], index);
                least[at] = FC_MIN(least[at], column);
                most[at] = FC_MAX(most[at], column);
                if (lines == NULL) continue;
                const int64_t line = index / run->width % run->height;
                lines[0] = FC_MIN(lines[0], line);
                lines[1] = FC_MAX(lines[1], line);
            }
}
