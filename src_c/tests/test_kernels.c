/* SPDX-License-Identifier: BSD-3-Clause
 * Every kernel of every instruction set against the reference kernels, with sizes around the vector width. */
#include "../base/compiler.h"
#include "../ops/unpool.h"
#include "pairs.h"

static void test_tile_shape(const pair *p, int rows, int width, int columns, int64_t terms, int accumulate,
                            fc_epilogue activation, int with_bias) {
    const size_t a_size = (size_t)(rows + 2 * terms), b_size = (size_t)(terms * width);
    const size_t c_pitch = (size_t)columns + 3, c_size = (size_t)(rows - 1) * c_pitch + (size_t)columns;
    void *a = new_array(p->dtype, a_size), *b = new_array(p->dtype, b_size);
    void *bias = new_array(p->dtype, (size_t)columns);
    void *c = new_poisoned(p->dtype, c_size), *expected = new_poisoned(p->dtype, c_size);
    ptrdiff_t a_row[FC_MAX_MR], c_row[FC_MAX_MR], *a_term = malloc((size_t)terms * sizeof *a_term);
    for (int i = 0; i < rows; i++) {
        a_row[i] = (i * 7) % rows; /* not in order */
        c_row[i] = i * (ptrdiff_t)c_pitch;
        if (accumulate) fill((char *)c + (size_t)c_row[i] * size_of(p->dtype), p->dtype, (size_t)columns);
    }
    for (int64_t t = 0; t < terms; t++) a_term[t] = 2 * t + 1;
    memcpy(expected, c, c_size * size_of(p->dtype));
    const fc_tile tile = {.terms = terms, .a_term = a_term, .width = width, .accumulate = accumulate,
                          .activation = activation};
    p->fast->tile(&tile, rows, a, a_row, b, with_bias ? bias : NULL, columns, c, c_row);
    p->judge->tile(&tile, rows, a, a_row, b, with_bias ? bias : NULL, columns, expected, c_row);
    CHECK(same_numbers(c, expected, p->dtype, c_size), "tile");
    free(a), free(b), free(bias), free(c), free(expected), free(a_term);
}

static void test_tile(const pair *p) {
    static const int64_t term_counts[] = {1, 2, 7, 33};
    for (int rows = 1; rows <= p->fast->mr; rows++)
        for (int width = p->fast->vl; width <= 2 * p->fast->vl; width += p->fast->vl)
            for (int columns = 1; columns <= width; columns++)
                for (int i = 0; i < 4; i++)
                    test_tile_shape(p, rows, width, columns, term_counts[i], i & 1, (fc_epilogue)((rows + columns) % 3),
                                    (columns >> 1) & 1);
}

/* The tile that packs: against the one that finds a panel, and its panel against the numbers of B. */
static void test_packing_tile_shape(const pair *p, int rows, int64_t terms, int accumulate) {
    const int width = 2 * p->fast->vl;
    const size_t size = size_of(p->dtype), pitch = (size_t)width + 3, numbers = (size_t)(terms * width);
    const size_t c_size = (size_t)(rows * width);
    void *a = new_array(p->dtype, (size_t)(rows * terms)), *b = new_array(p->dtype, (size_t)terms * pitch);
    void *panel = new_array(p->dtype, numbers), *packed = new_poisoned(p->dtype, numbers);
    void *c = new_array(p->dtype, c_size), *expected = new_array(p->dtype, c_size);
    ptrdiff_t a_row[FC_MAX_MR], c_row[FC_MAX_MR];
    ptrdiff_t *a_term = malloc((size_t)terms * sizeof *a_term), *b_term = malloc((size_t)terms * sizeof *b_term);
    for (int i = 0; i < rows; i++) a_row[i] = i * (ptrdiff_t)terms, c_row[i] = i * (ptrdiff_t)width;
    for (int64_t t = 0; t < terms; t++) {
        a_term[t] = t;
        b_term[t] = (terms - 1 - t) * (ptrdiff_t)pitch; /* not in order */
        memcpy((char *)panel + (size_t)(t * width) * size, (const char *)b + (size_t)b_term[t] * size,
               (size_t)width * size);
    }
    memcpy(expected, c, c_size * size);
    fc_tile tile = {.terms = terms, .a_term = a_term, .width = width, .accumulate = accumulate};
    p->fast->tile(&tile, rows, a, a_row, panel, NULL, width, expected, c_row);
    ptrdiff_t *lines = calloc((size_t)terms, sizeof *lines);
    tile.b_term = b_term, tile.panel = packed, tile.ahead[1].at = b;
    tile.lines = terms % 3 == 0 ? NULL : lines;
    p->fast->tile(&tile, rows, a, a_row, b, NULL, width, c, c_row);
    CHECK(memcmp(c, expected, c_size * size) == 0, "packing tile");
    CHECK(memcmp(packed, panel, numbers * size) == 0, "packed panel");
    fill(c, p->dtype, c_size);
    memcpy(expected, c, c_size * size);
    tile.b_term = NULL, tile.lines = lines;
    p->fast->tile(&tile, rows, a, a_row, panel, NULL, width, c, c_row);
    tile.lines = NULL;
    p->fast->tile(&tile, rows, a, a_row, panel, NULL, width, expected, c_row);
    CHECK(memcmp(c, expected, c_size * size) == 0, "tile that brings in lines");
    free(lines), free(a), free(b), free(panel), free(packed), free(c), free(expected), free(a_term), free(b_term);
}

