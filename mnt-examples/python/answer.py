"""Answers requests on one end of a pair: a request is a number, the answer its square."""

import sys

# buffering=0: a write is one message and a read is one message. The end is ours until it is closed.
with open(f"{sys.argv[1]}/talk/b", "r+b", buffering=0) as talk:
    while request := talk.read(4096):  # b"" when the other side has closed its end
        talk.write(b"%d\n" % int(request) ** 2)
