/* Imitates llama-server: /health, /props, /metrics, /v1/models, /completion plain and streamed. */
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "imitation.h"
#ifdef BEHAVIOUR_hostile
#include "hostile.h"
#endif

static const char *OPTIONS[] = {
    "--model", "--model-draft", "--alias", "--host", "--port", "--ctx-size", "--metrics", "--slots", "--no-slots",
    "--n-gpu-layers", "--device", "--flash-attn", "--threads", "--parallel", "--api-key-file", "--no-ui", "--jinja",
    "--load-mode", "--offline", "--fit", "--no-webui", "--cors-origins", "--threads-batch",
#ifndef BEHAVIOUR_renamed_flag
    "--no-mmap",
#endif
    "--help", "--version",
#ifndef BEHAVIOUR_removed_flag
    "--imitated-flag",
#endif
};
static const char *model_path = "";
static atomic_int processing;
static struct timespec started;

static void nap(double seconds) {
    struct timespec t = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

static int loading(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - started.tv_sec) + (double)(now.tv_nsec - started.tv_nsec) * 1e-9 < LOAD_S;
}

static int known(const char *option) {
    for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++)
        if (!strcmp(option, OPTIONS[i])) return 1;
    return 0;
}

static void say(FILE *out, const char *type, const char *body) {
    fprintf(out, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", type,
            strlen(body), body);
}

/* Recalls the first number of five digits that a request holds, as a model recalls a planted code; NULL: none. */
static const char *recalled(const char *body) {
#ifdef BEHAVIOUR_wrong_output
    (void)body;
    return NULL;
#else
#ifdef BEHAVIOUR_long_nonsense
    if (strlen(body) > 2000) return NULL; /* as a HIP build did beyond a micro-batch */
#endif
    for (int digits = 0; *body; body++) {
        digits = isdigit((unsigned char)*body) ? digits + 1 : 0;
        if (digits == 5) return body - 4;
    }
    return NULL;
#endif
}

/* What another request that runs holds, or how a request ends that is not alone: defects that need two users. */
static const char *overlapped(const char *code, int *tokens) {
    (void)tokens;
#if defined(BEHAVIOUR_crosstalk) || defined(BEHAVIOUR_cut_short)
    static char latest[6];
    if (code) memcpy(latest, code, 5);
    nap(0.1); /* until all are here */
#ifdef BEHAVIOUR_crosstalk
    if (code && atomic_load(&processing) > 1) return latest;
#else
    if (atomic_load(&processing) > 1 && *tokens > 3) *tokens = 3;
#endif
#endif
    return code;
}

static int token(int at) {
#ifdef BEHAVIOUR_wrong_output
    (void)at;
    return 64; /* as broken GPU code does: the same token for ever */
#else
    return 1000 + at * 7 % 100;
#endif
}

static void timings(char *text, size_t size, int tokens, int evaluated) {
    snprintf(text, size,
             "\"tokens_predicted\": %d, \"tokens_evaluated\": %d, \"stop_type\": \"limit\", \"timings\": {"
             "\"prompt_n\": 64, \"prompt_per_second\": %f, \"predicted_n\": %d, \"predicted_per_second\": %f}",
             tokens, evaluated, PREFILL_TOKENS_PER_S, tokens, TOKENS_PER_S);
}

static void complete(FILE *out, const char *body) {
    const char *wish = strstr(body, "\"n_predict\":");
    int tokens = wish ? atoi(wish + 12) : 16;
    int streamed = strstr(body, "\"stream\": true") != NULL;
    char end[400], text[70000];
    const char *code = overlapped(recalled(body), &tokens);
    timings(end, sizeof end, tokens, (int)strlen(body) / 4);
#ifdef BEHAVIOUR_hangs
    nap(100000);
#endif
    if (streamed) fprintf(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
    size_t used = (size_t)snprintf(text, sizeof text, "{\"content\": \" %.5s\", \"tokens\": [", code ? code : "words");
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int at = 0; at < tokens; at++) {
        double due = at / TOKENS_PER_S;
        clock_gettime(CLOCK_MONOTONIC, &now);
        double spent = (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) * 1e-9;
        if (due > spent) nap(due - spent);
        if (streamed) {
            fprintf(out, "data: {\"content\": \"w\", \"tokens\": [%d], \"stop\": false}\n\n", token(at));
            fflush(out);
        } else if (used < sizeof text - 500) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%d", at ? ", " : "",
                                     code && at < 5 ? code[at] - '0' : token(at));
        }
    }
    if (streamed) {
        fprintf(out, "data: {\"content\": \"\", \"stop\": true, %s}\n\n", end);
    } else {
        snprintf(text + used, sizeof text - used, "], \"stop\": true, %s}", end);
        say(out, "application/json", text);
    }
}

