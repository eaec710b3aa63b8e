/* SPDX-License-Identifier: BSD-3-Clause
 * Contract of the kernels of normalisation. All walk a block of images, pixels and columns (channels), of which either
 * the pixels or the columns are adjacent numbers, in all its arrays alike.
 *
 * Sums over pixels have one order, whichever are adjacent, so that the bits do not tell how an array lies in memory:
 * in each image pixel i goes to chain i % vl, one for each lane of a vector; in the end chain l + h is added to chain
 * l for h = vl/2, vl/4 ... 1. The reference adds the pixels in order. */
#ifndef FC_NORM_H
#define FC_NORM_H

#include <stddef.h>
#include <stdint.h>

#include "../gemm/gemm.h"

/* Distances in elements from image to image, pixel to pixel, column to column. */
typedef struct fc_norm_walk {
    ptrdiff_t image, pixel, column;
} fc_norm_walk;

typedef struct fc_norm_block {
    int64_t images, pixels, columns;
    fc_norm_walk x, grad_y, to; /* to: the result */
    fc_epilogue activation;     /* f below; its slope f' is taken from the sign of its argument */
    int streams;                /* the result goes past the caches; it is none of the inputs */
    ptrdiff_t ahead;            /* distance to numbers read soon, which a pass along pixels brings to L2 */
    void *chains;               /* FC_NORM_CHAIN_BYTES of scratch memory, for sums */
} fc_norm_block;

/* Factors, one a column; where a kernel does not name them they are not read. */
typedef struct fc_norm_factors {
    const void *mean, *scale, *offset, *slope, *constant;
} fc_norm_factors;

/* How many pixels of the first image the shift of the moments is the mean of, at most: close enough to the mean of all
 * that no digits are lost, unless a few outliers are first. */
enum { FC_NORM_FIRST = 8 };

/* Columns whose sums are taken at once, and the memory for their chains: two vectors of 64 bytes, at most, a column. */
enum { FC_NORM_CHANNELS = 2048, FC_NORM_CHAIN_BYTES = 2 * 64 * FC_NORM_CHANNELS };

/* shift[c] = mean of the first pixels; with d = x - shift[c], sum[c] = sum of d, square[c] = sum of d*d. */
typedef void (*fc_norm_moments_fn)(const fc_norm_block *b, const void *x, void *shift, void *sum, void *square);

/* With d = x - mean[c] and g = grad_y * f'(d*scale[c] + offset[c]), sum[c] = sum of g, product[c] = sum of g*d. Without
 * an activation scale and offset are not read. */
typedef void (*fc_norm_products_fn)(const fc_norm_block *b, const void *x, const void *grad_y, const fc_norm_factors *f,
                                    void *sum, void *product);

/* y = f((x - mean[c]) * scale[c] + offset[c]), the product fused with the addition. y may be x. */
typedef void (*fc_norm_apply_fn)(const fc_norm_block *b, const void *x, const fc_norm_factors *f, void *y);

/* With d and g as above grad_x = d*slope[c] + (g*scale[c] + constant[c]), products fused with the additions. grad_x may
 * be grad_y. */
typedef void (*fc_norm_gradient_fn)(const fc_norm_block *b, const void *x, const void *grad_y, const fc_norm_factors *f,
                                    void *grad_x);

#endif