static void test_packing_tile(const pair *p) {
    for (int rows = 1; rows <= p->fast->mr; rows++)
        for (int64_t terms = 1; terms <= 9; terms++) test_packing_tile_shape(p, rows, terms, terms & 1);
}

/* The vectors of B lie anywhere; those of C have a gap of 3 numbers behind them. */
static void test_lanes_shape(const pair *p, int rows, int vectors, int64_t terms, int turn) {
    const int lanes = p->fast->vl, a_term = rows + turn % 3;
    const size_t a_size = (size_t)((terms - 1) * a_term + rows), b_size = (size_t)(2 * terms + 3 * lanes);
    const size_t c_pitch = (size_t)(vectors * lanes) + 3, c_size = (size_t)rows * c_pitch - 3;
    char *a = new_array(p->dtype, a_size), *b = new_array(p->dtype, b_size), *bias = new_array(p->dtype, (size_t)rows);
    char *c = new_poisoned(p->dtype, c_size), *expected = new_poisoned(p->dtype, c_size);
    ptrdiff_t *b_term = malloc((size_t)terms * sizeof *b_term);
    for (int64_t t = 0; t < terms; t++) b_term[t] = (t * 5 % terms) * 2; /* not in order */
    const fc_lanes tile = {.terms = terms, .a_term = a_term, .b_term = b_term, .c_row = (ptrdiff_t)c_pitch,
                           .lanes = lanes,
                           .accumulate = turn & 1, .activation = (fc_epilogue)((turn + rows) % 3)};
    for (size_t i = 0; tile.accumulate && i < (size_t)rows; i++)
        fill(c + i * c_pitch * size_of(p->dtype), p->dtype, (size_t)(vectors * lanes));
    memcpy(expected, c, c_size * size_of(p->dtype));
    const size_t far = b_size - (size_t)(2 * terms - 2 + lanes); /* the last vector ends with the array */
    const void *const at[FC_LANES_ALONE] = {b + (turn & 2 ? far : 1) * size_of(p->dtype),
                                            b + (turn & 2 ? 1 : far) * size_of(p->dtype), b + 2 * size_of(p->dtype), b};
    p->fast->tile_lanes(&tile, rows, a, turn & 4 ? bias : NULL, vectors, at, c);
    p->judge->tile_lanes(&tile, rows, a, turn & 4 ? bias : NULL, vectors, at, expected);
    CHECK(same_numbers(c, expected, p->dtype, c_size), "tile_lanes");
    free(a), free(b), free(bias), free(c), free(expected), free(b_term);
}

static void test_lanes(const pair *p) {
    static const int64_t term_counts[] = {1, 2, 7, 34};
    for (int rows = 1; rows <= p->fast->mr; rows++)
        for (int vectors = 1; vectors <= (rows == 1 ? FC_LANES_ALONE : 2); vectors++)
            for (int turn = 0; turn < 32; turn++) test_lanes_shape(p, rows, vectors, term_counts[turn / 8], turn);
}

