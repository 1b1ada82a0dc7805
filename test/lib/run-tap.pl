#!/usr/bin/perl
# run-tap: runs test programs that print TAP, several at a time, and adds up their test points.
#
#	run-tap.pl --log DIR [--jobs N] [--limit SECONDS] [--until EPOCH] [--match TEXT]... FILE-OR-DIRECTORY...
#
# A directory stands for its *.t, *.sh and executable test_* files.  Always true: the last line is
# "N passed, N failed, N skipped"; a program that dies, keeps to no plan, runs too long, leaves
# processes in its group or leaves a sanitizer report (also by a process it started in the
# background) has at least one failure; a skip is printed with its reason.  The exit code is 1 if
# anything failed.
use strict;
use warnings;
use File::Basename qw(basename);
use Getopt::Long;
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(time sleep);

my ($jobs, $limit, $until, $log_dir, @match) = (2, 600, 0, undef);
GetOptions('jobs=i' => \$jobs, 'limit=i' => \$limit, 'until=i' => \$until, 'log=s' => \$log_dir,
	'match=s' => \@match) && defined $log_dir && @ARGV or die "usage: see the head of $0\n";

my %total = (passed => 0, failed => 0, skipped => 0);
my (@queue, %running);

$| = 1;
$SIG{INT} = $SIG{TERM} = sub { kill 'KILL', map { -$_ } keys %running; exit 130 };
$ENV{CMOCKA_MESSAGE_OUTPUT} = 'TAP';
@queue = grep { wanted($_) } map { -d $_ ? programs_in($_) : $_ } @ARGV;

while (@queue || %running) {
	start(shift @queue) while @queue && keys %running < $jobs;
	stop_overdue();
	my $pid = waitpid(-1, WNOHANG);
	$pid > 0 && $running{$pid} ? finish($pid, $?) : sleep(0.05);
}
print "$total{passed} passed, $total{failed} failed, $total{skipped} skipped\n";
exit($total{failed} > 0 || $total{passed} == 0);

sub programs_in {
	my ($dir) = @_;
	opendir(my $handle, $dir) or return ();
	return map { "$dir/$_" }
		grep { /\.(?:t|sh)$/ || (/^test_[^.]*$/ && -f "$dir/$_" && -x _) } sort readdir $handle;
}

sub wanted {
	my ($path) = @_;
	return 1 unless @match;
	return scalar grep { index($path, $_) >= 0 } @match;
}

sub start {
	my ($path) = @_;
	my $name = join '-', grep { length } (split m{/}, $path)[-2, -1];
	my %test = (path => $path, name => $name, out => "$log_dir/$name.out", err => "$log_dir/$name.err",
		reports => "$log_dir/$name.sanitizer", since => time);
	if ($until && time > $until) {
		score(\%test, { failed => 1, notes => ['not run: the time for this run is over'] });
		return;
	}
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		run(\%test);
		POSIX::_exit(127);
	}
	setpgrp($pid, $pid);
	$running{$pid} = \%test;
}

