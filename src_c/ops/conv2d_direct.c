/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Implicit GEMM. The loops, from the outside:
 *
 *   tasks     group x block of output pixels (MC) x block of filters (NC)      in parallel
 *     passes    KC terms of the reduction: rows of the kernel, channels        always in the same order
 *               pack the input of the block, or read it where it lies
 *       panels    2 vectors of filters (NR)      weights were packed panel by panel
 *         tiles     MR output pixels             the tile kernel
 *
 * Where much of the window lies in the border (small images), the pixels of a block are sorted by the taps that meet
 * the image, and tiles make the products of those alone.
 *
 * Later passes add to what earlier ones left in y (or in scratch memory, where y's filters are not adjacent). */
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "activation.h"
#include "ahead.h"
#include "blocking.h"
#include "border.h"
#include "direct.h"
#include "explain.h"

typedef struct plan {
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
    /* scratch memory, in bytes from its start */
    char *scratch;
    size_t weight_group_bytes, bias_at, workers_at, worker_bytes, input_at, output_at, panel_at, offsets_at, sorted_at;
} plan;

/* One pass: rows [r, r+rows) of the kernel, channels [c, c+channels). */
typedef struct pass {
    int64_t r, rows, c, channels, terms, terms_before;
} pass;

static pass pass_at(const plan *pl, int64_t index) {
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

static int64_t pass_count(const plan *pl) { return pl->passes.row_blocks * pl->passes.channel_blocks; }

static int panel_columns(const plan *pl, int64_t panel) {
    return (int)FC_MIN(pl->panel_width, pl->d->k - panel * pl->panel_width);
}

/* The last panel is as wide as the vectors it needs. */
static int panel_width_at(const plan *pl, int64_t panel) {
    return panel_columns(pl, panel) > pl->kernels->vl ? 2 * pl->kernels->vl : pl->kernels->vl;
}

/* Where a panel lies when all are packed before the tasks start. */
static char *panel_address(const plan *pl, int64_t group, const pass *ps, int64_t panel) {
    const int64_t element = pl->padded_k * ps->terms_before + panel * pl->panel_width * ps->terms;
    return pl->weights + (size_t)group * pl->weight_group_bytes + (size_t)element * pl->size;
}

/* ---------------------------------------------------------------- planning */

/* Large weights that are packed late come in by strips of panels while tiles compute: the longer the rows of a strip,
 * the faster they come. Without, layers of one 7x7 image whose weights no cache held took x1.2 to x1.3 as long. */
enum {
    STRIP_BYTES = 512,
    STRIP_WEIGHTS = 1 << 20 /* bytes. Smaller ones may be in L2, and lines cost four rows of 400 to 120 x1.25 */
};

/* Rows of A at a distance that is a multiple of 2 KiB share two sets of a 12-way L1 with 64 sets: 14 of them still fit,
 * but at 4 KiB they evict one another at every term. */
static int rows_collide(const plan *pl, int64_t distance) {
    return pl->total_rows * pl->window.q > 1 && distance * (int64_t)pl->size % 4096 == 0;
}

static int is_inside(const fc_window *w) {
    return w->top <= 0 && w->left <= 0 && (w->p - 1) * w->stride_h - w->top + (w->r - 1) * w->dilation_h < w->h &&
           (w->q - 1) * w->stride_w - w->left + (w->s - 1) * w->dilation_w < w->w;
}

/* Whether the tile kernel can read x where it lies: same type, adjacent channels, no border, no colliding rows. */
static int readable_in_place(const plan *pl) {
    const fc_window *w = &pl->window;
    const fc_array *x = &pl->x;
    const int64_t pixel = w->q > 1 ? w->stride_w * x->stride[2] : w->p > 1 ? w->stride_h * x->stride[1] : x->stride[0];
    const int adjacent = x->dtype == pl->dtype && (x->stride[3] == 1 || pl->d->c == 1);
    return fc_is_whole(x) && is_inside(w) && adjacent && !rows_collide(pl, pixel);
}

/* Few rows of results read the weights where they lie: packing costs more than the sums. One row of 512 to 4096
 * channels and filters runs at the speed of memory, twice as fast as with packing; three rows are still 10 % faster.
 * Where panels are there already, two rows are faster by tiles: x1.2 to x1.6 for 256 and 1024 channels. */
enum { IN_PLACE_ROWS = 3, IN_PLACE_ROWS_OF_PACKED = 1 };

static int weights_adjacent(const plan *pl) {
    const fc_array *weight = &pl->d->weight;
    return weight->dtype == pl->dtype && (weight->stride[3] == 1 || pl->d->k == 1);
}

static int weights_readable(const plan *pl) {
    const int64_t pixels = pl->blocks.rows * pl->blocks.columns;
    return weights_adjacent(pl) &&
           pixels <= (pl->d->weight.packed == NULL ? IN_PLACE_ROWS : IN_PLACE_ROWS_OF_PACKED);
}

/* Measured on AVX-512: of 4x4 images and all of their border (6x6 outputs, 3x3, 64 channels), where 44 % of the
 * products are with pixels, x1.9; 7x7 images with a border of one, 82 %, x1.1. With few channels the calls of the tile
 * kernel would be short, and on large images there is nothing to gain. It decides the order of sums, so it knows one
 * image. */
enum { LEAST_CHANNELS_BY_TAPS = 16, MOST_LINES_BY_TAPS = 32 };

static const double MOST_SHARE_BY_TAPS = 0.88;

static int worth_sorting(const plan *pl) {
    const fc_window *w = &pl->window;
    return w->r * w->s > 1 && pl->passes.row_blocks == 1 && pl->passes.channels >= LEAST_CHANNELS_BY_TAPS &&
           w->p <= MOST_LINES_BY_TAPS && w->q <= MOST_LINES_BY_TAPS && !is_inside(w) &&
           fc_share_inside(w) < MOST_SHARE_BY_TAPS;
}

/* No more panels than the task has. */
static int64_t strip_panels(const plan *pl) {
    return FC_MAX(1, FC_MIN(pl->filters.panels, STRIP_BYTES / (pl->panel_width * (int64_t)pl->size)));
}

static int64_t strip_lines(const plan *pl) {
    return fc_ceil_div(strip_panels(pl) * pl->panel_width * (int64_t)pl->size, FC_CACHE_LINE);
}

static void lay_out_scratch(plan *pl, int threads) {
    const fc_direct *d = pl->d;
    const size_t pixels = (size_t)(pl->blocks.rows * pl->blocks.columns);
    const int packed_before = d->weight.packed != NULL;
    pl->bias_at = pl->pack_late || packed_before ? 0 : pl->weight_group_bytes * (size_t)d->groups;
    pl->workers_at = pl->bias_at + FC_ALIGN_UP(d->bias == NULL ? 0 : (size_t)(d->groups * d->k) * pl->size);
    const size_t input = pl->in_place ? 0
                                      : (size_t)fc_packed_size(&pl->window, pl->blocks.rows, pl->blocks.columns,
                                                               pl->passes.channels) * pl->size;
    const size_t output =
        pl->direct_y ? 0 : pixels * (size_t)(pl->filters.panels * pl->panel_width) * pl->size;
    const size_t pass_terms = (size_t)(pl->passes.rows * pl->window.s * pl->passes.channels);
    pl->input_at = 0;
    pl->output_at = FC_ALIGN_UP(input);
    pl->panel_at = pl->output_at + FC_ALIGN_UP(output);
    const size_t panel = pl->pack_late && !pl->never_pack ? pass_terms * (size_t)pl->panel_width * pl->size : 0;
    pl->offsets_at = pl->panel_at + FC_ALIGN_UP(panel);
    /* per pixel: a row of A, a row of C; per output row: its start; per term: its offsets in A and B, lines of B */
    const size_t lines = pl->by_strips ? (size_t)strip_lines(pl) : 0;
    pl->worker_bytes =
        pl->offsets_at +
        FC_ALIGN_UP((2 * pixels + (size_t)pl->blocks.rows + (2 + lines) * pass_terms) * sizeof(ptrdiff_t));
    pl->sorted_at = pl->worker_bytes;
    /* per pixel: its place among the sorted, its rows of A and C there, at most one class; taps of rows and columns */
    if (pl->by_taps)
        pl->worker_bytes += FC_ALIGN_UP(pixels * (3 * sizeof(ptrdiff_t) + sizeof(fc_pixel_class)) +
                                        (size_t)(pl->blocks.rows + pl->blocks.columns) * sizeof(fc_taps));
    pl->scratch = fc_scratch_take(pl->workers_at + (size_t)threads * pl->worker_bytes);
    pl->weights = packed_before ? (char *)(uintptr_t)d->weight.packed : pl->scratch;
}

static double multiply_adds(const plan *pl) {
    const fc_direct *d = pl->d;
    return (double)pl->total_rows * (double)pl->window.q * (double)(pl->window.r * pl->window.s) * (double)d->c *
           (double)d->k * (double)d->groups;
}

static int make_plan(plan *pl, const fc_direct *d) {
    *pl = (plan){.d = d, .dtype = d->y.dtype, .window = d->window, .x = d->x};
    pl->kernels = fc_kernels_for(pl->dtype);
    pl->size = (size_t)pl->kernels->element_size;
    fc_drop_unread(&pl->window, &pl->x);
    pl->total_rows = d->n * pl->window.p;
    pl->passes = fc_split_reduction(pl->window.r, pl->window.s, d->c);
    pl->panel_width = 2 * pl->kernels->vl;
    pl->panels = fc_ceil_div(d->k, pl->panel_width);
    pl->padded_k = (pl->panels - 1) * pl->panel_width + panel_width_at(pl, pl->panels - 1);
    pl->weight_group_bytes = FC_ALIGN_UP((size_t)(pl->window.r * pl->window.s * d->c * pl->padded_k) * pl->size);
    pl->in_place = readable_in_place(pl);
    pl->direct_y = d->y.stride[3] == 1 || d->k == 1;
    pl->blocks = fc_split_pixels(&pl->window, pl->total_rows, pl->passes.channels, FC_MC, FC_INPUT_ELEMENTS,
                                 pl->kernels->mr);
    pl->by_taps = worth_sorting(pl);
    const int few_blocks = pl->blocks.row_blocks * pl->blocks.column_blocks <= FC_LATE_PACKING_BLOCKS;
    pl->never_pack = few_blocks && !pl->by_taps && weights_readable(pl);
    pl->pack_late = few_blocks && d->weight.packed == NULL;
    pl->tiles_pack = pl->pack_late && !pl->never_pack && weights_adjacent(pl) && d->k >= pl->panel_width;
    pl->by_strips = pl->tiles_pack && pl->weight_group_bytes >= STRIP_WEIGHTS;
    const int threads = fc_threads_for(INT32_MAX, multiply_adds(pl));
    const int64_t pixel_blocks = pl->blocks.row_blocks * pl->blocks.column_blocks;
    const int64_t most = FC_OUTPUT_ELEMENTS / (pl->blocks.rows * pl->blocks.columns * pl->panel_width);
    pl->filters = fc_split_filters(pl->panels, most, pixel_blocks * d->groups, threads);
    pl->walk = (fc_walk){&pl->window, &pl->x, &pl->blocks, &pl->passes, pl->total_rows, d->c, pl->filters.blocks};
    return threads;
}

/* ---------------------------------------------------------------- packing the weights */

static void pack_panel(const plan *pl, int64_t group, const pass *ps, int64_t panel, char *dst) {
    const fc_direct *d = pl->d;
    const int width = panel_width_at(pl, panel), columns = panel_columns(pl, panel);
    const fc_reader reader = {.array = d->weight, .to = pl->dtype, .kernels = pl->kernels};
    const int64_t *stride = d->weight.stride;
    int64_t rows = ps->rows, taps = pl->window.s, channels = ps->channels;
    if (taps == 1 || stride[1] == channels * stride[2]) { /* taps that follow one another as channels do: one copy */
        channels *= taps;
        taps = 1;
        if (rows > 1 && stride[0] == channels * stride[2]) {
            channels *= rows;
            rows = 1;
        }
    }
    const int64_t size = (int64_t)fc_dtype_size(d->weight.dtype);
    const int64_t first =
        ps->r * stride[0] + ps->c * stride[2] + panel * pl->panel_width * stride[3] + group * d->weight_group;
    if (columns < width) memset(dst, 0, (size_t)(ps->terms * width) * pl->size);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < taps; s++) {
            const char *src = (const char *)d->weight.data + (first + r * stride[0] + s * stride[1]) * size;
            fc_copy_as(&reader, channels, columns, src, stride[2], stride[3], dst, width, 1);
            dst += (size_t)(channels * width) * pl->size;
        }
}

static void pack_panel_task(void *context, int64_t task, int worker) {
    (void)worker;
    const plan *pl = context;
    const int64_t panel = task % pl->panels, group = task / pl->panels / pass_count(pl);
    const pass ps = pass_at(pl, task / pl->panels % pass_count(pl));
    pack_panel(pl, group, &ps, panel, panel_address(pl, group, &ps, panel));
}

static fc_status pack_all_panels(plan *pl) {
    const int64_t tasks = pl->d->groups * pass_count(pl) * pl->panels;
    const double numbers = (double)(pl->weight_group_bytes / pl->size) * (double)pl->d->groups;
    return fc_parallel_for(tasks, fc_threads_for(tasks, numbers), pack_panel_task, pl);
}

static void pack_bias(const plan *pl) {
    const fc_direct *d = pl->d;
    if (d->bias == NULL) return;
    const fc_reader reader = {.array = *d->bias, .to = pl->dtype, .kernels = pl->kernels};
    fc_copy_as(&reader, 1, d->groups * d->k, d->bias->data, 0, d->bias->stride[3], pl->scratch + pl->bias_at, 0, 1);
}

/* ---------------------------------------------------------------- one task */

typedef struct task {
    const plan *pl;
    fc_block block;
    int64_t pixel_block, group, first_panel, panels, pixels;
    char *input, *output, *panel;
    ptrdiff_t *a_row, *c_row, *row_at, *term, *b_term, *lines;
} task;

static task task_at(const plan *pl, int64_t index, int worker) {
    const int64_t pixel_blocks = pl->blocks.row_blocks * pl->blocks.column_blocks;
    char *memory = pl->scratch + pl->workers_at + (size_t)worker * pl->worker_bytes;
    task t = {.pl = pl, .pixel_block = index / pl->filters.blocks % pixel_blocks};
    t.input = memory + pl->input_at;
    t.output = memory + pl->output_at;
    t.panel = memory + pl->panel_at;
    t.block = fc_block_at(&pl->blocks, &pl->window, pl->total_rows, t.pixel_block);
    t.group = index / pl->filters.blocks / pixel_blocks;
    t.first_panel = index % pl->filters.blocks * pl->filters.panels;
    t.panels = FC_MIN(pl->filters.panels, pl->panels - t.first_panel);
    t.pixels = t.block.rows * t.block.columns;
    t.a_row = (ptrdiff_t *)(void *)(memory + pl->offsets_at);
    t.c_row = t.a_row + pl->blocks.rows * pl->blocks.columns;
    t.row_at = t.c_row + pl->blocks.rows * pl->blocks.columns;
    t.term = t.row_at + pl->blocks.rows;
    t.lines = t.term + 2 * pl->passes.rows * pl->window.s * pl->passes.channels;
    return t;
}

/* `count` numbers from `at` on, `step` apart; returns where the next is to be written. */
static ptrdiff_t *place(ptrdiff_t *to, int64_t count, ptrdiff_t at, ptrdiff_t step) {
    for (int64_t i = 0; i < count; i++, at += step) to[i] = at;
    return to + count;
}

/* c_row: where the results of each pixel go, in y or in scratch memory. */
static void place_results(task *t) {
    const plan *pl = t->pl;
    const int64_t *stride = pl->d->y.stride;
    ptrdiff_t *to = t->c_row;
    if (!pl->direct_y) {
        place(to, t->pixels, 0, t->panels * pl->panel_width);
        return;
    }
    for (int64_t j = 0; j < t->block.rows; j++) {
        const int64_t n = (t->block.row + j) / pl->window.p, p = (t->block.row + j) % pl->window.p;
        const int64_t at = fc_image_at(&pl->d->y, n) + p * stride[1] + t->block.q * stride[2];
        to = place(to, t->block.columns, at, stride[2]);
    }
}

/* Where weights lie that are read there: b_term from the first number of a pass and panel on, lines in bytes from the
 * first of a strip on. */
static void place_weights(task *t, const pass *ps) {
    const plan *pl = t->pl;
    const int64_t *stride = pl->d->weight.stride;
    ptrdiff_t *to = t->b_term = t->term + ps->terms;
    for (int64_t r = 0; r < ps->rows; r++)
        for (int64_t s = 0; s < pl->window.s; s++)
            to = place(to, ps->channels, r * stride[0] + s * stride[1], stride[2]);
    if (!pl->by_strips) return;
    const int64_t lines = strip_lines(pl);
    for (int64_t i = 0; i < ps->terms; i++)
        place(t->lines + i * lines, lines, t->b_term[i] * (int64_t)pl->size, FC_CACHE_LINE);
}

/* Bring in the input of one pass. Returns what the tile kernel calls A; fills its offsets. */
static const char *bring_input(task *t, const pass *ps, fc_tile *tile) {
    const plan *pl = t->pl;
    fc_window w = pl->window;
    const fc_array *x = &pl->x;
    const int64_t *stride = x->stride;
    const char *group_data = (const char *)x->data + t->group * pl->d->x_group * (int64_t)fc_dtype_size(x->dtype);
    const char *a;
    fc_packed packed;
    if (pl->in_place) {
        for (int64_t j = 0; j < t->block.rows; j++) {
            const int64_t n = (t->block.row + j) / w.p, p = (t->block.row + j) % w.p;
            t->row_at[j] = fc_image_at(x, n) + (p * w.stride_h - w.top) * stride[1] +
                           (t->block.q * w.stride_w - w.left) * stride[2];
        }
        packed = (fc_packed){w.stride_w * stride[2], w.dilation_h * stride[1], w.dilation_w * stride[2]};
        a = group_data + (ps->c * stride[3] + ps->r * packed.tap_row) * (int64_t)pl->size;
    } else {
        fc_reader reader = {.array = *x, .to = pl->dtype, .kernels = pl->kernels};
        reader.array.data = (void *)(uintptr_t)group_data;
        w.r = ps->rows;
        w.top -= ps->r * w.dilation_h;
        const fc_channels channels = {.c = ps->c, .channels = ps->channels, .width = ps->channels};
        packed = fc_pack_block(&w, &reader, &t->block, &channels, t->input, t->row_at);
        a = t->input;
    }
    ptrdiff_t *to = t->a_row;
    for (int64_t j = 0; j < t->block.rows; j++) to = place(to, t->block.columns, t->row_at[j], packed.pixel);
    to = t->term;
    for (int64_t r = 0; r < ps->rows; r++)
        for (int64_t s = 0; s < w.s; s++) to = place(to, ps->channels, r * packed.tap_row + s * packed.tap_column, 1);
    tile->terms = ps->terms;
    tile->a_term = t->term;
    return a;
}

/* The panel after this one, if it is packed. */
static fc_region next_panel(const task *t, const pass *ps, int64_t panel) {
    const plan *pl = t->pl;
    if (pl->pack_late || panel + 1 >= t->first_panel + t->panels) return (fc_region){0};
    return (fc_region){.base = panel_address(pl, t->group, ps, panel + 1), .outer = 1, .inner = 1,
                       .lines = ps->terms * pl->panel_width * (int64_t)pl->size / FC_CACHE_LINE,
                       .line_step = FC_CACHE_LINE};
}

/* The pixels of a task in the order of their taps. */
typedef struct sorted {
    fc_pixel_class *classes;
    int64_t count;
    ptrdiff_t *a_row, *c_row;
    int64_t whole_tiles; /* of the pixels that all taps meet */
} sorted;

/* Weights on the way from where they lie to L2. */
typedef struct strip {
    const char *at;       /* the strip after the one at work; NULL: there is none */
    int64_t lines, next;  /* of it; brought in so far */
    int64_t tiles, done;  /* of the strip at work: how many there are, how many have run */
} strip;

/* What the next tiles and panels need, on the way to the caches. */
typedef struct scans {
    fc_scan input, weights;
    strip strip;
} scans;

static int has_all_taps(const plan *pl, const fc_pixel_class *class) {
    return class->rows.end - class->rows.first == pl->window.r &&
           class->columns.end - class->columns.first == pl->window.s;
}

static sorted sort_pixels(const task *t, char *memory) {
    const plan *pl = t->pl;
    sorted s = {.classes = (fc_pixel_class *)(void *)memory};
    fc_taps *taps = (fc_taps *)(void *)(s.classes + t->pixels);
    int64_t *order = (int64_t *)(void *)(taps + t->block.rows + t->block.columns);
    s.a_row = (ptrdiff_t *)(order + t->pixels);
    s.c_row = s.a_row + t->pixels;
    s.count = fc_sort_by_taps(&pl->window, &t->block, taps, order, s.classes);
    for (int64_t i = 0; i < t->pixels; i++) {
        s.a_row[i] = t->a_row[order[i]];
        s.c_row[i] = t->c_row[order[i]];
    }
    for (int64_t i = 0; i < s.count; i++) {
        if (!has_all_taps(pl, &s.classes[i])) continue;
        s.whole_tiles = fc_ceil_div(s.classes[i].count, pl->kernels->mr);
        const fc_pixel_class first = s.classes[0]; /* is done first: its tiles see all weights */
        s.classes[0] = s.classes[i], s.classes[i] = first;
    }
    return s;
}

/* A panel of weights at work. Where the tiles can read the weights, the first one packs them: copied before them, one
 * 7x7 image of 512 to 2048 channels took x1.15 to x1.25 as long. */
typedef struct work {
    fc_tile tile;
    const char *a, *b, *bias;
    const char *unpacked; /* the same weights where they lie, at b_term; NULL: they are packed */
    int columns, brings_strips;
    char *c;
    scans *ahead;
} work;

/* One line of the next strip for each pair of terms, in the tiles that have a turn: as many as are needed, evenly
 * spread. */
static void bring_lines(const task *t, work *w) {
    strip *s = &w->ahead->strip;
    const int64_t share = w->tile.terms / 2, due = s->lines * ++s->done / s->tiles;
    const int has_turn = s->at != NULL && s->next < FC_MIN(due, s->lines);
    if (!has_turn) return;
    w->tile.lines = t->lines + FC_MIN(s->next, s->lines - share);
    w->tile.ahead[1].at = s->at;
    s->next += share;
}

/* The terms of the tile, which begin with number `first` of the panel, for `count` pixels. */
static void multiply_tiles(const task *t, work *w, int64_t first, int64_t count, const ptrdiff_t *a_row,
                           const ptrdiff_t *c_row, int looks_ahead) {
    const fc_kernels *kernels = t->pl->kernels;
    const char *b = w->b + first * w->tile.width * (int64_t)t->pl->size;
    const int64_t tiles = fc_ceil_div(count, kernels->mr);
    for (int64_t i = 0, from = 0, to; i < tiles; i++, from = to) {
        to = (i + 1) * count / tiles; /* spread evenly: a last tile of 2 rows would cost as much as 8 */
        w->tile.ahead[0] = looks_ahead ? fc_next_share(&w->ahead->input) : (fc_ahead){0};
        w->tile.ahead[1] = looks_ahead ? fc_next_share(&w->ahead->weights) : (fc_ahead){0};
        w->tile.b_term = w->unpacked == NULL ? NULL : t->b_term;
        w->tile.lines = NULL;
        if (w->brings_strips && looks_ahead) bring_lines(t, w);
        kernels->tile(&w->tile, (int)(to - from), w->a, a_row + from, w->unpacked == NULL ? b : w->unpacked, w->bias,
                      w->columns, w->c, c_row + from);
        w->unpacked = NULL;
    }
}

/* The pixels of one class: in one piece where all columns of the window meet the image, else a row of the window at a
 * time. */
static void multiply_class(const task *t, const pass *ps, const work *panel, const sorted *pixels,
                           const fc_pixel_class *class) {
    const plan *pl = t->pl;
    const int64_t s = pl->window.s;
    const int whole = class->columns.first == 0 && class->columns.end == s;
    const int64_t step = whole ? class->rows.end - class->rows.first : 1;
    work w = *panel;
    for (int64_t r = class->rows.first; r < class->rows.end; r += step, w.tile.accumulate = 1) {
        const int64_t first = (r * s + class->columns.first) * ps->channels;
        const int last = r + step >= class->rows.end;
        w.tile.a_term = t->term + first;
        w.tile.terms = whole ? step * s * ps->channels : (class->columns.end - class->columns.first) * ps->channels;
        w.tile.activation = last ? panel->tile.activation : FC_EPILOGUE_NONE;
        w.bias = last ? panel->bias : NULL;
        multiply_tiles(t, &w, first, class->count, pixels->a_row + class->from, pixels->c_row + class->from,
                       has_all_taps(pl, class));
    }
}

/* Where the weights of a panel lie that a pass needs: at b_term. */
static const char *weights_at(const task *t, const pass *ps, int64_t panel) {
    const plan *pl = t->pl;
    const fc_array *weight = &pl->d->weight;
    const int64_t *stride = weight->stride;
    const int64_t at = ps->r * stride[0] + ps->c * stride[2] + panel * pl->panel_width * stride[3];
    return (const char *)weight->data + (t->group * pl->d->weight_group + at) * (int64_t)pl->size;
}

/* What to bring in while the strip that begins with `panel` is at work: the next one of this pass, the first of the
 * next pass, or that of the next task. */
static strip next_strip(const task *t, int64_t pass_index, int64_t panel, int64_t tiles) {
    const plan *pl = t->pl;
    const int64_t end = t->first_panel + t->panels, next = panel + strip_panels(pl);
    const pass now = pass_at(pl, pass_index);
    strip s = {.tiles = tiles * (FC_MIN(next, end) - panel), .lines = now.terms * strip_lines(pl)};
    const int64_t then = next < end ? pass_index : (pass_index + 1) % pass_count(pl);
    const int64_t there = next < end ? next : then > 0 ? t->first_panel : end;
    const pass ps = pass_at(pl, then);
    if (there < pl->panels) s.at = weights_at(t, &ps, there);
    return s;
}

static void multiply_pass(task *t, int64_t pass_index, const fc_tile *tile, const char *a) {
    const plan *pl = t->pl;
    const fc_direct *d = pl->d;
    const pass now = pass_at(pl, pass_index), *ps = &now;
    const int last = pass_index + 1 == pass_count(pl);
    const sorted by_taps = pl->by_taps ? sort_pixels(t, t->input + pl->sorted_at) : (sorted){0};
    const int64_t tiles = pl->by_taps ? FC_MAX(1, by_taps.whole_tiles) : fc_ceil_div(t->pixels, pl->kernels->mr);
    const int tile_packs = pl->tiles_pack && (!pl->by_taps || by_taps.whole_tiles > 0);
    const fc_region input = fc_next_input(&pl->walk, t->group, t->pixel_block, pass_index);
    scans ahead = {.input = fc_scan_of(&input, t->panels * tiles, ps->terms)};
    char *y = (char *)d->y.data + t->group * d->y_group * (int64_t)pl->size;
    for (int64_t panel = t->first_panel; panel < t->first_panel + t->panels; panel++) {
        const int64_t k = panel * pl->panel_width;
        work w = {.tile = *tile, .a = a, .columns = panel_columns(pl, panel), .ahead = &ahead,
                  .brings_strips = tile_packs && pl->by_strips};
        w.tile.width = panel_width_at(pl, panel);
        w.tile.panel = t->panel;
        w.b = pl->pack_late ? t->panel : panel_address(pl, t->group, ps, panel);
        if (tile_packs && w.columns == 2 * pl->kernels->vl) w.unpacked = weights_at(t, ps, panel);
        else if (pl->pack_late) pack_panel(pl, t->group, ps, panel, t->panel);
        if (last && d->bias != NULL) w.bias = pl->scratch + pl->bias_at + (size_t)(t->group * d->k + k) * pl->size;
        w.c = pl->direct_y ? y + k * (int64_t)pl->size
                           : t->output + (size_t)((panel - t->first_panel) * pl->panel_width) * pl->size;
        if (w.brings_strips && (panel - t->first_panel) % strip_panels(pl) == 0)
            ahead.strip = next_strip(t, pass_index, panel, tiles);
        const fc_region weights = next_panel(t, ps, panel);
        ahead.weights = fc_scan_of(&weights, tiles, ps->terms);
        if (pl->by_taps) {
            for (int64_t i = 0; i < by_taps.count; i++, w.unpacked = NULL)
                multiply_class(t, ps, &w, &by_taps, &by_taps.classes[i]);
        } else {
            multiply_tiles(t, &w, 0, t->pixels, t->a_row, t->c_row, 1);
        }
    }
}

/* What the tile kernel could not do: activations by library functions, filters that are not adjacent in y. */
static void finish_results(task *t) {
    const plan *pl = t->pl;
    const fc_direct *d = pl->d;
    const int64_t k0 = t->first_panel * pl->panel_width, *stride = d->y.stride;
    const int64_t filters = FC_MIN(t->panels * pl->panel_width, d->k - k0);
    char *y = (char *)d->y.data + (t->group * d->y_group + k0 * stride[3]) * (int64_t)pl->size;
    char *results = pl->direct_y ? y : t->output;
    if (fc_is_left(d->activation))
        for (int64_t i = 0; i < t->pixels; i++)
            fc_activate_row(pl->kernels, d->activation, filters, results + t->c_row[i] * (int64_t)pl->size, 1);
    if (pl->direct_y) return;
    const int64_t width = t->panels * pl->panel_width;
    for (int64_t j = 0; j < t->block.rows; j++) {
        const int64_t n = (t->block.row + j) / pl->window.p, p = (t->block.row + j) % pl->window.p;
        char *row = y + (fc_image_at(&d->y, n) + p * stride[1] + t->block.q * stride[2]) * (int64_t)pl->size;
        pl->kernels->copy(t->block.columns, filters, t->output + (size_t)(j * t->block.columns * width) * pl->size,
                          width, 1, row, stride[2], stride[3]);
    }
}

/* All filters of the task, row by row of results, with the weights where they lie. */
static void multiply_rows(task *t, int64_t pass_index, const fc_tile *tile, const char *a) {
    const plan *pl = t->pl;
    const fc_direct *d = pl->d;
    const pass ps = pass_at(pl, pass_index);
    const int64_t size = (int64_t)pl->size, k = t->first_panel * pl->panel_width;
    const int64_t columns = FC_MIN(t->panels * pl->panel_width, d->k - k);
    const char *b = weights_at(t, &ps, t->first_panel);
    const char *bias = NULL;
    if (pass_index + 1 == pass_count(pl) && d->bias != NULL)
        bias = pl->scratch + pl->bias_at + (size_t)(t->group * d->k + k) * pl->size;
    char *y = pl->direct_y ? (char *)d->y.data + (t->group * d->y_group + k * d->y.stride[3]) * size : t->output;
    const int64_t strip = FC_ROW_STRIP * pl->kernels->vl; /* the second row finds its weights in L1 or L2 */
    for (int64_t j = 0; j < columns; j += strip)
        for (int64_t i = 0; i < t->pixels; i++)
            pl->kernels->row(tile, a + t->a_row[i] * size, b + j * size, bias == NULL ? NULL : bias + j * size,
                             FC_MIN(strip, columns - j), y + (t->c_row[i] + j) * size);
}

static void run_task(void *context, int64_t index, int worker) {
    const plan *pl = context;
    task t = task_at(pl, index, worker);
    place_results(&t);
    const int64_t passes = pass_count(pl);
    for (int64_t i = 0; i < passes; i++) {
        const pass ps = pass_at(pl, i);
        fc_tile tile = {.accumulate = i > 0};
        if (i == passes - 1) tile.activation = fc_epilogue_of(pl->d->activation);
        const char *a = bring_input(&t, &ps, &tile);
        if (pl->never_pack || pl->tiles_pack) place_weights(&t, &ps);
        tile.b_term = t.b_term;
        if (pl->never_pack) multiply_rows(&t, i, &tile, a);
        else multiply_pass(&t, i, &tile, a);
    }
    finish_results(&t);
}

/* ---------------------------------------------------------------- entries */

static int64_t task_count(const plan *pl) {
    return pl->d->groups * pl->blocks.row_blocks * pl->blocks.column_blocks * pl->filters.blocks;
}

static unsigned why_packed(const plan *pl) {
    unsigned why = fc_why_channels(&pl->x, pl->d->c, pl->dtype);
    if (!is_inside(&pl->window)) why |= FC_COPY_BORDER;
    return why == 0 ? FC_COPY_COLLISION : why;
}

/* There is no memory, or there is to be none: see explain.h. */
static fc_status explain(const plan *pl, int threads) {
    const fc_direct *d = pl->d;
    fc_explanation *e = fc_explaining();
    if (e == NULL) return FC_NO_MEMORY;
    threads = (int)FC_MIN(task_count(pl), threads);
    const double size = (double)pl->size, groups = (double)d->groups;
    const double pixels = (double)pl->total_rows * (double)pl->window.q;
    const double blocks = (double)pl->blocks.row_blocks * (double)pl->blocks.column_blocks;
    const double weights = (double)(pl->window.r * pl->window.s) * (double)d->c * (double)pl->padded_k * groups;
    const double input = (double)fc_packed_size(&pl->window, pl->blocks.rows, pl->blocks.columns, d->c) * blocks;
    const double share = pl->by_taps ? fc_share_inside(&pl->window) : 1;
    fc_tell_kernel(e, pl->never_pack ? "row" : "tile", pl->never_pack ? 1 : pl->kernels->mr,
                   pl->never_pack ? FC_ROW_STRIP * pl->kernels->vl : (int)pl->panel_width, threads,
                   pl->never_pack ? multiply_adds(pl) : pixels * weights * share);
    if (!pl->in_place) fc_tell_copy(&e->x, input * (double)pl->filters.blocks * groups * size, why_packed(pl));
    if (!pl->never_pack && d->weight.packed == NULL)
        fc_tell_copy(&e->weight, weights * (pl->pack_late ? blocks : 1) * size, FC_COPY_PANELS);
    if (!pl->direct_y) fc_tell_copy(&e->y, pixels * (double)d->k * groups * size, FC_COPY_CHANNELS);
    return FC_OK;
}

fc_status fc_direct_run(const fc_direct *d) {
    plan pl;
    if (d->n == 0 || d->window.p == 0 || d->window.q == 0) return FC_OK;
    const int threads = make_plan(&pl, d);
    lay_out_scratch(&pl, threads);
    if (pl.scratch == NULL) return explain(&pl, threads);
    pack_bias(&pl);
    fc_status status = pl.pack_late || d->weight.packed != NULL ? FC_OK : pack_all_panels(&pl);
    if (status == FC_OK) {
        const int64_t tasks = task_count(&pl);
        status = fc_parallel_for(tasks, (int)FC_MIN(tasks, threads), run_task, &pl);
    }
    fc_scratch_give_back(pl.scratch);
    return status;
}

static size_t panel_bytes(const fc_direct *d) {
    plan pl;
    make_plan(&pl, d);
    return pl.weight_group_bytes * (size_t)d->groups;
}

static fc_status pack(const fc_direct *d) {
    plan pl;
    make_plan(&pl, d);
    pl.weights = (char *)(uintptr_t)d->weight.packed;
    return pack_all_panels(&pl);
}

/* Panels of float numbers are the same for all images. */
static int64_t form(const fc_direct *d) {
    (void)d;
    return 0;
}

const fc_panels fc_direct_panels = {panel_bytes, pack, form};
