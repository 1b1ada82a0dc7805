# Backups that are copied from a standby: which servers are taken, what check says of them, and that nothing is listed if
# one of them is not, or does not stay, what it has to be.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Standby;
use Test::More;

my $pg = PgStrata::Cluster->new(name => 'primary', wal_segsize => 1, checksums => 1,
	conf => [ 'autovacuum = off', 'checkpoint_timeout = 1h', 'max_wal_size = 1GB', 'wal_keep_size = 200MB' ]);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => {
	'archive-timeout' => '20s', 'compress-type' => 'lz4' } });
my $data = $pg->data;
my $hold = held_archiving($pg, $stanza);
$pg->start;
$stanza->run_ok('stanza-create');
$pg->psql('CREATE TABLE t (id int, text text)');
$pg->drop_templates;
$stanza->run_ok('backup', '--type=full');
my $standby = standby_from($stanza, $pg, 'standby');
my $copy = $standby->data;
$stanza->set_cluster($standby, 2);
ok(caught_up($pg, $standby), 'the standby follows');

sub write_wal {
	my ($cluster) = @_;
	$cluster->psql("INSERT INTO t SELECT id, md5(id::text) || repeat('-', 200) FROM generate_series(1, 5000) AS id");
}

sub new_standby {
	my ($name) = @_;
	$standby = standby_from($stanza, $pg, $name);
	$copy = $standby->data;
	$stanza->set_cluster($standby, 2);
	ok(caught_up($pg, $standby), "$name follows");
}

# --- check ---

my $port = $standby->port;
my $no_primary = qr{\[027\]: primary database not found\n\s+HINT: check indexed pg-path/pg-host configurations};

# The same repository for a configuration in which the standby comes first.
my $swapped = PgStrata::Stanza->new(id => 'swapped', name => 'demo', cluster => $standby, options => { global => {
	'repo1-path' => $stanza->path('repo'), 'compress-type' => 'lz4', 'archive-timeout' => '20s' } });

sub checks {
	my $both = qr/check\ repo1\ \(standby\)\n.*switch\ wal\ not\ performed\ because\ this\ is\ a\ standby\n
		.*check\ repo1\ configuration\ \(primary\)\n.*check\ repo1\ archive\ for\ WAL\ \(primary\)\n/x;
	$stanza->run_ok('check', '--backup-standby', { name => 'check of both', like => $both, unlike => qr/WARN/ });
	$stanza->run_ok('check', '--pg2-port=1', { name => 'check without the standby', unlike => qr/\(standby\)|not properly/,
		like => qr/WARN: unable to check pg2: \[DbConnectError\]/ });
	$stanza->run_ok('check', '--pg2-port=1', '--backup-standby=prefer', { name => 'and it is wanted',
		like => qr/WARN: option 'backup-standby' is enabled but standby is not properly configured\n/ });
	$stanza->run_fail('check', "--pg2-path=$data", { code => 58, name => 'path of another cluster', like =>
		qr/'\Q$copy\E' queried.*\n.*HINT: the pg2-path and pg2-port settings likely reference different clusters/ });
	$swapped->run_fail('check', { code => 27, name => 'check of a standby only', unlike => qr/WARN/,
		like => qr/check repo1 \(standby\)\n.*this is a standby\n.*$no_primary/s });
	$swapped->run_fail('check', '--pg1-port=1', { code => 27, name => 'check of no server',
		like => qr{\[027\]: no database found\n\s+HINT: check indexed pg-path/pg-host configurations} });
	$swapped->run_fail('backup', { code => 56, name => 'backup of a standby only',
		like => qr/unable to find primary cluster - cannot proceed/ });
	$swapped->set_cluster($pg, 2);
	$swapped->run_ok('stanza-create', { name => 'the primary is found behind the standby', like => qr/is valid/ });
	$swapped->run_ok('check', { name => 'by check too', like => $both });
	from_right_server($swapped->run_ok('backup', '--type=incr', '--backup-standby', { name => 'and by backup' }),
		$pg, $standby, 'swapped');
}

# --- one of them does not stay what it was ---

my $large = 'base/' . $pg->psql("SELECT oid FROM pg_database WHERE datname = 'postgres'") . '/large';

