# Several repositories, one of which is broken or does not answer: the others have the segment, proven equal, the exit
# code and the text tell which and why, the run ends in time and leaves no process, and after the repair the same push
# succeeds.  A repository hangs as a stopped process does: the program's process is stopped before a system call there.
use strict;
use warnings;
use File::Path qw(remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use List::Util qw(shuffle);
use PgStrata;
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{SEED} // time;
srand $seed;

my @keys = (1, 2, 3);
my $pg = PgStrata::Cluster->new(wal_segsize => 1, conf => [ 'wal_keep_size = 64MB', 'autovacuum = off' ]);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'compress-type' => 'lz4', 'io-timeout' => '2s',
	map { ("repo$_-path" => work_dir() . "/r$_") } @keys } });

$pg->start;
my @wal;
while (@wal < 8) {
	$pg->psql("SELECT pg_logical_emit_message(false, 'test', repeat(md5(random()::text), 5000))");
	push @wal, $pg->switch_wal;
}
$stanza->run_ok('stanza-create');
$pg->stop;

sub segment { return $pg->data . "/pg_wal/$_[0]" }
sub archive { return work_dir() . "/r$_[0]/archive/demo" }

sub stored {
	my ($key, $name) = @_;
	return grep { !/\.tmp$/ } glob archive($key) . "/*/*/$name-*";
}

# Which repositories deliver the segment that was pushed, asked one by one.
sub delivered_by {
	my ($name, @asked) = @_;
	my $dest = work_dir() . '/delivered';
	return join ' ', grep {
		unlink $dest;
		my ($code) = $stanza->run('archive-get', "--repo=$_", $name, $dest, { dir => '/' });
		$code == 0 && slurp($dest) eq slurp(segment($name));
	} @asked;
}

sub processes_left {
	my ($code, $out) = run_command([ 'ps', '-eo', 'pid,stat,args' ]);
	my $conf = $stanza->config_file;
	return grep { /\Q$conf\E/ } split /\n/, $out;
}

sub push_segment {
	my ($name, %env) = @_;
	my $began = time;
	my ($code, $out, $err) = $stanza->run('archive-push', segment($name), { env => \%env, timeout => 120 });
	return ($code, $out . $err, time - $began);
}

