/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Convolution with a handful of filters. As columns of a tile, 6 filters leave 10 of 16 lanes idle, so that here the
 * lanes are pixels and the filters are rows. The image is packed in planes, one a channel, of lines with their borders:
 *
 *     plane c   line 0   | 0 0 x x x x x x 0 0 |       pitch = columns + what the window hangs over
 *               line 1   | 0 0 x x x x x x 0 0 |
 *
 * The pixels that tap (r, s) of channel c meets, for all outputs of the block, are then one run of memory, which begins
 * at  c*plane + r*pitch + s  and goes on over the ends of lines: outputs `pitch` apart are neighbours in the column,
 * and the few behind the end of a line are computed and dropped. Where that wastes more than ending vectors with lines
 * does, vectors end with lines; then the rows of the kernel that meet only the border are left out, which are half of
 * them in the gradient of the input of a 14x14 image and a 5x5 kernel. A stride cuts lines and columns into phases, l
 * mod stride, each a plane of its own, so that lanes are adjacent with any stride.
 *
 *   tasks     group x image x block of output lines x block of output columns     in parallel
 *     passes    channels, or rows of a large kernel: see fc_split_reduction       always in the same order
 *               pack the planes
 *       parts     convolutions of the same image: the phases of a strided gradient of the input
 *         vectors   two vectors of pixels, four for a lone filter
 *           tiles     up to MR filters, spread evenly
 *     results, [filter][pixel] in scratch memory, are copied to y */
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "activation.h"
#include "blocking.h"
#include "border.h"
#include "direct.h"
#include "explain.h"
#include "few_filters.h"

/* Elements of the packed planes and of the results of a block: a quarter of a 2 MiB L2 together. */
enum { INPUT_ELEMENTS = 1 << 16, OUTPUT_ELEMENTS = 1 << 15 };

/* One of the convolutions that read the same planes. */
typedef struct part {
    const fc_direct *d;
    fc_window window;
    int64_t terms;
    int64_t down, right;        /* where its windows begin in the planes: lines and columns after the first that does */
    size_t weights_at, term_at; /* in scratch memory */
} part;

typedef struct plan {
    const fc_direct *d; /* the first part: but for window, weights and results all are alike */
    part *parts;
    int count;
    const fc_kernels *kernels;
    fc_dtype dtype;
    size_t size;      /* of an element */
    fc_window window; /* the largest of all parts: p and q, r and s, top and left */
    fc_array x;
    fc_passes passes;
    int64_t over_h, over_w; /* lines and columns of a phase that windows hang over a block's outputs */
    int64_t rows, columns;  /* of a block's outputs, at most */
    int64_t row_blocks, column_blocks;
    int64_t pitch, phase, plane; /* from line to line, from phase to phase, from channel to channel */
    int64_t line_vectors;        /* vectors end with lines, so many a line; 0: they go on */
    int64_t lanes;               /* from filter to filter in the results */
    char *scratch;               /* in bytes from its start: */
    size_t bias_at, workers_at, worker_bytes, output_at, part_output;
} plan;

/* One pass: rows [r, r + rows) of the kernel, channels [c, c + channels); terms in the order r, c, s. */
typedef struct pass {
    int64_t r, rows, c, channels, terms_before;
} pass;

/* For one part. */
static pass pass_at(const plan *pl, const part *of, int64_t index) {
    const fc_passes *split = &pl->passes;
    pass ps = {.r = index / split->channel_blocks * split->rows, .c = index % split->channel_blocks * split->channels};
    ps.rows = FC_MIN(split->rows, of->window.r - ps.r);
    ps.channels = FC_MIN(split->channels, pl->d->c - ps.c);
    ps.terms_before = (ps.r * pl->d->c + ps.rows * ps.c) * of->window.s;
    return ps;
}

static int64_t pass_count(const plan *pl) { return pl->passes.row_blocks * pl->passes.channel_blocks; }

/* ---------------------------------------------------------------- planning */

int64_t fc_joined_vectors(int64_t rows, int64_t pitch, int64_t columns, int64_t vl) {
    return fc_ceil_div((rows - 1) * pitch + columns, vl);
}