/* Weights as the kernel reads them: a vector of channels repeats what it shares with the one before it. */
static void *new_weights(const pair *p, const fc_depthwise *d, int64_t vectors) {
    char *w = new_array(p->dtype, (size_t)(vectors * d->w_vector));
    for (int64_t v = 1; v < vectors; v++) {
        const int64_t before = FC_MAX(0, FC_MIN(v == 1 ? 0 : d->first + (v - 2) * d->lanes, d->channels - d->lanes));
        const int64_t here = FC_MIN(d->first + (v - 1) * d->lanes, d->channels - d->lanes);
        for (int64_t at = 0; at < d->w_vector && here < before + d->lanes; at += d->lanes)
            memcpy(w + (size_t)(v * d->w_vector + at) * size_of(p->dtype),
                   w + (size_t)((v - 1) * d->w_vector + at + here - before) * size_of(p->dtype),
                   (size_t)(before + d->lanes - here) * size_of(p->dtype));
    }
    return w;
}

/* A kernel of rows x columns over a line of `pixels`, whose pointers lead to pixels in no order; one is shared. */
static void test_depthwise_shape(const pair *p, fc_depthwise d) {
    const int64_t entries = (d.pixels - 1) * d.stride + (d.columns - 1) * d.dilation + 1;
    d.lanes = p->fast->vl;
    d.first = d.channels > d.lanes ? random_between(1, d.lanes) : d.lanes;
    const int64_t taps = d.rows * d.columns;
    const int64_t vectors = d.channels <= d.first ? 1 : 1 + (d.channels - d.first + d.lanes - 1) / d.lanes;
    d.w_column = d.lanes, d.w_row = d.columns * d.w_column, d.w_vector = FC_MAX(1, taps) * d.lanes;
    const size_t x_size = (size_t)(entries * d.channels), w_size = (size_t)(vectors * d.w_vector);
    const size_t y_size = (size_t)((d.pixels - 1) * d.y_pixel + d.channels);
    void *x = new_array(p->dtype, x_size), *w = new_weights(p, &d, vectors);
    void *bias = new_array(p->dtype, (size_t)d.channels);
    void *y = new_poisoned(p->dtype, y_size), *expected = new_poisoned(p->dtype, y_size);
    const void **pointers = malloc((size_t)(d.rows * entries + 1) * sizeof *pointers);
    const void *const **line = malloc((size_t)(d.rows + 1) * sizeof *line);
    for (int64_t r = 0; r < d.rows; r++) {
        line[r] = pointers + r * entries;
        for (int64_t j = 0; j < entries; j++)
            pointers[r * entries + j] =
                (char *)x + (size_t)(random_between(0, entries - 1) * d.channels) * size_of(p->dtype);
    }
    const void *some = d.pixels % 2 == 0 ? bias : NULL;
    p->fast->depthwise(&d, line, w, some, y);
    p->judge->depthwise(&d, line, w, some, expected);
    CHECK(same_numbers(y, expected, p->dtype, y_size), "depthwise");
    const fc_depthwise backwards = {.rows = d.rows, .columns = d.columns, .stride = d.stride, .dilation = d.dilation,
                                    .channels = d.channels, .pixels = d.pixels, .y_pixel = d.y_pixel, .lanes = d.lanes,
                                    .first = d.first, .w_vector = d.w_vector, .w_row = -d.w_row,
                                    .w_column = -d.w_column};
    if (taps > 0) {
        const char *last = (char *)w + (size_t)((taps - 1) * d.lanes) * size_of(p->dtype);
        p->fast->depthwise(&backwards, line, last, some, y);
        p->judge->depthwise(&backwards, line, last, some, expected);
        CHECK(same_numbers(y, expected, p->dtype, y_size), "depthwise, taps backwards");
        fill(y, p->dtype, y_size);
        void *w_expected = malloc(w_size * size_of(p->dtype));
        memcpy(w_expected, w, w_size * size_of(p->dtype));
        p->fast->depthwise_weight(&d, line, y, w);
        p->judge->depthwise_weight(&d, line, y, w_expected);
        CHECK(same_numbers(w, w_expected, p->dtype, w_size), "depthwise_weight");
        free(w_expected);
    }
    free(x), free(w), free(bias), free(y), free(expected), free(pointers), free(line);
}

