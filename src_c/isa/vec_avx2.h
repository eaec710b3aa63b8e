/* SPDX-License-Identifier: BSD-3-Clause
 * The vector vocabulary in AVX2 + FMA. 16 registers: 3 rows x 2 vectors x 2 chains of sums, 2 vectors of B, 1 of A. */
#define FC_MR 3
#define VL_f32 8
#define VL_f64 4

typedef __m256 v_f32;
typedef __m256d v_f64;
typedef __m256i i_f32; /* as many integers as v_f32 has numbers */
typedef __m256i i_f64;
typedef __m256 m_f32;
typedef __m256d m_f64;

FC_INLINE v_f32 zero_f32(void) { return _mm256_setzero_ps(); }
FC_INLINE v_f64 zero_f64(void) { return _mm256_setzero_pd(); }
FC_INLINE v_f32 set1_f32(float a) { return _mm256_set1_ps(a); }
FC_INLINE v_f64 set1_f64(double a) { return _mm256_set1_pd(a); }
FC_INLINE v_f32 load_f32(const float *p) { return _mm256_loadu_ps(p); }
FC_INLINE v_f64 load_f64(const double *p) { return _mm256_loadu_pd(p); }
FC_INLINE void store_f32(float *p, v_f32 a) { _mm256_storeu_ps(p, a); }
FC_INLINE void store_f64(double *p, v_f64 a) { _mm256_storeu_pd(p, a); }

/* As a store, past the caches; p is a multiple of the vector's size. fc_parallel_for sees to it that others may
 * read the results. */
FC_INLINE void stream_f32(float *p, v_f32 a) { _mm256_stream_ps(p, a); }
FC_INLINE void stream_f64(double *p, v_f64 a) { _mm256_stream_pd(p, a); }

/* The first n lanes only; the bytes behind them are not touched. 0 <= n <= VL. */
FC_INLINE __m256i lanes_f32(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
FC_INLINE __m256i lanes_f64(int n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
FC_INLINE v_f32 load_n_f32(const float *p, int n) { return _mm256_maskload_ps(p, lanes_f32(n)); }
FC_INLINE v_f64 load_n_f64(const double *p, int n) { return _mm256_maskload_pd(p, lanes_f64(n)); }
FC_INLINE void store_n_f32(float *p, v_f32 a, int n) { _mm256_maskstore_ps(p, lanes_f32(n), a); }
FC_INLINE void store_n_f64(double *p, v_f64 a, int n) { _mm256_maskstore_pd(p, lanes_f64(n), a); }

/* Lanes first to first + n - 1 from p[0] to p[n-1], the others from `rest`; no other bytes are touched. */
FC_INLINE v_f32 load_at_f32(v_f32 rest, const float *p, int first, int n) {
    const __m256i there = _mm256_andnot_si256(lanes_f32(first), lanes_f32(first + n));
    return _mm256_blendv_ps(rest, _mm256_maskload_ps(p - first, there), _mm256_castsi256_ps(there));
}
FC_INLINE v_f64 load_at_f64(v_f64 rest, const double *p, int first, int n) {
    const __m256i there = _mm256_andnot_si256(lanes_f64(first), lanes_f64(first + n));
    return _mm256_blendv_pd(rest, _mm256_maskload_pd(p - first, there), _mm256_castsi256_pd(there));
}

FC_INLINE v_f32 fma_f32(v_f32 a, v_f32 b, v_f32 c) { return _mm256_fmadd_ps(a, b, c); }
FC_INLINE v_f64 fma_f64(v_f64 a, v_f64 b, v_f64 c) { return _mm256_fmadd_pd(a, b, c); }
FC_INLINE v_f32 add_f32(v_f32 a, v_f32 b) { return _mm256_add_ps(a, b); }
FC_INLINE v_f64 add_f64(v_f64 a, v_f64 b) { return _mm256_add_pd(a, b); }
FC_INLINE v_f32 sub_f32(v_f32 a, v_f32 b) { return _mm256_sub_ps(a, b); }
FC_INLINE v_f64 sub_f64(v_f64 a, v_f64 b) { return _mm256_sub_pd(a, b); }
FC_INLINE v_f32 mul_f32(v_f32 a, v_f32 b) { return _mm256_mul_ps(a, b); }
FC_INLINE v_f64 mul_f64(v_f64 a, v_f64 b) { return _mm256_mul_pd(a, b); }
FC_INLINE v_f32 div_f32(v_f32 a, v_f32 b) { return _mm256_div_ps(a, b); }
FC_INLINE v_f64 div_f64(v_f64 a, v_f64 b) { return _mm256_div_pd(a, b); }
FC_INLINE v_f32 root_f32(v_f32 a) { return _mm256_sqrt_ps(a); }
FC_INLINE v_f64 root_f64(v_f64 a) { return _mm256_sqrt_pd(a); }
FC_INLINE v_f32 abs_f32(v_f32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
FC_INLINE v_f64 abs_f64(v_f64 a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
/* The sign of b before the bits of a, whose own sign is plus. */
FC_INLINE v_f32 with_sign_f32(v_f32 a, v_f32 b) { return _mm256_or_ps(a, _mm256_and_ps(b, _mm256_set1_ps(-0.0f))); }
FC_INLINE v_f64 with_sign_f64(v_f64 a, v_f64 b) { return _mm256_or_pd(a, _mm256_and_pd(b, _mm256_set1_pd(-0.0))); }
/* a * 2^n, rounded once, for whole n whose half is an exponent. */
FC_INLINE v_f32 power_of_two_f32(__m256i n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
FC_INLINE v_f64 power_of_two_f64(__m128i n) {
    return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_cvtepi32_epi64(_mm_add_epi32(n, _mm_set1_epi32(1023))), 52));
}
FC_INLINE v_f32 scale_f32(v_f32 a, v_f32 n) {
    const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    return _mm256_mul_ps(_mm256_mul_ps(a, power_of_two_f32(half)), power_of_two_f32(_mm256_sub_epi32(whole, half)));
}
FC_INLINE v_f64 scale_f64(v_f64 a, v_f64 n) {
    const __m128i whole = _mm256_cvtpd_epi32(n), half = _mm_srai_epi32(whole, 1);
    return _mm256_mul_pd(_mm256_mul_pd(a, power_of_two_f64(half)), power_of_two_f64(_mm_sub_epi32(whole, half)));
}
/* Over all lanes: the sum, taken in double precision, and the largest, none being NaN. */
FC_INLINE double sum_lanes_f64(v_f64 a) {
    const __m128d pairs = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(pairs, _mm_unpackhi_pd(pairs, pairs)));
}
FC_INLINE double sum_lanes_f32(v_f32 a) {
    const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(a));
    return sum_lanes_f64(_mm256_add_pd(low, _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1))));
}
FC_INLINE float max_lanes_f32(v_f32 a) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
FC_INLINE double max_lanes_f64(v_f64 a) {
    const __m128d two = _mm_max_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_max_sd(two, _mm_unpackhi_pd(two, two)));
}
FC_INLINE m_f32 above_f32(v_f32 a, v_f32 b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); } /* lanes in which a > b */
FC_INLINE m_f64 above_f64(v_f64 a, v_f64 b) { return _mm256_cmp_pd(a, b, _CMP_GT_OQ); }
/* a > b ? a : b, so b when either is NaN. */
FC_INLINE v_f32 max_f32(v_f32 a, v_f32 b) { return _mm256_max_ps(a, b); }
FC_INLINE v_f64 max_f64(v_f64 a, v_f64 b) { return _mm256_max_pd(a, b); }