int64_t fc_separate_work(const fc_window *w, int64_t columns, int64_t vl) {
    const int64_t top = FC_MAX(0, w->top);
    const int64_t bottom = FC_MAX(0, (w->p - 1) * w->stride_h + (w->r - 1) * w->dilation_h - w->top - (w->h - 1));
    const int64_t skipped = (top * top + bottom * bottom) / (2 * w->stride_h * w->dilation_h); /* about */
    return fc_ceil_div(columns, vl) * FC_MAX(w->p, w->p * w->r - skipped);
}

/* Whether vectors end with lines. It decides which products with border zeros are made, so it knows the image alone. */
static int ends_with_lines(const plan *pl) {
    const int64_t vl = pl->kernels->vl;
    int64_t separate = 0, joined = 0;
    for (int i = 0; i < pl->count; i++) {
        const fc_window *w = &pl->parts[i].window;
        separate += fc_separate_work(w, pl->columns, vl) * w->s;
        joined += fc_joined_vectors(w->p, pl->columns + pl->over_w, pl->columns, vl) * w->r * w->s;
    }
    return separate <= joined;
}

static int fits(const plan *pl, int64_t rows, int64_t columns) {
    const fc_window *w = &pl->window;
    const double phase = (double)(rows + pl->over_h) * (double)(columns + pl->over_w);
    const double input = phase * (double)(w->stride_h * w->stride_w) * (double)pl->passes.channels;
    const int64_t vl = pl->kernels->vl;
    const double lanes = (double)rows * (double)(fc_ceil_div(columns + pl->over_w, vl) * vl);
    const double output = (double)(pl->count * pl->d->k) * lanes;
    return input <= INPUT_ELEMENTS && output <= OUTPUT_ELEMENTS;
}

/* Vectors that are summed up side by side. */
static int64_t vectors_together(const plan *pl) { return pl->d->k == 1 ? FC_LANES_ALONE : 2; }

/* Vectors together may be of several lines, and make the products with border zeros of all: such groups are never cut,
 * whatever the number of threads. */
static int64_t whole_groups(const plan *pl, int64_t rows) {
    int64_t lines = 1;
    while (pl->line_vectors * lines % vectors_together(pl) != 0) lines++;
    return fc_ceil_div(rows, lines) * lines;
}

/* Lines of a block, at most: as many as fit. */
static int64_t rows_that_fit(const plan *pl) {
    int64_t rows = pl->window.p;
    while (rows > 1 && !fits(pl, whole_groups(pl, rows), pl->columns)) rows = (rows + 1) / 2;
    return rows == 1 ? 1 : whole_groups(pl, rows);
}

/* Whole lines if possible, as many as fit; fewer where there would be too few tasks. Returns 0 if nothing fits. */
static int plan_blocks(plan *pl, int threads) {
    const fc_window *w = &pl->window;
    const int64_t least = vectors_together(pl) * pl->kernels->vl, images = pl->d->groups * pl->d->n;
    const int64_t wanted = threads == 1 ? 1 : fc_ceil_div(threads * FC_TASKS_PER_THREAD, images);
    pl->columns = w->q;
    while (!fits(pl, 1, pl->columns)) {
        if (pl->columns <= least) return 0;
        pl->columns = FC_MAX(least, fc_ceil_div(pl->columns, 2 * least) * least);
    }
    if (w->p == 1) /* a sequence; on images blocks of columns would change which vectors have which lines */
        pl->columns = FC_MIN(pl->columns, fc_ceil_div(w->q, wanted * least) * least);
    pl->column_blocks = fc_ceil_div(w->q, pl->columns);
    if (ends_with_lines(pl)) pl->line_vectors = fc_ceil_div(pl->columns, pl->kernels->vl);
    const int64_t most = rows_that_fit(pl), row_blocks = fc_ceil_div(wanted, pl->column_blocks);
    pl->row_blocks = FC_MAX(fc_ceil_div(w->p, most), FC_MIN(row_blocks, w->p));
    pl->rows = FC_MIN(most, whole_groups(pl, fc_ceil_div(w->p, pl->row_blocks)));
    pl->row_blocks = fc_ceil_div(w->p, pl->rows);
    return 1;
}

