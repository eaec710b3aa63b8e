/* SPDX-License-Identifier: BSD-3-Clause
 * Check the sizes of a problem and work out paddings and output size. All arithmetic is checked for overflow. */
#include "../base/compiler.h"
#include "../include/fastconv.h"

/* One axis of a convolution or pooling. */
typedef struct axis {
    int64_t in, kernel, stride, dilation;
    int64_t *before, *after; /* padding */
    int64_t *out;
} axis;

/* dilation * (kernel - 1) + 1, the pixels between the first and the last that a kernel touches. */
static int span_of(const axis *a, int64_t *span) {
    return __builtin_mul_overflow(a->dilation, a->kernel - 1, span) || __builtin_add_overflow(*span, 1, span);
}

/* TensorFlow's rule: out = ceil(in / stride); the odd pixel of padding goes to the end, or to the start for "lower". */
static fc_status pad_same(axis *a, int64_t span, fc_padding mode) {
    const int64_t out = (a->in - 1) / a->stride + 1;
    int64_t total; /* (out - 1) * stride < in, so only the second sum can overflow */
    if (__builtin_add_overflow((out - 1) * a->stride - a->in, span, &total)) return FC_TOO_LARGE;
    if (total < 0) total = 0;
    const int64_t half = total / 2;
    *a->before = mode == FC_PAD_SAME ? half : total - half;
    *a->after = total - *a->before;
    return FC_OK;
}

static fc_status resolve_axis(axis *a, fc_padding mode, int ceil_mode) {
    if (a->in < 1 || a->kernel < 1) return FC_BAD_SIZE;
    if (a->stride < 1) return FC_BAD_STRIDE;
    if (a->dilation < 1) return FC_BAD_DILATION;
    int64_t span, padded;
    if (span_of(a, &span)) return FC_TOO_LARGE;
    if (mode == FC_PAD_VALID) *a->before = *a->after = 0;
    if (mode == FC_PAD_SAME || mode == FC_PAD_SAME_LOWER) {
        const fc_status status = pad_same(a, span, mode);
        if (status != FC_OK) return status;
    }
    if (*a->before < 0 || *a->after < 0) return FC_BAD_PADDING;
    if (__builtin_add_overflow(a->in, *a->before, &padded) || __builtin_add_overflow(padded, *a->after, &padded))
        return FC_TOO_LARGE;
    const int64_t room = padded - span; /* that the window can move; negative: it hangs over */
    if (room < 0 && (!ceil_mode || room <= -a->stride)) return FC_EMPTY_OUTPUT;
    int64_t steps = room < 0 ? 0 : room / a->stride;
    if (ceil_mode && room > 0 && room % a->stride != 0) steps++;
    if (ceil_mode && steps > (a->in + *a->before - 1) / a->stride) steps--; /* it would start in the far padding */
    *a->out = steps + 1;
    return FC_OK;
}

/* One axis of a transposed convolution, the other way: *in from *out, for TensorFlow's rule *out times the stride. */
static fc_status resolve_transposed_axis(const axis *a, int64_t *in, fc_padding mode, int64_t output_padding) {
    const int same = mode == FC_PAD_SAME || mode == FC_PAD_SAME_LOWER;
    if (*a->out < 1 || a->kernel < 1) return FC_BAD_SIZE;
    if (a->stride < 1) return FC_BAD_STRIDE;
    if (a->dilation < 1) return FC_BAD_DILATION;
    const int long_padding = output_padding >= a->stride && output_padding >= a->dilation;
    if (output_padding < 0 || long_padding) return FC_BAD_OUTPUT_PADDING;
    if (same && output_padding > 0) return FC_BAD_OUTPUT_PADDING;
    int64_t span;
    if (span_of(a, &span)) return FC_TOO_LARGE;
    if (mode == FC_PAD_VALID) *a->before = *a->after = 0;
    if (same) {
        if (span < a->stride) return FC_SHORT_KERNEL;
        const int64_t half = (span - a->stride) / 2;
        *a->before = mode == FC_PAD_SAME ? half : span - a->stride - half;
        *a->after = span - a->stride - *a->before;
    }
    if (*a->before < 0 || *a->after < 0) return FC_BAD_PADDING;
    if (__builtin_mul_overflow(*a->out - 1, a->stride, in) || __builtin_add_overflow(*in, span, in) ||
        __builtin_add_overflow(*in, output_padding, in) || __builtin_sub_overflow(*in, *a->before, in) ||
        __builtin_sub_overflow(*in, *a->after, in))
        return FC_TOO_LARGE;
    return *in < 1 ? FC_EMPTY_OUTPUT : FC_OK;
}

