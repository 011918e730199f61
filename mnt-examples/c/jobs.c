// Six jobs and three workers, of which one is killed in the middle of its job: another one does it.
#include "file.h"
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

enum { JOBS = 6, WORKERS = 2 };

static const char *dir;

static void work(int unlucky)
{
    int jobs = open_in(dir, "jobs", O_RDONLY), done = open_in(dir, "done", O_WRONLY);
    char file[64], result[128];
    // The job is ours until we read again; if we die before that, it goes to another worker.
    while (receive(jobs, file, sizeof file) > 0) {
        if (unlucky)
            raise(SIGKILL);
        send_message(done, result, snprintf(result, sizeof result, "compiled %s", file));
    } // The queue was removed.
}

static void send_jobs(void)
{
    int jobs = open_in(dir, "jobs", O_WRONLY);
    for (char file[] = "a.c"; file[0] < 'a' + JOBS; file[0]++)
        send_message(jobs, file, strlen(file));
}

// A process of its own: 0 in it, its number in the one that started it.
static pid_t start(void)
{
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    return pid;
}

static void remove_in(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (unlink(path) < 0)
        err(1, "%s", path);
}

static int by_name(const void *one, const void *other)
{
    return strcmp(one, other);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        errx(2, "usage: jobs DIR");
    dir = argv[1];
    close(open_in(dir, "jobs", O_CREAT | O_WRONLY)); // that makes the queue
    int done = open_in(dir, "done", O_CREAT | O_RDONLY);

    // In a process of its own, because each write waits until a worker has taken the job before.
    if (start() == 0) {
        send_jobs();
        return 0;
    }
    int status;
    pid_t unlucky = start();
    if (unlucky == 0) {
        work(1);
        return 0;
    }
    if (waitpid(unlucky, &status, 0) == unlucky && WIFSIGNALED(status))
        printf("a worker was killed in the middle of a job\n");
    fflush(stdout); // or the next processes have it in their buffers too
    for (int i = 0; i < WORKERS; i++)
        if (start() == 0) {
            work(0);
            return 0;
        }

    char results[JOBS][128];
    for (int i = 0; i < JOBS; i++)
        receive(done, results[i], sizeof results[i]);
    qsort(results, JOBS, sizeof results[0], by_name); // the workers are not done in any order
    for (int i = 0; i < JOBS; i++)
        printf("%s\n", results[i]);

    remove_in("jobs"); // tells the workers that there is no more to do
    while (wait(NULL) > 0)
        ;
    remove_in("done");
    return 0;
}
