// storm DIR SEED ROUNDS: rounds of processes that read, write, hold and poll the channels in the mount DIR, each killed at
// a random moment. Who has written or read a message notes it in memory that all share. Says "over", waits for a line,
// reads what is left in the channels, and says of each: its name, how many messages were written, how many more may have
// been (their writers were killed before they could note it), how many were read, how often one was read once more,
// and how many of those written were not read. The last line: the longest time in microseconds from a kill -9 to the
// end of the process, and the number of messages that were not whole, or that nobody wrote there.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHANNELS = 4, PARTIES = 5, EACH = 8, LARGE = 300000 };

static const char *const files[CHANNELS][2] = {{"q", "q"}, {"s", "s"}, {"ack", "ack"}, {"pair/a", "pair/b"}};
static const char *const names[CHANNELS] = {"q", "s", "ack", "pair"};

// What is known of a message; its number is its place in the table.
struct note {
    uint8_t channel, begun, sent, got;
};

static struct note *notes;
static uint32_t *broken;
static uint32_t count;
static uint64_t state;
static char buffer[1 << 20];

static uint64_t next_random(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545F4914F6CDD1D >> 11;
}

static uint32_t below(uint32_t limit) { return next_random() % limit; }

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000ull + time.tv_nsec / 1000;
}

static int open_file(int channel, int side, const char *view, int flags) {
    char path[64];
    snprintf(path, sizeof path, "%s%s", files[channel][side], view);
    return open(path, flags);
}

// The number of the message, its length, and then bytes that follow from the number.
static uint32_t make(uint32_t number) {
    uint32_t size = below(16) == 0 ? LARGE : 8 + below(4000);
    memset(buffer, (int)(number % 251), size);
    memcpy(buffer, &number, 4);
    memcpy(buffer + 4, &size, 4);
    return size;
}

static void take(uint32_t size, int channel) {
    uint32_t number, length, wrong = 0;
    memcpy(&number, buffer, 4);
    memcpy(&length, buffer + 4, 4);
    if (size < 8 || length != size || number >= count || !notes[number].begun || notes[number].channel != channel) {
        ++*broken;
        return;
    }
    for (uint32_t i = 8; i < size; i++) wrong |= (uint8_t)buffer[i] != number % 251;
    *broken += wrong;
    if (notes[number].got < 255) notes[number].got++;
}

static void write_some(int channel, int fd, uint32_t first) {
    for (uint32_t number = first; number < first + EACH; number++) {
        uint32_t size = make(number);
        notes[number].channel = channel;
        notes[number].begun = 1;
        if (write(fd, buffer, size) != (ssize_t)size) return;
        notes[number].sent = 1;
    }
}

static void read_some(int channel, int fd, int limit) {
    for (int i = 0; i < limit; i++) {
        ssize_t size = read(fd, buffer, sizeof buffer);
        if (size <= 0) return;
        take(size, channel);
    }
}

// In two writes; whether it was sent, close(2) does not say.
static void write_whole(int channel, int fd, uint32_t number) {
    uint32_t size = make(number), half = size / 2;
    notes[number].channel = channel;
    notes[number].begun = 1;
    if (write(fd, buffer, half) == (ssize_t)half && write(fd, buffer + half, size - half) > 0) close(fd);
}

