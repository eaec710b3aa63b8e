/* SPDX-License-Identifier: BSD-3-Clause
 * Random convolutions, and the arrays they work on. */
#ifndef FC_TEST_PROBLEMS_H
#define FC_TEST_PROBLEMS_H

#include "../ops/pack.h"
#include "check.h"

typedef enum layout { CHANNELS_LAST, CHANNELS_FIRST } layout;

/* What the library must not read in a caller's array: images that are slices of an empty volume, and so all zeros. */
static const fc_depth no_slices = {.count = 1, .taps = 1, .channels = INT32_MAX};

static inline fc_array image(void *data, fc_dtype dtype, layout order, int64_t h, int64_t w, int64_t c) {
    fc_array a = {.data = data, .dtype = dtype, .stride = {h * w * c, w * c, c, 1}, .depth = &no_slices};
    if (order == CHANNELS_FIRST) a.stride[1] = w, a.stride[2] = 1, a.stride[3] = h * w;
    return a;
}

/* One number for each channel or filter. */
static inline fc_array vector(void *data, fc_dtype dtype) {
    return (fc_array){.data = data, .dtype = dtype, .stride = {0, 0, 0, 1}, .depth = &no_slices};
}

static inline fc_array filters(void *data, fc_dtype dtype, layout order, int64_t r, int64_t s, int64_t c, int64_t k) {
    fc_array a = {.data = data, .dtype = dtype, .stride = {s * c * k, c * k, k, 1}, .depth = &no_slices};
    if (order == CHANNELS_FIRST) a.stride[0] = s, a.stride[1] = 1, a.stride[2] = r * s, a.stride[3] = c * r * s;
    return a;
}

/* Returns whether it is one. */
static inline int random_problem(fc_conv2d *g) {
    const int64_t groups = random_between(1, 4) == 4 ? random_between(2, 3) : 1;
    *g = (fc_conv2d){.n = random_between(1, 3), .h = random_between(1, 12), .w = random_between(1, 40),
                     .c = groups * random_between(1, 20), .k = groups * random_between(1, 40),
                     .r = random_between(1, 4),
                     .s = random_between(1, 5), .stride_h = random_between(1, 3), .stride_w = random_between(1, 3),
                     .dilation_h = random_between(1, 2), .dilation_w = random_between(1, 3), .groups = groups,
                     .pad_top = random_between(0, 3), .pad_bottom = random_between(0, 3),
                     .pad_left = random_between(0, 3), .pad_right = random_between(0, 3)};
    if (random_between(0, 3) == 0) g->groups = g->k = g->c; /* depthwise */
    return fc_conv2d_resolve(g, (fc_padding)random_between(0, 3)) == FC_OK;
}

#endif