static void lay_out_block(plan *pl) {
    const fc_window *w = &pl->window;
    const int64_t vl = pl->kernels->vl, line = FC_CACHE_LINE / (int64_t)pl->size;
    pl->pitch = pl->columns + pl->over_w;
    pl->phase = (pl->rows + pl->over_h) * pl->pitch;
    pl->plane = fc_ceil_div(pl->phase * w->stride_h * w->stride_w, line) * line;
    if (pl->plane * (int64_t)pl->size % 2048 == 0) pl->plane += line; /* planes share sets of L1 no more */
    pl->lanes = pl->line_vectors > 0 ? pl->rows * pl->line_vectors * vl
                                     : fc_joined_vectors(pl->rows, pl->pitch, pl->columns, vl) * vl;
}

static void lay_out_scratch(plan *pl, int threads) {
    const fc_direct *d = pl->d;
    const size_t k = (size_t)(d->groups * d->k);
    size_t at = 0;
    for (part *of = pl->parts; of < pl->parts + pl->count; of++) {
        of->weights_at = at;
        of->term_at = of->weights_at + FC_ALIGN_UP((size_t)of->terms * k * pl->size);
        at = of->term_at + FC_ALIGN_UP((size_t)of->terms * sizeof(ptrdiff_t));
    }
    pl->bias_at = at;
    pl->workers_at = pl->bias_at + FC_ALIGN_UP(d->bias == NULL ? 0 : k * pl->size);
    /* the last vector may read over the end of the last plane */
    pl->output_at = FC_ALIGN_UP((size_t)(pl->passes.channels * pl->plane + pl->kernels->vl) * pl->size);
    pl->part_output = FC_ALIGN_UP((size_t)(d->k * pl->lanes) * pl->size);
    pl->worker_bytes = pl->output_at + (size_t)pl->count * pl->part_output;
    pl->scratch = fc_scratch_take(pl->workers_at + (size_t)threads * pl->worker_bytes);
}

/* The parts, and the window that is as large as the largest of them in each respect. */
static void set_parts(plan *pl, const fc_direct *problems, int count) {
    fc_window *all = &pl->window;
    pl->count = count;
    for (int i = 0; i < count; i++) {
        part *of = &pl->parts[i];
        *of = (part){.d = &problems[i], .window = problems[i].window};
        pl->x = problems[i].x; /* the same each time */
        fc_drop_unread(&of->window, &pl->x);
        const fc_window *w = &of->window;
        of->terms = w->r * w->s * problems->c;
        if (i == 0) *all = *w;
        all->p = FC_MAX(all->p, w->p), all->q = FC_MAX(all->q, w->q);
        all->r = FC_MAX(all->r, w->r), all->s = FC_MAX(all->s, w->s);
        all->top = FC_MAX(all->top, w->top), all->left = FC_MAX(all->left, w->left);
    }
}

/* Where windows begin, and how far they hang over. */
static void place_windows(plan *pl) {
    const fc_window *all = &pl->window;
    for (part *of = pl->parts; of < pl->parts + pl->count; of++) {
        const fc_window *w = &of->window;
        of->down = all->top - w->top, of->right = all->left - w->left;
        const int64_t rows = FC_MIN(pl->passes.rows, w->r);
        pl->over_h = FC_MAX(pl->over_h, of->down + (rows - 1) * w->dilation_h / w->stride_h);
        pl->over_w = FC_MAX(pl->over_w, of->right + (w->s - 1) * w->dilation_w / w->stride_w);
    }
}

/* Returns the number of threads, or 0 if a block would take too much memory, or parts do not go together. */
static int make_plan(plan *pl, part *parts, const fc_direct *problems, int count) {
    const fc_direct *d = problems;
    *pl = (plan){.d = d, .parts = parts, .dtype = d->y.dtype};
    pl->kernels = fc_kernels_for(pl->dtype);
    pl->size = (size_t)pl->kernels->element_size;
    set_parts(pl, problems, count);
    pl->passes = fc_split_reduction(pl->window.r, pl->window.s, d->c);
    if (count > 1 && pl->passes.row_blocks > 1) return 0;
    place_windows(pl);
    double work = 0;
    for (int i = 0; i < count; i++) work += fc_multiply_adds(&problems[i]);
    const int threads = fc_threads_for(INT32_MAX, work);
    if (!plan_blocks(pl, threads)) return 0;
    lay_out_block(pl);
    return (int)FC_MIN(threads, d->groups * d->n * pl->row_blocks * pl->column_blocks);
}

