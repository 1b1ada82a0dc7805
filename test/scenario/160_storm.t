# Backups of a cluster that changes under their hands: tables and databases come and go, files grow, shrink, are rewritten
# and removed, also files that PostgreSQL knows nothing of.  Each backup must restore to a cluster whose every page,
# index and account is right.  Then backups that are killed anywhere, and backups that find the lock taken.
use strict;
use warnings;
use Fcntl qw(:flock);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use Test::More;
use Time::HiRes qw(sleep time);

use constant { ACCOUNTS => 200, BALANCE => 100 };

my $seed = $ENV{SEED} // int rand 1e9;
note "SEED=$seed";
srand $seed;
my $pg = PgStrata::Cluster->new(checksums => 1, conf => [ 'max_wal_size = 128MB', 'min_wal_size = 32MB', 'autovacuum = on',
	'autovacuum_naptime = 1s' ]);
my $copy = PgStrata::Cluster->new(name => 'copy', init => 0);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'process-max' => 2,
	'compress-type' => 'zst' } });
$pg->archive_to($stanza);
$pg->start;
$stanza->run_ok('stanza-create');
my $accounts = ACCOUNTS;
$pg->psql($_) for
	"CREATE TABLE account AS SELECT id, @{[BALANCE]} AS balance, repeat('x', 100) AS filler FROM generate_series(1, $accounts) id",
	'ALTER TABLE account ADD PRIMARY KEY (id)', 'CREATE INDEX ON account (balance, id)',
	'CREATE TABLE rewritten (id int PRIMARY KEY, t text)', 'CREATE TABLE wave (id int, t text)',
	'CREATE INDEX ON wave (id)', 'CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS id';

# --- the storm ---

sub psql_loop {
	my ($rounds, $sql) = @_;
	my $script = join '', map { $sql->($_) . ";\n" } 1 .. $rounds;
	return spawn_command([ $pg->bin('psql'), qw(-XAtq -U postgres -d postgres -h), $pg->socket_dir, '-p', $pg->port,
		'-f', '-' ], stdin => $script);
}

# Files that only a backup knows: longer, shorter, gone, back, renamed.
sub file_loop {
	my $dir = $pg->data . '/files';
	mkdir $dir;
	my $script = q{
		my ($dir, $n) = (shift, 0);
		while (getppid() != 1) {
			my $f = "$dir/" . int rand 20;
			my $what = rand;
			if ($what < 0.6) { open(my $o, '>', $f) or next; print $o chr(65 + $n % 26) x int rand 300000; }
			elsif ($what < 0.8) { unlink $f; }
			elsif ($what < 0.9) { open(my $o, '>>', $f) or next; print $o 'longer' x 1000; }
			else { mkdir "$dir/d"; open(my $o, '>', "$dir/d/x"); close $o; unlink "$dir/d/x"; rmdir "$dir/d"; rename $f, "$f.old"; }
			$n++;
			select undef, undef, undef, 0.002;
		}
	};
	return spawn_command([ $^X, '-e', $script, $dir ]);
}

