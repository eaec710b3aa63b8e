/* SPDX-License-Identifier: BSD-3-Clause
 * Exponential functions over the vector vocabulary, in a few units of rounding over the whole range.
 *
 * e^x = 2^n * e^r with n = round(x / ln(2)) and ln(2) in two parts (Cody and Waite, Software Manual for the Elementary
 * Functions, 1980), e^r as 1 + p: rounding of p counts little, and 2^n comes last, so that factors of e^x are not lost
 * where it is subnormal. The tail of the normal distribution is e^(-a*a/2) / (a + k) times a polynomial in
 * (a - k) / (a + k) (Shepherd and Laframboise, Mathematics of Computation 36, 1981). Coefficients: coefficients.h. */
#define C(name) FC_JOIN(name, TYPE)

FC_INLINE F(v) F(polynomial)(const T *terms, const int degree, F(v) x) {
    F(v) sum = F(set1)(terms[degree]);
    FC_UNROLL
    for (int i = degree - 1; i >= 0; i--) sum = F(fma)(sum, x, F(set1)(terms[i]));
    return sum;
}

/* x, but not above `end` (below -end); NaN stays. */
FC_INLINE F(v) F(at_most)(F(v) x, T end) { return F(pick)(F(above)(x, F(set1)(end)), F(set1)(end), x); }
FC_INLINE F(v) F(at_least)(F(v) x, T end) { return F(pick)(F(above)(F(set1)(end), x), F(set1)(end), x); }

/* e^(x + low) = (1 + p) * 2^n. */
typedef struct F(power) {
    F(v) p, n;
} F(power);

FC_INLINE F(power) F(power_of)(F(v) x, F(v) low) {
    const F(v) magic = F(set1)(C(round));
    F(power) e;
    e.n = F(sub)(F(fma)(x, F(set1)((T)1.4426950408889634), magic), magic);
    const F(v) high = F(fma)(e.n, F(set1)(-C(ln2)[0]), x); /* exact */
    const F(v) r = F(add)(high, F(fma)(e.n, F(set1)(-C(ln2)[1]), low));
    e.p = F(fma)(F(mul)(r, r), F(polynomial)(C(exp_terms), C(exp_degree), r), r);
    return e;
}

/* a, but 0 where a * 2^n would round to it: processors take 100 cycles and more for an underflow. NaN stays. */
FC_INLINE F(v) F(unless_gone)(F(v) a, F(v) n) {
    return F(pick)(F(above)(F(set1)(C(least_power)), n), F(zero)(), a);
}

FC_INLINE F(v) F(scaled)(F(v) a, F(v) n) { return F(scale)(F(unless_gone)(a, n), n); }

/* For x <= 0. */
FC_INLINE F(v) F(exp)(F(v) x) {
    const F(power) e = F(power_of)(F(at_least)(x, -C(exp_end)), F(zero)());
    return F(scaled)(F(add)(F(set1)(1), e.p), e.n);
}

/* What rounding takes from a + b = sum (Knuth, The Art of Computer Programming, 4.2.2). */
FC_INLINE F(v) F(lost)(F(v) a, F(v) b, F(v) sum) {
    const F(v) part = F(sub)(sum, a);
    return F(add)(F(sub)(a, F(sub)(sum, part)), F(sub)(b, part));
}

/* e^(x - most) for x <= most: rounding of the difference would count as often as it is larger than 1. */
FC_INLINE F(v) F(exp_below)(F(v) x, F(v) most) {
    const F(v) minus = F(sub)(F(zero)(), most), difference = F(add)(x, minus), end = F(set1)(-C(exp_end));
    const F(m) gone = F(above)(end, difference);
    const F(v) low = F(pick)(gone, F(zero)(), F(lost)(x, minus, difference));
    const F(power) e = F(power_of)(F(pick)(gone, end, difference), low);
    return F(scaled)(F(add)(F(set1)(1), e.p), e.n);
}