static void test_depthwise(const pair *p) {
    const int64_t vl = p->fast->vl, channels[] = {1, vl - 1, vl, vl + 1, 2 * vl, 3 * vl - 1};
    for (int64_t rows = 0; rows <= 5; rows++)
        for (int64_t columns = 1; columns <= 5; columns++)
            for (int64_t stride = 1; stride <= 2; stride++)
                for (int64_t pixels = 1; pixels <= 16; pixels++)
                    for (int i = 0; i < 6; i++) {
                        const fc_depthwise d = {.rows = rows, .columns = columns, .stride = stride,
                                                .dilation = 1 + (pixels == 3), .channels = channels[i],
                                                .pixels = pixels,
                                                .y_pixel = channels[i] + i % 2, .y_ahead = pixels % 3,
                                                .activation = (fc_epilogue)(pixels % 3)};
                        if (channels[i] > 0) test_depthwise_shape(p, d);
                    }
}

static void test_row_shape(const pair *p, int64_t columns, int64_t terms, int accumulate, fc_epilogue activation,
                           int with_bias) {
    const size_t pitch = (size_t)columns + 2, b_size = (size_t)(terms - 1) * pitch + (size_t)columns;
    void *a = new_array(p->dtype, (size_t)(2 * terms)), *b = new_array(p->dtype, b_size);
    void *bias = new_array(p->dtype, (size_t)columns);
    void *c = new_poisoned(p->dtype, (size_t)columns), *expected = new_poisoned(p->dtype, (size_t)columns);
    ptrdiff_t *a_term = malloc((size_t)terms * sizeof *a_term), *b_term = malloc((size_t)terms * sizeof *b_term);
    for (int64_t t = 0; t < terms; t++) {
        a_term[t] = 2 * t + 1;
        b_term[t] = (terms - 1 - t) * (ptrdiff_t)pitch; /* not in order */
    }
    if (accumulate) fill(c, p->dtype, (size_t)columns);
    memcpy(expected, c, (size_t)columns * size_of(p->dtype));
    const fc_tile tile = {.terms = terms, .a_term = a_term, .accumulate = accumulate, .activation = activation,
                          .b_term = b_term};
    p->fast->row(&tile, a, b, with_bias ? bias : NULL, columns, c);
    p->judge->row(&tile, a, b, with_bias ? bias : NULL, columns, expected);
    CHECK(same_numbers(c, expected, p->dtype, (size_t)columns), "row");
    free(a), free(b), free(bias), free(c), free(expected), free(a_term), free(b_term);
}

static void test_row(const pair *p) {
    for (int64_t columns = 1; columns <= (FC_ROW_STRIP + 3) * p->fast->vl + 1; columns++)
        for (int64_t terms = 1; terms <= 4; terms++)
            test_row_shape(p, columns, terms, terms & 1, (fc_epilogue)((columns + terms) % 3), (columns >> 1) & 1);
}

static void test_copy_shape(const pair *p, int64_t rows, int64_t columns, int src_by_columns, int dst_by_columns,
                            int step,
                            int gap) {
    const ptrdiff_t src_row = src_by_columns ? step : columns * step, src_column = src_by_columns ? rows * step : step;
    const ptrdiff_t dst_row = dst_by_columns ? 1 : columns + gap, dst_column = dst_by_columns ? rows + gap : 1;
    const size_t src_size = (size_t)((rows - 1) * src_row + (columns - 1) * src_column + 1);
    const size_t dst_size = (size_t)((rows - 1) * dst_row + (columns - 1) * dst_column + 1);
    void *src = new_array(p->dtype, src_size);
    void *dst = new_poisoned(p->dtype, dst_size), *expected = new_poisoned(p->dtype, dst_size);
    p->fast->copy(rows, columns, src, src_row, src_column, dst, dst_row, dst_column);
    p->judge->copy(rows, columns, src, src_row, src_column, expected, dst_row, dst_column);
    CHECK(same_numbers(dst, expected, p->dtype, dst_size), "copy");
    free(src), free(dst), free(expected);
}

