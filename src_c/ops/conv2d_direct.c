/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Implicit GEMM. The loops, from the outside:
 *
 *   tasks     group x block of output pixels (MC) x block of filters (NC)      in parallel
 *     passes    KC terms of the reduction: rows of the kernel, channels        always in the same order
 *               pack the input of the block, or read it where it lies
 *       panels    2 vectors of filters (NR)      weights were packed panel by panel, or the first tile does it
 *         tiles     MR output pixels             the tile kernel: conv2d_direct_tiles.c
 *
 * Where much of the window lies in the border (small images), the pixels of a block are sorted by the taps that meet
 * the image, and tiles make the products of those alone.
 *
 * Later passes add to what earlier ones left in y (or in scratch memory, where y's filters are not adjacent). */
#include <string.h>

#include "../base/convert.h"
#include "../base/threads.h"
#include "activation.h"
#include "border.h"
#include "conv2d_direct.h"

/* ---------------------------------------------------------------- planning */

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

static void lay_out_scratch(plan *pl) {
    const fc_direct *d = pl->d;
    const size_t pixels = (size_t)(pl->blocks.rows * pl->blocks.columns);
    const int packed_before = d->weight.packed != NULL;
    pl->bias_at = pl->pack_late || packed_before ? 0 : pl->weight_group_bytes * (size_t)d->groups;
    pl->share.scratch_bytes = pl->bias_at + FC_ALIGN_UP(d->bias == NULL ? 0 : (size_t)(d->groups * d->k) * pl->size);
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
    pl->share.worker_bytes =
        pl->offsets_at +
        FC_ALIGN_UP((2 * pixels + (size_t)pl->blocks.rows + (2 + lines) * pass_terms) * sizeof(ptrdiff_t));
    pl->sorted_at = pl->share.worker_bytes;
    /* per pixel: its place among the sorted, its rows of A and C there, at most one class; taps of rows and columns */
    if (pl->by_taps)
        pl->share.worker_bytes += FC_ALIGN_UP(pixels * (3 * sizeof(ptrdiff_t) + sizeof(fc_pixel_class)) +
                                        (size_t)(pl->blocks.rows + pl->blocks.columns) * sizeof(fc_taps));
}

/* Output pixels of a block, as long as there are tasks for the threads and a block has all filters. */
static int64_t block_pixels(const plan *pl, int threads) {
    const int64_t terms = pl->passes.rows * pl->window.s * pl->passes.channels;
    const int64_t fair = pl->total_rows * pl->window.q / (FC_TASKS_PER_THREAD * threads);
    const int64_t whole = FC_OUTPUT_ELEMENTS / (pl->panels * pl->panel_width);
    return FC_MAX(FC_MC, FC_MIN(FC_SHORT_WORK / terms, FC_MIN(fair, whole)));
}

static void make_plan(fc_share *share, const fc_direct *d, int parts, int threads) {
    (void)parts;
    plan *pl = (plan *)share;
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
    pl->blocks = fc_split_pixels(&pl->window, pl->total_rows, pl->passes.channels, block_pixels(pl, threads),
                                 FC_INPUT_ELEMENTS, pl->kernels->mr);
    pl->by_taps = worth_sorting(pl);
    const int few_blocks = pl->blocks.row_blocks * pl->blocks.column_blocks <= FC_LATE_PACKING_BLOCKS;
    pl->never_pack = few_blocks && !pl->by_taps && weights_readable(pl);
    pl->pack_late = few_blocks && d->weight.packed == NULL;
    pl->tiles_pack = pl->pack_late && !pl->never_pack && weights_adjacent(pl) && d->k >= pl->panel_width;
    pl->by_strips = pl->tiles_pack && pl->weight_group_bytes >= STRIP_WEIGHTS;
    const int64_t pixel_blocks = pl->blocks.row_blocks * pl->blocks.column_blocks;
    const int64_t most = FC_OUTPUT_ELEMENTS / (pl->blocks.rows * pl->blocks.columns * pl->panel_width);
    pl->filters = fc_split_filters(pl->panels, most, pixel_blocks * d->groups, threads);
    pl->walk = (fc_walk){&pl->window, &pl->x, &pl->blocks, &pl->passes, pl->total_rows, d->c, pl->filters.blocks};
    lay_out_scratch(pl);
    pl->share.tasks = d->groups * pixel_blocks * pl->filters.blocks;
}

/* ---------------------------------------------------------------- packing the weights */

void fc_direct_pack_panel(const plan *pl, int64_t group, const pass *ps, int64_t panel, char *dst) {
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
    fc_direct_pack_panel(pl, group, &ps, panel, panel_address(pl, group, &ps, panel));
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
    fc_copy_as(&reader, 1, d->groups * d->k, d->bias->data, 0, d->bias->stride[3], bias_at(pl, 0, 0), 0, 1);
}

/* ---------------------------------------------------------------- one task */

static task task_at(const plan *pl, int64_t index, int worker) {
    const int64_t pixel_blocks = pl->blocks.row_blocks * pl->blocks.column_blocks;
    char *memory = pl->share.workers + (size_t)worker * pl->share.worker_bytes;
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
    const char *bias = pass_index + 1 == pass_count(pl) && d->bias != NULL ? bias_at(pl, t->group, k) : NULL;
    char *y = pl->direct_y ? (char *)d->y.data + (t->group * d->y_group + k * d->y.stride[3]) * size : t->output;
    const int64_t strip = FC_ROW_STRIP * pl->kernels->vl; /* the second row finds its weights in L1 or L2 */
    for (int64_t j = 0; j < columns; j += strip)
        for (int64_t i = 0; i < t->pixels; i++)
            pl->kernels->row(tile, a + t->a_row[i] * size, b + j * size, bias == NULL ? NULL : bias + j * size,
                             FC_MIN(strip, columns - j), y + (t->c_row[i] + j) * size);
}

static void run_task(const fc_share *share, int64_t index, int worker) {
    const plan *pl = (const plan *)share;
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
        else fc_direct_multiply_pass(&t, i, &tile, a);
    }
    finish_results(&t);
}

