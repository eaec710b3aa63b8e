/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Depthwise convolution, forward and gradient of the input. The loops, from the outside:
 *
 *   tasks     image x block of rows x block of columns x block of channels       in parallel
 *     bring     tables of the lines that the block reads; lines that cannot be read in place are packed
 *     phases    of the stride; one when going forward
 *       strips    columns whose lines stay in L1 while the rows go by
 *         rows      one call of the depthwise kernel each
 *
 * There are few multiply-adds for each number moved, so all that matters is that each number moves once: all phases of
 * a strided gradient are done while their lines are in L2, and nothing is copied that can be read where it lies. */
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "activation.h"
#include "blocking.h"
#include "conv2d_algorithms.h"
#include "depthwise.h"
#include "explain.h"
#include "phase.h"
#include "stream.h"

/* One axis: windows slide over the image that is read. Going backward each phase of the stride has windows of its own,
 * and window i of phase f writes pixel f + i*stride. */
typedef struct axis {
    int64_t in, out; /* pixels of the image that is read, and of the one that is written */
    int64_t kernel, stride, dilation, before;
    int backward;
    int64_t block, blocks; /* windows of a phase in one block */
} axis;

typedef struct plan {
    const fc_kernels *kernels;
    fc_dtype dtype;
    size_t size; /* of an element */
    int64_t n;
    axis h, w;
    fc_channel_blocks channels;
    int64_t most_channels; /* of a block */
    fc_lines x;
    const fc_array *weight, *bias, *y;
    fc_activation activation;
    int direct_y; /* results are written where they belong, ... */
    int streams;  /* ... past the caches */
    char *scratch;
    size_t bias_at, workers_at, worker_bytes, line_at, output_at;
} plan;

/* ---------------------------------------------------------------- axes */

static int64_t phase_count(const axis *a) { return a->backward ? FC_MIN(a->stride, a->out) : 1; }

/* From window to window in what is read, and in what is written. */
static int64_t step_in(const axis *a) { return a->backward ? 1 : a->stride; }
static int64_t step_out(const axis *a) { return a->backward ? a->stride : 1; }

static fc_phase phase_of(const axis *a, int64_t index) {
    if (a->backward) return fc_phase_at(index, a->out, a->kernel, a->stride, a->dilation, a->before);
    return (fc_phase){.count = a->out, .tap_step = 1, .taps = a->kernel, .dilation = a->dilation, .before = a->before};
}

/* Windows of the longest phase. */
static int64_t window_count(const axis *a) { return a->backward ? fc_ceil_div(a->out, a->stride) : a->out; }

/* How many pixels, from *first on, `count` windows read in all phases; 0: none. */
static int64_t reach(const axis *a, int64_t from, int64_t count, int64_t *first) {
    int64_t lo = INT64_MAX, hi = INT64_MIN;
    for (int64_t i = 0; i < phase_count(a); i++) {
        const fc_phase f = phase_of(a, i);
        if (f.taps == 0) continue;
        lo = FC_MIN(lo, from * step_in(a) - f.before);
        hi = FC_MAX(hi, (from + count - 1) * step_in(a) - f.before + (f.taps - 1) * f.dilation + 1);
    }
    *first = hi < lo ? 0 : lo;
    return hi < lo ? 0 : hi - lo;
}

/* The most windows whose lines take no more than `entries` entries, and whose results no more than `results`. */
static int64_t windows_within(const axis *a, int64_t entries, int64_t results) {
    int64_t unused;
    const int64_t least = reach(a, 0, 1, &unused);
    const int64_t most = FC_MIN((entries - least) / step_in(a) + 1, results / step_out(a));
    return FC_MAX(1, FC_MIN(most, window_count(a)));
}

/* ---------------------------------------------------------------- planning */

/* Elements of a block of results: what one task does, so that it takes some 50 microseconds. */
enum { RESULTS = 1 << 17 };

static void split_axis(axis *a, int64_t block) {
    a->blocks = fc_ceil_div(window_count(a), block);
    a->block = fc_ceil_div(window_count(a), a->blocks);
}

/* Lines that are packed, and results that are copied, cost scratch memory: there fewer channels are taken, so that
 * whole images fit, whose lines are then packed once. */
