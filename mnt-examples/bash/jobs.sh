#!/bin/bash
# Six jobs and three workers, of which one is killed in the middle of its job: another one does it.
set -eu
jobs=$1/jobs done=$1/done
touch "$jobs" "$done" # that makes the queues

worker() {
    exec 3<"$jobs:line"
    while read -r file <&3; do # the job is ours until we read again; if we die before that, it goes to another worker
        if [ "$1" = unlucky ]; then kill -9 "$BASHPID"; fi
        echo "compiled $file" >"$done"
    done # the queue was removed
}

# In the background, because each write waits until a worker has taken the job before.
for file in a.c b.c c.c d.c e.c f.c; do echo "$file" >"$jobs"; done &

worker unlucky &
wait "$!" 2>/dev/null || echo "a worker was killed in the middle of a job"
worker lucky &
worker lucky &

exec 4<"$done:line"
for _ in 1 2 3 4 5 6; do
    read -r result <&4
    echo "$result"
done | sort # the workers are not done in any order

rm "$jobs" # tells the workers that there is no more to do
wait
rm "$done"
