/* SPDX-License-Identifier: BSD-3-Clause
 * Sums over all pixels of each channel, for normalisation: cut into chunks, chunks into a fixed number of parts. The
 * kernels sum a chunk in the type of the array; chunks are joined in double precision, in order, and so are parts. The
 * cut depends on the number of images and pixels alone. */
#ifndef FC_MOMENTS_H
#define FC_MOMENTS_H

#include "../isa/dispatch.h"

enum { FC_NORM_PARTS = 16 };

/* Scratch memory of who takes sums of up to so many channels. */
static inline size_t fc_moments_scratch(void) {
    return FC_NORM_CHAIN_BYTES + 3 * FC_NORM_CHANNELS * sizeof(double);
}

typedef struct fc_moments {
    const fc_kernels *kernels;
    int64_t n, pixels, c;
    const char *x, *grad_y; /* grad_y NULL: moments of x; else its products with x - mean */
    fc_norm_walk x_walk, grad_y_walk;
    fc_epilogue activation;
    fc_norm_factors factors; /* of all channels, of the products */
    int64_t images, length, per_image; /* of a chunk: images, or `length` pixels of one, which has so many chunks */
    int64_t chunks, parts, chunks_per_part;
    double count[FC_NORM_PARTS]; /* numbers of a channel in a part */
} fc_moments;

/* Axes n, pixel and channel of an array whose strides [0], [2] and [3] are those. An axis of one element has any. */
fc_norm_walk fc_norm_walk_of(const fc_array *a, int64_t pixels, int64_t c);

/* Whether the kernels can walk them: in all, the same axis has adjacent numbers. */
int fc_norm_walks_agree(const fc_norm_walk *a, const fc_norm_walk *b);

/* Fill in the cut. */
void fc_moments_cut(fc_moments *m);

/* How many channels to sum at once: fewer than FC_NORM_CHANNELS where the threads want tasks. No bit depends on it. */
int64_t fc_moments_channels(const fc_moments *m, int threads);

/* Of the channels [c, c + channels), at most FC_NORM_CHANNELS, of one part: mean and sum of squared deviations from it;
 * or the sum of grad_y, and of its products. scratch: fc_moments_scratch() bytes. */
void fc_moments_part(const fc_moments *m, int64_t part, int64_t c, int64_t channels, char *scratch, double *first,
                     double *second);

/* The same of one channel from its parts, whose numbers are so far from each other. Returns how many numbers it has. */
double fc_moments_total(const fc_moments *m, const double *first, const double *second, int64_t distance, double *a,
                        double *b);

/* Add to a mean of `count` numbers and their squared deviations those of `more` others (Chan, Golub and LeVeque,
 * 1979). */
static inline void fc_moments_join(double count, double *mean, double *squares, double more, double its_mean,
                                   double its_squares) {
    const double difference = its_mean - *mean;
    *mean += difference * (more / (count + more));
    *squares += its_squares + difference * difference * (count * more / (count + more));
}

#endif
