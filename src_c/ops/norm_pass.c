/* SPDX-License-Identifier: BSD-3-Clause */
#include "norm_pass.h"

#include "../base/compiler.h"
#include "blocking.h"
#include "stream.h"

enum {
    TILE = 1 << 14,    /* numbers of a tile */
    LONG_ROW = 1 << 10 /* bytes. Going past the caches, shorter ones that begin between cache lines lost x1.1 (40
                        * channels) to x1.3 (49 numbers): two of their few lines do not go. Longer ones gained */
};

static int begins_at_lines(const fc_norm_target *t, int64_t size) {
    const int64_t row = t->walk.pixel == 1 ? t->walk.column : t->walk.pixel;
    return (uintptr_t)t->to % FC_CACHE_LINE == 0 && row * size % FC_CACHE_LINE == 0 &&
           t->walk.image * size % FC_CACHE_LINE == 0;
}

/* Numbers of the result that are written one after the other. */
static int64_t row_of(const fc_moments *m, const fc_norm_target *t) {
    if (t->walk.pixel != 1) return m->c;
    return t->walk.column == m->pixels ? m->pixels * m->c : m->pixels;
}

static int streams(const fc_moments *m, const fc_norm_target *t) {
    const int64_t size = m->kernels->element_size;
    const double bytes = (double)m->n * (double)m->pixels * (double)m->c * (double)size;
    return t->to != m->x && t->to != m->grad_y && (row_of(m, t) * size >= LONG_ROW || begins_at_lines(t, size)) &&
           fc_streams(bytes, m->grad_y == NULL ? bytes : 2 * bytes, fc_threads_for(INT64_MAX, fc_norm_work(m)));
}

fc_status fc_norm_set_up(fc_moments *m, fc_norm_target *t, const int64_t sizes[3], int merge, const fc_array *x,
                         const fc_array *grad_y, const fc_array *to) {
    const int64_t n = sizes[0], pixels = sizes[1], c = sizes[2];
    if (n < 0 || pixels < 1 || c < 1) return FC_BAD_SIZE;
    if (!fc_is_compute_type(x->dtype) || (to != NULL && to->dtype != x->dtype) ||
        (grad_y != NULL && grad_y->dtype != x->dtype))
        return FC_BAD_DTYPE;
    merge = merge && pixels == 1;
    *m = (fc_moments){.kernels = fc_kernels_for(x->dtype), .n = n, .pixels = pixels, .c = c, .x = x->data};
    const fc_array *arrays[3] = {x, grad_y, to};
    fc_norm_walk *walks[3] = {&m->x_walk, &m->grad_y_walk, &t->walk};
    for (int i = 0; i < 3; i++) {
        if (arrays[i] == NULL) continue;
        fc_array a = *arrays[i];
        if (merge) a.stride[2] = a.stride[0];
        *walks[i] = fc_norm_walk_of(&a, merge ? n : pixels, c);
        if (n > 0 && !fc_norm_walks_agree(&m->x_walk, walks[i])) return FC_BAD_ORDER;
    }
    if (merge) m->n = FC_MIN(1, n), m->pixels = FC_MAX(1, n);
    if (grad_y != NULL) m->grad_y = grad_y->data;
    t->to = to == NULL ? NULL : to->data;
    t->streams = streams(m, t);
    fc_moments_cut(m);
    return FC_OK;
}

fc_norm_tiles fc_norm_cut(const fc_moments *m) {
    const int along = m->x_walk.pixel == 1;
    fc_norm_tiles tiles = {.channels = along ? FC_MAX(1, FC_MIN(m->c, TILE / m->pixels)) : m->c,
                           .pixels = along ? FC_MIN(m->pixels, TILE) : FC_MAX(1, FC_MIN(m->pixels, TILE / m->c))};
    tiles.channel_tiles = fc_ceil_div(m->c, tiles.channels);
    tiles.pixel_tiles = fc_ceil_div(m->pixels, tiles.pixels);
    tiles.per_image = tiles.channel_tiles * tiles.pixel_tiles;
    return tiles;
}

static void run(const fc_moments *m, const fc_norm_target *t, const fc_norm_factors *f, fc_norm_block block, int64_t n,
                int64_t pixel, int64_t c) {
    const int64_t size = m->kernels->element_size, at = c * size;
    block.x = m->x_walk, block.grad_y = m->grad_y_walk, block.to = t->walk, block.activation = m->activation;
    block.streams = t->streams;
    const char *x = m->x + (n * m->x_walk.image + pixel * m->x_walk.pixel + c * m->x_walk.column) * size;
    char *to = t->to + (n * t->walk.image + pixel * t->walk.pixel + c * t->walk.column) * size;
    fc_norm_factors here = {.mean = (const char *)f->mean + at, .scale = (const char *)f->scale + at,
                            .offset = (const char *)f->offset + at};
    if (m->grad_y == NULL) {
        m->kernels->norm_apply(&block, x, &here, to);
        return;
    }
    here.slope = (const char *)f->slope + at, here.constant = (const char *)f->constant + at;
    const fc_norm_walk *w = &m->grad_y_walk;
    m->kernels->norm_gradient(&block, x, m->grad_y + (n * w->image + pixel * w->pixel + c * w->column) * size, &here,
                              to);
}

void fc_norm_tile(const fc_moments *m, const fc_norm_target *t, const fc_norm_factors *f, const fc_norm_tiles *tiles,
                  int64_t n, int64_t index) {
    const int64_t pixel = index % tiles->pixel_tiles * tiles->pixels, c = index / tiles->pixel_tiles * tiles->channels;
    const fc_norm_block block = {.images = 1, .pixels = FC_MIN(tiles->pixels, m->pixels - pixel),
                                 .columns = FC_MIN(tiles->channels, m->c - c)};
    run(m, t, f, block, n, pixel, c);
}

void fc_norm_images(const fc_moments *m, const fc_norm_target *t, const fc_norm_factors *f, int64_t n, int64_t images,
                    int64_t c, int64_t channels) {
    fc_norm_block block = {.images = images, .pixels = m->pixels, .columns = channels};
    /* the next channels of the same image: NCHW, 14x14 and 56x56 maps, gradients x1.1 to x1.2 as fast */
    if (m->x_walk.pixel == 1) block.ahead = channels * m->x_walk.column;
    run(m, t, f, block, n, 0, c);
}
