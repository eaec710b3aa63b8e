/* SPDX-License-Identifier: BSD-3-Clause
 * Contract of the depthwise kernels: channels do not mix, so the lanes of a vector are channels.
 *
 *     X[r, i, s] = line[r][i*stride + s*dilation]           the pixel that tap (r, s) of output pixel i reads
 *     depthwise:         y[i*y_pixel + l] = epilogue( bias[l] + sum over r, s:  X[r, i, s][l] * W[r, s][l] )
 *     depthwise_weight:  W[r, s][l] += sum over i:  X[r, i, s][l] * g[i*y_pixel + l]
 *
 * A line is a table of pointers to pixels. Pixels outside the image point to zeros, so borders cost nothing and the
 * terms of a sum are the same wherever the window lies; lines of the image that lie in memory as they should are read
 * there.
 *
 *     line[0] -> p p p p p p ...      3x3, stride 1: a pixel is loaded once and serves three neighbouring
 *     line[1] -> p p p p p p ...      outputs, whose sums and whose row of W stay in registers
 *     line[2] -> p p p p p p ...
 *
 * W lies vector by vector: vector v of tap (r, s) begins at  v*w_vector + r*w_row + s*w_column.  Vector 0 holds the
 * channels from 0 on, vector v those from  min(first + (v-1)*VL, channels - VL)  on: vectors overlap instead of being
 * narrower, the last one, and the first one where `first` is less than VL, so that the others may begin at a cache
 * line. Fewer channels than VL are one vector with zeros behind them in W; of pixels, y and bias only `channels`
 * numbers are touched.
 *
 * The sum of an output is that of two chains of fused multiply-adds, terms of even and of odd number r*columns + s,
 * joined at the end: see gemm.h. The gradient of the weights adds up runs of at most FC_PIXEL_RUN pixels in registers
 * and adds each to W, runs in order. Neither depends on where in a run a pixel falls, for a given number of pixels.
 *
 * y must not overlap what is read; nothing beyond the numbers named is read or written. */
#ifndef FC_DEPTHWISE_H
#define FC_DEPTHWISE_H

#include <stddef.h>
#include <stdint.h>

#include "../gemm/gemm.h"

/* A run of outputs whose sums fit into the registers; MobileNet's images are 7, 14, 28 ... pixels wide. */
enum { FC_PIXEL_RUN = 7 };

typedef struct fc_depthwise {
    int64_t rows, columns;    /* of the kernel; no rows: the sums are 0 */
    int64_t stride, dilation; /* in entries of a line */
    int64_t channels, pixels;
    ptrdiff_t y_pixel;
    ptrdiff_t y_ahead; /* results that will be written soon lie at y + y_ahead: fetch them meanwhile; 0: none */
    int lanes;                           /* in a vector of W: VL (the reference takes any number) */
    int64_t first;                       /* where vector 1 begins, 1 to VL */
    ptrdiff_t w_vector, w_row, w_column; /* in elements; rows and columns may run backwards */
    fc_epilogue activation;
    int streams; /* y goes past the caches; all vectors begin at a multiple of the vector's size */
} fc_depthwise;

typedef void (*fc_depthwise_fn)(const fc_depthwise *d, const void *const *const *line, const void *weight,
                                const void *bias, void *y);

typedef void (*fc_depthwise_weight_fn)(const fc_depthwise *d, const void *const *const *line, const void *grad_y,
                                       void *weight);

#endif