/* ---------------------------------------------------------------- packing */

/* The weights of a pass, [term][filter]. */
static void pack_weights(const plan *pl, const part *of, int64_t group, const pass *ps) {
    const fc_direct *d = of->d;
    const fc_reader reader = {.array = d->weight, .to = pl->dtype, .kernels = pl->kernels};
    const int64_t *stride = d->weight.stride, k = d->k;
    const int64_t from = group * d->weight_group + ps->r * stride[0] + ps->c * stride[2];
    const char *src = (const char *)d->weight.data + from * (int64_t)fc_dtype_size(d->weight.dtype);
    char *dst = pl->scratch + of->weights_at + (size_t)((group * of->terms + ps->terms_before) * k) * pl->size;
    const int64_t s = of->window.s, size = (int64_t)fc_dtype_size(d->weight.dtype);
    for (int64_t r = 0; r < ps->rows; r++, src += stride[0] * size, dst += (size_t)(ps->channels * s * k) * pl->size)
        if (ps->channels < s) /* the longer side in one copy */
            for (int64_t c = 0; c < ps->channels; c++)
                fc_copy_as(&reader, s, k, src + c * stride[2] * size, stride[1], stride[3],
                           dst + (size_t)(c * s * k) * pl->size, k, 1);
        else
            for (int64_t i = 0; i < s; i++)
                fc_copy_as(&reader, ps->channels, k, src + i * stride[1] * size, stride[2], stride[3],
                           dst + (size_t)(i * k) * pl->size, s * k, 1);
}

/* Where the terms of a pass lie in the packed planes. */
static void place_terms(const plan *pl, const part *of, const pass *ps, ptrdiff_t *term) {
    const fc_window *w = &of->window;
    for (int64_t r = 0; r < ps->rows; r++) {
        const int64_t line = r * w->dilation_h;
        ptrdiff_t at = of->down * pl->pitch + of->right +
                       line % w->stride_h * w->stride_w * pl->phase + line / w->stride_h * pl->pitch;
        for (int64_t c = 0; c < ps->channels; c++, at += pl->plane)
            for (int64_t s = 0, column = 0; s < w->s; s++, column += w->dilation_w)
                *term++ = at + column % w->stride_w * pl->phase + column / w->stride_w;
    }
}

/* What all tasks read: weights, bias, terms. */
static void pack_shared(const plan *pl) {
    const fc_direct *d = pl->d;
    const int64_t passes = pass_count(pl);
    for (const part *of = pl->parts; of < pl->parts + pl->count; of++)
        for (int64_t i = 0; i < passes; i++) {
            const pass ps = pass_at(pl, of, i);
            place_terms(pl, of, &ps, (ptrdiff_t *)(void *)(pl->scratch + of->term_at) + ps.terms_before);
            for (int64_t group = 0; group < d->groups; group++) pack_weights(pl, of, group, &ps);
        }
    if (d->bias == NULL) return;
    const fc_reader reader = {.array = *d->bias, .to = pl->dtype, .kernels = pl->kernels};
    fc_copy_as(&reader, 1, d->groups * d->k, d->bias->data, 0, d->bias->stride[3], pl->scratch + pl->bias_at, 0, 1);
}

/* ---------------------------------------------------------------- one task */

typedef struct task {
    const plan *pl;
    int64_t group, n, p, rows, q, columns;
    char *input, *output;
} task;

static task task_at(const plan *pl, int64_t index, int worker) {
    task t = {.pl = pl};
    t.q = index % pl->column_blocks * pl->columns;
    index /= pl->column_blocks;
    t.p = index % pl->row_blocks * pl->rows;
    index /= pl->row_blocks;
    t.n = index % pl->d->n;
    t.group = index / pl->d->n;
    t.rows = FC_MIN(pl->rows, pl->window.p - t.p);
    t.columns = FC_MIN(pl->columns, pl->window.q - t.q);
    t.input = pl->scratch + pl->workers_at + (size_t)worker * pl->worker_bytes;
    t.output = t.input + pl->output_at;
    return t;
}