# Not so wild that archiving cannot keep up: the backups wait for it.
sub storm {
	my $copies = $pg->version >= 15 ? ' STRATEGY file_copy' : '';
	return (
		psql_loop(5000, sub {
			my ($n) = @_;
			my $old = $n - 3;
			return "CREATE TABLE s$n AS SELECT id, md5(id::text) AS t FROM generate_series(1, 2000) id;"
				. "CREATE INDEX ON s$n (t); " . ($n > 3 ? "DROP TABLE s$old;" : '') . "SELECT pg_sleep(0.1)";
		}),
		psql_loop(5000, sub { 'TRUNCATE rewritten; INSERT INTO rewritten SELECT id, repeat(id::text, 20) '
			. 'FROM generate_series(1, 3000) id; VACUUM FULL rewritten; SELECT pg_sleep(0.1)' }),
		psql_loop(5000, sub { 'INSERT INTO wave SELECT id, repeat(md5(id::text), 3) FROM generate_series(1, 4000) id;'
			. 'DELETE FROM wave WHERE id > 500; VACUUM wave; SELECT pg_sleep(0.1)' }),
		psql_loop(5000, sub {
			my ($from, $to) = map { 1 + int rand ACCOUNTS } 1, 2;
			return "BEGIN; UPDATE account SET balance = balance - 1 WHERE id = $from;"
				. "UPDATE account SET balance = balance + 1 WHERE id = $to; COMMIT; SELECT pg_sleep(0.01)";
		}),
		psql_loop(500, sub { "CREATE DATABASE passing$copies; DROP DATABASE passing; SELECT pg_sleep(0.5);"
			. 'CREATE TEMP TABLE tmp AS SELECT generate_series(1, 20000); DROP TABLE tmp; CHECKPOINT' }),
		file_loop());
}

