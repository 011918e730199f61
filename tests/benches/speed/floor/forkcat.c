/* How long it takes from fork(2) of a small process, over exec of cat, to its first answer through a pipe.
 *
 * forkcat ROUNDS: prints the median in microseconds.
 * forkcat ROUNDS PATH: the same from open(2) of PATH, which is a cat. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void talk(int to, int from) {
    char answer[16];
    if (write(to, "hello\n", 6) != 6 || read(from, answer, sizeof answer) != 6) exit(1);
}

static double through_pipes(void) {
    int to[2], from[2];
    double start = now();
    if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC)) exit(1);
    pid_t child = fork();
    if (child == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        execlp("cat", "cat", (char *)0);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    talk(to[1], from[0]);
    double took = now() - start;
    close(to[1]);
    close(from[0]);
    waitpid(child, 0, 0);
    return took;
}

static double through(const char *path) {
    double start = now();
    int fd = open(path, O_RDWR);
    if (fd < 0) exit(1);
    talk(fd, fd);
    double took = now() - start;
    close(fd);
    usleep(2000); /* its cat ends, as the other's is waited for */
    return took;
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 0;
    if (rounds < 1) return 2;
    double *times = calloc(rounds, sizeof *times);
    for (int i = 0; times && i < rounds; i++) times[i] = argc > 2 ? through(argv[2]) : through_pipes();
    qsort(times, rounds, sizeof *times, compare);
    printf("p50 %.1f\n", times[rounds / 2]);
}