/* The last blocks may have no lines or columns of a part that is smaller than others. */
static int64_t rows_of(const task *t, const part *of) { return FC_MIN(t->rows, of->window.p - t->p); }

static int64_t columns_of(const task *t, const part *of) { return FC_MIN(t->columns, of->window.q - t->q); }

static char *part_output(const task *t, const part *of) {
    return t->output + (size_t)(of - t->pl->parts) * t->pl->part_output;
}

/* Pixels of an axis [from, from + count*step), every step-th, of which [*lo, *hi) are inside an image of `size`. */
static void clip(int64_t from, int64_t step, int64_t count, int64_t size, int64_t *lo, int64_t *hi) {
    *lo = from < 0 ? FC_MIN(count, (-from + step - 1) / step) : 0;
    *hi = from < size ? FC_MIN(count, (size - 1 - from) / step + 1) : 0;
    *hi = FC_MAX(*lo, *hi);
}

/* One phase of the planes, which begins with pixel (line, column) of the image. */
static void pack_phase(const task *t, const pass *ps, int64_t line, int64_t column, char *dst) {
    const plan *pl = t->pl;
    const fc_window *w = &pl->window;
    const int64_t *stride = pl->x.stride;
    const fc_reader reader = {.array = pl->x, .to = pl->dtype, .kernels = pl->kernels};
    const int64_t columns = t->columns + pl->over_w;
    int64_t first, end, lo, hi;
    clip(line, w->stride_h, t->rows + pl->over_h, w->h, &first, &end);
    clip(column, w->stride_w, columns, w->w, &lo, &hi);
    if (first == end || lo == hi) return;
    int64_t lines = end - first, pixels = hi - lo;
    const int64_t step = w->stride_w * stride[2], line_step = w->stride_h * stride[1];
    if (pixels == pl->pitch && line_step == pixels * step) pixels *= lines, lines = 1; /* one unbroken run */
    const int64_t pixel = t->group * pl->d->x_group + line * stride[1] + column * stride[2] + first * line_step +
                          lo * step;
    const int64_t size = (int64_t)fc_dtype_size(pl->x.dtype);
    dst += (size_t)(first * pl->pitch + lo) * pl->size;
    int64_t image, tap_end;
    for (int64_t c = ps->c, here; c < ps->c + ps->channels; c += here, dst += (size_t)(here * pl->plane) * pl->size) {
        const int inside = fc_find_channel(&pl->x, t->n, c, &image, &tap_end);
        here = FC_MIN(ps->c + ps->channels, tap_end) - c;
        if (!inside) memset(dst, 0, (size_t)((here - 1) * pl->plane + (lines - 1) * pl->pitch + pixels) * pl->size);
        for (int64_t i = 0; i < lines && inside; i++)
            fc_copy_as(&reader, pixels, here, (const char *)pl->x.data + (image + pixel + i * line_step) * size, step,
                       stride[3], dst + (size_t)(i * pl->pitch) * pl->size, 1, pl->plane);
    }
}

static void pack_planes(const task *t, const pass *ps) {
    const plan *pl = t->pl;
    const fc_window *w = &pl->window;
    const int64_t line = t->p * w->stride_h - w->top + ps->r * w->dilation_h, column = t->q * w->stride_w - w->left;
    const int64_t last_line = line + w->stride_h * (t->rows + pl->over_h) - 1;
    const int64_t last_column = column + w->stride_w * (t->columns + pl->over_w) - 1;
    if (line < 0 || column < 0 || last_line >= w->h || last_column >= w->w) /* the border, with one call */
        memset(t->input, 0, (size_t)(ps->channels * pl->plane) * pl->size);
    for (int64_t i = 0; i < w->stride_h; i++)
        for (int64_t j = 0; j < w->stride_w; j++)
            pack_phase(t, ps, line + i, column + j, t->input + (size_t)((i * w->stride_w + j) * pl->phase) * pl->size);
}

