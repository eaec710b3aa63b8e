/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Winograd's algorithm F(4x4, 3x3) for the forward convolution and, on the views that direct.h makes, the gradient of
 * the input. The loops, from the outside:
 *
 *   tasks     group x block of 4x4 tiles of output x block of filters           in parallel
 *     transform the input of the block: V, which stays in L2
 *     panels    2 vectors of filters
 *       passes    FC_WINOGRAD_CHANNELS input channels
 *                 transform the weights: U
 *         planes    36 matrix products M += V U by the tile kernel
 *       transform the results M back, add bias, activate, store
 *
 * The weights are transformed anew for every block of tiles: 36 numbers made in L2 from 9 that are read cost less than
 * 36 read from memory, and one image with many filters pays as little as a batch. */
#include <stdatomic.h>
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "activation.h"
#include "conv2d_algorithms.h"
#include "explain.h"
#include "few_filters.h"
#include "winograd.h"

/* Channels that are packed before they are transformed. */
enum { SLICE = 64 };

typedef struct plan {
    const fc_direct *d;
    const fc_kernels *kernels;
    fc_dtype dtype;
    size_t size; /* of an element */
    fc_window tiles;
    fc_row_blocks blocks;
    int64_t total_rows; /* of tiles, in all images */
    int64_t panels, panels_per_block, filter_blocks, pass_channels, passes;
    int64_t v_row, v_plane, u_plane, m_plane; /* in elements */
    int weights_in_place, direct_y;
    char *scratch;
    atomic_uchar *doubtful; /* [image]: a result is not finite */
    size_t bias_at, term_at, workers_at, worker_bytes, u_at, m_at, raw_at, input_at, output_at, offsets_at;
} plan;

typedef struct task {
    const plan *pl;
    fc_block block; /* of tiles */
    int64_t group, first_panel, panels, tiles;
    char *v, *u, *m, *raw, *input, *output;
    ptrdiff_t *v_at, *m_at, *row_at; /* of a tile in a plane of V, of M; of a row of tiles in the packed input */
} task;

static int panel_width(const plan *pl) { return 2 * pl->kernels->vl; }

static int panel_columns(const plan *pl, int64_t panel) {
    return (int)FC_MIN(panel_width(pl), pl->d->k - panel * panel_width(pl));
}

/* ---------------------------------------------------------------- planning */

static void split_filters(plan *pl, int threads) {
    const int64_t tasks = pl->blocks.row_blocks * pl->blocks.column_blocks * pl->d->groups;
    pl->filter_blocks = 1; /* each block of filters transforms the input again: no more than the threads need */
    if (threads > 1 && tasks < 2 * threads) pl->filter_blocks = FC_MIN(pl->panels, fc_ceil_div(2 * threads, tasks));
    pl->panels_per_block = fc_ceil_div(pl->panels, pl->filter_blocks);
    pl->filter_blocks = fc_ceil_div(pl->panels, pl->panels_per_block);
}

static void make_plan(plan *pl, const fc_direct *d) {
    *pl = (plan){.d = d, .dtype = d->y.dtype, .kernels = fc_kernels_for(d->y.dtype)};
    pl->size = (size_t)pl->kernels->element_size;
    pl->tiles = fc_tile_window(&d->window, FC_WINOGRAD_INPUT, d->window.h, d->window.w, d->window.top, d->window.left);
    pl->total_rows = d->n * pl->tiles.p;
    pl->v_row = fc_odd_lines(d->c + pl->kernels->vl, pl->size);
    const int64_t fit = FC_WINOGRAD_ELEMENTS / (FC_WINOGRAD_PLANES * pl->v_row);
    const int64_t most = FC_MAX(1, FC_MIN(FC_WINOGRAD_TILES, fit));
    pl->blocks = fc_split_pixels(&pl->tiles, pl->total_rows, SLICE, most, FC_INPUT_ELEMENTS, pl->kernels->mr);
    pl->panels = fc_ceil_div(d->k, panel_width(pl));
    pl->passes = fc_ceil_div(d->c, FC_WINOGRAD_CHANNELS);
    pl->pass_channels = fc_ceil_div(d->c, pl->passes);
    pl->weights_in_place = d->weight.dtype == pl->dtype && (d->weight.stride[3] == 1 || d->k == 1);
    pl->direct_y = d->y.stride[3] == 1 || d->k == 1;
}

