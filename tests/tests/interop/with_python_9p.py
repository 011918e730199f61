"""with_python_9p.py SOCKET DOES PATH [TEXT]: one thing done with the package python-9p, which speaks 9P2000."""
import sys

from py9p import Client, ORDWR, OREAD, OWRITE, decode_dir

socket, does, path, *text = sys.argv[1:]
text = "".join(text).encode()

client = Client.connect_unix(socket, msize=8192)
assert client.negotiate().version == "9P2000"
client.attach(fid=0, uname="root")
FID = 1
names = client.walk(0, FID, path)
assert len(names) == len([name for name in path.split("/") if name]), f"{path}: no such file"


def entries(data):
    """The names of a directory's bytes: each entry is what stat(5) says, led by its size without these two bytes."""
    while data:
        size = 2 + int.from_bytes(data[:2], "little")
        yield decode_dir(data[:size]).name
        data = data[size:]


if does == "list":
    client.open(FID, int(OREAD))
    offset = 0
    while data := client.read(FID, offset=offset):
        print(*entries(data), sep="\n")
        offset += len(data)
elif does == "stat":
    entry = client.stat(FID)
    print(entry.name, oct(entry.mode), entry.length, entry.qid.type)
elif does == "receive":  # one message
    client.open(FID, int(OREAD))
    sys.stdout.buffer.write(client.read(FID))
elif does == "drain":  # up to the end
    client.open(FID, int(OREAD))
    offset = 0
    while data := client.read(FID, offset=offset):
        sys.stdout.buffer.write(data)
        offset += len(data)
elif does == "hold":  # one message, and then nothing more until somebody ends us
    client.open(FID, int(OREAD))
    sys.stdout.buffer.write(client.read(FID) + b"\n")
    sys.stdout.buffer.flush()
    sys.stdin.read()
elif does == "send":
    client.open(FID, int(OWRITE))
    assert client.write(FID, text) == len(text)
elif does == "ask":
    client.open(FID, int(ORDWR))
    assert client.write(FID, text) == len(text)
    sys.stdout.buffer.write(client.read(FID))
else:
    sys.exit(f"what is {does}?")
client.clunk(FID)
