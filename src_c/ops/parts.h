/* SPDX-License-Identifier: BSD-3-Clause
 * A reduction cut into parts, for the gradients of the weights: how many, and how their sums are joined. */
#ifndef FC_PARTS_H
#define FC_PARTS_H

#include <stddef.h>
#include <stdint.h>

/* Enough for 8 threads, few enough that the parts' sums stay within 2 MiB. */
enum { FC_FIXED_TASKS = 8 };

/* A task is handed out again when it has done this many multiply-adds, so that a long call can be interrupted. */
#define FC_ROUND_WORK 2e9

/* to[i] += from[i], of numbers of 4 or 8 bytes. */
static inline void fc_add_numbers(void *to, const void *from, size_t numbers, size_t size) {
    if (size == sizeof(float))
        for (size_t i = 0; i < numbers; i++) ((float *)to)[i] += ((const float *)from)[i];
    else
        for (size_t i = 0; i < numbers; i++) ((double *)to)[i] += ((const double *)from)[i];
}

/* Add part i+step to part i for step 1, 2, 4 ...: a tree that depends on the number of parts alone. Each part is
 * `numbers` numbers of `size` bytes (4 or 8), `distance` bytes from the next. */
static inline void fc_join_parts(char *first, ptrdiff_t distance, int64_t parts, size_t numbers, size_t size) {
    for (int64_t step = 1; step < parts; step *= 2)
        for (int64_t i = 0; i + step < parts; i += 2 * step)
            fc_add_numbers(first + i * distance, first + (i + step) * distance, numbers, size);
}

#endif