# In the child: a process group of its own, so that it can be ended with all that it started.
sub run {
	my ($test) = @_;
	setpgrp(0, 0);
	$ENV{ASAN_OPTIONS} = join ':', grep { defined } "exitcode=117:log_path='$test->{reports}'", $ENV{ASAN_OPTIONS};
	$ENV{UBSAN_OPTIONS} = join ':', grep { defined }
		"exitcode=117:print_stacktrace=1:log_path='$test->{reports}'", $ENV{UBSAN_OPTIONS};
	open(STDIN, '<', '/dev/null');
	open(STDOUT, '>', $test->{out}) or die "$test->{out}: $!\n";
	open(STDERR, '>', $test->{err}) or die "$test->{err}: $!\n";
	my @how = $test->{path} =~ /\.t$/ ? ($^X) : $test->{path} =~ /\.sh$/ ? ('sh') : ();
	exec { $how[0] // $test->{path} } @how, $test->{path} or print STDERR "$test->{path}: $!\n";
}

# First TERM, which lets a scenario stop its servers, then KILL.
sub stop_overdue {
	while (my ($pid, $test) = each %running) {
		my $over = time - $test->{since} - $limit;
		next if $over < 0;
		kill(($over < 20 ? 'TERM' : 'KILL'), -$pid) if $over >= 20 || !$test->{late}++;
	}
}

sub finish {
	my ($pid, $status) = @_;
	my $test = delete $running{$pid};
	my $result = parse($test->{out});
	my @wrong;
	if ($test->{late}) {
		push @wrong, "ran longer than $limit s";
	} elsif (still_there($pid)) {
		push @wrong, 'left processes running';
	}
	kill 'KILL', -$pid;
	push @wrong, plan_error($result);
	if ($status & 127) {
		push @wrong, 'died by signal ' . ($status & 127);
	} elsif ($status && !$result->{failed}) {
		push @wrong, 'ended with ' . ($status >> 8);
	}
	for my $report (glob qq("$test->{reports}.*")) {
		push @wrong, "sanitizer report:\n" . tail($report, 60) if is_finding($report);
	}
	$result->{failed} += @wrong;
	push @{$result->{notes}}, @wrong;
	score($test, $result);
}

# A test that kills the program may hit it while the leak checker looks at its end: what that says of the lost
# process is no finding.
sub is_finding {
	my ($report) = @_;
	open(my $in, '<', $report) or return 1;
	my @lines = grep { !/^==\d+==Unable to get registers from thread \d+\.$/ && /\S/ } <$in>;
	return @lines > 0;
}

# A worker whose leader has just ended needs a moment to notice.
sub still_there {
	my ($group) = @_;
	for (1 .. 30) {
		return 0 unless kill 0, -$group;
		sleep 0.1;
	}
	return 1;
}

# Only lines that begin in the first column count, so subtests and logs may be indented.  A program
# may hold several plans one after another (cmocka prints one per group).
sub parse {
	my ($file) = @_;
	my %result = (passed => 0, failed => 0, skipped => 0, seen => 0, planned => undef, notes => [], skips => []);
	open(my $in, '<', $file) or return \%result;
	my $showing = 0;
	while (my $line = <$in>) {
		chomp $line;
		if ($line =~ /^1\.\.(\d+)(?:\s*#\s*skip\w*\s*(.*))?/i) {
			$result{planned} += $1;
			if ($1 == 0 && defined $2) {
				$result{skipped}++;
				push @{$result{skips}}, $2;
			}
		} elsif ($line =~ /^(not )?ok\b([^#]*)(?:#\s*(skip|todo)\w*\s*(.*))?/i) {
			my ($not, $name, $directive, $reason) = ($1, $2, lc($3 // ''), $4);
			$result{seen}++;
			$showing = $not && $directive eq '';
			my $kind = $directive eq 'skip' ? 'skipped' : $showing ? 'failed' : 'passed';
			$result{$kind}++;
			$name =~ s/^[\s\d-]+|\s+$//g;
			push @{$result{skips}}, join ': ', grep { length } $name, $reason if $kind eq 'skipped';
			push @{$result{notes}}, $line if $showing;
		} elsif ($line =~ /^Bail out!/) {
			$result{failed}++;
			push @{$result{notes}}, $line;
		} elsif ($showing && $line =~ /^#/) {
			push @{$result{notes}}, $line;
		}
	}
	return \%result;
}

sub plan_error {
	my ($result) = @_;
	return 'printed no plan' unless defined $result->{planned};
	return "planned $result->{planned} test points, ran $result->{seen}" if $result->{planned} != $result->{seen};
	return 'ran no test points' if $result->{planned} == 0 && !$result->{skipped};
	return ();
}

sub score {
	my ($test, $result) = @_;
	$total{$_} += $result->{$_} // 0 for keys %total;
	my $took = sprintf '%.1f s', time - $test->{since};
	my $path = $test->{path};
	$path =~ s{^\Q$ENV{srcdir}\E/}{} if defined $ENV{srcdir};
	if ($result->{failed}) {
		print "FAIL $path ($result->{failed} failed, $took)\n";
		print map { s/^/     /gmr . "\n" } @{$result->{notes}};
		print map { "     | $_" } split /^/, tail($test->{err}, 60);
	} else {
		printf "ok   %s (%d, %s)\n", $path, $result->{passed}, $took;
	}
	print "     skipped: $_\n" for @{$result->{skips} // []};
}

sub tail {
	my ($file, $count) = @_;
	open(my $in, '<', $file) or return '';
	my @lines = <$in>;
	splice @lines, 0, @lines - $count if @lines > $count;
	return join '', @lines;
}
