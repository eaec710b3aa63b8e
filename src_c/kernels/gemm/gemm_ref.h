/* SPDX-License-Identifier: BSD-3-Clause
 * The tile kernel, one number at a time; see gemm.h for the contract. Products are rounded before they are added: a
 * fused multiply-add without an instruction for it is a function call a hundred times slower. */
static T F(epilogue)(T x, fc_epilogue activation) {
    if (activation == FC_EPILOGUE_RELU) return (T)0 > x ? (T)0 : x;
    if (activation == FC_EPILOGUE_LEAKY_RELU) return x < (T)0 ? x * (T)FC_LEAKY_SLOPE : x;
    return x;
}

static void F(tile)(const fc_tile *t, int rows, const void *a_, const ptrdiff_t *a_row, const void *b_,
                    const void *bias_, int columns, void *c_, const ptrdiff_t *c_row) {
    const T *a = a_, *b = b_, *bias = bias_;
    T *c = c_;
    if (t->b_term != NULL) {
        for (int64_t l = 0; l < t->terms; l++)
            for (int j = 0; j < columns; j++) ((T *)t->panel)[l * t->width + j] = b[t->b_term[l] + j];
        b = t->panel;
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            T chain[2] = {0, 0};
            for (int64_t l = 0; l < t->terms; l++) chain[l % 2] += a[a_row[i] + t->a_term[l]] * b[l * t->width + j];
            T sum = chain[0] + chain[1];
            if (t->accumulate) sum += c[c_row[i] + j];
            if (bias != NULL) sum += bias[j];
            c[c_row[i] + j] = F(epilogue)(sum, t->activation);
        }
}

static void F(row)(const fc_tile *t, const void *a_, const void *b_, const void *bias_, int64_t columns, void *c_) {
    const T *a = a_, *b = b_, *bias = bias_;
    T *c = c_;
    for (int64_t j = 0; j < columns; j++) {
        T chain[2] = {0, 0};
        for (int64_t l = 0; l < t->terms; l++) chain[l % 2] += a[t->a_term[l]] * b[t->b_term[l] + j];
        T sum = chain[0] + chain[1];
        if (t->accumulate) sum += c[j];
        if (bias != NULL) sum += bias[j];
        c[j] = F(epilogue)(sum, t->activation);
    }
}

static void F(tile_lanes)(const fc_lanes *t, int rows, const void *a_, const void *bias_, int vectors,
                          const void *const *b, void *c) {
    const T *a = a_, *bias = bias_;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors * t->lanes; j++) {
            const T *lane = (const T *)b[j / t->lanes] + j % t->lanes;
            T *to = (T *)c + i * t->c_row + j;
            T chain[2] = {0, 0};
            for (int64_t l = 0; l < t->terms; l++) chain[l % 2] += a[l * t->a_term + i] * lane[t->b_term[l]];
            T sum = chain[0] + chain[1];
            if (t->accumulate) sum += *to;
            if (bias != NULL) sum += bias[i];
            *to = F(epilogue)(sum, t->activation);
        }
}
