# A repository on another host, through a real sshd and forced commands: what PostgreSQL does with it, and restore, info and check,
# work as with one of this host: alone and beside one of this host, in the foreground and ahead of the question.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Hosts;
use PgStrata::Recovery;
use Test::More;

need_sshd();
my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => ['autovacuum = off', 'wal_keep_size = 200MB']);
my $hosts = PgStrata::Hosts->new(cluster => $pg, local_pg => 1,
	repo => { global => { 'compress-type' => 'zst', 'repo1-bundle' => 'y', 'repo1-block' => 'y', 'repo1-retention-full' => 9,
		'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'a long secret', 'process-max' => 2 } },
	pg => { global => { 'compress-type' => 'lz4', 'process-max' => 2, 'archive-timeout' => '20s' } });
my ($repo, $db) = ($hosts->repo, $hosts->pg);
my $copy = PgStrata::Cluster->new(name => 'copy', init => 0);
my $got = work_dir() . '/got';

sub wal { return $pg->data . "/pg_wal/$_[0]" }

# A restored cluster in the place of what was there before.
sub restored {
	my ($name, @options) = @_;
	my $how = ref $options[-1] ? pop @options : {};
	$copy->stop('immediate') if $copy->running;
	$copy->remove_data if !grep { $_ eq '--delta' } @options;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $db->run_ok('restore', '--pg1-path=' . $copy->data, '--archive-mode=off', @options, { name => "$name: restore", %$how });
}

sub delivers {
	my ($segment, $name, @options) = @_;
	unlink $got;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$db->run_ok(@options, 'archive-get', $segment, $got, { name => "$name: get" });
	ok(-e $got && slurp($got) eq slurp(wal($segment)), "$name: the right bytes");
}

# --- archiving ---

$pg->archive_to($db);
$pg->start;
$pg->drop_templates;
$db->run_fail('archive-push', wal('000000010000000000000001'), { code => 103, name => 'without a stanza there',
	like => qr{repo1: \[FileMissingError\] unable to load info file '127\.0\.0\.1\S*/archive/demo/archive\.info'.*stanza-create}s });
$repo->run_ok('stanza-create');
$db->run_ok('info', { like => qr/stanza: demo.*status: error \(no valid backups\).*cipher: aes-256-cbc/s, name => 'info without a backup' });
$db->run_ok('check', { like => qr/successfully archived to '127\.0\.0\.1:\S+' on repo1/ });
write_rows($pg, 30);
my $first = $pg->switch_wal;
ok($pg->wait_archived($first), 'PostgreSQL archives to it');
is(scalar(stored_wal($repo, $first)), 1, 'where its host put it');
like((stored_wal($repo, $first))[0], qr/\.lz4$/, 'with the codec of the host that has the file');
delivers($first, 'what was archived');
$db->run_ok('archive-push', wal($first), { like => qr/already exists in the repo1 archive with the same checksum/, name => 'a duplicate' });
mkdir work_dir() . '/other';
my $other = work_dir() . "/other/$first";
spew($other, slurp(wal($first)));
flip_bit($other, -100);
$db->run_fail('archive-push', $other, { code => 45, name => 'another content under the name',
	like => qr/already exists in the repo1 archive with a different checksum/ });
is(scalar(stored_wal($repo, $first)), 1, 'is not stored');
delivers($first, 'what was there first');
my ($code, $out, $err) = $db->run('archive-get', '0000000100000000000000F0', $got);
is($code, 1, 'what is not there is proven absent') or diag $out, $err;
like("$out$err", qr/unable to find 0000000100000000000000F0 in the archive/, 'and it is said');
($code) = $db->run('archive-get', '00000002.history', $got);
is($code, 1, 'a history file too');

# --- archiving ahead ---

$db->set(global => { 'archive-async' => 'y' });
write_rows($pg, 50);
my $async = $pg->switch_wal;
ok($pg->wait_archived($async), 'PostgreSQL archives in the background');
is(scalar(stored_wal($repo, $async)), 1, 'to there');
ok(-s $db->path('log', 'demo-archive-push-async.log'), 'by a process of its own');

# --- backups, made on the other host from its own configuration ---

$repo->run_ok('backup', '--type=full', { name => 'full backup' });
$pg->psql("UPDATE numbered SET text = 'changed' WHERE id < 5");
my ($incr) = $repo->run_ok('backup', '--type=incr', { name => 'incremental backup with blocks' }) =~ /new backup label = (\S+)/;
is($db->run_ok('info'), $repo->run_ok('info'), 'info says the same on both hosts');
is($db->run_ok('info', "--set=$incr", '--repo=1'), $repo->run_ok('info', "--set=$incr", '--repo=1'), 'about one backup too');
is_deeply($db->info, $repo->info, 'info as JSON says the same on both hosts');
is_deeply([ $db->labels ], [ $repo->labels ], 'with the backups');
$db->run_ok('info', '--archive', { like => qr/demo|15-1/, name => 'info about the archive' });
write_segments($pg, 8);
$pg->psql("SELECT pg_create_restore_point('here')");
my $then = row_state($pg);
my $time = $pg->psql('SELECT clock_timestamp()');
write_segments($pg, 4);
my $now = row_state($pg);
ok($pg->wait_archived($pg->switch_wal), 'all is archived');

# --- restore ---

restored('to the end');
my $log = recovers_whole($copy, $now, 'to the end');
like($log, qr/found \w{24} in the archive asynchronously/, 'with WAL that was fetched ahead');
$db->set(global => { 'archive-async' => undef });
restored('to a time', '--type=time', "--target=$time", '--target-action=promote');
$log = recovers_whole($copy, $then, 'to a time');
like($log, qr/found \w{24} in the repo1: /, 'with WAL that was fetched when it was asked for');
unlike($log, qr/asynchronously/, 'and only then');
restored('delta', '--delta', '--type=name', '--target=here', '--target-action=promote', { like => qr/restore file .*(?:exists and matches|checksum)/s });
recovers_whole($copy, $then, 'delta');
restored('the incremental backup alone', "--set=$incr", '--type=immediate', '--target-action=promote');
ok($copy->start, 'starts');
$copy->wait_for_recovery_end;
is($copy->psql("SELECT count(*) FROM numbered WHERE text = 'changed'"), 4, 'and has the changed blocks');
$copy->stop('immediate');

# --- beside a repository of this host ---

$db->set(global => { 'repo2-path' => work_dir() . '/repo2', 'repo2-retention-full' => 3 });
$db->run_ok('stanza-create', { like => qr/repo1 is left out: it is on host '127\.0\.0\.1'/, name => 'stanza-create for the local one' });
write_rows($pg, 1);
my $both = $pg->switch_wal;
ok($pg->wait_archived($both), 'PostgreSQL archives to both');
my @there = (stored_wal($repo, $both), glob(work_dir() . "/repo2/archive/demo/*/" . substr($both, 0, 16) . "/$both-*"));
is(scalar(@there), 2, 'and both have it') or diag "@there";
delivers($both, "from repo$_", "--repo=$_") for 1, 2;
rename $there[0], work_dir() . '/aside' or die "rename: $!";
delivers($both, 'from the one that has it');
rename work_dir() . '/aside', $there[0] or die "rename: $!";
$db->run_ok('check', { like => qr/on repo1.*on repo2/s, name => 'check sees both' });
$db->run_fail('backup', '--repo=1', { code => 72, like => qr/backup command must be run on the repository host/, name => 'no backup into another host' });
my ($local) = $db->run_ok('backup', '--repo=2', { name => 'a backup into the local one' }) =~ /new backup label = (\S+)/;
is_deeply([ $db->labels ], [ sort($repo->labels, $local // ()) ], 'info lists the backups of both');
$now = row_state($pg);
ok($pg->wait_archived($pg->switch_wal), 'archived');
for my $key (1, 2) {
	restored("from repo$key", "--repo=$key");
	$copy->conf_add("archive_mode = off");
	recovers_whole($copy, $now, "from repo$key") if $key == 2;
}
$copy->stop('immediate') if $copy->running;

# --- the end ---

$pg->stop;
$hosts->quiet('when all is done');
done_testing;
