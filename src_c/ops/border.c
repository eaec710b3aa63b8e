/* SPDX-License-Identifier: BSD-3-Clause */
#include "border.h"

double fc_share_inside(const fc_window *w) {
    int64_t rows = 0, columns = 0;
    for (int64_t p = 0; p < w->p; p++) rows += fc_row_taps(w, p).end - fc_row_taps(w, p).first;
    for (int64_t q = 0; q < w->q; q++) columns += fc_column_taps(w, q).end - fc_column_taps(w, q).first;
    return (double)rows * (double)columns / ((double)(w->p * w->q) * (double)(w->r * w->s));
}

static int same(fc_taps a, fc_taps b) { return a.first == b.first && a.end == b.end; }

/* Whether none of those before `i` has the taps of i. */
static int is_first(const fc_taps *taps, int64_t i) {
    for (int64_t j = 0; j < i; j++)
        if (same(taps[j], taps[i])) return 0;
    return 1;
}

int64_t fc_sort_by_taps(const fc_window *w, const fc_block *block, fc_taps *taps, int64_t *order,
                        fc_pixel_class *classes) {
    fc_taps *row_taps = taps, *column_taps = taps + block->rows;
    for (int64_t j = 0; j < block->rows; j++) row_taps[j] = fc_row_taps(w, (block->row + j) % w->p);
    for (int64_t q = 0; q < block->columns; q++) column_taps[q] = fc_column_taps(w, block->q + q);
    int64_t found = 0, placed = 0;
    for (int64_t j = 0; j < block->rows; j++) {
        if (!is_first(row_taps, j)) continue;
        for (int64_t q = 0; q < block->columns; q++) {
            if (!is_first(column_taps, q)) continue;
            fc_pixel_class *class = &classes[found++];
            *class = (fc_pixel_class){.rows = row_taps[j], .columns = column_taps[q], .from = placed};
            for (int64_t row = j; row < block->rows; row++)
                for (int64_t column = q; column < block->columns && same(row_taps[row], row_taps[j]); column++)
                    if (same(column_taps[column], column_taps[q])) order[placed++] = row * block->columns + column;
            class->count = placed - class->from;
        }
    }
    return found;
}
