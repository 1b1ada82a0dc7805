# expire: each rule, each special request, each guard, letter by letter; a dry run changes nothing; repositories by
# themselves; after a backup; and what is left restores as far as it should.
use strict;
use warnings;
use Fcntl qw(:flock);
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::History;
use PgStrata::Recovery;
use Test::More;

$ENV{TZ} = 'UTC';
my $stanza = PgStrata::Stanza->new(options => { global => { 'log-level-file' => 'off' } });
my $repo = $stanza->path('repo');
my (@labels, $history);

# A new repository with these backups; its labels are in @labels.
sub told {
	my (%how) = @_;
	remove_tree($repo);
	$history = PgStrata::History->told(%how);
	$history->write($repo);
	@labels = $history->labels;
}

# The lines of what goes and of WAL, without the start of each, labels as their number in @labels.
sub number_of { my ($label) = @_; return grep { $labels[$_] eq $label } 0 .. $#labels }
sub numbered {
	my ($text) = @_;
	$text =~ s/\b(2\d{7}-\d{6}F(?:_\d{8}-\d{6}[DI])?)\b/my ($n) = number_of($1); defined $n ? "#$n" : $1/ge;
	return $text;
}
sub lines {
	my ($out, $levels) = @_;
	return [ grep { !/^expire command/ } map { numbered($_) } $out =~ /^P00 +(?:$levels): (?:\[DRY-RUN\] )?(.*)/mg ];
}
sub left { return join ' ', map { number_of($_) } $stanza->labels }

# A test point: a dry run says what the run says and changes nothing; the run says these INFO lines and leaves these
# backups.  Returns what it said.
sub expires {
	my ($name, $left, $lines, @options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $before = snapshot($repo);
	my ($code, $dry) = $stanza->run('expire', '--dry-run', @options);
	same_tree($before, snapshot($repo), "$name: a dry run changes nothing");
	my $out = $stanza->run_ok('expire', @options, { name => $name });
	is_deeply(lines($out, 'INFO|WARN|DETAIL'), lines($dry, 'INFO|WARN|DETAIL'), "$name: a dry run says the same");
	is(scalar(grep { !/^P00 +\w+: \[DRY-RUN\] / && !/^ / } split /\n/, $dry), 0, "$name: marked on each line") or diag($dry);
	is_deeply(lines($out, 'INFO'), $lines, "$name: what it says") if $lines;
	is(left(), $left, "$name: what is left") or diag($out);
	is_deeply([ $history->lost($repo, $stanza->labels) ], [], "$name: what is left is whole");
	return $out;
}

# The archived segments, as their numbers.
sub segments {
	my ($id) = @_;
	return join ' ', map { m{/0000000100000000000000([0-9A-F]{2})-} ? hex $1 : () } sort glob "$repo/archive/demo/1?-$id/0000000100000000/*";
}

# --- by number ---

my @three = (wal => 12, backups => [ 'F30 2-3', 'D29 4-4', 'I28 5-5', 'F20 6-7', 'I19 8-8', 'F10 10-11' ]);
told(@three);
my $none = expires('no limits', '0 1 2 3 4 5', [ "option 'repo1-retention-archive' is not set - archive logs will not be expired" ]);
like($none, qr/^P00 DETAIL: repo1: \Q$labels[0]\E stays: no limit is set for full backups$/m, 'it says why they stay');
my ($code, $out, $err) = $stanza->run('expire');
like("$out$err", qr/WARN: option 'repo1-retention-full' is not set for 'repo1-retention-full-type=count', the repository may run out of space\n.*HINT: to retain/,
	'and warns');
expires('as many as there are', '0 1 2 3 4 5',
	[ 'repo1: 13-1 remove archive, start = 000000010000000000000001, stop = 000000010000000000000001' ], '--repo1-retention-full=3');
is(segments(1), join(' ', 2 .. 12), 'WAL from the first of them on stays');
told(@three);
expires('more than there are', '0 1 2 3 4 5', [], '--repo1-retention-full=4');
is(segments(1), join(' ', 1 .. 12), 'all WAL stays');
$out = expires('two of three', '3 4 5', [ 'repo1: expire full backup set #0, #1, #2', map({ "repo1: remove expired backup #$_" } 2, 1, 0),
	'repo1: 13-1 remove archive, start = 000000010000000000000001, stop = 000000010000000000000005' ], '--repo1-retention-full=2');
is(segments(1), join(' ', 6 .. 12), 'WAL from the older of the two on stays');
is_deeply([ grep { / (goes|stays): / } @{lines($out, 'DETAIL')} ], [ 'repo1: #0 goes: older than the newest 2 full backups', 'repo1: #1 goes: depends on #0',
	'repo1: #2 goes: depends on #1', 'repo1: #3 stays: among the newest 2 full backups', 'repo1: #4 stays: stays with #3',
	'repo1: #5 stays: among the newest 2 full backups' ], 'one line for each backup, with its reason');
like($out, qr/^P00 DETAIL: repo1: 13-1 archive retention on backup \Q$labels[3]\E, start = 000000010000000000000006$/m, 'where WAL begins');
expires('the same again', '3 4 5', [ 'repo1: 13-1 no archive to remove' ], '--repo1-retention-full=2');
is(readlink "$repo/backup/demo/latest", $labels[5], 'latest stays');
ok(!-e "$repo/backup/demo/$_", "the folder of $_ is gone") for @labels[ 0 .. 2 ];

told(@three);
expires('archive for one', '3 4 5', [ 'repo1: expire full backup set #0, #1, #2', map({ "repo1: remove expired backup #$_" } 2, 1, 0),
	map { "repo1: 13-1 remove archive, start = $_->[0], stop = $_->[1]" } [ '000000010000000000000001', '000000010000000000000005' ],
	[ '000000010000000000000009', '000000010000000000000009' ] ], '--repo1-retention-full=2', '--repo1-retention-archive=1');
is(segments(1), '6 7 8 10 11 12', 'older backups keep the WAL that makes them consistent');

# --- diffs, days ---

my @diffs = (wal => 9, backups => [ 'F30 1-1', 'D29 2-2', 'I28 3-3', 'D27 4-4', 'I26 5-5', 'D25 6-6' ]);
told(@diffs);
$out = expires('diffs', '0 3 4 5', [ 'repo1: expire diff backup set #1, #2', 'repo1: remove expired backup #2', 'repo1: remove expired backup #1',
	"option 'repo1-retention-archive' is not set - archive logs will not be expired" ], '--repo1-retention-diff=2');
like(numbered($out), qr/#3 stays: among the newest 2 full and diff backups\n.*#4 stays: stays with #3\n/, 'it says why');
expires('archive by diffs', '0 3 4 5', undef, qw(--repo1-retention-diff=3 --repo1-retention-archive-type=diff --repo1-retention-archive=2));
is(segments(1), '1 4 5 6 7 8 9', 'WAL of the full one, and from the second newest on');
told(@diffs);
expires('archive by incrs', '0 1 2 3 4 5', undef, qw(--repo1-retention-archive-type=incr --repo1-retention-archive=2));
is(segments(1), '1 2 3 4 5 6 7 8 9', 'WAL of each one stays');

my @days = (wal => 9, backups => [ 'F30 1-1', 'D29 2-2', 'F20 4-4', 'F10 6-6' ]);
told(@days);
$out = expires('days', '2 3', [ 'repo1: expire time-based backup set #0, #1', 'repo1: remove expired backup #1', 'repo1: remove expired backup #0',
	'repo1: 13-1 remove archive, start = 000000010000000000000001, stop = 000000010000000000000003' ], qw(--repo1-retention-full-type=time --repo1-retention-full=15));
like(numbered($out), qr/#0 goes: older than what the last 15 days need\n.*#1 goes: depends on #0\n.*#2 stays: newest full backup that ended more than 15 days ago\n.*#3 stays: ended within the last 15 days\n/,
	'it says why');
told(@days);
expires('days that cover all', '0 1 2 3', [ 'repo1: time-based archive retention not met - archive logs will not be expired' ],
	qw(--repo1-retention-full-type=time --repo1-retention-full=40));

# --- several clusters, offline ---

told(wal => 9, clusters => 3, backups => [ 'F30 2-2', 'F20@2 4-4', 'F10@2 6-6' ]);
expires('clusters', '1 2', [ 'repo1: expire full backup #0', 'repo1: remove expired backup #0', "repo1: remove archive path $repo/archive/demo/13-1",
	'repo1: 14-2 remove archive, start = 000000010000000000000001, stop = 000000010000000000000003' ], '--repo1-retention-full=2');
is(segments(3), '1 2 3 4 5 6 7 8 9', 'WAL of the current cluster stays, though it has no backup');
told(wal => 9, backups => [ 'F30 2-2', 'F20', 'F10 6-6' ]);
$out = expires('offline', '1 2', undef, '--repo1-retention-full=2');
is(segments(1), '1 2 3 4 5 6 7 8 9', 'all WAL stays');
like(numbered($out), qr/repo1: 13-1 all WAL stays: retention counts from backup #1, which was made offline/, 'it says why');

# --- what is not WAL, and timelines ---

told(@three);
make_path("$repo/archive/demo/13-1/pgstrata", "$repo/backup/demo/pgstrata", "$repo/archive/demo/99-7/0000000100000000");
my @strange = map { "$repo/$_" } 'archive/demo/13-1/pgstrata/note', 'archive/demo/13-1/0000000100000000/note', 'backup/demo/pgstrata/note',
	'archive/demo/99-7/0000000100000000/000000010000000000000001-x', 'archive/demo/13-1/readme';
my @old = map { "$repo/archive/demo/13-1/$_" } '00000000.history', '0000000100000000/000000010000000000000001.00000028.backup',
	'0000000100000000/000000010000000000000002.partial-' . '0' x 40;
spew($_, 'x') for @strange, @old, "$repo/archive/demo/13-1/00000001.history";
my $removed = expires('other files', '3 4 5', undef, '--repo1-retention-full=2');
ok(-e $_, "stays: $_") for @strange, "$repo/archive/demo/13-1/00000001.history";
ok(!-e $_, "goes: $_") for @old;
like($removed, qr/^P00   INFO: repo1: 13-1 remove history file 00000000\.history$/m, 'a history file is named');

# --- history manifests ---

told(@three, now => time);
make_path("$repo/backup/demo/backup.history/2019");
spew("$repo/backup/demo/backup.history/2019/20190101-000000F.manifest.gz", 'x');
expires('old history', '3 4 5', undef, qw(--repo1-retention-full=2 --repo1-retention-history=9999999));
my $dir = "$repo/backup/demo/backup.history";
ok(-e "$dir/2019/20190101-000000F.manifest.gz", 'not older than that');
$out = expires('history', '3 4 5', undef, qw(--repo1-retention-full=2 --repo1-retention-history=0));
like($out, qr/^P00   INFO: repo1: remove expired backup history path 2019$/m, 'a year that is over');
my $year = substr $labels[0], 0, 4;
my $this_year = 1900 + (gmtime)[5];
if ($year == $this_year) {
	like($out, qr/^P00   INFO: repo1: remove expired backup history manifest \Q$labels[0]\E\.manifest\.gz$/m, 'a manifest that is over');
}
ok(!-e "$dir/$year/$labels[0].manifest.gz", 'it is gone');
ok(-e "$dir/" . substr($labels[5], 0, 4) . "/$labels[5].manifest.gz", 'that of a listed backup stays') if $this_year == substr $labels[5], 0, 4;

# --- requests ---

told(@three);
expires('--set, an incr', '0 1 3 4 5', [ 'repo1: expire adhoc backup #2', 'repo1: remove expired backup #2' ], "--set=$labels[2]", '--repo1-retention-full=9');
expires('--set, a full', '3 4 5', [ 'repo1: expire adhoc backup set #0, #1', 'repo1: remove expired backup #1', 'repo1: remove expired backup #0' ],
	"--set=$labels[0]", '--repo1-retention-full=9');
$out = expires('--set, the newest', '3 4', undef, "--set=$labels[5]", '--repo1-retention-full=9');
like($out, qr/^P00   WARN: repo1: expiring latest backup \Q$labels[5]\E - the ability to perform point-in-time-recovery \(PITR\) may be affected\n +HINT: non-default settings for 'repo1-retention-archive'\/'repo1-retention-archive-type' \(even in prior expires\) can cause gaps in the WAL\.$/m,
	'it warns');
is(readlink "$repo/backup/demo/latest", $labels[4], 'latest is moved');
my $before = snapshot($repo);
my $last = $stanza->run_fail('expire', "--set=$labels[3]", '--repo1-retention-full=9', { code => 104, name => '--set, the last full',
	like => qr/ERROR: \[075\]: repo1: full backup \Q$labels[3]\E cannot be expired until another full backup has been created on this repo\n.*ERROR: \[104\]: expire command encountered 1 error\(s\), check the log file for details/s });
$out = expires('--set, unknown', '3 4', [], '--set=20200101-000000F', '--repo1-retention-full=9');
like($out, qr/^P00   WARN: backup 20200101-000000F does not exist\n +HINT: run the info command and confirm the backup is listed$/m, 'it warns');
$stanza->run_fail('expire', '--set=nonsense', { code => 32, like => qr/'nonsense' is not a valid backup label format/ });
$stanza->run_fail('expire', "--set=$labels[3]", '--oldest', { code => 31, like => qr/--oldest and --set cannot be used together/ });
$stanza->run_fail('expire', '--archive-expire-before=zz', { code => 32,
	like => qr/'zz' is not a valid WAL segment name for option '--archive-expire-before'/ });
same_tree($before, snapshot($repo), 'none of these removed anything');

told(@three);
$out = expires('--oldest', '3 4 5', undef, qw(--oldest --repo1-retention-full-type=time --repo1-retention-full=1));
like($out, qr/^P00 DETAIL: repo1: expire oldest enforcing repo1-retention-full-type=count, repo1-retention-full=2, repo1-retention-archive-type=full, and repo1-retention-archive=2 for this execution$/m,
	'it says what it does');
expires('--oldest again', '5', undef, '--oldest');
$out = expires('--oldest, the last', '5', undef, '--oldest');
like($out, qr/^P00   WARN: repo1: expire oldest requested but no eligible full backup to expire$/m, 'it warns');

told(@three);
expires('--archive-expire-before', '3 4 5', undef, qw(--repo1-retention-full=2 --archive-expire-before=000000010000000000000004));
is(segments(1), '4 5 6 7 8 9 10 11 12', 'WAL from there on stays');
expires('--archive-expire-before, later', '3 4 5', undef, qw(--repo1-retention-full=2 --archive-expire-before=000000010000000000000009));
is(segments(1), '6 7 8 9 10 11 12', 'it never removes what retention keeps');
told(wal => 9, clusters => 2, backups => []);
expires('--archive-expire-before, no backups', '', [ 'repo1: 14-2 remove archive, start = 000000010000000000000001, stop = 000000010000000000000003' ],
	qw(--repo1-retention-full=2 --archive-expire-before=000000010000000000000004));
is(segments(2), '4 5 6 7 8 9', 'it is the only bound');
is(segments(1), '1 2 3 4 5 6 7 8 9', 'other clusters are not touched');
expires('no backups', '', [], '--repo1-retention-full=2');

# --- guards ---

my @bad = (wal => 9, backups => [ 'F30 1-1', 'F20 3-3 bad', 'F10 5-5' ]);
my $damaged = qr/repo1: oldest retained backup 2\S+F contains invalid page checksum\(s\)\n +HINT: use info --set command to get details about errors in the backup\./;
told(@bad);
$before = snapshot($repo);
$stanza->run_fail('expire', '--repo1-retention-full=2', { code => 104, name => 'the oldest that would stay is damaged', like => qr/ERROR: \[026\]: $damaged/ });
same_tree($before, snapshot($repo), 'nothing is removed');
like(expires('--no-checksum-page-error', '1 2', undef, qw(--repo1-retention-full=2 --no-checksum-page-error)), qr/WARN: $damaged/, 'it warns');
like(expires('nothing to expire', '1 2', undef, '--repo1-retention-full=2'), qr/WARN: $damaged/, 'it warns');
unlike(expires('the damaged one goes', '2', undef, '--repo1-retention-full=1'), qr/WARN/, 'nothing is said');
told(@bad);
like(expires('--set', '1 2', undef, "--set=$labels[0]", '--repo1-retention-full=9'), qr/WARN: $damaged/, 'it warns');

# --- folders ---

told(@three);
my ($leftover, $running) = ('20250101-000000F', '20990101-000000F');
make_path(map { "$repo/backup/demo/$_/pg_data" } $leftover, $running);
spew("$repo/backup/demo/$_/backup.manifest.copy", 'half') for $leftover, $running;
$out = expires('unfinished backups', '0 1 2 3 4 5', [ "repo1: remove expired backup $leftover" ], '--repo1-retention-full=9');
ok(!-e "$repo/backup/demo/$leftover" && -e "$repo/backup/demo/$running/backup.manifest.copy", 'the newest may be running, others are not');
like($out, qr/DETAIL: repo1: folder $running stays: the newest one, of a backup that runs or can be resumed/, 'it says so');
unlink "$repo/backup/demo/$labels[4]/backup.manifest";
$out = expires('a lost manifest', '0 1 2 3 5', undef, '--repo1-retention-full=9');
like($out, qr/WARN: backup '\Q$labels[4]\E' missing manifest removed from backup\.info/, 'reconciled first');
remove_tree("$repo/backup/demo/$running");
rename "$repo/backup/demo/$labels[3]/backup.manifest", "$repo/backup/demo/$labels[3]/x" or die "rename: $!";
told(@three);
unlink "$repo/backup/demo/$labels[0]/backup.manifest";
$out = expires('a full one has lost its manifest', '3 4 5', [], '--repo1-retention-full=9');
like($out, qr/WARN: repo1: backup \Q$_\E has a manifest but cannot be listed; it is not removed\n +HINT: .*\n +HINT: remove its folder/, 'those on it are kept')
	for @labels[ 1, 2 ];
ok(-e "$repo/backup/demo/$labels[0]/pg_data/$labels[0]", 'and what they refer to');
rename "$repo/backup/demo/$labels[0]/backup.manifest.copy", "$repo/backup/demo/$labels[0]/backup.manifest" or die "rename: $!";
expires('the manifest is back', '0 1 2 3 4 5', [], '--repo1-retention-full=9');

# --- what cannot be read decides nothing ---

told(@three);
my ($hidden) = glob "$repo/archive/demo/13-1/0000000100000000";
chmod 0, $hidden;
$before = snapshot("$repo/backup");
$stanza->run_fail('expire', '--repo1-retention-full=1', { code => 104, name => 'a folder cannot be listed', like => qr/ERROR: \[053\]: repo1: unable to list files in '\Q$hidden\E': \[13\] Permission denied/ });
chmod 0755, $hidden;
same_tree($before, snapshot("$repo/backup"), 'no backup is removed');
spew("$repo/archive/demo/$_", 'x') for 'archive.info', 'archive.info.copy';
$stanza->run_fail('expire', '--repo1-retention-full=1', { code => 104, name => 'archive.info cannot be read', like => qr/ERROR: \[\d+\]: repo1: / });
same_tree($before, snapshot("$repo/backup"), 'no backup is removed');

# --- locks, stop files ---

told(@three);
make_path($stanza->path('lock'));
open(my $lock, '>', $stanza->path('lock/demo-backup-1.lock')) or die "lock: $!";
flock($lock, LOCK_EX) or die "lock: $!";
$stanza->run_fail('expire', '--repo1-retention-full=1', { code => 50, name => 'a backup runs' });
close $lock;
spew($stanza->path('lock/demo.stop'));
$stanza->run_fail('expire', '--repo1-retention-full=1', { code => 62, name => 'stopped', like => qr/stop file exists for stanza demo/ });
unlink $stanza->path('lock/demo.stop');
is(left(), '0 1 2 3 4 5', 'nothing was removed');

# --- two repositories ---

my $repo2 = $stanza->path('repo2');
told(@three);
run_command([ 'cp', '-a', $repo, $repo2 ]);
$stanza->set(global => { 'repo2-path' => $repo2, 'repo1-retention-full' => 1, 'repo2-retention-full' => 2, 'repo2-retention-archive' => 1 });
sub of_repo {
	my ($key) = @_;
	return join ' ', map { number_of($_->{label}) } grep { $_->{database}{'repo-key'} == $key } @{$stanza->info->[0]{backup}};
}
$stanza->run_ok('expire', '--repo=2', { name => 'the second one', like => qr/repo2: expire full backup set/, unlike => qr/repo1: / });
is(of_repo(1) . '/' . of_repo(2), '0 1 2 3 4 5/3 4 5', 'only that one');
$stanza->run_ok('expire', { name => 'both', like => qr/repo1: expire full.*repo2: 13-1 no archive/s });
is(of_repo(1) . '/' . of_repo(2), '5/3 4 5', 'each by its own rules');
told(@three);
rename "$repo2/backup/demo", "$repo2/backup/gone" or die "rename: $!";
$stanza->run_fail('expire', '--repo2-retention-full=1', '--repo1-retention-full=2', { code => 104, name => 'one fails',
	like => qr/ERROR: \[055\]: repo2: unable to load info file .*ERROR: \[104\]: expire command encountered 1 error\(s\)/s });
is(of_repo(1), '3 4 5', 'the other one is done');
$stanza->set(global => { map { $_ => undef } qw(repo2-path repo1-retention-full repo2-retention-full repo2-retention-archive) });

# --- after a backup: offline, encrypted, its options from several places ---

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1);
my $source = work_dir() . '/source';
make_path(map { "$source/$_" } qw(global base/1 pg_wal));
cp($pg->data . "/$_", "$source/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control', 'base/1/1259';
my $after = PgStrata::Stanza->new(id => 'after', options => { global => { 'repo1-cipher-type' => 'aes-256-cbc', 'compress-type' => 'none' },
	demo => { 'pg1-path' => $source } });
my %env = (env => { PGSTRATA_REPO1_CIPHER_PASS => 'geheim, from the environment' });
my @backup = qw(backup --no-online --type=full);
sub backups { my ($c, $o, $e) = $after->run('info', '--output=json', \%env); return scalar @{[ $o =~ /"label"/g ]} }
$after->run_ok('stanza-create', '--no-online', \%env);
$after->run_ok(@backup, \%env) for 1 .. 2;
$after->set('global:expire' => { 'repo1-retention-full' => 1 });
$after->run_ok(@backup, '--no-expire-auto', { %env, unlike => qr/expire command/, name => 'expire-auto=n' });
is(backups(), 3, 'nothing expires');
$out = $after->run_ok(@backup, { %env, name => 'expire after a backup',
	unlike => qr/retention-full' is not set|has no expire/, like => qr/backup command end: completed successfully\nP00   INFO: expire command begin \S+: (?![^\n]*--type=)[^\n]*--repo1-retention-full=1 --stanza=demo\n.*repo1: expire full backup 2.*\nP00   INFO: expire command end: completed successfully\n\z/s });
is(backups(), 1, 'by the options of [global:expire]');
my ($id) = $out =~ /backup command begin.* --exec-id=(\S+)/;
like($out, qr/expire command begin.* --exec-id=\Q$id\E /, 'in the same process');
my @logs = map { slurp($after->path("log/demo-$_.log")) } qw(backup expire);
like($logs[0], qr/backup command end: completed/, 'backup has its log');
unlike($logs[0], qr/expire command/, 'and only that');
like($logs[1], qr/\A-+PROCESS START-+\nP00   INFO: expire command begin .*expire command end: completed successfully\n\z/s, 'expire has its own');
unlike($logs[1], qr/geheim/, 'without the passphrase');
$after->set('global:expire' => { 'repo1-retention-full' => undef });
$after->set('demo:backup' => { 'repo1-retention-full' => 2 });
$after->run_ok(@backup, { %env }) for 1 .. 2;
is(backups(), 2, 'by the options of [demo:backup], as the original does');
$after->run_ok(@backup, '--repo1-retention-full=3', { %env });
is(backups(), 3, 'by the options of the command line');
$after->set('demo:backup' => { 'repo1-retention-full' => undef });
$after->set('global:expire' => { 'repo1-retention-full' => 'many' });
$after->run_fail(@backup, { %env, code => 32, name => 'a mistake in options of expire' });
is(backups(), 3, 'is told before the backup is made');
$after->set('global:expire' => { 'repo1-retention-full' => undef });

# The expire after it fails.
my ($newest) = sort { $b cmp $a } map { m{([^/]+)$} } glob $after->path('repo/backup/demo/2*F');
my $wall = $after->path("repo/backup/demo/$newest");
$after->set('global:expire' => { 'repo1-retention-full' => 1 });
chmod 0500, $wall;
$after->run_fail(@backup, { %env, code => 104, name => 'expire fails after a backup',
	like => qr/backup command end: completed successfully\n.*ERROR: \[060\]: repo1: unable to remove .*ERROR: \[104\]: expire command encountered 1 error\(s\), check the log file for details\n +HINT: the backup before it completed successfully; only expire failed, and can be run again\.\n.*expire command end: aborted with exception \[104\]/s });
chmod 0750, $wall;
$after->run_ok('expire', { %env, name => 'then expire by itself' });
is(backups(), 1, 'ends the work');

# --- a real cluster: what is left restores ---

my $real = PgStrata::Stanza->new(id => 'real', cluster => $pg, options => { global => { 'compress-type' => 'lz4',
	'repo1-retention-full' => 2, 'repo1-retention-archive' => 1 } });
$pg->archive_to($real);
$pg->start;
$pg->drop_templates;
$real->run_ok('stanza-create');
my (@state, @made);
for (1 .. 3) {
	write_rows($pg, 10);
	$pg->wait_archived($pg->switch_wal);
	push @state, row_state($pg);
	my $said = $real->run_ok('backup', '--type=full', { name => "backup $_, then expire" });
	push @made, $said =~ /new backup label = (\S+)/;
	write_rows($pg, 10);
	$pg->wait_archived($pg->switch_wal);
}
my $end = row_state($pg);
is_deeply([ $real->labels ], [ @made[ 1, 2 ] ], 'two of three are left');
$pg->stop;
remove_tree($pg->data);
# PostgreSQL reads ahead, into the WAL that is gone on purpose; archive-get looks for it again for so long.
$real->set('global:archive-get' => { 'archive-timeout' => '2s' });
$real->run_ok('restore', "--set=$made[1]", '--type=immediate', '--target-action=promote',
	{ name => 'the older one, to its end' });
recovers_whole($pg, $state[1], 'the older one');
$pg->stop;
remove_tree($pg->data);
$real->run_ok('restore', '--archive-mode=off', '--target-timeline=current', { name => 'the newer one, to the end of all WAL' });
recovers_whole($pg, $end, 'the newer one');
$pg->stop;

done_testing();
