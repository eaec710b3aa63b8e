/* SPDX-License-Identifier: BSD-3-Clause
 * The tile kernel over the vector vocabulary; see gemm.h for the contract.
 *
 * `rows` and `vectors` are constants after inlining, so the sums live in registers: rows x 2 vectors x 2 chains. The
 * rows of A are plain pointers, so rows that follow one another and rows scattered over image lines run alike.
 * Measured on AVX-512: 7 rows x 2 chains reach 97 % of the FMA peak, 14 rows x 1 chain 93 %, whose row pointers do
 * not fit into the general registers. Sums are separate arrays, not one of more dimensions: gcc 12 keeps the latter
 * in memory. */
#include "epilogue_body.h"

/* Finish one vector of one row: add to C, bias, activation, store. A first or middle pass over whole vectors only
 * stores or adds. */
FC_INLINE void F(finish)(const fc_tile *t, F(v) sum, int plain, F(v) bias, int columns, T *c) {
    if (plain && columns >= F(VL)) {
        F(store)(c, t->accumulate ? F(add)(F(load)(c), sum) : sum);
    } else if (columns >= F(VL)) {
        if (t->accumulate) sum = F(add)(F(load)(c), sum);
        F(store)(c, F(activate)(F(add)(sum, bias), t->activation));
    } else {
        if (t->accumulate) sum = F(add)(F(load_n)(c, columns), sum);
        F(store_n)(c, F(activate)(F(add)(sum, bias), t->activation), columns);
    }
}

/* sum[i] += A[i, term] * B[term]; second: where the other vector of B lies */
FC_INLINE void F(add_term)(const int rows, const int vectors, const T *const row[], ptrdiff_t at, const T *b,
                           const T *second, F(v) sum0[], F(v) sum1[]) {
    const F(v) b0 = F(load)(b);
    const F(v) b1 = vectors > 1 ? F(load)(second) : b0;
    FC_UNROLL
    for (int i = 0; i < rows; i++) {
        const F(v) x = F(set1)(row[i][at]);
        sum0[i] = F(fma)(x, b0, sum0[i]);
        if (vectors > 1) sum1[i] = F(fma)(x, b1, sum1[i]);
    }
}

/* Two vectors of each of two terms, on the way to L1: a packing tile meets rows of B that lie far apart. Eight terms
 * before they are needed, weights that no cache holds take x0.9 to x0.97 of the time; four or sixteen gain less. */
enum { F(SOON) = 8 };

FC_INLINE void F(bring_pair)(const T *b, const ptrdiff_t *term) {
    __builtin_prefetch(b + term[0], 0, 3);
    __builtin_prefetch(b + term[0] + F(VL), 0, 3);
    __builtin_prefetch(b + term[1], 0, 3);
    __builtin_prefetch(b + term[1] + F(VL), 0, 3);
}

/* Two vectors of B go to the panel. */
FC_INLINE void F(keep)(const T *b, T *panel) {
    F(store)(panel, F(load)(b));
    F(store)(panel + F(VL), F(load)(b + F(VL)));
}

/* What a tile does beside its sums: see gemm.h. Each kind has a loop of its own, as every load of the plain one counts:
 * there are 23 in 14 cycles, and 28 are possible. */
typedef enum F(tile_kind) { F(PLAIN), F(BY_LINES), F(PACKING), F(PACKING_BY_LINES) } F(tile_kind);

