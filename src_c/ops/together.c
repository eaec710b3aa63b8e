/* SPDX-License-Identifier: BSD-3-Clause */
#include "together.h"

#include "../base/compiler.h"
#include "../base/scratch.h"
#include "../base/threads.h"

typedef struct job {
    const fc_steps *steps;
    fc_share *plans[FC_TOGETHER];
    int count;
} job;

static void run_task(void *context, int64_t task, int worker) {
    const job *j = context;
    int i = 0;
    while (task >= j->plans[i]->tasks) task -= j->plans[i++]->tasks;
    j->steps->run(j->plans[i], task, worker);
}

/* The memory of the workers lies behind that of the problems. */
static char *take_scratch(const job *j, int threads) {
    size_t problems = 0, worker = 0;
    for (int i = 0; i < j->count; i++) {
        problems += j->plans[i]->scratch_bytes;
        worker = FC_MAX(worker, j->plans[i]->worker_bytes);
    }
    char *scratch = fc_scratch_take(problems + (size_t)threads * worker), *at = scratch;
    for (int i = 0; i < j->count && scratch != NULL; i++) {
        fc_share *plan = j->plans[i];
        plan->scratch = at;
        plan->workers = scratch + problems, plan->worker_bytes = worker;
        at += plan->scratch_bytes;
    }
    return scratch;
}

/* There is no memory, or there is to be none: see explain.h. */
static fc_status explain(const job *j, int threads) {
    fc_explanation *e = fc_explaining();
    if (e == NULL) return FC_NO_MEMORY;
    for (int i = 0; i < j->count; i++)
        j->steps->explain(j->plans[i], e, (int)FC_MIN(j->plans[i]->tasks, threads));
    return FC_OK;
}

static fc_status run_all(job *j, int threads) {
    int64_t tasks = 0;
    fc_status status = FC_OK;
    for (int i = 0; i < j->count && status == FC_OK; i++) {
        tasks += j->plans[i]->tasks;
        status = j->steps->begin(j->plans[i]);
    }
    if (status == FC_OK) status = fc_parallel_for(tasks, (int)FC_MIN(tasks, threads), run_task, j);
    for (int i = 0; i < j->count && status == FC_OK && j->steps->end != NULL; i++) status = j->steps->end(j->plans[i]);
    return status;
}

fc_status fc_run_together(const fc_steps *steps, void *plans, const fc_direct *problems, int count, int parts,
                          double work) {
    const int threads = fc_threads_for(INT32_MAX, work);
    job j = {.steps = steps};
    for (int i = 0; i < count; i++) {
        const fc_direct *d = &problems[i];
        if (d->n == 0 || d->window.p == 0 || d->window.q == 0) continue;
        fc_share *plan = (void *)((char *)plans + (size_t)j.count * steps->plan_bytes);
        steps->plan(plan, d, parts, threads);
        j.plans[j.count++] = plan;
    }
    if (j.count == 0) return FC_OK;
    char *scratch = take_scratch(&j, threads);
    if (scratch == NULL) return explain(&j, threads);
    const fc_status status = run_all(&j, threads);
    fc_scratch_give_back(scratch);
    return status;
}
