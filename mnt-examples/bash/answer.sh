#!/bin/bash
# Answers requests on one end of a pair: a request is a number, the answer its square.
set -eu

exec 3<>"$1/talk/b:line"     # one descriptor for both directions; the end is ours until it is closed
while read -r number <&3; do # ends when the other side has closed its end
    echo "$((number * number))" >&3
done