/* Whether a times b times c times d numbers of 8 bytes can be addressed. */
static int addressable(int64_t a, int64_t b, int64_t c, int64_t d) {
    int64_t bytes = 8;
    /* a zero factor must not hide that the others overflow: strides are computed from them */
    const int64_t sizes[4] = {a, b, c, d};
    for (int i = 0; i < 4; i++)
        if (__builtin_mul_overflow(bytes, FC_MAX(sizes[i], 1), &bytes)) return 0;
    return 1;
}

fc_status fc_conv2d_resolve(fc_conv2d *g, fc_padding mode) {
    if (g->n < 0 || g->c < 1 || g->k < 1 || g->h < 1 || g->w < 1 || g->r < 1 || g->s < 1) return FC_BAD_SIZE;
    if (g->groups < 1 || g->c % g->groups != 0 || g->k % g->groups != 0) return FC_BAD_GROUPS;
    axis rows = {g->h, g->r, g->stride_h, g->dilation_h, &g->pad_top, &g->pad_bottom, &g->p};
    axis columns = {g->w, g->s, g->stride_w, g->dilation_w, &g->pad_left, &g->pad_right, &g->q};
    fc_status status = resolve_axis(&rows, mode, 0);
    if (status == FC_OK) status = resolve_axis(&columns, mode, 0);
    if (status != FC_OK) return status;
    if (!addressable(g->n, g->h, g->w, g->c) || !addressable(g->n, g->p, g->q, g->k) ||
        !addressable(g->r, g->s, g->c, g->k))
        return FC_TOO_LARGE;
    return FC_OK;
}

/* Whether no image of 2-D algorithms is made of more numbers than can be addressed: slices times channels of all
 * taps. */
static int volumes_addressable(const fc_conv3d *g) {
    int64_t channels, filters, images;
    return !__builtin_mul_overflow(g->c, g->t, &channels) && !__builtin_mul_overflow(g->k, g->t, &filters) &&
           !__builtin_mul_overflow(FC_MAX(g->n, 1), FC_MAX(g->d, g->o), &images) &&
           addressable(images, g->h, g->w, channels) && addressable(images, g->p, g->q, filters) &&
           addressable(g->r, g->s, channels, g->k);
}

fc_status fc_conv3d_resolve(fc_conv3d *g, fc_padding mode) {
    if (g->n < 0 || g->c < 1 || g->k < 1 || g->d < 1 || g->h < 1 || g->w < 1 || g->t < 1 || g->r < 1 || g->s < 1)
        return FC_BAD_SIZE;
    if (g->groups < 1 || g->c % g->groups != 0 || g->k % g->groups != 0) return FC_BAD_GROUPS;
    axis axes[3] = {{g->d, g->t, g->stride_d, g->dilation_d, &g->pad_front, &g->pad_back, &g->o},
                    {g->h, g->r, g->stride_h, g->dilation_h, &g->pad_top, &g->pad_bottom, &g->p},
                    {g->w, g->s, g->stride_w, g->dilation_w, &g->pad_left, &g->pad_right, &g->q}};
    for (int i = 0; i < 3; i++) {
        const fc_status status = resolve_axis(&axes[i], mode, 0);
        if (status != FC_OK) return status;
    }
    return volumes_addressable(g) ? FC_OK : FC_TOO_LARGE;
}

