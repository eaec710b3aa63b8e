/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Average pooling, backward: each pixel adds up the shares of the windows that reach it; see unpool.h. */
#include "../base/compiler.h"
#include "../base/convert.h"
#include "../base/scratch.h"
#include "../base/threads.h"
#include "blocking.h"
#include "unpool.h"

/* The windows that reach each position of an axis. */
static void cover(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t before, fc_span *spans) {
    for (int64_t i = 0; i < in; i++) {
        const int64_t from_end = i + before - kernel; /* the last window that ends before the position starts here */
        spans[i].first = from_end < 0 ? 0 : from_end / stride + 1;
        spans[i].end = FC_MIN(out, (i + before) / stride + 1);
    }
}

/* The same of adaptive pooling: the rule of its windows, with input and output in each other's place. */
static void cover_adaptive(int64_t in, int64_t out, fc_span *spans) {
    for (int64_t i = 0; i < in; i++) spans[i] = (fc_span){i * out / in, fc_ceil_div((i + 1) * out, in)};
}

static void cover_all(const fc_pool2d *g, fc_span *rows, fc_span *columns) {
    if (g->adaptive) {
        cover_adaptive(g->h, g->p, rows);
        cover_adaptive(g->w, g->q, columns);
    } else {
        cover(g->h, g->p, g->r, g->stride_h, g->pad_top, rows);
        cover(g->w, g->q, g->s, g->stride_w, g->pad_left, columns);
    }
}

/* Scratch that suffices for a task of one line and one channel, whatever the type. */
static size_t least_scratch(const fc_pool2d *g) {
    const int64_t rows = FC_MIN(g->p, g->adaptive ? g->p / g->h + 2 : (g->r - 1) / g->stride_h + 1);
    return 4 * FC_CACHE_LINE + (size_t)(g->w + 2 * rows * g->q) * sizeof(double);
}

fc_status fc_avg_pool2d_backward(const fc_pool2d *g, const fc_array *grad_y, const fc_array *grad_x) {
    if (!fc_is_compute_type(grad_x->dtype)) return FC_BAD_DTYPE;
    if (g->n == 0) return FC_OK;
    const size_t worker_bytes = FC_ALIGN_UP(FC_MAX((size_t)FC_UNPOOL_BYTES, least_scratch(g)));
    const size_t cover_bytes = FC_ALIGN_UP((size_t)(g->h + g->w) * sizeof(fc_span));
    const double work = (double)g->n * (double)g->c * (double)(g->h * g->w);
    const int threads = fc_threads_for(INT64_MAX, FC_NUMBER_WORK * work);
    char *scratch = fc_scratch_take(cover_bytes + (size_t)threads * worker_bytes);
    if (scratch == NULL) return FC_NO_MEMORY;
    fc_span *rows = (fc_span *)(void *)scratch, *columns = rows + g->h;
    cover_all(g, rows, columns);
    fc_unpool u = {.g = g, .grad_y = grad_y, .grad_x = grad_x, .depth = &fc_pool_flat, .rows = rows,
                   .columns = columns};
    fc_unpool_plan(&u, worker_bytes);
    const fc_status status = fc_unpool_run_tasks(&u, threads, scratch + cover_bytes);
    fc_scratch_give_back(scratch);
    return status;
}