/* ---------------------------------------------------------------- entries */

static unsigned why_packed(const plan *pl) {
    unsigned why = fc_why_channels(&pl->x, pl->d->c, pl->dtype);
    if (!is_inside(&pl->window)) why |= FC_COPY_BORDER;
    return why == 0 ? FC_COPY_COLLISION : why;
}

static void explain(const fc_share *share, fc_explanation *e, int threads) {
    const plan *pl = (const plan *)share;
    const fc_direct *d = pl->d;
    const double size = (double)pl->size, groups = (double)d->groups;
    const double pixels = (double)pl->total_rows * (double)pl->window.q;
    const double blocks = (double)pl->blocks.row_blocks * (double)pl->blocks.column_blocks;
    const double weights = (double)(pl->window.r * pl->window.s) * (double)d->c * (double)pl->padded_k * groups;
    const double input = (double)fc_packed_size(&pl->window, pl->blocks.rows, pl->blocks.columns, d->c) * blocks;
    const double inside = pl->by_taps ? fc_share_inside(&pl->window) : 1;
    fc_tell_kernel(e, pl->never_pack ? "row" : "tile", pl->never_pack ? 1 : pl->kernels->mr,
                   pl->never_pack ? FC_ROW_STRIP * pl->kernels->vl : (int)pl->panel_width, threads,
                   pl->never_pack ? fc_multiply_adds(d) : pixels * weights * inside);
    if (!pl->in_place) fc_tell_copy(&e->x, input * (double)pl->filters.blocks * groups * size, why_packed(pl));
    if (!pl->never_pack && d->weight.packed == NULL)
        fc_tell_copy(&e->weight, weights * (pl->pack_late ? blocks : 1) * size, FC_COPY_PANELS);
    if (!pl->direct_y) fc_tell_copy(&e->y, pixels * (double)d->k * groups * size, FC_COPY_CHANNELS);
}

static fc_status begin(fc_share *share) {
    plan *pl = (plan *)share;
    const fc_array *weight = &pl->d->weight;
    pl->weights = weight->packed != NULL ? (char *)(uintptr_t)weight->packed : share->scratch;
    pack_bias(pl);
    return pl->pack_late || weight->packed != NULL ? FC_OK : pack_all_panels(pl);
}

static const fc_steps steps = {sizeof(plan), make_plan, explain, begin, run_task, NULL};

fc_status fc_direct_run_all(const fc_direct *problems, int count) {
    plan plans[FC_TOGETHER];
    double work = 0;
    for (int i = 0; i < count; i++) work += fc_multiply_adds(&problems[i]);
    return fc_run_together(&steps, plans, problems, count, 0, work);
}

fc_status fc_direct_run(const fc_direct *problem) { return fc_direct_run_all(problem, 1); }

static size_t panel_bytes(const fc_direct *d) {
    plan pl;
    make_plan(&pl.share, d, 0, 1);
    return pl.weight_group_bytes * (size_t)d->groups;
}

static fc_status pack(const fc_direct *problems, int count) {
    fc_status status = FC_OK;
    for (int i = 0; i < count && status == FC_OK; i++) {
        plan pl;
        make_plan(&pl.share, &problems[i], 0, 1);
        pl.weights = (char *)(uintptr_t)problems[i].weight.packed;
        status = pack_all_panels(&pl);
    }
    return status;
}

/* Panels of float numbers are the same for all images. */
static int64_t form(const fc_direct *d) {
    (void)d;
    return 0;
}

const fc_panels fc_direct_panels = {panel_bytes, pack, form};
