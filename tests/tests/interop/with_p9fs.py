"""with_p9fs.py PORT DOES PATH [TEXT]: one thing done with the package p9fs, which speaks 9P2000.L over TCP."""
import os
import sys

import p9fs

port, does, path, *text = sys.argv[1:]
text = "".join(text).encode()

fs = p9fs.P9FileSystem(host="127.0.0.1", port=int(port), username="root", version="9P2000.L")
assert fs.client.version == p9fs.Version.v9P2000L

if does == "list":
    print(*fs.ls(path, detail=False), sep="\n")
elif does == "stat":
    info = fs.info(path)
    print(info["name"], oct(info["mode"]), info["size"], info["type"])
elif does in ("receive", "drain", "hold"):
    fid = fs._open_fid(path, os.O_RDONLY)
    if does == "drain":  # up to the end
        sys.stdout.buffer.write(fs._read(1 << 30, 0, fid))
    else:  # one message: after a short read this client asks for the rest, and is told that there is none
        sys.stdout.buffer.write(fs._read(4096, 0, fid))
    if does == "hold":  # and then nothing more until somebody ends us
        print(flush=True)
        sys.stdin.read()
    fs._release_fid(fid)
elif does == "send":
    fid = fs._open_fid(path, os.O_WRONLY)
    assert fs._write(text, 0, fid) == len(text)
    fs._release_fid(fid)
elif does == "ask":
    fid = fs._open_fid(path, os.O_RDWR)
    assert fs._write(text, 0, fid) == len(text)
    sys.stdout.buffer.write(fs._read(4096, 0, fid))
    fs._release_fid(fid)
else:
    sys.exit(f"what is {does}?")
