/* SPDX-License-Identifier: BSD-3-Clause
 * The gradient of a maximum, computed from the side of the windows: each adds its gradient to the pixel that its index
 * names, in the order of the windows, one number at a time. */
#ifndef FC_POOL_SCATTER_H
#define FC_POOL_SCATTER_H

#include <stdatomic.h>

#include "../isa/dispatch.h"
#include "pool.h"

typedef struct fc_scatter {
    const fc_pool2d *g; /* of a slice */
    const fc_pool_depth *depth;
    const fc_array *grad_y, *grad_x;
    const int64_t *indices, *indices_stride;
    const fc_kernels *kernels;
    int threads;
    int checked; /* whether all indices have been found to lie inside */
    /* for fc_scatter_maxima itself: */
    int64_t channels, channel_blocks; /* of a task */
    atomic_int bad_index;
} fc_scatter;

/* FC_BAD_INDEX, before anything is written, if an index lies outside the volume. */
fc_status fc_scatter_maxima(fc_scatter *j);

#endif
