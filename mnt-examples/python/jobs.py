"""Six jobs and three workers, of which one is killed in the middle of its job: another one does it."""

import os
import signal
import sys

JOBS, DONE = f"{sys.argv[1]}/jobs", f"{sys.argv[1]}/done"
FILES = [b"a.c", b"b.c", b"c.c", b"d.c", b"e.c", b"f.c"]


def start(function, *args):
    """Runs a function in a process of its own."""
    pid = os.fork()
    if pid == 0:
        function(*args)
        os._exit(0)
    return pid


def worker(unlucky):
    with open(JOBS, "rb", buffering=0) as jobs:
        # The job is ours until we read again; if we die before that, it goes to another worker.
        while file := jobs.read(4096):
            if unlucky:
                os.kill(os.getpid(), signal.SIGKILL)
            with open(DONE, "wb", buffering=0) as done:
                done.write(b"compiled " + file)
    # The queue was removed.


def send():
    with open(JOBS, "wb", buffering=0) as jobs:
        for file in FILES:
            jobs.write(file)  # one message, and no newline needed


for queue in JOBS, DONE:
    open(queue, "xb").close()  # that makes it

# In a process of its own, because each write waits until a worker has taken the job before.
sender = start(send)
_, status = os.waitpid(start(worker, True), 0)
if os.WIFSIGNALED(status):
    print("a worker was killed in the middle of a job", flush=True)
workers = [start(worker, False) for _ in range(2)]

with open(DONE, "rb", buffering=0) as done:
    results = [done.read(4096).decode() for _ in FILES]
for result in sorted(results):  # the workers are not done in any order
    print(result)

os.unlink(JOBS)  # tells the workers that there is no more to do
for pid in sender, *workers:
    os.waitpid(pid, 0)
os.unlink(DONE)
