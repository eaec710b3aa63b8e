/* SPDX-License-Identifier: BSD-3-Clause
 * The vector vocabulary in AVX-512. 32 registers: 7 rows x 2 vectors x 2 chains of sums, 2 vectors of B, 1 of A. */
#define FC_MR 7
#define VL_f32 16
#define VL_f64 8

typedef __m512 v_f32;
typedef __m512d v_f64;
typedef __m512i i_f32; /* as many integers as v_f32 has numbers */
typedef __m512i i_f64;
typedef __mmask16 m_f32;
typedef __mmask8 m_f64;

FC_INLINE v_f32 zero_f32(void) { return _mm512_setzero_ps(); }
FC_INLINE v_f64 zero_f64(void) { return _mm512_setzero_pd(); }
FC_INLINE v_f32 set1_f32(float a) { return _mm512_set1_ps(a); }
FC_INLINE v_f64 set1_f64(double a) { return _mm512_set1_pd(a); }
FC_INLINE v_f32 load_f32(const float *p) { return _mm512_loadu_ps(p); }
FC_INLINE v_f64 load_f64(const double *p) { return _mm512_loadu_pd(p); }
FC_INLINE void store_f32(float *p, v_f32 a) { _mm512_storeu_ps(p, a); }
FC_INLINE void store_f64(double *p, v_f64 a) { _mm512_storeu_pd(p, a); }

/* As a store, past the caches; p is a multiple of the vector's size. fc_parallel_for sees to it that others may
 * read the results. */
FC_INLINE void stream_f32(float *p, v_f32 a) { _mm512_stream_ps(p, a); }
FC_INLINE void stream_f64(double *p, v_f64 a) { _mm512_stream_pd(p, a); }

/* The first n lanes only; the bytes behind them are not touched. 0 <= n <= VL. */
FC_INLINE v_f32 load_n_f32(const float *p, int n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
FC_INLINE v_f64 load_n_f64(const double *p, int n) { return _mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p); }
FC_INLINE void store_n_f32(float *p, v_f32 a, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), a); }
FC_INLINE void store_n_f64(double *p, v_f64 a, int n) { _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), a); }

/* Lanes first to first + n - 1 from p[0] to p[n-1], the others from `rest`; no other bytes are touched. */
FC_INLINE v_f32 load_at_f32(v_f32 rest, const float *p, int first, int n) {
    return _mm512_mask_loadu_ps(rest, (__mmask16)(((1u << n) - 1) << first), p - first);
}
FC_INLINE v_f64 load_at_f64(v_f64 rest, const double *p, int first, int n) {
    return _mm512_mask_loadu_pd(rest, (__mmask8)(((1u << n) - 1) << first), p - first);
}

FC_INLINE v_f32 fma_f32(v_f32 a, v_f32 b, v_f32 c) { return _mm512_fmadd_ps(a, b, c); }
FC_INLINE v_f64 fma_f64(v_f64 a, v_f64 b, v_f64 c) { return _mm512_fmadd_pd(a, b, c); }
FC_INLINE v_f32 add_f32(v_f32 a, v_f32 b) { return _mm512_add_ps(a, b); }
FC_INLINE v_f64 add_f64(v_f64 a, v_f64 b) { return _mm512_add_pd(a, b); }
FC_INLINE v_f32 sub_f32(v_f32 a, v_f32 b) { return _mm512_sub_ps(a, b); }
FC_INLINE v_f64 sub_f64(v_f64 a, v_f64 b) { return _mm512_sub_pd(a, b); }
FC_INLINE v_f32 mul_f32(v_f32 a, v_f32 b) { return _mm512_mul_ps(a, b); }
FC_INLINE v_f64 mul_f64(v_f64 a, v_f64 b) { return _mm512_mul_pd(a, b); }
FC_INLINE v_f32 div_f32(v_f32 a, v_f32 b) { return _mm512_div_ps(a, b); }
FC_INLINE v_f64 div_f64(v_f64 a, v_f64 b) { return _mm512_div_pd(a, b); }
FC_INLINE v_f32 root_f32(v_f32 a) { return _mm512_sqrt_ps(a); }
FC_INLINE v_f64 root_f64(v_f64 a) { return _mm512_sqrt_pd(a); }
FC_INLINE v_f32 abs_f32(v_f32 a) { return _mm512_abs_ps(a); }
FC_INLINE v_f64 abs_f64(v_f64 a) { return _mm512_abs_pd(a); }
/* The sign of b before the bits of a, whose own sign is plus. */
FC_INLINE v_f32 with_sign_f32(v_f32 a, v_f32 b) { return _mm512_or_ps(a, _mm512_and_ps(b, _mm512_set1_ps(-0.0f))); }
FC_INLINE v_f64 with_sign_f64(v_f64 a, v_f64 b) { return _mm512_or_pd(a, _mm512_and_pd(b, _mm512_set1_pd(-0.0))); }
/* a * 2^n, rounded once, for whole n whose half is an exponent. */
FC_INLINE v_f32 scale_f32(v_f32 a, v_f32 n) { return _mm512_scalef_ps(a, n); }
FC_INLINE v_f64 scale_f64(v_f64 a, v_f64 n) { return _mm512_scalef_pd(a, n); }
/* Over all lanes: the sum, taken in double precision, and the largest, none being NaN. */
FC_INLINE double sum_lanes_f64(v_f64 a) { return _mm512_reduce_add_pd(a); }
FC_INLINE double sum_lanes_f32(v_f32 a) {
    const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(a));
    return _mm512_reduce_add_pd(_mm512_add_pd(low, _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1))));
}
FC_INLINE float max_lanes_f32(v_f32 a) { return _mm512_reduce_max_ps(a); }
FC_INLINE double max_lanes_f64(v_f64 a) { return _mm512_reduce_max_pd(a); }
FC_INLINE m_f32 above_f32(v_f32 a, v_f32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); } /* lanes in which a > b */
FC_INLINE m_f64 above_f64(v_f64 a, v_f64 b) { return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ); }
/* a > b ? a : b, so b when either is NaN. */
FC_INLINE v_f32 max_f32(v_f32 a, v_f32 b) { return _mm512_max_ps(a, b); }
FC_INLINE v_f64 max_f64(v_f64 a, v_f64 b) { return _mm512_max_pd(a, b); }

