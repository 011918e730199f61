#!/bin/bash
# Asks on the other end of the pair, one question at a time.
set -eu

exec 3<>"$1/talk/a:line"
for number in 2 3 12; do
    echo "$number" >&3
    read -r square <&3 # waits for the answer
    echo "$number squared is $square"
done
