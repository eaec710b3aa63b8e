/* SPDX-License-Identifier: BSD-3-Clause */
#include "split_panels.h"

#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"

/* Chunks of a pass. In three parts the sums of 36 chunks, 216 roundings, are off by 2.6e-7 of the result, those of two
 * times 18 chunks by 1.8e-7 and 3 % later. Gathered input would not fit into L2 with more. */
enum { MOST_CHUNKS = 36, MOST_EXACT_CHUNKS = 18, MOST_GATHERED_CHUNKS = 18 };

/* A product with a tile of 7 rows takes 13 cycles, one of 14 rows 15, one of 16 rows 16: shorter rows are gathered. */
enum { SHORT_ROW = 12 };

static int gathers(const fc_window *w) {
    if (w->r == 1 && w->s == 1) return 0; /* lines of such windows follow one another anyway */
    const int64_t tiles = fc_ceil_div(w->q, FC_SPLIT_ROWS);
    return w->q < SHORT_ROW * tiles;
}

static fc_passes split_reduction(const fc_window *w, int64_t chunks, int gathered, int parts) {
    const int64_t most = gathered ? MOST_GATHERED_CHUNKS : parts == 3 ? MOST_EXACT_CHUNKS : MOST_CHUNKS;
    const int64_t taps = w->r * w->s;
    fc_passes passes = {.rows = taps > most ? FC_MAX(1, most / w->s) : w->r};
    const int64_t fit = FC_MAX(1, most / (passes.rows * w->s));
    passes.channels = fc_ceil_div(chunks, fc_ceil_div(chunks, fit)) * FC_SPLIT_TERMS;
    passes.row_blocks = fc_ceil_div(w->r, passes.rows);
    passes.channel_blocks = fc_ceil_div(chunks * FC_SPLIT_TERMS, passes.channels);
    return passes;
}

fc_split_product fc_split_product_of(const fc_direct *d, int parts) {
    fc_split_product of = {.d = d, .parts = parts, .window = d->window, .x = d->x};
    of.kernels = fc_kernels_for(FC_FLOAT32);
    of.split = fc_split_kernels();
    fc_drop_unread(&of.window, &of.x);
    of.chunks = fc_ceil_div(d->c, FC_SPLIT_TERMS);
    of.gathered = gathers(&of.window);
    of.passes = split_reduction(&of.window, of.chunks, of.gathered, parts);
    of.panels = fc_ceil_div(d->k, FC_SPLIT_COLUMNS);
    return of;
}

fc_split_pass fc_split_pass_at(const fc_split_product *of, int64_t index) {
    const fc_passes *split = &of->passes;
    fc_split_pass ps;
    ps.r = index / split->channel_blocks * split->rows;
    ps.c = index % split->channel_blocks * split->channels;
    ps.rows = FC_MIN(split->rows, of->window.r - ps.r);
    ps.channels = FC_MIN(split->channels, of->d->c - ps.c);
    ps.chunks = ps.rows * of->window.s * fc_ceil_div(ps.channels, FC_SPLIT_TERMS);
    ps.chunks_before = (ps.r * of->chunks + ps.rows * (ps.c / FC_SPLIT_TERMS)) * of->window.s;
    return ps;
}

int64_t fc_split_pass_count(const fc_split_product *of) { return of->passes.row_blocks * of->passes.channel_blocks; }

int fc_split_panel_columns(const fc_split_product *of, int64_t panel) {
    return (int)FC_MIN(FC_SPLIT_COLUMNS, of->d->k - panel * FC_SPLIT_COLUMNS);
}

static int64_t all_chunks(const fc_split_product *of) { return of->window.r * of->window.s * of->chunks; }

int64_t fc_split_panel_at(const fc_split_product *of, int64_t group, const fc_split_pass *ps, int64_t panel) {
    const int64_t chunk = (group * all_chunks(of) + ps->chunks_before) * of->panels + panel * ps->chunks;
    return chunk * of->parts * FC_SPLIT_PANEL;
}

int64_t fc_split_all_panels(const fc_split_product *of) {
    return of->d->groups * all_chunks(of) * of->panels * of->parts * FC_SPLIT_PANEL;
}

fc_rows_ahead fc_split_rows_ahead(const void *first, int64_t row_step, int64_t numbers) {
    const int64_t size = sizeof(float), lines = fc_ceil_div(numbers * size, FC_CACHE_LINE);
    return (fc_rows_ahead){.at = first, .gap = row_step * size - lines * FC_CACHE_LINE, .lines = (int)lines,
                           .left = (int)lines};
}

/* Where a panel's first weights lie. */
static const char *weights_of(const fc_split_product *of, int64_t group, const fc_split_pass *ps, int64_t panel) {
    const fc_array *weight = &of->d->weight;
    const int64_t *stride = weight->stride;
    return (const char *)weight->data + (group * of->d->weight_group + panel * FC_SPLIT_COLUMNS * stride[3] +
                                         ps->r * stride[0] + ps->c * stride[2]) *
                                            (int64_t)fc_dtype_size(weight->dtype);
}

/* Bytes from there to a chunk: of a tap of the pass, and of 32 channels. */
static ptrdiff_t chunk_at(const fc_split_product *of, int64_t tap, int64_t c) {
    const int64_t *stride = of->d->weight.stride, r = tap / of->window.s, s = tap % of->window.s;
    return (r * stride[0] + s * stride[1] + c * FC_SPLIT_TERMS * stride[2]) *
           (ptrdiff_t)fc_dtype_size(of->d->weight.dtype);
}

