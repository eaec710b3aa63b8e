/* SPDX-License-Identifier: BSD-3-Clause
 * Depthwise convolution: as many groups as channels and filters. See conv2d_depthwise.c. */
#ifndef FC_DEPTHWISE_OPS_H
#define FC_DEPTHWISE_OPS_H

#include "depthwise_lines.h"

/* Channels as vectors, vectors as blocks. Vector 0 begins at channel 0, vector 1 at `first`, the others VL apart; the
 * last one overlaps the one before it. The last block takes the channels that fill no vector too. */
typedef struct fc_channel_blocks {
    int64_t channels, vl, first;
    int64_t full; /* vectors that do not overlap the one before; at least 1 */
    int64_t blocks;
} fc_channel_blocks;

/* No more than `most` channels a block where that is possible. */
fc_channel_blocks fc_split_channels(int64_t channels, int vl, int64_t first, int64_t most);

/* Some of them: channels [c, c + channels), the first of which begins vector `vector`. */
typedef struct fc_channel_block {
    int64_t c, channels, vector, vectors;
    int64_t first; /* as above, from c on */
} fc_channel_block;

fc_channel_block fc_channel_block_at(const fc_channel_blocks *split, int64_t index);
int64_t fc_most_channels(const fc_channel_blocks *split);

/* All vectors, and the channel that one begins with. */
int64_t fc_vectors(const fc_channel_blocks *split);
int64_t fc_vector_first(const fc_channel_blocks *split, int64_t vector);

/* `first` such that vectors begin at cache lines; VL where that is not worth a vector more. */
int64_t fc_aligned_first(const fc_lines *lines, int64_t channels, int vl);

/* Bytes of weights that one block of channels has: they stay in L1 beside three lines of a strip. */
enum { FC_DEPTHWISE_WEIGHT_BYTES = 1 << 13 };

fc_status fc_depthwise_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                               const fc_array *y, fc_activation activation);
fc_status fc_depthwise_backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                      const fc_array *bias, const fc_array *grad_x, fc_activation activation);
fc_status fc_depthwise_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                       const fc_array *grad_weight);

#endif