# Something happens while a file is copied: the backup fails with this text, is not listed, and the next one works.
sub happens {
	my ($name, $code, $like, $event, $mend) = @_;
	my @before = $stanza->labels;
	for my $dir ($data, $copy) {
		spew("$dir/$large", '');
		truncate_file("$dir/$large", 8 << 30);
	}
	my $process = start_backup($stanza, '--type=full', '--backup-standby');
	ok(freeze_copy($stanza, $process, $large), "$name: while a file is copied") or diag(output_of($process));
	$event->();
	truncate_file($_, 0) for "$data/$large", "$copy/$large";
	my ($got, $out) = thaw($process);
	unlink "$data/$large", "$copy/$large";
	is($got, $code, "$name: exit code") or diag($out);
	like($out, $like, "$name: text");
	unlike($out, qr/execute backup stop/, "$name: the backup did not get to its end");
	is_deeply([ $stanza->labels ], \@before, "$name: nothing is listed");
	$mend->();
	caught_up($pg, $standby);
	$stanza->run_ok('backup', '--type=incr', '--backup-standby', { name => "$name: the next backup works" });
}

sub gone {
	my ($what, $key) = @_;
	my $hint = "HINT: was the $what stopped or restarted during the backup?";
	return qr/\[057\]: $what pg$key cannot be asked any more: unable to execute query.*\Q$hint\E/s;
}

sub servers_do_not_stay {
	happens('standby restarted', 57, gone('standby', 2), sub { $standby->restart }, sub {});
	happens('primary restarted', 57, gone('primary', 1), sub { $pg->restart('immediate') }, sub {}) if full_run;
	happens('standby stopped', 57, gone('standby', 2), sub { $standby->stop('immediate') }, sub { $standby->start })
		if full_run;
	happens('primary stopped', 57, gone('primary', 1), sub { $pg->stop }, sub {
		$stanza->run_fail('check', { code => 27, name => 'no primary to check', like => $no_primary });
		$stanza->run_ok('backup', '--no-online', '--type=full', '--backup-standby', { name => 'offline', like =>
			qr/WARN: option backup-standby is enabled but backup is offline - backups will be performed from the primary\n/ });
		like(manifest_of($stanza, ($stanza->labels)[-1]), qr/^option-backup-standby=false$/m, 'so the manifest says no');
		$pg->start;
	});
}

# The end of this standby: promoted, and then taken for a standby again.
sub promoted {
	happens('standby promoted', 58,
		qr/\[058\]: standby pg2 is no longer in recovery\n\s+HINT: was the standby promoted during the backup\?/,
		sub { $standby->must('pg_ctl', '-D', $copy, '-w', '-s', 'promote') }, sub {
		$stanza->run_fail('backup', '--backup-standby', { code => 56, name => 'two primaries',
			like => qr/more than one primary cluster found: pg1 and pg2/ });
		$standby->stop;
		spew("$copy/standby.signal", '');
		$standby->start;
		write_wal($pg) for 1 .. 2;
		$stanza->run_fail('backup', '--backup-standby', { code => 58, name => 'a standby of another timeline', like =>
			qr/\[058\]: standby pg2 is on timeline 2 but primary pg1 is on timeline 1\n\s+HINT: does the standby follow this/ });
		$standby->stop;
		$standby->remove_data;
		$stanza->run_fail('backup', '--backup-standby', { code => 56, name => 'and no standby',
			like => qr/unable to find standby cluster/ });
		new_standby('standby2');
	});
}

# WAL from the archive only: the start checkpoint gets there when its segment is complete.
sub archive_only {
	my $from = $standby->psql('SHOW primary_conninfo');
	$standby->psql("ALTER SYSTEM SET primary_conninfo = ''");
	$standby->restart;
	my $out = $stanza->run_ok('backup', '--type=full', '--backup-standby', { name => 'a standby that is fed by the archive', like =>
		qr/standby does not receive WAL from a server: switched to complete [0-9A-F]{24}\n.*replay on the standby reached/s });
	from_right_server($out, $pg, $standby, 'from the archive');
	$standby->psql("ALTER SYSTEM SET primary_conninfo = '$from'");
	$standby->reload;
}

# --- longer ones ---

# Without waiting for the end of the copy.
sub found_out_early {
	my @before = $stanza->labels;
	spew("$_/$large", '') for $data, $copy;
	truncate_file("$_/$large", 8 << 30) for $data, $copy;
	my $process = start_backup($stanza, '--type=full', '--backup-standby');
	ok(freeze_copy($stanza, $process, $large), 'a long copy') or diag(output_of($process));
	$standby->stop;
	my ($code, $out) = reap($process, 90);
	is($code, 57, 'it ends before the file does') or diag($out);
	like($out, gone('standby', 2), 'because the standby is gone');
	is_deeply([ $stanza->labels ], \@before, 'nothing is listed');
	unlink "$_/$large" for $data, $copy;
	$standby->start;
	ok(caught_up($pg, $standby), 'and it comes back');
}

