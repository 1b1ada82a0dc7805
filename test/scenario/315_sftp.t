# A repository on an SFTP server, through a real sshd: whatever works in a folder works there: archiving, full, differential
# and incremental backups with bundles, blocks and encryption, verify, expire, restore, info, check, and removing the stanza.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Digest::SHA qw(sha1_hex);
use PgStrata;
use PgStrata::Cluster;
use PgStrata::Sshd;
use PgStrata::Stanza;
use Test::More;

need_sshd();
my $sshd = PgStrata::Sshd->new;
my $repo = work_dir() . '/r e p o';
my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => ['autovacuum = off']);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => {
	%{$sshd->repo_options(1, $repo)}, 'repo1-retention-full' => 1, 'repo1-bundle' => 'y', 'repo1-block' => 'y',
	'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'a long secret', 'process-max' => 2, 'compress-type' => 'zst',
	'repo1-hardlink' => 'n' } });
my $copy = PgStrata::Cluster->new(name => 'copy', init => 0);

sub label {
	my ($out) = @_;
	return $out =~ /new backup label = (\S+)/ ? $1 : die "no backup\n";
}

sub restored {
	my ($name, @options) = @_;
	$copy->stop('immediate') if $copy->running;
	$copy->remove_data;
	$stanza->run_ok('restore', '--pg1-path=' . $copy->data, '--archive-mode=off', @options, { name => "$name: restore" });
	$copy->start;
	return $copy->wait_promoted if $copy->can('wait_promoted');
	wait_until(sub { $copy->psql('SELECT pg_is_in_recovery()', may_fail => 1) eq 'f' });
}

$pg->archive_to($stanza);
$pg->start;
$stanza->run_ok('stanza-create');
$stanza->run_ok('check');
$pg->psql('CREATE TABLE t AS SELECT id, md5(id::text) AS text FROM generate_series(1, 30000) AS id');
my $full = label($stanza->run_ok('backup', '--type=full'));
ok(-e "$repo/backup/demo/$full/backup.manifest", 'it is where the server put it');
ok(!-l "$repo/backup/demo/latest", 'without a link: the protocol is not asked for one');
$pg->psql("UPDATE t SET text = 'changed' WHERE id < 10");
my $incr = label($stanza->run_ok('backup', '--type=incr', { like => qr/incr backup size/ }));
$pg->psql("INSERT INTO t VALUES (30001, 'only in the WAL')");
my $digest = $pg->psql('SELECT count(*), md5(string_agg(text, \',\' ORDER BY id)) FROM t');
$pg->psql('SELECT pg_switch_wal()');
$stanza->run_ok('check');
$stanza->run_ok('verify', { name => 'verify reads all of it' });
$stanza->run_ok('info', { like => qr/$full.*$incr/s });

restored('newest backup');
is($copy->psql('SELECT count(*), md5(string_agg(text, \',\' ORDER BY id)) FROM t'), $digest,
	'everything is there, up to the last segment');
restored('delta over the same files', '--delta') if full_run();
$copy->stop('immediate');

# --- unbundled, differential, and what retention removes ---

$stanza->set(global => { 'repo1-bundle' => 'n', 'repo1-block' => undef });
$stanza->set(global => { 'repo1-hardlink' => 'y' });
my $plain = label($stanza->run_ok('backup', '--type=full', { name => 'a full backup of single files' }));
ok(!-e "$repo/backup/demo/$full", 'expire removed the older one');
my $diff = label($stanza->run_ok('backup', '--type=diff'));
$stanza->run_ok('verify', '--log-level-console=info');
my @temporary = grep { /\.tmp$/ } keys %{snapshot($repo)};
is("@temporary", '', 'no temporary file is left');

# --- WAL ---

$pg->psql("INSERT INTO t VALUES (30002, 'in the segment that is asked for')");
my ($segment) = $pg->psql('SELECT pg_walfile_name(pg_current_wal_insert_lsn())') =~ /(\S+)/;
my $path = $pg->data . "/pg_wal/$segment";
$pg->psql('SELECT pg_switch_wal()');
ok(wait_until(sub { my @stored = glob "'$repo'/archive/demo/*/*/$segment-*"; @stored > 0 }), "$segment is archived");
my $got = work_dir() . '/got';
$stanza->run_ok('archive-get', $segment, $got);
is(sha1_hex(slurp($got)), sha1_hex(slurp($path)), 'archive-get gives what PostgreSQL wrote');
$stanza->run_ok('archive-push', $path, { name => 'pushed again', like => qr/already exists/ });
$stanza->run_fail('archive-get', '0000000100000000000000F0', $got, { code => 1, name => 'not there' });

# --- the end ---

$pg->stop;
$stanza->run_ok('stop');
$stanza->run_ok('stanza-delete', '--repo=1');
ok(!-e "$repo/backup/demo" && !-e "$repo/archive/demo", 'stanza-delete leaves nothing');
done_testing;
