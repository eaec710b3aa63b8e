/* SPDX-License-Identifier: BSD-3-Clause
 * Contract of matrix products by parts: float32 numbers as sums of bfloat16 numbers, whose products a matrix unit adds
 * up in float32 many times faster than the vector units add up float32 products, and vectors of bfloat16 twice as
 * fast.
 *
 *     x = x0 + x1 + x2      x0: the 8 leading bits of x, rounded; x1: those of what remains; x2: the rest, exactly
 *
 *     parts   products                                        bits that count
 *       1     x0 w0                                                  8
 *       2     x0 w0 + x0 w1 + x1 w0                                 16
 *       3     the former + x1 w1 + x0 w2 + x2 w0                    24: all of float32
 *
 * Terms come in chunks of 32. Both operands keep term j of a chunk beside term j + 16: a 32-bit lane then is two
 * numbers of which each took its upper half, and no number ever moves to another lane.
 *
 *     A    [pair][2], a row of 64 bytes, for each row, chunk and part: row i, chunk t, part m begins at
 *          a[tile->a + i*a_row + a_chunk[t] + m*a_part]
 *     B    [chunk][part][half of the columns][pair][column][2]: a packed panel
 *
 * A number that is not finite, or so large that it overflows while it is split, makes the results it contributes to
 * NaN. Subnormal parts count as zero. */
#ifndef FC_SPLIT_H
#define FC_SPLIT_H

#include <stddef.h>
#include <stdint.h>

#include "../gemm/gemm.h"

typedef uint16_t fc_bf16;

enum {
    FC_SPLIT_TERMS = 32,   /* of a chunk */
    FC_SPLIT_ROWS = 16,    /* of a tile of A, at most */
    FC_SPLIT_COLUMNS = 32, /* of a panel of B: two tiles */
    FC_MOST_PARTS = 3
};

/* Products of tiles for each product of numbers. */
static inline int fc_split_products(int parts) { return parts * (parts + 1) / 2; }

/* Numbers of one part of a chunk of a panel. */
enum { FC_SPLIT_PANEL = FC_SPLIT_TERMS * FC_SPLIT_COLUMNS };

/* Rows of A from rows of numbers: chunk t of row i goes to dst + t*dst_chunk + i*parts*32; zeros fill the last
 * chunk. */
typedef void (*fc_split_rows_fn)(int parts, int64_t rows, int64_t columns, const float *src, ptrdiff_t src_row,
                                 fc_bf16 *dst, ptrdiff_t dst_chunk);

/* Rows of cache lines that will be wanted soon, on the way to be brought in, line by line as they lie in memory. They
 * are not read and may lie anywhere. */
typedef struct fc_rows_ahead {
    const char *at; /* the next line */
    ptrdiff_t gap;  /* bytes from the end of a row to the next */
    int lines, left; /* of a row, of this row */
} fc_rows_ahead;

/* One chunk of a panel of B from src[term*src_term + column*src_column], one of which steps is 1: terms <= 32 and
 * columns <= 32, filled with zeros; up to 16 columns the second half is not written. NULL or *ahead: as many lines as
 * the chunk has are brought in. */
typedef void (*fc_split_panel_fn)(int parts, int terms, int columns, const float *src, ptrdiff_t src_term,
                                  ptrdiff_t src_column, fc_rows_ahead *ahead, fc_bf16 *dst);

/* Rows of A from columns of numbers, of which windows take 32 from any number on: pair i of row j and part m is the
 * numbers (i, i + 16) of column j, at dst[j*dst_row + m*dst_part + 2*i]. Pairs come in blocks of 16; with `step` 16
 * these are all pairs from 0 on, with 32 every other block is left out, for windows that begin at multiples of 32: then
 * pair 32*b + i is at place 16*b + i. Numbers from `rows` on are zeros. */
typedef void (*fc_split_columns_fn)(int parts, int64_t rows, int64_t columns, const float *src, ptrdiff_t src_row,
                                    int64_t blocks, int step, fc_bf16 *dst, ptrdiff_t dst_row, ptrdiff_t dst_part);

/* Rows of A that lie a_row apart. */
typedef struct fc_row_tile {
    ptrdiff_t a;
    int first, rows; /* the results are rows [first, first + rows) of C */
} fc_row_tile;

typedef struct fc_split_block {
    int parts;
    int64_t chunks, tiles;      /* at least 1 of each */
    const ptrdiff_t *a_chunk;   /* [chunks] */
    ptrdiff_t a_row, a_part;
    const fc_row_tile *tile;    /* [tiles] */
    int accumulate;
    fc_epilogue activation;
    int streams; /* C goes past the caches: its rows begin at multiples of 64 bytes */
    const fc_ahead *ahead; /* [(tiles + 1) / 2] or NULL: what to bring in while a pair of tiles is added up, ... */
    int ahead_lines;       /* ... this many cache lines a chunk */
} fc_split_block;

/* C[i][j] = epilogue( (accumulate ? C[i][j] : 0) + sum over chunks, products and terms ),  C[i][j] = c[c_row[i] + j].
 * doubtful[i] becomes 1 where a result before its activation is not finite, and is left alone elsewhere. Columns from
 * `columns` on are not touched. The order of additions depends on the chunks alone. */
typedef void (*fc_split_multiply_fn)(const fc_split_block *t, const fc_bf16 *a, const fc_bf16 *b, const float *bias,
                                     int columns, float *c, const ptrdiff_t *c_row, unsigned char *doubtful);

/* What an instruction set with fast products of bfloat16 has, beside the kernels that all have. */
typedef struct fc_split {
    int speed; /* products of numbers of one part in the time of one product of float32 */
    fc_split_rows_fn rows;
    fc_split_panel_fn panel;
    fc_split_columns_fn columns;
    fc_split_multiply_fn multiply;
} fc_split;

#endif