/* Lanes in which a beats the maximum so far: greater, or the first NaN. */
FC_INLINE m_f32 beats_f32(v_f32 a, v_f32 best) {
    return _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(best, best, _CMP_ORD_Q), a, best, _CMP_NLE_UQ);
}
FC_INLINE m_f64 beats_f64(v_f64 a, v_f64 best) {
    return _mm512_mask_cmp_pd_mask(_mm512_cmp_pd_mask(best, best, _CMP_ORD_Q), a, best, _CMP_NLE_UQ);
}
/* Whether any lane is NaN. */
FC_INLINE int any_nan_f32(v_f32 a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q) != 0; }
FC_INLINE int any_nan_f64(v_f64 a) { return _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q) != 0; }
FC_INLINE v_f32 pick_f32(m_f32 m, v_f32 yes, v_f32 no) { return _mm512_mask_blend_ps(m, no, yes); }
FC_INLINE v_f64 pick_f64(m_f64 m, v_f64 yes, v_f64 no) { return _mm512_mask_blend_pd(m, no, yes); }
FC_INLINE i_f32 iset1_f32(int32_t a) { return _mm512_set1_epi32(a); }
FC_INLINE i_f64 iset1_f64(int64_t a) { return _mm512_set1_epi64(a); }
FC_INLINE i_f32 ipick_f32(m_f32 m, i_f32 yes, i_f32 no) { return _mm512_mask_blend_epi32(m, no, yes); }
FC_INLINE i_f64 ipick_f64(m_f64 m, i_f64 yes, i_f64 no) { return _mm512_mask_blend_epi64(m, no, yes); }

/* Pooling indices: VL_f64 integers of 64 bits. iload_n: the first n, then lanes of `rest`; the bytes behind the n are
 * not touched. imul multiplies the lower halves. same: lanes whose index is `value`; same_n reads the first n, the
 * other lanes mean nothing. */
