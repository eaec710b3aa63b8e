/* SPDX-License-Identifier: BSD-3-Clause
 * Which results go past the caches. A store first reads the line that it overwrites, and later the line is written
 * back: where a result is larger than the caches that costs half of a pass, and drives out what is read next. */
#ifndef FC_STREAM_H
#define FC_STREAM_H

#include <stdint.h>

#include "../base/cpu.h"
#include "../base/element.h"
#include "../base/scratch.h"
#include "../include/fastconv.h"

/* Results of so many bytes a thread go past the caches, unless they are written over an input: 1.5 MiB beside two
 * inputs of that size are more than a 2 MiB L2 holds. A pass over two arrays is x1.3 to x1.8 faster then (1.5 to 50
 * MiB, an L3 that holds all), and still ahead together with a pass that reads the result; below 1 MiB it is slower.
 *
 * Into a near cache stores are faster than past it as long as it holds what is read as well: of 32 MiB (Zen 4)
 * gradients of pooling of 3 to 7 MB take x0.5 to x0.8 of the time, batch normalisation of twice 6.4 MB x0.65 to x0.9
 * (of 2048 channels x0.8 to x1.1); the gradient of that, of three times 6.4 MB, x1.3. */
enum { FC_STREAM_BYTES = 3 << 19 };

/* inputs: bytes that are read. */
static inline int fc_streams(double bytes, double inputs, int threads) {
    return bytes >= (double)FC_STREAM_BYTES * threads && bytes + inputs > (double)fc_cpu_near_cache() / 2;
}

/* Whether results of so many bytes, all channels of a pixel at a time, go there: vectors have to begin where a cache
 * line does, in every pixel. The caller sees to the slices of volumes. */
static inline int fc_streams_pixels(const fc_array *y, double bytes, double inputs, int threads) {
    const int64_t line = FC_CACHE_LINE / (int64_t)fc_dtype_size(y->dtype);
    return fc_streams(bytes, inputs, threads) && y->stride[3] == 1 && (uintptr_t)y->data % FC_CACHE_LINE == 0 &&
           y->stride[0] % line == 0 && y->stride[1] % line == 0 && y->stride[2] % line == 0;
}

#endif
