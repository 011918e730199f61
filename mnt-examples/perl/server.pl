#!/usr/bin/perl
# Serves SERVICE, four clients at once: each message is a number, the answer the sum of this client's numbers.
use strict;
use warnings;
use Errno;
use Fcntl;

my ($service) = @ARGV;

sub serve {
    my ($client) = @_;
    my $sum = 0;
    # The first read waits for a client, the next for its messages. 0 when it has closed its end; undef when it was
    # killed.
    while (sysread $client, my $request, 4096) {
        my $answer = $request =~ /^(\d+)\n?$/a ? ($sum += $1) : "not a number";
        syswrite $client, "$answer\n" or return;    # it did not wait for its answer
    }
}

# Serves one client after the other, until the service is removed.
sub clerk {
    while (sysopen my $client, "$service/accept", O_RDWR) {
        serve($client);
    }
    $!{ENOENT} or die "$service: $!\n";
}

for (1 .. 4) {
    defined(my $pid = fork) or die "fork: $!\n";
    if ($pid == 0) {
        clerk();
        exit;
    }
}
my $failed = 0;
while (wait > 0) { $failed ||= $? }
exit($failed != 0);
