/* SPDX-License-Identifier: BSD-3-Clause
 * What a call would do: the same functions run as far as their plan, then tell it instead of taking memory.
 *
 * While a thread explains, fc_scratch_take notes what it was asked for and returns NULL. Where an algorithm finds that
 * it got no memory it calls its own `explain`, which asks here whether that was meant so. Memory is asked for before
 * anything is read or written: pointers are not followed. */
#ifndef FC_EXPLAIN_H
#define FC_EXPLAIN_H

#include "../isa/dispatch.h"

/* What the calling thread explains; NULL: it computes, and memory cannot be had. */
fc_explanation *fc_explaining(void);

/* From here on the calling thread explains; NULL: it computes again. */
void fc_explain_into(fc_explanation *explanation);

/* Add what is copied; nothing for 0 bytes. An explanation may be told several runs: phases of a stride. */
void fc_tell_copy(fc_copy *copy, double bytes, unsigned why);

/* Why an image or its gradient cannot be read in place as adjacent channels of this type; 0: it can. */
unsigned fc_why_channels(const fc_array *array, int64_t channels, fc_dtype dtype);

/* Which kernel runs with how many threads, and the multiplications of its lanes. */
void fc_tell_kernel(fc_explanation *e, const char *kernel, int rows, int columns, int threads, double products);

#endif
