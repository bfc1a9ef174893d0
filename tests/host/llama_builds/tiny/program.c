#include <stdio.h>

int main(void) {
    printf("version: 0.0.1-tiny (build 1, commit %s)\n", COMMIT);
    printf("compiled by account %s with %s network links\n", ACCOUNT, LINKS);
    return 0;
}
