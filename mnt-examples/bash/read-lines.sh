#!/bin/bash
# Reads a stream of lines to its end, each as soon as it is sent.
set -eu

count=0 sum=0
while read -r number; do
    count=$((count + 1)) sum=$((sum + number))
done <"$1/log/b:line" # ends when the sender has closed its end
echo "$count lines, $sum in all"
