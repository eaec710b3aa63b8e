/* SPDX-License-Identifier: BSD-3-Clause
 * The direct algorithm inside: what its plan and tasks (conv2d_direct.c) and its tiles (conv2d_direct_tiles.c) know of
 * each other. */
#ifndef FC_CONV2D_DIRECT_H
#define FC_CONV2D_DIRECT_H

#include "../base/compiler.h"
#include "../base/scratch.h"
#include "ahead.h"
#include "blocking.h"
#include "together.h"

typedef struct plan {
    fc_share share;
    const fc_direct *d;
    const fc_kernels *kernels;
    fc_dtype dtype;
    size_t size; /* of an element */
    fc_window window;
    fc_array x;
    int64_t total_rows;
    fc_passes passes;
    int64_t panels, panel_width, padded_k; /* the last panel may be one vector wide */
    int in_place;                          /* x is read where it lies */
    int direct_y;                          /* results are added up in y itself */
    int pack_late;                         /* a panel of weights is packed by the task that uses it ... */
    int tiles_pack;                        /* ... by its first tile ... */
    int by_strips;                         /* ... and is brought in before by other tiles ... */
    int never_pack;                        /* ... or all weights are read where they lie */
    int by_taps;                           /* products with zeros of the border are left out */
    fc_row_blocks blocks;
    fc_filter_blocks filters;
    fc_walk walk;
    char *weights; /* all panels, unless they are packed late: in scratch memory, or packed before the call */
    size_t weight_group_bytes, bias_at;                          /* in the scratch memory of the problem */
    size_t input_at, output_at, panel_at, offsets_at, sorted_at; /* in that of a worker */
} plan;

/* One pass: rows [r, r+rows) of the kernel, channels [c, c+channels). */
typedef struct pass {
    int64_t r, rows, c, channels, terms, terms_before;
} pass;

static inline pass pass_at(const plan *pl, int64_t index) {
    const fc_window *w = &pl->window;
    const fc_passes *split = &pl->passes;
    pass ps;
    ps.r = index / split->channel_blocks * split->rows;
    ps.c = index % split->channel_blocks * split->channels;
    ps.rows = FC_MIN(split->rows, w->r - ps.r);
    ps.channels = FC_MIN(split->channels, pl->d->c - ps.c);
    ps.terms = ps.rows * w->s * ps.channels;
    ps.terms_before = (ps.r * pl->d->c + ps.rows * ps.c) * w->s;
    return ps;
}

static inline int64_t pass_count(const plan *pl) { return pl->passes.row_blocks * pl->passes.channel_blocks; }

static inline int panel_columns(const plan *pl, int64_t panel) {
    return (int)FC_MIN(pl->panel_width, pl->d->k - panel * pl->panel_width);
}

/* The last panel is as wide as the vectors it needs. */
static inline int panel_width_at(const plan *pl, int64_t panel) {
    return panel_columns(pl, panel) > pl->kernels->vl ? 2 * pl->kernels->vl : pl->kernels->vl;
}

/* Where a panel lies when all are packed before the tasks start. */
static inline char *panel_address(const plan *pl, int64_t group, const pass *ps, int64_t panel) {
    const int64_t element = pl->padded_k * ps->terms_before + panel * pl->panel_width * ps->terms;
    return pl->weights + (size_t)group * pl->weight_group_bytes + (size_t)element * pl->size;
}

/* The biases of a group, from filter k on. */
static inline char *bias_at(const plan *pl, int64_t group, int64_t k) {
    return pl->share.scratch + pl->bias_at + (size_t)(group * pl->d->k + k) * pl->size;
}

typedef struct task {
    const plan *pl;
    fc_block block;
    int64_t pixel_block, group, first_panel, panels, pixels;
    char *input, *output, *panel;
    ptrdiff_t *a_row, *c_row, *row_at, *term, *b_term, *lines;
} task;

/* Where the weights of a panel lie that a pass needs: at b_term. */
static inline const char *weights_at(const task *t, const pass *ps, int64_t panel) {
    const plan *pl = t->pl;
    const fc_array *weight = &pl->d->weight;
    const int64_t *stride = weight->stride;
    const int64_t at = ps->r * stride[0] + ps->c * stride[2] + panel * pl->panel_width * stride[3];
    return (const char *)weight->data + (t->group * pl->d->weight_group + at) * (int64_t)pl->size;
}

/* ---------------------------------------------------------------- strips */

/* Large weights that are packed late come in by strips of panels while tiles compute: the longer the rows of a strip,
 * the faster they come. Without, layers of one 7x7 image whose weights no cache held took x1.2 to x1.3 as long. */
enum {
    STRIP_BYTES = 512,
    STRIP_WEIGHTS = 1 << 20 /* bytes. Smaller ones may be in L2, and lines cost four rows of 400 to 120 x1.25 */
};

/* No more panels than the task has. */
static inline int64_t strip_panels(const plan *pl) {
    return FC_MAX(1, FC_MIN(pl->filters.panels, STRIP_BYTES / (pl->panel_width * (int64_t)pl->size)));
}

static inline int64_t strip_lines(const plan *pl) {
    return fc_ceil_div(strip_panels(pl) * pl->panel_width * (int64_t)pl->size, FC_CACHE_LINE);
}

/* ---------------------------------------------------------------- between the files */

/* Copy a panel of weights to dst. */
void fc_direct_pack_panel(const plan *pl, int64_t group, const pass *ps, int64_t panel, char *dst);

/* The products of one pass, with `a` and the terms of `tile`. */
void fc_direct_multiply_pass(task *t, int64_t pass_index, const fc_tile *tile, const char *a);

#endif
