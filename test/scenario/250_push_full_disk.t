# A full disk under the repository or under the restored cluster: each command says on what it failed and why, leaves
# nothing that looks finished, and can simply be run again when there is room.
#
# Needs a small file system (24 MiB) in $PGS_SMALL; test/run.sh mounts one when it is root.
use strict;
use warnings;
use FindBin;
my $small;
BEGIN { $small = $ENV{PGS_SMALL} } # PgStrata removes what looks like PostgreSQL's
use lib "$FindBin::Bin/../lib";
use Digest::SHA qw(sha1_hex);
use File::Path qw(remove_tree);
use PgStrata;
use PgStrata::Recovery;
use Test::More;

defined $small && -d $small && -w $small
	or plan(skip_all => 'cannot here: no small file system in PGS_SMALL (test/run.sh as root mounts one)');
my $room = "$small/t$$";
mkdir $room or die "mkdir $room: $!";
PgStrata::at_end(sub { remove_tree($room) });

# Fill the file system but for so many kB; none: empty it again.
sub leave_free {
	my ($kilobytes) = @_;
	unlink "$room/ballast";
	return unless defined $kilobytes;
	open(my $out, '>:raw', "$room/ballast") or die "ballast: $!";
	my $size = 0;
	while ((my $wrote = syswrite($out, "\0" x 65536)) // 0) {
		$size += $wrote;
	}
	$!{ENOSPC} or die "ballast: $!";
	truncate($out, $size - 1024 * $kilobytes) or die "truncate: $!";
}

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1,
	conf => ['autovacuum = off', 'wal_keep_size = 64MB', 'min_wal_size = 2MB', 'max_wal_size = 4MB']);
my $stanza = PgStrata::Stanza->new(cluster => $pg,
	options => { global => { 'repo1-path' => "$room/repo", 'archive-timeout' => '5s' } });
my $elsewhere = PgStrata::Stanza->new(cluster => $pg, id => 'e');
mkdir "$room/repo";
my $push = $elsewhere->archive_command . ' && ' . $stanza->archive_command('--compress-type=none');
$pg->conf_add('archive_mode = on', "archive_command = '" . $push =~ s/'/''/gr . "'");
$pg->start;

# A smaller cluster, so that it has room where it is to be restored.
$pg->psql("UPDATE pg_database SET datistemplate = false WHERE datname = 'template0'");
$pg->psql('DROP DATABASE template0');
$_->run_ok('stanza-create') for $elsewhere, $stanza;

sub stored { return snapshot("$room/repo") }
sub temporary { return grep { /tmp/ } keys %{stored()} }

# All segments are what their names say.
sub whole_segments {
	my @wrong = grep { m{-([0-9a-f]{40})$} && sha1_hex(slurp($_)) ne $1 } glob "$room/repo/archive/demo/*/*/*";
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is_deeply(\@wrong, [], 'no segment is half written');
}

# Push until there is no room.
leave_free(3000);
my $before = $pg->psql('SELECT failed_count FROM pg_stat_archiver');
write_rows($pg, 80);
$pg->switch_wal;
ok($pg->wait_sql("SELECT failed_count > $before FROM pg_stat_archiver", 't'), 'PostgreSQL learns that a push failed');
like($pg->log_text, qr{unable to \w+ .*$room/repo/archive/.*No space left on device}, 'the log says where and why');
whole_segments();
my @ready = sort map { m{([0-9A-F]{24})\.ready$} } glob $pg->data . '/pg_wal/archive_status/*.ready';
cmp_ok(scalar @ready, '>', 0, 'PostgreSQL keeps the segments: ' . @ready);
my $segment = $pg->data . "/pg_wal/$ready[0]";
is(-s $segment, 1 << 20, 'the first of them is there');

# The archiver tries again in between: by hand, and with one that it does not try.
my $later = $pg->data . "/pg_wal/$ready[-1]";
$stanza->run_fail('archive-push', '--compress-type=none', $later,
	{ code => 104, like => qr{\[FileWriteError\] .*\Q$room/repo/archive/demo\E.*No space left on device} });
ok(wait_until(sub { !temporary() }, 20), 'nothing temporary is left') or diag(temporary());
is_deeply([ glob "$room/repo/archive/demo/*/*/$ready[-1]-*" ], [], 'nor anything under the final name');
leave_free();
$stanza->run_ok('archive-push', '--compress-type=none', $later);
my $end = $pg->switch_wal;
ok($pg->wait_archived($end, 90), 'with room again PostgreSQL goes on by itself');
whole_segments();
is(scalar(() = glob "$room/repo/archive/demo/*/*/$_-*"), 1, "$_ is stored once") for $ready[0], $ready[-1];

# The same for a backup.
leave_free(2000);
$stanza->run_fail('backup', '--type=full', '--compress-type=zst',
	{ like => qr{$room/repo/.*No space left on device} });
is_deeply([ $stanza->labels ], [], 'a backup that failed is not listed');
is_deeply([ grep { /\.info/ && !-s "$room/repo/$_" } keys %{stored()} ], [], 'no info file is empty');
leave_free();
$stanza->run_ok('backup', '--type=full', '--compress-type=zst');
is(scalar(my @labels = $stanza->labels), 1, 'the next one is listed');
ok($pg->wait_archived($pg->switch_wal), 'and the archive goes on');

# Is that backup whole?
my $state = row_state($pg);
my $restored = PgStrata::Cluster->new(name => 'r', init => 0);
mkdir $restored->data, 0700;
my $options = sub { '--pg1-path=' . $_[0]->data };
$stanza->run_ok('restore', $options->($restored), '--archive-mode=off');
recovers_whole($restored, $state, 'the backup made after the full disk');
$restored->stop('immediate');

# The same for a restore.
$elsewhere->run_ok('backup', '--type=full', '--compress-type=zst');
$pg->psql('TRUNCATE numbered; ALTER SEQUENCE numbered_id_seq RESTART');
write_rows($pg, 3);
$elsewhere->run_ok('backup', '--type=full', '--compress-type=zst');
$state = row_state($pg);
ok($pg->wait_archived($pg->switch_wal), 'a small cluster is backed up elsewhere');
$pg->stop;
remove_tree("$room/repo");
my $target = PgStrata::Cluster->new(name => 't', init => 0, data => "$room/t");
mkdir $target->data, 0700 or die "mkdir: $!";
leave_free(6000);
my @restore = ('restore', $options->($target), '--archive-mode=off');
$elsewhere->run_fail(@restore, { like => qr{$room/t/.*No space left on device} });
leave_free();
ok(!$target->start(may_fail => 1), 'what a failed restore leaves does not start');
$elsewhere->run_fail(@restore, { code => 40 });
$elsewhere->run_ok(@restore, '--delta');
recovers_whole($target, $state, 'after restore --delta');
$target->stop;

done_testing();
