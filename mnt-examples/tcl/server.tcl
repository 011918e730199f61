# Serves SERVICE, any number of clients at once, by events: each message is a number, the answer the sum of this
# client's numbers.

set accept [lindex $argv 0]/accept:line

set ends 0  ;# that are open: one a client, and the next one's until the service is removed

# Opens the end of the next client: writable as soon as there is one, readable too when there will be none.
proc listen {} {
    try {
        set client [open $::accept r+]
    } trap {POSIX ENOENT} {} {
        return
    }
    incr ::ends
    chan configure $client -blocking 0 -buffering line -translation lf
    chan event $client writable [list arrived $client]
    chan event $client readable [list arrived $client]
}

proc arrived client {
    set ::sums($client) 0
    chan event $client writable {}
    chan event $client readable [list answer $client]
    listen
}

proc answer client {
    # An error when it was killed, or did not wait for its answer; the end when it has closed its end.
    if {[catch {gets $client number} size] || $size < 0 && [chan eof $client]} {
        leave $client
    } elseif {$size >= 0} {
        if {[string is digit -strict $number]} {
            set answer [incr ::sums($client) [scan $number %lld]]
        } else {
            set answer "not a number"
        }
        if {[catch {puts $client $answer}]} {
            leave $client
        }
    }
}

proc leave client {
    unset ::sums($client)
    catch {close $client}
    incr ::ends -1
}

listen
while {$ends > 0} {
    vwait ends
}
