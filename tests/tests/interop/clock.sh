#!/bin/sh
# The first process of a Linux kernel under test, whose clock is its own: two nodes, one of which lets the other in by grants, and
# a clock that is set a day back and forward. Says on the console how each went ("NAME: WHAT"). FS9 is the command, BESIDE a
# directory of the test's, where the node's log is left.
mount -t proc proc /proc
mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/lib /mnt/alpha /mnt/beta /mnt/host
ln -s /usr/lib/uml/modules /mnt/lib/modules
modprobe -d /mnt fuse 2>&1
ip link set lo up
cd /mnt || exit

say() { echo "$1: $2"; }
days() { date -s "$1 day" > /dev/null; }
alpha() { $FS9 up alpha --state a --listen tls://127.0.0.1:5640 > /dev/null && $FS9 new alpha/jobs; }
# Lets beta's key use alpha's channel.
grant() { $FS9 grant alpha/jobs --to "$key" --read --write --for "$1" --state a 2>&1 > /dev/null && echo done; }
attach() { $FS9 attach "beta/n/$1" tls://127.0.0.1:5640 --accept-new 2>&1 && echo done; }
# Somebody waits for a message there, and what that was told is in the file `heard`.
wait_at() {
    cat "beta/n/$1/jobs" > heard 2>&1 &
    reader=$!
    until grep -q '"waiting":"read"' alpha/status.json; do sleep 0.02; done
}

alpha && $FS9 up beta --state b > /dev/null
key=$($FS9 id --state b)

say granted "$(grant 10m)"
say attached "$(attach first)"
wait_at first
days -1
echo 'the same day again' > alpha/jobs
until [ -s heard ]; do sleep 0.02; done
say back "$(attach second)"

days +2
wait $reader
say forward "$(tail -n 1 heard)"
say heard "$(head -n 1 heard)"
say expired "$(attach third)"
days -1
say still "$(attach third)"
$FS9 down alpha && alpha
say restarted "$(attach third)"

# What is granted when the clock has been set back begins when it was seen to be latest; that it has been seen may be written nowhere.
say anew "$(grant 48h)"
say again "$(attach fourth)"
days +2
stat beta/n/fourth/jobs > /dev/null
days -2
say short "$(grant 10m)"
say fifth "$(attach fifth)"

# Without its log a node believes a clock that goes wrong.
$FS9 down alpha
mount -t hostfs none host -o "$BESIDE" && mv a/audit.log host/
days -1
alpha
say early "$(attach sixth)"
days +3
say due "$(attach sixth)"
wait_at sixth
days +2
wait $reader
say over "$(tail -n 1 heard)"

$FS9 down beta
$FS9 down alpha
poweroff -f 2>/dev/null || echo o > /proc/sysrq-trigger
sleep 60
