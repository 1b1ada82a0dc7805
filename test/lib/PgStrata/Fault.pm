# PgStrata::Fault: a command with each of its system calls failing in turn.
#
#	faults_for($stanza);
#	sweep('restore', [ 'restore', '--pg1-path=...' ], 40,
#		prepare => sub { ... },
#		check => sub { my ($code, $action) = @_; return ('what is wrong', ...) });
#
# Always true: by default a random part of all cases is tried (SEED repeats it), in CI twice as many, in long campaigns
# all of them; every failure ends with a documented code and its message; the whole test is skipped where the program
# was built without --enable-faults.
package PgStrata::Fault;
use strict;
use warnings;
use Exporter qw(import);
use File::Basename qw(dirname);
use List::Util qw(shuffle);
use PgStrata;
use Test::More;

our @EXPORT = qw(faults_for run_with run_again said sweep);

my ($stanza, $counted, $said, %documented);
my $seed = $ENV{SEED} // time;

# Which actions are tried for which calls of sys_fault.h.
my %actions = (any => [qw(EIO ENOSPC kill)], map({ $_ => ['EIO'] } qw(close opendir stat lstat fstat)),
	map({ $_ => [qw(EIO short)] } qw(read pread pwrite)), open => [qw(EACCES EMFILE)]);

# The stanza that all the rest works with.
sub faults_for {
	($stanza) = @_;
	$counted = work_dir() . '/counted';
	srand $seed;
	$stanza->run('info', { env => { PGSTRATA_FAULT_COUNT => $counted } });
	plan(skip_all => 'cannot here: built without --enable-faults') if !-e $counted;
	my ($codes) = slurp(dirname(__FILE__) . '/../../../lib/base/err.h') =~ /#define ERR_LIST\(X\)(.*?)\n\n/s;
	%documented = map { $_ => 1 } $codes =~ /X\(ERR_\w+, (\d+),/g;
}

# The program, with a fault if there is one; what it said is kept for the explanation of a failure.
sub run_with {
	my ($fault, $count, @words) = @_;
	my ($code, $out, $err) = $stanza->run(@words, { timeout => 60,
		env => { PGSTRATA_FAULT => $fault, PGSTRATA_FAULT_COUNT => $count ? $counted : undef } });
	$said = "$out$err";
	return $code;
}

sub said { return $said }

# What is wrong about the same command, run again without a fault.  Workers of a killed leader hold the lock until
# they notice.
sub run_again {
	my (@words) = @_;
	my $code;
	wait_until(sub { ($code = run_with(undef, 0, @words)) != 50 }, 20);
	return $code ? ("again: exit $code: $said") : ();
}

sub count_calls {
	my ($call, @words) = @_;
	unlink $counted;
	my $code = run_with("$call:0:EIO", 1, @words);
	die "@words without a fault: exit $code\n$said" if $code;
	chomp(my $count = slurp($counted));
	return $count;
}

# What is wrong about the end of a command: a failure has a documented code and tells it; only a kill ends by signal.
sub wrong_end {
	my ($code, $action) = @_;
	return () if $code == 0 || ($action eq 'kill' && $code == 137);
	return ("exit $code is not documented: $said") if !$documented{$code};
	my $shown = sprintf '%03d', $code;
	return $said =~ /ERROR: \[$shown\]: \S/ ? () : ("exit $code without its message: $said");
}

# sweep(NAME, WORDS, LIMIT, prepare => CODE, check => CODE): the command with each fault, before it
# prepare, after it check, which gets the exit code and the action and returns what is wrong.  LIMIT: cases in the
# default mode.  One test point for each call.
sub sweep {
	my ($name, $words, $limit, %how) = @_;
	my (@cases, %wrong, %done, %failed);
	for my $call (sort keys %actions) {
		$how{prepare}->();
		my $count = count_calls($call, @$words);
		push @cases, map { my $n = $_; map { [ $call, $n, $_ ] } @{$actions{$call}} } 1 .. $count;
	}
	my $count = @cases;
	# a sample has of both kinds: those that change something are few, and they are what fails
	my @changing = shuffle(grep { $_->[0] eq 'any' } @cases);
	my @others = shuffle(grep { $_->[0] ne 'any' } @cases);
	@cases = map { (splice(@changing, 0, 1), splice @others, 0, 2) } @cases;
	$limit *= 2 if full_run();
	splice @cases, $limit if !deep_run() && @cases > $limit;
	for my $case (@cases) {
		my ($call, $n, $action) = @$case;
		$how{prepare}->();
		my $code = run_with("$call:$n:$action", 0, @$words);
		my @wrong = (wrong_end($code, $action), $how{check}->($code, $action));
		push @{$wrong{$call}}, map { "PGSTRATA_FAULT=$call:$n:$action: exit $code: $_" } @wrong;
		$done{$call}++;
		$failed{$call}++ if $code;
	}
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	note("$name: " . @cases . " of $count cases");
	for my $call (sort keys %done) {
		my @wrong = @{$wrong{$call} // []};
		ok(!@wrong, "$name: each of its calls '$call' may fail") or diag(join "\n", "SEED=$seed", splice @wrong, 0, 10);
	}
	ok($failed{any}, "$name: some did fail");
}

1;
