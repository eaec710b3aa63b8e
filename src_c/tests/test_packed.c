/* SPDX-License-Identifier: BSD-3-Clause
 * Weights packed before the call, on random geometries: the bits of a call without them; refused where they were made
 * for something else. */
#include "../base/scratch.h"
#include "../ops/direct.h"
#include "problems.h"

static fc_options direct = {.algorithm = FC_DIRECT};

/* Enough channels, filters and pixels for the matrix unit; now and then rows so short that their taps are gathered. */
static int random_large_problem(fc_conv2d *g) {
    *g = (fc_conv2d){.n = random_between(1, 3), .h = random_between(13, 16), .w = random_between(9, 16),
                     .c = 32 * random_between(3, 5) - random_between(0, 3), .k = random_between(90, 140),
                     .r = random_between(2, 3), .s = 3, .stride_h = random_between(1, 2),
                     .stride_w = random_between(1, 2), .dilation_h = 1, .dilation_w = 1, .groups = 1};
    return fc_conv2d_resolve(g, FC_PAD_SAME) == FC_OK;
}

static fc_status run_packed(fc_operation operation, const fc_conv2d *g, const fc_array *from, const fc_array *weight,
                            const fc_array *to) {
    return operation == FC_FORWARD ? fc_conv2d_forward(g, from, weight, NULL, to, &direct)
                                   : fc_conv2d_backward_input(g, from, weight, to, &direct);
}

static int is_refused(fc_operation operation, const fc_conv2d *g, const fc_array *weight, const fc_array *image) {
    fc_explanation e; /* by the same check; follows no pointers */
    return fc_conv2d_explain(g, operation, image, weight, NULL, image, &direct, &e) == FC_BAD_PACKED;
}

