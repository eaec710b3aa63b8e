/* SPDX-License-Identifier: BSD-3-Clause
 * What normalisations share beside their sums: how arrays are taken apart, factors as the kernels want them, and the
 * pass that goes number by number, cut into tiles. */
#ifndef FC_NORM_PASS_H
#define FC_NORM_PASS_H

#include "../base/convert.h"
#include "../base/element.h"
#include "../base/threads.h"
#include "moments.h"

/* The array that is written; NULL: none. */
typedef struct fc_norm_target {
    char *to;
    fc_norm_walk walk;
    int streams; /* past the caches */
} fc_norm_target;

/* Kernels, sizes and walks of x, grad_y (may be NULL) and the result (may be NULL), and the cut of the sums.
 * FC_BAD_ORDER where the kernels cannot walk them together. `merge`: images of one pixel are taken as the pixels of one
 * image. */
fc_status fc_norm_set_up(fc_moments *m, fc_norm_target *t, const int64_t sizes[3], int merge, const fc_array *x,
                         const fc_array *grad_y, const fc_array *to);

/* How a pass is cut. */
typedef struct fc_norm_tiles {
    int64_t pixels, channels; /* of a tile, at most */
    int64_t pixel_tiles, channel_tiles, per_image;
} fc_norm_tiles;

fc_norm_tiles fc_norm_cut(const fc_moments *m);

/* Tile `index` of image n, or all of `images` images from n on and the channels [c, c + channels). The factors are
 * those of all channels. Without a grad_y norm_apply, else norm_gradient. */
void fc_norm_tile(const fc_moments *m, const fc_norm_target *t, const fc_norm_factors *f, const fc_norm_tiles *tiles,
                  int64_t n, int64_t index);
void fc_norm_images(const fc_moments *m, const fc_norm_target *t, const fc_norm_factors *f, int64_t n, int64_t images,
                    int64_t c, int64_t channels);

/* Multiply-adds that moving all numbers is worth. */
static inline double fc_norm_work(const fc_moments *m) {
    return FC_NUMBER_WORK * (double)m->n * (double)m->pixels * (double)m->c;
}

static inline double fc_norm_parameter(const fc_array *a, int64_t c, double otherwise) {
    return a == NULL ? otherwise : fc_get(a, c * a->stride[3]);
}

static inline void fc_norm_put(const fc_moments *m, char *factors, int64_t c, double value) {
    if (m->kernels->element_size == sizeof(float)) ((float *)(void *)factors)[c] = (float)value;
    else ((double *)(void *)factors)[c] = value;
}

/* What rounding a mean to the kernels' type leaves. */
static inline double fc_norm_rest(const fc_moments *m, double mean) {
    return m->kernels->element_size == sizeof(float) ? mean - (double)(float)mean : 0;
}

#endif