static void lay_out_scratch(plan *pl, int threads) {
    const int64_t tiles = pl->blocks.rows * pl->blocks.columns, width = panel_width(pl);
    pl->v_plane = fc_odd_lines(tiles * pl->v_row, pl->size);
    pl->u_plane = fc_odd_lines(pl->pass_channels * width, pl->size);
    pl->m_plane = fc_odd_lines(tiles * width, pl->size);
    const int64_t packed = fc_packed_size(&pl->tiles, pl->blocks.rows, pl->blocks.columns, FC_MIN(SLICE, pl->d->c));
    const int64_t raw = pl->weights_in_place ? 0 : 9 * pl->pass_channels * width;
    const int64_t output = pl->direct_y ? 0 : 16 * pl->blocks.columns * width;
    size_t at = 0;
#define FC_RESERVE(name, bytes) (name = at, at += FC_ALIGN_UP((size_t)(bytes)))
    size_t v_at;
    FC_RESERVE(v_at, (size_t)(FC_WINOGRAD_PLANES * pl->v_plane) * pl->size);
    FC_RESERVE(pl->u_at, (size_t)(FC_WINOGRAD_PLANES * pl->u_plane) * pl->size);
    FC_RESERVE(pl->m_at, (size_t)(FC_WINOGRAD_PLANES * pl->m_plane) * pl->size);
    FC_RESERVE(pl->raw_at, (size_t)raw * pl->size);
    FC_RESERVE(pl->input_at, (size_t)packed * pl->size);
    FC_RESERVE(pl->output_at, (size_t)output * pl->size);
    FC_RESERVE(pl->offsets_at, (size_t)(2 * tiles + pl->blocks.rows) * sizeof(ptrdiff_t));
    (void)v_at;
    pl->worker_bytes = at;
    at = 0;
    FC_RESERVE(pl->bias_at, pl->d->bias == NULL ? 0 : (size_t)(pl->d->groups * pl->d->k) * pl->size);
    FC_RESERVE(pl->term_at, (size_t)pl->pass_channels * sizeof(ptrdiff_t));
    size_t doubtful_at;
    FC_RESERVE(doubtful_at, pl->d->n);
    pl->workers_at = at;
#undef FC_RESERVE
    pl->scratch = fc_scratch_take(pl->workers_at + (size_t)threads * pl->worker_bytes);
    if (pl->scratch == NULL) return;
    pl->doubtful = (atomic_uchar *)(void *)(pl->scratch + doubtful_at);
    memset(pl->scratch + doubtful_at, 0, (size_t)pl->d->n);
    ptrdiff_t *term = (ptrdiff_t *)(void *)(pl->scratch + pl->term_at);
    for (int64_t c = 0; c < pl->pass_channels; c++) term[c] = c;
}

static void pack_bias(const plan *pl) {
    const fc_direct *d = pl->d;
    if (d->bias == NULL) return;
    const fc_reader reader = {.array = *d->bias, .to = pl->dtype, .kernels = pl->kernels};
    fc_copy_as(&reader, 1, d->groups * d->k, d->bias->data, 0, d->bias->stride[3], pl->scratch + pl->bias_at, 0, 1);
}

/* ---------------------------------------------------------------- one task */

static task task_at(const plan *pl, int64_t index, int worker) {
    const int64_t tile_blocks = pl->blocks.row_blocks * pl->blocks.column_blocks;
    char *memory = pl->scratch + pl->workers_at + (size_t)worker * pl->worker_bytes;
    task t = {.pl = pl, .v = memory, .u = memory + pl->u_at, .m = memory + pl->m_at, .raw = memory + pl->raw_at,
              .input = memory + pl->input_at, .output = memory + pl->output_at};
    t.block = fc_block_at(&pl->blocks, &pl->tiles, pl->total_rows, index / pl->filter_blocks % tile_blocks);
    t.group = index / pl->filter_blocks / tile_blocks;
    t.first_panel = index % pl->filter_blocks * pl->panels_per_block;
    t.panels = FC_MIN(pl->panels_per_block, pl->panels - t.first_panel);
    t.tiles = t.block.rows * t.block.columns;
    t.v_at = (ptrdiff_t *)(void *)(memory + pl->offsets_at);
    t.m_at = t.v_at + pl->blocks.rows * pl->blocks.columns;
    t.row_at = t.m_at + pl->blocks.rows * pl->blocks.columns;
    for (int64_t i = 0; i < t.tiles; i++) {
        t.v_at[i] = i * pl->v_row;
        t.m_at[i] = i * panel_width(pl);
    }
    return t;
}

