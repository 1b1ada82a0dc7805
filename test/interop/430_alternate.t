# Both programs take turns on one stanza: WAL pushed by one is fetched by the other, backups follow each other, what one
# leaves unfinished the other clears away, and locks and stop files of one hold for the other.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Digest::SHA qw(sha1_hex);
use PgStrata;
use PgStrata::Interop;
use Test::More;

need_pgbackrest();

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1,
	conf => [ 'autovacuum = off', 'checkpoint_timeout = 1h', 'checkpoint_completion_target = 0.9' ]);
my (%ours, %theirs);
for my $codec (codecs()) {
	$ours{$codec} = PgStrata::Stanza->new(cluster => $pg, id => $codec,
		options => { global => { 'compress-type' => $codec } });
	$theirs{$codec} = $ours{$codec}->using(pgbackrest());
}
my ($ours, $theirs) = ($ours{gz}, $theirs{gz});
my %other = (ours => 'theirs', theirs => 'ours');
my %name = (ours => 'pgstrata', theirs => 'pgbackrest');

# Even segments are pushed by one program, odd ones by the other.
sub alternate_pushes {
	archive_into($pg, @ours{codecs()});
	my $script = work_dir() . '/pgbackrest-push';
	my $even = slurp($script);
	my $odd = $even =~ s/\Q$ours->{program}\E/$theirs->{program}/gr;
	s/^#!.*\nset -e\n// for $even, $odd;
	spew($script, "#!/bin/sh\nset -e\ncase \$1 in\n*[02468ACE])\n$even;;\n*)\n$odd;;\nesac\n");
}

my $got = work_dir() . '/got';

# Fetch NAME: the content, or the exit code.
sub fetch {
	my ($stanza, $name) = @_;
	unlink $got;
	my ($code) = $stanza->run('archive-get', $name, $got);
	return $code ? "exit $code" : slurp($got);
}

sub stored_names {
	my ($stanza, $like) = @_;
	return grep { m{$like} } keys %{ snapshot($stanza->path('repo', 'archive')) };
}

# --- WAL ---

sub test_segments {
	for my $codec (codecs()) {
		my $stored = stored_segments($ours{$codec});
		my %seen;
		for my $segment ((sort keys %$stored)[ -4 .. -1 ]) {
			my $by = $segment =~ /[02468ACE]$/ ? 'theirs' : 'ours';
			$seen{$by}++;
			my $content = fetch($by eq 'ours' ? $ours{$codec} : $theirs{$codec}, $segment);
			ok(index($stored->{$segment}, "$segment-" . sha1_hex($content) . codec_suffix($codec)) > 0,
				"$codec: $name{$by} fetches $segment of the other");
		}
		is_deeply(\%seen, { ours => 2, theirs => 2 }, "$codec: both have fetched");
	}
}

# The same segment again, compressed otherwise: stored once, in either order; other content is refused.
sub test_duplicates {
	my ($last) = (sort keys %{ stored_segments($ours{none}) })[-1];
	my $file = work_dir() . "/$last";
	spew($file, fetch($ours{none}, $last));
	for my $pair ([ ours => 'lz4', 'zst' ], [ theirs => 'zst', 'gz' ], [ ours => 'gz', 'none' ],
		[ theirs => 'none', 'bz2' ]) {
		my ($by, $old, $new) = @$pair;
		my $stanza = $by eq 'ours' ? $ours{$old} : $theirs{$old};
		$stanza->run_ok('archive-push', "--compress-type=$new", $file,
			{ name => "$name{$by} pushes as $new what is there as $old",
				like => qr/already exists in the repo1 archive with the same checksum/ });
		is(scalar(stored_names($stanza, "$last-")), 1, 'it is stored once');
	}
	flip_bit($file, 700_001);
	for my $stanza ($ours{bz2}, $theirs{bz2}) {
		$stanza->run_fail('archive-push', $file,
			{ name => 'other content of the same name is refused', code => 45 });
	}
	is(scalar(stored_names($ours{bz2}, "$last-")), 1, 'and not stored');
	unlink $file;
}