static int64_t channels_at_once(const plan *pl) {
    const int vl = pl->kernels->vl;
    const int64_t taps = pl->h.kernel * pl->w.kernel;
    int64_t most = FC_DEPTHWISE_WEIGHT_BYTES / (taps * (int64_t)pl->size);
    if (!pl->x.in_place || !pl->direct_y) {
        const double pixels = (double)FC_MAX(pl->h.in, pl->h.out) * (double)FC_MAX(pl->w.in, pl->w.out);
        most = FC_MIN(most, (int64_t)(FC_LINES_ELEMENTS / pixels));
    }
    return FC_MAX(vl, most / vl * vl);
}

static void split_image(plan *pl, int threads) {
    int64_t unused;
    const int64_t c = pl->most_channels, lines = reach(&pl->h, 0, 1, &unused);
    const int64_t elements = pl->x.in_place ? INT64_MAX : FC_LINES_ELEMENTS / c;
    const int64_t results = FC_MAX(1, (pl->direct_y ? RESULTS : FC_LINES_ELEMENTS) / c);
    const int64_t entries = FC_MIN(elements, FC_LINES_ENTRIES);
    split_axis(&pl->w, windows_within(&pl->w, entries / (lines + 1), results / step_out(&pl->h)));
    const int64_t columns = FC_MAX(1, reach(&pl->w, 0, pl->w.block, &unused));
    int64_t rows = windows_within(&pl->h, entries / columns - 1, results / (pl->w.block * step_out(&pl->w)));
    const int64_t others = pl->n * pl->w.blocks * pl->channels.blocks, wanted = (int64_t)threads * FC_TASKS_PER_THREAD;
    if (threads > 1 && others < wanted) rows = FC_MIN(rows, FC_MAX(1, window_count(&pl->h) * others / wanted));
    split_axis(&pl->h, rows);
}

static void lay_out_scratch(plan *pl, int threads) {
    int64_t unused;
    const int64_t rows = reach(&pl->h, 0, pl->h.block, &unused), columns = reach(&pl->w, 0, pl->w.block, &unused);
    const int64_t vectors = fc_vectors(&pl->channels);
    const size_t vector = (size_t)pl->kernels->vl * pl->size;
    pl->bias_at = FC_ALIGN_UP((size_t)(vectors * pl->h.kernel * pl->w.kernel) * vector);
    pl->workers_at = pl->bias_at + (pl->bias == NULL ? 0 : FC_ALIGN_UP((size_t)pl->channels.channels * pl->size));
    const int64_t results = pl->h.block * step_out(&pl->h) * pl->w.block * step_out(&pl->w);
    pl->line_at = fc_lines_bytes(&pl->x, rows, columns, pl->most_channels);
    pl->output_at = pl->line_at + FC_ALIGN_UP((size_t)pl->h.kernel * sizeof(void *));
    pl->worker_bytes =
        pl->output_at + (pl->direct_y ? 0 : FC_ALIGN_UP((size_t)(results * pl->most_channels) * pl->size));
    pl->scratch = fc_scratch_take(pl->workers_at + (size_t)threads * pl->worker_bytes);
}

static int streams(const plan *pl, int threads) {
    const int64_t c = pl->channels.channels, vl = pl->kernels->vl;
    const double bytes = (double)pl->n * (double)(pl->h.out * pl->w.out) * (double)c * (double)pl->size;
    const double inputs = (double)pl->n * (double)(pl->h.in * pl->w.in) * (double)c * (double)pl->size;
    return pl->direct_y && pl->channels.first == vl && c % vl == 0 && !fc_is_left(pl->activation) &&
           fc_streams_pixels(pl->y, bytes, inputs, threads);
}

static int make_plan(plan *pl) {
    pl->kernels = fc_kernels_for(pl->dtype);
    pl->size = (size_t)pl->kernels->element_size;
    const int64_t c = pl->channels.channels;
    pl->direct_y = pl->y->stride[3] == 1 || c == 1;
    const int64_t most = channels_at_once(pl);
    pl->channels =
        fc_split_channels(c, pl->kernels->vl, fc_aligned_first(&pl->x, c, pl->kernels->vl), most);
    pl->most_channels = fc_most_channels(&pl->channels);
    const double work = (double)pl->n * (double)pl->h.out * (double)pl->w.out * (double)c *
                        (double)(pl->h.kernel * pl->w.kernel) / (double)(step_out(&pl->h) * step_out(&pl->w));
    const int threads = fc_threads_for(INT32_MAX, work);
    split_image(pl, threads);
    pl->streams = streams(pl, threads);
    return threads;
}

/* ---------------------------------------------------------------- weights and bias */

