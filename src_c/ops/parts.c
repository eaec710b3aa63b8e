/* SPDX-License-Identifier: BSD-3-Clause */
#include "parts.h"

#include <string.h>

#include "../base/compiler.h"
#include "blocking.h"

/* A task is handed out again when it has done this many multiply-adds. */
static const double ROUND_WORK = 2e9;

fc_reduction fc_cut_reduction(int64_t chunks, int64_t parts, double chunk_work) {
    fc_reduction r = {.chunks = chunks};
    r.chunks_per_part = fc_ceil_div(chunks, FC_MAX(1, FC_MIN(parts, chunks)));
    r.parts = fc_ceil_div(chunks, r.chunks_per_part);
    r.chunks_per_round = (int64_t)FC_MAX(1.0, ROUND_WORK / chunk_work);
    const int64_t together = FC_MIN(r.chunks_per_part, r.chunks_per_round);
    r.levels = together > FC_RUN * FC_RUN ? 2 : together > FC_RUN ? 1 : 0;
    return r;
}

/* After so many chunks of a round: add the sums that are complete, or all at its end, to those of the next level. */
static void hand_sums_on(const fc_reduction *r, const fc_adder *adder, int64_t chunks, int at_end, int accumulate) {
    int64_t length = FC_RUN; /* chunks that a sum of this level holds */
    for (int level = 0; level < r->levels; level++, length *= FC_RUN) {
        if (chunks % length != 0 && !at_end) return;
        const int64_t before = (chunks - 1) / length; /* sums of this level that were handed on in this round */
        const int is_result = level + 1 == r->levels;
        adder->add_sum(adder->task, level + 1, level, is_result ? accumulate || before > 0 : before % FC_RUN > 0);
    }
}

void fc_add_up(const fc_reduction *r, int64_t part, const fc_adder *adder) {
    const int64_t first = part * r->chunks_per_part, last = FC_MIN(r->chunks, first + r->chunks_per_part);
    const int64_t from = first + r->round * r->chunks_per_round, end = FC_MIN(last, from + r->chunks_per_round);
    for (int64_t i = from; i < end; i++) {
        adder->add_chunk(adder->task, i, 0, r->levels > 0 ? (i - from) % FC_RUN > 0 : i > first);
        hand_sums_on(r, adder, i + 1 - from, i + 1 == end, from > first);
    }
}

fc_status fc_reduce(fc_reduction *r, int64_t tasks, int threads, fc_task_fn run, double numbers, fc_task_fn join,
                    void *plan) {
    const int64_t rounds = fc_ceil_div(r->chunks_per_part, r->chunks_per_round), blocks = tasks / r->parts;
    fc_status status = FC_OK;
    for (r->round = 0; r->round < rounds && status == FC_OK; r->round++)
        status = fc_parallel_for(tasks, threads, run, plan);
    if (status == FC_OK && join != NULL)
        status = fc_parallel_for(blocks, FC_MIN(threads, fc_threads_for(blocks, numbers)), join, plan);
    return status;
}

void fc_add_numbers(void *to, const void *from, size_t numbers, size_t size, int accumulate) {
    if (!accumulate) memcpy(to, from, numbers * size);
    else if (size == sizeof(float))
        for (size_t i = 0; i < numbers; i++) ((float *)to)[i] += ((const float *)from)[i];
    else
        for (size_t i = 0; i < numbers; i++) ((double *)to)[i] += ((const double *)from)[i];
}

void fc_join_parts(char *first, ptrdiff_t distance, int64_t parts, size_t numbers, size_t size) {
    for (int64_t step = 1; step < parts; step *= 2)
        for (int64_t i = 0; i + step < parts; i += 2 * step)
            fc_add_numbers(first + i * distance, first + (i + step) * distance, numbers, size, 1);
}
