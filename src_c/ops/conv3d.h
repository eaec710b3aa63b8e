/* SPDX-License-Identifier: BSD-3-Clause
 * The definitions of the convolution of volumes and its gradients, as loops: the judge of conv3d.c. */
#ifndef FC_CONV3D_H
#define FC_CONV3D_H

#include "../include/fastconv.h"

fc_status fc_conv3d_reference_forward(const fc_conv3d *g, const fc_array3d *x, const fc_array3d *weight,
                                      const fc_array *bias, const fc_array3d *y, fc_activation activation);
fc_status fc_conv3d_reference_backward_input(const fc_conv3d *g, const fc_array3d *grad_y, const fc_array3d *weight,
                                             const fc_array *bias, const fc_array3d *grad_x, fc_activation activation);
fc_status fc_conv3d_reference_backward_weight(const fc_conv3d *g, const fc_array3d *grad_y, const fc_array3d *x,
                                              const fc_array3d *grad_weight);

#endif
