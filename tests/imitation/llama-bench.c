/* Imitates `llama-bench -o json`: one row for prefill, one for decode, with the real one's field names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "imitation.h"
#ifdef BEHAVIOUR_hostile
#include "hostile.h"
#endif

static const char *value(int argc, char **argv, const char *name, const char *otherwise) {
    for (int i = 1; i + 1 < argc; i++)
        if (!strcmp(argv[i], name)) return argv[i + 1];
    return otherwise;
}

static void row(const char *model, int prompt, int gen, int repetitions, double speed, const char *end) {
    printf("  {\"build_commit\": \"%s\", \"build_number\": %s, \"cpu_info\": \"imitation\", \"gpu_info\": \"\", ",
           BUILD_COMMIT, BUILD_NUMBER);
    printf("\"backends\": \"CPU\", \"model_filename\": \"%s\", \"model_type\": \"imitation\", ", model);
    printf("\"n_threads\": 1, \"n_gpu_layers\": -1, \"devices\": \"auto\", \"n_prompt\": %d, \"n_gen\": %d, ", prompt, gen);
    printf("\"n_depth\": 0, \"avg_ts\": %f, \"stddev_ts\": 0.5, \"samples_ts\": [", speed);
    for (int i = 0; i < repetitions; i++) printf("%s%f", i ? ", " : "", speed + 0.1 * i);
    printf("]}%s\n", end);
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "--version")) {
        printf(VERSION_TEXT);
        return 0;
    }
#ifdef BEHAVIOUR_hostile
    misbehave();
#endif
    const char *model = value(argc, argv, "-m", "none");
    int repetitions = atoi(value(argc, argv, "-r", "5"));
    printf("[\n");
    row(model, atoi(value(argc, argv, "-p", "512")), 0, repetitions, PREFILL_TOKENS_PER_S, ",");
    row(model, 0, atoi(value(argc, argv, "-n", "128")), repetitions, TOKENS_PER_S, "");
    printf("]\n");
    return 0;
}