/* (1 - e^-2a) / (1 + e^-2a) of a = abs(x); e^-2a - 1 is exact for small a, and so is tanh. */
FC_INLINE F(v) F(tanh)(F(v) x) {
    const F(power) e = F(power_of)(F(mul)(F(set1)(-2), F(at_most)(F(abs)(x), C(tanh_end))), F(zero)());
    const F(v) two_n = F(scale)(F(set1)(1), e.n);
    const F(v) less = F(fma)(two_n, e.p, F(sub)(two_n, F(set1)(1)));
    return F(with_sign)(F(div)(F(abs)(less), F(add)(F(set1)(2), less)), x);
}

/* sigmoid(x + low) = top/bottom * 2^n and 1 - sigmoid(x) = rest/bottom, in numbers that neither overflow nor vanish. */
typedef struct F(odds) {
    F(v) top, bottom, n, rest;
} F(odds);

FC_INLINE F(odds) F(odds_of)(F(v) x, F(v) low) {
    const F(m) below = F(above)(F(zero)(), x);
    const F(v) one = F(set1)(1), minus = F(with_sign)(F(abs)(x), F(set1)(-1));
    const F(power) e = F(power_of)(minus, F(pick)(below, low, F(sub)(F(zero)(), low)));
    const F(v) mantissa = F(unless_gone)(F(add)(one, e.p), e.n), small = F(scale)(mantissa, e.n);
    return (F(odds)){.top = F(pick)(below, mantissa, one), .bottom = F(add)(one, small),
                     .n = F(pick)(below, e.n, F(zero)()), .rest = F(pick)(below, one, small)};
}

FC_INLINE F(v) F(within)(F(v) x, T end) { return F(at_least)(F(at_most)(x, end), -end); }

FC_INLINE F(v) F(sigmoid)(F(v) x) {
    const F(odds) s = F(odds_of)(F(within)(x, C(exp_end)), F(zero)());
    return F(scale)(F(div)(s.top, s.bottom), s.n);
}

FC_INLINE F(v) F(silu)(F(v) x) {
    const F(odds) s = F(odds_of)(F(within)(x, C(exp_end)), F(zero)());
    return F(scale)(F(div)(F(mul)(F(at_least)(x, -C(exp_end)), s.top), s.bottom), s.n);
}

/* Slope of x * sigmoid(z), from x times the slope of z: sigmoid(z) * (1 + x * (slope of z) * (1 - sigmoid(z))). */
FC_INLINE F(v) F(odds_slope)(F(odds) s, F(v) x) {
    const F(v) share = F(div)(F(set1)(1), s.bottom), top = F(mul)(s.top, share);
    return F(scale)(F(fma)(F(mul)(top, x), F(mul)(s.rest, share), top), s.n);
}

FC_INLINE F(v) F(silu_slope)(F(v) x) {
    x = F(within)(x, C(exp_end));
    return F(odds_slope)(F(odds_of)(x, F(zero)()), x);
}

/* Of 0 <= a <= tail_end: the share of the normal distribution below -a is inverse * q * (1 + e.p) * 2^e.n, where
 * inverse is 1 / (a + k) and ratio + ratio_low a / (a + k), and minus_q_low what rounding took from -q: without these
 * two, errors of gelu reach 4.2 units in double precision, with them 3.8. */
typedef struct F(tail) {
    F(v) inverse, ratio, ratio_low, q, minus_q_low;
    F(power) e;
} F(tail);

