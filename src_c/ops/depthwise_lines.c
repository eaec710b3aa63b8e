/* SPDX-License-Identifier: BSD-3-Clause */
#include "depthwise.h"

#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"

fc_lines fc_lines_of(const fc_array *image, int64_t h, int64_t w, int64_t c, fc_dtype dtype,
                     const fc_kernels *kernels) {
    fc_lines lines = {.reader = {.array = *image, .to = dtype, .kernels = kernels}, .h = h, .w = w};
    lines.in_place = image->dtype == dtype && (image->stride[3] == 1 || c == 1);
    return lines;
}

/* In scratch memory: a pixel of zeros, the tables of the lines and of a line outside, the pointers to the tables, the
 * packed pixels. */
typedef struct layout {
    size_t entries_at, table_at, pixels_at, bytes;
} layout;

static layout lay_out(const fc_lines *lines, int64_t rows, int64_t columns, int64_t channels) {
    const size_t size = (size_t)lines->reader.kernels->element_size;
    layout m;
    m.entries_at = FC_ALIGN_UP((size_t)channels * size);
    m.table_at = m.entries_at + FC_ALIGN_UP((size_t)((rows + 1) * columns) * sizeof(void *));
    m.pixels_at = m.table_at + FC_ALIGN_UP((size_t)rows * sizeof(void *));
    const size_t pixels = lines->in_place ? 0 : (size_t)(FC_MIN(rows, lines->h) * FC_MIN(columns, lines->w));
    m.bytes = m.pixels_at + FC_ALIGN_UP(pixels * (size_t)channels * size);
    return m;
}

size_t fc_lines_bytes(const fc_lines *lines, int64_t rows, int64_t columns, int64_t channels) {
    return lay_out(lines, rows, columns, channels).bytes;
}

/* The part of a piece that lies inside the image: rows and columns [from, end). */
typedef struct inside {
    int64_t row, row_end, column, column_end;
} inside;

static inside clip(const fc_lines *lines, const fc_piece *p) {
    inside in = {FC_MAX(0, p->row), FC_MIN(lines->h, p->row + p->rows), FC_MAX(0, p->column),
                 FC_MIN(lines->w, p->column + p->columns)};
    if (in.column_end <= in.column) in.row_end = in.row = in.column_end = in.column = 0;
    in.row_end = FC_MAX(in.row, in.row_end);
    return in;
}

/* Lines that follow one another in memory are packed as one: 7-pixel lines do not fill a transposed block. */
static void pack(const fc_lines *lines, const fc_piece *p, const inside *in, char *dst) {
    const fc_reader *x = &lines->reader;
    const int64_t *stride = x->array.stride, columns = in->column_end - in->column, rows = in->row_end - in->row;
    const int joined = columns == lines->w && stride[1] == lines->w * stride[2];
    const int64_t at = p->n * stride[0] + in->row * stride[1] + in->column * stride[2] + p->c * stride[3];
    const char *src = (const char *)x->array.data + at * (int64_t)fc_dtype_size(x->array.dtype);
    const int64_t run = joined ? rows * columns : columns;
    for (int64_t i = 0; i < rows * columns; i += run) {
        fc_copy_as(x, run, p->channels, src, stride[2], stride[3], dst, p->channels, 1);
        src += stride[1] * (int64_t)fc_dtype_size(x->array.dtype);
        dst += run * p->channels * (int64_t)x->kernels->element_size;
    }
}

/* Where the pixels inside the image are: the first one, and bytes from line to line, pixel to pixel. */
typedef struct place {
    const char *first;
    int64_t line, pixel;
} place;

static place place_of(const fc_lines *lines, const fc_piece *p, const inside *in, char *packed) {
    const int64_t size = lines->reader.kernels->element_size, *stride = lines->reader.array.stride;
    if (!lines->in_place) {
        const int64_t pixel = p->channels * size;
        return (place){packed, (in->column_end - in->column) * pixel, pixel};
    }
    const int64_t at = p->n * stride[0] + in->row * stride[1] + in->column * stride[2] + p->c;
    return (place){(const char *)lines->reader.array.data + at * size, stride[1] * size, stride[2] * size};
}

