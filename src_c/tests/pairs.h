/* SPDX-License-Identifier: BSD-3-Clause
 * The kernels of every instruction set of this machine, beside their judges. */
#ifndef FC_PAIRS_H
#define FC_PAIRS_H

#include "check.h"

typedef struct pair { /* kernels under test, their judge, the element type */
    const fc_kernels *fast, *judge;
    fc_dtype dtype;
    int isa;
} pair;

static inline void for_each_pair(void (*test)(const pair *p)) {
    for (int isa = 0; isa < fc_isa_count(); isa++) {
        if (!fc_isa_available(isa)) continue;
        printf("%s\n", fc_isa_name(isa));
        for (int d = 0; d < 2; d++) {
            const fc_dtype dtype = d ? FC_FLOAT64 : FC_FLOAT32;
            const pair p = {fc_kernels_of(isa, dtype), fc_reference_kernels(dtype), dtype, isa};
            test(&p);
        }
    }
}

#endif
