/* SPDX-License-Identifier: BSD-3-Clause
 * The two halves of the algorithm for few filters: see conv2d_few_filters.c. */
#ifndef FC_FEW_FILTERS_H
#define FC_FEW_FILTERS_H

#include "direct.h"

/* How the places of a window are spread over vectors in the gradient of the weights. */
typedef struct fc_places {
    int64_t vectors;
    int interleaved; /* the lines of the window follow one another in memory */
} fc_places;

fc_places fc_places_of(int64_t r, int64_t s, int64_t c, int vl);

/* Vectors that the outputs of a block need if they go on over the ends of lines. */
int64_t fc_joined_vectors(int64_t rows, int64_t pitch, int64_t columns, int64_t vl);
/* Vectors times rows of the kernel that the outputs of an image take if vectors end with lines. */
int64_t fc_separate_work(const fc_window *w, int64_t columns, int64_t vl);

fc_status fc_few_filters_run(const fc_direct *problem);
/* Problems of one image. */
fc_status fc_few_filters_run_all(const fc_direct *problems, int count);
fc_status fc_few_filters_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                         const fc_array *grad_weight);

#endif
