#!/bin/bash
# Asks the service SERVICE for a sum, a number at a time.
set -eu

exec {sum}<>"$1/connect:line" # one descriptor for both directions: our own connection, until it is closed
for number in 3 4 five 5; do
    echo "$number" >&"$sum"
    read -r answer <&"$sum" || { echo "the server is gone" >&2; exit 1; }
    echo "$number -> $answer"
done
