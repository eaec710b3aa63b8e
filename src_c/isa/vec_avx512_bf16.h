/* SPDX-License-Identifier: BSD-3-Clause
 * The words of products of bfloat16 numbers on vectors: each 32-bit lane is a pair of them. The vectors beside them are
 * those of AVX-512. */
FC_INLINE v_f32 load_pairs(const uint16_t *p) { return _mm512_castsi512_ps(_mm512_loadu_si512(p)); }

/* The pair at p, in all lanes. */
FC_INLINE v_f32 set1_pair(const uint16_t *p) {
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return _mm512_castsi512_ps(_mm512_set1_epi32(pair));
}

/* sum + a[1] * b[1] + a[0] * b[0] in each lane, subnormal numbers being zero. */
FC_INLINE v_f32 add_products(v_f32 sum, v_f32 a, v_f32 b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }
