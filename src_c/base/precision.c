/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdatomic.h>

#include "../include/fastconv.h"

static atomic_int process_precision = FC_HIGH;
static _Thread_local fc_precision thread_precision;

void fc_set_precision(fc_precision precision) { atomic_store(&process_precision, (int)precision); }
void fc_set_thread_precision(fc_precision precision) { thread_precision = precision; }
fc_precision fc_get_thread_precision(void) { return thread_precision; }

fc_precision fc_get_precision(void) {
    if (thread_precision != FC_DEFAULT) return thread_precision;
    return (fc_precision)atomic_load_explicit(&process_precision, memory_order_relaxed);
}
