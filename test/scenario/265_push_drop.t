# Drops are never silent (point 4 of issue 6; lesson A11): with archive-push-queue-max and the repository away, WAL is
# given up only after a note of it is in the spool, and the next push brings the notes to the repository before it says
# yes.  check, backup, restore and archive-get tell of it; recovery stops there; expire removes the note with the WAL
# before it.  Where no note can be left, nothing is dropped.  (In the full run with archive-async.)
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use POSIX qw(strftime);
use PgStrata;
use PgStrata::Recovery;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => ['autovacuum = off', 'wal_keep_size = 1MB']);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'compress-type' => 'zst',
	'archive-async' => full_run() ? 'y' : 'n', 'archive-push-queue-max' => '3MB', 'archive-timeout' => '2s', 'repo1-cipher-type' => 'aes-256-cbc',
	'repo1-cipher-pass' => 'secret', 'repo1-retention-full' => 1 } });
my $repo = $stanza->path('repo');
my $gap = $stanza->path('spool', 'pgstrata', 'demo', 'gap');
$pg->archive_to($stanza);
$pg->start;
$stanza->run_ok('stanza-create');
write_rows($pg, 1);
$stanza->run_ok('backup', '--type=full', { unlike => qr/dropped/ });
ok($pg->wait_archived($pg->switch_wal), 'archiving works');

sub spool_notes { return map { slurp($_) } glob "$gap/*.json" }
sub repo_notes { return glob "$repo/archive/demo/*/pgstrata/gap/*.json" }
# What notes name.
sub named { return sort map { /"files":\[([^\]]*)\]/ ? $1 =~ /"([^"]+)"/g : () } @_ }

# --- no spool, no drop ---

my $before = row_state($pg);
rename $repo, "$repo.away" or die "rename: $!";
rename $stanza->path('spool'), $stanza->path('spool.away') or die "rename: $!";
spew($stanza->path('spool'));
write_segments($pg, 6);
ok(wait_until(sub { $pg->log_text =~ /WAL cannot be dropped because no note of it can be left in the spool/ }, 60),
	'without a spool the log says why nothing is dropped');
my @ready = map { m{([0-9A-F]{24})\.ready$} } glob $pg->data . '/pg_wal/archive_status/*.ready';
cmp_ok(scalar(@ready), '>=', 6, 'PostgreSQL still has its segments');
is_deeply([ grep { !-s $pg->data . "/pg_wal/$_" } @ready ], [], 'with their content');
unlike($pg->log_text, qr/dropped WAL file/, 'none was dropped');

# --- the queue is full, the repository away ---

unlink $stanza->path('spool');
rename $stanza->path('spool.away'), $stanza->path('spool') or die "rename: $!";
ok($pg->wait_sql("SELECT count(*) <= 3 FROM pg_ls_dir('pg_wal/archive_status') AS name WHERE name LIKE '%.ready'", 't', 90),
	'with a spool the queue shrinks to what is allowed');
my @dropped;
sub warned { return sort $pg->log_text =~ /dropped WAL file '([0-9A-F]{24})' because archive queue exceeded 3MB/g }
ok(wait_until(sub { @dropped = warned(); "@dropped" eq join ' ', named(spool_notes()) }, 30),
	'the spool names each segment of which the log warns') or diag("log: @dropped\nspool: @{[ named(spool_notes()) ]}");
cmp_ok(scalar(@dropped), '>=', 3, 'segments were dropped: ' . @dropped);
is(scalar(() = glob "$gap/*.json"), 1, 'in one note');

# --- the repository is back ---

$stanza->set(global => { 'archive-push-queue-max' => '1GB' });
rename "$repo.away", $repo or die "rename: $!";
write_rows($pg, 1);
my $segment = $pg->switch_wal;
ok($pg->wait_archived($segment, 90), 'the next push succeeds');
is(scalar(() = repo_notes()), 1, 'the note is in the repository');
is_deeply([ spool_notes() ], [], 'and not in the spool any more');
unlike(slurp((repo_notes())[0]), qr/$dropped[0]/, 'encrypted');
my @there = wal_names($stanza);
is_deeply([ grep { my $name = $_; grep { $_ eq $name } @there } @dropped ], [], 'what was dropped is not there');

# --- reports ---