fc_status fc_conv_transpose3d_resolve(fc_conv3d *g, fc_padding mode, const int64_t output_padding[3]) {
    if (g->n < 0 || g->c < 1 || g->k < 1 || g->o < 1 || g->p < 1 || g->q < 1 || g->t < 1 || g->r < 1 || g->s < 1)
        return FC_BAD_SIZE;
    if (g->groups < 1 || g->c % g->groups != 0 || g->k % g->groups != 0) return FC_BAD_GROUPS;
    const axis axes[3] = {{0, g->t, g->stride_d, g->dilation_d, &g->pad_front, &g->pad_back, &g->o},
                          {0, g->r, g->stride_h, g->dilation_h, &g->pad_top, &g->pad_bottom, &g->p},
                          {0, g->s, g->stride_w, g->dilation_w, &g->pad_left, &g->pad_right, &g->q}};
    int64_t *const sizes[3] = {&g->d, &g->h, &g->w};
    for (int i = 0; i < 3; i++) {
        const fc_status status = resolve_transposed_axis(&axes[i], sizes[i], mode, output_padding[i]);
        if (status != FC_OK) return status;
    }
    return volumes_addressable(g) ? FC_OK : FC_TOO_LARGE;
}

fc_status fc_conv_transpose2d_resolve(fc_conv2d *g, fc_padding mode, int64_t output_padding_h,
                                      int64_t output_padding_w) {
    if (g->n < 0 || g->c < 1 || g->k < 1 || g->p < 1 || g->q < 1 || g->r < 1 || g->s < 1) return FC_BAD_SIZE;
    if (g->groups < 1 || g->c % g->groups != 0 || g->k % g->groups != 0) return FC_BAD_GROUPS;
    const axis rows = {0, g->r, g->stride_h, g->dilation_h, &g->pad_top, &g->pad_bottom, &g->p};
    const axis columns = {0, g->s, g->stride_w, g->dilation_w, &g->pad_left, &g->pad_right, &g->q};
    fc_status status = resolve_transposed_axis(&rows, &g->h, mode, output_padding_h);
    if (status == FC_OK) status = resolve_transposed_axis(&columns, &g->w, mode, output_padding_w);
    if (status != FC_OK) return status;
    if (!addressable(g->n, g->h, g->w, g->c) || !addressable(g->n, g->p, g->q, g->k) ||
        !addressable(g->r, g->s, g->c, g->k))
        return FC_TOO_LARGE;
    return FC_OK;
}

enum { MOST_DILATED_WINDOWS = 1 << 16 }; /* so that a crafted dilation cannot cost more than a millisecond */

/* Whether every window along one axis covers a pixel of the image. Windows that start inside it do, by their first
 * tap. Those that start before it have their first tap at or behind the edge at (start mod dilation). */
static fc_status windows_touch(const axis *a) {
    const int64_t before = *a->before;
    if ((*a->out - 1) * a->stride - before >= a->in) return FC_EMPTY_WINDOW;
    if (before == 0) return FC_OK;
    if ((a->kernel - 1) * a->dilation < before) return FC_EMPTY_WINDOW; /* the first window ends too early */
    if (a->dilation <= a->in) return FC_OK;
    const int64_t windows = FC_MIN(*a->out, (before - 1) / a->stride + 1);
    if (windows > MOST_DILATED_WINDOWS) return FC_TOO_LARGE;
    for (int64_t o = 0; o < windows; o++) {
        const int64_t start = o * a->stride - before;
        const int64_t tap = (-start + a->dilation - 1) / a->dilation;
        if (tap >= a->kernel || start + tap * a->dilation >= a->in) return FC_EMPTY_WINDOW;
    }
    return FC_OK;
}