# The standby turns to another server, which was promoted, without a restart.
sub other_timeline {
	my $third = standby_from($stanza, $pg, 'third');
	my $to = sprintf 'host=%s port=%d user=postgres', $third->socket_dir, $third->port;
	happens('standby of another server', 58, qr/\[058\]: standby pg2 is on timeline 2 but primary pg1 is on timeline 1\n/, sub {
		caught_up($pg, $_) for $standby, $third;
		$third->must('pg_ctl', '-D', $third->data, '-w', '-s', 'promote');
		$standby->psql("ALTER SYSTEM SET primary_conninfo = '$to'");
		$standby->reload;
		write_wal($third);
		ok(caught_up($third, $standby), 'it follows the other one');
		$third->psql('CHECKPOINT');
	}, sub {
		$_->stop, $_->remove_data for $third, $standby;
		new_standby('standby3');
	});
}

sub no_checksums {
	for my $set (qw(disable enable)) {
		$standby->stop;
		$standby->must('pg_checksums', "--$set", '-D', $standby->data);
		$standby->start;
		caught_up($pg, $standby);
		$stanza->run_fail('backup', '--backup-standby', { code => 58, name => 'a standby without checksums', like =>
			qr/\[058\]: data checksums are enabled on primary pg1 but not on standby pg2\n/ }) if $set eq 'disable';
	}
	$stanza->run_ok('backup', '--type=incr', '--backup-standby', { name => 'a standby with checksums' });
}

sub foreign {
	my $other = PgStrata::Cluster->new(name => 'foreign', wal_segsize => 1);
	$other->start; # what initdb wrote is none that a standby could replay
	$other->stop;
	spew($other->data . '/standby.signal', '');
	$other->start;
	my @instead = ('--pg2-path=' . $other->data, '--pg2-port=' . $other->port);
	$stanza->run_fail('backup', '--backup-standby', @instead, { code => 58, name => 'the standby of another cluster',
		like => qr/\[058\]: standby pg2 \(version .*\) is not a standby of primary pg1 \(version / });
	$stanza->run_fail('check', @instead, { code => 28, name => 'check sees it too',
		like => qr/check repo1 \(standby\)\n.*do not match the database/ });
	$other->stop;
}

# Copies of both that were started on their own: system id and timeline are the same, the WAL is not.
sub clone {
	my %clone = map { $_ => PgStrata::Cluster->new(name => "clone-$_", init => 0) } qw(primary standby);
	my $to = sprintf 'host=%s port=%d user=postgres', $clone{primary}->socket_dir, $clone{primary}->port;
	$_->stop for $standby, $pg;
	for my $pair ([ $pg, $clone{primary} ], [ $standby, $clone{standby} ]) {
		my ($code, $out, $err) = run_command([ 'cp', '-a', map { $_->data } @$pair ]);
		die "cp: $err" if $code;
	}
	$clone{primary}->conf_add('archive_mode = off');
	spew($clone{standby}->data . '/postgresql.auto.conf', "primary_conninfo = '$to'\nrestore_command = 'false'\n");
	$_->start for $pg, $standby, $clone{primary}, $clone{standby};
	write_wal($pg) for 1 .. 3;
	my @before = $stanza->labels;
	my $process = start_backup($stanza, '--type=full', '--backup-standby', '--archive-timeout=5s',
		'--pg2-path=' . $clone{standby}->data, '--pg2-port=' . $clone{standby}->port);
	ok(until_it_logs($process, qr/wait for replay on the standby to reach/), 'a standby of a clone is behind');
	write_wal($clone{primary}) for 1 .. 4;
	$clone{primary}->psql('CHECKPOINT');
	my ($code, $out) = reap($process);
	is($code, 58, 'and is not taken when it has come far enough') or diag($out);
	like($out, qr/\[058\]: checkpoint \w+\/\w+ of standby pg2 is none of primary pg1\n/, 'because it is not ours');
	is_deeply([ $stanza->labels ], \@before, 'nothing is listed');
	$_->stop for $clone{standby}, $clone{primary};
}

checks();
servers_do_not_stay();
promoted();
archive_only();
if (full_run) {
	found_out_early();
	other_timeline();
	no_checksums();
	foreign();
	clone();
}

done_testing();
