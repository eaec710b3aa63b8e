/* SPDX-License-Identifier: BSD-3-Clause */
#include "explain.h"

#include "../base/compiler.h"
#include "../base/scratch.h"

static _Thread_local fc_explanation *explaining;

fc_explanation *fc_explaining(void) { return explaining; }

void fc_explain_into(fc_explanation *explanation) {
    explaining = explanation;
    fc_scratch_measure(explanation == NULL ? NULL : &explanation->workspace);
}

void fc_tell_copy(fc_copy *copy, double bytes, unsigned why) {
    if (bytes <= 0) return;
    copy->bytes += bytes;
    copy->why |= why;
}

unsigned fc_why_channels(const fc_array *array, int64_t channels, fc_dtype dtype) {
    unsigned why = 0;
    if (array->dtype != dtype) why |= FC_COPY_DTYPE;
    if (array->stride[3] != 1 && channels > 1) why |= FC_COPY_CHANNELS;
    return why;
}

void fc_tell_kernel(fc_explanation *e, const char *kernel, int rows, int columns, int threads, double products) {
    e->kernel = kernel;
    e->tile_rows = rows;
    e->tile_columns = columns;
    e->threads = FC_MAX(e->threads, threads);
    e->products += products;
}

const char *fc_copy_reason(unsigned why) {
    static const char *const reasons[] = {
        "zeros around the image",
        "its channels are not adjacent",
        "it is converted to the type of the arithmetic",
        "its pixels lie multiples of 4096 bytes apart and would share a set of the cache",
        "into panels, as the kernel reads them",
        "into Winograd's domain",
        "lines of one channel each, as the kernel reads them",
        "sums of parts are joined",
        "taps and pixels as the kernel reads them",
        "each number becomes a sum of bfloat16 numbers",
    };
    for (unsigned i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (why == 1u << i) return reasons[i];
    return NULL;
}
