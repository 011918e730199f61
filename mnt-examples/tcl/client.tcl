# Asks the service SERVICE for a sum, a number at a time.

set sum [open [lindex $argv 0]/connect:line r+]  ;# our own connection, until it is closed
chan configure $sum -buffering line -translation lf  ;# a line is written at once: one message

foreach number {3 4 five 5} {
    puts $sum $number
    if {[gets $sum answer] < 0} {
        error "the server is gone"
    }
    puts "$number -> $answer"
}
