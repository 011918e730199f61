# What shells and Python do with the calculator of calc.rs, which is mounted on $1.

echo "one call: $(fs9 call "$1/calc/connect" '1 + 2')"
echo "an error: $(fs9 call "$1/calc/connect" '1 + two')"

exec 3<>"$1/calc/connect"
for request in '2 * (3 + 4)' '-3 * -0.5' '1 / 4'; do
    echo "$request" >&3
    read -r answer <&3
    echo "bash: $request = $answer"
done

python3 - "$1" <<'END'
import os, sys

calc = os.open(sys.argv[1] + "/calc/connect", os.O_RDWR)
for request in "6 * 7", "100 - 1":
    os.write(calc, request.encode())           # one write is one request
    print("python:", request, "=", os.read(calc, 65536).decode(), end="")

totals = [open(sys.argv[1] + "/total/connect", "r+b", buffering=0) for _ in range(2)]
for number in range(1, 5):
    for times, total in enumerate(totals, 1):  # two conversations, each with a memory of its own
        total.write(b"%d" % (times * number))
        print("total", times, "=", total.read(65536).decode(), end="")
END

for client in 1 2 3; do
    (for number in $(seq 50); do fs9 call "$1/calc/connect" "$number * $client"; done | paste -sd+ | tr -d '\n' |
        xargs -0 fs9 call "$1/calc/connect" | sed "s/^/client $client: sum = /") &
done | sort
wait
