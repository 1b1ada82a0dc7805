# verify against a table of damages: for each kind of file in a repository and each way in which it may suffer, the exit
# code, the backups that are called invalid, and what is said.  What verify says is compared with the truth: an invalid
# backup does not restore, a valid one does.  And nothing is said of repositories that are right: in the middle of a
# chain, after expire, while others push, back up and expire.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Copy qw(copy move);
use File::Find ();
use File::Path qw(remove_tree make_path);
use PgStrata;
use PgStrata::Interop;
use PgStrata::Recovery;
use Test::More;

need_pgbackrest();

# --- two or four archives of one cluster, with a chain of backups each ---

my %form = (
	files => { 'compress-type' => 'gz' },
	bundle => { 'compress-type' => 'zst', 'repo1-bundle' => 'y', 'repo1-cipher-type' => 'aes-256-cbc',
		'repo1-cipher-pass' => 'open sesame' },
	(deep_run() ? (
		'encrypted files' => { 'compress-type' => 'lz4', 'repo1-cipher-type' => 'aes-256-cbc',
			'repo1-cipher-pass' => 'open sesame' },
		'plain bundle' => { 'compress-type' => 'none', 'repo1-bundle' => 'y' },
	) : ()),
);
my @forms = sort keys %form;
my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => [ 'autovacuum = off' ]);
my $id = $pg->version . '-1'; # of the archive
my (%ours, %theirs, %label, %at);
for my $form (@forms) {
	$ours{$form} = PgStrata::Stanza->new(cluster => $pg, id => $form =~ s/ /-/gr,
		options => { global => { 'repo1-retention-full' => 9, %{ $form{$form} } } });
	$theirs{$form} = $ours{$form}->using(pgbackrest());
}
archive_into($pg, @theirs{@forms});
$pg->start;
drop_templates($pg);
$theirs{$_}->run_ok('stanza-create', '--log-level-console=warn', { name => "stanza-create for $_" }) for @forms;
$pg->psql('CREATE TABLE once AS SELECT generate_series(1, 9000) AS n; CREATE TABLE still AS SELECT 1 AS n; CHECKPOINT');
my ($once, $still) = map { $pg->psql("SELECT pg_relation_filepath('$_')") } qw(once still);

sub back_up_all {
	my ($type) = @_;
	$label{$_}{$type} = backup_by($theirs{$_}, "--type=$type") for @forms;
}

write_rows($pg, 3);
back_up_all('full');
write_rows($pg, 40);
$pg->psql('UPDATE once SET n = n + 1; CHECKPOINT');
back_up_all('diff');
write_rows($pg, 40);
back_up_all('incr');
write_rows($pg, 90);
ok($pg->wait_archived($pg->switch_wal), 'timeline 1 is archived');

# A promotion, and WAL of the second timeline.
$pg->stop;
spew($pg->data . '/standby.signal');
$pg->start;
$pg->psql('SELECT pg_promote()');
write_rows($pg, 30);
ok($pg->wait_archived($pg->switch_wal), 'timeline 2 is archived');
$pg->stop;

# Nothing of this is a push in flight.
sub make_old {
	my ($stanza) = @_;
	File::Find::find({ no_chdir => 1, wanted => sub { utime time - 3600, time - 3600, $_ if -f } },
		$stanza->path('repo', 'archive'));
}
make_old($_) for values %ours;

