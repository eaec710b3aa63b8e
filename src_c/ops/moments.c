/* SPDX-License-Identifier: BSD-3-Clause */
#include "moments.h"

#include "../base/compiler.h"
#include "blocking.h"

/* CHUNK: pixels that the kernels sum in one go; a chain of a vector of 16 has 32 terms then. */
enum { CHUNK = 512, LANES = 16 /* of the longest vector: a chunk ends between two */, LEAST_CHANNELS = 256 };

fc_norm_walk fc_norm_walk_of(const fc_array *a, int64_t pixels, int64_t c) {
    fc_norm_walk walk = {.image = a->stride[0], .pixel = a->stride[2], .column = a->stride[3]};
    if (c == 1) walk.column = 1;
    if (pixels == 1) walk.pixel = walk.column == 1 ? 2 : 1;
    return walk;
}

int fc_norm_walks_agree(const fc_norm_walk *a, const fc_norm_walk *b) {
    return a->pixel == 1 ? b->pixel == 1 : a->column == 1 && b->column == 1;
}

typedef struct chunk {
    int64_t image, images, pixel, pixels;
} chunk;

static chunk chunk_at(const fc_moments *m, int64_t index) {
    if (m->images > 1) {
        const int64_t image = index * m->images;
        return (chunk){image, FC_MIN(m->images, m->n - image), 0, m->pixels};
    }
    const int64_t pixel = index % m->per_image * m->length;
    return (chunk){index / m->per_image, 1, pixel, FC_MIN(m->length, m->pixels - pixel)};
}

static int64_t first_chunk(const fc_moments *m, int64_t part) { return FC_MIN(m->chunks, part * m->chunks_per_part); }

void fc_moments_cut(fc_moments *m) {
    m->images = 1, m->length = m->pixels, m->per_image = 1;
    if (m->pixels > CHUNK) {
        const int64_t even = fc_ceil_div(m->pixels, fc_ceil_div(m->pixels, CHUNK));
        m->length = fc_ceil_div(even, LANES) * LANES;
        m->per_image = fc_ceil_div(m->pixels, m->length);
    } else {
        m->images = CHUNK / m->pixels;
    }
    m->chunks = m->images > 1 ? fc_ceil_div(m->n, m->images) : m->n * m->per_image;
    m->parts = FC_MAX(1, FC_MIN(FC_NORM_PARTS, m->chunks));
    m->chunks_per_part = fc_ceil_div(m->chunks, m->parts);
    for (int64_t part = 0; part < m->parts; part++) {
        m->count[part] = 0;
        for (int64_t index = first_chunk(m, part); index < first_chunk(m, part + 1); index++) {
            const chunk at = chunk_at(m, index);
            m->count[part] += (double)at.images * (double)at.pixels;
        }
    }
}

static double number(const void *numbers, size_t size, int64_t i) {
    return size == sizeof(float) ? (double)((const float *)numbers)[i] : ((const double *)numbers)[i];
}

static const char *place(const char *data, const fc_norm_walk *w, const chunk *at, int64_t c, int64_t size) {
    return data + (at->image * w->image + at->pixel * w->pixel + c * w->column) * size;
}

static fc_norm_factors factors_at(const fc_norm_factors *f, int64_t c, int64_t size) {
    return (fc_norm_factors){.mean = (const char *)f->mean + c * size,
                             .scale = (const char *)f->scale + c * size,
                             .offset = (const char *)f->offset + c * size};
}

double fc_moments_total(const fc_moments *m, const double *first, const double *second, int64_t distance, double *a,
                        double *b) {
    double count = m->count[0];
    *a = first[0], *b = second[0];
    for (int64_t part = 1; part < m->parts; part++) {
        const double more = m->count[part], one = first[part * distance], other = second[part * distance];
        if (m->grad_y != NULL) *a += one, *b += other;
        else if (more > 0) fc_moments_join(count, a, b, more, one, other);
        count += more;
    }
    if (m->grad_y == NULL && *b < 0) *b = 0;
    return count;
}

int64_t fc_moments_channels(const fc_moments *m, int threads) {
    int64_t channels = FC_NORM_CHANNELS;
    while (threads > 1 && channels > LEAST_CHANNELS &&
           m->parts * fc_ceil_div(m->c, channels) < FC_TASKS_PER_THREAD * threads)
        channels /= 2;
    return channels;
}

void fc_moments_part(const fc_moments *m, int64_t part, int64_t c, int64_t channels, char *scratch, double *first,
                     double *second) {
    const int64_t size = m->kernels->element_size;
    double *shift = (double *)(void *)(scratch + FC_NORM_CHAIN_BYTES); /* three rows, large enough for either type */
    double *sum = shift + FC_NORM_CHANNELS, *other = sum + FC_NORM_CHANNELS;
    double count = 0;
    for (int64_t k = 0; k < channels; k++) first[k] = second[k] = 0;
    for (int64_t index = first_chunk(m, part); index < first_chunk(m, part + 1); index++) {
        const chunk at = chunk_at(m, index);
        const double more = (double)at.images * (double)at.pixels;
        const fc_norm_block block = {.images = at.images, .pixels = at.pixels, .columns = channels, .x = m->x_walk,
                                     .grad_y = m->grad_y_walk, .activation = m->activation,
                                     .chains = scratch};
        const char *x = place(m->x, &m->x_walk, &at, c, size);
        if (m->grad_y != NULL) {
            const fc_norm_factors f = factors_at(&m->factors, c, size);
            m->kernels->norm_products(&block, x, place(m->grad_y, &m->grad_y_walk, &at, c, size), &f, sum, other);
            for (int64_t k = 0; k < channels; k++) {
                first[k] += number(sum, (size_t)size, k);
                second[k] += number(other, (size_t)size, k);
            }
        } else {
            m->kernels->norm_moments(&block, x, shift, sum, other);
            for (int64_t k = 0; k < channels; k++) {
                const double offset = number(sum, (size_t)size, k) / more;
                const double squares = number(other, (size_t)size, k) - offset * offset * more;
                const double mean = number(shift, (size_t)size, k) + offset;
                if (count == 0) first[k] = mean, second[k] = squares;
                else fc_moments_join(count, &first[k], &second[k], more, mean, squares);
            }
        }
        count += more;
    }
}
