#!/bin/sh
# Serves SERVICE, one client after the other: each message is a number, the answer the sum of this client's numbers.
# Start it as often as you like: each takes the next client that waits.
set -eu

serve() {
    sum=0
    while read -r number <&3; do # waits for a client, then for its messages; ends when it has closed its end
        # Never reckon with what has come from elsewhere unseen: $(( )) would evaluate it.
        case $number in
        '' | *[!0-9]* | 0?*) answer="not a number" ;;
        *) answer=$((sum += number)) ;;
        esac
        echo "$answer" >&3 || break # it did not wait for its answer
    done
}

# Each turn opens `accept` anew, for another client, until the service is removed.
while [ -e "$1" ] && serve 3<>"$1/accept:line"; do :; done
