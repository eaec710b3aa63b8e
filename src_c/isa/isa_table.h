/* SPDX-License-Identifier: BSD-3-Clause
 * The table of the instruction set FC_ISA: the one name that its file exports. */
#define FC_TEXT_(x) #x
#define FC_TEXT(x) FC_TEXT_(x)

const fc_isa FC_JOIN(fc_isa, FC_ISA) = {
    .name = FC_TEXT(FC_ISA),
    .kernels = {
        {.element_size = 4, .vl = VL_f32, .mr = FC_MR,
#define FC_KERNEL(kernel, type) .kernel = kernel##_f32,
#include "../kernels/kernels.inc"
#undef FC_KERNEL
        },
        {.element_size = 8, .vl = VL_f64, .mr = FC_MR,
#define FC_KERNEL(kernel, type) .kernel = kernel##_f64,
#include "../kernels/kernels.inc"
#undef FC_KERNEL
        },
    },
};
