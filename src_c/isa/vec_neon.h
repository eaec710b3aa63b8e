/* SPDX-License-Identifier: BSD-3-Clause
 * The vector vocabulary in 64-bit Arm NEON. 32 registers: 7 rows x 2 vectors x 2 chains of sums, 2 vectors of B, 1 of
 * A. */
#define FC_MR 7
#define VL_f32 4
#define VL_f64 2

typedef float32x4_t v_f32;
typedef float64x2_t v_f64;
typedef int32x4_t i_f32; /* as many integers as v_f32 has numbers */
typedef int64x2_t i_f64;
typedef uint32x4_t m_f32;
typedef uint64x2_t m_f64;

FC_INLINE v_f32 zero_f32(void) { return vdupq_n_f32(0); }
FC_INLINE v_f64 zero_f64(void) { return vdupq_n_f64(0); }
FC_INLINE v_f32 set1_f32(float a) { return vdupq_n_f32(a); }
FC_INLINE v_f64 set1_f64(double a) { return vdupq_n_f64(a); }
FC_INLINE v_f32 load_f32(const float *p) { return vld1q_f32(p); }
FC_INLINE v_f64 load_f64(const double *p) { return vld1q_f64(p); }
FC_INLINE void store_f32(float *p, v_f32 a) { vst1q_f32(p, a); }
FC_INLINE void store_f64(double *p, v_f64 a) { vst1q_f64(p, a); }

/* For results that are not read again soon: there is no instruction for one vector that goes past the caches. */
FC_INLINE void stream_f32(float *p, v_f32 a) { vst1q_f32(p, a); }
FC_INLINE void stream_f64(double *p, v_f64 a) { vst1q_f64(p, a); }

/* The first n lanes only; the bytes behind them are not touched. 0 <= n <= VL. */
FC_INLINE v_f32 load_n_f32(const float *p, int n) {
    float lanes[VL_f32] = {0};
    for (int i = 0; i < n; i++) lanes[i] = p[i];
    return vld1q_f32(lanes);
}
FC_INLINE v_f64 load_n_f64(const double *p, int n) {
    double lanes[VL_f64] = {0};
    for (int i = 0; i < n; i++) lanes[i] = p[i];
    return vld1q_f64(lanes);
}
FC_INLINE void store_n_f32(float *p, v_f32 a, int n) {
    float lanes[VL_f32];
    vst1q_f32(lanes, a);
    for (int i = 0; i < n; i++) p[i] = lanes[i];
}
FC_INLINE void store_n_f64(double *p, v_f64 a, int n) {
    double lanes[VL_f64];
    vst1q_f64(lanes, a);
    for (int i = 0; i < n; i++) p[i] = lanes[i];
}

/* Lanes first to first + n - 1 from p[0] to p[n-1], the others from `rest`; no other bytes are touched. */
FC_INLINE v_f32 load_at_f32(v_f32 rest, const float *p, int first, int n) {
    float lanes[VL_f32];
    vst1q_f32(lanes, rest);
    for (int i = 0; i < n; i++) lanes[first + i] = p[i];
    return vld1q_f32(lanes);
}
FC_INLINE v_f64 load_at_f64(v_f64 rest, const double *p, int first, int n) {
    double lanes[VL_f64];
    vst1q_f64(lanes, rest);
    for (int i = 0; i < n; i++) lanes[first + i] = p[i];
    return vld1q_f64(lanes);
}

