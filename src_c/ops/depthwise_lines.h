/* SPDX-License-Identifier: BSD-3-Clause
 * What the depthwise kernels read: tables of pointers to the pixels of an image's lines. A line that lies in memory as
 * the kernels want it, channels side by side and of the right type, is read there; others are packed first. */
#ifndef FC_DEPTHWISE_LINES_H
#define FC_DEPTHWISE_LINES_H

#include "pack.h"

/* Elements of packed pixels that a worker holds: 256 KiB of float32, so that two images of it stay in a 2 MiB L2. */
enum { FC_LINES_ELEMENTS = 1 << 16 };

/* Entries of the tables that a worker holds: 128 KiB. */
enum { FC_LINES_ENTRIES = 1 << 14 };

typedef struct fc_lines {
    fc_reader reader;
    int64_t h, w; /* of the image */
    int in_place;
} fc_lines;

/* A piece of an image: rows [row, row + rows) and columns [column, column + columns), which may reach outside it, and
 * channels [c, c + channels). */
typedef struct fc_piece {
    int64_t n, row, rows, column, columns, c, channels;
} fc_piece;

fc_lines fc_lines_of(const fc_array *image, int64_t h, int64_t w, int64_t c, fc_dtype dtype, const fc_kernels *kernels);

/* Scratch bytes that a piece of this size needs. */
size_t fc_lines_bytes(const fc_lines *lines, int64_t rows, int64_t columns, int64_t channels);

/* Pack what has to be packed. table[i], i < piece->rows, is line piece->row + i, and table[i][j] its pixel
 * piece->column + j; pixels outside the image are zeros. */
const void *const *const *fc_lines_bring(const fc_lines *lines, const fc_piece *piece, void *scratch);

#endif
