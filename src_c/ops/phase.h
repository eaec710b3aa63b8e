/* SPDX-License-Identifier: BSD-3-Clause
 * The phases of a strided gradient of the input: see conv2d_backward_input.c. */
#ifndef FC_PHASE_H
#define FC_PHASE_H

#include <stdint.h>

/* One axis of one phase. */
typedef struct fc_phase {
    int64_t first, count;        /* input pixels first, first + stride, ...: this many */
    int64_t tap, tap_step, taps; /* the taps that reach them: tap, tap + tap_step, ...: this many */
    int64_t dilation, before;    /* of the convolution of grad_y, whose taps run backwards */
} fc_phase;

/* The phase of the input pixels first, first + stride, ... along an axis of `in` pixels, padded by `before`. */
fc_phase fc_phase_at(int64_t first, int64_t in, int64_t kernel, int64_t stride, int64_t dilation, int64_t before);

#endif
