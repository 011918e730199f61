"""Asks the service SERVICE for a sum, a number at a time."""

import sys

# buffering=0: a write is one message and a read is one message. The open file is our own connection.
with open(f"{sys.argv[1]}/connect", "r+b", buffering=0) as connection:
    for number in "3", "4", "five", "5":
        connection.write(f"{number}\n".encode())
        answer = connection.read(4096)  # waits for it
        if not answer:
            sys.exit("the server is gone")
        print(number, "->", answer.decode().strip())
