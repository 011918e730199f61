// party send|receive|talk PATH CHANNEL NAME LOG: a process that sends to, receives from or does both at a channel until
// SIGTERM, opens it again whenever it has to, and writes down what became of everything, a line in one write(2):
//   N open PLACE               the N-th time that it came to have the file open
//   N try SEQUENCE             about to send
//   N sent SEQUENCE | N failed SEQUENCE ERROR
//   N got WRITER OPENING SEQUENCE | N wrong TEXT
//   N end ERROR                reading or writing failed; "0" is the end of the channel
//   N close                    was told to end
// A message says where it belongs: "CHANNEL WRITER OPENING SEQUENCE LENGTH HASH " and then LENGTH letters.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 200000 };

static const char *path, *channel, *name;
static int logged;
static volatile sig_atomic_t ending;
static unsigned long sequence;

static void on_term(int signal) {
    (void)signal;
    ending = 1;
}

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...) {
    char line[400];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int len = snprintf(line, sizeof line, "%lld.%06ld ", (long long)now.tv_sec, now.tv_nsec / 1000);
    va_list args;
    va_start(args, format);
    len += vsnprintf(line + len, sizeof line - len - 1, format, args);
    va_end(args);
    line[len++] = '\n';
    if (write(logged, line, len) != len) abort();
}

static unsigned hash(const char *text, size_t len) {
    unsigned sum = 2166136261u;
    for (size_t i = 0; i < len; i++) sum = (sum ^ (unsigned char)text[i]) * 16777619u;
    return sum;
}

// Faults are to meet traffic, not a machine without time.
static void rest(long ms) { nanosleep(&(struct timespec){0, ms * 1000000}, NULL); }

// One message, of some letters or of many.
static int send_one(int fd, unsigned opening) {
    static char message[ROOM], letters[ROOM];
    unsigned long number = ++sequence;
    size_t len = number % 50 == 0 ? 150000 : number * 7919 % 700;
    for (size_t i = 0; i < len; i++) letters[i] = 'a' + (number + i) % 26;
    int head = snprintf(message, 200, "%s %s %u %lu %zu %u ", channel, name, opening, number, len, hash(letters, len));
    memcpy(message + head, letters, len);
    note("%u try %lu", opening, number);
    ssize_t sent = write(fd, message, head + len);
    if (sent == (ssize_t)(head + len)) {
        note("%u sent %lu", opening, number);
        rest(1);
        return 1;
    }
    note("%u failed %lu %s", opening, number, sent < 0 ? strerrorname_np(errno) : "short");
    return 0;
}

static int receive_one(int fd, unsigned opening) {
    static char message[ROOM];
    ssize_t len = read(fd, message, sizeof message - 1);
    if (len <= 0) {
        note("%u end %s", opening, len == 0 ? "0" : strerrorname_np(errno));
        return 0;
    }
    message[len] = 0;
    char where[64], who[64];
    unsigned its, sum;
    unsigned long number;
    size_t letters;
    int head = 0;
    if (sscanf(message, "%63s %63s %u %lu %zu %u %n", where, who, &its, &number, &letters, &sum, &head) != 6 ||
        strcmp(where, channel) != 0 || letters != (size_t)(len - head) || hash(message + head, letters) != sum)
        note("%u wrong %.100s", opening, message);
    else
        note("%u got %s %u %lu", opening, who, its, number);
    return 1;
}

// One of the two directions of a talk; whichever fails first ends it for both.
struct talk {
    int fd;
    unsigned opening;
    atomic_int over;
};

static void *talk_sends(void *argument) {
    struct talk *talk = argument;
    while (!ending && !talk->over && send_one(talk->fd, talk->opening)) {}
    talk->over = 1;
    return NULL;
}

static void talk_once(int fd, unsigned opening) {
    struct talk talk = {fd, opening, 0};
    pthread_t sender;
    // SIGTERM is for this thread, which reads.
    sigset_t term, before;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, &before);
    if (pthread_create(&sender, NULL, talk_sends, &talk) != 0) abort();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    while (!ending && receive_one(fd, opening)) {}
    talk.over = 1;
    // It may wait in its write: interrupted, again and again, because a signal may come just before it.
    struct timespec soon;
    do {
        pthread_kill(sender, SIGUSR1);
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_nsec += 20000000;
        if (soon.tv_nsec >= 1000000000) soon.tv_nsec -= 1000000000, soon.tv_sec++;
    } while (pthread_timedjoin_np(sender, NULL, &soon) != 0);
}

static void ignored(int signal) { (void)signal; }

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    const char *does = argv[1];
    path = argv[2], channel = argv[3], name = argv[4];
    logged = open(argv[5], O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (logged < 0) return 3;
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term}, NULL);
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = ignored}, NULL);
    int mode = *does == 's' ? O_WRONLY : *does == 'r' ? O_RDONLY : O_RDWR;
    for (unsigned opening = 1; !ending;) {
        int fd = open(path, mode);
        if (fd < 0) {
            rest(5);
            continue;
        }
        note("%u open", opening);
        if (*does == 's')
            while (!ending && send_one(fd, opening)) {}
        else if (*does == 'r')
            while (!ending && receive_one(fd, opening)) {}
        else
            talk_once(fd, opening);
        note("%u close", opening);
        close(fd);
        opening++;
    }
    return 0;
}