# Names that are not segments.
sub test_other_files {
	my ($segment) = (sort keys %{ stored_segments($ours) })[-1];
	my $wal = fetch($ours, $segment);
	for my $codec (qw(none zst)) {
		my $number = 2;
		for my $by (qw(ours theirs)) {
			my ($push, $get) = ($ours{$codec}, $theirs{$codec});
			($push, $get) = ($get, $push) if $by eq 'theirs';
			my %content = (sprintf('%08X.history', $number) => "1\t0/3000000\tno recovery target\n",
				sprintf('%08X%s.partial', $number++, substr($segment, 8)) => $wal);
			for my $name (sort keys %content) {
				spew(work_dir() . "/$name", $content{$name});
				$push->run_ok('archive-push', work_dir() . "/$name",
					{ name => "$codec: $name{$by} pushes $name" });
				ok(fetch($get, $name) eq $content{$name}, "$codec: $name{$other{$by}} fetches $name");
				unlink work_dir() . "/$name";
			}
		}
	}
	my ($backup) = map { m{([^/]+)$} } stored_names($ours, qr/\.backup$/);
	ok(defined $backup && fetch($ours, $backup) eq fetch($theirs, $backup), "both fetch $backup");
}

# --- backups ---

sub change { $pg->psql("INSERT INTO t SELECT id, md5(id::text) FROM generate_series(1, 500) AS id") }

sub test_backups {
	my @labels;
	for my $step ([ ours => 'full' ], [ theirs => 'incr' ], [ ours => 'full' ], [ theirs => 'diff' ],
		[ theirs => 'full' ], [ ours => 'full' ]) {
		my ($by, $type) = @$step;
		change();
		push @labels, backup_by($by eq 'ours' ? $ours : $theirs, "--type=$type");
		is_deeply([ $ours->labels ], [ sort @labels ], "$type backup by $name{$by} joins the others");
		same_info($ours, $theirs, "$type by $name{$by}");
		my ($latest) = readlink $ours->path('repo/backup/demo/latest');
		is($latest, $labels[-1], 'latest is the last one');
	}
	my @history = map { m{([^/]+)\.manifest\.gz$} } glob $ours->path('repo/backup/demo/backup.history/*/*');
	is_deeply([ sort @history ], [ sort @labels ], 'each backup has its history file');
	$theirs->run_ok('verify', '--output=text', '--verbose', '--log-level-console=warn',
		{ name => 'all of them are valid', like => qr/^status: ok$/m, unlike => qr/ERROR|status: invalid/ });
	$theirs->run_ok('annotate', "--set=$labels[-1]", '--annotation=by=them', { name => 'they annotate ours' });
	is($ours->info->[0]{backup}[-1]{annotation}{by}, 'them', 'we show it');
	$theirs->run_ok('expire', '--repo1-retention-full=2', { name => 'they expire' });
	change();
	backup_by($ours, '--type=full');
	same_info($ours, $theirs, 'after expire and another backup');
}

# --- one works, the other waits ---

sub waits_for_checkpoint {
	return $pg->psql("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'backup_start|start_backup'"
		. " AND state = 'active' AND pid <> pg_backend_pid()") eq '1';
}

# A backup that does not ask for a fast checkpoint waits for one of many dirty pages, and ends soon after somebody else
# asks for a fast one.
sub locks_of {
	my ($by, $holder, $other) = @_;
	change() for 1 .. 12;
	my $pid = start_background($holder, 'backup', '--type=full', '--no-start-fast');
	ok(wait_until(\&waits_for_checkpoint), "$name{$by} is in the middle of a backup");
	my $held = qr/unable to acquire lock on file .*demo-\w+(?:-1)?\.lock': Resource temporarily unavailable/;
	$other->run_fail(@$_, { name => "$name{$other{$by}}, meanwhile: $_->[0]", code => 50, like => $held })
		for [ 'backup', '--type=full' ], ['stanza-create'], $by eq 'ours' ? ['expire'] : ();
	my $info = $other->info;
	is($info->[0]{status}{code}, 0, "$name{$other{$by}}, meanwhile: info still answers");
	SKIP: {
		skip 'cannot here: this pgbackrest does not know our form of locks', 1
			if $by eq 'ours' && !pgbackrest_since('2.60');
		ok($info->[0]{status}{lock}{backup}{held}, "$name{$other{$by}}, meanwhile: info shows the backup");
	}
	my ($segment) = (sort keys %{ stored_segments($ours) })[-1];
	is(length fetch($other, $segment), 1 << 20, "$name{$other{$by}}, meanwhile: archive-get works");
	ok(waits_for_checkpoint(), "$name{$by} still waits");
	$pg->psql('CHECKPOINT');
	my ($code, $text) = end_background($pid);
	is($code, 0, "$name{$by} ends its backup") or diag($text);
	backup_by($other, '--type=full');
	same_info($ours, $theirs, "both have made theirs");
}

