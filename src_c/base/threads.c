/* SPDX-License-Identifier: BSD-3-Clause */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity, dladdr */
#endif
#include "threads.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "compiler.h"
#include "float_state.h"
#include "scratch.h"

/* A thread is worth waking for this many multiply-adds: about 10 microseconds of work at 60 GFLOP/s against
 * 2 to 5 microseconds for waking a thread that still spins. */
static const double WORK_PER_THREAD = 3e5;

/* How often a long call asks whether it should stop. */
static const double POLL_SECONDS = 0.05;

static atomic_int process_threads;
static _Thread_local int thread_threads;
static _Atomic(fc_poll_fn) poll_function;

void fc_set_num_threads(int threads) { atomic_store(&process_threads, threads); }
void fc_set_thread_num_threads(int threads) { thread_threads = threads; }
int fc_get_thread_num_threads(void) { return thread_threads; }
void fc_set_poll(fc_poll_fn poll) { atomic_store(&poll_function, poll); }

/* CPUs that the container may use: quota / period of its control group, version 2 or 1. */
static int container_quota(void) {
    double quota = 0, period = 0;
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (file != NULL) {
        if (fscanf(file, "%lf %lf", &quota, &period) != 2) quota = 0; /* "max": no limit */
        fclose(file);
    } else if ((file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r")) != NULL) {
        FILE *other = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r");
        if (other == NULL || fscanf(file, "%lf", &quota) != 1 || fscanf(other, "%lf", &period) != 1) quota = 0;
        if (other != NULL) fclose(other);
        fclose(file);
    }
    if (quota <= 0 || period <= 0) return 1 << 16;
    const int cpus = (int)((quota + period - 1) / period);
    return cpus > 0 ? cpus : 1;
}

static int quota_cpus;

/* Asked at every call: the affinity may change while the process runs. */
static int usable_cpus(void) {
    int cpus = 0;
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = CPU_COUNT(&set);
#endif
    if (cpus <= 0) cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return cpus < quota_cpus ? (cpus > 0 ? cpus : 1) : quota_cpus;
}

#if defined(_OPENMP)
static int initial_omp_threads;
static char runtime_file[256];

/* libgomp forgets its threads in a child process and then waits for them for ever. Releasing them before the fork
 * lets parent and child start anew. libomp resets itself (and aborts when asked to pause after a fork). */
static void before_fork(void) {
    if (!omp_in_parallel()) omp_pause_resource_all(omp_pause_hard);
}

static void find_runtime(void) {
    Dl_info info;
    initial_omp_threads = omp_get_max_threads();
    if (dladdr((void *)(uintptr_t)&omp_get_max_threads, &info) != 0 && info.dli_fname != NULL)
        snprintf(runtime_file, sizeof runtime_file, "%s", info.dli_fname);
    if (strstr(runtime_file, "gomp") != NULL) pthread_atfork(before_fork, NULL, NULL);
}

/* A limit that somebody (threadpoolctl, say) put on the OpenMP runtime since the library was loaded. */
static int omp_limit(void) {
    const int now = omp_get_max_threads();
    return now != initial_omp_threads ? now : 1 << 16;
}

const char *fc_openmp_runtime(void) { return runtime_file; }
#else
static void find_runtime(void) {}
static int omp_limit(void) { return 1; }
const char *fc_openmp_runtime(void) { return ""; }
#endif

__attribute__((constructor)) static void on_load(void) {
    quota_cpus = container_quota();
    find_runtime();
}

int fc_get_num_threads(void) {
    int threads = thread_threads;
    if (threads <= 0) threads = atomic_load_explicit(&process_threads, memory_order_relaxed);
    if (threads <= 0) threads = usable_cpus();
    const int limit = omp_limit();
    return threads < limit ? threads : limit;
}

int fc_threads_for(int64_t tasks, double work) {
    if (tasks <= 1 || work < 2 * WORK_PER_THREAD) return 1;
#if defined(_OPENMP)
    if (omp_in_parallel()) return 1; /* the caller is parallel already */
#endif
    const double worth = work / WORK_PER_THREAD;
    int threads = fc_get_num_threads();
    if ((double)threads > worth) threads = (int)worth;
    return tasks < threads ? (int)tasks : threads;
}

/* Neighbouring tasks work on neighbouring memory, and the tasks of one call often read what those of the last one
 * wrote. So each worker first does a range of its own, the same share of every loop, whose data its caches may still
 * hold; then it helps others with theirs. LeNet-5, 64 images, two threads, a step: x1.02 (best), x1.07 (quartile). */
enum { MOST_RANGES = 64 }; /* workers beyond share them */

typedef struct range {
    _Atomic int64_t next;
    int64_t end;
    char apart[FC_CACHE_LINE - 2 * sizeof(int64_t)];
} range;

typedef struct loop {
    int64_t tasks;
    fc_task_fn run;
    void *context;
    uint64_t float_state; /* of the caller: every worker computes as the caller would */
    int ranges;
    atomic_int stop;
    range *of; /* [ranges] */
} loop;

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The next task of this worker's range or, after its end, of the next one that has any; -1: all are taken. `at` is the
 * range that it takes from. */
static int64_t take_task(loop *l, int worker, int *at) {
    for (int tried = *at - worker; tried < l->ranges; tried++) {
        *at = worker + tried;
        range *r = &l->of[*at % l->ranges];
        if (atomic_load_explicit(&r->next, memory_order_relaxed) >= r->end) continue;
        const int64_t task = atomic_fetch_add_explicit(&r->next, 1, memory_order_relaxed);
        if (task < r->end) return task;
    }
    return -1;
}

static void take_tasks(loop *l, int worker) {
    const fc_poll_fn poll = worker == 0 ? atomic_load(&poll_function) : NULL;
    double polled = poll != NULL ? seconds() : 0;
    int at = worker;
    for (;;) {
        const int64_t task = take_task(l, worker, &at);
        if (task < 0 || atomic_load_explicit(&l->stop, memory_order_relaxed)) return;
        l->run(l->context, task, worker);
        if (poll != NULL && seconds() - polled > POLL_SECONDS) {
            if (poll() != 0) atomic_store(&l->stop, 1);
            polled = seconds();
        }
    }
}

/* What tasks wrote past the caches can be read by others afterwards. */
static void end_streams(void) {
#if defined(__x86_64__)
    __builtin_ia32_sfence();
#endif
}

static void run_tasks(loop *l, int worker) {
    take_tasks(l, worker);
    end_streams();
}

#if defined(_OPENMP)
static void work(loop *l, int worker) {
    const uint64_t own = fc_float_state();
    fc_set_float_state(l->float_state);
    run_tasks(l, worker);
    fc_set_float_state(own);
}
#endif

static int range_count(int threads) { return threads < MOST_RANGES ? threads : MOST_RANGES; }

static int64_t range_begin(int i, int64_t tasks, int ranges) { return i * tasks / ranges; }

int64_t fc_task_from_end(int64_t task, int64_t tasks, int threads) {
    const int ranges = range_count(threads);
    int i = (int)(task * ranges / tasks);
    while (range_begin(i + 1, tasks, ranges) <= task) i++;
    return range_begin(i, tasks, ranges) + range_begin(i + 1, tasks, ranges) - 1 - task;
}

fc_status fc_parallel_for(int64_t tasks, int threads, fc_task_fn run, void *context) {
    if (tasks == 1) {
        run(context, 0, 0);
        end_streams();
        return FC_OK;
    }
    range ranges[MOST_RANGES];
    loop l = {.run = run, .context = context, .float_state = fc_float_state(), .of = ranges};
    l.ranges = range_count(threads);
    for (int i = 0; i < l.ranges; i++) {
        atomic_init(&ranges[i].next, range_begin(i, tasks, l.ranges));
        ranges[i].end = range_begin(i + 1, tasks, l.ranges);
    }
#if defined(_OPENMP)
    if (threads > 1) {
#pragma omp parallel num_threads(threads)
        work(&l, omp_get_thread_num());
    } else {
        run_tasks(&l, 0);
    }
#else
    (void)threads;
    run_tasks(&l, 0);
#endif
    return atomic_load(&l.stop) ? FC_INTERRUPTED : FC_OK;
}
