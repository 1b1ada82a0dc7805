# Asynchronous archive-get with many processes at once, over a change of timeline: gets that overtake each other, locks
# held by others, processes in the background that stand still, or are killed at any of their system calls.  No present
# segment is ever called absent, and what is delivered is what was pushed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Fcntl qw(:flock);
use File::Path qw(remove_tree);
use List::Util qw(shuffle);
use PgStrata;
use PgStrata::GetAsync;
use PgStrata::Recovery;
use Test::More;
use Time::HiRes qw(sleep);

my $line = PgStrata::GetAsync->new(segments => 8, promote => 1,
	options => { 'process-max' => 2, 'archive-get-queue-max' => '4MB' });
my @segments = @{$line->{segments}};
like($segments[-1], qr/^00000002/, 'there are two timelines');
my $seed = $ENV{SEED} // time;
srand $seed;

my $lock = $line->{stanza}->path('lock', 'demo-archive-1.lock');
my $stop = work_dir() . '/stop';

# torment(CODE): a process that does it again and again until the file `stop` is there.
sub torment {
	my ($code) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	srand($seed + $$);
	my $count = 0;
	until (-e $stop) {
		$count += $code->();
		sleep rand 0.02;
	}
	note("done $count times");
	POSIX::_exit(0);
}

# Somebody else has the lock for a moment.
sub hold_lock {
	open(my $file, '>>', $lock) or return 0;
	flock($file, LOCK_EX | LOCK_NB) or return 0;
	sleep rand 0.02;
	return 1;
}

# Whoever has the lock stands still for a moment.  Only the process in the background, which leads a group of its own: the
# file names the one in the foreground for an instant, and one that is held while LeakSanitizer looks at it never ends.
sub hold_process {
	open(my $file, '<', $lock) or return 0;
	my ($pid) = (<$file> // '') =~ /"pid":(\d+)/ or return 0;
	return 0 if (readlink("/proc/$pid/exe") // '') ne program() || getpgrp($pid) != $pid;
	kill 'STOP', $pid;
	sleep rand 0.02;
	kill 'CONT', $pid;
	return 1;
}

# Get each segment in order, as a recovery does; what is wrong is told line by line.
sub recovery {
	my ($number, $rounds) = @_;
	my $dest = work_dir() . "/got$number";
	my @wrong;
	for my $segment ((@segments) x $rounds) {
		unlink $dest;
		my ($code, $out, $err) = $line->{stanza}->run($line->words($segment, $dest), { dir => $line->{data} });
		my $right = $code == 0 && slurp($dest) eq $line->{bytes}{$segment};
		push @wrong, "$segment: exit $code" . ($code ? '' : ', other bytes') . "\n$out$err" if !$right;
	}
	spew("$dest.wrong", @wrong);
}

my @torments = (torment(\&hold_lock), torment(\&hold_process));
my @gets = map {
	my $number = $_;
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		recovery($number, deep_run() ? 200 : full_run() ? 10 : 2);
		POSIX::_exit(0);
	}
	$pid;
} 1 .. 4;
waitpid $_, 0 for @gets;
spew($stop);
waitpid $_, 0 for @torments;
my $wrong = join '', map { slurp(work_dir() . "/got$_.wrong") } 1 .. 4;
is($wrong, '', 'many at once: each segment is delivered') or diag("SEED=$seed");
unlink $lock;

# One of the processes of a get, or of those that work for it in the background, is killed at a system call, or the call
# fails.  Without an answer is nothing lost; the gets that come after it have all of the archive.
my $counted = work_dir() . '/counted';
$line->get($segments[0], env => { PGSTRATA_FAULT => 'any:0:EIO', PGSTRATA_FAULT_COUNT => $counted });
$line->wait_idle;

sub spoiled {
	my ($fault) = @_;
	remove_tree($line->queue);
	my @wrong;
	for my $n (0 .. 3) {
		my ($code, $bytes, $said) = $line->get($segments[$n], env => { PGSTRATA_FAULT => $n == 0 ? $fault : undef });
		my $right = $code == 0 ? ($bytes // '') eq $line->{bytes}{$segments[$n]} : $n == 0 && $code > 125;
		push @wrong, "PGSTRATA_FAULT=$fault: get $n: exit $code\n$said" if !$right;
	}
	$line->wait_idle;
	return @wrong;
}

SKIP: {
	skip 'cannot here: built without --enable-faults', 1 if !-e $counted;
	my @cases = map { my $n = $_; map { "any:$n:$_" } qw(kill EIO ENOSPC) } 1 .. 150;
	@cases = (shuffle(@cases))[0 .. (full_run() ? 100 : 25)] if !deep_run();
	my @wrong = map { spoiled($_) } @cases;
	ok(!@wrong, 'any call may fail or be the last') or diag(join "\n", "SEED=$seed", @wrong);
}

done_testing();
