/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Maxima of volumes, forward and backward: those of images with some slices to each window; see pool.h. */
#include "pool.h"

static fc_pool2d slice_of(const fc_pool3d *g) {
    return (fc_pool2d){.n = g->n, .h = g->h, .w = g->w, .c = g->c, .r = g->r, .s = g->s, .stride_h = g->stride_h,
                       .stride_w = g->stride_w, .dilation_h = g->dilation_h, .dilation_w = g->dilation_w,
                       .pad_top = g->pad_top, .pad_bottom = g->pad_bottom, .pad_left = g->pad_left,
                       .pad_right = g->pad_right, .p = g->p, .q = g->q};
}

static fc_pool_depth depth_of(const fc_pool3d *g, const fc_array3d *x, const fc_array3d *y,
                              const int64_t indices_stride[5]) {
    return (fc_pool_depth){.d = g->d, .o = g->o, .t = g->t, .stride = g->stride_d, .dilation = g->dilation_d,
                           .before = g->pad_front, .x = x->stride[1], .y = y->stride[1],
                           .indices = indices_stride == NULL ? 0 : indices_stride[1]};
}

/* The strides of a slice: image, line, column, channel. */
static void slice_strides(const int64_t stride[5], int64_t slice[4]) {
    slice[0] = stride[0];
    for (int axis = 1; axis < 4; axis++) slice[axis] = stride[axis + 1];
}

static fc_array slices(const fc_array3d *volumes) {
    fc_array view = {.data = volumes->data, .dtype = volumes->dtype};
    slice_strides(volumes->stride, view.stride);
    return view;
}

fc_status fc_max_pool3d(const fc_pool3d *g, const fc_array3d *x, const fc_array3d *y, int64_t *indices,
                        const int64_t indices_stride[5]) {
    const fc_pool2d slice = slice_of(g);
    const fc_pool_depth depth = depth_of(g, x, y, indices_stride);
    const fc_array from = slices(x), to = slices(y);
    int64_t stride[4] = {0};
    if (indices != NULL) slice_strides(indices_stride, stride);
    return fc_max_pool(&slice, &depth, &from, &to, indices, stride);
}

fc_status fc_max_pool3d_backward(const fc_pool3d *g, const fc_array3d *grad_y, const int64_t *indices,
                                 const int64_t indices_stride[5], const fc_array3d *grad_x) {
    const fc_pool2d slice = slice_of(g);
    const fc_pool_depth depth = depth_of(g, grad_x, grad_y, indices_stride);
    const fc_array from = slices(grad_y), to = slices(grad_x);
    int64_t stride[4];
    slice_strides(indices_stride, stride);
    return fc_max_pool_backward(&slice, &depth, &from, indices, stride, &to);
}
