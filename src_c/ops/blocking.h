/* SPDX-License-Identifier: BSD-3-Clause
 * Block sizes, in one place. MR and NR, rows and columns of a register tile, belong to the kernels. */
#ifndef FC_BLOCKING_H
#define FC_BLOCKING_H

#include "pack.h"

/* KC: the terms that one pass adds up in registers. A panel of KC x NR float32 is 64 KiB and streams from L2. A pass
 * has at most 1.5*KC terms in two chains of at most 384 terms. */
enum { FC_KC = 512 };

/* MC: output pixels of a block. Each panel of weights that a pass brings in serves this many pixels, so that even
 * weights that stream from memory (7x7 images) cost less than a tenth of the arithmetic. */
enum { FC_MC = 252 };

/* Pixels times terms of a block whose reduction is short: more pixels repay placing and packing them. 27 terms, 3x3 of
 * a colour image, x1.04. */
enum { FC_SHORT_WORK = 1 << 15 };

/* Elements of packed input, and of results that wait for their last pass, that a worker holds: 512 KiB of
 * float32 each, half of a 2 MiB L2 together. */
enum { FC_INPUT_ELEMENTS = 1 << 17, FC_OUTPUT_ELEMENTS = 1 << 17 };

/* Tasks per thread to aim for, so that a thread that was held up is not waited for long. */
enum { FC_TASKS_PER_THREAD = 4 };

/* Weights that few blocks of pixels use are packed into L2 by each task when it uses them: written to memory and read
 * back, the 9 MiB of a 512 x 512 x 3 x 3 layer cost a quarter of the arithmetic of four 7x7 images. */
enum { FC_LATE_PACKING_BLOCKS = 2 };

/* Output pixels that the gradient of the weights packs at a time, and the terms that its tiles add up in registers: a
 * panel of grad_y (24 KiB of float32) stays in L1 while the lines of x stream past it. */
enum { FC_PIXEL_CHAIN = 192 };

/* Winograd: tiles of a block, elements of their transformed input, and channels of a pass. */
enum { FC_WINOGRAD_TILES = 64, FC_WINOGRAD_ELEMENTS = 680000, FC_WINOGRAD_CHANNELS = 128 };

/* How the reduction of a window over c channels is cut into passes: rows of the kernel, channels. */
typedef struct fc_passes {
    int64_t rows, channels;             /* of one pass, at most */
    int64_t row_blocks, channel_blocks; /* there are row_blocks * channel_blocks passes */
} fc_passes;

/* Depends on the geometry of one image alone: it decides the order of summation, so the bits. */
fc_passes fc_split_reduction(int64_t r, int64_t s, int64_t c);

/* How the output pixels are cut into blocks of whole rows or, where a row is longer than MC, of parts of one row. */
typedef struct fc_row_blocks {
    int64_t rows, columns;           /* of one block, at most */
    int64_t row_blocks, column_blocks;
} fc_row_blocks;

/* No more than `pixels` pixels or `elements` packed elements a block where that is possible; full tiles of mr rows
 * preferred. total_rows = N*P. */
fc_row_blocks fc_split_pixels(const fc_window *w, int64_t total_rows, int64_t channels, int64_t pixels,
                              int64_t elements, int mr);

/* Block `index`, columns first. */
fc_block fc_block_at(const fc_row_blocks *blocks, const fc_window *w, int64_t total_rows, int64_t index);

/* How panels of filters are cut into blocks: at most `most` panels each, and fewer where there would be too few tasks
 * for the threads, with so many other tasks. No sum depends on it. */
typedef struct fc_filter_blocks {
    int64_t panels; /* of one block, at most */
    int64_t blocks;
} fc_filter_blocks;

fc_filter_blocks fc_split_filters(int64_t panels, int64_t most, int64_t other_tasks, int threads);

static inline int64_t fc_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

#endif
