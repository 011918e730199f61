#!/usr/bin/perl
# Asks the service SERVICE for a sum, a number at a time.
use strict;
use warnings;
use Fcntl;

my ($service) = @ARGV;
sysopen my $sum, "$service/connect", O_RDWR or die "$service: $!\n";    # our own connection, until it is closed

for my $number (qw(3 4 five 5)) {
    # syswrite and sysread know no buffer: one is one message. print and readline would gather.
    syswrite $sum, "$number\n" or die "write: $!\n";
    my $size = sysread $sum, my $answer, 4096;                           # waits for it
    defined $size or die "read: $!\n";
    $size > 0 or die "the server is gone\n";
    print "$number -> $answer";
}
