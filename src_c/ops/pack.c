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

int fc_find_channel(const fc_array *a, int64_t n, int64_t c, int64_t *at, int64_t *tap_end) {
    const fc_depth *d = a->depth;
    if (d == NULL) {
        *at = n * a->stride[0] + c * a->stride[3];
        *tap_end = INT64_MAX;
        return 1;
    }
    const int64_t tap = c / d->channels % d->taps, group = c / d->channels / d->taps;
    const int64_t slice = (d->first + n) % d->count * d->stride - d->before + tap * d->dilation;
    *at = (d->first + n) / d->count * a->stride[0] + slice * d->slice +
          (group * d->channels + c % d->channels) * a->stride[3];
    *tap_end = (c / d->channels + 1) * d->channels;
    return slice >= 0 && slice < d->in;
}

/* Lines (or columns) between the first and the last that `count` neighbouring windows read. */
static int64_t lines_read(int64_t count, int64_t stride, int64_t kernel, int64_t dilation) {
    return (count - 1) * stride + (kernel - 1) * dilation + 1;
}

/* A block of several rows may hold pieces of several images, each with its own lines. */
int64_t fc_lines_size(const fc_window *w, int64_t rows, int64_t columns) {
    const int64_t pieces = FC_MIN(rows, (rows + w->p - 2) / w->p + 1);
    const int64_t lines = lines_read(rows, w->stride_h, w->r, w->dilation_h) +
                          (pieces - 1) * FC_MAX(0, lines_read(1, w->stride_h, w->r, w->dilation_h) - w->stride_h);
    return lines * lines_read(columns, w->stride_w, w->s, w->dilation_w);
}

static int64_t gathered_size(const fc_window *w, int64_t rows, int64_t columns) {
    return rows * columns * w->r * w->s;
}

int64_t fc_packed_size(const fc_window *w, int64_t rows, int64_t columns, int64_t width) {
    return width * FC_MIN(fc_lines_size(w, rows, columns), gathered_size(w, rows, columns));
}

static size_t element_size(const fc_reader *x) {
    return x->parts > 0 ? (size_t)x->parts * sizeof(fc_bf16) : fc_dtype_size(x->to);
}

/* Some pixels of a line of image n: `count` of them, `step` elements apart, from `at` elements on. */
typedef struct piece {
    int64_t n, at, step, count;
} piece;

/* Copy channels [c, c + channels), be they of several taps, to pixels `width` apart. */
static void copy_taps(const fc_reader *x, const piece *p, int64_t c, int64_t channels, char *dst, int64_t width) {
    const int64_t end = c + channels, from_size = (int64_t)fc_dtype_size(x->array.dtype);
    const size_t size = fc_dtype_size(x->to);
    while (c < end) {
        int64_t at, tap_end;
        const int inside = fc_find_channel(&x->array, p->n, c, &at, &tap_end);
        const int64_t here = FC_MIN(end, tap_end) - c;
        if (inside)
            fc_copy_as(x, p->count, here, (const char *)x->array.data + (at + p->at) * from_size, p->step,
                       x->array.stride[3], dst, width, 1);
        else
            for (int64_t i = 0; i < p->count; i++) memset(dst + (size_t)(i * width) * size, 0, (size_t)here * size);
        c += here;
        dst += (size_t)here * size;
    }
}

/* As read_pixels, in parts; what is no row of adjacent float32 becomes one first, some pixels at a time. */
static void split_pixels(const fc_reader *x, const piece *p, const char *src, const fc_channels *ch, fc_bf16 *dst) {
    enum { SOME = 32 };
    float some[SOME * FC_SPLIT_TERMS];
    const ptrdiff_t dst_chunk = ch->block * x->parts;
    if (src != NULL && x->array.stride[3] == 1 && x->array.dtype == FC_FLOAT32) {
        x->split->rows(x->parts, p->count, ch->channels, (const void *)src, p->step, dst, dst_chunk);
        return;
    }
    for (int64_t c = 0; c < ch->channels; c += FC_SPLIT_TERMS, dst += dst_chunk)
        for (int64_t i = 0; i < p->count; i += SOME) {
            const piece part = {p->n, p->at + i * p->step, p->step, FC_MIN(SOME, p->count - i)};
            const int64_t channels = FC_MIN(FC_SPLIT_TERMS, ch->channels - c);
            copy_taps(x, &part, ch->c + c, channels, (char *)some, FC_SPLIT_TERMS);
            x->split->rows(x->parts, part.count, channels, some, FC_SPLIT_TERMS, dst + i * x->parts * FC_SPLIT_TERMS,
                           0);
        }
}