# Test points: a push that one repository does not take, and the same push after the repair.
sub fails_in_one {
	my ($what, $name, $key, $like, $repair) = @_;
	my ($code, $said) = push_segment($name);
	my @others = grep { $_ != $key } @keys;
	is($code, 104, "$what: the push fails") or diag($said);
	like($said, qr/ERROR: \[104\]: archive-push command encountered error\(s\):\n +repo$key: \[\w+\] .*$like/s,
		"$what: and tells which and why");
	unlike($said, qr/repo[@others]: \[/, "$what: only this one");
	is(delivered_by($name, @others), "@others", "$what: the others have it");
	$repair->();
	($code, $said) = push_segment($name);
	is($code, 0, "$what: after the repair the push succeeds") or diag($said);
	is(delivered_by($name, @keys), "@keys", "$what: all have it");
}

# --- broken at once ---

my $foreign = PgStrata::Cluster->new(name => 'foreign', wal_segsize => 1);
my $strange = PgStrata::Stanza->new(cluster => $foreign, id => 'foreign');
$strange->run_ok('stanza-create', '--no-online');

my $away = work_dir() . '/away';
my %broken = (
	'its folder has vanished' => [ qr/unable to load info file/,
		sub { rename work_dir() . "/r$_[0]", $away }, sub { rename $away, work_dir() . "/r$_[0]" } ],
	'its folder is a file' => [ qr/unable to load info file/,
		sub { rename(work_dir() . "/r$_[0]", $away); spew(work_dir() . "/r$_[0]", 'file') },
		sub { unlink work_dir() . "/r$_[0]"; rename $away, work_dir() . "/r$_[0]" } ],
	'no archive.info' => [ qr/unable to load info file/,
		sub { rename archive($_[0]), $away; mkdir archive($_[0]) },
		sub { rmdir archive($_[0]); rename $away, archive($_[0]) } ],
	'of another cluster' => [ qr/PostgreSQL version \d+, system-id \d+ do not match repo\d stanza/,
		sub { rename archive($_[0]), $away; run_command([ 'cp', '-r', $strange->path('repo', 'archive', 'demo'), archive($_[0]) ]) },
		sub { run_command([ 'rm', '-r', archive($_[0]) ]); rename $away, archive($_[0]) } ],
	'a fifo for archive.info' => [ qr/not a regular file/,
		sub { mkdir "$away.d"; for my $n ('', '.copy') { rename archive($_[0]) . "/archive.info$n", "$away.d/i$n"; POSIX::mkfifo(archive($_[0]) . "/archive.info$n", 0600) } },
		sub { for my $n ('', '.copy') { unlink archive($_[0]) . "/archive.info$n"; rename "$away.d/i$n", archive($_[0]) . "/archive.info$n" } } ],
	'not to be written' => [ qr/\[13\] /,
		sub { chmod 0555, glob archive($_[0]) . '/*-1/*' }, sub { chmod 0755, glob archive($_[0]) . '/*-1/*' } ],
);
my $next = 0;
for my $what (sort keys %broken) {
	my ($like, $break, $repair) = @{$broken{$what}};
	my $key = $keys[$next % 3];
	my $name = $wal[$next++ % @wal];
	unlink map { stored($_, $name) } @keys;
	$break->($key);
	fails_in_one("$what: repo$key", $name, $key, $like, sub { $repair->($key) });
}
$stanza->run_fail('archive-push', segment($wal[0]), '--repo1-path=/nonexistent', '--repo2-path=/nonexistent/2',
	'--repo3-path=/nonexistent/3', { code => 103, like => qr/unable to find a valid repository:\n +repo1: .*repo2: .*repo3: /s });

# --- another content in one of them ---

my $odd = $wal[7];
unlink map { stored($_, $odd) } @keys;
my $other = work_dir() . "/$odd";
spew($other, substr(slurp(segment($odd)), 0, 600_000) . 'X' . substr(slurp(segment($odd)), 600_001));
$stanza->run_ok('archive-push', $other, { name => 'another primary was first' });
unlink map { stored($_, $odd) } 1, 3;
my %before = map { $_ => snapshot(archive($_)) } @keys;
$stanza->run_fail('archive-push', segment($odd), { code => 45, like => qr/already exists in the repo2 archive with a different checksum/ });
same_tree($before{$_}, snapshot(archive($_)), "repo$_ is as it was") for @keys;
unlink $other, stored(2, $odd);

# --- one hangs ---

my $counted = work_dir() . '/counted';
my $name = $wal[6];
unlink map { stored($_, $name) } @keys;
push_segment($name, PGSTRATA_FAULT_COUNT => $counted);
if (-e $counted) {
	chomp(my $count = slurp($counted));
	cmp_ok($count, '>', 9, "a push makes $count calls that change something");
	my @cases = shuffle(2 .. $count); # the first is of the program itself: it takes in its configuration
	splice @cases, full_run() ? 8 : 3 if !deep_run();
	for my $n (sort { $a <=> $b } @cases) {
		unlink map { stored($_, $name) } @keys;
		rmdir for map { glob archive($_) . '/*-1/*' } @keys;
		my $what = "SEED=$seed: stopped before call $n";
		my ($code, $said, $seconds) = push_segment($name, PGSTRATA_FAULT => "any:$n:stop");
		my ($key) = $said =~ /WARN: repo(\d) did not answer within 2s: going on without it/;
		is($code, 104, "$what: the push fails") or diag($said);
		ok($key, "$what: a repository is given up") or diag($said), next;
		my @others = grep { $_ != $key } @keys;
		like($said, qr/repo$key: \[ArchiveTimeoutError\] repository did not answer within 2s/, "$what: it is repo$key");
		unlike($said, qr/repo[@others]: \[/, "$what: only this one");
		is(delivered_by($name, @others), "@others", "$what: the others have it");
		cmp_ok($seconds, '<', 60, "$what: it ends in time");
		is_deeply([ processes_left() ], [], "$what: and leaves no process");
		($code, $said) = push_segment($name);
		is($code, 0, "$what: when it answers again the push succeeds") or diag($said);
		is(delivered_by($name, @keys), "@keys", "$what: all have it");
	}
} else {
	note('built without --enable-faults: nothing can be made to hang');
}

# --- a signal ends the push and what works for it ---

if (-e $counted) {
	unlink map { stored($_, $name) } @keys;
	my $push = spawn_command([ $stanza->command('archive-push', '--io-timeout=1m', segment($name)) ],
		env => { PGSTRATA_FAULT => 'rename_new:2:stop' });
	ok(wait_until(sub { grep { /^ *\d+ +T/ } processes_left() }, 60), 'a push waits for a repository');
	kill 'TERM', $push->{pid};
	is((reap($push, 60))[0], 63, 'a signal ends it');
	ok(wait_until(sub { !processes_left() }, 10), 'and leaves no process');
	$push = spawn_command([ $stanza->command('archive-push', '--io-timeout=1m', segment($wal[5])) ],
		env => { PGSTRATA_FAULT => 'opendir:2:stop' });
	ok(wait_until(sub { grep { /^ *\d+ +T/ } processes_left() }, 60), 'another one waits');
	kill 'KILL', $push->{pid};
	reap($push, 60);
	ok(wait_until(sub { !processes_left() }, 10), 'its process goes with it');
	is((push_segment($name))[0], 0, 'the same push succeeds');

	# a put makes the folders that it needs: those of a repository that is not there any more, too
	unlink map { stored($_, $name) } @keys;
	remove_tree(glob archive(1) . '/*-1');
	$push = spawn_command([ $stanza->command('archive-push', '--io-timeout=1m', segment($name)) ],
		env => { PGSTRATA_FAULT => 'mkdir:1:stop' });
	my ($stopped) = ('');
	ok(wait_until(sub { ($stopped) = map { /^ *(\d+) +T/ } processes_left(); $stopped }, 60), 'a push is about to write');
	rename work_dir() . '/r1', $away or die "rename: $!";
	kill 'CONT', $stopped;
	my ($code, $said) = reap($push, 60);
	is($code, 104, 'its repository is renamed away: the push fails') or diag($said);
	like($said, qr/repo1: \[FileMissingError\] '.*archive\.info' vanished while WAL was pushed/, 'and says why');
	remove_tree(work_dir() . '/r1');
	rename $away, work_dir() . '/r1' or die "rename: $!";
	is((push_segment($name))[0], 0, 'it is back: the push succeeds');
	is(delivered_by($name, @keys), "@keys", 'and all have it');
}

done_testing();
