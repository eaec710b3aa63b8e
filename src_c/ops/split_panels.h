/* SPDX-License-Identifier: BSD-3-Clause
 * Products by parts: the order of their terms, and their weights, split and packed in panels in that order. */
#ifndef FC_SPLIT_PANELS_H
#define FC_SPLIT_PANELS_H

#include "../isa/dispatch.h"
#include "blocking.h"
#include "direct.h"

/* Panels whose weights are split together, 128 bytes of each row of weights a panel. Rows of 16 KiB are a page each; a
 * panel at a time, layers of one 7x7 image with 512 to 4096 channels and filters take 1.1 to 1.2 times as long. */
enum { FC_SPLIT_PANELS_AT_ONCE = 8 };

/* To be brought in while the chunk before is split: rows of numbers. */
fc_rows_ahead fc_split_rows_ahead(const void *first, int64_t row_step, int64_t numbers);

/* What depends on the filters and the parts and, of the image, on the length of its rows. */
typedef struct fc_split_product {
    const fc_direct *d;
    const fc_kernels *kernels;
    const fc_split *split;
    int parts;
    fc_window window; /* without what a stride never reads, ... */
    fc_array x;       /* ... nor this */
    fc_passes passes; /* channels in multiples of a chunk */
    int64_t chunks;   /* of channels, in all */
    int64_t panels;   /* of a group */
    int gathered;     /* rows of results are too short for tiles: their input is gathered tap by tap */
} fc_split_product;

fc_split_product fc_split_product_of(const fc_direct *d, int parts);

/* One pass: rows [r, r+rows) of the kernel, channels [c, c+channels). */
typedef struct fc_split_pass {
    int64_t r, rows, c, channels, chunks, chunks_before;
} fc_split_pass;

int64_t fc_split_pass_count(const fc_split_product *of);
fc_split_pass fc_split_pass_at(const fc_split_product *of, int64_t index);

int fc_split_panel_columns(const fc_split_product *of, int64_t panel);

/* Numbers of all panels, and how many lie before one. */
int64_t fc_split_all_panels(const fc_split_product *of);
int64_t fc_split_panel_at(const fc_split_product *of, int64_t group, const fc_split_pass *ps, int64_t panel);

/* All panels; or some of a pass, one behind the other. */
fc_status fc_split_pack_all(const fc_split_product *of, fc_bf16 *dst);
void fc_split_pack_panels(const fc_split_product *of, int64_t group, const fc_split_pass *ps, int64_t first,
                          int64_t count, fc_bf16 *dst);

#endif
