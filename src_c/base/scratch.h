/* SPDX-License-Identifier: BSD-3-Clause
 * Scratch memory of one call. Each calling thread keeps its last block, so that a repeated call allocates nothing
 * and touches no fresh page (a page fault per 4 KiB costs more than the arithmetic of a 1x1 layer). */
#ifndef FC_SCRATCH_H
#define FC_SCRATCH_H

#include <stddef.h>

/* A block of at least `bytes`, 64-byte aligned, contents unspecified; NULL when memory cannot be had. */
void *fc_scratch_take(size_t bytes);
void fc_scratch_give_back(void *block);

/* From here on the calling thread gets no memory: the largest request is noted in *most. NULL: as ever. */
void fc_scratch_measure(size_t *most);

/* Bytes that the calling thread keeps. */
size_t fc_scratch_kept(void);

#define FC_CACHE_LINE 64
#define FC_ALIGN_UP(bytes) (((bytes) + (FC_CACHE_LINE - 1)) & ~(size_t)(FC_CACHE_LINE - 1))

/* Set bytes aside behind the first *end of a block: returns where they begin, and moves *end behind them. */
static inline size_t fc_set_aside(size_t *end, size_t bytes) {
    const size_t begin = *end;
    *end = begin + FC_ALIGN_UP(bytes);
    return begin;
}

#endif
