"""Sends a stream of lines."""

import sys

# A text file gathers lines before it writes them; `:line` makes messages of them again.
with open(f"{sys.argv[1]}/log/a:line", "w") as log:
    for number in range(1, 1001):
        print(number, file=log)
