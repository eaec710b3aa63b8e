/* SPDX-License-Identifier: BSD-3-Clause
 * The gradient of a pooling, computed from the side of the pixels: every pixel adds up what the windows that reach it
 * send it, in the order of the windows. A pixel is written once, by the task that owns it; nothing is cleared first,
 * and which task ran where shows in no bit. */
#ifndef FC_UNPOOL_H
#define FC_UNPOOL_H

#include "../isa/dispatch.h"
#include "pool.h"

typedef struct fc_unpool {
    const fc_pool2d *g; /* of a slice */
    const fc_pool_depth *depth; /* of which d, o and the strides count: x those of grad_x, y of grad_y */
    const fc_array *grad_y, *grad_x;
    const int64_t *indices, *indices_stride; /* of a maximum; NULL: an average, whose divisors follow from g */
    /* for each slice, line and column the windows that may reach it; slices: of maxima only */
    const fc_span *slices, *rows, *columns;
    int narrow; /* many pixels read each index: worth making it as narrow as the numbers first, where fc_unpool_plan
                 * finds that numbers are narrower and there is room */
    /* written by fc_unpool_plan: */
    const fc_kernels *kernels;
    int in_place, streams;
    int64_t task_rows, row_blocks, channels, channel_blocks;
    size_t worker_bytes, y_at, shares_at, places_at;
} fc_unpool;

enum { FC_UNPOOL_BYTES = 1 << 19 }; /* scratch of a worker, where less would do no good: a quarter of a 2 MiB L2 */

/* Cut the work into tasks whose scratch is at most `bytes` a worker; 0 if that cannot be, or if indices are given and
 * channels are not adjacent: packing the indices costs more than adding numbers one by one. */
int fc_unpool_plan(fc_unpool *u, size_t bytes);

/* Run the tasks; `scratch` has worker_bytes for each thread. */
fc_status fc_unpool_run_tasks(fc_unpool *u, int threads, char *scratch);

static inline int64_t fc_unpool_tasks(const fc_unpool *u) {
    return u->g->n * u->depth->d * u->row_blocks * u->channel_blocks;
}

/* index * factor >> shift == index / width for 0 <= index < 2^31, 1 <= width < 2^31; factor is below 2^32. */
static inline void fc_pool_divider(int64_t width, int64_t *factor, int *shift) {
    int k = 0; /* 2^k < width <= 2^(k+1), but for width 1 */
    while (((int64_t)2 << k) < width) k++;
    if (width == 1) k = -1;
    *shift = 32 + k;
    *factor = (int64_t)((((uint64_t)1 << *shift) + (uint64_t)width - 1) / (uint64_t)width);
}

#endif
