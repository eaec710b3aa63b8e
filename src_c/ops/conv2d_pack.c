/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Weights packed before the call: what fc_direct_run does first, done once for many calls. A block of packed weights
 * begins by telling what it was made for; the panels follow, for the gradient of the input those of each phase of the
 * stride.
 *
 * Only the direct algorithm gains by it. With AVX-512 and one ResNet-50 image: x1.02 to x1.2 in 1x1 layers, x1.2 to
 * x1.8 where few pixels meet many weights (7x7); dense layers of 1024 to 4096 channels with 4 to 64 rows: x1.3 to x2.6.
 * Winograd's transform makes 4 numbers of each: kept from call to call, it saves one image 5 to 15 % with up to 256
 * channels and costs it 15 % with 512, where it has to come from memory. */
#include <string.h>

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "conv2d_algorithms.h"
#include "direct.h"

/* All that panels depend on, in numbers of one size, so that two can be compared as bytes. */
typedef struct header {
    int64_t magic, isa, operation, dtype, c, k, r, s, groups;
    int64_t phases[2][4]; /* of each axis of the gradient of the input: which taps reach which of its pixels */
    uint64_t form;        /* what else its panels depend on, and whose they are: another algorithm reads the array */
} header;

enum { PANELS_AT = FC_ALIGN_UP(sizeof(header)) };

/* The taps of a phase follow from these remainders; the rest of a phase is its place in the image. */
static void tell_phases(int64_t *to, int64_t size, int64_t stride, int64_t dilation, int64_t before) {
    to[0] = stride;
    to[1] = FC_MIN(size, stride);
    to[2] = dilation % stride;
    to[3] = before % stride;
}

/* Stands for the images, of which only the type is looked at. */
static fc_array no_image(fc_dtype dtype) {
    static char nothing[FC_CACHE_LINE];
    return (fc_array){.data = nothing, .dtype = dtype};
}

/* The convolutions of a problem that have panels: forward one, backward one for each phase that has taps. */
static int64_t part_count(const fc_problem *problem) {
    return problem->operation == FC_FORWARD ? 1 : fc_phase_count(problem->g);
}

static int part_at(const fc_problem *problem, int64_t index, fc_direct *d) {
    const fc_array none = no_image(problem->dtype);
    *d = problem->operation == FC_FORWARD
             ? fc_forward_view(problem->g, &none, &none, NULL, &none, FC_NONE)
             : fc_phase_view(problem->g, index, &none, &none, NULL, &none, FC_NONE);
    return d->window.r > 0 && d->window.s > 0;
}

static size_t panel_bytes(const fc_problem *problem, const fc_panels *panels) {
    size_t bytes = 0;
    fc_direct d;
    for (int64_t i = 0; i < part_count(problem); i++)
        if (part_at(problem, i, &d)) bytes += panels->bytes(&d);
    return bytes;
}

static uint64_t form_of(const fc_problem *problem, const fc_panels *panels) {
    enum { PRIME = 1000003 }; /* forms in another order give another number */
    uint64_t form = 1;
    fc_direct d;
    for (int64_t i = 0; i < part_count(problem); i++)
        if (part_at(problem, i, &d)) form = form * PRIME + (uint64_t)panels->form(&d);
    return form;
}

static header header_of(const fc_problem *problem) {
    const fc_conv2d *g = problem->g;
    header h = {.magic = 0x6b63617076636166, .isa = fc_get_isa(), .operation = problem->operation,
                .dtype = problem->dtype, .c = g->c, .k = g->k, .r = g->r, .s = g->s, .groups = g->groups};
    if (problem->operation == FC_BACKWARD_INPUT) {
        tell_phases(h.phases[0], g->h, g->stride_h, g->dilation_h, g->pad_top);
        tell_phases(h.phases[1], g->w, g->stride_w, g->dilation_w, g->pad_left);
    }
    return h;
}

/* The panels of the algorithm that the problem gets, NULL if none. */
static const fc_panels *panels_for(const fc_problem *problem, const fc_options *options) {
    const char *reason;
    if (problem->operation == FC_BACKWARD_WEIGHT || !fc_is_compute_type(problem->dtype)) return NULL;
    if (problem->operation == FC_BACKWARD_INPUT && fc_has_lone_taps(problem->g)) return NULL;
    const fc_conv2d_algorithm *algorithm = fc_conv2d_choose(problem, options, &reason);
    return algorithm == NULL ? NULL : algorithm->panels;
}

size_t fc_conv2d_pack_size(const fc_conv2d *g, fc_operation operation, fc_dtype dtype, const fc_options *options) {
    const fc_problem problem = fc_problem_of(g, operation, dtype, options);
    const fc_panels *panels = panels_for(&problem, options);
    return panels == NULL ? 0 : PANELS_AT + panel_bytes(&problem, panels);
}

fc_status fc_conv2d_pack(const fc_conv2d *g, fc_operation operation, fc_dtype dtype, const fc_array *weight,
                         const fc_options *options, void *packed) {
    if (!fc_is_compute_type(dtype) || !fc_is_compute_type(weight->dtype)) return FC_BAD_DTYPE;
    const fc_problem problem = fc_problem_of(g, operation, dtype, options);
    const fc_panels *panels = panels_for(&problem, options);
    if (panels == NULL) return FC_BAD_ALGORITHM;
    header h = header_of(&problem);
    h.form = form_of(&problem, panels);
    const fc_array none = no_image(dtype);
    fc_array from = *weight;
    from.packed = (char *)packed + PANELS_AT;
    memset(packed, 0, PANELS_AT);
    fc_conv2d no_images = *g;
    no_images.n = 0;
    const fc_direct d = fc_forward_view(&no_images, &none, &from, NULL, &none, FC_NONE);
    const fc_status status = operation == FC_FORWARD ? panels->pack(&d, 1)
                                                     : fc_backward_input_by(panels->pack, panels, &no_images, &none,
                                                                            &from, NULL, &none, FC_NONE);
    if (status == FC_OK) memcpy(packed, &h, sizeof h); /* an interrupted one suits no call */
    return status;
}

fc_status fc_open_packed(const fc_problem *problem, const fc_conv2d_algorithm *algorithm, const fc_array *weight,
                         fc_array *opened) {
    *opened = *weight;
    if (weight->packed == NULL) return FC_OK;
    header made_for;
    memcpy(&made_for, weight->packed, sizeof made_for);
    const uint64_t form = made_for.form;
    made_for.form = 0;
    const header h = header_of(problem);
    if (memcmp(&made_for, &h, sizeof h) != 0) return FC_BAD_PACKED;
    const int other_phases = problem->operation == FC_BACKWARD_INPUT && fc_has_lone_taps(problem->g);
    const int suits = algorithm->panels != NULL && !other_phases && form == form_of(problem, algorithm->panels);
    opened->packed = suits ? (const char *)weight->packed + PANELS_AT : NULL;
    return FC_OK;
}