static void test_copy(const pair *p) {
    static const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < COUNT; j++)
            for (int form = 0; form < 16; form++)
                test_copy_shape(p, sizes[i], sizes[j], form & 1, form >> 1 & 1, 1 + (form >> 2 & 1), form >> 3);
}

static void test_spread(const pair *p) {
    static const int64_t widths[] = {1, 3, 8, 16, 32};
    for (int64_t columns = 1; columns <= 70; columns++)
        for (int i = 0; i < 5; i++) {
            enum { ROWS = 3 };
            const int64_t width = widths[i], block = ROWS * width + 2;
            const size_t src_size = (size_t)((ROWS - 1) * (columns + 1) + columns);
            const size_t dst_size = (size_t)((columns - 1) / width * block + ROWS * width);
            void *src = new_array(p->dtype, src_size);
            void *dst = new_poisoned(p->dtype, dst_size), *expected = new_poisoned(p->dtype, dst_size);
            p->fast->spread(ROWS, columns, src, columns + 1, dst, width, block);
            p->judge->spread(ROWS, columns, src, columns + 1, expected, width, block);
            CHECK(same_numbers(dst, expected, p->dtype, dst_size), "spread");
            free(src), free(dst), free(expected);
        }
}

/* Data with ties, and here and there a NaN. */
static void sprinkle_nan(void *data, fc_dtype dtype, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (random_between(0, 9) == 0) {
            if (dtype == FC_FLOAT32) ((float *)data)[i] = NAN;
            else ((double *)data)[i] = NAN;
        }
}

/* Windows that overlap, or none of whose pixels is another's. */
static void test_pool_shape(const pair *p, int64_t channels, int64_t slices, int64_t rows, int64_t columns, int nans,
                            int adjacent, int overlap) {
    enum { PIXELS = 23 }; /* of one channel: 16, 4, 2 and 1 at a time */
    const int64_t pitch = channels + !adjacent, stride = overlap ? 1 : columns, width = PIXELS * stride + columns;
    const size_t x_size = (size_t)(((slices * rows - 1) * width + (PIXELS - 1) * stride + columns - 1) * pitch +
                                   channels);
    const size_t y_size = (size_t)((PIXELS - 1) * pitch + channels);
    void *x = new_array(p->dtype, x_size);
    void *y = new_poisoned(p->dtype, y_size), *expected = new_poisoned(p->dtype, y_size);
    int64_t *indices = calloc(y_size, sizeof *indices), *expected_indices = calloc(y_size, sizeof *indices);
    if (nans) sprinkle_nan(x, p->dtype, x_size);
    fc_pool_run run = {.pixels = PIXELS, .channels = channels, .slices = slices, .rows = rows, .columns = columns,
                       .x_step = stride * pitch, .slice_step = rows * width * pitch, .row_step = width * pitch,
                       .column_step = pitch, .y_step = pitch, .indices_step = pitch,
                       .index = 5, .index_step = stride,
                       .index_slice = 3 * width, .index_row = width, .index_column = 1,
                       .divisor = rows * columns};
    p->fast->max_pool(&run, x, y);
    p->judge->max_pool(&run, x, expected);
    CHECK(same_numbers(y, expected, p->dtype, y_size), "max_pool");
    run.indices = indices;
    p->fast->max_pool(&run, x, y);
    run.indices = expected_indices;
    p->judge->max_pool(&run, x, expected);
    CHECK(same_numbers(y, expected, p->dtype, y_size), "max_pool with indices");
    CHECK(memcmp(indices, expected_indices, y_size * sizeof *indices) == 0, "indices of max_pool");
    p->fast->avg_pool(&run, x, y);
    p->judge->avg_pool(&run, x, expected);
    CHECK(same_numbers(y, expected, p->dtype, y_size), "avg_pool");
    free(x), free(y), free(expected), free(indices), free(expected_indices);
}