FC_INLINE F(tail) F(tail_of)(F(v) a) {
    const F(v) k = F(set1)(C(tail_k)), minus = F(set1)(-1), half = F(set1)((T)-0.5), two = F(set1)(2);
    const F(v) square = F(mul)(a, a), square_low = F(fma)(a, a, F(mul)(square, minus));
    /* what rounding takes from the ratio is put back, so that s is rounded once */
    const F(v) inverse = F(div)(F(set1)(1), F(add)(a, k)), ratio = F(mul)(a, inverse);
    const F(v) negative = F(mul)(ratio, minus);
    const F(v) ratio_low = F(mul)(F(fma)(negative, a, F(fma)(negative, k, a)), inverse);
    const F(v) s = F(fma)(two, ratio_low, F(fma)(two, ratio, minus));
    /* the last step of the polynomial, and what rounding takes from it */
    const F(v) first = F(set1)(C(tail_terms)[0]), rest = F(polynomial)(C(tail_terms) + 1, C(tail_degree) - 1, s);
    const F(v) q = F(fma)(rest, s, first), minus_rest = F(sub)(F(zero)(), rest);
    return (F(tail)){.inverse = inverse, .ratio = ratio, .ratio_low = ratio_low, .q = q,
                     .minus_q_low = F(fma)(minus_rest, s, F(sub)(q, first)),
                     .e = F(power_of)(F(mul)(half, square), F(mul)(half, square_low))};
}

/* x times the share below x, which for positive x is 1 minus the tail. */
FC_INLINE F(v) F(gelu)(F(v) x) {
    const F(tail) t = F(tail_of)(F(at_most)(F(abs)(x), C(tail_end)));
    const F(v) minus_q = F(sub)(F(zero)(), t.q), low = F(fma)(t.ratio, t.minus_q_low, F(mul)(t.ratio_low, minus_q));
    const F(v) product = F(fma)(t.ratio, minus_q, low);
    const F(v) tail = F(scaled)(F(fma)(product, t.e.p, product), t.e.n);
    return F(pick)(F(above)(F(zero)(), x), tail, F(add)(x, tail));
}

/* The share below x and x times the density there, e^(-x*x/2) / sqrt(2 pi). */
FC_INLINE F(v) F(gelu_slope)(F(v) x) {
    const F(v) a = F(at_most)(F(abs)(x), C(tail_end));
    const F(tail) t = F(tail_of)(a);
    const F(v) sum = F(fma)(a, F(set1)((T)-0.3989422804014326779), F(mul)(t.q, t.inverse));
    const F(v) tail = F(scaled)(F(fma)(sum, t.e.p, sum), t.e.n);
    return F(pick)(F(above)(F(zero)(), x), tail, F(sub)(F(set1)(1), tail));
}

/* gelu by tanh, x * (1 + tanh(z/2)) / 2 = x * sigmoid(z) with z = x * (c + d*x*x), which has to be known beyond the
 * digits of T where e^z is small. */
FC_INLINE F(odds) F(gelu_tanh_odds)(F(v) x) {
    const F(v) square = F(mul)(x, x), minus = F(set1)(-1), d = F(set1)(C(tanh_bend)[0]);
    const F(v) square_low = F(fma)(x, x, F(mul)(square, minus));
    const F(v) bend = F(mul)(d, square), c = F(set1)(C(tanh_rise)[0]);
    F(v) low = F(fma)(d, square, F(mul)(bend, minus));
    low = F(fma)(d, square_low, F(fma)(F(set1)(C(tanh_bend)[1]), square, low));
    const F(v) sum = F(add)(c, bend);
    low = F(add)(low, F(add)(F(lost)(c, bend, sum), F(set1)(C(tanh_rise)[1])));
    const F(v) z = F(mul)(x, sum);
    return F(odds_of)(z, F(fma)(x, low, F(fma)(x, sum, F(mul)(z, minus))));
}

FC_INLINE F(v) F(gelu_tanh)(F(v) x) {
    const F(v) near = F(within)(x, C(gelu_tanh_end));
    const F(odds) s = F(gelu_tanh_odds)(near);
    return F(scale)(F(div)(F(mul)(F(at_least)(x, -C(gelu_tanh_end)), s.top), s.bottom), s.n);
}

FC_INLINE F(v) F(gelu_tanh_slope)(F(v) x) {
    x = F(within)(x, C(gelu_tanh_end));
    const F(v) rise = F(fma)(F(mul)(x, x), F(set1)(3 * C(tanh_bend)[0]), F(set1)(C(tanh_rise)[0]));
    return F(odds_slope)(F(gelu_tanh_odds)(x), F(mul)(x, rise));
}
#undef C
