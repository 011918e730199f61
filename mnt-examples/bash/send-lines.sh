#!/bin/bash
# Sends a stream of lines, by any program that writes lines: seq writes 4096 bytes at a time, and `:line` makes messages of
# them again.
set -eu

seq 1000 >"$1/log/a:line"
