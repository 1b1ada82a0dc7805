# On one SFTP server, in both directions: what pgStrata writes the original lists, verifies, fetches, restores and extends,
# and the other way round.  Needs pgbackrest 2.46 or newer, built with libssh2.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Digest::SHA qw(sha1_hex);
use PgStrata;
use PgStrata::Cluster;
use PgStrata::Interop;
use PgStrata::Sshd;
use PgStrata::Stanza;
use Test::More;

need_pgbackrest();
plan(skip_all => 'cannot here: pgbackrest before 2.46 has no SFTP') if !pgbackrest_since('2.46');
need_sshd();

my $sshd = PgStrata::Sshd->new;
my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => ['autovacuum = off']);
my $known = $sshd->repo_options(1, '/x')->{'repo1-sftp-known-host'};
my (%ours, %theirs);
for my $who (qw(ours theirs)) {
	$ours{$who} = PgStrata::Stanza->new(cluster => $pg, id => $who, options => { global => {
		%{$sshd->repo_options(1, work_dir() . "/repo-$who")}, 'repo1-retention-full' => 1, 'repo1-bundle' => 'y',
		'repo1-block' => 'y', 'compress-type' => 'zst', 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'secret',
		'process-max' => 2, 'archive-timeout' => '20s' } });
	$theirs{$who} = $ours{$who}->using(pgbackrest());
}
archive_into($pg, $ours{ours}, $theirs{theirs});
$pg->start;
$ours{ours}->run_ok('stanza-create');
$theirs{theirs}->run_ok('stanza-create');
$theirs{ours}->run_ok('check', { name => 'their check of our stanza' });
$ours{theirs}->run_ok('check', { name => 'our check of their stanza' });
$pg->psql('CREATE TABLE t AS SELECT id, md5(id::text) AS text FROM generate_series(1, 20000) AS id');
drop_templates($pg);

for my $who (qw(ours theirs)) {
	my ($first, $second) = $who eq 'ours' ? ($ours{ours}, $theirs{ours}) : ($theirs{theirs}, $ours{theirs});
	my $full = backup_by($first, '--type=full');
	$pg->psql("UPDATE t SET text = '$who' WHERE id = 7");
	my $incr = backup_by($second, '--type=incr');
	like($incr, qr/^\Q$full\E_\d+-\d+I$/, "$who: the other one goes on from its full backup");
	same_info($ours{$who}, $theirs{$who}, "$who, both backups", "--set=$_") for $full, $incr;
	$_->run_ok('verify', { name => "$who: verify", unlike => qr/invalid|missing: [1-9]/ }) for $ours{$who}, $theirs{$who};
	restore_to($ours{$who}, work_dir() . '/back-ours', '--type=none');
	restore_to($theirs{$who}, work_dir() . '/back-theirs', '--type=none');
	same_tree(restored_tree(work_dir() . '/back-ours'), restored_tree(work_dir() . '/back-theirs'), "$who: both restore the same");
	my ($segment) = sort grep { /^[0-9A-F]{24}$/ } map { m{/([0-9A-F]{24})-[0-9a-f]{40}} ? $1 : '' }
		glob work_dir() . "/repo-$who/archive/demo/*/*/*";
	my @sums;
	for my $stanza ($ours{$who}, $theirs{$who}) {
		unlink work_dir() . '/got';
		$stanza->run_ok('archive-get', $segment, work_dir() . '/got', { name => "$who: archive-get" });
		push @sums, sha1_hex(slurp(work_dir() . '/got'));
	}
	is($sums[0], $sums[1], "$who: the same segment");
	backup_by($second, '--type=full');
	ok(!-e work_dir() . "/repo-$who/backup/demo/$full", "$who: the other one's expire removed it");
	same_info($ours{$who}, $theirs{$who}, "$who, after expire");
}
$pg->stop;
for my $who (qw(ours theirs)) {
	my $one = $who eq 'ours' ? $theirs{ours} : $ours{theirs};
	$one->run_ok('stop');
	$one->run_ok('stanza-delete', '--repo=1', { name => "$who: the other one deletes the stanza" });
	ok(!-e work_dir() . "/repo-$who/backup/demo", 'it is gone');
}
done_testing;
