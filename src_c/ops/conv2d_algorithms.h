/* SPDX-License-Identifier: BSD-3-Clause
 * The algorithms behind the entry points of conv2d.c. Sizes have been resolved, element types checked. */
#ifndef FC_CONV2D_ALGORITHMS_H
#define FC_CONV2D_ALGORITHMS_H

#include "../include/fastconv.h"

/* What the choice of an algorithm may depend on: of `g` everything but the number of images. */
typedef struct fc_problem {
    const fc_conv2d *g;
    fc_operation operation;
    fc_dtype dtype; /* of the arithmetic */
    fc_precision precision;
} fc_problem;

struct fc_panels;

typedef struct fc_conv2d_algorithm {
    const char *name;
    fc_algorithm family;                                /* the option that asks for it */
    const char *(*refusal)(const fc_problem *problem);  /* why it cannot do the problem; NULL: it can */
    int (*preferred)(const fc_problem *problem);        /* of what it can do, what it does best */
    fc_status (*forward)(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                         const fc_array *y, fc_activation activation);
    /* with a bias or an activation: the transposed convolution */
    fc_status (*backward_input)(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                const fc_array *bias, const fc_array *grad_x, fc_activation activation);
    fc_status (*backward_weight)(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                 const fc_array *grad_weight);
    const char *purpose; /* `preferred` in words */
    const struct fc_panels *panels; /* that weights can be packed in before a call (direct.h); NULL: it reads arrays */
} fc_conv2d_algorithm;

extern const fc_conv2d_algorithm fc_winograd_algorithm;
extern const fc_conv2d_algorithm fc_depthwise_algorithm; /* direct where channels do not mix */
extern const fc_conv2d_algorithm fc_bf16x3_algorithm; /* direct, each number in this many parts of bfloat16 */
extern const fc_conv2d_algorithm fc_bf16x2_algorithm;
extern const fc_conv2d_algorithm fc_bf16x1_algorithm;
extern const fc_conv2d_algorithm fc_few_filters_algorithm; /* direct where filters would not fill a vector */
extern const fc_conv2d_algorithm fc_direct_algorithm;
extern const fc_conv2d_algorithm fc_reference_algorithm; /* loops in double precision: slow, the judge of the others */

/* The first algorithm of a list, of the family that is asked for, that can do a problem and, for FC_AUTO, that prefers
 * it; NULL: none, and *reason says why. */
const fc_conv2d_algorithm *fc_choose(const fc_conv2d_algorithm *const *list, int count, const fc_problem *problem,
                                     fc_algorithm asked, const char **reason);

/* options may be NULL. */
const fc_conv2d_algorithm *fc_conv2d_choose(const fc_problem *problem, const fc_options *options, const char **reason);
fc_problem fc_problem_of(const fc_conv2d *g, fc_operation operation, fc_dtype dtype, const fc_options *options);

/* A call: the algorithm that does it, and the caller's float state. One subnormal operand costs a multiply-add of the
 * tile kernel some 150 cycles; below "strict" they count as zero. */
typedef struct fc_call {
    const fc_conv2d_algorithm *algorithm;
    uint64_t state;
} fc_call;

fc_call fc_enter(const fc_conv2d_algorithm *algorithm, const fc_problem *problem);
fc_status fc_leave(fc_call call, fc_status status);

/* An array whose images are slices of no volume, whatever the caller wrote there. */
static inline fc_array fc_images_of(const fc_array *array) {
    fc_array images = *array;
    images.depth = NULL;
    return images;
}

/* fc_conv2d_backward_bias, also of slices of volumes. */
fc_status fc_backward_bias(const fc_conv2d *g, const fc_array *grad_y, const fc_array *grad_bias);

/* From what callers mean by weight->packed to what algorithms mean by it, the panels themselves, or NULL where those
 * were made for another algorithm: see conv2d_pack.c. FC_BAD_PACKED: they were made for another problem. */
fc_status fc_open_packed(const fc_problem *problem, const fc_conv2d_algorithm *algorithm, const fc_array *weight,
                         fc_array *opened);

#endif
