/* SPDX-License-Identifier: BSD-3-Clause
 * Maxima of images and of volumes: volumes are batches of slices, each an image, and a window reads some of them. */
#ifndef FC_POOL_DRIVER_H
#define FC_POOL_DRIVER_H

#include "../kernels/pool/pool.h"
#include "pool_rows.h"

/* The axis along which a volume has its slices. */
typedef struct fc_pool_depth {
    int64_t d, o, t, stride, dilation, before; /* slices of x and of y, of a window; the padding before the first */
    ptrdiff_t x, y, indices;                   /* elements from slice to slice */
} fc_pool_depth;

/* Of an image, which is its only slice. */
static const fc_pool_depth fc_pool_flat = {.d = 1, .o = 1, .t = 1, .stride = 1, .dilation = 1};

/* As fc_max_pool2d and fc_max_pool2d_backward for volumes whose slices have the geometry g. */
fc_status fc_max_pool(const fc_pool2d *g, const fc_pool_depth *depth, const fc_array *x, const fc_array *y,
                      int64_t *indices, const int64_t indices_stride[4]);
fc_status fc_max_pool_backward(const fc_pool2d *g, const fc_pool_depth *depth, const fc_array *grad_y,
                               const int64_t *indices, const int64_t indices_stride[4], const fc_array *grad_x);

#endif