const void *const *const *fc_lines_bring(const fc_lines *lines, const fc_piece *p, void *scratch) {
    const layout m = lay_out(lines, p->rows, p->columns, p->channels);
    char *zeros = scratch;
    const void **entries = (const void **)(void *)(zeros + m.entries_at), **entry = entries;
    const void ***table = (const void ***)(void *)(zeros + m.table_at);
    const inside in = clip(lines, p);
    if (!lines->in_place && in.row < in.row_end) pack(lines, p, &in, zeros + m.pixels_at);
    memset(zeros, 0, m.entries_at);
    const place x = place_of(lines, p, &in, zeros + m.pixels_at);
    for (int64_t j = 0; j < p->columns; j++) *entry++ = zeros; /* the line outside */
    for (int64_t i = 0; i < p->rows; i++) {
        const int64_t row = p->row + i;
        table[i] = row < in.row || row >= in.row_end ? entries : entry;
        if (table[i] == entries) continue;
        const char *pixel = x.first + (row - in.row) * x.line;
        int64_t j = p->column;
        for (; j < in.column; j++) *entry++ = zeros;
        for (; j < in.column_end; j++, pixel += x.pixel) *entry++ = pixel;
        for (; j < p->column + p->columns; j++) *entry++ = zeros;
    }
    return (const void *const *const *)table;
}

/* ---------------------------------------------------------------- channels */

fc_channel_blocks fc_split_channels(int64_t channels, int vl, int64_t first, int64_t most) {
    fc_channel_blocks split = {.channels = channels, .vl = vl, .first = first};
    split.full = channels < vl ? 1 : 1 + (channels - first) / vl;
    const int64_t per_block = FC_MAX(first < vl ? 2 : 1, most / vl); /* a block of one vector has VL channels */
    split.blocks = (split.full + per_block - 1) / per_block;
    return split;
}

int64_t fc_vectors(const fc_channel_blocks *split) {
    return split->channels <= split->first ? 1 : 1 + (split->channels - split->first + split->vl - 1) / split->vl;
}

static int64_t vector_begin(const fc_channel_blocks *split, int64_t vector) {
    return vector == 0 ? 0 : split->first + (vector - 1) * split->vl;
}

int64_t fc_vector_first(const fc_channel_blocks *split, int64_t vector) {
    return FC_MAX(0, FC_MIN(vector_begin(split, vector), split->channels - split->vl));
}

fc_channel_block fc_channel_block_at(const fc_channel_blocks *split, int64_t index) {
    fc_channel_block b = {.vector = index * split->full / split->blocks};
    const int64_t end = (index + 1) * split->full / split->blocks;
    const int last = index + 1 == split->blocks;
    b.c = vector_begin(split, b.vector);
    b.channels = (last ? split->channels : vector_begin(split, end)) - b.c;
    b.vectors = (last ? fc_vectors(split) : end) - b.vector;
    b.first = b.vector == 0 ? split->first : split->vl;
    return b;
}

int64_t fc_most_channels(const fc_channel_blocks *split) {
    return FC_MIN(split->channels, ((split->full + split->blocks - 1) / split->blocks + 1) * split->vl);
}

/* NumPy's arrays begin 16 bytes behind a cache line. A load that crosses a line counts twice: with vectors that begin
 * at one, layers of 512 channels took 0.6 of the time. One vector in eight is what that may cost. */
int64_t fc_aligned_first(const fc_lines *lines, int64_t channels, int vl) {
    const int64_t *stride = lines->reader.array.stride, size = lines->reader.kernels->element_size;
    const int64_t line = FC_CACHE_LINE / size, off = (int64_t)((uintptr_t)lines->reader.array.data % FC_CACHE_LINE);
    if (!lines->in_place || channels < 8 * vl || off == 0 || off % size != 0 || line < vl) return vl;
    if (stride[0] % line != 0 || stride[1] % line != 0 || stride[2] % line != 0) return vl;
    const int64_t first = (FC_CACHE_LINE - off) / size % vl;
    return first == 0 ? vl : first;
}
