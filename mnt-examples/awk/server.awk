# The sum of the numbers so far. Any filter is a server: server.sh makes a client its input and its output.

/^[0-9]+$/ { print sum += $0; fflush(); next }
{ print "not a number"; fflush() }
