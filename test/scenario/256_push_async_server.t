# archive-push with archive-async under a server that writes: what PostgreSQL was told to be archived is in every
# repository, whatever is killed and whichever repository is away meanwhile; its log has cause and hint; and a restore
# has every row whose commit was acknowledged.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Recovery;
use Test::More;
use Time::HiRes qw(sleep);

my $pg = PgStrata::Cluster->new(name => 'a b', wal_segsize => 1, conf => ['autovacuum = off']);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'compress-type' => 'lz4',
	'archive-timeout' => '10s', 'archive-async' => 'y', 'process-max' => 2, 'log-level-console' => 'warn' } });
my $second = $stanza->path('repo2');
mkdir $second;
$stanza->set(global => { 'repo2-path' => $second });
$pg->archive_to($stanza);
$pg->start;
$stanza->run_ok('stanza-create');
write_rows($pg, 1);
$stanza->run_ok('backup', '--type=full', '--repo=1');

# What PostgreSQL has marked as done, ever.
my %done;
sub look_at_done {
	$done{$_} = 1 for map { m{([0-9A-F]{24})\.done$} ? $1 : () } glob '"' . $pg->data . '/pg_wal/archive_status/*"';
}

sub stored_in {
	my ($repo, $name) = @_;
	return scalar(() = glob "$repo/archive/demo/*/" . substr($name, 0, 16) . "/$name-*.lz4");
}

# The archiver sleeps for a minute after three failures, unless another segment becomes ready.
sub wake_archiver {
	$pg->psql("SELECT pg_logical_emit_message(false, 'test', 'wake up')");
	$pg->switch_wal;
}

sub archived_up_to {
	my ($end, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(wait_until(sub { wake_archiver(); $pg->wait_archived($end, 1) }, 90), $name);
	look_at_done();
}

# Whoever holds the lock, and so the workers, is killed again and again, while the server writes.
my $kills = 0;
my $lock_file = $stanza->path('lock', 'demo-archive-1.lock');
my $wanted = deep_run() ? 60 : full_run() ? 15 : 5;
srand(256);
for (my $turn = 0; $kills < $wanted && $turn < 4 * $wanted; $turn++) {
	my $writer = spawn_command([ $pg->bin('psql'), qw(-XAtq -U postgres -d postgres), '-h', $pg->socket_dir, '-p', $pg->port,
		map { ('-c', "SELECT pg_logical_emit_message(false, 'test', repeat(md5(random()::text), 9000))",
			'-c', 'SELECT pg_switch_wal()') } 1 .. 8 ]);
	# not a foreground that has just taken the lock for it: the archiver itself ends with that, for ten seconds
	for my $look (1 .. 500) {
		open(my $lock, '<', $lock_file) or next;
		next if (<$lock> // '') !~ /"pid":(\d+)/ || (getpgrp($1) // 0) != $1;
		my $pid = $1;
		sleep rand 0.02;
		$kills += kill 'KILL', $pid;
		last;
	} continue {
		sleep 0.002;
	}
	reap($writer, 60);
	write_rows($pg, 1);
	look_at_done();
}
cmp_ok($kills, '>=', $wanted, "the background was killed $kills times");
archived_up_to($pg->switch_wal, 'PostgreSQL goes on by itself');

# One repository away: the other gets everything, PostgreSQL is told, and then everything arrives.
my $failed = $pg->psql('SELECT failed_count FROM pg_stat_archiver');
# not under a run that has looked at it already
ok(wait_until(sub { !-e $lock_file }, 30), 'nobody is at work');
rename $second, "$second.away" or die "rename: $!";
write_rows($pg, 40);
my $end = $pg->switch_wal;
ok(wait_until(sub { wake_archiver(); $pg->psql('SELECT failed_count FROM pg_stat_archiver') > $failed }, 60), 'one repository away: PostgreSQL is told');
ok(wait_until(sub { wake_archiver(); stored_in($stanza->path('repo'), $end) }, 60), 'the other gets what comes');
like($pg->log_text, qr/ERROR: \[104\]: archive-push command encountered error\(s\):\s+repo2: \[FileMissingError\]/, 'the log has the cause');
like($pg->log_text, qr/HINT: if this file can never be stored.*: mv \S+\.error \S+\.ok/, 'and the way out');
ok(!-e $pg->data . "/pg_wal/archive_status/$end.done", 'nothing is marked as done');
rename "$second.away", $second or die "rename: $!";
archived_up_to($end, 'it is back: all arrives');

# The background's process belongs to nobody: the server stops and starts without it.
write_rows($pg, 10);
$pg->restart;
write_rows($pg, 2);
my $state = row_state($pg);
archived_up_to($pg->switch_wal, 'after a restart');
$pg->stop;
look_at_done();
cmp_ok(scalar keys %done, '>', 10, 'segments were marked as done: ' . keys %done);
for my $repo ($stanza->path('repo'), $second) {
	is_deeply([ grep { stored_in($repo, $_) != 1 } sort keys %done ], [], "each is in $repo, once");
}
$stanza->run_ok('verify', "--repo=$_") for 1, 2;

my $restored = PgStrata::Cluster->new(name => 'r', init => 0);
$stanza->set_cluster($restored);
mkdir $restored->data, 0700 or die "mkdir: $!";
$stanza->run_ok('restore', '--archive-mode=off');
recovers_whole($restored, $state, 'the restored server');

done_testing();