FC_INLINE void F(tile_fixed)(const int rows, const int vectors, const F(tile_kind) kind, const fc_tile *t, const T *a,
                             const ptrdiff_t *a_row, const T *b, const T *bias, int columns, T *c,
                             const ptrdiff_t *c_row) {
    const int packs = kind == F(PACKING) || kind == F(PACKING_BY_LINES);
    const int by_lines = kind == F(BY_LINES) || kind == F(PACKING_BY_LINES);
    const T *row[FC_MR];
    F(v) even0[FC_MR], even1[FC_MR], odd0[FC_MR], odd1[FC_MR];
    FC_UNROLL
    for (int i = 0; i < rows; i++) {
        row[i] = a + a_row[i];
        __builtin_prefetch(c + c_row[i], 1, 3);
        if (vectors > 1) __builtin_prefetch(c + c_row[i] + F(VL), 1, 3);
        even0[i] = even1[i] = odd0[i] = odd1[i] = F(zero)();
    }
    const ptrdiff_t *at = t->a_term, *const end = at + t->terms;
    const char *ahead0 = t->ahead[0].step ? t->ahead[0].at : (const char *)b;
    const char *ahead1 = by_lines || t->ahead[1].step ? t->ahead[1].at : (const char *)b;
    const ptrdiff_t *lines = t->lines;
    const ptrdiff_t step0 = t->ahead[0].step, step1 = t->ahead[1].step;
    const ptrdiff_t *b_term = t->b_term;
    T *panel = t->panel;
    for (; end - at >= 2; at += 2, ahead0 += step0) {
        const T *const even = packs ? b + b_term[0] : b, *const odd = packs ? b + b_term[1] : b + vectors * F(VL);
        __builtin_prefetch(ahead0, 0, 3);
        if (packs) F(bring_pair)(b, b_term + FC_MIN(F(SOON), end - at - 2));
        if (by_lines) __builtin_prefetch(ahead1 + *lines++, 0, 2);
        else __builtin_prefetch(ahead1, 0, 3), ahead1 += step1;
        F(add_term)(rows, vectors, row, at[0], even, even + F(VL), even0, even1);
        if (packs) F(keep)(even, panel);
        F(add_term)(rows, vectors, row, at[1], odd, odd + F(VL), odd0, odd1);
        if (packs) F(keep)(odd, panel + 2 * F(VL)), b_term += 2, panel += 4 * F(VL);
        else b += 2 * vectors * F(VL);
    }
    if (at != end) {
        const T *const even = packs ? b + b_term[0] : b;
        F(add_term)(rows, vectors, row, at[0], even, even + F(VL), even0, even1);
        if (packs) F(keep)(even, panel);
    }
    const int plain = bias == NULL && t->activation == FC_EPILOGUE_NONE;
    const F(v) bias0 = F(load_bias)(bias, columns);
    FC_UNROLL
    for (int i = 0; i < rows; i++) F(finish)(t, F(add)(even0[i], odd0[i]), plain, bias0, columns, c + c_row[i]);
    if (vectors > 1 && columns > F(VL)) {
        const F(v) bias1 = F(load_bias)(bias == NULL ? NULL : bias + F(VL), columns - F(VL));
        FC_UNROLL
        for (int i = 0; i < rows; i++)
            F(finish)(t, F(add)(even1[i], odd1[i]), plain, bias1, columns - F(VL), c + c_row[i] + F(VL));
    }
}

FC_INLINE void F(tile_rows)(const int rows, const fc_tile *t, const T *a, const ptrdiff_t *a_row, const T *b,
                            const T *bias, int columns, T *c, const ptrdiff_t *c_row) {
    if (t->b_term != NULL && t->lines != NULL)
        F(tile_fixed)(rows, 2, F(PACKING_BY_LINES), t, a, a_row, b, bias, columns, c, c_row);
    else if (t->b_term != NULL) F(tile_fixed)(rows, 2, F(PACKING), t, a, a_row, b, bias, columns, c, c_row);
    else if (t->width <= F(VL)) F(tile_fixed)(rows, 1, F(PLAIN), t, a, a_row, b, bias, columns, c, c_row);
    else if (t->lines != NULL) F(tile_fixed)(rows, 2, F(BY_LINES), t, a, a_row, b, bias, columns, c, c_row);
    else F(tile_fixed)(rows, 2, F(PLAIN), t, a, a_row, b, bias, columns, c, c_row);
}

#define FC_TILE_ROWS(rows)                                                  \
    case rows:                                                              \
        F(tile_rows)(rows, t, a, a_row, b, bias, columns, c, c_row);        \
        break;

