/* SPDX-License-Identifier: BSD-3-Clause
 * Contract of the tile kernel, the one inner loop of everything convolution-shaped.
 *
 *     C[i][j] = epilogue( (accumulate ? C[i][j] : 0)
 *                         + sum over terms t:  A[i, t] * B[t][j] )
 *
 *     A[i, t] = a[a_row[i] + a_term[t]]       read in place, one number at a time
 *     B       = a packed panel, [terms][width]   read as 1 or 2 vectors a term
 *     C[i][j] = c[c_row[i] + j]               columns >= `columns` are not touched
 *
 *              width = VL or 2*VL
 *             +-----------+
 *     term -> |  B row    |      A value of row i is broadcast,
 *             +-----------+      multiplied by the B row,
 *      i  [A] |  C row i  |      added to the sums of row i,
 *         [A] |           |      which never leave the registers.
 *
 * A table of term offsets serves every kind of reduction: kernel rows, kernel columns and channels going forward,
 * pixels of many short image lines for the gradient of the weights. It costs one load a term, where nested loops cost
 * a mispredicted branch a line: 7-pixel lines ran at 48 % of the peak with them.
 *
 * Terms are added by fused multiply-add in two chains, those of even and those of odd number, joined at the end,
 * whatever the number of rows or columns: the bits of C[i][j] do not depend on the tile it falls into. Two chains also
 * halve the error: the largest of a million outputs is off by 2.4 to 3.7 u of the sum of magnitudes, where one
 * chain of any length between 27 and 576 gives 4.1 to 5.2 u (u = 2^-24).
 *
 * The epilogue (bias, then activation) runs in the registers. NULL bias: none.
 * A, B and bias must not overlap C. No alignment is needed; nothing beyond the numbers named is read. */
#ifndef FC_GEMM_H
#define FC_GEMM_H

#include <stddef.h>
#include <stdint.h>

typedef enum fc_epilogue { FC_EPILOGUE_NONE, FC_EPILOGUE_RELU, FC_EPILOGUE_LEAKY_RELU } fc_epilogue;

#define FC_LEAKY_SLOPE 0.01

/* Memory that the caller will need soon: a pair of terms brings in the cache line at `at` and moves on by `step` bytes.
 * A step of 0: nothing. Only speed depends on it. */
typedef struct fc_ahead {
    const char *at;
    ptrdiff_t step;
} fc_ahead;

typedef struct fc_tile {
    int64_t terms;           /* at least 1 */
    const ptrdiff_t *a_term; /* [terms] */
    int width;               /* of the B panel: VL or 2*VL */
    int accumulate;
    fc_epilogue activation;
    fc_ahead ahead[2];
    const ptrdiff_t *lines;  /* [terms / 2]: pair i brings in the line lines[i] bytes behind ahead[1].at; NULL: steps */
    const ptrdiff_t *b_term; /* [terms], of B where it lies; NULL: B is a panel */
    void *panel;             /* becomes one then: below */
} fc_tile;

/* 1 <= rows <= MR, 1 <= columns <= t->width.
 *
 * With b_term the tile reads B where it lies, B[t][j] = b[b_term[t] + j], and packs it on the way: it writes the panel
 * for the tiles to come. columns = width = 2*VL then. */
typedef void (*fc_tile_fn)(const fc_tile *t, int rows, const void *a, const ptrdiff_t *a_row, const void *b,
                           const void *bias, int columns, void *c, const ptrdiff_t *c_row);

/* One row of C by any number of columns, with B where it lies:
 *
 *     C[j] = epilogue( (accumulate ? C[j] : 0) + sum over terms t:  a[a_term[t]] * b[b_term[t] + j] )
 *
 * For so few rows that packing B would cost more than the sums. `width`, `ahead` and `panel` of t are not read; the
 * bits are those of the tile. */
enum { FC_ROW_STRIP = 7 }; /* vectors that are summed up at a time; most efficient: multiples of these columns */

typedef void (*fc_row_fn)(const fc_tile *t, const void *a, const void *b, const void *bias, int64_t columns, void *c);

/* The same sums with the roles exchanged, for a handful of filters, which would leave lanes idle: rows are filters,
 * lanes are pixels (or, for the gradient of the weights, places of the window), read where the image was packed.
 *
 *     C[i][v*lanes + l] = epilogue( (accumulate ? C[i][..] : 0) + sum over terms t:  A[i, t] * B[v][b_term[t] + l] )
 *
 *     A[i, t] = a[t*a_term + i]               0 <= i < rows, bias[i] belongs to row i
 *     B[v]    = b[v]                          a few vectors, wherever they are; windows overlap in memory
 *     C[i]    = c + i*c_row                   whole vectors
 *
 * The two chains of terms are those of the tile above. */
typedef struct fc_lanes {
    int64_t terms; /* at least 1 */
    ptrdiff_t a_term;
    const ptrdiff_t *b_term; /* [terms] */
    ptrdiff_t c_row;
    int lanes; /* of a vector: VL (the reference takes any number) */
    int accumulate;
    fc_epilogue activation;
} fc_lanes;

/* 1 <= rows <= MR, 1 <= vectors <= 2; up to FC_LANES_ALONE for one row, whose sums of two vectors would wait for one
 * another: 5x5 on a grey image of 224x224 takes x0.87 of the time. */
enum { FC_LANES_ALONE = 4 };

typedef void (*fc_tile_lanes_fn)(const fc_lanes *t, int rows, const void *a, const void *bias, int vectors,
                                 const void *const *b, void *c);

#endif
