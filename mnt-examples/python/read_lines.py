"""Reads a stream of lines to its end, each as soon as it is sent."""

import sys

with open(f"{sys.argv[1]}/log/b:line") as log:  # a text file may read ahead, but it does not wait to do so
    numbers = [int(line) for line in log]  # ends when the sender has closed its end
print(f"{len(numbers)} lines, {sum(numbers)} in all")
