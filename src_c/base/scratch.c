/* SPDX-License-Identifier: BSD-3-Clause */
#include "scratch.h"

#include <pthread.h>
#include <stdlib.h>

#include "../include/fastconv.h"

/* Blocks above this are freed at once: enough for the packed weights of ResNet-50's and most of VGG-16's layers. */
enum { KEEP_BYTES = 32 << 20 };

typedef struct cache {
    void *block;
    size_t bytes;
    int taken; /* a signal handler that runs during a call may call again: it gets a block of its own */
    size_t *most; /* requests are noted here instead of met */
} cache;

static _Thread_local cache mine;
static pthread_key_t key; /* only to run the destructor */
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void free_block(void *unused) {
    (void)unused;
    fc_clear_cache();
}

static void make_key(void) { pthread_key_create(&key, free_block); }

void fc_clear_cache(void) {
    if (mine.taken) return;
    free(mine.block);
    mine.block = NULL;
    mine.bytes = 0;
}

void fc_scratch_measure(size_t *most) { mine.most = most; }

size_t fc_scratch_kept(void) { return mine.bytes; }

void *fc_scratch_take(size_t bytes) {
    if (mine.most != NULL) {
        if (*mine.most < bytes) *mine.most = bytes;
        return NULL;
    }
    bytes = bytes == 0 ? FC_CACHE_LINE : FC_ALIGN_UP(bytes);
    if (mine.taken || bytes > KEEP_BYTES) return aligned_alloc(FC_CACHE_LINE, bytes);
    if (mine.bytes < bytes) {
        fc_clear_cache();
        mine.block = aligned_alloc(FC_CACHE_LINE, bytes);
        if (mine.block == NULL) return NULL;
        mine.bytes = bytes;
        pthread_once(&key_once, make_key);
        pthread_setspecific(key, &mine);
    }
    mine.taken = 1;
    return mine.block;
}

void fc_scratch_give_back(void *block) {
    if (mine.taken && block == mine.block) mine.taken = 0;
    else free(block);
}