static void transform_input(task *t) {
    const plan *pl = t->pl;
    fc_reader reader = {.array = pl->d->x, .to = pl->dtype, .kernels = pl->kernels};
    const int64_t offset = t->group * pl->d->x_group * (int64_t)fc_dtype_size(reader.array.dtype);
    reader.array.data = (char *)reader.array.data + offset;
    for (int64_t c = 0; c < pl->d->c; c += SLICE) {
        const int64_t channels = FC_MIN(SLICE, pl->d->c - c);
        const fc_channels slice = {.c = c, .channels = channels, .width = channels};
        const fc_packed at = fc_pack_block(&pl->tiles, &reader, &t->block, &slice, t->input, t->row_at);
        for (int64_t j = 0, i = 0; j < t->block.rows; j++)
            for (int64_t q = 0; q < t->block.columns; q++, i++)
                pl->kernels->winograd_input(channels, t->input + (size_t)(t->row_at[j] + q * at.pixel) * pl->size,
                                            at.tap_row, at.tap_column, t->v + (size_t)(t->v_at[i] + c) * pl->size,
                                            pl->v_plane);
    }
}

/* Weights of some channels and the filters of a panel: U. */
static void transform_weights(task *t, int64_t panel, int64_t c, int64_t channels, int width) {
    const plan *pl = t->pl;
    const fc_direct *d = pl->d;
    const int64_t *stride = d->weight.stride;
    const int columns = panel_columns(pl, panel);
    const int64_t from = t->group * d->weight_group + c * stride[2] + panel * panel_width(pl) * stride[3];
    const char *w = (const char *)d->weight.data + from * (int64_t)fc_dtype_size(d->weight.dtype);
    ptrdiff_t tap[9], step = stride[2];
    for (int i = 0; i < 9; i++) tap[i] = i / 3 * stride[0] + i % 3 * stride[1];
    if (!pl->weights_in_place) {
        const fc_reader reader = {.array = d->weight, .to = pl->dtype, .kernels = pl->kernels};
        for (int i = 0; i < 9; i++) {
            fc_copy_as(&reader, channels, columns, w + tap[i] * (int64_t)fc_dtype_size(d->weight.dtype), stride[2],
                       stride[3], t->raw + (size_t)(i * channels * columns) * pl->size, columns, 1);
            tap[i] = i * channels * columns;
        }
        w = t->raw;
        step = columns;
    }
    pl->kernels->winograd_filter(channels, columns, w, tap, step, t->u, width, pl->u_plane);
}

static void multiply_planes(task *t, int64_t c, int64_t channels, int width) {
    const plan *pl = t->pl;
    const fc_tile tile = {.terms = channels, .a_term = (const ptrdiff_t *)(const void *)(pl->scratch + pl->term_at),
                          .width = width, .accumulate = c > 0};
    const int64_t tiles = fc_ceil_div(t->tiles, pl->kernels->mr);
    for (int64_t plane = 0; plane < FC_WINOGRAD_PLANES; plane++) {
        const char *v = t->v + (size_t)(plane * pl->v_plane + c) * pl->size;
        const char *u = t->u + (size_t)(plane * pl->u_plane) * pl->size;
        char *m = t->m + (size_t)(plane * pl->m_plane) * pl->size;
        for (int64_t i = 0; i < tiles; i++) {
            const int64_t from = i * t->tiles / tiles, to = (i + 1) * t->tiles / tiles;
            pl->kernels->tile(&tile, (int)(to - from), v, t->v_at + from, u, NULL, width, m, t->m_at + from);
        }
    }
}

/* Results of a row of tiles that could not be stored where they belong: filters that are not adjacent. */
static void deliver_row(const task *t, char *y, int64_t rows, int64_t columns, int filters) {
    const plan *pl = t->pl;
    const int64_t *stride = pl->d->y.stride, width = panel_width(pl);
    for (int64_t i = 0; i < rows; i++)
        pl->kernels->copy(columns, filters, t->output + (size_t)(i * 4 * pl->blocks.columns * width) * pl->size, width,
                          1, y + i * stride[1] * (int64_t)pl->size, stride[2], stride[3]);
}