/* One axis of adaptive pooling; the kernel and the stride are the largest that occur. Whether all windows are equal. */
static int share_evenly(int64_t in, int64_t out, int64_t *kernel, int64_t *stride) {
    const int even = in % out == 0;
    *stride = (in - 1) / out + 1;
    *kernel = even ? *stride : FC_MIN(in, *stride + 1);
    return even;
}

fc_status fc_pool2d_resolve_adaptive(fc_pool2d *g) {
    int64_t unused;
    if (g->n < 0 || g->c < 1 || g->h < 1 || g->w < 1 || g->p < 1 || g->q < 1) return FC_BAD_SIZE;
    if (!addressable(g->n, g->h, g->w, g->c) || !addressable(g->n, g->p, g->q, g->c) ||
        __builtin_mul_overflow(g->h + 1, g->p + 1, &unused) || __builtin_mul_overflow(g->w + 1, g->q + 1, &unused))
        return FC_TOO_LARGE;
    const fc_pool2d sizes = {.n = g->n, .h = g->h, .w = g->w, .c = g->c, .p = g->p, .q = g->q, .dilation_h = 1,
                             .dilation_w = 1};
    *g = sizes;
    const int rows = share_evenly(g->h, g->p, &g->r, &g->stride_h);
    const int columns = share_evenly(g->w, g->q, &g->s, &g->stride_w);
    g->adaptive = !rows || !columns;
    return FC_OK;
}

fc_status fc_pool2d_resolve(fc_pool2d *g, fc_padding mode) {
    g->adaptive = 0;
    if (g->n < 0 || g->c < 1 || g->h < 1 || g->w < 1 || g->r < 1 || g->s < 1) return FC_BAD_SIZE;
    axis rows = {g->h, g->r, g->stride_h, g->dilation_h, &g->pad_top, &g->pad_bottom, &g->p};
    axis columns = {g->w, g->s, g->stride_w, g->dilation_w, &g->pad_left, &g->pad_right, &g->q};
    fc_status status = resolve_axis(&rows, mode, g->ceil_mode);
    if (status == FC_OK) status = resolve_axis(&columns, mode, g->ceil_mode);
    if (status != FC_OK) return status;
    if (!addressable(g->n, g->h, g->w, g->c) || !addressable(g->n, g->p, g->q, g->c) || !addressable(g->r, g->s, 1, 1))
        return FC_TOO_LARGE;
    status = windows_touch(&rows);
    return status == FC_OK ? windows_touch(&columns) : status;
}

fc_status fc_pool3d_resolve(fc_pool3d *g, fc_padding mode) {
    if (g->n < 0 || g->c < 1 || g->d < 1 || g->h < 1 || g->w < 1 || g->t < 1 || g->r < 1 || g->s < 1)
        return FC_BAD_SIZE;
    axis axes[3] = {{g->d, g->t, g->stride_d, g->dilation_d, &g->pad_front, &g->pad_back, &g->o},
                    {g->h, g->r, g->stride_h, g->dilation_h, &g->pad_top, &g->pad_bottom, &g->p},
                    {g->w, g->s, g->stride_w, g->dilation_w, &g->pad_left, &g->pad_right, &g->q}};
    int64_t images, outputs;
    for (int i = 0; i < 3; i++) {
        const fc_status status = resolve_axis(&axes[i], mode, g->ceil_mode);
        if (status != FC_OK) return status;
    }
    if (__builtin_mul_overflow(FC_MAX(g->n, 1), g->d, &images) ||
        __builtin_mul_overflow(FC_MAX(g->n, 1), g->o, &outputs) || !addressable(images, g->h, g->w, g->c) ||
        !addressable(outputs, g->p, g->q, g->c) || !addressable(g->t, g->r, g->s, 1))
        return FC_TOO_LARGE;
    for (int i = 0; i < 3; i++) {
        const fc_status status = windows_touch(&axes[i]);
        if (status != FC_OK) return status;
    }
    return FC_OK;
}