/* Pack pixels that lie inside the image. src: the first channel of the first; NULL where they are of several taps. */
static void read_pixels(const fc_reader *x, const piece *p, const char *src, const fc_channels *ch, char *dst) {
    const size_t size = fc_dtype_size(x->to);
    const int adjacent = src != NULL && x->array.stride[3] == 1;
    if (x->parts > 0) {
        split_pixels(x, p, src, ch, (fc_bf16 *)(void *)dst);
        return;
    }
    if (adjacent && x->array.dtype == x->to && ch->channels != ch->width) {
        x->kernels->spread(p->count, ch->channels, src, p->step, dst, ch->width, ch->block);
        return;
    }
    if (adjacent && ch->channels == ch->width && p->step == ch->channels) { /* one unbroken run */
        fc_copy_as(x, 1, p->count * ch->channels, src, 0, 1, dst, 0, 1);
        return;
    }
    for (int64_t c = 0; c < ch->channels; c += ch->width, dst += ch->block * (ptrdiff_t)size) {
        const int64_t here = FC_MIN(ch->width, ch->channels - c);
        if (here < ch->width) memset(dst, 0, (size_t)(p->count * ch->width) * size);
        copy_taps(x, p, ch->c + c, here, dst, ch->width);
    }
}

static void zero_pixels(const fc_channels *ch, size_t size, int64_t count, char *dst) {
    for (int64_t c = 0; count > 0 && c < ch->channels; c += ch->width, dst += ch->block * (ptrdiff_t)size)
        memset(dst, 0, (size_t)(count * ch->width) * size);
}

void fc_read_line(const fc_reader *x, int64_t h, int64_t w, int64_t n, int64_t row, int64_t column, int64_t step,
                  int64_t count, const fc_channels *ch, void *dst_) {
    const size_t size = element_size(x);
    const int64_t *stride = x->array.stride;
    char *dst = dst_;
    int64_t lo = column < 0 ? (-column + step - 1) / step : 0; /* first pixel inside the image */
    int64_t hi = column < w ? (w - 1 - column) / step + 1 : 0; /* first pixel behind it */
    if (row < 0 || row >= h) lo = hi = 0;
    hi = FC_MIN(hi, count);
    lo = FC_MIN(lo, hi);
    const size_t pixel = (size_t)ch->width * size;
    zero_pixels(ch, size, lo, dst);
    zero_pixels(ch, size, count - hi, dst + (size_t)hi * pixel);
    if (hi == lo) return;
    int64_t at, tap_end;
    const piece p = {n, row * stride[1] + (column + lo * step) * stride[2], step * stride[2], hi - lo};
    const int inside = fc_find_channel(&x->array, n, ch->c, &at, &tap_end);
    dst += (size_t)lo * pixel;
    if (ch->c + ch->channels > tap_end) read_pixels(x, &p, NULL, ch, dst);
    else if (inside)
        read_pixels(x, &p, (const char *)x->array.data + (at + p.at) * (int64_t)fc_dtype_size(x->array.dtype), ch, dst);
    else zero_pixels(ch, size, p.count, dst);
}

/* Lines [row, row + lines) of the image, `columns` pixels from `column` on. Where the pixels of a line are adjacent all
 * lines are one copy: a call for each of 28 numbers took a third of the gradient of weights of LeNet-5's first
 * layer. */
