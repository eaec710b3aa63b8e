/* SPDX-License-Identifier: BSD-3-Clause */
#include "pack.h"

#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"

void fc_copy_as(const fc_reader *how, int64_t rows, int64_t columns, const void *src, ptrdiff_t src_row,
                ptrdiff_t src_column, void *dst, ptrdiff_t dst_row, ptrdiff_t dst_column) {
    if (how->array.dtype == how->to)
        how->kernels->copy(rows, columns, src, src_row, src_column, dst, dst_row, dst_column);
    else
        fc_convert(how->array.dtype, how->to, rows, columns, src, src_row, src_column, dst, dst_row, dst_column);
}

/* Along one axis: keep the pixels that are read, starting with the first of them inside the image. */
static void drop_axis(int64_t *size, int64_t *stride, int64_t *before, int64_t *element_stride, int64_t *offset) {
    const int64_t first = ((-*before) % *stride + *stride) % *stride;
    *offset += first * *element_stride;
    *size = *size > first ? (*size - first - 1) / *stride + 1 : 0;
    *before = (first + *before) / *stride;
    *element_stride *= *stride;
    *stride = 1;
}

void fc_drop_unread(fc_window *w, fc_array *x) {
    int64_t offset = 0;
    if (w->r == 1) w->dilation_h = 1;
    if (w->s == 1) w->dilation_w = 1;
    if (w->r == 1 && w->stride_h > 1) drop_axis(&w->h, &w->stride_h, &w->top, &x->stride[1], &offset);
    if (w->s == 1 && w->stride_w > 1) drop_axis(&w->w, &w->stride_w, &w->left, &x->stride[2], &offset);
    x->data = (char *)x->data + offset * (int64_t)fc_dtype_size(x->dtype);
}

/* Lines (or columns) between the first and the last that `count` neighbouring windows read. */
static int64_t lines_read(int64_t count, int64_t stride, int64_t kernel, int64_t dilation) {
    return (count - 1) * stride + (kernel - 1) * dilation + 1;
}

/* The largest number of lines: a block of several rows may hold pieces of several images, each with lines of its own. */
static int64_t lines_size(const fc_window *w, int64_t rows, int64_t columns) {
    const int64_t pieces = FC_MIN(rows, (rows + w->p - 2) / w->p + 1);
    const int64_t lines = lines_read(rows, w->stride_h, w->r, w->dilation_h) +
                          (pieces - 1) * FC_MAX(0, lines_read(1, w->stride_h, w->r, w->dilation_h) - w->stride_h);
    return lines * lines_read(columns, w->stride_w, w->s, w->dilation_w);
}

static int64_t gathered_size(const fc_window *w, int64_t rows, int64_t columns) {
    return rows * columns * w->r * w->s;
}

int64_t fc_packed_size(const fc_window *w, int64_t rows, int64_t columns, int64_t width) {
    return width * FC_MIN(lines_size(w, rows, columns), gathered_size(w, rows, columns));
}

void fc_read_line(const fc_reader *x, int64_t h, int64_t w, int64_t n, int64_t row, int64_t column, int64_t step,
                  int64_t count, int64_t c, int64_t channels, void *dst_, int64_t width) {
    const size_t size = fc_dtype_size(x->to);
    char *dst = dst_;
    int64_t lo = column < 0 ? (-column + step - 1) / step : 0;              /* first pixel inside the image */
    int64_t hi = column < w ? (w - 1 - column) / step + 1 : 0;              /* first pixel behind it */
    if (row < 0 || row >= h) lo = hi = 0;
    hi = FC_MIN(hi, count);
    lo = FC_MIN(lo, hi);
    const size_t pixel = (size_t)width * size;
    if (hi == lo || channels < width) {
        memset(dst, 0, (size_t)count * pixel);
        if (hi == lo) return;
    } else {
        memset(dst, 0, (size_t)lo * pixel);
        memset(dst + (size_t)hi * pixel, 0, (size_t)(count - hi) * pixel);
    }
    const int64_t *stride = x->array.stride;
    const char *src = (const char *)x->array.data + (n * stride[0] + row * stride[1] + (column + lo * step) * stride[2] +
                                                     c * stride[3]) *
                                                        (int64_t)fc_dtype_size(x->array.dtype);
    dst += (size_t)lo * pixel;
    if (stride[3] == 1 && channels == width && step * stride[2] == channels) /* one unbroken run */
        fc_copy_as(x, 1, (hi - lo) * channels, src, 0, 1, dst, 0, 1);
    else
        fc_copy_as(x, hi - lo, channels, src, step * stride[2], stride[3], dst, width, 1);
}

static fc_packed pack_lines(const fc_window *w, const fc_reader *x, const fc_block *b, int64_t c, int64_t channels,
                            int64_t width, char *dst, ptrdiff_t *row_at) {
    const int64_t columns = lines_read(b->columns, w->stride_w, w->s, w->dilation_w);
    const int64_t line = columns * width;
    const size_t line_bytes = (size_t)line * fc_dtype_size(x->to);
    int64_t at = 0; /* lines packed so far */
    for (int64_t j = 0; j < b->rows;) {
        const int64_t n = (b->row + j) / w->p, p = (b->row + j) % w->p;
        const int64_t rows = FC_MIN(w->p - p, b->rows - j); /* of this image */
        const int64_t lines = lines_read(rows, w->stride_h, w->r, w->dilation_h);
        for (int64_t l = 0; l < lines; l++)
            fc_read_line(x, w->h, w->w, n, p * w->stride_h - w->top + l, b->q * w->stride_w - w->left, 1, columns, c,
                         channels, dst + (size_t)(at + l) * line_bytes, width);
        for (int64_t i = 0; i < rows; i++) row_at[j + i] = (at + i * w->stride_h) * line;
        at += lines;
        j += rows;
    }
    return (fc_packed){w->stride_w * width, w->dilation_h * line, w->dilation_w * width};
}

static fc_packed pack_gathered(const fc_window *w, const fc_reader *x, const fc_block *b, int64_t c, int64_t channels,
                               int64_t width, char *dst, ptrdiff_t *row_at) {
    const int64_t tap = b->rows * b->columns * width;
    const size_t size = fc_dtype_size(x->to);
    for (int64_t j = 0; j < b->rows; j++) {
        const int64_t n = (b->row + j) / w->p, p = (b->row + j) % w->p;
        row_at[j] = j * b->columns * width;
        for (int64_t r = 0; r < w->r; r++)
            for (int64_t s = 0; s < w->s; s++)
                fc_read_line(x, w->h, w->w, n, p * w->stride_h - w->top + r * w->dilation_h,
                             b->q * w->stride_w - w->left + s * w->dilation_w, w->stride_w, b->columns, c, channels,
                             dst + (size_t)((r * w->s + s) * tap + row_at[j]) * size, width);
    }
    return (fc_packed){width, w->s * tap, tap};
}

fc_packed fc_pack_block(const fc_window *w, const fc_reader *x, const fc_block *block, int64_t c, int64_t channels,
                        int64_t width, void *scratch, ptrdiff_t *row_at) {
    if (gathered_size(w, block->rows, block->columns) < lines_size(w, block->rows, block->columns))
        return pack_gathered(w, x, block, c, channels, width, scratch, row_at);
    return pack_lines(w, x, block, c, channels, width, scratch, row_at);
}