/* The rows of a pass that meet the image from any of the lines `first` to `last` of the block; at least one row. */
static void rows_met(const task *t, const part *of, const pass *ps, int64_t first, int64_t last, int64_t *from,
                     int64_t *end) {
    const fc_window *w = &of->window;
    const int64_t start = ps->r * w->dilation_h - w->top; /* of the window of line 0 */
    *from = fc_taps_inside((t->p + last) * w->stride_h + start, ps->rows, w->dilation_h, w->h).first;
    *end = fc_taps_inside((t->p + first) * w->stride_h + start, ps->rows, w->dilation_h, w->h).end;
    *end = FC_MAX(*end, *from + 1);
}

/* A few vectors from vector v on, all filters; terms of the rows [from, end) of the kernel. */
static void multiply_vectors(const task *t, const part *of, const pass *ps, fc_lanes *tile, int64_t v, int vectors,
                             const void *const *b, int64_t from, int64_t end, int last) {
    const plan *pl = t->pl;
    const fc_direct *d = pl->d;
    const int64_t row_terms = ps->channels * of->window.s, skipped = ps->terms_before + from * row_terms;
    const char *weights =
        pl->scratch + of->weights_at + (size_t)((t->group * of->terms + skipped) * d->k) * pl->size;
    char *output = part_output(t, of);
    const char *bias = NULL;
    if (last && d->bias != NULL) bias = pl->scratch + pl->bias_at + (size_t)(t->group * d->k) * pl->size;
    const int64_t tiles = fc_ceil_div(d->k, pl->kernels->mr);
    tile->b_term = (const ptrdiff_t *)(const void *)(pl->scratch + of->term_at) + skipped;
    tile->terms = (end - from) * row_terms;
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t k = i * d->k / tiles, to = (i + 1) * d->k / tiles;
        pl->kernels->tile_lanes(tile, (int)(to - k), weights + (size_t)k * pl->size,
                                bias == NULL ? NULL : bias + (size_t)k * pl->size, vectors, b,
                                output + (size_t)(k * pl->lanes + v * pl->kernels->vl) * pl->size);
    }
}

/* No division here: there is one vector or two for a line, and their arithmetic takes a hundred cycles. */
static void multiply_pass(const task *t, const part *of, const pass *ps, fc_lanes *tile, int last) {
    const plan *pl = t->pl;
    const int64_t each = pl->line_vectors, vl = pl->kernels->vl, rows = rows_of(t, of), columns = columns_of(t, of);
    const int64_t together = vectors_together(pl);
    if (rows <= 0 || columns <= 0) return;
    const int64_t count = each > 0 ? rows * each : fc_joined_vectors(rows, pl->pitch, columns, vl);
    int64_t line = 0, place = 0; /* of the next vector: its line, and the vectors before it in the line */
    for (int64_t v = 0; v < count; v += together) {
        const int vectors = (int)FC_MIN(together, count - v);
        const int64_t first = line;
        int64_t from = 0, end = ps->rows, final = line;
        const void *b[FC_LANES_ALONE];
        for (int i = 0; i < vectors; i++) {
            final = line;
            b[i] = t->input + (size_t)(line * pl->pitch + place * vl) * pl->size;
            if (++place == each) place = 0, line++;
        }
        if (each > 0) rows_met(t, of, ps, first, final, &from, &end);
        multiply_vectors(t, of, ps, tile, v, vectors, b, from, end, last);
    }
}

