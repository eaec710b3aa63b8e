/* SPDX-License-Identifier: BSD-3-Clause
 * The gradients of the weights are long sums over the pixels of all images. How such a sum is cut and added up:
 *
 *   parts     that tasks add up side by side; joined by a fixed tree
 *     rounds    of a part, one after the other: a task is handed out again, so that a long call can be interrupted
 *       runs      of runs of FC_RUN chunks, each a sum of its own before it is added to the next larger one
 *         chunks    of pixels, as many as a driver packs at a time
 *
 * Of one chain of 300 chunks of equal terms a result was wrong by 18 u, of 64 images of 56x56 by 54 u, and more with
 * more images; with runs of runs the error stops growing. Neither cut nor order knows the number of threads, so the
 * bits do not depend on it. */
#ifndef FC_PARTS_H
#define FC_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "../base/threads.h"

/* Enough for 8 threads, few enough that the parts' sums stay within 2 MiB. */
enum { FC_FIXED_TASKS = 8 };

enum {
    FC_RUN = 16,   /* chunks that are added up on their own; runs that are */
    FC_LEVELS = 2, /* sums on the way to the result, at most: of chunks, of runs */
};

typedef struct fc_reduction {
    int64_t chunks, parts; /* no part is empty */
    int64_t chunks_per_part, chunks_per_round;
    int levels;    /* of sums on the way to the result */
    int64_t round; /* the one that runs */
} fc_reduction;

/* chunks: at least 1; parts: at most so many; chunk_work: multiply-adds of a chunk in one task. */
fc_reduction fc_cut_reduction(int64_t chunks, int64_t parts, double chunk_work);

/* What adds up a part. Its sums are numbered: number `levels` is the part's result, which lives as long as the call; a
 * worker has those before it to itself while a task runs. */
typedef struct fc_adder {
    void *task;
    void (*add_chunk)(void *task, int64_t chunk, int sum, int accumulate); /* accumulate = 0: overwrite the sum */
    void (*add_sum)(void *task, int to, int from, int accumulate);
} fc_adder;

/* The chunks of a part that belong to the current round. */
void fc_add_up(const fc_reduction *r, int64_t part, const fc_adder *adder);

/* All rounds of all tasks; then, unless it is NULL, `join` once for each block of the result: as many as there are
 * tasks a part, `numbers` numbers in all. */
fc_status fc_reduce(fc_reduction *r, int64_t tasks, int threads, fc_task_fn run, double numbers, fc_task_fn join,
                    void *plan);

/* to[i] += from[i], or to[i] = from[i], of numbers of 4 or 8 bytes. */
void fc_add_numbers(void *to, const void *from, size_t numbers, size_t size, int accumulate);

/* Add part i+step to part i for step 1, 2, 4 ...: a tree that depends on the number of parts alone. Each part is
 * `numbers` numbers of `size` bytes (4 or 8), `distance` bytes from the next. */
void fc_join_parts(char *first, ptrdiff_t distance, int64_t parts, size_t numbers, size_t size);

#endif
