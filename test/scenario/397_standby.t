# Backups that are copied from a standby: what comes from where, that what is restored is whole, also if the standby
# lags, and what a later backup may take over from one.  What the servers must be and stay is in 398_standby_servers.t.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Standby;
use Test::More;
use Time::HiRes qw(sleep);

my @made = map { work_dir() . "/$_" } qw(multixact ts ts-standby multixact-standby);
mkdir $_ for @made;

my $pg = PgStrata::Cluster->new(name => 'primary', wal_segsize => 1, checksums => 1,
	conf => [ 'autovacuum = off', 'checkpoint_timeout = 1h', 'max_wal_size = 1GB', 'wal_keep_size = 200MB' ]);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => {
	'archive-timeout' => '20s', 'compress-type' => 'lz4', 'process-max' => 2 } });
my $data = $pg->data;

rename "$data/pg_multixact", "$made[0]/mx" and symlink "$made[0]/mx", "$data/pg_multixact" or die "link: $!";
my $hold = held_archiving($pg, $stanza);
$pg->start;
$stanza->run_ok('stanza-create');
$pg->psql("CREATE EXTENSION amcheck; CREATE TABLESPACE ts LOCATION '$made[1]'");
$pg->psql('CREATE TABLE spaced (id int PRIMARY KEY, text text) TABLESPACE ts;'
	. " INSERT INTO spaced SELECT id, md5(id::text) FROM generate_series(1, 2000) AS id");
$pg->drop_templates;
my $oid = $pg->psql("SELECT oid FROM pg_tablespace WHERE spcname = 'ts'");

# --- no standby ---

$stanza->run_fail('backup', '--type=full', '--backup-standby', { code => 56, name => 'there is no standby',
	like => qr/\[056\]: unable to find standby cluster - cannot proceed/ });
$stanza->run_ok('backup', '--type=full', '--backup-standby=prefer', { name => 'prefer goes on with the primary',
	like => qr/WARN: unable to find a standby to perform the backup, using primary instead\n/ });
like(manifest_of($stanza, ($stanza->labels)[-1]), qr/^option-backup-standby=false$/m, 'and the manifest says so');

my $standby = standby_from($stanza, $pg, 'standby', "--tablespace-map=ts=$made[2]", "--link-map=pg_multixact=$made[3]/mx");
my $copy = $standby->data;
$stanza->set_cluster($standby, 2);
ok(caught_up($pg, $standby), 'the standby follows');

# --- under load, to a known point ---

my $sums = 'SELECT sum(abalance), (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(bbalance) FROM pgbench_branches),'
	. ' (SELECT sum(delta) FROM pgbench_history), (SELECT count(*) FROM pgbench_history),'
	. ' (SELECT md5(string_agg(text, NULL ORDER BY id)) FROM spaced) FROM pgbench_accounts';

sub restored {
	my ($name, $sql, $state, @options) = @_;
	my $restored = PgStrata::Cluster->new(name => $name, init => 0);
	$stanza->run_ok('restore', '--pg1-path=' . $restored->data, '--target-action=promote', '--tablespace-map-all='
		. work_dir() . "/$name.ts", '--link-map=pg_multixact=' . work_dir() . "/$name.mx", '--archive-mode=off', @options,
		{ name => "restore $name" });
	$restored->start;
	$restored->wait_for_recovery_end;
	is($restored->psql($sql, may_fail => 1), $state, "$name holds what was there");
	my ($code, $out, $err) = run_command([ $restored->bin('pg_amcheck'), '-h', $restored->socket_dir, '-p', $restored->port,
		qw(-U postgres -d postgres --heapallindexed) ]);
	is("$code $out$err", '0 ', "$name: amcheck finds nothing");
	$restored->stop('immediate');
	$restored->remove_data;
}

sub under_load {
	$pg->must('pgbench', '-h', $pg->socket_dir, '-p', $pg->port, qw(-U postgres -i -q -s 1 postgres));
	my $load = spawn_command([ $pg->bin('pgbench'), '-h', $pg->socket_dir, '-p', $pg->port,
		qw(-U postgres -n -c 2 -T 120 -R 40 postgres) ]);
	ok($pg->wait_sql('SELECT count(*) > 5 FROM pgbench_history', 't'), 'there is load');
	my $out = $stanza->run_ok('backup', '--type=full', '--backup-standby', { name => 'full from the standby', like =>
		qr{wait for replay on the standby to reach (\w+/\w+)\n(?:.*\n)*?.*replay on the standby reached \1\n} });
	my $from = from_right_server($out, $pg, $standby, 'full');
	ok($from->{$_}, "$_ is there") for 'global/pg_control', 'pg_xact/0000', 'pg_multixact/offsets/0000', 'postgresql.conf';
	is(scalar(grep { m{^pg_tblspc/$oid/} } keys %$from) > 0, 1, 'the tablespace too');
	like($out, qr/^P01 DETAIL: backup file \Q$data\E/m, 'the first worker reads from the primary');
	unlike($out, qr/^P01 DETAIL: backup file \Q$copy\E/m, 'and from nowhere else');
	like(manifest_of($stanza, ($stanza->labels)[-1]), qr/^option-backup-standby=true$/m, 'the manifest says so');
	$out = $stanza->run_ok('backup', '--type=incr', '--backup-standby=prefer', '--repo1-bundle',
		{ name => 'incr from the standby' });
	from_right_server($out, $pg, $standby, 'incr');
	$pg->psql("UPDATE spaced SET text = 'x' || id WHERE id % 7 = 0");
	kill 'TERM', -$load->{pid};
	reap($load);
	my $state = $pg->psql($sums);
	$pg->psql("SELECT pg_create_restore_point('known')");
	$pg->psql('UPDATE pgbench_accounts SET abalance = 0 WHERE aid < 100');
	$pg->wait_archived($pg->switch_wal);
	restored('loaded', $sums, $state, '--type=name', '--target=known');
}