# Killed while it copies a large file: the next backup, by the other program, clears it away and is whole.
sub killed_backup_of {
	my ($by, $killed, $next) = @_;
	my $large = $pg->data . '/large.bin';
	my @before = $ours->labels;
	spew($large, '');
	truncate_file($large, 64 << 30);
	my $pid = start_background($killed, 'backup', '--type=full', '--compress-type=lz4');
	my @left;
	ok(wait_until(sub { @left = glob $ours->path('repo/backup/demo/2*/pg_data/large.bin*') }),
		"$name{$by} copies a large file") or return;
	kill 'KILL', -$pid;
	is((end_background($pid))[0], 137, "$name{$by} is killed");
	unlink $large;
	my ($dir) = $left[0] =~ m{(.*)/pg_data/};
	ok(-e "$dir/backup.manifest.copy" && !-e "$dir/backup.manifest", 'an unfinished backup is left');
	is_deeply([ $next->labels ], \@before, "$name{$other{$by}} does not list it");
	ok($pg->wait_sql("SELECT count(*) FROM pg_stat_activity WHERE application_name ~* 'backrest|strata'", '0'),
		'its connection is gone');
	backup_by($next, '--type=full');
	ok(!-e $left[0], "$name{$other{$by}} has cleared it away");
	same_info($ours, $theirs, 'after that');
	$theirs->run_ok('verify', '--output=text', '--verbose', '--log-level-console=warn',
		{ name => 'and all is valid', like => qr/^status: ok$/m, unlike => qr/ERROR|status: invalid/ });
}

sub test_stop_files {
	my $before = snapshot($ours->path('repo'));
	my ($segment) = (sort keys %{ stored_segments($ours) })[-1];
	my $file = work_dir() . "/$segment";
	spew($file, fetch($ours, $segment));
	for my $for (['--stanza=demo'], []) {
		my @command = (grep({ !/^--stanza/ } $theirs->command), @$for);
		is((run_command([ @command, 'stop' ]))[0], 0, "pgbackrest stop @$for");
		$ours->run_fail(@$_, { name => "pgstrata obeys: $_->[0]", code => 62, like => qr/stop file exists for / })
			for [ 'backup', '--type=full' ], [ 'archive-push', $file ], ['stanza-create'];
		is(length fetch($ours, $segment), 1 << 20, 'archive-get works all the same');
		is((run_command([ @command, 'start' ]))[0], 0, "pgbackrest start @$for");
	}
	same_tree($before, snapshot($ours->path('repo')), 'nothing was written meanwhile');
	$ours->run_ok('archive-push', $file, { name => 'then it works again' });
}

alternate_pushes();
$pg->start;
my $first = 0;
for my $codec (codecs()) {
	my @order = $first++ % 2 ? ($ours{$codec}, $theirs{$codec}) : ($theirs{$codec}, $ours{$codec});
	$order[0]->run_ok('stanza-create', { name => "$codec: one creates the stanza" });
	$order[1]->run_ok('stanza-create',
		{ name => "$codec: the other finds it valid", like => qr/already exists on repo1 and is valid/ });
}
drop_templates($pg);
$pg->psql('CREATE TABLE t (id int, text text)');
for (1 .. 3) {
	change();
	$pg->switch_wal;
}
change();
ok($pg->wait_archived($pg->switch_wal), 'both have pushed');
test_segments();
test_backups();
test_duplicates();
test_other_files();
locks_of(ours => $ours, $theirs);
locks_of(theirs => $theirs, $ours);
killed_backup_of(ours => $ours, $theirs);
killed_backup_of(theirs => $theirs, $ours);
test_stop_files();

done_testing();