/* All taps of a vector of channels side by side: [vector][tap][lane]. */
static void pack_weights(const plan *pl) {
    const fc_reader reader = {.array = *pl->weight, .to = pl->dtype, .kernels = pl->kernels};
    const int64_t *stride = pl->weight->stride, r = pl->h.kernel, s = pl->w.kernel;
    const int vl = pl->kernels->vl;
    const int joined = stride[0] == s * stride[1];
    char *dst = pl->scratch;
    if (pl->channels.channels < vl) memset(dst, 0, (size_t)(r * s * vl) * pl->size);
    for (int64_t v = 0; v < fc_vectors(&pl->channels); v++) {
        const int64_t c = fc_vector_first(&pl->channels, v);
        for (int64_t i = 0; i < (joined ? 1 : r); i++) {
            const char *src = (const char *)pl->weight->data +
                              (c * stride[3] + i * stride[0]) * (int64_t)fc_dtype_size(pl->weight->dtype);
            const int64_t taps = joined ? r * s : s;
            fc_copy_as(&reader, taps, FC_MIN(pl->channels.channels, vl), src, stride[1], stride[3], dst, vl, 1);
            dst += (size_t)(taps * vl) * pl->size;
        }
    }
}

static void pack_bias(const plan *pl) {
    if (pl->bias == NULL) return;
    const fc_reader reader = {.array = *pl->bias, .to = pl->dtype, .kernels = pl->kernels};
    fc_copy_as(&reader, 1, pl->channels.channels, pl->bias->data, 0, pl->bias->stride[3], pl->scratch + pl->bias_at, 0,
               1);
}

/* ---------------------------------------------------------------- one task */

typedef struct task {
    const plan *pl;
    int64_t n, row, column; /* first windows of the block */
    fc_channel_block block; /* its channels */
    const void *const *const *table;
    int64_t first_line, first_entry; /* the pixel that the table begins with */
    const void *const **line;        /* those of one output row */
    char *results;
    ptrdiff_t result_row, result_pixel; /* in elements */
} task;

static task task_at(const plan *pl, int64_t index, int worker) {
    char *memory = pl->scratch + pl->workers_at + (size_t)worker * pl->worker_bytes;
    task t = {.pl = pl};
    const int64_t pixels = index / pl->channels.blocks;
    t.block = fc_channel_block_at(&pl->channels, index % pl->channels.blocks);
    t.column = pixels % pl->w.blocks * pl->w.block;
    t.row = pixels / pl->w.blocks % pl->h.blocks * pl->h.block;
    t.n = pixels / pl->w.blocks / pl->h.blocks;
    const int64_t rows = FC_MIN(pl->h.block, window_count(&pl->h) - t.row);
    const int64_t columns = FC_MIN(pl->w.block, window_count(&pl->w) - t.column);
    fc_piece piece = {.n = t.n, .c = t.block.c, .channels = t.block.channels};
    piece.rows = reach(&pl->h, t.row, rows, &piece.row);
    piece.columns = reach(&pl->w, t.column, columns, &piece.column);
    t.table = fc_lines_bring(&pl->x, &piece, memory);
    t.first_line = piece.row;
    t.first_entry = piece.column;
    t.line = (const void *const **)(void *)(memory + pl->line_at);
    t.results = memory + pl->output_at;
    t.result_pixel = t.block.channels;
    t.result_row = columns * step_out(&pl->w) * t.block.channels;
    if (pl->direct_y) {
        const int64_t *stride = pl->y->stride;
        const int64_t at = t.n * stride[0] + t.row * step_out(&pl->h) * stride[1] +
                           t.column * step_out(&pl->w) * stride[2] + t.block.c * stride[3];
        t.results = (char *)pl->y->data + at * (int64_t)pl->size;
        t.result_row = stride[1];
        t.result_pixel = stride[2];
    }
    return t;
}

/* Pixels of a strip: its lines take half of a 48 KiB L1, so that a line is there when the next rows read it again. */
static int64_t strip_pixels(const plan *pl, const fc_depthwise *d) {
    enum { STRIP_BYTES = 24 << 10 };
    const int64_t pixel = d->channels * (int64_t)pl->size * FC_MAX(1, d->rows) * d->stride;
    const int64_t runs = FC_MAX(1, STRIP_BYTES / pixel / FC_PIXEL_RUN);
    return runs * FC_PIXEL_RUN;
}