/* Activations by library functions, then to y: the results of a line are adjacent, a line of filters apart. */
static void finish_results(const task *t, const part *of) {
    const plan *pl = t->pl;
    const fc_direct *d = of->d;
    const int64_t *stride = d->y.stride, size = (int64_t)pl->size;
    const int64_t pitch = pl->line_vectors > 0 ? pl->line_vectors * pl->kernels->vl : pl->pitch;
    int64_t lines = rows_of(t, of), pixels = columns_of(t, of);
    if (lines <= 0 || pixels <= 0) return;
    if (pixels == pitch && stride[1] == pixels * stride[2]) pixels *= lines, lines = 1;
    char *y = (char *)d->y.data +
              (t->group * d->y_group + fc_image_at(&d->y, t->n) + t->p * stride[1] + t->q * stride[2]) * size;
    for (int64_t i = 0; i < lines; i++, y += stride[1] * size) {
        char *results = part_output(t, of) + i * pitch * size;
        if (fc_is_left(d->activation))
            for (int64_t k = 0; k < d->k; k++)
                fc_activate_row(pl->kernels, d->activation, pixels, results + k * pl->lanes * size, 1);
        pl->kernels->copy(pixels, d->k, results, 1, pl->lanes, y, stride[2], stride[3]);
    }
}

static void run_task(void *context, int64_t index, int worker) {
    const plan *pl = context;
    const task t = task_at(pl, index, worker);
    const int64_t passes = pass_count(pl);
    for (int64_t i = 0; i < passes; i++) {
        const pass first = pass_at(pl, pl->parts, i); /* the channels of all parts, and the only part's rows */
        const int last = i == passes - 1;
        fc_lanes tile = {.a_term = pl->d->k, .c_row = pl->lanes, .lanes = pl->kernels->vl, .accumulate = i > 0};
        if (last) tile.activation = fc_epilogue_of(pl->d->activation);
        pack_planes(&t, &first);
        for (const part *of = pl->parts; of < pl->parts + pl->count; of++) {
            const pass ps = pass_at(pl, of, i);
            multiply_pass(&t, of, &ps, &tile, last);
        }
    }
    for (const part *of = pl->parts; of < pl->parts + pl->count; of++) finish_results(&t, of);
}

/* There is no memory, or there is to be none: see explain.h. */
static fc_status explain(const plan *pl, int threads) {
    const fc_direct *d = pl->d;
    const fc_window *w = &pl->window;
    fc_explanation *e = fc_explaining();
    if (e == NULL) return FC_NO_MEMORY;
    const double blocks = (double)(d->groups * d->n) * (double)(pl->row_blocks * pl->column_blocks);
    const double size = (double)pl->size, results = (double)(d->k * pl->lanes) * blocks;
    double terms = 0;
    for (int i = 0; i < pl->count; i++) terms += (double)pl->parts[i].terms;
    const double phase = (double)(pl->rows + pl->over_h) * (double)(pl->columns + pl->over_w);
    const double planes = phase * (double)(w->stride_h * w->stride_w) * (double)(d->c * pl->passes.row_blocks);
    fc_tell_kernel(e, "tile_lanes", pl->kernels->mr, (int)vectors_together(pl) * pl->kernels->vl, threads,
                   results * terms);
    fc_tell_copy(&e->x, planes * blocks * size, FC_COPY_PLANES);
    fc_tell_copy(&e->weight, terms * (double)(d->k * d->groups) * size, FC_COPY_ORDER);
    fc_tell_copy(&e->y, (double)pl->count * results * size, FC_COPY_PLANES);
    return FC_OK;
}

static fc_status run_one_by_one(const fc_direct *problems, int count) {
    fc_status status = FC_OK;
    for (int i = 0; i < count && status == FC_OK; i++) status = fc_few_filters_run(&problems[i]);
    return status;
}

fc_status fc_few_filters_run_all(const fc_direct *problems, int count) {
    plan pl;
    part parts[FC_TOGETHER];
    const fc_direct *d = problems;
    if (d->n == 0 || d->window.p == 0 || d->window.q == 0) return FC_OK;
    const int threads = make_plan(&pl, parts, problems, count);
    if (threads == 0) return count > 1 ? run_one_by_one(problems, count) : fc_direct_run(d); /* a wide dilation */
    lay_out_scratch(&pl, threads);
    if (pl.scratch == NULL) return explain(&pl, threads);
    pack_shared(&pl);
    const int64_t tasks = d->groups * d->n * pl.row_blocks * pl.column_blocks;
    const fc_status status = fc_parallel_for(tasks, threads, run_task, &pl);
    fc_scratch_give_back(pl.scratch);
    return status;
}

fc_status fc_few_filters_run(const fc_direct *problem) { return fc_few_filters_run_all(problem, 1); }
