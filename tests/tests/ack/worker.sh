# Takes one job from a queue and ends as it is told: worker.sh QUEUE r|rw END
set -eu
path=$1 access=$2 end=$3

# fsync(2) of what is open as 3: sync(1) would open the file once more and fsync that
fsync() { dd if=/dev/null conv=fsync status=none >&3; }

if [ "$access" = r ]; then exec 3<"$path"; else exec 3<>"$path"; fi
read -r job <&3
[ "$job" = job ]

case $end in
"closes") exec 3<&- ;;
"closes, then exits 1") exec 3<&-; exit 1 ;;
"fsyncs, then closes") fsync; exec 3<&- ;;
"exits 0") exit 0 ;;
"exits 1" | "fails") exit 1 ;;
"reads again") read -r job <&3 ;;
"fsyncs, then is killed") fsync ;;
"writes, then is killed") echo other >&3 ;;
esac
echo ready
read -r _
