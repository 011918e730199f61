// Serves SERVICE, many clients at once in one thread: each message is a number, the answer the sum of this client's
// numbers. It never waits in read or write, only in poll: no client can hold up another.
#include "file.h"
#include <ctype.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>

enum { CLIENTS = 1000 };

// What each descriptor waits for: POLLOUT, that a client has come or has taken the answer before; then POLLIN, its
// message. The one at 0 is nobody's yet.
static struct pollfd fds[CLIENTS + 1];
static unsigned long sums[CLIENTS + 1];
static nfds_t clients = 0;

// Opens the end of another client. False when the service was removed.
static bool open_accept(const char *service)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/accept", service);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT)
        err(1, "%s", path);
    fds[0] = (struct pollfd){ .fd = fd, .events = POLLOUT }; // poll passes over -1
    return fd >= 0;
}

static bool is_number(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && text[digits + strspn(text + digits, "\n")] == '\0';
}

// Answers one message. False when the client is gone: it closed its end (0), was killed (ECONNRESET), or did not wait
// for its answer (EPIPE).
static bool answer(nfds_t client)
{
    char text[64];
    ssize_t size = read_message(fds[client].fd, text, sizeof text - 1);
    if (size <= 0)
        return false;
    text[size] = '\0';
    if (is_number(text))
        size = snprintf(text, sizeof text, "%lu\n", sums[client] += strtoul(text, NULL, 10));
    else
        size = snprintf(text, sizeof text, "not a number\n");
    return write_message(fds[client].fd, text, size) == size;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        errx(2, "usage: server SERVICE");
    bool open = open_accept(argv[1]);
    while (open || clients > 0) {
        bool full = clients == CLIENTS;
        if (poll(fds + full, clients + !full, -1) < 0)
            err(1, "poll");
        for (nfds_t client = clients; client > 0; client--) {
            if (fds[client].revents == 0)
                continue;
            if (fds[client].events == POLLOUT) {
                fds[client].events = POLLIN;
            } else if (answer(client)) {
                fds[client].events = POLLOUT;
            } else {
                close(fds[client].fd);
                fds[client] = fds[clients];
                sums[client] = sums[clients--];
            }
        }
        if (open && !full && fds[0].revents != 0) {
            fds[++clients] = fds[0];
            fds[clients].events = POLLIN;
            sums[clients] = 0;
            open = open_accept(argv[1]);
        }
    }
    return 0;
}
