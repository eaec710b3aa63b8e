/* SPDX-License-Identifier: BSD-3-Clause
 * The pooling kernels, one number at a time; see pool.h for the contracts. */
static void F(max_pool)(const fc_pool_run *run, const void *x_, void *y_) {
    for (int64_t i = 0; i < run->pixels; i++)
        for (int64_t j = 0; j < run->channels; j++) {
            const T *x = (const T *)x_ + i * run->x_step + j;
            T best = x[0];
            int64_t u_best = 0, v_best = 0;
            for (int64_t u = 0; u < run->rows; u++)
                for (int64_t v = 0; v < run->columns; v++) {
                    const T value = x[u * run->row_step + v * run->column_step];
                    if (value > best || (value != value && best == best)) {
                        best = value;
                        u_best = u;
                        v_best = v;
                    }
                }
            ((T *)y_)[i * run->y_step + j] = best;
            if (run->indices != NULL)
                run->indices[i * run->indices_step + j] =
                    run->index + i * run->index_step + u_best * run->index_row + v_best * run->index_column;
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

static void F(avg_pool_backward)(const fc_pool_run *run, void *x_, const void *y_) {
    for (int64_t i = 0; i < run->pixels; i++)
        for (int64_t j = 0; j < run->channels; j++) {
            T *x = (T *)x_ + i * run->x_step + j;
            const T share = ((const T *)y_)[i * run->y_step + j] / (T)run->divisor;
            for (int64_t u = 0; u < run->rows; u++)
                for (int64_t v = 0; v < run->columns; v++) x[u * run->row_step + v * run->column_step] += share;
        }
}
