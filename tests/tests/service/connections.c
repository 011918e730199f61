// connections DIR SEED COUNT: COUNT connections of the service s in the mount DIR, with clients and servers of which most
// are killed, at a random step or at a random moment. Each message carries the number of its connection's client; each
// reply says whose it is, too. Who has sent or received one notes it in memory that all share. Says "over", waits for a
// line, accepts what clients left behind, and says in one line: connections, messages of clients that were sent, that may
// have been, that were received; the same of servers; and messages that came twice or to the wrong one. The last line: the
// longest time in microseconds from a kill -9 to the end of the process.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 16, EACH = 4 };

// What a message says: the client it is from or for, and which of that one's it is.
struct message {
    uint32_t client, number;
    char filler[56];
};

// What became of the messages of one direction.
struct counts {
    atomic_uint begun, sent, received;
};

struct shared {
    struct counts clients, servers;
    atomic_uint opened, wrong;
    // Whether each message of each client was received.
    atomic_uchar seen[];
};

static struct shared *shared;
// Connections that are wanted, and numbers for clients: some are killed before they have opened one.
static uint32_t wanted, total;
static uint64_t state;

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

static void nap(uint32_t microseconds) {
    struct timespec time = {0, microseconds * 1000l};
    nanosleep(&time, NULL);
}

// A step at which this process may die.
static void step(void) {
    if (below(12) == 0) raise(SIGKILL);
    if (below(40) == 0) _exit(below(3));
}

static int send_one(int fd, struct counts *counts, uint32_t client, uint32_t number) {
    struct message message = {.client = client, .number = number};
    memset(message.filler, (int)(client % 251), sizeof message.filler);
    counts->begun++;
    if (write(fd, &message, sizeof message) != sizeof message) return 0;
    counts->sent++;
    return 1;
}

// The next message; 0 at the end.
static int receive_one(int fd, struct counts *counts, struct message *message) {
    ssize_t size = read(fd, message, sizeof *message);
    if (size <= 0) return 0;
    int broken = size != sizeof *message || message->client >= total;
    for (size_t i = 0; !broken && i < sizeof message->filler; i++)
        broken = (uint8_t)message->filler[i] != message->client % 251;
    shared->wrong += broken;
    counts->received++;
    return !broken;
}

static void client(uint32_t me) {
    int fd = open("s/connect", O_RDWR);
    if (fd < 0) _exit(9);
    shared->opened++;
    struct message reply;
    for (uint32_t number = 0; number < below(EACH + 1); number++) {
        step();
        if (!send_one(fd, &shared->clients, me, number)) break;
        step();
        if (below(3) == 0) continue; // it does not wait for the reply
        if (!receive_one(fd, &shared->servers, &reply)) break;
        shared->wrong += reply.client != me;
    }
    step();
    if (below(2)) close(fd);
    _exit(0);
}

// One connection from its beginning to its end.
static void serve(int fd) {
    struct message message;
    uint32_t client = total;
    while (receive_one(fd, &shared->clients, &message)) {
        step();
        if (client == total) client = message.client;
        shared->wrong += message.client != client || message.number >= EACH;
        shared->wrong += atomic_exchange(&shared->seen[message.client * EACH + message.number % EACH], 1);
        if (below(3) && !send_one(fd, &shared->servers, client, message.number)) break;
        step();
    }
}

static void server(void) {
    for (;;) {
        int fd = open("s/accept", O_RDWR), spare = below(4) == 0 ? open("s/accept", O_RDWR) : -1;
        if (fd < 0) _exit(9);
        struct pollfd polled = {fd, below(2) ? POLLIN : POLLOUT, 0};
        if (below(3) == 0) poll(&polled, 1, -1);
        step();
        serve(fd);
        close(fd);
        if (spare >= 0) close(spare);
    }
}

static pid_t start(int is_client, uint32_t number) {
    uint64_t seed = next_random() | 1;
    pid_t pid = fork();
    if (pid == 0) {
        state = seed;
        if (is_client) client(number);
        server();
    }
    return pid;
}

static uint64_t killed(pid_t pid) {
    uint64_t begin = now();
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return now() - begin;
}

// Half of the slots are for clients, half for servers. Returns the longest time that a kill took.
static uint64_t storm(void) {
    pid_t pids[SLOTS] = {0};
    uint64_t longest = 0;
    for (uint32_t next = 0; shared->opened < wanted && next < total;) {
        int slot = below(SLOTS), is_client = slot % 2;
        if (pids[slot] && waitpid(pids[slot], NULL, WNOHANG) != 0) pids[slot] = 0;
        if (!pids[slot]) {
            pids[slot] = start(is_client, next);
            next += is_client;
        } else if (below(3) == 0) {
            nap(below(100));
            uint64_t took = killed(pids[slot]);
            longest = took > longest ? took : longest;
            pids[slot] = 0;
        }
    }
    for (int slot = 0; slot < SLOTS; slot++) {
        if (pids[slot]) killed(pids[slot]);
    }
    return longest;
}

// Takes what clients left behind that nobody has accepted.
static void drain(void) {
    for (;;) {
        int fd = open("s/accept", O_RDWR | O_NONBLOCK);
        struct message message;
        uint32_t before = shared->clients.received;
        errno = 0;
        while (receive_one(fd, &shared->clients, &message)) {
            shared->wrong += atomic_exchange(&shared->seen[message.client * EACH + message.number % EACH], 1);
        }
        int none = shared->clients.received == before && errno == EAGAIN;
        close(fd);
        if (none) return;
    }
}

int main(int argc, char **argv) {
    if (argc != 4 || chdir(argv[1])) return 2;
    state = strtoull(argv[2], NULL, 10) | 1;
    wanted = strtoul(argv[3], NULL, 10);
    total = wanted * 4;
    size_t size = sizeof *shared + total * EACH;
    shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 1;
    uint64_t longest = storm();
    puts("over");
    fflush(stdout);
    getchar();
    drain();
    printf("%u", shared->opened);
    for (struct counts *counts = &shared->clients; counts <= &shared->servers; counts++)
        printf(" %u %u %u", counts->sent, counts->begun - counts->sent, counts->received);
    printf(" %u\n%llu\n", shared->wrong, (unsigned long long)longest);
    return 0;
}