my $range = @dropped . " WAL files from $dropped[0] to $dropped[-1] were dropped by archive-push on "
	. '\d{4}-\d\d-\d\d [0-9:]+[-+]\d\d(:\d\d)?: archive queue exceeded 3MB';
$stanza->run_ok('check', { like => qr/WARN: repo1: $range/ });
my $target = work_dir() . '/segment';
my ($code, $out, $err) = $stanza->run('archive-get', $dropped[0], $target);
is($code, 55, 'archive-get: not just absent') or diag("$out$err");
like("$out$err", qr/WAL segment $dropped[0] is missing from the archive: it was dropped by archive-push on .*: archive queue exceeded 3MB/,
	'but dropped');
$stanza->run_fail('archive-get', $dropped[0], $target, '--archive-gap=end',
	{ code => 1, like => qr/is missing from the archive: it was dropped .*archive-gap=end/ });

my $restored = PgStrata::Cluster->new(name => 'r', init => 0);
mkdir $restored->data, 0700 or die "mkdir: $!";
my @restore = ('restore', '--pg1-path=' . $restored->data, '--archive-mode=off');
$stanza->run_fail(@restore, { code => 75,
	like => qr/WAL segment $dropped[0] is missing from repo1: it was dropped by archive-push on .*: archive queue exceeded 3MB/ });
my $label = ($stanza->labels)[-1];
$stanza->run_ok(@restore, '--type=lsn', '--target=0/FFFFFFFF', '--recovery-option=restore_command='
	. shell_words($stanza->command('--pg1-path=' . $restored->data, 'archive-get')) . ' %f "%p"', { name => 'restore all the same' });
stops_in_recovery($restored, 'recovery at the gap', like => qr/$dropped[0] is missing from the archive: it was dropped/);
$restored->remove_data;

# --- the next backup ---

$stanza->run_ok('backup', '--type=full', '--no-expire-auto',
	{ like => qr/WARN: repo1: $range\n.*HINT: point-in-time recovery over it is impossible; from this backup on/ });
write_rows($pg, 1);
my $state = row_state($pg);
ok($pg->wait_archived($pg->switch_wal), 'all rows are archived');
isnt($state, $before, 'there are more rows');
mkdir $restored->data, 0700 or die "mkdir: $!";
$stanza->run_ok(@restore, { name => 'restore the new backup' });
recovers_whole($restored, $state, 'the new backup');
$restored->stop('immediate');
$restored->remove_data;
$stanza->run_ok('check', { like => qr/WARN: repo1: $range/, name => 'check tells of it while the old backup is there' });
$stanza->run_ok('backup', '--type=incr', '--no-expire-auto', { unlike => qr/were dropped/, name => 'the backup after that does not' });

# --- expire ---

$stanza->run_ok('expire', '--dry-run', { like => qr/remove note of dropped WAL/ });
is(scalar(() = repo_notes()), 1, 'a dry run removes nothing');
$stanza->run_ok('expire', { like => qr/repo1: \S+ remove note of dropped WAL \S+, start = $dropped[0], stop = $dropped[-1]/ });
is(scalar(() = repo_notes()), 0, 'expire removes the note');
$stanza->run_ok('check', { unlike => qr/dropped/, name => 'check has nothing to tell any more' });

# --- a damaged note in the spool, a damaged one in the repository ---

mkdir $gap;
spew("$gap/" . strftime('%Y%m%dT%H%M%SZ', gmtime) . '-1f2e3d4c.json', '{"checksum":"x"}');
write_rows($pg, 1);
ok($pg->wait_archived($pg->switch_wal), 'a damaged note does not stop archiving');
is(scalar(() = repo_notes()), 1, 'it is in the repository');
$stanza->run_ok('check', { like => qr/WARN: repo1: WAL was dropped by archive-push on .*: the note of it cannot be read/ });
$pg->stop;
my @present = wal_names($stanza);
my $next = substr($present[-1], 0, 16) . sprintf '%08X', hex(substr($present[-1], 16)) + 1;
($code, $out, $err) = $stanza->run('archive-get', $next, $target);
is($code, 55, 'archive-get: what is not there may be what was dropped');
like("$out$err", qr/it may be what was dropped by archive-push on \d{4}-/, 'says why');

done_testing();
