"""Serves SERVICE, four clients at once: each message is a number, the answer the sum of this client's numbers."""

import sys
import threading

ACCEPT = f"{sys.argv[1]}/accept"


def serve(client):
    total = 0
    while request := client.read(4096):  # waits for a client, then for its messages; b"" when it has closed its end
        if request.strip().isdigit():
            total += int(request)
            client.write(b"%d\n" % total)
        else:
            client.write(b"not a number\n")


def clerk():
    while True:
        try:
            client = open(ACCEPT, "r+b", buffering=0)  # another client's end
        except FileNotFoundError:
            return  # the service was removed
        with client:
            try:
                serve(client)
            except ConnectionError:
                pass  # it was killed (ECONNRESET), or did not wait for its answer (EPIPE)


for _ in range(4):
    threading.Thread(target=clerk).start()