# --- the standby stands still while the primary goes on ---

my @tables = qw(upd grow shrink fresh);
my $look = 'SELECT ' . join ', ', map { "(SELECT md5(string_agg(id || text, NULL ORDER BY id)) FROM $_)" } @tables;
my $many = "md5(id::text) || repeat('-', 200) FROM generate_series";

# What the primary changes behind the start, in files that keep their time until the next backup, and that is not in
# what the standby has.
sub changes {
	my ($round) = @_;
	$pg->psql("UPDATE upd SET text = overlay(text placing '$round' from 1) WHERE id % 10 = 0");
	$pg->psql("INSERT INTO grow SELECT id, $many(1, 2000) AS id");
	$pg->psql('DELETE FROM shrink WHERE id > 100');
	$pg->psql('VACUUM shrink');
	$pg->psql('DROP TABLE gone');
	$pg->psql("CREATE TABLE fresh (id int, text text) TABLESPACE ts; INSERT INTO fresh SELECT id, $many(1, 500) AS id");
}

sub lagging {
	my ($how, @options) = @_;
	$pg->psql("CREATE TABLE $_ (id int, text text) WITH (fillfactor = 50); INSERT INTO $_ SELECT id, $many(1, 1000) AS id")
		for qw(upd grow shrink gone);
	my ($upd, $shrink) = map { $pg->psql("SELECT pg_relation_filepath('$_')") } qw(upd shrink);
	spew($hold);
	my $process = start_backup($stanza, '--type=full', '--backup-standby', @options);
	ok(until_it_logs($process, qr/replay on the standby reached/), "$how: the backup has begun");
	replay($standby, 'pause');
	changes('new');
	my $state = $pg->psql($look);
	$pg->psql('CHECKPOINT');
	sleep 4; # so long that times alone would make an incremental believe that it has these files
	unlink $hold;
	my ($code, $out) = reap($process);
	is($code, 0, "$how: full from a standby that stands still") or diag($out);
	like($out, qr{\Q$copy\E/\Q$shrink\E \(}, "$how: a file that is longer on the standby");
	like($out, qr{\Q$copy\E/base/\d+/\d+ \((?:[^,]*, )?[\d.]+[KM]?B->[\d.]+[KM]?B,}, "$how: one that is shorter there");
	like($out, qr{\Q$data\E/pg_tblspc/\d+/\S+ \(}, "$how: and one that only the primary has");
	unlike($out, qr/invalid page checksum|page misalignment/, "$how: all pages are good");
	my @full = "--set=" . ($stanza->labels)[-1];
	replay($standby, 'resume');
	ok(caught_up($pg, $standby), "$how: the standby catches up");
	for my $from (qw(y n)) {
		$out = $stanza->run_ok('backup', '--type=incr', $from eq 'y' ? '--backup-standby' : '--no-backup-standby', @options,
			{ name => "$how: incr, standby $from" });
		like($out, qr{(?:backup|match) file \S* ?.*/\Q$upd\E \(}, "$how: what came behind the start is looked at again")
			if $from eq 'y';
		restored("incr-$from-$how", $look, $state, '--type=immediate');
	}
	restored("full-$how", $look, $state, '--type=immediate', @full);
	$pg->psql('DROP TABLE ' . join ', ', @tables);
}

sub behind {
	replay($standby, 'pause');
	my @before = $stanza->labels;
	$stanza->run_fail('backup', '--type=incr', '--backup-standby', '--archive-timeout=1s', { code => 82,
		name => 'the standby does not replay', like => qr{\[082\]:\ timeout\ before\ standby\ replayed\ to\ \w+/\w+\ -\ only\ reached\ \w+/\w+\n
			\s+HINT:\ is\ replication\ running\ and\ current\ on\ the\ standby\?\n
			\s+HINT:\ disable\ the\ 'backup-standby'\ option\ to\ backup\ directly\ from\ the\ primary}x });
	is_deeply([ $stanza->labels ], \@before, 'and nothing is listed');
	replay($standby, 'resume');
	caught_up($pg, $standby);
}

under_load();
lagging('blocks', '--repo1-bundle', '--repo1-block');
if (full_run) {
	lagging('bundle', '--repo1-bundle');
	lagging('files');
}
behind();

done_testing();
