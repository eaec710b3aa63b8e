/* SPDX-License-Identifier: BSD-3-Clause */
#include "../include/fastconv.h"

const char *fc_status_text(fc_status status) {
    switch (status) {
        case FC_OK: return "success";
        case FC_NO_MEMORY: return "not enough memory for scratch space";
        case FC_INTERRUPTED: return "interrupted";
        case FC_BAD_SIZE: return "every size but the batch must be at least 1: image, channels, filters and kernel";
        case FC_BAD_STRIDE: return "stride must be at least 1";
        case FC_BAD_DILATION: return "dilation must be at least 1";
        case FC_BAD_PADDING: return "padding must not be negative";
        case FC_BAD_GROUPS: return "groups must be at least 1 and divide both input channels and filters";
        case FC_EMPTY_OUTPUT: return "the output would be empty: the dilated kernel is larger than the padded image";
        case FC_EMPTY_WINDOW: return "padding leaves a pooling window without any pixel of the image";
        case FC_TOO_LARGE: return "sizes are too large: a product of them does not fit into 63 bits";
        case FC_BAD_INDEX: return "an index lies outside the image";
        case FC_BAD_DTYPE: return "an array has an element type that it cannot have here";
        case FC_BAD_ALGORITHM: return "the algorithm named cannot do this problem";
        case FC_BAD_PACKED: return "the weights were packed for another problem or instruction set";
        case FC_BAD_OUTPUT_PADDING:
            return "output_padding must not be negative, must be smaller than stride or dilation, and is 0 beside "
                   "\"same\"";
        case FC_SHORT_KERNEL: return "\"same\" needs a kernel of at least the stride";
        case FC_BAD_ORDER: return "neither the channels nor the pixels are adjacent in all arrays alike";
    }
    return "unknown status";
}