static void test_pool(const pair *p) {
    for (int64_t channels = 1; channels <= 2 * p->fast->vl + 1; channels++)
        for (int64_t rows = 1; rows <= 4; rows++) /* one rounding: exact sums, divided */
            for (int64_t columns = 1; columns <= 2; columns++)
                for (int form = 0; form < 8; form++)
                    test_pool_shape(p, channels, 1 + form / 4, rows, columns, form % 2, form / 2 % 2, 1);
    /* channels that are taken several vectors at a time, or pixel by pixel of a window; sums of several chains */
    const int64_t vl = p->fast->vl, wide[] = {4 * vl, 5 * vl + 1, 9 * vl - 1, 9 * vl, 13 * vl + 3};
    for (int i = 0; i < 5; i++)
        for (int form = 0; form < 16; form++) {
            const int64_t rows = 1 + i % 3, columns = 1 + form / 8;
            test_pool_shape(p, wide[i], 1 + form / 4 % 2, rows, columns, form % 2, form / 2 % 2, i == 4 && form % 2);
            test_pool_shape(p, wide[i], 1, 5, 7, form % 2, form / 2 % 2, form / 4 % 2);
        }
}

/* Rows and columns of windows, with few indices, so that many are the pixel's. */
static void test_unpool_shape(const pair *p, int64_t channels, int64_t slices, int64_t rows, int64_t columns) {
    enum { PIXELS = 5 };
    const int64_t pitch = channels + 1, row = columns * pitch + 2;
    const size_t x_size = (size_t)((2 * PIXELS - 1) * pitch + channels);
    const size_t y_size = (size_t)(slices * rows * row + channels);
    void *x = new_poisoned(p->dtype, x_size), *expected = new_poisoned(p->dtype, x_size);
    void *y = new_array(p->dtype, y_size);
    int64_t *indices = malloc(y_size * sizeof *indices);
    for (size_t i = 0; i < y_size; i++)
        indices[i] = random_between(0, PIXELS) + (random_between(0, 9) == 0 ? 1LL << 32 : 0);
    fc_span reach[PIXELS];
    for (int i = 0; i < PIXELS; i++) {
        reach[i].first = random_between(0, columns);
        reach[i].end = random_between(reach[i].first, columns);
        if (i > 0 && random_between(0, 1)) reach[i] = reach[i - 1];
    }
    fc_unpool_run run = {.lines = 1 + (channels + rows) % 2, .pixels = PIXELS, .channels = channels,
                         .x_line = PIXELS * pitch, .x_step = pitch, .index_line = 2, .slices = slices, .rows = rows,
                         .columns = reach, .y_slice = rows * row, .indices_slice = rows * row,
                         .y_row = row, .y_column = pitch, .indices_row = row, .indices_column = pitch, .index = 1};
    for (int indexed = 0; indexed < 2; indexed++) {
        run.indices = indexed ? indices : NULL;
        p->fast->unpool(&run, x, y);
        p->judge->unpool(&run, expected, y);
        CHECK(same_numbers(x, expected, p->dtype, x_size), "unpool");
    }
    int32_t *narrow = malloc(y_size * sizeof *narrow);
    for (size_t i = 0; i < y_size; i++) narrow[i] = (int32_t)(indices[i] &= INT32_MAX);
    p->judge->unpool(&run, expected, y);
    run.places = p->dtype == FC_FLOAT32 ? (void *)narrow : (void *)indices;
    p->fast->unpool(&run, x, y);
    CHECK(same_numbers(x, expected, p->dtype, x_size), "unpool by places");
    free(narrow);
    free(x), free(y), free(expected), free(indices);
}

static void test_unpool(const pair *p) {
    for (int64_t channels = 1; channels <= 5 * p->fast->vl + 1; channels++)
        for (int64_t rows = 0; rows <= 3; rows++)
            for (int64_t columns = 1; columns <= 3; columns++)
                test_unpool_shape(p, channels, 1 + columns % 2, rows, columns);
}

