/* SPDX-License-Identifier: BSD-3-Clause
 * What happens to a vector of sums before it is stored: pieces of the epilogue of gemm.h. */
FC_INLINE F(v) F(activate)(F(v) x, fc_epilogue activation) {
    if (activation == FC_EPILOGUE_RELU) return F(max)(F(zero)(), x);
    if (activation == FC_EPILOGUE_LEAKY_RELU) return F(max)(F(mul)(F(set1)((T)FC_LEAKY_SLOPE), x), x);
    return x;
}

FC_INLINE F(v) F(load_bias)(const T *bias, int columns) {
    if (bias == NULL) return F(set1)((T)-0.0); /* x + -0 is x for every x, -0 included */
    return columns >= F(VL) ? F(load)(bias) : F(load_n)(bias, columns);
}
