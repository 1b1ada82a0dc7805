#!/usr/bin/perl
# delay: a TCP proxy on 127.0.0.1 that hands on every byte so many milliseconds after it came, each way.
#
#	delay.pl LISTEN TARGET MS	ports; until SIGTERM
#
# Always true: it reads whether or not it could write (up to 256 MiB wait each way), so it delays and does not limit.
use strict;
use warnings;
use IO::Socket::INET;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time);

use constant { CHUNK => 1 << 18, MOST => 1 << 28 };

my ($listen, $target, $ms) = @ARGV;
defined $ms or die "usage: delay.pl LISTEN TARGET MS\n";
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $listen, Listen => 100, ReuseAddr => 1) or die "port $listen: $!\n";
$SIG{PIPE} = 'IGNORE';
my @ways; # { from, to, queue => [ [ due, bytes, at ] ], waiting => bytes, ended }

sub connect_both {
	my $in = $server->accept or return;
	my $out = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $target) or return close $in;
	for my $socket ($in, $out) {
		$socket->blocking(0);
		setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;
	}
	push @ways, map { { from => $_->[0], to => $_->[1], queue => [], waiting => 0 } } [ $in, $out ], [ $out, $in ];
}

sub take {
	my ($way) = @_;
	my $n = sysread $way->{from}, my $bytes, CHUNK;
	return if !defined $n && $!{EAGAIN};
	$way->{ended} = 1 if !$n;
	push @{$way->{queue}}, [ time + $ms / 1000, $n ? $bytes : undef, 0 ];
	$way->{waiting} += $n // 0;
}

# An end is handed on in its turn, as late as the bytes.
sub give {
	my ($way, $now) = @_;
	while (@{$way->{queue}} && $way->{queue}[0][0] <= $now) {
		my $chunk = $way->{queue}[0];
		if (!defined $chunk->[1]) {
			shutdown $way->{to}, 1;
			$way->{done} = 1;
			return shift @{$way->{queue}};
		}
		my $n = syswrite $way->{to}, $chunk->[1], length($chunk->[1]) - $chunk->[2], $chunk->[2];
		if (!defined $n) {
			return $way->{full} = 1 if $!{EAGAIN};
			$n = length($chunk->[1]) - $chunk->[2]; # nobody reads any more
		}
		$chunk->[2] += $n;
		$way->{waiting} -= $n;
		shift @{$way->{queue}} if $chunk->[2] == length $chunk->[1];
	}
}

for (;;) {
	my ($reading, $writing, $wait) = ('', '', undef);
	my $now = time;
	vec($reading, fileno $server, 1) = 1;
	for my $way (@ways) {
		vec($reading, fileno $way->{from}, 1) = 1 if !$way->{ended} && $way->{waiting} < MOST;
		vec($writing, fileno $way->{to}, 1) = 1 if $way->{full};
		next if $way->{full} || !@{$way->{queue}};
		my $left = $way->{queue}[0][0] - $now;
		$wait = $left if !defined $wait || $left < $wait;
	}
	select $reading, $writing, undef, defined $wait && $wait < 0 ? 0 : $wait;
	$now = time;
	for my $way (@ways) {
		$way->{full} = 0 if $way->{full} && vec($writing, fileno $way->{to}, 1);
		take($way) if !$way->{ended} && vec($reading, fileno $way->{from}, 1);
		give($way, $now) if !$way->{full};
	}
	connect_both() if vec($reading, fileno $server, 1);
	my %busy = map { (fileno $_->{from} => 1, fileno $_->{to} => 1) } grep { !$_->{done} } @ways;
	@ways = grep { $busy{fileno $_->{from}} || $busy{fileno $_->{to}} } @ways;
}
