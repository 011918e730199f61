// Opening, reading and writing with every error checked. A call that is interrupted by a signal has done nothing.
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline int open_in(const char *dir, const char *name, int flags)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        errx(1, "%s: name too long", dir);
    int fd = open(path, flags, 0600);
    if (fd < 0)
        err(1, "%s", path);
    return fd;
}

// read(2) and write(2), again if a signal has interrupted them.
static inline ssize_t read_message(int fd, char *message, size_t size)
{
    ssize_t got;
    do
        got = read(fd, message, size);
    while (got < 0 && errno == EINTR);
    return got;
}

static inline ssize_t write_message(int fd, const char *message, size_t size)
{
    ssize_t sent;
    do
        sent = write(fd, message, size);
    while (sent < 0 && errno == EINTR);
    return sent;
}

// One message, as a string. Returns its length, 0 at the end.
static inline size_t receive(int fd, char *message, size_t size)
{
    ssize_t got = read_message(fd, message, size - 1);
    if (got < 0)
        err(1, "read");
    message[got] = '\0';
    return got;
}

// A write is one message, whole or not at all.
static inline void send_message(int fd, const char *message, size_t size)
{
    if (write_message(fd, message, size) < 0)
        err(1, "write");
}
