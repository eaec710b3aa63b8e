/* SPDX-License-Identifier: BSD-3-Clause
 * The kernels of local response normalisation over the vector vocabulary; see response.h for the contracts.
 *
 * A vector holds adjacent channels of one pixel or adjacent pixels of one channel. Either way each of its numbers adds
 * up its own window, channel by channel; the terms beyond the first and the last channel are zeros or left out, which
 * is the same. */

/* Channels c + o, c + o + 1 ... of a pixel; zeros where there are none. */
FC_INLINE F(v) F(response_shifted)(const T *x, int64_t c, int64_t o, int64_t columns) {
    const int64_t first = FC_MAX(0, -(c + o)), end = FC_MIN(F(VL), columns - c - o);
    if (end - first == F(VL)) return F(load)(x + c + o);
    if (end <= first) return F(zero)();
    return F(load_at)(F(zero)(), x + c + o + first, (int)first, (int)(end - first));
}

/* Sum over the window from c - before to c + after: of squares, or of the numbers themselves. */
FC_INLINE F(v) F(response_window)(const int along, const int squares, const T *x, ptrdiff_t step, int64_t c,
                                  int64_t columns, int64_t before, int64_t after, int n) {
    F(v) sum = F(zero)();
    const int64_t first = along ? FC_MAX(-before, -c) : -before, last = along ? FC_MIN(after, columns - 1 - c) : after;
    for (int64_t o = first; o <= last; o++) {
        const F(v) value = along ? F(load_some)(x + (c + o) * step, n) : F(response_shifted)(x, c, o, columns);
        sum = squares ? F(fma)(value, value, sum) : F(add)(sum, value);
    }
    return sum;
}

/* d^beta. */
FC_INLINE F(v) F(response_power)(const fc_response_block *b, F(v) d) {
    if (b->quarters < 0) {
        T lanes[F(VL)];
        F(store)(lanes, d);
        for (int l = 0; l < F(VL); l++) lanes[l] = F(fc_power)(lanes[l], (T)b->beta);
        return F(load)(lanes);
    }
    F(v) power = F(set1)(1), root = d;
    if (b->quarters >= 8) return F(mul)(d, d);
    if (b->quarters & 4) power = d;
    if ((b->quarters & 3) == 0) return power;
    root = F(root)(d);
    if (b->quarters & 2) power = F(mul)(power, root);
    if (b->quarters & 1) power = F(mul)(power, F(root)(root));
    return power;
}

/* d of a vector at channel c of the pixel at x. */
FC_INLINE F(v) F(response_divisor)(const int along, const fc_response_block *b, const T *x, int64_t c, int n) {
    const F(v) sum =
        F(response_window)(along, 1, x, b->x.column, c, b->columns, b->before, b->after, n);
    return F(fma)(sum, F(set1)((T)b->factor), F(set1)((T)b->k));
}

/* What is done with a vector: `n` numbers at channel c of the pixel at x, grad_y and so on. */
typedef struct F(response_place) {
    const T *x, *grad_y;
    T *to, *terms;
} F(response_place);

enum { F(RESPONSE), F(RESPONSE_TERMS), F(RESPONSE_GRADIENT) };

FC_INLINE void F(response_some)(const int what, const int along, const fc_response_block *b,
                                const F(response_place) *p, int64_t c, int n) {
    const F(v) x = F(load_some)(p->x + c * b->x.column, n);
    T *to = p->to + c * b->to.column;
    if (what == F(RESPONSE_GRADIENT)) {
        const F(v) sum = F(response_window)(along, 0, p->terms, b->terms.column, c, b->columns, b->after, b->before, n);
        const F(v) scaled = F(mul)(F(set1)((T)(-2 * b->beta * b->factor)), x);
        F(store_some)(to, F(fma)(scaled, sum, F(load_some)(to, n)), n);
        return;
    }
    const F(v) d = F(response_divisor)(along, b, p->x, c, n), power = F(response_power)(b, d);
    if (what == F(RESPONSE)) {
        F(store_some)(to, F(div)(x, power), n);
        return;
    }
    const F(v) share = F(div)(F(load_some)(p->grad_y + c * b->grad_y.column, n), power);
    F(store_some)(to, share, n);
    F(store_some)(p->terms + c * b->terms.column, F(div)(F(mul)(share, x), d), n);
}

FC_INLINE void F(response_all)(const int what, const fc_response_block *b, const T *x, const T *grad_y, T *to,
                               T *terms) {
    const int along = b->x.pixel == 1;
    const int64_t length = along ? b->pixels : b->columns;
    for (int64_t row = 0; row < (along ? b->columns : b->pixels); row++)
        for (int64_t i = 0; i < length; i += F(VL)) {
            const int64_t pixel = along ? i : row, c = along ? row : i;
            const int n = (int)FC_MIN(F(VL), length - i);
            const F(response_place) p = {
                .x = x + pixel * b->x.pixel, .to = to + pixel * b->to.pixel,
                .grad_y = what == F(RESPONSE_TERMS) ? grad_y + pixel * b->grad_y.pixel : x,
                .terms = what == F(RESPONSE) ? to : terms + pixel * b->terms.pixel};
            if (along) F(response_some)(what, 1, b, &p, c, n);
            else F(response_some)(what, 0, b, &p, c, n);
        }
}

static void F(response)(const fc_response_block *b, const void *x, void *y) {
    F(response_all)(F(RESPONSE), b, x, NULL, y, NULL);
}

static void F(response_terms)(const fc_response_block *b, const void *x, const void *grad_y, void *direct,
                              void *terms) {
    F(response_all)(F(RESPONSE_TERMS), b, x, grad_y, direct, terms);
}

static void F(response_gradient)(const fc_response_block *b, const void *x, const void *terms, void *grad_x) {
    F(response_all)(F(RESPONSE_GRADIENT), b, x, NULL, grad_x, (T *)(uintptr_t)terms);
}