sub repo { return $ours{ $_[0] }->path('repo', @_[1 .. $#_]) }

# segments of a form, by timeline, in order: where they are stored
sub segments {
	my ($form, $timeline) = @_;
	my $stored = stored_segments($ours{$form});
	return map { $stored->{$_} } sort grep { hex(substr $_, 0, 8) == $timeline } keys %$stored;
}

# Segments that backups need, from what info tells.
for my $form (@forms) {
	for my $backup (@{ $ours{$form}->info->[0]{backup} }) {
		$at{$form}{ $backup->{type} } = $backup->{archive};
	}
}

sub segment_of {
	my ($form, $type, $end) = @_;
	return stored_segments($ours{$form})->{ $at{$form}{$type}{$end} } // die "no segment $at{$form}{$type}{$end}";
}

# The n-th segment behind the end of a backup.
sub behind {
	my ($form, $type, $n) = @_;
	my @all = segments($form, 1);
	my ($i) = grep { $all[$_] =~ m{/$at{$form}{$type}{stop}-} } 0 .. $#all;
	return $all[$i + $n];
}

# --- running and judging ---

sub text_of {
	my ($stanza, @options) = @_;
	my ($code, $out, $err) = $stanza->run('verify', '--output=text', '--log-level-console=off', @options);
	return ($code, $out);
}

sub same_report {
	my ($form, $name, @options) = @_;
	my ($code, $mine) = text_of($ours{$form}, @options);
	my (undef, $other) = text_of($theirs{$form}, '--job-retry=0', @options);
	is($mine, $other, "$form: $name: the same report @options");
	return $code;
}

my $target = work_dir() . '/target';

sub restores {
	my ($form, $label) = @_;
	remove_tree($target);
	mkdir $target, 0700 or die "mkdir: $!";
	my ($code) = $ours{$form}->run('restore', "--set=$label", '--type=none', "--pg1-path=$target",
		'--archive-gap=end', '--log-level-console=warn');
	return $code == 0;
}

my $kept = work_dir() . '/kept';
my $row_count = 0;

# row(NAME, FORM, DAMAGE, expectations): `code` (104), `invalid` types of backups that the report calls invalid, `lines`
# of the report, `says` and `silent` patterns for the log, `same` if the original's report is the same, `damaged` the
# types that do not restore though the report does not call them invalid.
sub row {
	my ($name, $form, $damage, %want) = @_;
	$row_count++;
	$name = "$form: $name";
	my $repo = repo($form);
	copy_tree($repo, $kept);
	$damage->($form);
	my ($code, $out, $err) = $ours{$form}->run('verify', '--output=text', '--process-max=2');
	my ($report) = $out =~ /^(stanza: .*?)(?:^P0|\z)/ms;
	$report //= '';
	my @wrong;
	push @wrong, "exit $code" if $code != ($want{code} // 104);
	my %type = reverse %{ $label{$form} };
	my $invalid = join ' ', sort map { $type{$_} // $_ } $report =~ /backup: (\S+), status: invalid/g;
	my $expected = join ' ', sort @{ $want{invalid} // [] };
	push @wrong, "invalid: '$invalid' instead of '$expected'" if $invalid ne $expected;
	push @wrong, "no report line $_" for grep { $report !~ $_ } @{ $want{lines} // [] };
	push @wrong, "not said: $_" for grep { $out !~ $_ } @{ $want{says} // [] };
	push @wrong, "said: $_" for grep { $out =~ $_ } @{ $want{silent} // [] };
	push @wrong, 'no finding' if $code == 104 && $out !~ /^P00   WARN:/m;
	push @wrong, "status" if ($report ne '') != ($code == 104);
	push @wrong, "stderr: $err" if $err ne '';
	ok(!@wrong, $name) or diag(join "\n", @wrong, $out);
	same_report($form, $name) if $want{same} && (full_run() || $row_count % 3 == 1);
	if ($want{try} || (!$want{no_try} && (deep_run() || (full_run() && $row_count % 4 == 0)))) {
		for my $type (qw(full diff incr)) {
			my $fails = grep { $_ eq $type } @{ $want{invalid} // [] }, @{ $want{damaged} // [] };
			is(restores($form, $label{$form}{$type}) ? 'restores' : 'fails', $fails ? 'fails' : 'restores',
				"$name: $type");
		}
	}
	run_command([ 'chmod', '-R', 'u+rwX', $repo ]);
	remove_tree($repo);
	move($kept, $repo) or die "move: $!";
}

# --- damages ---

sub flip { my ($file, $where) = @_; return sub { my $f = ref $file ? $file->(@_) : $file; flip_bit($f, $where // int((-s $f) / 2)) } }
sub cut { my ($file, $less) = @_; return sub { my $f = $file->(@_); truncate_file($f, (-s $f) - ($less // 1)) } }
sub longer { my ($file) = @_; return sub { my $f = $file->(@_); spew($f, slurp($f) . "\0" x 512) } }
sub lose { my ($file) = @_; return sub { my $f = $file->(@_); unlink $f or die "unlink $f: $!" } }
sub folder { my ($file) = @_; return sub { my $f = $file->(@_); unlink $f; mkdir $f or die "mkdir $f: $!" } }
sub closed { my ($file) = @_; return sub { my $f = $file->(@_); chmod 0, $f or die "chmod $f: $!" } }

sub stored {
	my ($type, $name) = @_;
	return sub {
		my ($form) = @_;
		my ($file) = glob repo($form, 'backup', 'demo', $label{$form}{$type}) . "/pg_data/$name.*";
		$file //= repo($form, 'backup', 'demo', $label{$form}{$type}) . "/pg_data/$name";
		-e $file or die "no $file";
		return $file;
	};
}
sub bundle_of { my ($type) = @_; return sub { my ($form) = @_; return repo($form, 'backup', 'demo', $label{$form}{$type}, 'bundle', 1) } }
sub manifest_of { my ($type, $copy) = @_; return sub { repo($_[0], 'backup', 'demo', $label{ $_[0] }{$type}, 'backup.manifest' . ($copy // '')) } }
sub backup_info { my ($copy) = @_; return sub { repo($_[0], 'backup', 'demo', 'backup.info' . ($copy // '')) } }
sub archive_info { my ($copy) = @_; return sub { repo($_[0], 'archive', 'demo', 'archive.info' . ($copy // '')) } }
sub all_of { my @all = @_; return sub { $_->(@_) for @all } }
sub wal { my ($type, $end) = @_; return sub { segment_of($_[0], $type, $end) } }
sub wal_behind { my ($type, $n) = @_; return sub { behind($_[0], $type, $n) } }
sub history { return sub { (glob repo($_[0], 'archive', 'demo', '*', '00000002.history'))[0] } }

my @all = qw(full diff incr);

# --- what is right ---

for my $form (@forms) {
	is(same_report($form, 'as it was made'), 0, "$form: exit 0");
	is(same_report($form, 'as it was made', '--verbose'), 0, "$form: exit 0");
	$ours{$form}->run_ok('verify', { unlike => qr/WARN|ERROR|stanza: demo/ });
	$ours{$form}->run_ok('verify', '--output=text', "--set=$label{$form}{diff}", '--verbose', {
		like => qr/archiveId: $id, total WAL checked: \d\d?, .*\n.*\n  backup: \Q$label{$form}{diff}\E, status: valid/,
		unlike => qr/backup: \Q$label{$form}{incr}\E/ });
}
my ($one) = @forms;
$ours{$one}->run_fail('verify', '--output=text', '--set=20200101-000000F', { code => 104,
	like => qr/^status: error\n  backup set 20200101-000000F is not valid$/m });
$ours{$one}->run_fail('verify', '--output=text', '--set=latest', { code => 104,
	like => qr/^status: error\n  'latest' is not a valid backup label format$/m });
$ours{$one}->run_fail('verify', '--output=json', { code => 32, like => qr/'json' is not allowed for 'output' option/ });

# --- a passphrase that is not there, or not right ---

for my $pass (undef, 'open, sesame') {
	my $bundle = $ours{bundle};
	$bundle->set(global => { 'repo1-cipher-pass' => $pass, 'repo1-cipher-type' => defined $pass ? 'aes-256-cbc' : undef });
	$bundle->run_fail('verify', '--output=text', { code => 104, name => 'bundle: ' . ($pass // 'no') . ' passphrase',
		like => qr/WARN: neither .*passphrase.*\n(?:.*\n)*status: error\n  No usable backup\.info file\n  No usable archive\.info file\n(?!  )/,
		unlike => qr/damaged:|cannot be restored/ });
}
$ours{bundle}->set(global => $form{bundle});

# --- stored files of backups ---

my $checksum = qr/^    checksum invalid: 1$/m;
my $file = 'files';
row('a byte of a file of the full', $file, flip(stored('full', $still)), invalid => \@all, lines => [$checksum], same => 1,
	try => 1, says => [qr/P0\d   INFO: invalid checksum '\S+F\/pg_data\/$still\.gz'/,
		qr/backup \S+I cannot be restored: 1 file damaged: 'pg_data\/$still' \(stored in backup \Q$label{$file}{full}\E\)/]);
row('its first byte', $file, flip(stored('full', $still), 0), invalid => \@all, lines => [$checksum]);
row('its last byte', $file, flip(stored('full', $still), -1), invalid => \@all, lines => [$checksum]);
row('a byte of a file that only the full needs', $file, flip(stored('full', $once)), invalid => ['full'],
	lines => [$checksum], same => 1);
row('a byte of a file of the diff', $file, flip(stored('diff', $once)), invalid => [qw(diff incr)], lines => [$checksum],
	same => 1);
row('a byte of a file of the incr', $file, flip(stored('incr', 'global/pg_control')), invalid => ['incr'],
	lines => [$checksum], same => 1);
row('cut', $file, cut(stored('full', $still)), invalid => \@all, lines => [$checksum]);
row('cut to nothing', $file, sub { truncate_file(stored('full', $still)->(@_), 0) }, invalid => \@all,
	lines => [$checksum], same => 1);
row('longer', $file, longer(stored('full', $still)), invalid => \@all, lines => [$checksum], no_try => 1);
row('missing', $file, lose(stored('full', $still)), invalid => \@all, lines => [qr/^    missing: 1$/m], same => 1,
	says => [qr/INFO: file missing '\S+F\/pg_data\/$still\.gz'/, qr/1 file missing/]);
row('a folder', $file, folder(stored('full', $still)), invalid => \@all, lines => [qr/^    other: 1$/m], same => 1,
	says => [qr/invalid result \S+\/pg_data\/$still\.gz: \[42\] /, qr/1 file damaged/]);
row('not readable', $file, closed(stored('full', $still)), invalid => \@all, lines => [qr/^    other: 1$/m], same => 1,
	says => [qr/invalid result \S+: \[41\] /, qr/cannot be restored as long as not all of it can be read: 1 file not readable/]);
row('several at once', $file, all_of(flip(stored('full', $still)), lose(stored('full', 'PG_VERSION')),
	closed(stored('incr', 'global/pg_control'))), invalid => \@all,
	lines => [qr/backup: \Q$label{$file}{incr}\E, .*\n    missing: 1, checksum invalid: 1, other: 1$/m]);
row('backup_label', $file, lose(stored('full', 'backup_label')), invalid => ['full'], lines => [qr/^    missing: 1$/m]);
row('a file without content', $file, sub {
	my ($empty) = grep { -s == 20 } glob repo($_[0], 'backup', 'demo', $label{ $_[0] }{full}) . '/pg_data/base/*/*.gz';
	unlink $empty or die 'no empty file';
}, invalid => \@all, lines => [qr/^    missing: 1$/m], same => 1, no_try => 1, says => [qr/restores: 1 file without content/]);
row('a whole folder', $file, sub { remove_tree(repo($_[0], 'backup', 'demo', $label{ $_[0] }{full}, 'pg_data', 'global')) },
	invalid => \@all, lines => [qr/^    missing: \d\d+$/m], same => 1);

# --- bundles ---

for my $form (grep { /bundle/ } @forms) {
	my $some = qr/^    checksum invalid: 1$/m;
	my $n = deep_run() ? 6 : 3;
	for my $i (0 .. $n) {
		my $where = sub { my $size = -s bundle_of('full')->($form); return $i == 0 ? 0 : $i == $n ? -1 : int($size * $i / $n) };
		# which backups still need the member is for restore to say
		my $repo = repo($form);
		copy_tree($repo, $kept);
		flip(bundle_of('full'), $where->())->($form);
		my ($code, $out) = $ours{$form}->run('verify', '--output=text');
		is($code, 104, "$form: byte $i of $n of a bundle: exit 104");
		like($out, qr/P01   INFO: invalid checksum '\Q$label{$form}{full}\E\/bundle\/1'\nP01 DETAIL: .* in it: 'pg_data\//, 'it is named');
		like($out, qr/backup: \Q$label{$form}{full}\E, status: invalid, .*\n    checksum invalid: 1$/m, 'the full is invalid');
		for my $type ($i == 1 || full_run() ? @all : ()) {
			my $invalid = $out =~ /backup: \Q$label{$form}{$type}\E, status: invalid/ ? 'fails' : 'restores';
			is(restores($form, $label{$form}{$type}) ? 'restores' : 'fails', $invalid, "$form: byte $i: $type as told");
		}
		remove_tree($repo);
		move($kept, $repo) or die "move: $!";
	}
	row('a bundle of the full missing', $form, lose(bundle_of('full')), invalid => \@all, lines => [qr/^    missing: \d\d+$/m]);
	row('a bundle of the incr missing', $form, lose(bundle_of('incr')), invalid => ['incr'], lines => [qr/^    missing: \d+$/m],
		same => 1);
	row('a bundle not readable', $form, closed(bundle_of('incr')), invalid => ['incr'], lines => [qr/^    other: \d+$/m],
		says => [qr/\d+ files not readable/]);
	row('a bundle replaced by a folder', $form, folder(bundle_of('incr')), invalid => ['incr'], lines => [qr/^    other: \d+$/m]);
	row('a bundle that is longer', $form, longer(bundle_of('full')), code => 0);
}

# --- info files and manifests ---

for my $form (full_run() ? @forms : 'bundle') {
	my $full = $label{$form}{full};
	for my $case ([ 'archive.info', archive_info(), archive_info('.copy'), qr/No usable archive\.info file/ ],
		[ 'backup.info', backup_info(), backup_info('.copy'), qr/No usable backup\.info file/ ]) {
		my ($what, $main, $copy, $line) = @$case;
		row("$what and its copy damaged", $form, all_of(flip($main), flip($copy)), lines => [$line], no_try => 1,
			says => [qr/neither .* nor its copy can be used/]);
		row("$what, its copy, a byte", $form, flip($copy), says => [qr/would be needed if the main file were damaged/]);
		next if $what eq 'archive.info' && !full_run();
		row("$what, a byte", $form, flip($main), says => [qr/only its copy is left/]);
		row("$what missing", $form, lose($main), says => [qr/'\S+\/\Q$what\E' is missing: only its copy is left/]);
		row("$what, its copy missing", $form, lose($copy), says => [qr/\Q$what\E\.copy' is missing/]);
		row("$what not readable", $form, closed($main), says => [qr/\[041\]: .*\Q$what\E/]);
		row("$what and its copy differ", $form, sub {
			my $text = slurp($main->($form));
			edit_info_file($main->($form), sub { s/^backrest-version=.*$/backrest-version="9"/m });
			spew($copy->($form), $text);
		}, says => [qr/and its copy are different/]) if $form !~ /bundle$|encrypted/ || $form eq 'plain bundle';
		row("$what and its copy missing", $form, all_of(lose($main), lose($copy)), lines => [$line], no_try => 1);
	}
	row('a manifest, a byte', $form, flip(manifest_of('full')), says => [qr/backup \Q$full\E restores by the copy of its manifest only/],
		silent => [qr/WARN: backup \S+[DI] /]);
	row('its copy, a byte', $form, flip(manifest_of('full', '.copy')), says => [qr/backup \Q$full\E restores, but would not if its manifest/]);
	row('a manifest missing', $form, lose(manifest_of('diff')), says => [qr/backup \S+D restores by the copy .* removes it/]);
	row('its copy missing', $form, lose(manifest_of('diff', '.copy')), says => [qr/backup\.manifest\.copy' is missing/]);
	row('a manifest not readable', $form, closed(manifest_of('full')), says => [qr/\[041\]: /]);
	row('both damaged', $form, all_of(flip(manifest_of('diff')), flip(manifest_of('diff', '.copy'))), invalid => ['diff'],
		says => [qr/backup \S+D cannot be restored/]);
	row('both missing', $form, all_of(lose(manifest_of('incr')), lose(manifest_of('incr', '.copy'))),
		lines => [qr/backup: \S+I, status: manifest missing, total files checked: 0/], damaged => ['incr'],
		says => [qr/backup \S+I cannot be restored: its manifest and the copy are missing/]);
	row('listed but gone', $form, sub { remove_tree(repo($form, 'backup', 'demo', $label{$form}{incr})) }, damaged => ['incr'],
		says => [qr/WARN: backup '\S+I' found in backup\.info but not in the repository/]);
	row('leftovers of others', $form, sub {
		mkdir repo($form, 'backup', 'demo', '20200101-000000F') or die;
		mkdir repo($form, 'backup', 'demo', '20991231-000000F') or die;
		spew(repo($form, 'backup', 'demo', $full, 'pg_data', 'junk'), 'junk');
		spew(repo($form, 'archive', 'demo', 'archive.info.pgbackrest.tmp'), 'junk');
		spew((segments($form, 1))[3] . '.pgbackrest.tmp', 'junk');
		spew(((segments($form, 1))[3] =~ s{[^/]*$}{r}r) . 'eadme', 'junk');
	}, code => 0, says => [qr/INFO: backup '20991231-000000F' appears to be in progress, skipping/]);
}
row('not listed', $file, sub {
	edit_info_file(backup_info()->($file), sub { s/^\Q$label{$file}{incr}\E=.*\n//m or die });
}, says => [qr/WARN: backup '\S+I' found in the repository but not in backup\.info/], damaged => ['incr']);
row('another cluster in archive.info', $file, sub {
	edit_info_file(archive_info()->($file), sub { s/("db-id":)\d+/${1}7000000000000000001/ or die });
}, says => [qr/tell of different clusters/], no_try => 1, lines => [qr/archiveId: $id, .* total valid WAL: 0\n/]);

# --- WAL ---

for my $form (full_run() ? @forms : 'files') {
	my $incr = $label{$form}{incr};
	my $bad = $form =~ /plain bundle/ ? qr/^    checksum invalid: 1$/m : qr/^    (?:checksum invalid|other): 1$/m;
	row('a segment in the middle missing', $form, lose(wal_behind('incr', 4)), no_try => 1,
		says => [qr/the WAL of archive $id has a hole, segment \S+ is missing: recovery from backup \Q$incr\E and 2 older backups cannot go past segment \S+/]);
	row('two segments missing', $form, all_of(lose(wal_behind('incr', 3)), lose(wal_behind('incr', 3))), no_try => 1,
		says => [qr/has a hole, segments \S+ to \S+ are missing/]);
	row('just behind the full', $form, lose(wal_behind('full', 1)), no_try => 1,
		says => [qr/recovery from backup \Q$label{$form}{full}\E cannot go past/], silent => [qr/from backup \S+[DI] /]);
	row('the start of a backup missing', $form, lose(wal('diff', 'start')), no_try => 1,
		says => [qr/backup \S+D cannot become consistent, .*: WAL segment \Q$at{$form}{diff}{start}\E is missing/]);
	row('the end of a backup missing', $form, lose(wal('incr', 'stop')), no_try => 1,
		says => [qr/backup \S+I cannot become consistent, .*: WAL segment \Q$at{$form}{incr}{stop}\E is missing/]);
	row('a byte of a segment', $form, flip(wal_behind('incr', 3)), lines => [qr/archiveId: $id, .*\n$bad/m], no_try => 1,
		says => [qr/WAL segment \S+ of archive $id is damaged: recovery from backup \Q$incr\E and 2 older/]);
	row('a byte of a segment that a backup needs', $form, flip(wal('incr', 'start')), lines => [$bad], no_try => 1,
		says => [qr/backup \S+I cannot become consistent/]);
	row('a segment cut', $form, cut(wal_behind('incr', 2), 100), lines => [$bad], no_try => 1);
	row('a segment empty', $form, sub { truncate_file(behind($form, 'incr', 2), 0) }, lines => [$bad], no_try => 1);
	row('a segment not readable', $form, closed(wal_behind('incr', 2)), lines => [qr/^    other: 1$/m], no_try => 1,
		says => [qr/WAL segment \S+ of archive $id is not readable/], same => 1);
	row('a segment is a folder', $form, folder(wal_behind('incr', 2)), lines => [qr/^    other: 1$/m], no_try => 1, same => 1);
	row('the content of another', $form, sub { copy(behind($form, 'incr', 2), behind($form, 'incr', 3)) or die },
		lines => [qr/^    checksum invalid: 1$/m], no_try => 1, same => 1);
	row('twice, with the same content', $form, sub {
		my $segment = behind($form, 'incr', 2);
		copy($segment, $segment =~ /\.gz$/ ? $segment =~ s/\.gz$/.bz2/r : $segment =~ s/(\.\w+)?$/.gz/r) or die;
	}, no_try => 1, says => [qr/INFO: duplicate WAL '\w{24}' for '$id' exists, skipping/, qr/is more than once/]);
	row('another one under the same name', $form, sub {
		my $segment = behind($form, 'incr', 2);
		my ($other_sum) = behind($form, 'incr', 3) =~ /-(\w{40})/;
		copy(behind($form, 'incr', 3), $segment =~ s/-\w{40}/-$other_sum/r) or die;
	}, no_try => 1, says => [qr/is there with different contents|is damaged/, qr/is more than once/]);
	row('a history missing', $form, lose(history()), no_try => 1,
		says => [qr/has WAL of timeline 2, but not 00000002\.history/]);
	row('a history damaged', $form, sub { spew(history()->($form), 'garbage') }, no_try => 1,
		lines => [qr/archiveId: $id, .*\n    other: 1$/m], says => [qr/'00000002\.history' of archive $id is damaged/]);
	row('a .backup file damaged', $form, sub { spew((glob repo($form, 'archive', 'demo', '*', '0*', '*.backup'))[0], 'garbage') },
		no_try => 1, says => [qr/'\S+\.backup' of archive $id is damaged: it only tells people/]);
	row('the first segment of timeline 2 missing', $form, lose(sub { (segments($form, 2))[0] }), no_try => 1,
		says => [qr/has a hole, segment 00000002\w{16} is missing/]);
	row('the last segment missing', $form, lose(sub { (segments($form, 2))[-1] }), code => 0);
	row('before all backups', $form, lose(sub { (segments($form, 1))[1] }), code => 0) if (segments($form, 1))[2] lt segment_of($form, 'full', 'start');
	row('all WAL', $form, sub { remove_tree(glob repo($form, 'archive', 'demo', $id)) }, no_try => 1,
		says => [map { qr/backup \S+$_ cannot become consistent/ } qw(F D I)]);
	row('an archive of no known cluster', $form, sub {
		copy_tree(repo($form, 'archive', 'demo', $id), repo($form, 'archive', 'demo', '17-9'));
	}, says => [qr/INFO: archiveIds '17-9' are not in the archive\.info history list/], same => 1, no_try => 1);
	row('a folder of WAL not readable', $form, sub { chmod 0, glob repo($form, 'archive', 'demo', $id, '0*') }, no_try => 1,
		says => [qr/cannot be listed/, qr/is not proven to become consistent/]);
}
# Of another system or size, under a name that has its hash: only the header tells.
sub planted {
	my ($change) = @_;
	return sub {
		my ($form) = @_;
		my $segment = behind($form, 'incr', 2);
		my ($code, $plain) = run_command([ 'gzip', '-dc', $segment ]);
		die 'gzip' if $code;
		unlink $segment;
		$plain = $change->($plain);
		my $sum = Digest::SHA::sha1_hex($plain);
		spew($segment =~ s/-\w{40}\.gz$/-$sum/r, $plain);
	};
}
row('a segment of another system', $file, planted(sub { my ($p) = @_; substr($p, 24, 1) ^= "\1"; $p }), no_try => 1,
	lines => [qr/^    other: 1$/m], says => [qr/do not match stanza version/]);
row('a segment of another size', $file, planted(sub { $_[0] . "\0" x 8192 }), no_try => 1, same => 1,
	lines => [qr/^    size invalid: 1$/m]);
row('a segment of another place', $file, planted(sub { my ($p) = @_; substr($p, 11, 1) ^= "\1"; $p }), no_try => 1,
	lines => [qr/^    other: 1$/m], says => [qr/does not hold the WAL of its name/]);
cmp_ok($row_count, '>=', 40, "$row_count rows");

# --- after expire ---

my @expired = full_run() ? @forms : $one;
$pg->start;
write_rows($pg, 10);
for my $form (@expired) {
	backup_by($theirs{$form}, '--type=full');
	backup_by($theirs{$form}, '--type=incr');
}
write_rows($pg, 10);
ok($pg->wait_archived($pg->switch_wal), 'more WAL');
$pg->stop;
make_old($_) for values %ours;
for my $form (@expired) {
	for my $by ($theirs{$form}, grep { my ($code) = $_->run('help', 'expire'); $code == 0 } $ours{$form}) {
		my $who = $by == $theirs{$form} ? 'theirs' : 'ours';
		copy_tree(repo($form), $kept);
		my @steps = ([ '--repo1-retention-full=2', '--repo1-retention-archive=1' ],
			(full_run() ? [ '--repo1-retention-full=2', '--repo1-retention-archive=1',
				'--repo1-retention-archive-type=incr' ] : ()),
			[ '--repo1-retention-full=1' ]);
		for my $step (@steps) {
			my ($code, $out) = $by->run('expire', @$step);
			if ($code == 48) { # not yet there
				last;
			}
			is($code, 0, "$form: $who: expire @$step") or diag($out);
			is(same_report($form, "after expire by $who: @$step", '--verbose'), 0, "$form: exit 0");
		}
		remove_tree(repo($form));
		move($kept, repo($form)) or die "move: $!";
	}
}

# --- while others work ---

$pg->start;
my $form = $one;
my $stop = work_dir() . '/stop';
my $script = work_dir() . '/busy';
my $backup = shell_words($theirs{$form}->command('backup', '--type=incr', '--log-level-console=off'));
my $full = shell_words($theirs{$form}->command('backup', '--type=full', '--log-level-console=off'));
my $psql = shell_words($pg->bin('psql'), '-X', '-q', '-h', $pg->socket_dir, '-p', $pg->port, '-U', 'postgres', '-c',
	"INSERT INTO numbered (text) SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 30000)", '-c',
	'SELECT pg_switch_wal()', 'postgres');
spew($script, <<"END");
n=0
while [ ! -e '$stop' ]; do
	$psql >/dev/null || exit 1
	$psql >/dev/null || exit 1
	n=\$((n + 1))
	if [ \$((n % 3)) -eq 0 ]; then $full --repo1-retention-full=1 --repo1-retention-archive=1 || exit 1; fi
	$backup --repo1-retention-full=1 --repo1-retention-archive=1 || exit 1
done
END
my $busy = spawn_command([ 'sh', $script ]);
my $until = time + (deep_run() ? 60 : full_run() ? 20 : 6);
my ($runs, @false) = (0);
while (time < $until) {
	my ($code, $out, $err) = $ours{$form}->run('verify', '--output=text', '--process-max=' . (1 + $runs % 3));
	push @false, "exit $code\n$out$err" if $code;
	$runs++;
}
spew($stop);
my ($code, $output) = reap($busy, 100);
is($code, 0, 'the others worked') or diag($output);
cmp_ok($runs, '>', 2, "$runs runs while others pushed, backed up and expired");
ok(!@false, 'nothing was found that is not so') or diag($false[0]);
my ($log) = slurp($ours{$form}->path('log', 'demo-expire.log'));
like($log, qr/remove expired backup/, 'and there was something to expire');

done_testing();
