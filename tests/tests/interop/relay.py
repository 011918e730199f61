"""Carries bytes between serial lines and those who connect: relay.py PORT-OR-PATH LINE..., the first who comes has the first line.
Returns once it listens, and prints the number of the process that carries."""
import os, socket, sys, termios, threading, tty


def outward(client, line):
    # A serial line that is given 4 KiB at a time stands still.
    while said := client.recv(1024):
        while said:
            said = said[os.write(line, said):]
        termios.tcdrain(line)


def inward(client, line):
    while heard := os.read(line, 1024):
        client.sendall(heard)


def carry(way, client, line):
    try:
        way(client, line)
    except OSError:
        pass  # whoever has gone first does not listen any more


at = sys.argv[1]
if at.isdigit():
    listener = socket.create_server(("127.0.0.1", int(at)))
else:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(at)
    listener.listen()
if child := os.fork():
    print(child)
    sys.exit()
os.close(1)  # who waits for all that is printed need not wait for the end
for path in sys.argv[2:]:
    line = os.open(path, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line)
    client = listener.accept()[0]
    for way in outward, inward:
        threading.Thread(target=carry, args=(way, client, line)).start()
