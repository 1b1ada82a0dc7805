#!/usr/bin/perl
# timed: what a shell cannot measure in milliseconds.
#
#	timed.pl runs DIR < TASKS		run one after the other; a line is NAME, WHO and words, with TABs between;
#						wall and CPU milliseconds are appended to DIR/NAME.WHO (WHO "-": not measured)
#	timed.pl once FILE WORD...		run, append milliseconds to FILE, end as the command did
#	timed.pl archived DATA SECONDS NAME...	wait until PostgreSQL has marked these files as archived; milliseconds
#	timed.pl watch FILE CONFIG		until SIGTERM: the largest peak of any process that was given --config=CONFIG, in kB
use strict;
use warnings;
use POSIX ();
use Time::HiRes qw(time sleep);

sub run {
	my (@words) = @_;
	my ($begun, @before) = (time, times);
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		exec { $words[0] } @words or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	my @after = times;
	return (1000 * (time - $begun), 1000 * ($after[2] + $after[3] - $before[2] - $before[3]), $?);
}

sub append {
	my ($file, $line) = @_;
	open(my $out, '>>', $file) or die "$file: $!\n";
	print $out "$line\n";
}

my %do = (
	runs => sub {
		my ($dir) = @_;
		while (defined(my $line = <STDIN>)) {
			chomp $line;
			my ($name, $who, @words) = split /\t/, $line;
			my ($wall, $cpu, $status) = run(@words);
			die "@words: status $status\n" if $status;
			append("$dir/$name.$who", sprintf '%.2f %.1f', $wall, $cpu) if $who ne '-';
		}
	},
	once => sub {
		my ($file, @words) = @_;
		my ($wall, undef, $status) = run(@words);
		append($file, sprintf '%.2f', $wall);
		exit($status ? 1 : 0);
	},
	archived => sub {
		my ($data, $seconds, @names) = @_;
		my $begun = time;
		for my $name (@names) {
			until (-e "$data/pg_wal/archive_status/$name.done") {
				die "$name was not archived\n" if time > $begun + $seconds;
				sleep 0.01;
			}
		}
		printf "%.0f\n", 1000 * (time - $begun);
	},
	watch => sub {
		my ($file, $config) = @_;
		my ($most, $end) = (0, 0);
		local $SIG{TERM} = sub { $end = 1 };
		until ($end) {
			for my $process (glob '/proc/[0-9]*') {
				open(my $in, '<', "$process/cmdline") or next;
				my ($program, $first) = split /\0/, <$in> // '';
				next if ($first // '') ne "--config=$config" || $program =~ /perl/;
				open($in, '<', "$process/status") or next;
				my ($peak) = join('', <$in>) =~ /^VmHWM:\s+(\d+)/m;
				$most = $peak if ($peak // 0) > $most;
			}
			sleep 0.05;
		}
		append($file, $most);
	},
);
my $what = shift // '';
($do{$what} // die "timed: what? '$what'\n")->(@ARGV);