static void test_index_range_shape(const pair *p, int64_t lanes, int64_t depth, int64_t width, int64_t height) {
    enum { ITEMS = 3, SIZE = ITEMS * FC_INDEX_LANES };
    const int64_t step = lanes + 1, depth_step = ITEMS * step + 1;
    const size_t count = (size_t)((depth - 1) * depth_step + (ITEMS - 1) * step + lanes);
    int64_t *indices = malloc(count * sizeof *indices);
    int64_t span[2][2] = {{INT64_MAX, INT64_MIN}, {INT64_MAX, INT64_MIN}}, least[2][SIZE], most[2][SIZE];
    int64_t lines[2][2] = {{INT64_MAX, INT64_MIN}, {INT64_MAX, INT64_MIN}};
    const int64_t tall = random_between(1, height); /* lines of a slice */
    for (size_t i = 0; i < count; i++) indices[i] = random_between(0, width * height - 1);
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i < SIZE; i++) least[side][i] = INT64_MAX, most[side][i] = INT64_MIN;
        fc_index_run run = {.items = ITEMS, .step = step, .depth = depth, .depth_step = depth_step, .lanes = lanes,
                            .width = width, .height = tall};
        fc_pool_divider(width, &run.factor, &run.shift);
        fc_pool_divider(tall, &run.height_factor, &run.height_shift);
        const fc_kernels *kernels = side ? p->judge : p->fast;
        kernels->index_range(&run, indices, span[side], depth == 2 ? NULL : lines[side], least[side], most[side]);
    }
    CHECK(memcmp(lines[0], lines[1], sizeof lines[0]) == 0, "lines of index_range");
    CHECK(memcmp(span[0], span[1], sizeof span[0]) == 0, "span of index_range");
    for (int i = 0; i < SIZE; i++)
        CHECK(i % FC_INDEX_LANES >= lanes || (least[0][i] == least[1][i] && most[0][i] == most[1][i]), "index_range");
    free(indices);
}

static void test_index_range(const pair *p) {
    static const int64_t widths[] = {1, 2, 3, 7, 56, 64, 112, 1000, 32768, 46341, 1 << 30, (1LL << 31) - 1};
    for (int64_t lanes = 1; lanes <= FC_INDEX_LANES; lanes++)
        for (int64_t depth = 1; depth <= 3; depth++)
            for (int i = 0; i < 12; i++) {
                test_index_range_shape(p, lanes, depth, widths[i], 1);
                test_index_range_shape(p, lanes, depth, widths[i], (1LL << 31) / widths[i]);
            }
}

/* Two copies of numbers, the kernel's and its judge's, some of them tiny. */
static void new_pair(const pair *p, size_t count, void *both[2]) {
    both[0] = new_array(p->dtype, count);
    both[1] = malloc(count * size_of(p->dtype));
    for (size_t i = 0; i < count; i += 3) {
        if (p->dtype == FC_FLOAT32) ((float *)both[0])[i] *= 1e-6f;
        else ((double *)both[0])[i] *= 1e-6;
    }
    memcpy(both[1], both[0], count * size_of(p->dtype));
}

