// waiter ACTION PATH [COUNT]: one thing that waits at a file, and how it ended: "read 3 abc", "wrote 5", "polled in" or
// the name of the error, such as "EINTR". SIGINT has a handler, so it ends the wait and not the process.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char buffer[1 << 20];

static void on_signal(int signal) { (void)signal; }

static int failed(void) {
    printf("%s\n", strerrorname_np(errno));
    return 1;
}

static int do_read(int fd) {
    ssize_t len = read(fd, buffer, sizeof buffer);
    if (len < 0) return failed();
    printf("read %zd %.*s\n", len, (int)len, buffer);
    return 0;
}

static int do_write(int fd, const char *text) {
    ssize_t len = write(fd, text, strlen(text));
    if (len < 0) return failed();
    printf("wrote %zd\n", len);
    return 0;
}

static int do_poll(int fd, short events) {
    struct pollfd polled = {fd, events, 0};
    if (poll(&polled, 1, -1) < 0) return failed();
    int is = polled.revents;
    const char *in = is & POLLIN ? " in" : "", *out = is & POLLOUT ? " out" : "";
    printf("polled%s%s%s%s\n", in, out, is & POLLERR ? " err" : "", is & POLLHUP ? " hup" : "");
    return 0;
}

// COUNT processes write to one open file; each says its pid first.
static int share(int fd, int count) {
    for (int i = 0; i < count; i++) {
        if (fork() == 0) {
            printf("%d\n", getpid());
            fflush(stdout);
            _exit(do_write(fd, "shared"));
        }
    }
    close(fd);
    while (wait(NULL) > 0) {}
    return 0;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 3) return 2;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    const char *does = argv[1], *path = argv[2];
    int is_read = !strcmp(does, "read") || !strcmp(does, "hold") || !strcmp(does, "poll");
    int flags = is_read ? O_RDONLY : !strcmp(does, "idle") ? O_RDWR : O_WRONLY;
    if (!strcmp(does, "append")) flags |= O_APPEND;
    if (!strcmp(does, "sync")) flags |= O_SYNC;
    int fd = open(path, flags);
    if (fd < 0) return failed();
    if (!strcmp(does, "read")) return do_read(fd);
    if (!strcmp(does, "poll")) return do_poll(fd, POLLIN);
    if (!strcmp(does, "pollout")) return do_poll(fd, POLLOUT);
    if (!strcmp(does, "share")) return share(fd, atoi(argv[3]));
    if (!strcmp(does, "hold") && do_read(fd)) return 1;
    if (!strcmp(does, "begin") && do_write(fd, "half")) return 1;
    if (!strcmp(does, "hold") || !strcmp(does, "begin") || !strcmp(does, "idle")) for (;;) pause();
    return do_write(fd, argc > 3 ? argv[3] : "message");
}