static void activate_row(const task *t, char *y, int64_t rows, int64_t columns, int filters) {
    const plan *pl = t->pl;
    const int64_t *stride = pl->d->y.stride;
    if (!fc_is_left(pl->d->activation)) return;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            fc_activate_row(pl->kernels, pl->d->activation, filters,
                            y + (i * stride[1] + j * stride[2]) * (int64_t)pl->size, stride[3]);
}

/* The results of a panel of filters for row j of the block's tiles. */
static void finish_row(task *t, int64_t panel, int64_t j) {
    const plan *pl = t->pl;
    const fc_direct *d = pl->d;
    const int64_t *stride = d->y.stride, width = panel_width(pl), k = panel * width;
    const int64_t n = (t->block.row + j) / pl->tiles.p, p = (t->block.row + j) % pl->tiles.p * 4, q = t->block.q * 4;
    const int64_t rows = FC_MIN(4, d->window.p - p), columns = FC_MIN(4 * t->block.columns, d->window.q - q);
    const int filters = panel_columns(pl, panel);
    const char *bias = d->bias == NULL ? NULL : pl->scratch + pl->bias_at + (size_t)(t->group * d->k + k) * pl->size;
    const int64_t image = t->group * d->y_group + fc_image_at(&d->y, n);
    const int64_t first = image + p * stride[1] + q * stride[2] + k * stride[3];
    char *y = (char *)d->y.data + first * (int64_t)pl->size;
    char *to = pl->direct_y ? y : t->output;
    const ptrdiff_t row = pl->direct_y ? stride[1] : 4 * pl->blocks.columns * width;
    const ptrdiff_t column = pl->direct_y ? stride[2] : width;
    int finite = 1;
    for (int64_t l = 0; l < t->block.columns; l++)
        finite &= pl->kernels->winograd_output(
            filters, t->m + (size_t)t->m_at[j * t->block.columns + l] * pl->size, pl->m_plane, bias,
            fc_epilogue_of(d->activation), (int)rows, (int)FC_MIN(4, columns - 4 * l),
            to + 4 * l * column * (int64_t)pl->size, row, column);
    if (!finite) atomic_store_explicit(&pl->doubtful[n], 1, memory_order_relaxed);
    if (!pl->direct_y) deliver_row(t, y, rows, columns, filters);
    activate_row(t, y, rows, columns, filters);
}

static void run_task(void *context, int64_t index, int worker) {
    const plan *pl = context;
    task t = task_at(pl, index, worker);
    transform_input(&t);
    for (int64_t panel = t.first_panel; panel < t.first_panel + t.panels; panel++) {
        const int width = panel_columns(pl, panel) > pl->kernels->vl ? panel_width(pl) : pl->kernels->vl;
        for (int64_t c = 0; c < pl->d->c; c += pl->pass_channels) {
            const int64_t channels = FC_MIN(pl->pass_channels, pl->d->c - c);
            transform_weights(&t, panel, c, channels, width);
            multiply_planes(&t, c, channels, width);
        }
        for (int64_t j = 0; j < t.block.rows; j++) finish_row(&t, panel, j);
    }
}

/* ---------------------------------------------------------------- entries */

static int64_t task_count(const plan *pl) {
    return pl->d->groups * pl->blocks.row_blocks * pl->blocks.column_blocks * pl->filter_blocks;
}

/* There is no memory, or there is to be none: see explain.h. */
static fc_status explain(const plan *pl, int threads, double work) {
    const fc_direct *d = pl->d;
    fc_explanation *e = fc_explaining();
    if (e == NULL) return FC_NO_MEMORY;
    const double size = (double)pl->size, groups = (double)d->groups, planes = FC_WINOGRAD_PLANES;
    const double blocks = (double)(pl->blocks.row_blocks * pl->blocks.column_blocks) * groups;
    const double packed = (double)fc_packed_size(&pl->tiles, pl->blocks.rows, pl->blocks.columns, d->c);
    const double transformed = planes * (double)(pl->blocks.rows * pl->blocks.columns) * (double)d->c;
    const double weights = planes * (double)d->c * (double)(pl->panels * panel_width(pl));
    threads = (int)FC_MIN(task_count(pl), threads);
    fc_tell_kernel(e, "tile", pl->kernels->mr, panel_width(pl), threads, work);
    fc_tell_copy(&e->x, (packed + transformed) * blocks * (double)pl->filter_blocks * size, FC_COPY_TRANSFORM);
    fc_tell_copy(&e->weight, weights * blocks * size, FC_COPY_TRANSFORM);
    const double results = (double)d->n * (double)(d->window.p * d->window.q) * (double)d->k * groups;
    if (!pl->direct_y) fc_tell_copy(&e->y, results * size, FC_COPY_CHANNELS);
    return FC_OK;
}