/* Lanes in which a beats the maximum so far: greater, or the first NaN. */
FC_INLINE m_f32 beats_f32(v_f32 a, v_f32 best) {
    return _mm256_and_ps(_mm256_cmp_ps(best, best, _CMP_ORD_Q), _mm256_cmp_ps(a, best, _CMP_NLE_UQ));
}
FC_INLINE m_f64 beats_f64(v_f64 a, v_f64 best) {
    return _mm256_and_pd(_mm256_cmp_pd(best, best, _CMP_ORD_Q), _mm256_cmp_pd(a, best, _CMP_NLE_UQ));
}
/* Whether any lane is NaN. */
FC_INLINE int any_nan_f32(v_f32 a) { return _mm256_movemask_ps(_mm256_cmp_ps(a, a, _CMP_UNORD_Q)) != 0; }
FC_INLINE int any_nan_f64(v_f64 a) { return _mm256_movemask_pd(_mm256_cmp_pd(a, a, _CMP_UNORD_Q)) != 0; }
FC_INLINE v_f32 pick_f32(m_f32 m, v_f32 yes, v_f32 no) { return _mm256_blendv_ps(no, yes, m); }
FC_INLINE v_f64 pick_f64(m_f64 m, v_f64 yes, v_f64 no) { return _mm256_blendv_pd(no, yes, m); }
FC_INLINE i_f32 iset1_f32(int32_t a) { return _mm256_set1_epi32(a); }
FC_INLINE i_f64 iset1_f64(int64_t a) { return _mm256_set1_epi64x(a); }
FC_INLINE i_f32 ipick_f32(m_f32 m, i_f32 yes, i_f32 no) {
    return _mm256_blendv_epi8(no, yes, _mm256_castps_si256(m));
}
FC_INLINE i_f64 ipick_f64(m_f64 m, i_f64 yes, i_f64 no) {
    return _mm256_blendv_epi8(no, yes, _mm256_castpd_si256(m));
}

/* Pooling indices: VL_f64 integers of 64 bits. iload_n: the first n, then lanes of `rest`; the bytes behind the n are
 * not touched. imul multiplies the lower halves. same: lanes whose index is `value`; same_n reads the first n, the
 * other lanes mean nothing. */
