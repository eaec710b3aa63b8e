/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The tiles of the direct algorithm (conv2d_direct.c): the products of one task and one pass, panel after panel of
 * weights. What the tiles to come need is on its way to the caches meanwhile. */
#include "border.h"
#include "conv2d_direct.h"

/* The panel after this one, if it is packed. */
static fc_region next_panel(const task *t, const pass *ps, int64_t panel) {
    const plan *pl = t->pl;
    if (pl->pack_late || panel + 1 >= t->first_panel + t->panels) return (fc_region){0};
    return (fc_region){.base = panel_address(pl, t->group, ps, panel + 1), .outer = 1, .inner = 1,
                       .lines = ps->terms * pl->panel_width * (int64_t)pl->size / FC_CACHE_LINE,
                       .line_step = FC_CACHE_LINE};
}

/* The pixels of a task in the order of their taps. */
typedef struct sorted {
    fc_pixel_class *classes;
    int64_t count;
    ptrdiff_t *a_row, *c_row;
    int64_t whole_tiles; /* of the pixels that all taps meet */
} sorted;

/* Weights on the way from where they lie to L2. */
typedef struct strip {
    const char *at;       /* the strip after the one at work; NULL: there is none */
    int64_t lines, next;  /* of it; brought in so far */
    int64_t tiles, done;  /* of the strip at work: how many there are, how many have run */
} strip;

/* What the next tiles and panels need, on the way to the caches. */
typedef struct scans {
    fc_scan input, weights;
    strip strip;
} scans;

static int has_all_taps(const plan *pl, const fc_pixel_class *class) {
    return class->rows.end - class->rows.first == pl->window.r &&
           class->columns.end - class->columns.first == pl->window.s;
}

static sorted sort_pixels(const task *t, char *memory) {
    const plan *pl = t->pl;
    sorted s = {.classes = (fc_pixel_class *)(void *)memory};
    fc_taps *taps = (fc_taps *)(void *)(s.classes + t->pixels);
    int64_t *order = (int64_t *)(void *)(taps + t->block.rows + t->block.columns);
    s.a_row = (ptrdiff_t *)(order + t->pixels);
    s.c_row = s.a_row + t->pixels;
    s.count = fc_sort_by_taps(&pl->window, &t->block, taps, order, s.classes);
    for (int64_t i = 0; i < t->pixels; i++) {
        s.a_row[i] = t->a_row[order[i]];
        s.c_row[i] = t->c_row[order[i]];
    }
    for (int64_t i = 0; i < s.count; i++) {
        if (!has_all_taps(pl, &s.classes[i])) continue;
        s.whole_tiles = fc_ceil_div(s.classes[i].count, pl->kernels->mr);
        const fc_pixel_class first = s.classes[0]; /* is done first: its tiles see all weights */
        s.classes[0] = s.classes[i], s.classes[i] = first;
    }
    return s;
}

/* A panel of weights at work. Where the tiles can read the weights, the first one packs them: copied before them, one
 * 7x7 image of 512 to 2048 channels took x1.15 to x1.25 as long. */
typedef struct work {
    fc_tile tile;
    const char *a, *b, *bias;
    const char *unpacked; /* the same weights where they lie, at b_term; NULL: they are packed */
    int columns, brings_strips;
    char *c;
    scans *ahead;
} work;

/* One line of the next strip for each pair of terms, in the tiles that have a turn: as many as are needed, evenly
 * spread. */
static void bring_lines(const task *t, work *w) {
    strip *s = &w->ahead->strip;
    const int64_t share = w->tile.terms / 2, due = s->lines * ++s->done / s->tiles;
    const int has_turn = s->at != NULL && s->next < FC_MIN(due, s->lines);
    if (!has_turn) return;
    w->tile.lines = t->lines + FC_MIN(s->next, s->lines - share);
    w->tile.ahead[1].at = s->at;
    s->next += share;
}

/* The terms of the tile, which begin with number `first` of the panel, for `count` pixels. */
static void multiply_tiles(const task *t, work *w, int64_t first, int64_t count, const ptrdiff_t *a_row,
                           const ptrdiff_t *c_row, int looks_ahead) {
    const fc_kernels *kernels = t->pl->kernels;
    const char *b = w->b + first * w->tile.width * (int64_t)t->pl->size;
    const int64_t tiles = fc_ceil_div(count, kernels->mr);
    for (int64_t i = 0, from = 0, to; i < tiles; i++, from = to) {
        to = (i + 1) * count / tiles; /* spread evenly: a last tile of 2 rows would cost as much as 8 */
        w->tile.ahead[0] = looks_ahead ? fc_next_share(&w->ahead->input) : (fc_ahead){0};
        w->tile.ahead[1] = looks_ahead ? fc_next_share(&w->ahead->weights) : (fc_ahead){0};
        w->tile.b_term = w->unpacked == NULL ? NULL : t->b_term;
        w->tile.lines = NULL;
        if (w->brings_strips && looks_ahead) bring_lines(t, w);
        kernels->tile(&w->tile, (int)(to - from), w->a, a_row + from, w->unpacked == NULL ? b : w->unpacked, w->bias,
                      w->columns, w->c, c_row + from);
        w->unpacked = NULL;
    }
}