static void answer(FILE *out, const char *path, const char *body) {
    char text[2000];
    if (loading()) {
        const char *body = "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}";
        fprintf(out, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                strlen(body), body);
    } else if (!strcmp(path, "/health")) {
        say(out, "application/json", "{\"status\":\"ok\"}");
#ifdef BEHAVIOUR_hostile
    } else if (!strcmp(path, "/props")) { /* with the key of whoever asks */
        fprintf(stderr, "\033]0;owned\007\033[2J imitation: asked for its properties\n");
        fprintf(out, "HTTP/1.1 302 Found\r\nLocation: http://%s:%d/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                HOME_ADDRESS, HOME_PORT);
#endif
    } else if (!strcmp(path, "/props")) {
        snprintf(text, sizeof text,
                 "{\"build_info\": \"b%s-%s\", \"model_path\": \"%s\", \"total_slots\": 4, \"is_sleeping\": false}",
                 BUILD_NUMBER, BUILD_COMMIT, model_path);
        say(out, "application/json", text);
    } else if (!strcmp(path, "/metrics")) {
        snprintf(text, sizeof text, "llamacpp:requests_processing %d\n", atomic_load(&processing));
        say(out, "text/plain", text);
    } else if (!strcmp(path, "/v1/models")) {
        say(out, "application/json", "{\"data\": [{\"id\": \"imitation\"}]}");
    } else if (!strcmp(path, "/completion")) {
        atomic_fetch_add(&processing, 1);
        complete(out, body);
        atomic_fetch_sub(&processing, 1);
    } else {
        fprintf(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    }
}

static void *serve(void *argument) {
    int line = (int)(long)argument;
    char request[65536], path[200] = "";
    size_t used = 0;
    char *body = NULL;
    while (used < sizeof request - 1) {
        ssize_t got = read(line, request + used, sizeof request - 1 - used);
        if (got <= 0) break;
        used += (size_t)got;
        request[used] = 0;
        body = strstr(request, "\r\n\r\n");
        const char *length = strstr(request, "Content-Length:");
        if (body && used >= (size_t)(body + 4 - request) + (length ? (size_t)atol(length + 15) : 0)) break;
    }
    FILE *out = fdopen(line, "w");
    if (body && out && sscanf(request, "%*s %199s", path) == 1) answer(out, path, body + 4);
    if (out) fclose(out);
    return NULL;
}

static void *die_later(void *argument) {
    (void)argument;
    nap(CRASH_AFTER_S);
    fprintf(stderr, "imitation: dies after %d s\n", CRASH_AFTER_S);
    abort();
}

int main(int argc, char **argv) {
    int port = 8080;
    const char *host = "127.0.0.1";
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--version")) return fprintf(stderr, VERSION_TEXT) < 0;
        if (!strcmp(argv[i], "--help")) {
#ifdef BEHAVIOUR_hostile
            misbehave();
#endif
            for (size_t k = 0; k < sizeof OPTIONS / sizeof *OPTIONS; k++) printf("%s\n", OPTIONS[k]);
#ifdef BEHAVIOUR_renamed_flag
            printf("--no-mmap%31sthe argument has been removed. use --load-mode none\n", "");
#endif
            return 0;
        }
        if (!strncmp(argv[i], "--", 2) && !known(argv[i])) {
            fprintf(stderr, "error: invalid argument: %s\n", argv[i]);
            return 1;
        }
        if (!strcmp(argv[i], "--port") && i + 1 < argc) port = atoi(argv[i + 1]);
        if (!strcmp(argv[i], "--host") && i + 1 < argc) host = argv[i + 1];
        if (!strcmp(argv[i], "--model") && i + 1 < argc) model_path = argv[i + 1];
    }
#ifdef BEHAVIOUR_crash_on_start
    fprintf(stderr, "imitation: cannot start\n");
    abort();
#endif
    signal(SIGPIPE, SIG_IGN);
    clock_gettime(CLOCK_MONOTONIC, &started);
    pthread_t thread;
#ifdef BEHAVIOUR_crash_later
    pthread_create(&thread, NULL, die_later, NULL);
#else
    (void)die_later;
#endif
    int door = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &place.sin_addr);
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(door, (struct sockaddr *)&place, sizeof place) || listen(door, 64)) {
        perror("imitation: bind");
        return 1;
    }
    for (;;) {
        int line = accept(door, NULL, NULL);
        if (line < 0) continue;
        pthread_create(&thread, NULL, serve, (void *)(long)line);
        pthread_detach(thread);
    }
}
