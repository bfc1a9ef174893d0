/*
 * strixfleet-membw [--threads N] [--seconds S] [--mib M]
 *
 * Prints how fast this machine reads memory: {"threads": N, "read_gb_s": X}, in 10^9 bytes per second.
 * Each thread sums 64-bit words of its own buffer, larger than any cache of these machines; the best of the
 * rounds within S seconds counts, because other load only ever makes it slower.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <time.h>

struct work {
    uint64_t *words;
    size_t count;
    uint64_t sum;
};

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *fill(void *argument) {
    struct work *w = argument;
    for (size_t i = 0; i < w->count; i++) w->words[i] = i * 0x9e3779b97f4a7c15ull;
    return NULL;
}

static void *read_all(void *argument) {
    struct work *w = argument;
    const uint64_t *p = w->words;
    uint64_t sum[16] = {0};
    for (size_t i = 0; i < w->count; i += 16)
        for (int lane = 0; lane < 16; lane++) sum[lane] += p[i + lane];
    uint64_t total = 0;
    for (int lane = 0; lane < 16; lane++) total += sum[lane];
    w->sum += total;
    return NULL;
}

static int together(struct work *work, long threads, void *(*what)(void *)) {
    pthread_t *ids = malloc(sizeof(pthread_t) * (size_t)threads);
    if (!ids) return 1;
    for (long t = 0; t < threads; t++)
        if (pthread_create(&ids[t], NULL, what, &work[t])) return 1;
    for (long t = 0; t < threads; t++) pthread_join(ids[t], NULL);
    free(ids);
    return 0;
}

static long affinity(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

int main(int argc, char **argv) {
    long threads = affinity(), mib = 512;
    double seconds = 2.0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--threads")) threads = strtol(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--mib")) mib = strtol(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--seconds")) seconds = strtod(argv[i + 1], NULL);
    }
    if (threads < 1 || threads > 1024 || mib < 16 || mib > 65536 || seconds <= 0 || seconds > 60) {
        fprintf(stderr, "usage: strixfleet-membw [--threads N] [--seconds S] [--mib M]\n");
        return 2;
    }
    struct work *work = calloc((size_t)threads, sizeof *work);
    size_t each = ((size_t)mib << 20) / (size_t)threads / 128 * 128;
    double bytes = (double)each * (double)threads, best = 0;
    for (long t = 0; work && t < threads; t++) {
        work[t].count = each / 8;
        if (posix_memalign((void **)&work[t].words, 4096, each)) work = NULL;
    }
    if (!work || together(work, threads, fill)) {
        fprintf(stderr, "strixfleet-membw: out of memory or threads\n");
        return 1;
    }
    for (double start = now_s(); now_s() - start < seconds;) {
        double begun = now_s();
        if (together(work, threads, read_all)) return 1;
        double speed = bytes / (now_s() - begun) / 1e9;
        if (speed > best) best = speed;
    }
    volatile uint64_t keep = 0;
    for (long t = 0; t < threads; t++) keep += work[t].sum;
    printf("{\"threads\": %ld, \"read_gb_s\": %.2f}\n", threads, best);
    return 0;
}
