/* SPDX-License-Identifier: BSD-3-Clause */
#include "scratch.h"

#include <pthread.h>
#include <stdlib.h>

#include "../include/fastconv.h"

/* Blocks above this are freed at once: enough for the packed weights of ResNet-50's and most of VGG-16's layers. */
enum { KEEP_BYTES = 32 << 20 };

/* An operation on volumes sets weights aside, then calls one on images, which has a block of its own. */
enum { LEVELS = 2 };

typedef struct cache {
    void *block[LEVELS];
    size_t bytes[LEVELS];
    int taken[LEVELS]; /* beyond them (a signal handler that runs during a call may call again) blocks are not kept */
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

static void clear_level(int level) {
    if (mine.taken[level]) return;
    free(mine.block[level]);
    mine.block[level] = NULL;
    mine.bytes[level] = 0;
}

void fc_clear_cache(void) {
    for (int level = 0; level < LEVELS; level++) clear_level(level);
}

void fc_scratch_measure(size_t *most) { mine.most = most; }

size_t fc_scratch_kept(void) { return mine.bytes[0] + mine.bytes[1]; }

void *fc_scratch_take(size_t bytes) {
    if (mine.most != NULL) {
        if (*mine.most < bytes) *mine.most = bytes;
        return NULL;
    }
    bytes = bytes == 0 ? FC_CACHE_LINE : FC_ALIGN_UP(bytes);
    const int level = mine.taken[0];
    if (mine.taken[level] || bytes > KEEP_BYTES) return aligned_alloc(FC_CACHE_LINE, bytes);
    if (mine.bytes[level] < bytes) {
        clear_level(level);
        mine.block[level] = aligned_alloc(FC_CACHE_LINE, bytes);
        if (mine.block[level] == NULL) return NULL;
        mine.bytes[level] = bytes;
        pthread_once(&key_once, make_key);
        pthread_setspecific(key, &mine);
    }
    mine.taken[level] = 1;
    return mine.block[level];
}

void fc_scratch_give_back(void *block) {
    for (int level = 0; level < LEVELS; level++)
        if (mine.taken[level] && block == mine.block[level]) {
            mine.taken[level] = 0;
            return;
        }
    free(block);
}
