/* SPDX-License-Identifier: BSD-3-Clause
 * The direct algorithm: implicit GEMM on views. Forward convolution is one call; the gradient of the input is one
 * call for each phase of the stride, with images, filters and paddings looked at from the other side. */
#ifndef FC_DIRECT_H
#define FC_DIRECT_H

#include "pack.h"

/* y[n,p,q,k] = activation(bias[k] + sum over r, s, c of x[n, p*stride_h - top + r*dilation_h, .., c] * weight[r,s,c,k])
 * with pixels outside the image as zeros, for each of `groups` groups of c input channels and k filters. */
typedef struct fc_direct {
    fc_window window;
    int64_t n, c, k, groups; /* c and k of one group */
    fc_array x, weight, y;   /* axes (n,h,w,c), (r,s,c,k), (n,p,q,k); y decides the type of the arithmetic */
    int64_t x_group, weight_group, y_group; /* elements from group to group */
    const fc_array *bias;    /* (groups*k) by stride[3], or NULL */
    fc_activation activation;
} fc_direct;

fc_status fc_direct_run(const fc_direct *problem);

#endif
