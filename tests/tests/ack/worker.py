# Takes one job from a queue and ends as it is told: worker.py QUEUE r|rw END
import os
import sys

path, access, end = sys.argv[1:]
queue = open(path, "rb" if access == "r" else "r+b", buffering=0)
assert queue.read(100) == b"job\n"

if end in ("closes", "closes, then exits 1", "fsyncs, then closes"):
    if end == "fsyncs, then closes":
        os.fsync(queue)
    queue.close()
if end in ("exits 0", "exits 1", "closes, then exits 1"):
    os._exit(int(end[-1]))  # at once: sys.exit() closes what is open, see "fails"
if end == "fails":
    raise SystemExit(1)  # as any exception that nobody catches
if end == "reads again":
    queue.read(100)
if end == "fsyncs, then is killed":
    os.fsync(queue)
if end == "writes, then is killed":
    queue.write(b"other\n")
print("ready", flush=True)
sys.stdin.read()
