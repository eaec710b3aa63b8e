/* SPDX-License-Identifier: BSD-3-Clause
 * The algorithms behind the entry points of conv2d.c. Sizes have been resolved, element types checked. */
#ifndef FC_CONV2D_ALGORITHMS_H
#define FC_CONV2D_ALGORITHMS_H

#include "../include/fastconv.h"

fc_status fc_direct_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                            const fc_array *y, fc_activation activation);
fc_status fc_direct_backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                   const fc_array *grad_x);
fc_status fc_direct_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                    const fc_array *grad_weight);

/* The definitions as loops, in double precision: slow, readable, the judge of the others. */
fc_status fc_reference_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                               const fc_array *y, fc_activation activation);
fc_status fc_reference_backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                      const fc_array *grad_x);
fc_status fc_reference_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                       const fc_array *grad_weight);

#endif
