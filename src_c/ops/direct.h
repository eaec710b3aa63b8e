/* SPDX-License-Identifier: BSD-3-Clause
 * The direct algorithm: implicit GEMM on views. Forward convolution is one call; the gradient of the input is one
 * call for each phase of the stride, with images, filters and paddings looked at from the other side.
 *
 * weight.packed, where it is not NULL, points at the panels of the weights, made before by those whose problem this is:
 * fc_panels. (Callers of the entry points let it point at a block that begins by telling what it was made for:
 * conv2d_pack.c.) */
#ifndef FC_DIRECT_H
#define FC_DIRECT_H

#include <stdatomic.h>

#include "pack.h"

/* y[n,p,q,k] = activation(bias[k] + sum over r, s, c of x[n, p*stride_h - top + r*dilation_h, .., c] * weight[r,s,c,k])
 * with pixels outside the image as zeros, for each of `groups` groups of c input channels and k filters. */
typedef struct fc_direct {
    fc_status (*exact)(const struct fc_direct *problem); /* what "direct" runs here; NULL: fc_direct_run */
    fc_window window;
    int64_t n, c, k, groups; /* c and k of one group */
    fc_array x, weight, y;   /* axes (n,h,w,c), (r,s,c,k), (n,p,q,k); y decides the type of the arithmetic */
    int64_t x_group, weight_group, y_group; /* elements from group to group */
    const fc_array *bias;    /* (groups*k) by stride[3], or NULL */
    fc_activation activation;
} fc_direct;

static inline double fc_multiply_adds(const fc_direct *d) {
    const fc_window *w = &d->window;
    return (double)(d->n * w->p) * (double)w->q * (double)(w->r * w->s) * (double)d->c * (double)d->k *
           (double)d->groups;
}

fc_status fc_direct_run(const fc_direct *problem);

/* Problems that write different pixels of one array, in one parallel loop: see together.h. */
enum { FC_TOGETHER = 16 }; /* at most */

typedef fc_status (*fc_directs_fn)(const fc_direct *problems, int count);

fc_status fc_direct_run_all(const fc_direct *problems, int count);

/* The images that another algorithm marked, whose results are not finite: here infinities and NaN go where they
 * belong. */
fc_status fc_direct_run_doubtful(const fc_direct *problem, const atomic_uchar *doubtful);

/* Products by parts (kernels/split/split.h): what fc_direct_run_all does, in bfloat16. */
fc_status fc_split_run_all(const fc_direct *problems, int count, int parts);
fc_status fc_split_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                   const fc_array *grad_weight, int parts);
size_t fc_split_panel_bytes(const fc_direct *problem, int parts); /* these three: see fc_panels */
fc_status fc_split_pack(const fc_direct *problem, int parts);
int64_t fc_split_form(const fc_direct *problem, int parts);

/* Multiply-adds that the vector units do in the time of so many by parts: 12 products of tiles take as long as one. */
static inline double fc_split_work(double multiply_adds, int parts) {
    return multiply_adds * fc_split_products(parts) / 12;
}

/* What an algorithm does first of all: bring the weights into panels. They depend on the filters' sizes, the type and
 * the instruction set; and on the image only as `form` says. */
typedef struct fc_panels {
    size_t (*bytes)(const fc_direct *problem); /* a multiple of a cache line */
    fc_directs_fn pack;                        /* at weight.packed, which it may write */
    int64_t (*form)(const fc_direct *problem); /* 0 to 15, another one where the panels are other ones */
} fc_panels;

extern const fc_panels fc_direct_panels;

/* The convolution that the forward function is, and the one that the gradient of the input is with stride 1. */
fc_direct fc_forward_view(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                          const fc_array *y, fc_activation activation);
fc_direct fc_backward_input_view(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                 const fc_array *bias, const fc_array *grad_x, fc_activation activation);

/* Results that no tap of the filters reaches: bias and activation alone. */
fc_status fc_fill_results(const fc_direct *problem);

/* The convolutions that the gradient of the input is, one for each phase of the stride that has pixels; with no rows or
 * columns of taps where no tap reaches them. */
int64_t fc_phase_count(const fc_conv2d *g);
fc_direct fc_phase_view(const fc_conv2d *g, int64_t index, const fc_array *grad_y, const fc_array *weight,
                        const fc_array *bias, const fc_array *grad_x, fc_activation activation);

/* The gradient of the input, by calls of `run` for up to FC_TOGETHER phases. panels: what `run` reads at weight.packed,
 * those of the phases follow one another; NULL: it reads arrays. */
fc_status fc_backward_input_by(fc_directs_fn run, const fc_panels *panels, const fc_conv2d *g, const fc_array *grad_y,
                               const fc_array *weight, const fc_array *bias, const fc_array *grad_x,
                               fc_activation activation);
/* Whether grad_y is so small that its phases are other ones than those of larger images: they are not packed. */
int fc_has_lone_taps(const fc_conv2d *g);

fc_status fc_direct_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                            const fc_array *y, fc_activation activation);
fc_status fc_direct_backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                   const fc_array *bias, const fc_array *grad_x, fc_activation activation);
fc_status fc_direct_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                    const fc_array *grad_weight);

#endif