fc_status fc_winograd_run(const fc_direct *d) {
    plan pl;
    if (d->n == 0) return FC_OK;
    make_plan(&pl, d);
    const double work = (double)pl.total_rows * (double)pl.tiles.q * FC_WINOGRAD_PLANES * (double)d->c * (double)d->k *
                        (double)d->groups;
    const int threads = fc_threads_for(INT32_MAX, work);
    split_filters(&pl, threads);
    lay_out_scratch(&pl, threads);
    if (pl.scratch == NULL) return explain(&pl, threads, work);
    pack_bias(&pl);
    const int64_t tasks = task_count(&pl);
    fc_status status = fc_parallel_for(tasks, (int)FC_MIN(tasks, threads), run_task, &pl);
    if (status == FC_OK) status = fc_direct_run_doubtful(d, pl.doubtful);
    fc_scratch_give_back(pl.scratch);
    return status;
}

/* Where "direct" means the algorithm for few filters, images that are not finite are its, too: the two differ in where
 * a border meets infinite weights. */
static void set_exact(fc_direct *d, const fc_conv2d *g, fc_operation operation) {
    const fc_problem problem = {g, operation, d->y.dtype, FC_STRICT};
    if (fc_few_filters_algorithm.refusal(&problem) == NULL) d->exact = fc_few_filters_run;
}

static fc_status forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                         const fc_array *y, fc_activation activation) {
    fc_direct d = fc_forward_view(g, x, weight, bias, y, activation);
    set_exact(&d, g, FC_FORWARD);
    return fc_winograd_run(&d);
}

static fc_status backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                const fc_array *bias, const fc_array *grad_x, fc_activation activation) {
    fc_direct d = fc_backward_input_view(g, grad_y, weight, bias, grad_x, activation);
    set_exact(&d, g, FC_BACKWARD_INPUT);
    return fc_winograd_run(&d);
}

static const char *refusal(const fc_problem *problem) {
    const fc_conv2d *g = problem->g;
    if (g->r != 3 || g->s != 3) return "it is made for 3x3 filters";
    if (g->stride_h != 1 || g->stride_w != 1) return "it needs stride 1";
    if (g->dilation_h != 1 || g->dilation_w != 1) return "it needs dilation 1";
    return NULL;
}

/* Measured on AVX-512 against the direct algorithm, one to eight images: with 16 channels and filters x1.2 to x1.6,
 * with 64 and more about x2. Below 100 pixels an image (7x7: x0.7 to x1.4, by the number of images) the transform of
 * the weights serves too few tiles; where less than 0.6 of the tiles' area is used, the products are no fewer. */
enum { LEAST_CHANNELS = 16, LEAST_PIXELS = 100 };

static const double LEAST_USE = 0.6;

static int preferred(const fc_problem *problem) {
    const fc_conv2d *g = problem->g;
    if (problem->precision == FC_STRICT || problem->dtype == FC_FLOAT64) return 0;
    const int64_t p = problem->operation == FC_BACKWARD_INPUT ? g->h : g->p;
    const int64_t q = problem->operation == FC_BACKWARD_INPUT ? g->w : g->q;
    const double area = 16.0 * (double)fc_ceil_div(p, FC_WINOGRAD_TILE) * (double)fc_ceil_div(q, FC_WINOGRAD_TILE);
    const double pixels = (double)p * (double)q;
    return FC_MIN(g->c, g->k) / g->groups >= LEAST_CHANNELS && pixels >= LEAST_PIXELS && pixels >= LEAST_USE * area;
}

const fc_conv2d_algorithm fc_winograd_algorithm = {
    "winograd", FC_WINOGRAD, refusal, preferred, forward, backward_input, fc_winograd_backward_weight,
    "auto takes it for 3x3, float32 below \"strict\", 16 channels and 100 pixels at least", NULL};
