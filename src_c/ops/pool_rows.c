/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool_rows.h"

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/element.h"
#include "blocking.h"

/* The part of a window along one axis that lies inside the image. */
typedef struct span {
    int64_t first, count; /* input position of the first tap inside; taps inside */
    int64_t padded;       /* taps inside image or padding: what counts when padding does */
} span;

static span clip(int64_t start, int64_t kernel, int64_t dilation, int64_t in, int64_t after) {
    const int64_t skipped = start < 0 ? (-start + dilation - 1) / dilation : 0;
    span s = {.first = start + skipped * dilation};
    s.count = FC_MIN(kernel - skipped, (in - 1 - s.first) / dilation + 1);
    s.padded = FC_MIN(kernel, in + after - start); /* a window of ceil_mode may reach beyond the padding */
    return s;
}

void fc_pool_taps(int64_t o, int64_t kernel, int64_t stride, int64_t dilation, int64_t before, int64_t in,
                  int64_t *first, int64_t *count) {
    const span taps = clip(o * stride - before, kernel, dilation, in, 0);
    *first = taps.first;
    *count = taps.count;
}

/* The same of adaptive pooling. */
static span share(int64_t o, int64_t in, int64_t out) {
    span s = {.first = o * in / out};
    s.count = s.padded = fc_ceil_div((o + 1) * in, out) - s.first;
    return s;
}

fc_span fc_pool_lines(const fc_pool2d *g, int64_t p, int64_t rows) {
    if (g->adaptive) return (fc_span){p * g->h / g->p, fc_ceil_div((p + rows) * g->h, g->p)};
    const int64_t start = p * g->stride_h - g->pad_top;
    const int64_t end = start + (rows - 1) * g->stride_h + (g->r - 1) * g->dilation_h + 1;
    return (fc_span){FC_MAX(0, start), FC_MIN(g->h, end)};
}

/* The last window along the row that lies wholly inside the image, -1 if none does. */
static int64_t last_inside(const fc_pool2d *g) {
    const int64_t room = g->w - 1 + g->pad_left - (g->s - 1) * g->dilation_w;
    return room < 0 ? -1 : FC_MIN(g->q - 1, room / g->stride_w);
}

fc_pool_run fc_pool_run_at(const fc_pool2d *g, const fc_pool_layout *m, int64_t p, int64_t q, ptrdiff_t *x_at,
                           ptrdiff_t *y_at) {
    const int64_t left = q * g->stride_w - g->pad_left;
    const span rows = g->adaptive ? share(p, g->h, g->p)
                                  : clip(p * g->stride_h - g->pad_top, g->r, g->dilation_h, g->h, g->pad_bottom);
    const span columns = g->adaptive ? share(q, g->w, g->q) : clip(left, g->s, g->dilation_w, g->w, g->pad_right);
    fc_pool_run run = {.pixels = 1, .channels = m->channels, .slices = 1, .rows = rows.count,
                       .columns = columns.count};
    if (!g->adaptive && left >= 0 && q <= last_inside(g)) run.pixels = last_inside(g) - q + 1;
    run.x_step = g->stride_w * m->x_column;
    run.row_step = g->dilation_h * m->x_line;
    run.column_step = g->dilation_w * m->x_column;
    run.y_step = m->y_column;
    run.indices_step = m->indices_column;
    run.index = rows.first * g->w + columns.first;
    run.index_step = g->stride_w;
    run.index_row = g->dilation_h * g->w;
    run.index_column = g->dilation_w;
    run.divisor = g->divisor > 0              ? g->divisor
                  : g->count_include_pad != 0 ? rows.padded * columns.padded
                                              : rows.count * columns.count;
    *x_at = (rows.first - m->first_line) * m->x_line + columns.first * m->x_column;
    *y_at = (p - m->first_row) * m->y_row + q * m->y_column;
    return run;
}

/* Lines that follow each other in memory are one long line to the copy kernel: of 13 pixels it would transpose none by
 * whole vectors. Returns the lines to take at a time. */
static int64_t lines_at_once(const int64_t stride[4], int64_t width, int64_t lines) {
    return stride[1] == width * stride[2] ? lines : 1;
}

void fc_pool_read_lines(const fc_reader *x, int64_t width, int64_t n, int64_t line, int64_t lines, int64_t c,
                        int64_t channels, void *dst) {
    const int64_t *stride = x->array.stride, step = lines_at_once(stride, width, lines);
    const int64_t from = (int64_t)fc_dtype_size(x->array.dtype), to = (int64_t)fc_dtype_size(x->to);
    for (int64_t l = 0; l < lines; l += step)
        fc_copy_as(x, step * width, channels, (const char *)x->array.data + fc_at(stride, n, line + l, 0, c) * from,
                   stride[2], stride[3], (char *)dst + l * width * channels * to, channels, 1);
}

void fc_pool_write_lines(const fc_kernels *kernels, const void *src, const fc_array *x, int64_t width, int64_t n,
                         int64_t line, int64_t lines, int64_t c, int64_t channels) {
    const int64_t *stride = x->stride, step = lines_at_once(stride, width, lines), size = kernels->element_size;
    for (int64_t l = 0; l < lines; l += step)
        kernels->copy(step * width, channels, (const char *)src + l * width * channels * size, channels, 1,
                      (char *)x->data + fc_at(stride, n, line + l, 0, c) * size, stride[2], stride[3]);
}

fc_array fc_pool_indices(const int64_t *indices, const int64_t stride[4]) {
    fc_array view = {.data = (void *)(uintptr_t)indices, .dtype = FC_FLOAT64};
    for (int axis = 0; axis < 4; axis++) view.stride[axis] = stride[axis];
    return view;
}