/* 32 terms by 32 filters. */
static void pack_chunk(const fc_split_product *of, const char *src, fc_rows_ahead *ahead, int terms, int columns,
                       fc_bf16 *dst) {
    const fc_array *weight = &of->d->weight;
    if (weight->dtype == FC_FLOAT32 && (weight->stride[3] == 1 || weight->stride[2] == 1)) {
        of->split->panel(of->parts, terms, columns, (const void *)src, weight->stride[2], weight->stride[3], ahead,
                         dst);
        return;
    }
    float some[FC_SPLIT_PANEL];
    const fc_reader reader = {.array = *weight, .to = FC_FLOAT32, .kernels = of->kernels};
    fc_copy_as(&reader, terms, columns, src, weight->stride[2], weight->stride[3], some, FC_SPLIT_COLUMNS, 1);
    of->split->panel(of->parts, terms, columns, some, FC_SPLIT_COLUMNS, 1, ahead, dst);
}

/* The panels of a pass that are packed together. */
typedef struct panels {
    const fc_split_product *of;
    const fc_split_pass *ps;
    int64_t group, first, count, taps;
    fc_bf16 *dst;
} panels;

static const char *chunk_of(const panels *p, int64_t i, int64_t tap, int64_t c) {
    return weights_of(p->of, p->group, p->ps, p->first + i) + chunk_at(p->of, tap, c);
}

static void pack_chunk_of(const panels *p, int64_t i, int64_t tap, int64_t c, fc_rows_ahead *ahead) {
    const int terms = (int)FC_MIN(FC_SPLIT_TERMS, p->ps->channels - c * FC_SPLIT_TERMS);
    pack_chunk(p->of, chunk_of(p, i, tap, c), ahead, terms, fc_split_panel_columns(p->of, p->first + i),
               p->dst + (i * p->ps->chunks + c * p->taps + tap) * p->of->parts * FC_SPLIT_PANEL);
}

/* Filters are adjacent: chunk by chunk, the panels take what each row of weights has of them. */
static void pack_by_chunks(const panels *p) {
    const int64_t filters = p->count * FC_SPLIT_COLUMNS, step = p->of->d->weight.stride[2];
    for (int64_t l = 0; l < p->ps->chunks; l++) {
        const char *next = chunk_of(p, 0, (l + 1) % p->taps, (l + 1) / p->taps);
        fc_rows_ahead ahead = fc_split_rows_ahead(next, step, filters);
        for (int64_t i = 0; i < p->count; i++) pack_chunk_of(p, i, l % p->taps, l / p->taps, &ahead);
    }
}

/* Terms are adjacent, or neither: panel by panel, the chunks of a tap take what each row has of them. */
static void pack_by_panels(const panels *p) {
    const int64_t *stride = p->of->d->weight.stride, channels = p->ps->channels;
    for (int64_t l = 0; l < p->taps * p->count; l++) {
        const int64_t next = l + 1;
        fc_rows_ahead ahead =
            fc_split_rows_ahead(chunk_of(p, next % p->count, next / p->count, 0), stride[3], channels);
        for (int64_t c = 0; c < fc_ceil_div(channels, FC_SPLIT_TERMS); c++)
            pack_chunk_of(p, l % p->count, l / p->count, c, stride[2] == 1 ? &ahead : NULL);
    }
}

void fc_split_pack_panels(const fc_split_product *of, int64_t group, const fc_split_pass *ps, int64_t first,
                          int64_t count, fc_bf16 *dst) {
    const panels p = {of, ps, group, first, count, ps->rows * of->window.s, dst};
    if (of->d->weight.stride[3] == 1) pack_by_chunks(&p);
    else pack_by_panels(&p);
}

typedef struct packing {
    const fc_split_product *of;
    fc_bf16 *dst;
} packing;

static void pack_task(void *context, int64_t task, int worker) {
    (void)worker;
    const packing *job = context;
    const fc_split_product *of = job->of;
    const int64_t blocks = fc_ceil_div(of->panels, FC_SPLIT_PANELS_AT_ONCE);
    const int64_t first = task % blocks * FC_SPLIT_PANELS_AT_ONCE, group = task / blocks / fc_split_pass_count(of);
    const fc_split_pass ps = fc_split_pass_at(of, task / blocks % fc_split_pass_count(of));
    fc_split_pack_panels(of, group, &ps, first, FC_MIN(FC_SPLIT_PANELS_AT_ONCE, of->panels - first),
                job->dst + fc_split_panel_at(of, group, &ps, first));
}

fc_status fc_split_pack_all(const fc_split_product *of, fc_bf16 *dst) {
    const int64_t tasks = of->d->groups * fc_split_pass_count(of) * fc_ceil_div(of->panels, FC_SPLIT_PANELS_AT_ONCE);
    const double numbers = (double)fc_split_all_panels(of) / of->parts;
    packing job = {of, dst};
    return fc_parallel_for(tasks, fc_threads_for(tasks, numbers), pack_task, &job);
}

size_t fc_split_panel_bytes(const fc_direct *d, int parts) {
    const fc_split_product of = fc_split_product_of(d, parts);
    return (size_t)fc_split_all_panels(&of) * sizeof(fc_bf16);
}

fc_status fc_split_pack(const fc_direct *d, int parts) {
    const fc_split_product of = fc_split_product_of(d, parts);
    return fc_split_pack_all(&of, (fc_bf16 *)(uintptr_t)d->weight.packed);
}

int64_t fc_split_form(const fc_direct *d, int parts) { return 2 * parts + fc_split_product_of(d, parts).gathered; }