static void test_elementwise_size(const pair *p, int64_t count, int turn) {
    const size_t size = (size_t)count;
    void *x[2], *m[2], *v[2], *g = new_array(p->dtype, size);
    new_pair(p, size, x), new_pair(p, size, m), new_pair(p, size, v);
    if (turn & 1) sprinkle_nan(g, p->dtype, size);
    for (int activation = FC_EPILOGUE_NONE; activation <= FC_EPILOGUE_LEAKY_RELU; activation++) {
        p->fast->sum((fc_epilogue)activation, count, g, m[0], x[0]);
        p->judge->sum((fc_epilogue)activation, count, g, m[0], x[1]);
        CHECK(same_numbers(x[0], x[1], p->dtype, size), "sum");
    }
    const fc_clip clip = {.factor = turn & 1 ? 0.7 : 1, .limit = turn & 8 ? 0.4 : 0};
    const fc_sgd_factors sgd = {.rate = 0.1, .momentum = turn & 2 ? 0.9 : 0, .decay = turn & 4 ? 0.01 : 0,
                                .nesterov = turn >> 3 & 1, .least = turn & 16 ? 1e-5 : 0, .clip = clip};
    p->fast->sgd(&sgd, count, x[0], g, turn & 2 ? m[0] : NULL);
    p->judge->sgd(&sgd, count, x[1], g, turn & 2 ? m[1] : NULL);
    CHECK(same_numbers(x[0], x[1], p->dtype, size) && same_numbers(m[0], m[1], p->dtype, size), "sgd");
    for (int i = 0; i < 2; i++) /* sums of squares */
        p->judge->activation_backward(FC_RELU, 0, count, v[i], v[i], v[i]);
    const fc_adam_factors adam = {.scale = 0.1, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-3,
                                  .decay = turn & 4 ? 0.01 : 0, .keep = turn & 2 ? 0.9 : 1,
                                  .least = turn & 16 ? 1e-5 : 0, .clip = clip};
    p->fast->adam(&adam, count, x[0], g, m[0], v[0]);
    p->judge->adam(&adam, count, x[1], g, m[1], v[1]);
    CHECK(same_numbers(x[0], x[1], p->dtype, size) && same_numbers(m[0], m[1], p->dtype, size) &&
              same_numbers(v[0], v[1], p->dtype, size), "adam");
    const fc_rmsprop_factors rmsprop = {.scale = 0.1, .alpha = 0.9, .epsilon = 1e-3, .momentum = turn & 2 ? 0.8 : 0,
                                        .decay = turn & 4 ? 0.01 : 0, .least = turn & 16 ? 1e-5 : 0, .clip = clip};
    p->fast->rmsprop(&rmsprop, count, x[0], g, v[0], turn & 2 ? m[0] : NULL);
    p->judge->rmsprop(&rmsprop, count, x[1], g, v[1], turn & 2 ? m[1] : NULL);
    CHECK(same_numbers(x[0], x[1], p->dtype, size) && same_numbers(m[0], m[1], p->dtype, size) &&
              same_numbers(v[0], v[1], p->dtype, size), "rmsprop");
    for (int i = 0; i < 2; i++) free(x[i]), free(m[i]), free(v[i]);
    free(g);
}

static void test_elementwise(const pair *p) {
    for (int64_t count = 1; count <= 3 * p->fast->vl + 1; count++)
        for (int turn = 0; turn < 32; turn++) test_elementwise_size(p, count, turn);
}

static void test_square_sum(const pair *p) {
    for (int64_t count = 0; count <= 9 * p->fast->vl + 1; count++) {
        void *x = new_array(p->dtype, (size_t)count);
        const double sum = p->fast->square_sum(count, x), expected = p->judge->square_sum(count, x);
        CHECK(fabs(sum - expected) <= (p->dtype == FC_FLOAT32 ? 1e-6 : 1e-15) * expected, "square_sum");
        free(x);
    }
}

static void test_column_sum(const pair *p) {
    for (int64_t columns = 1; columns <= 2 * p->fast->vl + 1; columns++)
        for (int64_t rows = 0; rows < 10; rows++) {
            const size_t size = rows == 0 ? 0 : (size_t)((rows - 1) * (columns + 2) + columns);
            void *x = new_array(p->dtype, size);
            void *y = new_poisoned(p->dtype, (size_t)columns), *expected = new_poisoned(p->dtype, (size_t)columns);
            p->fast->column_sum(rows, columns, x, columns + 2, y);
            p->judge->column_sum(rows, columns, x, columns + 2, expected);
            CHECK(same_numbers(y, expected, p->dtype, (size_t)columns), "column_sum");
            free(x), free(y), free(expected);
        }
}

static void test_kernels(const pair *p) {
    for (int k = 0; fc_kernel_name(k) != NULL; k++) CHECK(fc_kernel_is_own(p->isa, p->dtype, k), fc_kernel_name(k));
    CHECK(p->fast->mr <= FC_MAX_MR, "FC_MAX_MR");
    CHECK(p->fast->fma_peak(10) > 0, "fma_peak");
    test_tile(p);
    test_packing_tile(p);
    test_row(p);
    test_lanes(p);
    test_depthwise(p);
    test_copy(p);
    test_spread(p);
    test_pool(p);
    test_unpool(p);
    test_elementwise(p);
    test_square_sum(p);
    test_index_range(p);
    test_column_sum(p);
}

int main(void) {
    for_each_pair(test_kernels);
    return report();
}
