/* SPDX-License-Identifier: BSD-3-Clause
 * Several problems in one parallel loop and one piece of scratch memory: one after the other, small ones would each be
 * too little for two threads. */
#ifndef FC_TOGETHER_H
#define FC_TOGETHER_H

#include "direct.h"
#include "explain.h"

/* What the plan of a problem begins with: what it wants of the loop and of the memory, and what it gets. */
typedef struct fc_share {
    int64_t tasks;
    size_t scratch_bytes, worker_bytes; /* of the problem; of each worker, which gets what the largest problem wants */
    char *scratch, *workers;
} fc_share;

/* What an algorithm does with a plan. */
typedef struct fc_steps {
    size_t plan_bytes;
    void (*plan)(fc_share *plan, const fc_direct *problem, int parts, int threads); /* threads: of all problems */
    void (*explain)(const fc_share *plan, fc_explanation *e, int threads);
    fc_status (*begin)(fc_share *plan); /* with its memory, before any task */
    void (*run)(const fc_share *plan, int64_t task, int worker);
    fc_status (*end)(const fc_share *plan); /* after all tasks; NULL: nothing */
} fc_steps;

/* plans: memory for one plan a problem, of FC_TOGETHER at most. parts: for `plan`. work: of all, in multiply-adds. */
fc_status fc_run_together(const fc_steps *steps, void *plans, const fc_direct *problems, int count, int parts,
                          double work);

#endif
