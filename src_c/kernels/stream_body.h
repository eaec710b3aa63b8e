/* SPDX-License-Identifier: BSD-3-Clause
 * Results that go past the caches: a store would first read the line that it overwrites. */

/* Numbers before the first place at which a vector can be streamed. */
FC_INLINE int64_t F(before_stream)(const T *to, int64_t count) {
    const size_t past = (uintptr_t)to % sizeof(F(v));
    return past == 0 ? 0 : FC_MIN(count, (int64_t)((sizeof(F(v)) - past) / sizeof(T)));
}

FC_INLINE void F(put)(int streams, T *to, F(v) a) {
    if (streams) F(stream)(to, a);
    else F(store)(to, a);
}
