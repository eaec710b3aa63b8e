/* SPDX-License-Identifier: BSD-3-Clause
 * Contracts of the transforms of Winograd's minimal filtering F(4x4, 3x3).
 *
 * A 4x4 tile of outputs needs 36 multiplications per channel and filter instead of 144:
 *
 *     output          Y  = At [ (G g Gt) . (Bt d B) ] A        d  6x6 input tile, g 3x3 filter, Y 4x4
 *     grad of filter  dg = Gs [ (Z dY Zt) . (Bt d B) ] Gst     "." multiplies element by element, summed over
 *                                                              channels (outputs) or tiles (gradient)
 *
 * Each of the 36 positions of the 6x6 tiles is a plane of its own, so that the sums are 36 matrix products for the
 * tile kernel:  V[position][tile][channel],  U[position][channel][filter],  M[position][tile][filter].
 *
 * The matrices come from interpolation at 0, a, -a, b, -b and infinity (Toom-Cook; Lavin and Gray, "Fast Algorithms for
 * Convolutional Neural Networks", 2015, use 0, 1, -1, 2, -2). a = 5/8 and b = 3/2 make the error two to three times
 * smaller at the same cost, and Bt, G, Z are exact in binary: all that must be rounded is in At and Gs.
 *
 *          | a2b2    0    -(a2+b2)    0     1  0 |        | 1   0   0  |        | f0    fa     fa     fb     fb    0 |
 *          |  0   -a b2     -b2       a     1  0 |        | 1   a   a2 |        |  0   a fa  -a fa   b fb  -b fb   0 |
 *     Bt = |  0    a b2     -b2      -a     1  0 |    G = | 1  -a   a2 |   At = |  0  a2 fa  a2 fa  b2 fb  b2 fb   0 |
 *          |  0   -a2 b     -a2       b     1  0 |        | 1   b   b2 |        |  0  a3 fa -a3 fa  b3 fb -b3 fb   1 |
 *          |  0    a2 b     -a2      -b     1  0 |        | 1  -b   b2 |
 *          |  0    a2b2      0   -(a2+b2)   0  1 |        | 0   0   1  |
 *     f0 = 1/a2b2, fa = 1/(2a2(a2-b2)), fb = 1/(2b2(b2-a2))
 *
 *     Z is G with a fourth column of cubes (0, a3, -a3, b3, -b3, 1; the 1 of the third column gone), Gs is At with
 *     three rows (the 1 in its last). A zero in a matrix is never multiplied with: a number that is not finite stays
 *     where it is. */
#ifndef FC_WINOGRAD_H
#define FC_WINOGRAD_H

#include <stddef.h>
#include <stdint.h>

#include "../gemm/gemm.h"

enum { FC_WINOGRAD_TILE = 4, FC_WINOGRAD_INPUT = 6, FC_WINOGRAD_FILTER = 3, FC_WINOGRAD_PLANES = 36 };

#define FC_WINOGRAD_A 0.625
#define FC_WINOGRAD_B 1.5
#define FC_WINOGRAD_A2 (FC_WINOGRAD_A * FC_WINOGRAD_A)
#define FC_WINOGRAD_B2 (FC_WINOGRAD_B * FC_WINOGRAD_B)
#define FC_WINOGRAD_F0 (1 / (FC_WINOGRAD_A2 * FC_WINOGRAD_B2))
#define FC_WINOGRAD_FA (1 / (2 * FC_WINOGRAD_A2 * (FC_WINOGRAD_A2 - FC_WINOGRAD_B2)))
#define FC_WINOGRAD_FB (1 / (2 * FC_WINOGRAD_B2 * (FC_WINOGRAD_B2 - FC_WINOGRAD_A2)))

/* V = Bt d B for each channel: v[position*plane + c] from x[i*row + j*column + c], 0 <= i, j < 6.
 * Writes zeros up to a whole number of vectors. */
typedef void (*fc_winograd_input_fn)(int64_t channels, const void *x, ptrdiff_t row, ptrdiff_t column, void *v,
                                     ptrdiff_t plane);

/* The same for Z dY Zt, from 4x4 gradients of the outputs. */
typedef fc_winograd_input_fn fc_winograd_grad_output_fn;

/* U = G g Gt: u[position*plane + c*width + k] from w[tap[3*r + s] + c*step + k], 0 <= k < columns; zeros up to width,
 * a whole number of vectors. */
typedef void (*fc_winograd_filter_fn)(int64_t channels, int columns, const void *w, const ptrdiff_t tap[9],
                                      ptrdiff_t step, void *u, int width, ptrdiff_t plane);

/* Y = activation(At M A + bias) of one tile: y[i*row + j*column + k], the first `rows` x `columns` of 4x4 pixels, from
 * m[position*plane + k], 0 <= k < filters; m is readable up to a whole number of vectors. Returns whether At M A is
 * finite, those not stored included. */
typedef int (*fc_winograd_output_fn)(int filters, const void *m, ptrdiff_t plane, const void *bias,
                                     fc_epilogue activation, int rows, int columns, void *y, ptrdiff_t row,
                                     ptrdiff_t column);

/* dg = Gs S Gst: g[tap[3*r + s] + c*step + k] from s[position*plane + c*width + k], 0 <= k < filters. Returns whether
 * all are finite. */
typedef int (*fc_winograd_grad_filter_fn)(int64_t channels, int filters, const void *s, int width, ptrdiff_t plane,
                                          void *g, const ptrdiff_t tap[9], ptrdiff_t step);

#endif