static void run_phase(task *t, int64_t i, int64_t j) {
    const plan *pl = t->pl;
    const fc_phase h = phase_of(&pl->h, i), w = phase_of(&pl->w, j);
    const int64_t row_end = FC_MIN(t->row + pl->h.block, h.count);
    const int64_t column_end = FC_MIN(t->column + pl->w.block, w.count);
    const int vl = pl->kernels->vl;
    const ptrdiff_t direction = pl->h.backward ? -vl : vl;
    fc_depthwise d = {.rows = w.taps > 0 ? h.taps : 0, .columns = w.taps, .stride = step_in(&pl->w),
                      .dilation = w.dilation, .channels = t->block.channels, .lanes = vl, .first = t->block.first,
                      .y_pixel = t->result_pixel * step_out(&pl->w), .w_vector = pl->h.kernel * pl->w.kernel * vl,
                      .w_row = direction * h.tap_step * pl->w.kernel, .w_column = direction * w.tap_step,
                      .activation = fc_epilogue_of(pl->activation), .streams = pl->streams};
    const int64_t first_r = pl->h.backward ? h.tap + (h.taps - 1) * h.tap_step : 0;
    const int64_t first_s = pl->w.backward ? w.tap + (w.taps - 1) * w.tap_step : 0;
    const int64_t weight_at = d.rows == 0 ? 0 : t->block.vector * d.w_vector + (first_r * pl->w.kernel + first_s) * vl;
    const char *weight = pl->scratch + weight_at * (int64_t)pl->size;
    const char *bias = pl->bias == NULL ? NULL : pl->scratch + pl->bias_at + (size_t)t->block.c * pl->size;
    char *results = t->results + (i * t->result_row + j * t->result_pixel) * (int64_t)pl->size;
    const int64_t strip = strip_pixels(pl, &d);
    for (int64_t q = t->column; q < column_end; q += strip) {
        d.pixels = FC_MIN(strip, column_end - q);
        for (int64_t p = t->row; p < row_end; p++) {
            d.y_ahead = p + 1 < row_end && !pl->streams ? step_out(&pl->h) * t->result_row : 0;
            for (int64_t r = 0; r < d.rows; r++)
                t->line[r] = t->table[p * step_in(&pl->h) - h.before + r * h.dilation - t->first_line] +
                             (q * d.stride - w.before - t->first_entry);
            char *y = results + ((p - t->row) * step_out(&pl->h) * t->result_row + (q - t->column) * d.y_pixel) *
                                    (int64_t)pl->size;
            pl->kernels->depthwise(&d, t->line, weight, bias, y);
            if (fc_is_left(pl->activation))
                for (int64_t k = 0; k < d.pixels; k++)
                    fc_activate_row(pl->kernels, pl->activation, d.channels, y + k * d.y_pixel * (int64_t)pl->size, 1);
        }
    }
}

/* Results that waited in scratch memory; lines that follow one another in y are copied as one. */
static void copy_results(const task *t) {
    const plan *pl = t->pl;
    const int64_t *stride = pl->y->stride;
    const int64_t row = t->row * step_out(&pl->h), column = t->column * step_out(&pl->w);
    const int64_t rows = FC_MIN(pl->h.block * step_out(&pl->h), pl->h.out - row);
    const int64_t columns = FC_MIN(pl->w.block * step_out(&pl->w), pl->w.out - column);
    const int joined = columns * t->block.channels == t->result_row && stride[1] == columns * stride[2];
    char *y = (char *)pl->y->data +
              (t->n * stride[0] + row * stride[1] + column * stride[2] + t->block.c * stride[3]) * (int64_t)pl->size;
    for (int64_t i = 0; i < (joined ? 1 : rows); i++)
        pl->kernels->copy(joined ? rows * columns : columns, t->block.channels,
                          t->results + i * t->result_row * (int64_t)pl->size, t->block.channels, 1,
                          y + i * stride[1] * (int64_t)pl->size, stride[2], stride[3]);
}

static void run_task(void *context, int64_t index, int worker) {
    const plan *pl = context;
    task t = task_at(pl, index, worker);
    for (int64_t i = 0; i < phase_count(&pl->h); i++)
        for (int64_t j = 0; j < phase_count(&pl->w); j++) run_phase(&t, i, j);
    if (!pl->direct_y) copy_results(&t);
}

static int64_t task_count(const plan *pl) { return pl->n * pl->h.blocks * pl->w.blocks * pl->channels.blocks; }

