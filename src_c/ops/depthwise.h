/* SPDX-License-Identifier: BSD-3-Clause
 * Depthwise convolution: as many groups as channels and filters. See conv2d_depthwise.c. */
#ifndef FC_DEPTHWISE_OPS_H
#define FC_DEPTHWISE_OPS_H

#include "depthwise_lines.h"

/* Blocks of channels: whole vectors each, but for the last, which takes the channels that fill no vector too. */
typedef struct fc_channel_blocks {
    int64_t channels, vl;
    int64_t vectors; /* that are full; at least 1 */
    int64_t blocks;
} fc_channel_blocks;

/* No more than `most` channels a block where that is possible. */
fc_channel_blocks fc_split_channels(int64_t channels, int vl, int64_t most);

/* Channels [*c, *c + return value) of block `index`. */
int64_t fc_channels_of(const fc_channel_blocks *split, int64_t index, int64_t *c);

/* Vectors of a run of channels, the last of which may overlap the one before it; and the first channel of one. */
static inline int64_t fc_vectors(int64_t channels, int vl) { return (channels + vl - 1) / vl; }
static inline int64_t fc_vector_first(int64_t vector, int64_t channels, int vl) {
    const int64_t first = vector * vl;
    return first + vl <= channels ? first : channels > vl ? channels - vl : 0;
}

/* Bytes of weights that one block of channels has: they stay in L1 beside three lines of a strip. */
enum { FC_DEPTHWISE_WEIGHT_BYTES = 1 << 13 };

fc_status fc_depthwise_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                               const fc_array *y, fc_activation activation);
fc_status fc_depthwise_backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                      const fc_array *grad_x);
fc_status fc_depthwise_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                       const fc_array *grad_weight);

#endif