FC_INLINE i_f64 iload_f64(const int64_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
FC_INLINE i_f64 iload_n_f64(const int64_t *p, int n, i_f64 rest) {
    const __m256i there = lanes_f64(n);
    return _mm256_blendv_epi8(rest, _mm256_maskload_epi64((const long long *)(const void *)p, there), there);
}
FC_INLINE void istore_f64(int64_t *p, i_f64 a) { _mm256_storeu_si256((__m256i *)(void *)p, a); }
FC_INLINE i_f64 imin_f64(i_f64 a, i_f64 b) { return _mm256_blendv_epi8(a, b, _mm256_cmpgt_epi64(a, b)); }
FC_INLINE i_f64 imax_f64(i_f64 a, i_f64 b) { return _mm256_blendv_epi8(b, a, _mm256_cmpgt_epi64(a, b)); }
FC_INLINE i_f64 isub_f64(i_f64 a, i_f64 b) { return _mm256_sub_epi64(a, b); }
FC_INLINE i_f64 imul_f64(i_f64 a, i_f64 b) { return _mm256_mul_epu32(a, b); }
FC_INLINE i_f64 ishift_f64(i_f64 a, int n) { return _mm256_srl_epi64(a, _mm_cvtsi32_si128(n)); }
FC_INLINE m_f64 same_f64(const int64_t *p, int64_t value) {
    return _mm256_castsi256_pd(_mm256_cmpeq_epi64(iload_f64(p), _mm256_set1_epi64x(value)));
}
FC_INLINE m_f64 same_n_f64(const int64_t *p, int64_t value, int n) {
    const __m256i there = iload_n_f64(p, n, _mm256_setzero_si256());
    return _mm256_castsi256_pd(_mm256_cmpeq_epi64(there, _mm256_set1_epi64x(value)));
}
FC_INLINE m_f32 join_f32(m_f64 low, m_f64 high) { /* of each 64-bit lane its lower half, in order */
    const __m256 halves = _mm256_shuffle_ps(_mm256_castpd_ps(low), _mm256_castpd_ps(high), 0x88);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(halves), 0xD8));
}
FC_INLINE m_f32 same_f32(const int64_t *p, int64_t value) {
    return join_f32(same_f64(p, value), same_f64(p + 4, value));
}
FC_INLINE m_f32 same_n_f32(const int64_t *p, int64_t value, int n) {
    if (n <= 4) return join_f32(same_n_f64(p, value, n), _mm256_setzero_pd());
    return join_f32(same_f64(p, value), same_n_f64(p + 4, value, n - 4));
}
/* The same of integers as wide as the numbers. */
FC_INLINE m_f32 same_place_f32(const int32_t *p, int32_t value) {
    const __m256i places = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(places, _mm256_set1_epi32(value)));
}
FC_INLINE m_f32 same_place_n_f32(const int32_t *p, int32_t value, int n) {
    const __m256i places = _mm256_maskload_epi32(p, lanes_f32(n));
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(places, _mm256_set1_epi32(value)));
}
/* p[l] = at + offset[l] + place[l] for the first n lanes; offset has a number for each lane. */
FC_INLINE void istore_places_f64(int64_t *p, i_f64 place, const int64_t *offset, int64_t at, int n) {
    const i_f64 sum = _mm256_add_epi64(_mm256_add_epi64(place, iload_f64(offset)), iset1_f64(at));
    _mm256_maskstore_epi64((long long *)(void *)p, lanes_f64(n), sum);
}
FC_INLINE void istore_places_f32(int64_t *p, i_f32 place, const int64_t *offset, int64_t at, int n) {
    istore_places_f64(p, _mm256_cvtepi32_epi64(_mm256_castsi256_si128(place)), offset, at, n < 4 ? n : 4);
    const i_f64 upper = _mm256_cvtepi32_epi64(_mm256_extracti128_si256(place, 1));
    if (n > 4) istore_places_f64(p + 4, upper, offset + 4, at, n - 4);
}

/* Interleave the lower (upper) halves: a0 b0 a1 b1 ... */
FC_INLINE v_f32 zip_lo_f32(v_f32 a, v_f32 b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20);
}
FC_INLINE v_f32 zip_hi_f32(v_f32 a, v_f32 b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31);
}
FC_INLINE v_f64 zip_lo_f64(v_f64 a, v_f64 b) {
    return _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x20);
}
FC_INLINE v_f64 zip_hi_f64(v_f64 a, v_f64 b) {
    return _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x31);
}

/* Pieces of `piece` lanes, `pitch` numbers apart: 4 floats. There are no pieces of doubles: 3 of them fill a vector. */
FC_INLINE void store_pieces_f32(float *p, v_f32 a, int piece, ptrdiff_t pitch) {
    (void)piece;
    _mm_storeu_ps(p, _mm256_castps256_ps128(a));
    _mm_storeu_ps(p + pitch, _mm256_extractf128_ps(a, 1));
}
FC_INLINE void store_pieces_f64(double *p, v_f64 a, int piece, ptrdiff_t pitch) {
    (void)piece, (void)pitch;
    store_f64(p, a);
}
