# Which interrupted backups are gone on with, and what is said about those that are not (behaviours.md 6.5); leftovers of
# pgbackrest, and ours in its hands; and with a server under load: killed, resumed, restored, recovered.
use strict;
use warnings;
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Interop qw(info_checksum pgbackrest_since);
use PgStrata::Recovery qw(copy_tree);
use Test::More;
use Time::HiRes qw(sleep time);

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => [ 'autovacuum = off' ]);
my $small = work_dir() . '/small';
make_path(map { "$small/$_" } qw(global base/1));
cp($pg->data . "/$_", "$small/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control';
my $random = join '', map { chr rand 256 } 1 .. 100_000;
spew("$small/base/1/$_", substr($random, 0, 10_000 * $_)) for 1 .. 9;
spew("$small/base/1/empty", '');
chmod 0700, $small;

my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'compress-type' => 'gz', 'repo1-retention-full' => 9 } });
$stanza->set(demo => { 'pg1-path' => $small });
$stanza->run_ok('stanza-create', '--no-online');
my $backups = $stanza->path('repo/backup/demo');
copy_tree($stanza->path('repo'), $stanza->path('empty'));

sub label_of { my ($label) = $_[0] =~ /new backup label = (\S+)/; return $label // 'none' }
sub told { return [ $_[0] =~ /^P00 *(?:WARN|INFO): (backup '\S+' cannot be resumed: .*|resumable backup .*)/mg ] }
sub directories { return map { m{([^/]+)$} } grep { -d && !-l && m{/\d{8}-\d{6}F[^/]*$} } glob "$backups/*" }

# What a backup is like that was killed just before its manifest came to be.
my @how = ('--no-online', '--no-expire-auto');
sub leave {
	my (@options) = @_;
	remove_tree($stanza->path('repo'));
	copy_tree($stanza->path('empty'), $stanza->path('repo'));
	my @prior = grep { $_ eq 'prior' } @options;
	@options = grep { $_ ne 'prior' } @options;
	my $info = $stanza->path('empty');
	if (@prior) {
		$stanza->run('backup', @how, '--type=full');
		copy_tree($stanza->path('repo'), $info = $stanza->path('one'));
	}
	my ($code, $out, $err) = $stanza->run('backup', @how, '--type=full', @options);
	die "backup: $code\n$out$err" if $code;
	my $label = label_of($out);
	remove_tree("$backups/$_") for "$label/backup.manifest", 'backup.history', 'latest';
	cp("$info/backup/demo/$_", "$backups/$_") for 'backup.info', 'backup.info.copy';
	return $label;
}
sub edit_copy {
	my ($label, $edit) = @_;
	my $file = "$backups/$label/backup.manifest.copy";
	local $_ = slurp($file);
	$edit->();
	my $sum = info_checksum($_);
	s/^backrest-checksum=.*$/backrest-checksum="$sum"/m or die;
	spew($file, $_);
}
my ($mine) = do { my ($code, $out) = run_command([ program(), 'version' ]); $out =~ /(pgStrata \S+)/i };

# --- it fits ---

my $label = leave();
is_deeply([ $stanza->labels ], [], 'info does not list what is unfinished');
spew("$small/base/1/new", 'n' x 5000);
my $time = (stat "$small/base/1/3")[9];
spew("$small/base/1/3", substr($random, 50_000, 30_000));
utime $time, $time, "$small/base/1/3";
utime $time - 500, $time - 500, "$small/base/1/4";
unlink "$small/base/1/5";
truncate_file("$small/base/1/6", 100);
utime $time, $time, "$small/base/1/6";
flip_bit("$backups/$label/pg_data/base/1/7.gz", 5000, 3);
truncate_file("$backups/$label/pg_data/base/1/8.gz", 5000);
spew("$backups/$label/pg_data/base/1/foreign.zst", 'f');
make_path("$backups/$label/pg_data/other/below");
symlink '/etc', "$backups/$label/pg_data/link" or die;
system('mkfifo', "$backups/$label/pg_data/pipe") == 0 or die;
edit_copy($label, sub { s/^(pg_data\/base\/1\/2=.*)"checksum":"[0-9a-f]+",/$1/m or die; s/^(pg_data\/base\/1\/2=.*)"rck":"[0-9a-f]+",/$1/m; s/^pg_data\/base\/1\/1=.*\n//m or die });
my $began = time;
sleep 1.1;
my $out = $stanza->run_ok('backup', @how, '--type=full', { name => 'a leftover that fits' });
is_deeply(told($out), [ "resumable backup $label of same type exists -- invalid files will be removed then the backup will resume" ], 'is announced');
is(label_of($out), $label, 'the label is kept');
my ($info) = @{$stanza->info->[0]{backup}};
cmp_ok($info->{timestamp}{start}, '>=', int $began, 'but not the time');
my %removed = $out =~ m{^P00 DETAIL: remove file '\Q$backups/$label\E/(\S+)' from resumed backup \((.*)\)$}mg;
is_deeply(\%removed, { 'pg_data/base/1/1.gz' => 'missing in resumed manifest', 'pg_data/base/1/2.gz' => 'no checksum in resumed manifest',
	'pg_data/base/1/4.gz' => 'mismatched timestamp', 'pg_data/base/1/5.gz' => 'missing in manifest',
	'pg_data/base/1/6.gz' => 'mismatched size', 'pg_data/base/1/8.gz' => 'mismatched repository size',
	'pg_data/base/1/empty.gz' => 'zero size', 'pg_data/base/1/foreign.zst' => 'mismatched compression type' },
		'what cannot be resumed is removed, and why');
like($out, qr{^P00 DETAIL: remove path '\Q$backups/$label\E/pg_data/other' from resumed backup$}m, 'so is a folder');
like($out, qr{^P00 DETAIL: remove link '\Q$backups/$label\E/pg_data/link' from resumed backup$}m, 'a link');
like($out, qr{^P00   WARN: remove special file '\Q$backups/$label\E/pg_data/pipe' from resumed backup$}m, 'and a pipe');
ok(-e '/etc/passwd', 'a link is not followed');
my @resumed = sort map { m{([^/]+)$} } $out =~ /^P01 DETAIL: checksum resumed file (\S+) \(\S+, [\d.]+%\) checksum [0-9a-f]{40}$/mg;
is_deeply(\@resumed, [ qw(9 PG_VERSION pg_control) ], 'what is proven is kept');
my @stored = sort map { m{([^/]+)$} } $out =~ /^P01 DETAIL: backup file (\S+) \(/mg;
is_deeply(\@stored, [ qw(1 2 3 4 6 7 8 empty new) ], 'all else is stored, also what changed under the same size and time');
is_deeply([ $out =~ /WARN: resumed backup file (\S+) did not have expected checksum [0-9a-f]{40}\n +NOTE: /g ], [ 'pg_data/base/1/7' ],
	'a damaged stored file is warned of');
$stanza->run_ok('verify');
my $to = work_dir() . '/to';
$stanza->run_ok('restore', "--pg1-path=$to", '--type=none');
my ($want, $got) = map { snapshot($_, ignore => qr/pg_control|auto\.conf/) } $small, $to;
same_tree($want, $got, 'the restored tree is the cluster');

# with --delta times do not matter
$label = leave();
utime $time - 900, $time - 900, glob "$small/base/1/?";
$out = $stanza->run_ok('backup', @how, '--type=full', '--delta', { name => 'other times, --delta' });
unlike($out, qr/mismatched timestamp/, 'times do not count');
like($out, qr{checksum resumed file \S+/$_ }, "content does: $_") for 1, 9;

# bundles go as a whole, what is larger stays
$label = leave('--repo1-bundle', '--repo1-bundle-limit=30KiB');
$out = $stanza->run_ok('backup', @how, '--type=full', '--repo1-bundle', '--repo1-bundle-limit=30KiB', { name => 'a leftover with bundles' });
like($out, qr{^P00 DETAIL: remove path '\Q$backups/$label\E/bundle' from resumed backup$}m, 'the bundles are removed');
like($out, qr{checksum resumed file \S+/9 }, 'files are kept');
like($out, qr{backup file \S+/1 \(bundle }, 'members are stored again');
$label = leave();
$out = $stanza->run_ok('backup', @how, '--type=full', '--repo1-bundle', '--repo1-bundle-limit=30KiB', { name => 'files become members' });
like($out, qr{remove file '\S+/base/1/1\.gz' from resumed backup \(to be stored in a bundle or as blocks\)}, 'files that become members are removed');
$stanza->run_ok('verify');

# --- it does not fit ---

# leave with, change, take with: what is said
my @cases = (
	[ 'incr', [ 'prior' ], sub { spew("$small/base/1/newest", rand) }, [ '--type=incr' ], 'INFO', 'resume only valid for full backup' ],
	[ '--no-resume', [], undef, [ '--no-resume' ], 'INFO', 'resume is disabled' ],
	[ 'no save point', [], sub { unlink "$_[0]/backup.manifest.copy" }, [], 'WARN', 'partially deleted by prior resume or invalid' ],
	[ 'a link for a save point', [], sub { rename "$_[0]/backup.manifest.copy", work_dir() . '/away'; symlink work_dir() . '/away', "$_[0]/backup.manifest.copy" },
		[], 'WARN', 'partially deleted by prior resume or invalid' ],
	[ 'a damaged save point', [], sub { flip_bit("$_[0]/backup.manifest.copy", 300, 2) }, [], 'WARN', qr/unable to read \S+\/backup\.manifest\.copy/ ],
	[ 'half a save point', [], sub { truncate_file("$_[0]/backup.manifest.copy", 500) }, [], 'WARN', qr/unable to read \S+\/backup\.manifest\.copy/ ],
	[ 'of another backup', [], sub { edit_copy($label, sub { s/\d{8}-\d{6}F/20200101-000000F/g }) }, [], 'WARN', qr/unable to read \S+\/backup\.manifest\.copy/ ],
	[ 'of pgbackrest', [], sub { edit_copy($label, sub { s/^backrest-version=.*/backrest-version="2.60.0"/m }) }, [], 'WARN',
		"new pgBackRest version '$mine' does not match resumable pgBackRest version '2.60.0'" ],
	[ 'other codec', [ '--compress-type=zst' ], undef, [], 'WARN', "new compression 'gz' does not match resumable compression 'zst'" ],
	[ 'other system', [], sub { edit_copy($label, sub { s/^db-system-id=.*/db-system-id=77/m or die }) }, [], 'WARN',
		qr/it is of another cluster \(version \d+, system-id 77\)/ ],
	[ 'other history id', [], sub { edit_copy($label, sub { s/^db-id=.*/db-id=7/m or die }) }, [], 'WARN', qr/it is of another cluster .*/ ],
	[ 'encrypted', [], sub { edit_copy($label, sub { s/(\n\[metadata\]|\n\[target:file\])/\n[cipher]\ncipher-pass="x"\n$1/ or die }) }, [], 'WARN',
		qr/unable to read .*/ ],
	[ 'a label in the future', [], sub { rename $_[0], "$backups/20990101-000000F"; $label = '20990101-000000F'; edit_copy($label, sub { s/\d{8}-\d{6}F/20990101-000000F/g }) },
		[], 'WARN', 'its label lies in the future' ],
	[ 'a label that was used', [], sub { my $year = substr $label, 0, 4; make_path("$backups/backup.history/$year"); spew("$backups/backup.history/$year/$label.manifest.gz", 'x') },
		[], 'WARN', 'its label is not later than those of earlier backups' ],
	[ 'a line feed in a name', [], sub { spew("$_[0]/pg_data/a\nb.gz", 'x') }, [], 'WARN', 'it holds a file with an impossible name' ],
);
for my $case (@cases) {
	my ($name, $left, $change, $options, $level, $text) = @$case;
	$label = leave(@$left);
	my $dir = "$backups/$label";
	$change->($dir) if $change;
	sleep 1.05 if $name eq 'a label that was used';
	my $out = $stanza->run_ok('backup', @how, (grep { /type=/ } @$options) ? () : '--type=full', @$options, { name => "$name: the backup succeeds" });
	my $quoted = ref $text ? $text : quotemeta $text;
	like($out, qr/^P00 +$level: backup '\Q$label\E' cannot be resumed: $quoted$/m, "$name: why not");
	unlike($out, qr/checksum resumed|from resumed backup/, "$name: nothing is resumed");
	is_deeply([ directories() ], [ $stanza->labels ], "$name: nothing is left");
	my ($code, $report) = $stanza->run('verify');
	ok($code == 0, "$name: verify") or diag($report);
}

# --- after a resumed one, others depend on it ---

$label = leave();
$stanza->run_ok('backup', @how, '--type=full', { name => 'resumed', like => qr/checksum resumed/ });
spew("$small/base/1/newer", 'm' x 5000);
$out = $stanza->run_ok('backup', @how, '--type=incr', { name => 'incr on it', like => qr/last backup label = $label,/ });
like(label_of($out), qr/^${label}_\d{8}-\d{6}I$/, 'the label is of its set');
remove_tree($to);
$stanza->run_ok('restore', "--pg1-path=$to", '--type=none');
same_tree((map { snapshot($_, ignore => qr/pg_control|auto\.conf/) } $small, $to), 'the restored tree is the cluster');

# --- somebody else, on another host: his locks are not ours ---

{
	remove_tree($stanza->path('repo'));
	copy_tree($stanza->path('empty'), $stanza->path('repo'));
	spew("$small/base/1/big$_", $random x 100) for 1 .. 3;
	my $process = spawn_command([ $stanza->command('backup', @how, '--type=full', '--manifest-save-threshold=1') ]);
	wait_until(sub { glob "$backups/*F/pg_data/base/1/big2.gz" }, 30);
	kill 'STOP', -$process->{pid};
	mkdir $stanza->path('lock2');
	$out = $stanza->run_ok('backup', @how, '--type=full', '--lock-path=' . $stanza->path('lock2'), { name => 'a backup that only seems interrupted' });
	$label = label_of($out);
	my $before = snapshot($backups);
	kill 'CONT', -$process->{pid};
	my ($code, $output) = reap($process);
	is($code == 0 ? 'success' : 'failure', 'failure', 'the one that was thought dead gives up') or diag($output);
	like($output, qr/HINT: does another (program or host|host)/, 'and says why') or diag($output);
	same_tree($before, snapshot($backups), 'it has changed nothing');
	$stanza->run_ok('verify');
	is_deeply([ $stanza->labels ], [ $label ], 'one backup is listed');
	unlink map { "$small/base/1/big$_" } 1 .. 3;
}

# --- leftovers of pgbackrest, and ours in its hands ---

SKIP: {
	skip('pgbackrest is not installed', 1) if !pgbackrest();
	$ENV{TZ} //= 'UTC';
	my $peer = $stanza->using(pgbackrest());
	remove_tree($stanza->path('repo'));
	copy_tree($stanza->path('empty'), $stanza->path('repo'));
	spew("$small/base/1/huge", $random x 300);
	my $process = spawn_command([ $peer->command('backup', @how, '--type=full', '--compress-type=gz', '--compress-level=9') ]);
	wait_until(sub { glob "$backups/*F/pg_data/base/1/huge.gz" }, 30);
	kill 'KILL', -$process->{pid};
	reap($process);
	my ($left) = grep { !-e "$backups/$_/backup.manifest" } directories();
	skip('pgbackrest was too fast', 1) if !defined $left;
	$out = $stanza->run_ok('backup', @how, '--type=full', { name => 'a leftover of pgbackrest' });
	like($out, qr/WARN: backup '$left' cannot be resumed: new pgBackRest version '\Q$mine\E' does not match resumable pgBackRest version '2[\d.]+'\n/,
		'is refused by its version');
	is_deeply([ directories() ], [ $stanza->labels ], 'and removed');
	$label = leave();
	$peer->run_ok('backup', @how, '--type=full', { name => 'ours is refused in its hands, too',
		like => qr/backup '$label' cannot be resumed: new pgBackRest version '[\d.]+' does not match resumable pgBackRest version '\Q$mine\E'/ });
	is_deeply([ directories() ], [ $stanza->labels ], 'and removed');
	unlink "$small/base/1/huge";
}

# --- a server under load ---

remove_tree($stanza->path('repo'));
copy_tree($stanza->path('empty'), $stanza->path('repo'));
$stanza->set_cluster($pg);
$pg->archive_to($stanza);
$pg->start;
$pg->drop_templates;
$pg->psql($_) for 'CREATE TABLE still AS SELECT id, md5(id::text) AS t FROM generate_series(1, 40000) id', 'CHECKPOINT',
	'CREATE TABLE account AS SELECT id, 1000 AS balance FROM generate_series(1, 3000) id', 'ALTER TABLE account ADD PRIMARY KEY (id)';
my $wind = spawn_command([ $pg->bin('psql'), '-Xq', '-h', $pg->socket_dir, '-p', $pg->port, '-U', 'postgres', 'postgres' ], stdin => join '',
	map { my ($one, $other) = (1 + int rand 3000, 1 + int rand 3000); "BEGIN; UPDATE account SET balance = balance - 1 WHERE id = $one; UPDATE account SET balance = balance + 1 WHERE id = $other; COMMIT;"
		. ($_ % 500 ? '' : 'CHECKPOINT;') . "SELECT pg_sleep(0.001);\n" } 1 .. 20_000);
my @online = ('--type=full', '--process-max=2', '--manifest-save-threshold=1', '--no-expire-auto');
my ($code, @said) = $stanza->run('backup', @online);
ok($code == 0, 'how many files are there') or diag(@said);
my $files = () = $said[0] =~ /backup file/g;
my $copy = PgStrata::Cluster->new(name => 'copy', init => 0);
my ($kills, $kept) = (0, 0);
for my $round (1 .. (full_run() ? 12 : 3)) {
	for (1 .. 2) {
		my ($killed, $output) = kill_after(spawn_command([ $stanza->command('backup', @online) ]), qr/backup file|resumed file/,
			$files * (0.3 + rand 0.6));
		$kills++ if $killed == 137;
		$kept += () = $output =~ /checksum resumed file/g;
	}
	wait_until(sub { ($code, @said) = $stanza->run('backup', @online); $code != 50 });
	ok($code == 0, "round $round: the backup succeeds") or diag(@said);
	$kept += () = $said[0] =~ /checksum resumed file/g;
	my $label = label_of($said[0]);
	is_deeply([ directories() ], [ $stanza->labels ], "round $round: nothing is left");
	$copy->remove_data;
	$stanza->run_ok('restore', "--set=$label", '--type=immediate', '--target-action=promote', '--archive-mode=off', '--pg1-path=' . $copy->data);
	$copy->start;
	$copy->wait_for_recovery_end;
	is($copy->psql('SELECT count(*), sum(balance) FROM account'), '3000|3000000', "round $round: the restored accounts are whole");
	is($copy->psql(q{SELECT count(*) FROM still WHERE t = md5(id::text)}), 40000, "round $round: so are the rows");
	$copy->stop;
	($code, my @check) = run_command([ $copy->bin('pg_checksums'), '--check', '-D', $copy->data ]);
	ok($code == 0, "round $round: and all pages") or diag(@check);
}
ok(kill(0, $wind->{pid}), 'there was load to the end');
kill 'KILL', -$wind->{pid};
cmp_ok($kills, '>', 0, 'kills hit');
cmp_ok($kept, '>', 0, 'files were resumed');
$pg->stop;
done_testing;
