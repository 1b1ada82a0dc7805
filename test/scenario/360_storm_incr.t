# Incremental and differential backups with bundles and blocks of a cluster that changes under their hands: tables are
# created, dropped, truncated and rewritten, files outside of the database vanish, shrink and grow.  Each backup of the
# chain must restore to a sound cluster, by whichever earlier backup holds a file or a block.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Interop;
use Test::More;
use Time::HiRes qw(sleep time);

use constant { ACCOUNTS => 200, BALANCE => 100 };

my $seed = $ENV{SEED} // int rand 1e9;
note "SEED=$seed";
srand $seed;
my $pg = PgStrata::Cluster->new(checksums => 1, conf => [ 'max_wal_size = 128MB', 'min_wal_size = 32MB', 'autovacuum = on',
	'autovacuum_naptime = 1s' ]);
my $copy = PgStrata::Cluster->new(name => 'copy', init => 0);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'process-max' => 2, 'compress-type' => 'lz4',
	'repo1-bundle' => 'y', 'repo1-bundle-limit' => '256KiB', 'repo1-bundle-size' => '1MiB', 'repo1-retention-full' => 9,
	'repo1-block' => 'y', 'repo1-block-size-map' => '8KiB=8KiB' } });
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

# Small files that vanish, become empty and come back all the time, among some that stay.
sub file_loop {
	my $dir = $pg->data . '/files';
	mkdir $dir;
	spew("$dir/still$_", "still $_ " x 100) for 1 .. 50;
	my $script = q{
		my ($dir, $n) = (shift, 0);
		while (getppid() != 1) {
			my $f = "$dir/" . int rand 60;
			my $what = rand;
			if ($what < 0.4) { open(my $o, '>', $f) or next; print $o chr(65 + $n % 26) x int rand 30000; }
			elsif ($what < 0.6) { unlink $f; }
			elsif ($what < 0.75) { truncate $f, 0; }
			elsif ($what < 0.85) { utime undef, undef, $f; }
			else { open(my $o, '>>', $f) or next; print $o 'longer' x 1000; }
			$n++;
			select undef, undef, undef, 0.001;
		}
	};
	return spawn_command([ $^X, '-e', $script, $dir ]);
}

sub storm {
	return (
		psql_loop(5000, sub {
			my ($n) = @_;
			my $old = $n - 5;
			return join(';', map { "CREATE TABLE s${n}_$_ AS SELECT $_ AS id" } 1 .. 5) . ';'
				. ($n > 5 ? 'DROP TABLE ' . join(', ', map { "s${old}_$_" } 1 .. 5) . ';' : '') . 'SELECT pg_sleep(0.05)';
		}),
		psql_loop(5000, sub { 'TRUNCATE rewritten; INSERT INTO rewritten SELECT id, repeat(id::text, 20) '
			. 'FROM generate_series(1, 1000) id; VACUUM FULL rewritten; SELECT pg_sleep(0.1)' }),
		psql_loop(5000, sub { 'INSERT INTO wave SELECT id, repeat(md5(id::text), 3) FROM generate_series(1, 2000) id;'
			. 'DELETE FROM wave WHERE id > 500; VACUUM wave; SELECT pg_sleep(0.1)' }),
		psql_loop(5000, sub {
			my ($from, $to) = map { 1 + int rand ACCOUNTS } 1, 2;
			return "BEGIN; UPDATE account SET balance = balance - 1 WHERE id = $from;"
				. "UPDATE account SET balance = balance + 1 WHERE id = $to; COMMIT; SELECT pg_sleep(0.01)";
		}),
		psql_loop(500, sub { 'CREATE TEMP TABLE tmp AS SELECT generate_series(1, 5000); DROP TABLE tmp; CHECKPOINT;'
			. 'SELECT pg_sleep(0.3)' }),
		file_loop());
}

my @winds = storm();
my (@labels, %told);
for my $n (0 .. (full_run() ? 9 : 4)) {
	my $out = $stanza->run_ok('backup', '--type=' . ($n == 0 ? 'full' : $n % 4 == 3 ? 'diff' : 'incr'),
		$n % 3 == 2 ? '--delta' : '--no-delta', $n % 5 == 3 ? '--no-repo1-block' : (),
		$n % 2 ? '--repo1-bundle-limit=8KiB' : (), { name => "backup $n in the storm", unlike => qr/invalid page checksum/ });
	my ($label) = $out =~ /new backup label = (\S+)/;
	push @labels, $label if $label;
	$told{$_->[0]} += () = $out =~ /$_->[1]/g for [ vanished => qr/skip file removed by database/ ],
		[ truncated => qr/store truncated file/ ], [ members => qr/\(bundle \d/ ], [ matches => qr/match file/ ],
		[ references => qr/DETAIL: reference/ ];
	$told{maps} += () = slurp($stanza->path("repo/backup/demo/$label/backup.manifest")) =~ /"bim":/g if $label;
}
note join ', ', map { "$_: $told{$_}" } sort keys %told;
ok($told{$_}, "there were $_") for qw(members matches references maps);
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
$pg->stop;

sub is_sound {
	my ($name) = @_;
	my $ask = q{SELECT format('SELECT %L, count(*), sum(hashtext(x::text)) FROM %s x', oid::regclass, oid::regclass)
		FROM pg_class WHERE relkind = 'r' AND relpersistence <> 't' ORDER BY 1 \gexec};
	my ($by_heap, $by_index) = map { $copy->psql("SET jit = off; $_;\n$ask") }
		'SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off',
		'SET enable_seqscan = off';
	is($by_index, $by_heap, "$name: all tables can be read, with and without indexes");
	is($copy->psql('SELECT sum(balance), count(*) FROM account'), ACCOUNTS * BALANCE . '|' . ACCOUNTS,
		"$name: no money is lost");
	return if !$has_amcheck;
	my ($code, $out, $err) = run_command([ $copy->bin('pg_amcheck'), qw(--all --install-missing --heapallindexed -U
		postgres -h), $copy->socket_dir, '-p', $copy->port ]);
	ok($code == 0, "$name: amcheck finds nothing") or diag($out, $err);
}

for my $label (full_run() ? @labels : @labels[0, 2, 4]) {
	$copy->remove_data;
	$stanza->run_ok('restore', "--set=$label", '--pg1-path=' . $copy->data, qw(--archive-mode=off --type=immediate
		--target-action=promote), { name => "$label: restore" });
	my @lost = grep { slurp($copy->data . "/files/still$_") ne "still $_ " x 100 } 1 .. 50;
	is("@lost", '', "$label: the files that stay are there");
	$copy->start;
	$copy->wait_for_recovery_end;
	is_sound($label);
	$copy->stop;
	my ($code, $out, $err) = run_command([ $copy->bin('pg_checksums'), '--check', '-D', $copy->data ]);
	ok($code == 0, "$label: all pages have their checksum") or diag($out, $err);
}

# before 2.46 it does not know blocks
if (pgbackrest() && pgbackrest_since('2.46')) {
	my ($code, $out, $err) = $stanza->using(pgbackrest())->run('verify', '--output=text', '--verbose');
	ok($code == 0 && "$out$err" =~ /^status: ok$/m, 'pgbackrest finds the repository valid') or diag($out, $err);
}
done_testing();
