/* SPDX-License-Identifier: BSD-3-Clause
 * The kernels of local response normalisation, one number at a time; see response.h for the contracts. */
static T F(response_power)(const fc_response_block *b, const T *x, int64_t c, T *d) {
    T sum = 0;
    for (int64_t j = FC_MAX(0, c - b->before); j <= FC_MIN(b->columns - 1, c + b->after); j++)
        sum += x[j * b->x.column] * x[j * b->x.column];
    *d = sum * (T)b->factor + (T)b->k;
    return F(fc_power)(*d, (T)b->beta);
}

static void F(response)(const fc_response_block *b, const void *x_, void *y) {
    for (int64_t i = 0; i < b->pixels; i++)
        for (int64_t c = 0; c < b->columns; c++) {
            const T *x = (const T *)x_ + i * b->x.pixel;
            T d;
            ((T *)y)[i * b->to.pixel + c * b->to.column] = x[c * b->x.column] / F(response_power)(b, x, c, &d);
        }
}

static void F(response_terms)(const fc_response_block *b, const void *x_, const void *grad_y, void *direct,
                              void *terms) {
    for (int64_t i = 0; i < b->pixels; i++)
        for (int64_t c = 0; c < b->columns; c++) {
            const T *x = (const T *)x_ + i * b->x.pixel;
            T d;
            const T power = F(response_power)(b, x, c, &d);
            const T share = ((const T *)grad_y)[i * b->grad_y.pixel + c * b->grad_y.column] / power;
            ((T *)direct)[i * b->to.pixel + c * b->to.column] = share;
            ((T *)terms)[i * b->terms.pixel + c * b->terms.column] = share * x[c * b->x.column] / d;
        }
}

static void F(response_gradient)(const fc_response_block *b, const void *x, const void *terms, void *grad_x) {
    for (int64_t i = 0; i < b->pixels; i++)
        for (int64_t c = 0; c < b->columns; c++) {
            T sum = 0;
            for (int64_t j = FC_MAX(0, c - b->after); j <= FC_MIN(b->columns - 1, c + b->before); j++)
                sum += ((const T *)terms)[i * b->terms.pixel + j * b->terms.column];
            const T scaled = (T)(-2 * b->beta * b->factor) * ((const T *)x)[i * b->x.pixel + c * b->x.column];
            ((T *)grad_x)[i * b->to.pixel + c * b->to.column] += scaled * sum;
        }
}