static void read_lines(const fc_window *w, const fc_reader *x, int64_t n, int64_t row, int64_t lines, int64_t column,
                       int64_t columns, const fc_channels *ch, char *dst) {
    const int64_t *stride = x->array.stride;
    const size_t pixel = (size_t)ch->width * element_size(x), line = (size_t)columns * pixel;
    const int whole_lines = x->parts == 0 && x->array.depth == NULL && ch->channels == ch->width;
    if (!whole_lines || stride[3] != 1 || stride[2] != ch->channels) {
        for (int64_t l = 0; l < lines; l++)
            fc_read_line(x, w->h, w->w, n, row + l, column, 1, columns, ch, dst + (size_t)l * line);
        return;
    }
    const int64_t first = FC_MIN(lines, FC_MAX(0, -row)), end = FC_MAX(first, FC_MIN(lines, w->h - row));
    const int64_t lo = FC_MIN(columns, FC_MAX(0, -column)), hi = FC_MAX(lo, FC_MIN(columns, w->w - column));
    memset(dst, 0, (size_t)first * line);
    memset(dst + (size_t)end * line, 0, (size_t)(lines - end) * line);
    for (int64_t l = first; l < end; l++) {
        if (lo > 0) memset(dst + (size_t)l * line, 0, (size_t)lo * pixel);
        if (hi < columns) memset(dst + (size_t)l * line + (size_t)hi * pixel, 0, (size_t)(columns - hi) * pixel);
    }
    if (first == end || lo == hi) return;
    const int64_t at = n * stride[0] + (row + first) * stride[1] + (column + lo) * stride[2] + ch->c;
    fc_copy_as(x, end - first, (hi - lo) * ch->channels,
               (const char *)x->array.data + at * (int64_t)fc_dtype_size(x->array.dtype), stride[1], 1,
               dst + (size_t)first * line + (size_t)lo * pixel, columns * ch->width, 1);
}

fc_packed fc_pack_lines(const fc_window *w, const fc_reader *x, const fc_block *b, const fc_channels *ch, void *scratch,
                        ptrdiff_t *row_at) {
    char *dst = scratch;
    const int64_t columns = lines_read(b->columns, w->stride_w, w->s, w->dilation_w);
    const int64_t line = columns * ch->width;
    const size_t line_bytes = (size_t)line * element_size(x);
    int64_t at = 0; /* lines packed so far */
    for (int64_t j = 0; j < b->rows;) {
        const int64_t n = (b->row + j) / w->p, p = (b->row + j) % w->p;
        const int64_t rows = FC_MIN(w->p - p, b->rows - j); /* of this image */
        const int64_t lines = lines_read(rows, w->stride_h, w->r, w->dilation_h);
        read_lines(w, x, n, p * w->stride_h - w->top, lines, b->q * w->stride_w - w->left, columns, ch,
                   dst + (size_t)at * line_bytes);
        for (int64_t i = 0; i < rows; i++) row_at[j + i] = (at + i * w->stride_h) * line;
        at += lines;
        j += rows;
    }
    return (fc_packed){w->stride_w * ch->width, w->dilation_h * line, w->dilation_w * ch->width};
}

fc_packed fc_pack_gathered(const fc_window *w, const fc_reader *x, const fc_block *b, const fc_channels *ch,
                           void *scratch, ptrdiff_t *row_at) {
    char *dst = scratch;
    const int64_t tap = b->rows * b->columns * ch->width;
    const size_t size = element_size(x);
    for (int64_t j = 0; j < b->rows; j++) {
        const int64_t n = (b->row + j) / w->p, p = (b->row + j) % w->p;
        row_at[j] = j * b->columns * ch->width;
        for (int64_t r = 0; r < w->r; r++)
            for (int64_t s = 0; s < w->s; s++)
                fc_read_line(x, w->h, w->w, n, p * w->stride_h - w->top + r * w->dilation_h,
                             b->q * w->stride_w - w->left + s * w->dilation_w, w->stride_w, b->columns, ch,
                             dst + (size_t)((r * w->s + s) * tap + row_at[j]) * size);
    }
    return (fc_packed){ch->width, w->s * tap, tap};
}

fc_packed fc_pack_block(const fc_window *w, const fc_reader *x, const fc_block *block, const fc_channels *channels,
                        void *scratch, ptrdiff_t *row_at) {
    if (gathered_size(w, block->rows, block->columns) < fc_lines_size(w, block->rows, block->columns))
        return fc_pack_gathered(w, x, block, channels, scratch, row_at);
    return fc_pack_lines(w, x, block, channels, scratch, row_at);
}