FC_INLINE i_f64 iload_f64(const int64_t *p) { return _mm512_loadu_si512(p); }
FC_INLINE i_f64 iload_n_f64(const int64_t *p, int n, i_f64 rest) {
    return _mm512_mask_loadu_epi64(rest, (__mmask8)((1u << n) - 1), p);
}
FC_INLINE void istore_f64(int64_t *p, i_f64 a) { _mm512_storeu_si512(p, a); }
FC_INLINE i_f64 imin_f64(i_f64 a, i_f64 b) { return _mm512_min_epi64(a, b); }
FC_INLINE i_f64 imax_f64(i_f64 a, i_f64 b) { return _mm512_max_epi64(a, b); }
FC_INLINE i_f64 isub_f64(i_f64 a, i_f64 b) { return _mm512_sub_epi64(a, b); }
FC_INLINE i_f64 imul_f64(i_f64 a, i_f64 b) { return _mm512_mul_epu32(a, b); }
FC_INLINE i_f64 ishift_f64(i_f64 a, int n) { return _mm512_srl_epi64(a, _mm_cvtsi32_si128(n)); }
FC_INLINE m_f64 same_f64(const int64_t *p, int64_t value) {
    return _mm512_cmpeq_epi64_mask(_mm512_loadu_si512(p), _mm512_set1_epi64(value));
}
FC_INLINE m_f32 same_f32(const int64_t *p, int64_t value) {
    return _mm512_kunpackb(same_f64(p + 8, value), same_f64(p, value));
}
FC_INLINE m_f64 same_n_f64(const int64_t *p, int64_t value, int n) {
    const __mmask8 there = (__mmask8)((1u << n) - 1);
    return _mm512_cmpeq_epi64_mask(_mm512_maskz_loadu_epi64(there, p), _mm512_set1_epi64(value));
}
FC_INLINE m_f32 same_n_f32(const int64_t *p, int64_t value, int n) {
    return n <= 8 ? same_n_f64(p, value, n) : _mm512_kunpackb(same_n_f64(p + 8, value, n - 8), same_f64(p, value));
}
/* The same of integers as wide as the numbers. */
FC_INLINE m_f32 same_place_f32(const int32_t *p, int32_t value) {
    return _mm512_cmpeq_epi32_mask(_mm512_loadu_si512(p), _mm512_set1_epi32(value));
}
FC_INLINE m_f32 same_place_n_f32(const int32_t *p, int32_t value, int n) {
    const __mmask16 there = (__mmask16)((1u << n) - 1);
    return _mm512_cmpeq_epi32_mask(_mm512_maskz_loadu_epi32(there, p), _mm512_set1_epi32(value));
}
/* p[l] = at + offset[l] + place[l] for the first n lanes; offset has a number for each lane. */
FC_INLINE void istore_places_f64(int64_t *p, i_f64 place, const int64_t *offset, int64_t at, int n) {
    const i_f64 sum = _mm512_add_epi64(_mm512_add_epi64(place, iload_f64(offset)), iset1_f64(at));
    _mm512_mask_storeu_epi64(p, (__mmask8)((1u << n) - 1), sum);
}
FC_INLINE void istore_places_f32(int64_t *p, i_f32 place, const int64_t *offset, int64_t at, int n) {
    istore_places_f64(p, _mm512_cvtepi32_epi64(_mm512_castsi512_si256(place)), offset, at, n < 8 ? n : 8);
    const i_f64 upper = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(place, 1));
    if (n > 8) istore_places_f64(p + 8, upper, offset + 8, at, n - 8);
}

/* Interleave the lower (upper) halves: a0 b0 a1 b1 ... */
FC_INLINE v_f32 zip_lo_f32(v_f32 a, v_f32 b) {
    return _mm512_permutex2var_ps(a, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), b);
}
FC_INLINE v_f32 zip_hi_f32(v_f32 a, v_f32 b) {
    return _mm512_permutex2var_ps(a, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31),
                                  b);
}
FC_INLINE v_f64 zip_lo_f64(v_f64 a, v_f64 b) {
    return _mm512_permutex2var_pd(a, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), b);
}
FC_INLINE v_f64 zip_hi_f64(v_f64 a, v_f64 b) {
    return _mm512_permutex2var_pd(a, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), b);
}

/* Pieces of `piece` lanes, `pitch` numbers apart: 4 or 8 floats, 4 doubles. */
FC_INLINE void store_pieces_f32(float *p, v_f32 a, int piece, ptrdiff_t pitch) {
    if (piece == 8) {
        _mm256_storeu_ps(p, _mm512_castps512_ps256(a));
        _mm256_storeu_ps(p + pitch, _mm512_extractf32x8_ps(a, 1));
        return;
    }
    _mm_storeu_ps(p, _mm512_castps512_ps128(a));
    _mm_storeu_ps(p + pitch, _mm512_extractf32x4_ps(a, 1));
    _mm_storeu_ps(p + 2 * pitch, _mm512_extractf32x4_ps(a, 2));
    _mm_storeu_ps(p + 3 * pitch, _mm512_extractf32x4_ps(a, 3));
}
FC_INLINE void store_pieces_f64(double *p, v_f64 a, int piece, ptrdiff_t pitch) {
    (void)piece;
    _mm256_storeu_pd(p, _mm512_castpd512_pd256(a));
    _mm256_storeu_pd(p + pitch, _mm512_extractf64x4_pd(a, 1));
}

/* For products of bfloat16. 16 pairs: the upper halves of a number of each vector. */
FC_INLINE void store_halves(uint16_t *p, v_f32 low, v_f32 high) {
    const __m512i below = _mm512_srli_epi32(_mm512_castps_si512(low), 16), mask = _mm512_set1_epi32((int)0xFFFF0000u);
    _mm512_storeu_si512(p, _mm512_ternarylogic_epi32(below, _mm512_castps_si512(high), mask, 0xF8)); /* a | b & c */
}

FC_INLINE int all_finite(v_f32 a) {
    return _mm512_fpclass_ps_mask(a, 0x99) == 0; /* quiet NaN, plus and minus infinity, signaling NaN */
}
