# The folder archive/<stanza>/<archive id>/pgstrata/, in which notes of dropped WAL are: all commands of the original
# that work on a repository go their way as if it were not there and leave it alone, stanza-delete removes it, and so
# do ours.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Copy qw(cp);
use File::Path qw(make_path);
use PgStrata;
use PgStrata::Interop;
use Test::More;

need_pgbackrest();

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => ['autovacuum = off']);
my $ours = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'compress-type' => 'lz4', 'repo1-retention-full' => 1 } });
my $theirs = $ours->using(pgbackrest());
my $repo = $ours->path('repo');
archive_into($pg, $ours);
$pg->start;

sub notes { return glob "$repo/archive/demo/*/pgstrata/gap/*.json" }

# A segment far ahead is dropped, and the next push brings the note.
sub drop_one {
	my ($number) = @_;
	my ($some) = glob $pg->data . '/pg_wal/' . '?' x 24;
	my $name = sprintf '00000001000000A0%08X', $number;
	my $dir = work_dir() . '/wal';
	make_path("$dir/archive_status");
	cp($some, "$dir/$name") or die "cp: $!";
	spew("$dir/archive_status/$name.ready");
	$ours->run_ok('archive-push', '--archive-push-queue-max=0B', "$dir/$name", { like => qr/WARN: dropped WAL file '$name'/, name => "drop $name" });
	unlink glob("$dir/archive_status/*"), glob("$dir/0*");
	$pg->psql("SELECT pg_create_restore_point('something to switch')");
	ok($pg->wait_archived($pg->switch_wal), 'the next push succeeds');
	return $name;
}

sub round {
	my ($deleter, $who) = @_;
	$ours->run_ok('stanza-create', { name => "$who: stanza-create" });
	my $full = backup_by($ours, '--type=full');
	drop_one(1);
	is(scalar(() = notes()), 1, 'there is a note');
	my ($mine) = @{$ours->info};
	my ($other) = @{$theirs->info};
	is_deeply($mine->{$_}, $other->{$_}, "their info tells the same as ours: $_") for qw(archive backup);
	$theirs->run_ok('check', { name => 'their check' });
	backup_by($theirs, '--type=incr');
	backup_by($theirs, '--type=full');
	$theirs->run_ok('expire', { name => 'their expire' });
	is(scalar(() = notes()), 1, 'the note is still there');
	$ours->run_ok('check', { like => qr/WARN: repo1: WAL file 00000001000000A000000001 was dropped/, name => 'our check' });
	$ours->run_fail('verify', { code => 104, name => 'our verify tells of it, and finds nothing else',
		like => qr/was dropped by archive-push on .*repo1 is not all right: 1 finding/s });
	$ours->run_ok('expire', { name => 'our expire' });
	is(scalar(() = notes()), 1, 'our expire leaves what is still wanted');
	$pg->stop;
	$deleter->run_ok('stop', { name => "$who: stop" });
	$deleter->run_ok('stanza-delete', { name => "$who: stanza-delete" });
	ok(!-e "$repo/archive/demo", "$who: nothing is left of the archive");
	$deleter->run_ok('start', { name => "$who: start" });
}

round($theirs, 'they');
$pg->start;
round($ours, 'we');

done_testing();
