/* SPDX-License-Identifier: BSD-3-Clause
 * Parallel loops: the only place that knows OpenMP. */
#ifndef FC_THREADS_H
#define FC_THREADS_H

#include <stdint.h>

#include "../include/fastconv.h"

/* One task of a loop. worker: 0 <= worker < the number of threads asked for; no two tasks with one worker run at
 * once. */
typedef void (*fc_task_fn)(void *context, int64_t task, int worker);

/* Multiply-adds that a number moved is worth: two threads from 75 000 numbers on. */
enum { FC_NUMBER_WORK = 8 };

/* How many threads are worth waking for this much work (in multiply-adds), at most one a task. */
int fc_threads_for(int64_t tasks, double work);

/* Run tasks 0 .. tasks-1 on up to `threads` threads; FC_OK or FC_INTERRUPTED. Each worker has a range of
 * neighbouring tasks, and then helps others: a task must write only what is its own, so that results do not depend on
 * who ran it. */
fc_status fc_parallel_for(int64_t tasks, int threads, fc_task_fn run, void *context);

/* The task to do as number `task` where each worker is to begin at the end of its range: what a loop before this one
 * came to last is still in the worker's cache. */
int64_t fc_task_from_end(int64_t task, int64_t tasks, int threads);

#endif
