#!/bin/sh
# The first process of a Linux kernel under test: mounts the node that is behind its serial lines by `fs9 mount9p`, plainly and
# through TLS, and says on the console how it went ("NAME: WHAT"). FS9 is the command, BESIDE a directory of the test's.
mount -t proc proc /proc
mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/lib /mnt/m
ln -s /usr/lib/uml/modules /mnt/lib/modules
cp -a "$BESIDE/guest" /mnt/guest
ip link set lo up
relay() { python3 "${0%/*}/relay.py" "$@"; }
say() { echo "$1: $2"; }
cd /

say without "$($FS9 mount9p unix:/mnt/socket /mnt/m 2>&1)"
modprobe -d /mnt -a 9p 9pnet_fd 2>&1

relay=$(relay /mnt/socket /dev/ttyS1)
say plain "$($FS9 mount9p unix:/mnt/socket /mnt/m 2>&1 && echo done)"
say type "$(awk '$2 == "/mnt/m" { print $1, $3 }' /proc/mounts)"
say read "$(dd if=/mnt/m/jobs bs=3000 count=1 status=none)"
echo 'from the kernel' > /mnt/m/jobs
# The link ends.
kill "$relay"
say cut "$(ls /mnt/m > /dev/null 2>&1 && echo works || echo fails)"
umount /mnt/m

relay 5640 /dev/ttyS2 > /dev/null
say unknown "$($FS9 mount9p tls://127.0.0.1 /mnt/m --state /mnt/guest 2>&1)"
relay 5641 /dev/ttyS3 /dev/ttyS4 > /dev/null
say refused "$($FS9 mount9p tls://127.0.0.1:5641 /mnt/m --state /mnt/stranger --accept-new 2>&1)"
relay 5642 /dev/ttyS5 > /dev/null
say tls "$($FS9 mount9p tls://127.0.0.1:5642 /mnt/m --state /mnt/guest --accept-new 2>&1 && echo done)"
say names "$(ls /mnt/m | tr '\n' ' ')"
say through "$(dd if=/mnt/m/jobs bs=3000 count=1 status=none)"
seq 4000 | dd bs=100k iflag=fullblock of=/mnt/m/jobs conv=notrunc status=none
# Somebody else is not let in.
say other "$(setpriv --reuid 65534 ls /mnt/m > /dev/null 2>&1 && echo 0 || echo 1)"
cat /mnt/m/jobs > /mnt/none &
cat /mnt/m/steps:whole > /dev/null
kill -9 $!
wait $!
say killed "$?"
say unmount "$(umount /mnt/m 2>&1 && echo done)"

# What is run in place of ssh speaks with the node itself.
stty -F /dev/ttyS6 raw -echo
export FS9_SSH="sh -c 'cat < /dev/ttyS6 & exec cat > /dev/ttyS6'"
say ssh "$($FS9 mount9p ssh://host /mnt/m 2>&1 && echo done)"
say login "$(dd if=/mnt/m/jobs bs=3000 count=1 status=none)"
umount /mnt/m
# Who carried goes by itself.
while pgrep fs9 > /dev/null; do sleep 0.05; done
say carriers "$(pgrep -c fs9)"

poweroff -f 2>/dev/null || echo o > /proc/sysrq-trigger
sleep 60
