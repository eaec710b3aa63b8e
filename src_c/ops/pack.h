/* SPDX-License-Identifier: BSD-3-Clause
 * Packing: where layout, padding, stride, dilation and element type end.
 *
 * An image operand is copied block by block into scratch memory that the tile kernel reads in rows
 * of adjacent channels. Two forms, the smaller of which is taken:
 *
 *   lines     the input lines that a block of output rows reads, each once, borders filled with zeros
 *             [line][column][channel]; the taps of the kernel overlap in memory
 *   gathered  a copy of the pixels for each tap [tap][output pixel][channel]; for dilations and
 *             strides that leave wide gaps between the pixels read
 */
#ifndef FC_PACK_H
#define FC_PACK_H

#include "../isa/dispatch.h"

/* A window sliding over an image. Unlike in the interface, `top` and `left` may be negative (the image is cropped). */
typedef struct fc_window {
    int64_t h, w, p, q, r, s;
    int64_t stride_h, stride_w, dilation_h, dilation_w;
    int64_t top, left;
} fc_window;

/* Slices of volumes as images. Image i of an operand is output slice d = (first + i) % count of volume
 * (first + i) / count; its channel (group, t, c) is channel c of the slice d*stride - before + t*dilation of the
 * volume, zero where there is none. So a convolution of volumes is one of images with taps * channels channels a group,
 * and every algorithm that packs its input through this file does it. The strides of the array are from volume to
 * volume, line to line, pixel to pixel, channel to channel. Results have one tap. */
typedef struct fc_depth {
    int64_t first, count;
    int64_t in; /* slices of a volume */
    int64_t stride, dilation, before;
    int64_t taps, channels; /* of a group */
    int64_t slice;          /* elements from slice to slice */
} fc_depth;

/* Element offset of image n, first tap. */
static inline int64_t fc_image_at(const fc_array *a, int64_t n) {
    const fc_depth *d = a->depth;
    if (d == NULL) return n * a->stride[0];
    return (d->first + n) / d->count * a->stride[0] + ((d->first + n) % d->count * d->stride - d->before) * d->slice;
}

/* Channels of memory that a group of c channels is made of. */
static inline int64_t fc_channels_in_memory(const fc_array *a, int64_t c) {
    return a->depth == NULL ? c : c / a->depth->taps;
}

/* Whether every image is one slice, where it lies. */
static inline int fc_is_whole(const fc_array *a) {
    const fc_depth *d = a->depth;
    return d == NULL || (d->taps == 1 && d->before <= 0 && (d->count - 1) * d->stride - d->before < d->in);
}

/* Whether image n has its channel c in memory; *at receives its element offset, *tap_end the channel behind its tap. */
int fc_find_channel(const fc_array *a, int64_t n, int64_t c, int64_t *at, int64_t *tap_end);

/* An image operand and the type it is converted to; or, for products by parts (kernels/split/split.h), the number of
 * parts that each number is split into: an element of the packed image is then as long as its parts together, and is
 * packed in blocks of FC_SPLIT_TERMS channels. */
typedef struct fc_reader {
    fc_array array; /* axes n, h, w, c */
    fc_dtype to;
    const fc_kernels *kernels; /* of the type `to` */
    int parts;                 /* 0: numbers are whole */
    const fc_split *split;
} fc_reader;

/* Some output pixels: rows [row, row + rows) of all images' rows (row = n*P + p), columns [q, q + columns). */
typedef struct fc_block {
    int64_t row, rows, q, columns;
} fc_block;

/* The distances in a packed block, in elements: from output column to output column, from tap to tap. */
typedef struct fc_packed {
    ptrdiff_t pixel, tap_row, tap_column;
} fc_packed;

/* A kernel one pixel high or wide reads only every stride-th pixel: drop the others from the view. */
void fc_drop_unread(fc_window *w, fc_array *x);

/* Elements that a packed block of this many rows and columns needs, in the form fc_pack_block will take. */
int64_t fc_packed_size(const fc_window *w, int64_t rows, int64_t columns, int64_t width);

/* Some channels of an image operand, [c, c + channels), and how they are packed: `width` of them side by side, the next
 * `width` from `block` elements on. Zeros fill up the last `width`. */
typedef struct fc_channels {
    int64_t c, channels, width;
    ptrdiff_t block; /* any value where width >= channels */
} fc_channels;

/* Pack some channels of a block of pixels; row_at[rows] receives the offset of each output row's first pixel. */
fc_packed fc_pack_block(const fc_window *w, const fc_reader *x, const fc_block *block, const fc_channels *channels,
                        void *scratch, ptrdiff_t *row_at);

/* The form of lines, whatever its size: the most pixels it needs, and the packing. */
int64_t fc_lines_size(const fc_window *w, int64_t rows, int64_t columns);
fc_packed fc_pack_lines(const fc_window *w, const fc_reader *x, const fc_block *block, const fc_channels *channels,
                        void *scratch, ptrdiff_t *row_at);

/* The gathered form, whatever its size: rows * columns * taps pixels. */
fc_packed fc_pack_gathered(const fc_window *w, const fc_reader *x, const fc_block *block, const fc_channels *channels,
                           void *scratch, ptrdiff_t *row_at);

/* Pack some channels of the pixels (n, row, column + i*step), 0 <= i < count; zeros for those outside the image. */
void fc_read_line(const fc_reader *x, int64_t h, int64_t w, int64_t n, int64_t row, int64_t column, int64_t step,
                  int64_t count, const fc_channels *channels, void *dst);

/* Copy between strided arrays, of one type by its kernel, of two by conversion. */
void fc_copy_as(const fc_reader *how, int64_t rows, int64_t columns, const void *src, ptrdiff_t src_row,
                ptrdiff_t src_column, void *dst, ptrdiff_t dst_row, ptrdiff_t dst_column);

#endif
