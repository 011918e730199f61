// Takes one job from a queue and ends as it is told: worker QUEUE r|rw END
#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char job[100];

    assert(argc == 4);
    int queue = open(argv[1], strcmp(argv[2], "r") == 0 ? O_RDONLY : O_RDWR);
    assert(queue >= 0);
    assert(read(queue, job, sizeof job) == 4 && memcmp(job, "job\n", 4) == 0);

    const char *end = argv[3];
    if (strncmp(end, "fsyncs", 6) == 0)
        assert(fsync(queue) == 0);
    if (strstr(end, "closes") != NULL)
        assert(close(queue) == 0);
    if (strcmp(end, "exits 0") == 0)
        return 0;
    if (strstr(end, "exits 1") != NULL || strcmp(end, "fails") == 0)
        return 1;
    if (strcmp(end, "reads again") == 0)
        return read(queue, job, sizeof job) != 0;
    if (strcmp(end, "writes, then is killed") == 0)
        assert(write(queue, "other\n", 6) == 6);
    assert(write(STDOUT_FILENO, "ready\n", 6) == 6);
    return read(STDIN_FILENO, job, 1) != 0;
}
