/* SPDX-License-Identifier: BSD-3-Clause
 * The depthwise kernels, one number at a time; see depthwise.h for the contract. */
/* The first channel of a vector. */
static ptrdiff_t F(first_channel)(const fc_depthwise *d, int64_t vector) {
    const ptrdiff_t l = vector == 0 ? 0 : d->first + (vector - 1) * d->lanes;
    return FC_MAX(0, FC_MIN(l, d->channels - d->lanes));
}

static void F(depthwise)(const fc_depthwise *d, const void *const *const *line, const void *weight_, const void *bias,
                         void *y) {
    const T *weight = weight_;
    for (int64_t i = 0; i < d->pixels; i++)
        for (ptrdiff_t l = 0; l < d->channels; l++) {
            const int64_t vector = l < d->first ? 0 : (l - d->first) / d->lanes + 1;
            const ptrdiff_t lane = l - F(first_channel)(d, vector);
            T chain[2] = {0, 0};
            for (int64_t r = 0; r < d->rows; r++)
                for (int64_t s = 0; s < d->columns; s++)
                    chain[(r * d->columns + s) % 2] +=
                        ((const T *)line[r][i * d->stride + s * d->dilation])[l] *
                        weight[vector * d->w_vector + r * d->w_row + s * d->w_column + lane];
            T sum = chain[0] + chain[1];
            if (bias != NULL) sum += ((const T *)bias)[l];
            ((T *)y)[i * d->y_pixel + l] = F(epilogue)(sum, d->activation);
        }
}

static void F(depthwise_weight)(const fc_depthwise *d, const void *const *const *line, const void *grad_y,
                                void *weight) {
    const int64_t runs = (d->pixels + FC_PIXEL_RUN - 1) / FC_PIXEL_RUN;
    for (int64_t run = 0; run < runs; run++)
        for (int64_t v = 0; v == 0 || d->first + (v - 1) * d->lanes < d->channels; v++) {
            const ptrdiff_t first = F(first_channel)(d, v);
            for (ptrdiff_t l = 0; l < FC_MIN(d->channels, d->lanes); l++)
                for (int64_t r = 0; r < d->rows; r++)
                    for (int64_t s = 0; s < d->columns; s++) {
                        T sum = 0;
                        for (int64_t i = run * d->pixels / runs; i < (run + 1) * d->pixels / runs; i++)
                            sum += ((const T *)line[r][i * d->stride + s * d->dilation])[first + l] *
                                   ((const T *)grad_y)[i * d->y_pixel + first + l];
                        ((T *)weight)[v * d->w_vector + r * d->w_row + s * d->w_column + l] += sum;
                    }
        }
}
