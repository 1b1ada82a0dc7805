# PgStrata::Relay: somebody between a caller and its ssh, who counts bytes, and writes down, changes, cuts or holds them.
#
#	write_relay(FILE, ['ssh', ...], record => DIR);		DIR/N.caller, DIR/N.server: what the N-th connection's sides said
#	write_relay(FILE, [...], cut => 'server:1000');		ends after 1000 bytes from that side
#	write_relay(FILE, [...], hold => 'caller:1000');	passes no more on, in no direction, and stays
#	write_relay(FILE, [...], poke => 'server:20:2');	the byte at offset 20 becomes 2
#	write_relay(FILE, [...], delay => 20);			each byte arrives so many ms later, both ways
#	write_relay(FILE, [...], rate => 100000);		no more than so many bytes per second
#
# Always true: what runs is an ssh for cmd-ssh; it ends when either side does; only core modules, and nothing of PgStrata.pm, for
# it is started by the program under test.
package PgStrata::Relay;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use POSIX ();
use Time::HiRes qw(time);

our @EXPORT = qw(write_relay);

use constant { PART => 65536, QUEUE => 1 << 21 };

sub quoted { return map { my $word = $_; $word =~ s/([\\'])/\\$1/g; "'$word'" } @_ }

sub write_relay {
	my ($file, $command, %plan) = @_;
	my $lib = abs_path($INC{'PgStrata/Relay.pm'} =~ s{/PgStrata/Relay\.pm$}{}r);
	open(my $out, '>', $file) or die "$file: $!";
	printf $out "#!/usr/bin/perl\nuse lib %s;\nuse PgStrata::Relay;\nexit PgStrata::Relay::run({ %s }, %s, \@ARGV);\n",
		quoted($lib), join(', ', quoted(%plan)), join(', ', quoted(@$command));
	close $out or die "$file: $!";
	chmod 0755, $file;
	return $file;
}

# What happens to this part of what a side has said; how much of it is passed on.
sub judge {
	my ($plan, $side, $part) = @_;
	my $from = $side->{bytes};
	$side->{bytes} += length $$part;
	if (my ($at, $byte) = ($plan->{poke} // '') =~ /^$side->{name}:(\d+):(\d+)$/) {
		substr($$part, $at - $from, 1) = chr $byte if $at >= $from && $at < $side->{bytes};
	}
	for my $what (qw(cut hold)) {
		my ($at) = ($plan->{$what} // '') =~ /^$side->{name}:(\d+)$/ or next;
		next if $side->{bytes} < $at;
		substr($$part, $at - $from) = '';
		return $what;
	}
	return '';
}

sub take {
	my ($plan, $side) = @_;
	my $n = sysread $side->{in}, my $part, $plan->{rate} ? 1 + $plan->{rate} / 50 : PART;
	$side->{ended} = 1 if !$n;
	return '' if !$n;
	select undef, undef, undef, $n / $plan->{rate} if $plan->{rate};
	my $verdict = judge($plan, $side, \$part);
	syswrite $side->{record}, $part if $side->{record};
	push @{$side->{queue}}, [ time + ($plan->{delay} // 0) / 1000, $part ];
	$side->{waiting} += length $part;
	return $verdict;
}

sub give {
	my ($side) = @_;
	my $first = $side->{queue}[0];
	my $n = syswrite $side->{out}, $first->[1];
	$side->{deaf} = 1 if !defined $n && !$!{EAGAIN};
	$n //= 0;
	$side->{waiting} -= $n;
	substr($first->[1], 0, $n) = '';
	shift @{$side->{queue}} if !length $first->[1];
}

# All that may still be passed on is; nobody waits for more than 5 s to get rid of it.
sub drain {
	my ($side) = @_;
	local $SIG{ALRM} = sub { $side->{deaf} = 1 };
	alarm 5;
	give($side) while @{$side->{queue}} && !$side->{deaf};
	alarm 0;
}

sub carry {
	my ($plan, @sides) = @_;
	while (1) {
		my ($reading, $writing, $wait) = ('', '', undef);
		for my $side (@sides) {
			vec($reading, fileno $side->{in}, 1) = 1 if !$side->{ended} && $side->{waiting} < QUEUE;
			my $first = $side->{queue}[0] or next;
			my $left = $first->[0] - time;
			vec($writing, fileno $side->{out}, 1) = 1 if $left <= 0;
			$wait = $left if $left > 0 && (!defined $wait || $left < $wait);
		}
		select $reading, $writing, undef, $wait;
		for my $side (@sides) {
			give($side) if vec($writing, fileno $side->{out}, 1);
			my $verdict = vec($reading, fileno $side->{in}, 1) ? take($plan, $side) : '';
			drain($_) for $verdict ? @sides : ();
			return $verdict if $verdict || $side->{deaf};
			if ($side->{ended} && !@{$side->{queue}}) {
				close $side->{out};
				return 'end' if $side->{name} eq 'server';
				@sides = grep { $_ != $side } @sides;
			}
		}
	}
}

sub record {
	my ($plan, @sides) = @_;
	return if !defined $plan->{record};
	my $number = 1;
	$number++ until mkdir "$plan->{record}/$number";
	for my $side (@sides) {
		open($side->{record}, '>:raw', "$plan->{record}/$number.$side->{name}") or die "record: $!";
	}
}

sub run {
	my ($plan, @command) = @_;
	$SIG{PIPE} = 'IGNORE';
	pipe(my $child_in, my $to) && pipe(my $from, my $child_out) or die "pipe: $!";
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		$SIG{PIPE} = 'DEFAULT';
		open(STDIN, '<&', $child_in) && open(STDOUT, '>&', $child_out) or POSIX::_exit(126);
		close $_ for $to, $from;
		exec { $command[0] } @command or POSIX::_exit(127);
	}
	close $_ for $child_in, $child_out;
	$SIG{TERM} = sub { kill 'TERM', $pid; POSIX::_exit(143) };
	binmode $_ for \*STDIN, \*STDOUT, $to, $from;
	my @sides = ({ name => 'caller', in => \*STDIN, out => $to }, { name => 'server', in => $from, out => \*STDOUT });
	@$_{qw(bytes waiting queue)} = (0, 0, []) for @sides;
	record($plan, @sides);
	my $verdict = carry($plan, @sides);
	sleep 1 while $verdict eq 'hold';
	kill 'KILL', $pid if $verdict eq 'cut';
	close $_ for $to, $from;
	waitpid $pid, 0;
	return $? & 127 ? 255 : $? >> 8;
}

1;