static void F(tile)(const fc_tile *t, int rows, const void *a, const ptrdiff_t *a_row, const void *b, const void *bias,
                    int columns, void *c, const ptrdiff_t *c_row) {
    switch (rows) {
        FC_TILE_ROWS(1) FC_TILE_ROWS(2) FC_TILE_ROWS(3)
#if FC_MR >= 6
        FC_TILE_ROWS(4) FC_TILE_ROWS(5) FC_TILE_ROWS(6)
#endif
#if FC_MR >= 7
        FC_TILE_ROWS(7)
#endif
        default: break;
    }
}
#undef FC_TILE_ROWS

/* `vectors` vectors of columns, the last with `lanes` lanes. */
FC_INLINE void F(row_strip)(const int vectors, const fc_tile *t, const T *a, const T *b, const T *bias, int lanes,
                            T *c) {
    F(v) even[FC_ROW_STRIP], odd[FC_ROW_STRIP];
    FC_UNROLL
    for (int i = 0; i < vectors; i++) even[i] = odd[i] = F(zero)();
    for (int64_t l = 0; l < t->terms; l += 2) {
        const int pair = l + 1 < t->terms;
        const T *row0 = b + t->b_term[l], *row1 = b + t->b_term[pair ? l + 1 : l];
        const F(v) x0 = F(set1)(a[t->a_term[l]]), x1 = F(set1)(a[t->a_term[pair ? l + 1 : l]]);
        FC_UNROLL
        for (int i = 0; i < vectors; i++) {
            const int whole = i + 1 < vectors || lanes == F(VL);
            even[i] = F(fma)(x0, whole ? F(load)(row0 + i * F(VL)) : F(load_n)(row0 + i * F(VL), lanes), even[i]);
            if (!pair) continue;
            odd[i] = F(fma)(x1, whole ? F(load)(row1 + i * F(VL)) : F(load_n)(row1 + i * F(VL), lanes), odd[i]);
        }
    }
    FC_UNROLL
    for (int i = 0; i < vectors; i++) {
        const int here = i + 1 < vectors ? F(VL) : lanes;
        const F(v) offset = F(load_bias)(bias == NULL ? NULL : bias + i * F(VL), here);
        F(finish)(t, F(add)(even[i], odd[i]), 0, offset, here, c + i * F(VL));
    }
}

static void F(row)(const fc_tile *t, const void *a, const void *b_, const void *bias_, int64_t columns, void *c_) {
    const T *b = b_, *bias = bias_;
    T *c = c_;
    int64_t j = 0;
    for (; columns - j >= FC_ROW_STRIP * F(VL); j += FC_ROW_STRIP * F(VL))
        F(row_strip)(FC_ROW_STRIP, t, a, b + j, bias == NULL ? NULL : bias + j, F(VL), c + j);
    for (; columns - j >= 2 * F(VL); j += 2 * F(VL))
        F(row_strip)(2, t, a, b + j, bias == NULL ? NULL : bias + j, F(VL), c + j);
    for (; j < columns; j += F(VL))
        F(row_strip)(1, t, a, b + j, bias == NULL ? NULL : bias + j, (int)FC_MIN(F(VL), columns - j), c + j);
}

/* The tile with the roles exchanged. The rows of A are one pointer and constants. */
FC_INLINE void F(lanes_fixed)(const int rows, const int vectors, const fc_lanes *t, const T *a, const T *bias,
                              const void *const *b, T *c) {
    const T *row[FC_MR];
    F(v) even0[FC_MR], even1[FC_MR], odd0[FC_MR], odd1[FC_MR];
    FC_UNROLL
    for (int i = 0; i < rows; i++) {
        row[i] = a + i;
        even0[i] = even1[i] = odd0[i] = odd1[i] = F(zero)();
    }
    const T *const b0 = b[0], *const b1 = vectors > 1 ? b[1] : b[0];
    const ptrdiff_t *term = t->b_term, *const end = term + t->terms, step = t->a_term;
    ptrdiff_t at = 0;
    for (; end - term >= 2; term += 2, at += 2 * step) {
        F(add_term)(rows, vectors, row, at, b0 + term[0], b1 + term[0], even0, even1);
        F(add_term)(rows, vectors, row, at + step, b0 + term[1], b1 + term[1], odd0, odd1);
    }
    if (term != end) F(add_term)(rows, vectors, row, at, b0 + term[0], b1 + term[0], even0, even1);
    const int plain = bias == NULL && t->activation == FC_EPILOGUE_NONE;
    const fc_tile how = {.accumulate = t->accumulate, .activation = t->activation};
    FC_UNROLL
    for (int i = 0; i < rows; i++) {
        const F(v) x = F(set1)(bias == NULL ? (T)-0.0 : bias[i]);
        F(finish)(&how, F(add)(even0[i], odd0[i]), plain, x, F(VL), c + i * t->c_row);
        if (vectors > 1) F(finish)(&how, F(add)(even1[i], odd1[i]), plain, x, F(VL), c + i * t->c_row + F(VL));
    }
}

