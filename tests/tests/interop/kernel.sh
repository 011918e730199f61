#!/bin/sh
# The first process of a Linux kernel under test: mounts what is at the other end of its second serial line with the
# kernel's own 9P client, does one thing after the other there, and says on the console how each went ("NAME: WHAT").
# `step` waits for the test to say on the channel `steps` that it has brought about what comes next.
mount -t proc proc /proc
mount -t tmpfs tmpfs /tmp
mkdir -p /tmp/lib /tmp/m
ln -s /usr/lib/uml/modules /tmp/lib/modules
modprobe -d /tmp -a 9p 9pnet_fd 2>&1
stty -F /dev/ttyS1 raw -echo
exec 7<>/dev/ttyS1

say() { echo "$1: $2"; }
step() { cat steps:whole; }

# Small frames, and small reads below, because this client asks for the rest of what is larger than a frame before it gives
# anything to who reads, and because a serial line that is given 4 KiB at a time stands still for ever.
say mount "$(mount -t 9p -o trans=fd,rfdno=7,wfdno=7,version=9p2000.L,msize=4096,aname=/ none /tmp/m 2>&1 && echo done)"
cd /tmp/m || exit

say list "$(ls | tr '\n' ' ')"
say modes "$(stat -c '%A %s %F' jobs talk | tr '\n' ' ')"
say nosuch "$(cat nosuch 2>&1)"

step
say read "$(dd if=jobs bs=3000 count=1 status=none)"
step
exec 3<jobs
say first "$(dd bs=3000 count=1 status=none <&3)"
say second "$(dd bs=3000 count=1 status=none <&3)"
exec 3<&-
step
say cat "$(cat jobs:whole)"
step
say long "$(dd if=jobs:whole bs=3000 status=none | md5sum)"

echo 'from the kernel' > results
seq 700 | dd bs=3000 iflag=fullblock of=results conv=notrunc status=none
echo appended >> results
say new "$(echo 'in a new channel' > new && echo done)"
say removed "$(mkdir gone && rmdir gone && ls -d gone 2>&1)"

exec 3<>talk/a
echo question >&3
say answer "$(dd bs=3000 count=1 status=none <&3)"
say end "$(cat <&3 | wc -c)"
exec 3>&-

# A reader that waits is killed; then one that waits beside a writer of the same file.
cat jobs > /tmp/first &
step
kill -9 $!
wait $!
say killed "$?"
dd if=jobs bs=3000 status=none > /tmp/second &
step
echo 'to the reader' > jobs
step
kill -9 $!
wait $!
say beside "$(cat /tmp/first /tmp/second)"
step
say after "$(cat jobs:whole)"
# A writer that waits is killed.
echo 'in the slot' > jobs
echo 'never sent' > jobs &
step
kill -9 $!
wait $!
say writer "$?"

cd /
say unmount "$(umount /tmp/m 2>&1 && echo done)"
poweroff -f 2>/dev/null || echo o > /proc/sysrq-trigger
sleep 60