sub label_of { my ($label) = $_[0] =~ /new backup label = (\S+)/; return $label // 'none' }

my @winds = storm();
my @labels;
my $backups_in_storm = full_run() ? 5 : 3;
for my $n (1 .. $backups_in_storm) {
	push @labels, label_of($stanza->run_ok('backup', '--type=full',
		{ name => "backup $n in the storm", unlike => qr/invalid page checksum/ }));
}
for my $wind (@winds) {
	ok(kill(0, $wind->{pid}), 'the storm blew to the end');
	kill 'TERM', -$wind->{pid};
	my (undef, $output) = reap($wind, 20);
	unlike($output, qr/ERROR|FATAL|PANIC/, 'without errors');
}
ok($pg->wait_archived($pg->switch_wal), 'all WAL is archived');

# --- each backup is a sound cluster ---

my $has_amcheck = -x $copy->bin('pg_amcheck')
	&& $pg->psql("SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'");

sub is_sound {
	my ($name) = @_;
	my $ask = q{SELECT format('SELECT %L, count(*), sum(hashtext(x::text)) FROM %s x', oid::regclass, oid::regclass)
		FROM pg_class WHERE relkind = 'r' AND relpersistence <> 't' ORDER BY 1 \gexec};
	my ($by_heap, $by_index) = map { $copy->psql("SET jit = off; $_;\n$ask") }
		'SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off',
		'SET enable_seqscan = off';
	is($by_index, $by_heap, "$name: all tables can be read, with and without indexes");
	unlike($by_heap, qr/\A\z/, "$name: there are some");
	is($copy->psql('SELECT sum(balance), count(*) FROM account'), ACCOUNTS * BALANCE . '|' . ACCOUNTS,
		"$name: no money is lost");
	is($copy->psql('SELECT count(*) FROM unlogged'), '0', "$name: the unlogged table is empty");
	return if !$has_amcheck;
	my ($code, $out, $err) = run_command([ $copy->bin('pg_amcheck'), qw(--all --install-missing --heapallindexed -U
		postgres -h), $copy->socket_dir, '-p', $copy->port ]);
	ok($code == 0, "$name: amcheck finds nothing") or diag($out, $err);
}

for my $label (@labels) {
	$copy->remove_data;
	$stanza->run_ok('restore', "--set=$label", '--pg1-path=' . $copy->data, qw(--archive-mode=off --type=immediate
		--target-action=promote), { name => "$label: restore" });
	$copy->start;
	$copy->wait_for_recovery_end;
	is_sound($label);
	$copy->stop;
	my ($code, $out, $err) = run_command([ $copy->bin('pg_checksums'), '--check', '-D', $copy->data ]);
	ok($code == 0, "$label: all pages have their checksum") or diag($out, $err);
}

# --- killed ---

my $backups = $stanza->path('repo/backup/demo');

sub directories { return map { m{([^/]+)$} } grep { -d && m{/\d{8}-\d{6}F[^/]*$} } glob "$backups/*" }
sub finished_directories { return grep { -e "$backups/$_/backup.manifest" } directories() }

# Workers that end a moment later still hold the lock: as for any other process, the next run may have to wait.
sub backup_when_free {
	my ($name) = @_;
	my @result;
	wait_until(sub { @result = $stanza->run('backup', '--type=full'); $result[0] != 50 });
	ok($result[0] == 0, $name) or diag(@result[1, 2]);
	return $result[1];
}

my $begin = time;
$stanza->run_ok('backup', '--type=full', '--no-expire-auto', { name => 'how long does it take' });
my $duration = time - $begin;
my $rounds = $ENV{ROUNDS} // (deep_run() ? 100 : 15);
my $killed = 0;
for my $round (1 .. $rounds) {
	my %before = map { $_ => 1 } finished_directories();
	my $after = rand $duration;
	my $process = spawn_command([ $stanza->command('backup', '--type=full') ]);
	sleep $after;
	kill 'KILL', $process->{pid};
	my ($code, $output) = reap($process);
	$killed++ if $code == 128 + 9;
	$duration *= 0.8 if $code == 0; # faster than it was: the next kill comes earlier
	my $name = sprintf 'round %d, killed after %.3f s', $round, $after;
	my @listed = $stanza->labels;
	my %finished = map { $_ => 1 } finished_directories();
	is("@{[grep { !$finished{$_} } @listed]}", '', "$name: only complete backups are listed");
	is("@{[grep { !$finished{$_} } keys %before]}", '', "$name: no other backup is touched");
	next if $round % 5 && $round != $rounds;
	$output = backup_when_free("$name: the next run succeeds");
	is("@{[directories()]}", "@{[finished_directories()]}", "$name: leftovers are gone");
	is("@{[sort($stanza->labels)]}", "@{[directories()]}", "$name: all backups are listed");
}
cmp_ok($killed, '>=', $rounds / 3, 'enough of the kills hit');
$copy->remove_data;
$stanza->run_ok('restore', '--pg1-path=' . $copy->data, '--archive-mode=off');
$copy->start;
$copy->wait_for_recovery_end;
is_sound('the backup after all kills');
$copy->stop;

# --- locks ---

# A stopped process holds what it has taken for as long as we want.
my $slow = spawn_command([ $stanza->command('backup', '--type=full') ]);
ok(wait_until(sub { slurp("$slow->{files}.out") =~ /execute backup start/ }), 'a backup runs');
kill 'STOP', $slow->{pid};
my $lock = $stanza->path('lock/demo-backup-1.lock');
$stanza->run_fail('backup', { code => 50, name => 'a second one does not',
	like => qr/unable to acquire lock on file '\Q$lock\E'.*HINT: is another pgStrata or pgBackRest process running/s });
$stanza->run_fail('stanza-create', { code => 50, name => 'nor stanza-create' });
like($stanza->info->[0]{status}{lock}{backup}{held}, qr/1/, 'info says so');
kill 'CONT', $slow->{pid};
my ($code, $output) = reap($slow, 60);
is($code, 0, 'the first one succeeds') or diag($output);
is(scalar(grep { $_ eq label_of($output) } $stanza->labels), 1, 'and is listed');

for my $file ('demo-backup-1.lock', 'demo-backup.lock') {
	my $path = $stanza->path("lock/$file");
	open(my $handle, '>', $path) or die "$path: $!";
	flock $handle, LOCK_EX | LOCK_NB or die "flock $path: $!";
	syswrite $handle, qq({"execId":"1-0a1b2c3d","pid":$$});
	$stanza->run_fail('backup', { code => 50, like => qr/unable to acquire lock on file '\Q$path\E'/,
		name => "somebody else holds $file" });
	close $handle;
}
$stanza->run_ok('backup', '--type=full', { name => 'locks that nobody holds do not matter' });

done_testing();
