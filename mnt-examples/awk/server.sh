#!/bin/sh
# Serves SERVICE, one client after the other, by an awk that knows nothing of it. Start it as often as you like: each
# takes the next client that waits.
program=$(dirname "$0")/server.awk

serve() { gawk -f "$program" || true; } # it fails when its client was killed, or did not wait for its answer

# Each turn opens `accept` anew, for another client, until the service is removed.
while [ -e "$1" ] && serve <>"$1/accept:line" >&0; do :; done
