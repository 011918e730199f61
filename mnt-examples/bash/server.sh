#!/bin/bash
# Serves SERVICE, four clients at once: each message is a number, the answer the sum of this client's numbers.
set -eu
service=$1

serve() {
    local sum=0 number answer
    while read -r number; do # waits for a client, then for its messages; ends when it has closed its end
        # Never reckon with what has come from elsewhere unseen: $(( )) would evaluate it, commands in it too.
        if [[ $number =~ ^[0-9]+$ ]]; then answer=$((sum += 10#$number)); else answer="not a number"; fi
        echo "$answer" || break # it did not wait for its answer
    done
}

# Each turn opens `accept` anew, for another client, until the service is removed.
clerk() { while [ -e "$service" ] && serve <>"$service/accept:line" >&0; do :; done; }

for _ in 1 2 3 4; do clerk & done
wait