/* The pixels of one class: in one piece where all columns of the window meet the image, else a row of the window at a
 * time. */
static void multiply_class(const task *t, const pass *ps, const work *panel, const sorted *pixels,
                           const fc_pixel_class *class) {
    const plan *pl = t->pl;
    const int64_t s = pl->window.s;
    const int whole = class->columns.first == 0 && class->columns.end == s;
    const int64_t step = whole ? class->rows.end - class->rows.first : 1;
    work w = *panel;
    for (int64_t r = class->rows.first; r < class->rows.end; r += step, w.tile.accumulate = 1) {
        const int64_t first = (r * s + class->columns.first) * ps->channels;
        const int last = r + step >= class->rows.end;
        w.tile.a_term = t->term + first;
        w.tile.terms = whole ? step * s * ps->channels : (class->columns.end - class->columns.first) * ps->channels;
        w.tile.activation = last ? panel->tile.activation : FC_EPILOGUE_NONE;
        w.bias = last ? panel->bias : NULL;
        multiply_tiles(t, &w, first, class->count, pixels->a_row + class->from, pixels->c_row + class->from,
                       has_all_taps(pl, class));
    }
}

/* What to bring in while the strip that begins with `panel` is at work: the next one of this pass, the first of the
 * next pass, or that of the next task. */
static strip next_strip(const task *t, int64_t pass_index, int64_t panel, int64_t tiles) {
    const plan *pl = t->pl;
    const int64_t end = t->first_panel + t->panels, next = panel + strip_panels(pl);
    const pass now = pass_at(pl, pass_index);
    strip s = {.tiles = tiles * (FC_MIN(next, end) - panel), .lines = now.terms * strip_lines(pl)};
    const int64_t then = next < end ? pass_index : (pass_index + 1) % pass_count(pl);
    const int64_t there = next < end ? next : then > 0 ? t->first_panel : end;
    const pass ps = pass_at(pl, then);
    if (there < pl->panels) s.at = weights_at(t, &ps, there);
    return s;
}

void fc_direct_multiply_pass(task *t, int64_t pass_index, const fc_tile *tile, const char *a) {
    const plan *pl = t->pl;
    const fc_direct *d = pl->d;
    const pass now = pass_at(pl, pass_index), *ps = &now;
    const int last = pass_index + 1 == pass_count(pl);
    const sorted by_taps = pl->by_taps ? sort_pixels(t, t->input + pl->sorted_at) : (sorted){0};
    const int64_t tiles = pl->by_taps ? FC_MAX(1, by_taps.whole_tiles) : fc_ceil_div(t->pixels, pl->kernels->mr);
    const int tile_packs = pl->tiles_pack && (!pl->by_taps || by_taps.whole_tiles > 0);
    const fc_region input = fc_next_input(&pl->walk, t->group, t->pixel_block, pass_index);
    scans ahead = {.input = fc_scan_of(&input, t->panels * tiles, ps->terms)};
    char *y = (char *)d->y.data + t->group * d->y_group * (int64_t)pl->size;
    for (int64_t panel = t->first_panel; panel < t->first_panel + t->panels; panel++) {
        const int64_t k = panel * pl->panel_width;
        work w = {.tile = *tile, .a = a, .columns = panel_columns(pl, panel), .ahead = &ahead,
                  .brings_strips = tile_packs && pl->by_strips};
        w.tile.width = panel_width_at(pl, panel);
        w.tile.panel = t->panel;
        w.b = pl->pack_late ? t->panel : panel_address(pl, t->group, ps, panel);
        if (tile_packs && w.columns == 2 * pl->kernels->vl) w.unpacked = weights_at(t, ps, panel);
        else if (pl->pack_late) fc_direct_pack_panel(pl, t->group, ps, panel, t->panel);
        if (last && d->bias != NULL) w.bias = bias_at(pl, t->group, k);
        w.c = pl->direct_y ? y + k * (int64_t)pl->size
                           : t->output + (size_t)((panel - t->first_panel) * pl->panel_width) * pl->size;
        if (w.brings_strips && (panel - t->first_panel) % strip_panels(pl) == 0)
            ahead.strip = next_strip(t, pass_index, panel, tiles);
        const fc_region weights = next_panel(t, ps, panel);
        ahead.weights = fc_scan_of(&weights, tiles, ps->terms);
        if (pl->by_taps) {
            for (int64_t i = 0; i < by_taps.count; i++, w.unpacked = NULL)
                multiply_class(t, ps, &w, &by_taps, &by_taps.classes[i]);
        } else {
            multiply_tiles(t, &w, 0, t->pixels, t->a_row, t->c_row, 1);
        }
    }
}