/* Whoever calls with a block that was made for something else is told so. */
static void test_packed_for_another(const fc_conv2d *g, fc_operation operation, const fc_array *weight) {
    fc_array image = {.data = weight->data, .dtype = weight->dtype};
    const fc_operation other_operation = operation == FC_FORWARD ? FC_BACKWARD_INPUT : FC_FORWARD;
    const int isa = fc_get_isa(), other_isa = isa == fc_isa_count() - 1 ? -1 : fc_isa_count() - 1;
    fc_conv2d other;
    CHECK(!is_refused(operation, g, weight, &image), "packed for this call");
#define REFUSED(field, value) \
    do { \
        other = *g, other.field = (value); \
        CHECK(is_refused(operation, &other, weight, &image), "packed with another " #field); \
    } while (0)
    REFUSED(c, g->c + g->groups);
    REFUSED(k, g->k + g->groups);
    REFUSED(r, g->r + 1);
    REFUSED(s, g->s + 1);
    REFUSED(groups, g->groups + 1);
    if (operation == FC_BACKWARD_INPUT) {
        REFUSED(stride_h, g->stride_h + 1);
        REFUSED(stride_w, g->stride_w + 1);
        if (g->stride_h > 1) REFUSED(pad_top, g->pad_top + 1);
        if (g->stride_w > 1) REFUSED(dilation_w, g->dilation_w + 1);
        if (g->stride_w > 1 && g->w > 1) REFUSED(w, 1);
    }
#undef REFUSED
    CHECK(is_refused(other_operation, g, weight, &image), "packed for the other operation");
    if (other_isa >= 0) {
        fc_set_thread_isa(other_isa);
        CHECK(is_refused(operation, g, weight, &image), "packed for another instruction set");
        fc_set_thread_isa(isa);
    }
    image.dtype = weight->dtype == FC_FLOAT32 ? FC_FLOAT64 : FC_FLOAT32;
    CHECK(is_refused(operation, g, weight, &image), "packed for another type");
}

/* Panels of another number of parts are left alone; so are all where an infinity calls for the direct algorithm. */
static void test_panels_left_alone(fc_operation operation, const fc_conv2d *g, const fc_array *from, const fc_array *w,
                                  const fc_array *packed, const fc_array *to, const fc_array *to_packed, size_t bytes) {
    const fc_precision asked = direct.precision;
    for (fc_precision precision = FC_STRICT; precision <= FC_MEDIUM; precision++) {
        direct.precision = precision;
        if (precision == FC_MEDIUM) set_number(from->data, from->dtype, 0, INFINITY);
        CHECK(run_packed(operation, g, from, w, to) == FC_OK, "status without packed weights");
        CHECK(run_packed(operation, g, from, packed, to_packed) == FC_OK, "status with packed weights");
        CHECK(memcmp(to->data, to_packed->data, bytes) == 0, "weights packed for another precision change bits");
    }
    direct.precision = asked;
    set_number(from->data, from->dtype, 0, 1);
}

/* Packed for one image, `wider` than those it is used for, and with one thread: the same bits for several with
 * several. */
static void test_packed(const fc_conv2d *g, fc_dtype dtype, layout order, int64_t wider) {
    const size_t x_size = (size_t)(g->n * g->h * g->w * g->c), y_size = (size_t)(g->n * g->p * g->q * g->k);
    const size_t w_size = (size_t)(g->r * g->s * g->c / g->groups * g->k);
    const fc_array x = image(new_array(dtype, x_size), dtype, order, g->h, g->w, g->c);
    const fc_array y = image(new_array(dtype, y_size), dtype, order, g->p, g->q, g->k);
    fc_array w = filters(new_array(dtype, w_size), dtype, order, g->r, g->s, g->c / g->groups, g->k);
    for (size_t i = 0; i < w_size; i++) set_number(w.data, dtype, i, number_at(w.data, dtype, i) / 3);
    for (fc_operation operation = FC_FORWARD; operation <= FC_BACKWARD_INPUT; operation++) {
        const char *reason, *choice = fc_conv2d_choice(g, operation, dtype, &direct, &reason);
        if (strcmp(choice, "direct") != 0 && strncmp(choice, "bf16", 4) != 0) continue; /* depthwise, few filters */
        fc_conv2d one = *g;
        one.n = 1;
        one.w += wider;
        fc_conv2d_resolve(&one, FC_PAD_EXPLICIT);
        const size_t bytes = fc_conv2d_pack_size(&one, operation, dtype, &direct);
        if (bytes == 0 && operation == FC_BACKWARD_INPUT && (g->p == 1 || g->q == 1)) continue; /* taps alone */
        const size_t size = operation == FC_FORWARD ? y_size : x_size;
        fc_array to = operation == FC_FORWARD ? y : x, packed = w, to_packed = to;
        to.data = new_poisoned(dtype, size), to_packed.data = new_poisoned(dtype, size);
        void *block = malloc(bytes);
        CHECK(bytes > 0 && fc_conv2d_pack(&one, operation, dtype, &w, &direct, block) == FC_OK, "packing");
        packed.packed = block;
        const fc_array *from = operation == FC_FORWARD ? &x : &y;
        CHECK(run_packed(operation, g, from, &w, &to) == FC_OK, "status without packed weights");
        CHECK(run_packed(operation, g, from, &packed, &to_packed) == FC_OK, "status with packed weights");
        CHECK(memcmp(to.data, to_packed.data, size * size_of(dtype)) == 0, "packed weights change bits");
        test_packed_for_another(g, operation, &packed);
        test_panels_left_alone(operation, g, from, &w, &packed, &to, &to_packed, size * size_of(dtype));
        memset(block, 0, 1);
        memset(to_packed.data, 0, size * size_of(dtype)), memset(to.data, 0, size * size_of(dtype));
        CHECK(run_packed(operation, g, from, &packed, &to_packed) == FC_BAD_PACKED, "packed for nothing");
        CHECK(memcmp(to.data, to_packed.data, size * size_of(dtype)) == 0, "something was written");
        free(block), free(to.data), free(to_packed.data);
    }
    free(x.data), free(y.data), free(w.data);
}

/* Where another algorithm is chosen there is nothing to pack, and no packing. */
static void test_nothing_to_pack(void) {
    fc_conv2d g = {.n = 2, .h = 12, .w = 12, .c = 16, .k = 16, .r = 3, .s = 3, .stride_h = 1, .stride_w = 1,
                   .dilation_h = 1, .dilation_w = 1, .groups = 1, .pad_top = 1, .pad_bottom = 1, .pad_left = 1,
                   .pad_right = 1};
    char block[1];
    float number = 0;
    const fc_array w = {.data = &number, .dtype = FC_FLOAT32};
    const fc_options winograd = {.algorithm = FC_WINOGRAD};
    fc_conv2d_resolve(&g, FC_PAD_EXPLICIT);
    CHECK(fc_conv2d_pack_size(&g, FC_FORWARD, FC_FLOAT32, &winograd) == 0, "Winograd's algorithm packs nothing");
    CHECK(fc_conv2d_pack_size(&g, FC_BACKWARD_WEIGHT, FC_FLOAT32, NULL) == 0, "no weights are read");
    CHECK(fc_conv2d_pack_size(&g, FC_FORWARD, FC_UINT8, NULL) == 0, "not a type of arithmetic");
    CHECK(fc_conv2d_pack(&g, FC_FORWARD, FC_FLOAT32, &w, &winograd, block) == FC_BAD_ALGORITHM, "nothing to pack");
    CHECK(fc_conv2d_pack(&g, FC_FORWARD, FC_UINT8, &w, &direct, block) == FC_BAD_DTYPE, "not a type of arithmetic");
}

/* Panels of parts for images of one width, and whether they are other ones for wider images: their form has to say so,
 * also where no matrix unit would read them. */
static void test_forms_of_parts(const fc_conv2d *narrow, int parts) {
    const size_t w_size = (size_t)(narrow->r * narrow->s * narrow->c * narrow->k);
    fc_array w = filters(new_array(FC_FLOAT32, w_size), FC_FLOAT32, CHANNELS_LAST, narrow->r, narrow->s, narrow->c,
                         narrow->k);
    const fc_array none = image(NULL, FC_FLOAT32, CHANNELS_LAST, 0, 0, 0);
    fc_conv2d of[2] = {*narrow, *narrow};
    void *panels[2];
    size_t bytes[2];
    int64_t form[2];
    of[1].w += 16;
    for (int i = 0; i < 2; i++) {
        CHECK(fc_conv2d_resolve(&of[i], FC_PAD_EXPLICIT) == FC_OK, "sizes");
        fc_direct d = fc_forward_view(&of[i], &none, &w, NULL, &none, FC_NONE);
        bytes[i] = fc_split_panel_bytes(&d, parts);
        d.weight.packed = panels[i] = aligned_alloc(FC_CACHE_LINE, bytes[i]);
        memset(panels[i], 0, bytes[i]); /* packing leaves out what lies behind the last filter and channel */
        CHECK(fc_split_pack(&d, parts) == FC_OK, "packing by parts");
        form[i] = fc_split_form(&d, parts);
    }
    const int alike = bytes[0] == bytes[1] && memcmp(panels[0], panels[1], bytes[0]) == 0;
    CHECK(alike || form[0] != form[1], "other panels by parts, the same form");
    free(panels[0]), free(panels[1]), free(w.data);
}

int main(int argc, char **argv) {
    const int problems = argc > 1 ? atoi(argv[1]) : 300;
    test_nothing_to_pack();
    for (int isa = 0; isa < fc_isa_count(); isa++) {
        if (fc_set_thread_isa(isa) != 0) continue;
        printf("%s\n", fc_isa_name(isa));
        for (int i = 0; i < problems; i++) {
            fc_conv2d g;
            fc_set_num_threads(1 + i % 3);
            const layout order = i & 2 ? CHANNELS_FIRST : CHANNELS_LAST;
            direct.precision = (fc_precision)(FC_STRICT + i % 3);
            if (random_problem(&g)) test_packed(&g, i & 1 ? FC_FLOAT64 : FC_FLOAT32, order, 0);
            if (i % 20 == 0 && random_large_problem(&g)) test_forms_of_parts(&g, 1 + i / 20 % 3);
            if (i % 20 == 0 && random_large_problem(&g)) test_packed(&g, FC_FLOAT32, order, random_between(0, 1) * 16);
        }
    }
    fc_clear_cache();
    return report();
}