FC_INLINE v_f32 fma_f32(v_f32 a, v_f32 b, v_f32 c) { return vfmaq_f32(c, a, b); }
FC_INLINE v_f64 fma_f64(v_f64 a, v_f64 b, v_f64 c) { return vfmaq_f64(c, a, b); }
FC_INLINE v_f32 add_f32(v_f32 a, v_f32 b) { return vaddq_f32(a, b); }
FC_INLINE v_f64 add_f64(v_f64 a, v_f64 b) { return vaddq_f64(a, b); }
FC_INLINE v_f32 sub_f32(v_f32 a, v_f32 b) { return vsubq_f32(a, b); }
FC_INLINE v_f64 sub_f64(v_f64 a, v_f64 b) { return vsubq_f64(a, b); }
FC_INLINE v_f32 mul_f32(v_f32 a, v_f32 b) { return vmulq_f32(a, b); }
FC_INLINE v_f64 mul_f64(v_f64 a, v_f64 b) { return vmulq_f64(a, b); }
FC_INLINE v_f32 div_f32(v_f32 a, v_f32 b) { return vdivq_f32(a, b); }
FC_INLINE v_f64 div_f64(v_f64 a, v_f64 b) { return vdivq_f64(a, b); }
FC_INLINE v_f32 root_f32(v_f32 a) { return vsqrtq_f32(a); }
FC_INLINE v_f64 root_f64(v_f64 a) { return vsqrtq_f64(a); }
FC_INLINE v_f32 abs_f32(v_f32 a) { return vabsq_f32(a); }
FC_INLINE v_f64 abs_f64(v_f64 a) { return vabsq_f64(a); }
/* The sign of b before the bits of a, whose own sign is plus. */
FC_INLINE v_f32 with_sign_f32(v_f32 a, v_f32 b) { return vbslq_f32(vdupq_n_u32(1u << 31), b, a); }
FC_INLINE v_f64 with_sign_f64(v_f64 a, v_f64 b) { return vbslq_f64(vdupq_n_u64(1ull << 63), b, a); }
/* a * 2^n, rounded once, for whole n whose half is an exponent. */
FC_INLINE v_f32 power_of_two_f32(int32x4_t n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}
FC_INLINE v_f64 power_of_two_f64(int64x2_t n) {
    return vreinterpretq_f64_s64(vshlq_n_s64(vaddq_s64(n, vdupq_n_s64(1023)), 52));
}
FC_INLINE v_f32 scale_f32(v_f32 a, v_f32 n) {
    const int32x4_t whole = vcvtq_s32_f32(n), half = vshrq_n_s32(whole, 1);
    return vmulq_f32(vmulq_f32(a, power_of_two_f32(half)), power_of_two_f32(vsubq_s32(whole, half)));
}
FC_INLINE v_f64 scale_f64(v_f64 a, v_f64 n) {
    const int64x2_t whole = vcvtq_s64_f64(n), half = vshrq_n_s64(whole, 1);
    return vmulq_f64(vmulq_f64(a, power_of_two_f64(half)), power_of_two_f64(vsubq_s64(whole, half)));
}
/* Over all lanes: the sum, taken in double precision, and the largest, none being NaN. */
FC_INLINE double sum_lanes_f64(v_f64 a) { return vaddvq_f64(a); }
FC_INLINE double sum_lanes_f32(v_f32 a) {
    return vaddvq_f64(vaddq_f64(vcvt_f64_f32(vget_low_f32(a)), vcvt_high_f64_f32(a)));
}
FC_INLINE float max_lanes_f32(v_f32 a) { return vmaxvq_f32(a); }
FC_INLINE double max_lanes_f64(v_f64 a) { return vmaxvq_f64(a); }
FC_INLINE m_f32 above_f32(v_f32 a, v_f32 b) { return vcgtq_f32(a, b); } /* lanes in which a > b */
FC_INLINE m_f64 above_f64(v_f64 a, v_f64 b) { return vcgtq_f64(a, b); }
/* a > b ? a : b, so b when either is NaN. */
FC_INLINE v_f32 max_f32(v_f32 a, v_f32 b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
FC_INLINE v_f64 max_f64(v_f64 a, v_f64 b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }

/* Lanes in which a beats the maximum so far: greater, or the first NaN. */
FC_INLINE m_f32 beats_f32(v_f32 a, v_f32 best) {
    return vbicq_u32(vceqq_f32(best, best), vcleq_f32(a, best));
}
FC_INLINE m_f64 beats_f64(v_f64 a, v_f64 best) {
    return vbicq_u64(vceqq_f64(best, best), vcleq_f64(a, best));
}
/* Whether any lane is NaN. */
FC_INLINE int any_nan_f32(v_f32 a) { return vminvq_u32(vceqq_f32(a, a)) == 0; }
FC_INLINE int any_nan_f64(v_f64 a) { return vminvq_u32(vreinterpretq_u32_u64(vceqq_f64(a, a))) == 0; }
FC_INLINE v_f32 pick_f32(m_f32 m, v_f32 yes, v_f32 no) { return vbslq_f32(m, yes, no); }
FC_INLINE v_f64 pick_f64(m_f64 m, v_f64 yes, v_f64 no) { return vbslq_f64(m, yes, no); }
FC_INLINE i_f32 iset1_f32(int32_t a) { return vdupq_n_s32(a); }
FC_INLINE i_f64 iset1_f64(int64_t a) { return vdupq_n_s64(a); }
FC_INLINE i_f32 ipick_f32(m_f32 m, i_f32 yes, i_f32 no) { return vbslq_s32(m, yes, no); }
FC_INLINE i_f64 ipick_f64(m_f64 m, i_f64 yes, i_f64 no) { return vbslq_s64(m, yes, no); }

/* Pooling indices: VL_f64 integers of 64 bits. iload_n: the first n, then lanes of `rest`; the bytes behind the n are
 * not touched. imul multiplies the lower halves. same: lanes whose index is `value`; same_n reads the first n, the
 * other lanes mean nothing. */
FC_INLINE i_f64 iload_f64(const int64_t *p) { return vld1q_s64(p); }
FC_INLINE i_f64 iload_n_f64(const int64_t *p, int n, i_f64 rest) {
    int64_t lanes[VL_f64];
    vst1q_s64(lanes, rest);
    for (int i = 0; i < n; i++) lanes[i] = p[i];
    return vld1q_s64(lanes);
}
FC_INLINE void istore_f64(int64_t *p, i_f64 a) { vst1q_s64(p, a); }
FC_INLINE i_f64 imin_f64(i_f64 a, i_f64 b) { return vbslq_s64(vcgtq_s64(a, b), b, a); }
FC_INLINE i_f64 imax_f64(i_f64 a, i_f64 b) { return vbslq_s64(vcgtq_s64(a, b), a, b); }
FC_INLINE i_f64 isub_f64(i_f64 a, i_f64 b) { return vsubq_s64(a, b); }
FC_INLINE i_f64 imul_f64(i_f64 a, i_f64 b) {
    const uint32x2_t x = vmovn_u64(vreinterpretq_u64_s64(a)), y = vmovn_u64(vreinterpretq_u64_s64(b));
    return vreinterpretq_s64_u64(vmull_u32(x, y));
}
FC_INLINE i_f64 ishift_f64(i_f64 a, int n) {
    return vreinterpretq_s64_u64(vshlq_u64(vreinterpretq_u64_s64(a), vdupq_n_s64(-n)));
}
FC_INLINE m_f64 same_f64(const int64_t *p, int64_t value) { return vceqq_s64(vld1q_s64(p), vdupq_n_s64(value)); }
FC_INLINE m_f32 same_f32(const int64_t *p, int64_t value) {
    return vcombine_u32(vmovn_u64(same_f64(p, value)), vmovn_u64(same_f64(p + 2, value)));
}
FC_INLINE m_f64 same_n_f64(const int64_t *p, int64_t value, int n) {
    return vceqq_s64(iload_n_f64(p, n, vdupq_n_s64(value)), vdupq_n_s64(value));
}
FC_INLINE m_f32 same_n_f32(const int64_t *p, int64_t value, int n) {
    int64_t lanes[VL_f32] = {0};
    for (int i = 0; i < n; i++) lanes[i] = p[i];
    return same_f32(lanes, value);
}
/* The same of integers as wide as the numbers. */
FC_INLINE m_f32 same_place_f32(const int32_t *p, int32_t value) { return vceqq_s32(vld1q_s32(p), vdupq_n_s32(value)); }
FC_INLINE m_f32 same_place_n_f32(const int32_t *p, int32_t value, int n) {
    int32_t lanes[VL_f32] = {0};
    for (int i = 0; i < n; i++) lanes[i] = p[i];
    return same_place_f32(lanes, value);
}
/* p[l] = at + offset[l] + place[l] for the first n lanes; offset has a number for each lane. */
FC_INLINE void istore_places_f32(int64_t *p, i_f32 place, const int64_t *offset, int64_t at, int n) {
    int32_t lanes[VL_f32];
    vst1q_s32(lanes, place);
    for (int l = 0; l < n; l++) p[l] = at + offset[l] + lanes[l];
}
FC_INLINE void istore_places_f64(int64_t *p, i_f64 place, const int64_t *offset, int64_t at, int n) {
    int64_t lanes[VL_f64];
    vst1q_s64(lanes, place);
    for (int l = 0; l < n; l++) p[l] = at + offset[l] + lanes[l];
}

/* Interleave the lower (upper) halves: a0 b0 a1 b1 ... */
FC_INLINE v_f32 zip_lo_f32(v_f32 a, v_f32 b) { return vzip1q_f32(a, b); }
FC_INLINE v_f32 zip_hi_f32(v_f32 a, v_f32 b) { return vzip2q_f32(a, b); }
FC_INLINE v_f64 zip_lo_f64(v_f64 a, v_f64 b) { return vzip1q_f64(a, b); }
FC_INLINE v_f64 zip_hi_f64(v_f64 a, v_f64 b) { return vzip2q_f64(a, b); }

/* There are no pieces: 3 numbers fill a vector, 2 leave no gap. */
FC_INLINE void store_pieces_f32(float *p, v_f32 a, int piece, ptrdiff_t pitch) {
    (void)piece, (void)pitch;
    store_f32(p, a);
}
FC_INLINE void store_pieces_f64(double *p, v_f64 a, int piece, ptrdiff_t pitch) {
    (void)piece, (void)pitch;
    store_f64(p, a);
}
