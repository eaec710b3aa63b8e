/* SPDX-License-Identifier: BSD-3-Clause
 * The tables of all instruction sets, and the choice among them. A set that lacks a kernel gets the reference's. */
#include "dispatch.h"

#include <pthread.h>
#include <stdatomic.h>

#include "../base/cpu.h"

#define FC_ISA_ENTRY(name, features) extern const fc_isa fc_isa_##name;
#include "isas.inc"
#undef FC_ISA_ENTRY

typedef struct isa_entry {
    const fc_isa *isa;
    unsigned features;
} isa_entry;

static const isa_entry entries[] = {
#define FC_ISA_ENTRY(name, features) {&fc_isa_##name, features},
#include "isas.inc"
#undef FC_ISA_ENTRY
};

enum { ISA_COUNT = sizeof entries / sizeof entries[0], REFERENCE = ISA_COUNT - 1 };

static fc_kernels tables[ISA_COUNT][2];
static int best_isa = REFERENCE;
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;
static atomic_int process_isa = -1;
static _Thread_local int thread_isa = -1;

/* Its own, or its base's. */
static const fc_kernels *kernels_of(int isa) {
    const fc_isa *base = entries[isa].isa->base;
    return base == NULL ? entries[isa].isa->kernels : base->kernels;
}

static void fill_tables(void) {
    for (int i = ISA_COUNT - 1; i >= 0; i--) {
        for (int d = 0; d < 2; d++) {
            fc_kernels *table = &tables[i][d];
            const fc_kernels *judge = &fc_isa_reference.kernels[d];
            *table = kernels_of(i)[d];
            if (table->tile == NULL) { /* the block sizes belong to the tile kernel */
                table->vl = judge->vl;
                table->mr = judge->mr;
            }
#define FC_KERNEL(kernel, type) \
    if (table->kernel == NULL) table->kernel = judge->kernel;
#include "../kernels/kernels.inc"
#undef FC_KERNEL
        }
        tables[i][0].split = entries[i].isa->split;
        if (fc_isa_available(i)) best_isa = i;
    }
}

int fc_isa_count(void) { return ISA_COUNT; }

const char *fc_isa_name(int index) { return index >= 0 && index < ISA_COUNT ? entries[index].isa->name : NULL; }

int fc_isa_available(int index) {
    return index >= 0 && index < ISA_COUNT && (fc_cpu_features() & entries[index].features) == entries[index].features;
}

const char *fc_isa_refusal(int index) {
    return index >= 0 && index < ISA_COUNT ? fc_cpu_lacks(entries[index].features) : "there is no such set";
}

int fc_set_isa(int index) {
    if (index != -1 && !fc_isa_available(index)) return -1;
    atomic_store(&process_isa, index);
    return 0;
}

int fc_set_thread_isa(int index) {
    if (index != -1 && !fc_isa_available(index)) return -1;
    thread_isa = index;
    return 0;
}

int fc_get_thread_isa(void) { return thread_isa; }

int fc_get_isa(void) {
    pthread_once(&tables_once, fill_tables);
    if (thread_isa >= 0) return thread_isa;
    const int chosen = atomic_load_explicit(&process_isa, memory_order_relaxed);
    return chosen >= 0 ? chosen : best_isa;
}

const fc_kernels *fc_kernels_of(int isa, fc_dtype dtype) {
    pthread_once(&tables_once, fill_tables);
    return &tables[isa][dtype == FC_FLOAT64];
}

const fc_kernels *fc_kernels_for(fc_dtype dtype) { return fc_kernels_of(fc_get_isa(), dtype); }

const fc_kernels *fc_reference_kernels(fc_dtype dtype) { return fc_kernels_of(REFERENCE, dtype); }

const fc_split *fc_split_kernels(void) {
    const fc_split *split = fc_kernels_for(FC_FLOAT32)->split;
    return split == NULL ? &fc_reference_split : split;
}

const char *fc_kernel_name(int k) {
    static const char *const names[] = {
#define FC_KERNEL(kernel, type) #kernel,
#include "../kernels/kernels.inc"
#undef FC_KERNEL
    };
    return k >= 0 && k < (int)(sizeof names / sizeof names[0]) ? names[k] : NULL;
}

int fc_kernel_is_own(int isa, fc_dtype dtype, int k) {
    const fc_kernels *own = &kernels_of(isa)[dtype == FC_FLOAT64];
    const int has[] = {
#define FC_KERNEL(kernel, type) own->kernel != NULL,
#include "../kernels/kernels.inc"
#undef FC_KERNEL
    };
    return has[k];
}
