#!/bin/sh
# Asks the service SERVICE for a sum, a number at a time.
set -eu

exec 3<>"$1/connect:line" # one descriptor for both directions: our own connection, until it is closed
for number in 3 4 five 5; do
    echo "$number" >&3
    read -r answer <&3 || { echo "the server is gone" >&2; exit 1; }
    echo "$number -> $answer"
done