/* There is no memory, or there is to be none: see explain.h. */
static fc_status explain(const plan *pl, int threads) {
    fc_explanation *e = fc_explaining();
    if (e == NULL) return FC_NO_MEMORY;
    int64_t unused;
    const double size = (double)pl->size, channels = (double)pl->channels.channels, images = (double)pl->n * channels;
    const double lanes = (double)fc_vectors(&pl->channels) * pl->kernels->vl;
    const double taps = (double)(pl->h.kernel * pl->w.kernel);
    const double rows = (double)FC_MIN(pl->h.in, reach(&pl->h, 0, pl->h.block, &unused)) * (double)pl->h.blocks;
    const double columns = (double)FC_MIN(pl->w.in, reach(&pl->w, 0, pl->w.block, &unused)) * (double)pl->w.blocks;
    const double phases = (double)(step_out(&pl->h) * step_out(&pl->w)), results = (double)(pl->h.out * pl->w.out);
    threads = (int)FC_MIN(task_count(pl), threads);
    fc_tell_kernel(e, "depthwise", 1, pl->kernels->vl, threads, (double)pl->n * results * taps / phases * lanes);
    if (!pl->x.in_place)
        fc_tell_copy(&e->x, rows * columns * images * size,
                     fc_why_channels(&pl->x.reader.array, pl->channels.channels, pl->dtype));
    fc_tell_copy(&e->weight, lanes * taps * size, FC_COPY_ORDER);
    if (!pl->direct_y) fc_tell_copy(&e->y, results * images * size, FC_COPY_CHANNELS);
    return FC_OK;
}

static fc_status run(plan *pl) {
    if (pl->n == 0) return FC_OK;
    const int threads = make_plan(pl);
    lay_out_scratch(pl, threads);
    if (pl->scratch == NULL) return explain(pl, threads);
    pack_weights(pl);
    pack_bias(pl);
    const int64_t tasks = task_count(pl);
    const fc_status status = fc_parallel_for(tasks, (int)FC_MIN(tasks, threads), run_task, pl);
    fc_scratch_give_back(pl->scratch);
    return status;
}

/* ---------------------------------------------------------------- entries */

static axis axis_of(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t dilation, int64_t before) {
    return (axis){.in = in, .out = out, .kernel = kernel, .stride = stride, .dilation = dilation, .before = before};
}

fc_status fc_depthwise_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                               const fc_array *y, fc_activation activation) {
    plan pl = {.dtype = y->dtype, .n = g->n, .channels.channels = g->c, .weight = weight, .bias = bias, .y = y,
               .activation = activation};
    pl.h = axis_of(g->h, g->p, g->r, g->stride_h, g->dilation_h, g->pad_top);
    pl.w = axis_of(g->w, g->q, g->s, g->stride_w, g->dilation_w, g->pad_left);
    pl.x = fc_lines_of(x, g->h, g->w, g->c, y->dtype, fc_kernels_for(y->dtype));
    return run(&pl);
}

fc_status fc_depthwise_backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                      const fc_array *bias, const fc_array *grad_x, fc_activation activation) {
    plan pl = {.dtype = grad_x->dtype, .n = g->n, .channels.channels = g->c, .weight = weight, .bias = bias,
               .y = grad_x, .activation = activation};
    pl.h = axis_of(g->p, g->h, g->r, g->stride_h, g->dilation_h, g->pad_top);
    pl.w = axis_of(g->q, g->w, g->s, g->stride_w, g->dilation_w, g->pad_left);
    pl.h.backward = pl.w.backward = 1;
    pl.x = fc_lines_of(grad_y, g->p, g->q, g->c, grad_x->dtype, fc_kernels_for(grad_x->dtype));
    return run(&pl);
}

/* A window as far as its first tap is from its last has to fit into a worker's tables and lines. */
static const char *refusal(const fc_problem *problem) {
    const fc_conv2d *g = problem->g;
    enum { WIDEST_VECTOR = 16 };
    if (g->c == 1) return "one channel has nothing to keep apart";
    if (g->groups != g->c || g->k != g->c) return "it needs as many groups and filters as channels";
    const double rows = (double)(g->r - 1) * (double)g->dilation_h + (double)g->stride_h + 1;
    const double columns = (double)(g->s - 1) * (double)g->dilation_w + (double)g->stride_w + 1;
    if (rows * columns * WIDEST_VECTOR > FC_LINES_ELEMENTS / 4) return "the taps of the kernel are too far apart";
    return NULL;
}

static int preferred(const fc_problem *problem) {
    (void)problem;
    return 1;
}

const fc_conv2d_algorithm fc_depthwise_algorithm = {
    "depthwise", FC_DIRECT, refusal, preferred, fc_depthwise_forward, fc_depthwise_backward_input,
    fc_depthwise_backward_weight, "auto takes it where there are as many groups as channels and filters", NULL};
