/* SPDX-License-Identifier: BSD-3-Clause
 * Several problems in one parallel loop and one piece of scratch memory: one after the other, small ones would each be
 * too little for two threads. */
#ifndef FC_TOGETHER_H
#define FC_TOGETHER_H

#include "../base/compiler.h"
#include "../base/scratch.h"
#include "direct.h"

/* What a problem wants and gets of it. */
typedef struct fc_share {
    int64_t tasks;
    size_t scratch_bytes, worker_bytes; /* of the problem; of each worker, which gets what the largest problem wants */
    char *scratch, *workers;
} fc_share;

typedef struct fc_shares {
    fc_share *of[FC_TOGETHER];
    int count;
    int64_t tasks; /* of all */
} fc_shares;

static inline void fc_add_share(fc_shares *all, fc_share *share) {
    all->of[all->count++] = share;
    all->tasks += share->tasks;
}

/* The memory, to be given back: that of the workers behind that of the problems. NULL: there is none. */
static inline char *fc_share_out(fc_shares *all, int threads) {
    size_t problems = 0, worker = 0;
    for (int i = 0; i < all->count; i++) {
        problems += all->of[i]->scratch_bytes;
        worker = FC_MAX(worker, all->of[i]->worker_bytes);
    }
    char *scratch = fc_scratch_take(problems + (size_t)threads * worker), *at = scratch;
    for (int i = 0; i < all->count && scratch != NULL; i++) {
        fc_share *share = all->of[i];
        share->scratch = at;
        share->workers = scratch + problems, share->worker_bytes = worker;
        at += share->scratch_bytes;
    }
    return scratch;
}

/* Which problem task `*task` of all is of; *task receives its number there. */
static inline int fc_share_of_task(const fc_shares *all, int64_t *task) {
    int i = 0;
    while (*task >= all->of[i]->tasks) *task -= all->of[i++]->tasks;
    return i;
}

#endif
