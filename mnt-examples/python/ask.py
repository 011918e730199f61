"""Asks on the other end of the pair, one question at a time."""

import sys

with open(f"{sys.argv[1]}/talk/a", "r+b", buffering=0) as talk:
    for number in 2, 3, 12:
        talk.write(b"%d\n" % number)
        answer = talk.read(4096)  # waits for it
        print(f"{number} squared is {int(answer)}")