static void party(uint32_t first) {
    int channel = below(CHANNELS), side = below(2), sync = below(4) == 0 ? O_SYNC : 0;
    int fd;
    switch (below(9)) {
    case 0:
    case 1:
        fd = open_file(channel, side, "", O_RDONLY);
        if (fd >= 0) read_some(channel, fd, 1 + below(EACH));
        if (below(2)) close(fd);
        _exit(0);
    case 2:
        fd = open_file(channel, side, "", O_WRONLY | O_APPEND | sync);
        if (fd >= 0) write_some(channel, fd, first);
        _exit(0);
    case 3:
    case 4:
        fd = open_file(channel, side, "", O_WRONLY | O_TRUNC | sync);
        if (fd >= 0) write_some(channel, fd, first);
        _exit(1);
    case 5: // dies with the message in its hands and tells nobody
        fd = open_file(channel, side, "", O_RDONLY);
        if (fd >= 0 && read(fd, buffer, 1 + below(sizeof buffer)) < 0) _exit(0);
        for (;;) pause();
    case 6: {
        fd = open_file(channel, side, "", O_RDWR | O_NONBLOCK);
        struct pollfd polled = {fd, below(2) ? POLLIN : POLLOUT, 0};
        if (fd >= 0 && poll(&polled, 1, -1) > 0 && (polled.revents & POLLIN)) read_some(channel, fd, 1);
        _exit(0);
    }
    case 7:
        fd = open_file(channel, side, ":whole", O_WRONLY);
        if (fd >= 0) write_whole(channel, fd, first);
        _exit(0);
    default: // two on one descriptor
        fd = open_file(channel, side, "", O_WRONLY);
        if (fd >= 0 && fork() == 0) write_some(channel, fd, first + EACH);
        else if (fd >= 0) write_some(channel, fd, first);
        _exit(0);
    }
}

static uint64_t round_of(uint32_t base) {
    pid_t pids[PARTIES];
    for (int i = 0; i < PARTIES; i++) {
        uint64_t seed = next_random() | 1;
        pids[i] = fork();
        if (pids[i] == 0) {
            setpgid(0, 0);
            state = seed;
            party(base + (uint32_t)i * 2 * EACH);
        }
        setpgid(pids[i], pids[i]);
    }
    usleep(below(4) == 0 ? 0 : below(4000));
    uint64_t longest = 0;
    for (int i = 0; i < PARTIES; i++) {
        if (below(2)) usleep(below(500));
        uint64_t start = now();
        kill(-pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
        uint64_t took = now() - start;
        longest = took > longest ? took : longest;
    }
    while (waitpid(-1, NULL, 0) > 0) {} // the second of two on one descriptor is ours: we are its subreaper
    return longest;
}

static void drain(int channel) {
    for (int side = 0; side < 2; side++) {
        int fd = open_file(channel, side, "", O_RDWR | O_NONBLOCK);
        if (fd >= 0) read_some(channel, fd, 1 << 30);
        fsync(fd);
    }
}

int main(int argc, char **argv) {
    if (argc != 4 || chdir(argv[1])) return 2;
    state = strtoull(argv[2], NULL, 10) | 1;
    uint32_t rounds = strtoul(argv[3], NULL, 10);
    count = rounds * PARTIES * 2 * EACH;
    size_t size = count * sizeof *notes;
    notes = mmap(NULL, size + 64, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (notes == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1)) return 1;
    broken = (uint32_t *)((char *)notes + (size + 3) / 4 * 4);
    uint64_t longest = 0;
    for (uint32_t i = 0; i < rounds; i++) {
        uint64_t took = round_of(i * PARTIES * 2 * EACH);
        longest = took > longest ? took : longest;
    }
    puts("over");
    fflush(stdout);
    getchar();
    for (int channel = 0; channel < CHANNELS; channel++) {
        drain(channel);
        uint32_t sent = 0, maybe = 0, got = 0, again = 0, lost = 0;
        for (uint32_t i = 0; i < count; i++) {
            if (!notes[i].begun || notes[i].channel != channel) continue;
            sent += notes[i].sent;
            maybe += !notes[i].sent;
            got += notes[i].got > 0;
            again += notes[i].got > 1 ? notes[i].got - 1 : 0;
            lost += notes[i].sent && !notes[i].got;
        }
        printf("%s %u %u %u %u %u\n", names[channel], sent, maybe, got, again, lost);
    }
    printf("%llu %u\n", (unsigned long long)longest, *broken);
    return 0;
}
