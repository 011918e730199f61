# Asks a service for a sum, a number at a time. client.sh starts it.

BEGIN {
    # awk cannot open a file for both directions, so the shell did. gawk takes this name for the descriptor it was
    # started with; to open `connect` by name twice would be two connections.
    sum = "/dev/fd/3"
    count = split("3 4 five 5", numbers)
    for (i = 1; i <= count; i++) {
        print numbers[i] > sum
        fflush() # or it stays in the buffer, and we wait for ever
        if ((getline answer < sum) <= 0) {
            print "the server is gone" > "/dev/stderr"
            exit 1
        }
        print numbers[i] " -> " answer
    }
}