/* One row: more vectors, so that as many sums run side by side. */
FC_INLINE void F(lanes_alone)(const int vectors, const fc_lanes *t, const T *a, const T *bias, const void *const *b,
                              T *c) {
    F(v) even[FC_LANES_ALONE], odd[FC_LANES_ALONE];
    const T *lane[FC_LANES_ALONE];
    FC_UNROLL
    for (int i = 0; i < vectors; i++) lane[i] = b[i], even[i] = odd[i] = F(zero)();
    const ptrdiff_t *term = t->b_term, *const end = term + t->terms, step = t->a_term;
    for (; end - term >= 2; term += 2, a += 2 * step) {
        const F(v) x0 = F(set1)(a[0]), x1 = F(set1)(a[step]);
        FC_UNROLL
        for (int i = 0; i < vectors; i++) {
            even[i] = F(fma)(x0, F(load)(lane[i] + term[0]), even[i]);
            odd[i] = F(fma)(x1, F(load)(lane[i] + term[1]), odd[i]);
        }
    }
    if (term != end) {
        const F(v) x0 = F(set1)(a[0]);
        FC_UNROLL
        for (int i = 0; i < vectors; i++) even[i] = F(fma)(x0, F(load)(lane[i] + term[0]), even[i]);
    }
    const int plain = bias == NULL && t->activation == FC_EPILOGUE_NONE;
    const fc_tile how = {.accumulate = t->accumulate, .activation = t->activation};
    const F(v) offset = F(set1)(bias == NULL ? (T)-0.0 : bias[0]);
    FC_UNROLL
    for (int i = 0; i < vectors; i++)
        F(finish)(&how, F(add)(even[i], odd[i]), plain, offset, F(VL), c + i * F(VL));
}

static void F(tile_lanes_alone)(const fc_lanes *t, const void *a, const void *bias, int vectors, const void *const *b,
                                void *c) {
    switch (vectors) {
        case 1: F(lanes_alone)(1, t, a, bias, b, c); break;
        case 2: F(lanes_alone)(2, t, a, bias, b, c); break;
        case 3: F(lanes_alone)(3, t, a, bias, b, c); break;
        default: F(lanes_alone)(4, t, a, bias, b, c);
    }
}

#define FC_LANES_ROWS(rows)                                               \
    case rows:                                                            \
        if (vectors > 1) F(lanes_fixed)(rows, 2, t, a, bias, b, c);       \
        else F(lanes_fixed)(rows, 1, t, a, bias, b, c);                   \
        break;

static void F(tile_lanes)(const fc_lanes *t, int rows, const void *a, const void *bias, int vectors,
                          const void *const *b, void *c) {
    switch (rows) {
        case 1: F(tile_lanes_alone)(t, a, bias, vectors, b, c); break;
        FC_LANES_ROWS(2) FC_LANES_ROWS(3)
#if FC_MR >= 6
        FC_LANES_ROWS(4) FC_LANES_ROWS(5) FC_LANES_ROWS(6)
#endif
#if FC_MR >= 7
        FC_LANES_ROWS(7)
#endif
        default: break;
    }
}
#undef FC_LANES_ROWS
