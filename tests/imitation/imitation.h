/* What both programs share: how fast this commit is, and how it calls itself. */
#ifdef BEHAVIOUR_does_not_compile
#error "this commit does not compile"
#endif
#ifdef BEHAVIOUR_slow
#define TOKENS_PER_S 100.0
#else
#define TOKENS_PER_S 250.0
#endif
#ifdef BEHAVIOUR_slow_prefill
#define PREFILL_TOKENS_PER_S (TOKENS_PER_S * 2)
#else
#define PREFILL_TOKENS_PER_S (TOKENS_PER_S * 4)
#endif
#define VERSION_TEXT "version: 0.0.1-imitation (build " BUILD_NUMBER ", commit " BUILD_COMMIT ")\n"
