/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradient of the input is itself a convolution: of grad_y with the flipped filters, channels and filters
 * exchanged. With a stride, pixel h of the input receives from the outputs p with  p*stride = h + top - r*dilation.
 * Which taps r divide evenly depends on h mod stride alone, so each of the stride_h x stride_w phases of the input is
 * a convolution of stride 1 with every (stride/gcd)-th tap: no multiplication with inserted zeros is ever done.
 *
 * The transposed convolution is the same sum, to which a bias and an activation are added while it is in registers. */
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/element.h"
#include "../base/threads.h"
#include "activation.h"
#include "direct.h"
#include "explain.h"
#include "phase.h"

static int64_t gcd(int64_t a, int64_t b) {
    while (b != 0) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

fc_phase fc_phase_at(int64_t first, int64_t in, int64_t kernel, int64_t stride, int64_t dilation, int64_t before) {
    fc_phase f = {.first = first, .count = first < in ? (in - first - 1) / stride + 1 : 0};
    const int64_t common = gcd(stride, dilation);
    f.tap_step = stride / common;
    f.dilation = dilation / common;
    const int64_t taps = kernel < f.tap_step ? kernel : f.tap_step;
    for (f.tap = 0; f.tap < taps; f.tap++)
        if ((first + before - f.tap * dilation) % stride == 0) break;
    if (f.tap == taps) return f; /* no tap reaches these pixels: their sum is 0 */
    f.taps = (kernel - f.tap - 1) / f.tap_step + 1;
    f.before = (f.taps - 1) * f.dilation - (first + before - f.tap * dilation) / stride;
    return f;
}

/* A row of pixels that no tap reaches: their sums are empty. */
static void fill_row(void *context, int64_t row, int worker) {
    (void)worker;
    const fc_direct *d = context;
    const int64_t *stride = d->y.stride, channels = d->groups * d->k, size = (int64_t)fc_dtype_size(d->y.dtype);
    const int zeros = d->bias == NULL && d->activation != FC_SIGMOID;
    int64_t at = fc_image_at(&d->y, row / d->window.p) + row % d->window.p * stride[1];
    for (int64_t q = 0; q < d->window.q; q++, at += stride[2]) {
        if (zeros && stride[3] == 1) {
            memset((char *)d->y.data + at * size, 0, (size_t)(channels * size));
            continue;
        }
        for (int64_t c = 0; c < channels; c++) {
            const double bias = d->bias == NULL ? 0 : fc_get(d->bias, c * d->bias->stride[3]);
            fc_put(&d->y, at + c * stride[3], fc_activate_one(d->activation, bias));
        }
    }
}

/* Where grad_y has one row, each row of the input receives from one tap alone, so that all are phases of their own, as
 * if the stride were longer than the kernel: as one phase they would meet zeros with all taps but one. */
enum { MOST_LONE_TAPS = 16 };

static int is_lone(int64_t outputs, int64_t kernel, int64_t dilation) {
    return outputs == 1 && kernel > 1 && kernel <= MOST_LONE_TAPS && dilation == 1;
}

typedef struct strides {
    int64_t h, w;
} strides;

static strides strides_of_phases(const fc_conv2d *g) {
    return (strides){is_lone(g->p, g->r, g->dilation_h) ? g->h + g->pad_top + g->r : g->stride_h,
                     is_lone(g->q, g->s, g->dilation_w) ? g->w + g->pad_left + g->s : g->stride_w};
}

int fc_has_lone_taps(const fc_conv2d *g) {
    return is_lone(g->p, g->r, g->dilation_h) || is_lone(g->q, g->s, g->dilation_w);
}

int64_t fc_phase_count(const fc_conv2d *g) {
    const strides stride = strides_of_phases(g);
    return FC_MIN(stride.h, g->h) * FC_MIN(stride.w, g->w);
}

static fc_direct phase_problem(const fc_conv2d *g, strides stride, int64_t index, const fc_array *grad_y,
                               const fc_array *weight, const fc_array *bias, const fc_array *grad_x,
                               fc_activation activation) {
    const int64_t columns = FC_MIN(stride.w, g->w);
    const fc_phase h = fc_phase_at(index / columns, g->h, g->r, stride.h, g->dilation_h, g->pad_top);
    const fc_phase w = fc_phase_at(index % columns, g->w, g->s, stride.w, g->dilation_w, g->pad_left);
    const int64_t *in = weight->stride, *out = grad_x->stride;
    const int64_t c = g->c / g->groups, k = g->k / g->groups;
    fc_direct d = {.n = g->n, .c = k, .k = c, .groups = g->groups, .x = *grad_y, .weight = *weight, .y = *grad_x,
                   .bias = bias, .activation = activation};
    d.window = (fc_window){.h = g->p, .w = g->q, .p = h.count, .q = w.count, .r = h.taps, .s = w.taps,
                           .stride_h = 1, .stride_w = 1, .dilation_h = h.dilation, .dilation_w = w.dilation,
                           .top = h.before, .left = w.before};
    const int64_t last_r = h.tap + (h.taps - 1) * h.tap_step, last_s = w.tap + (w.taps - 1) * w.tap_step;
    d.weight.data = (char *)weight->data + (last_r * in[0] + last_s * in[1]) * (int64_t)fc_dtype_size(weight->dtype);
    const int64_t backwards[4] = {-h.tap_step * in[0], -w.tap_step * in[1], in[3], in[2]};
    memcpy(d.weight.stride, backwards, sizeof backwards);
    d.y.data = (char *)grad_x->data + (h.first * out[1] + w.first * out[2]) * (int64_t)fc_dtype_size(grad_x->dtype);
    memcpy(d.y.stride, (int64_t[4]){out[0], stride.h * out[1], stride.w * out[2], out[3]}, sizeof d.y.stride);
    d.x_group = fc_channels_in_memory(grad_y, k) * grad_y->stride[3];
    d.weight_group = k * in[3];
    d.y_group = c * out[3];
    return d;
}

fc_direct fc_backward_input_view(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                 const fc_array *bias, const fc_array *grad_x, fc_activation activation) {
    return phase_problem(g, (strides){1, 1}, 0, grad_y, weight, bias, grad_x, activation);
}

fc_status fc_fill_results(const fc_direct *d) {
    const int64_t rows = d->n * d->window.p;
    const double numbers = (double)rows * (double)d->window.q * (double)(d->groups * d->k);
    return fc_parallel_for(rows, fc_threads_for(rows, FC_NUMBER_WORK * numbers), fill_row, (void *)(uintptr_t)d);
}

fc_direct fc_phase_view(const fc_conv2d *g, int64_t index, const fc_array *grad_y, const fc_array *weight,
                        const fc_array *bias, const fc_array *grad_x, fc_activation activation) {
    return phase_problem(g, strides_of_phases(g), index, grad_y, weight, bias, grad_x, activation);
}

fc_status fc_backward_input_by(fc_directs_fn run, const fc_panels *panels, const fc_conv2d *g, const fc_array *grad_y,
                               const fc_array *weight, const fc_array *bias, const fc_array *grad_x,
                               fc_activation activation) {
    fc_status status = FC_OK;
    fc_direct phases[FC_TOGETHER];
    int count = 0;
    const char *packed = panels == NULL ? NULL : weight->packed;
    for (int64_t i = 0; i < fc_phase_count(g) && status == FC_OK; i++) {
        fc_direct *d = &phases[count];
        *d = fc_phase_view(g, i, grad_y, weight, bias, grad_x, activation);
        if (d->window.r > 0 && d->window.s > 0) {
            d->weight.packed = packed;
            if (packed != NULL) packed += panels->bytes(d);
            count++;
        } else if (g->n > 0 && fc_explaining() == NULL) {
            status = fc_fill_results(d);
        }
        if (count < FC_TOGETHER || status != FC_OK) continue;
        status = run(phases, count);
        count = 0;
    }
    return count > 0 && status == FC_OK ? run(phases, count) : status;
}

fc_status fc_direct_backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                   const fc_array *bias, const fc_array *grad_x, fc_activation activation) {
    return fc_backward_input_by(fc_direct_run_all, &fc_direct_panels, g, grad_y, weight, bias, grad_x, activation);
}
