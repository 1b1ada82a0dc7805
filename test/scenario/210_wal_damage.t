# Promise P2 on live servers: whatever is wrong with a segment in the archive, PostgreSQL is not promoted without the
# rows behind it.  It stops, and after the segment is as it was, the same start recovers everything.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Copy qw(move);
use File::Path qw(remove_tree);
use PgStrata;
use PgStrata::Recovery;
use Test::More;

my @codecs = (qw(none zst lz4), full_run() ? 'gz' : ());
my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => ['autovacuum = off']);
my %archive = map {
	$_ => PgStrata::Stanza->new(cluster => $pg, id => $_, options => { global => { 'compress-type' => $_ } })
} @codecs;

# Each segment goes to one archive of each codec; the backup is only in the first.
my $push = join ' && ', map { $archive{$_}->archive_command } @codecs;
$pg->conf_add('archive_mode = on', "archive_command = '" . $push =~ s/'/''/gr . "'");
$pg->start;
$archive{$_}->run_ok('stanza-create', { name => "stanza-create for $_" }) for @codecs;
write_rows($pg, 1);
$archive{none}->run_ok('backup', '--type=full');
write_rows($pg, 80);
my $state = row_state($pg);
ok($pg->wait_archived($pg->switch_wal), 'all rows are archived');
$pg->stop;

my @segments = wal_names($archive{none});
cmp_ok(scalar @segments, '>', 7, 'over many segments: ' . @segments);
is_deeply([ wal_names($archive{$_}) ], \@segments, "the archive of $_ has the same segments") for @codecs;

# One restored cluster, copied for each case; its configuration says which archive it recovers from.
my $restored = PgStrata::Cluster->new(name => 'r', init => 0);
my $get = PgStrata::Stanza->new(cluster => $restored, id => 'r',
	options => { global => { 'repo1-path' => $archive{none}->path('repo'), 'archive-timeout' => '100ms' } });
mkdir $restored->data, 0700 or die "mkdir: $!";
$get->run_ok('restore', '--archive-mode=off');
my $template = work_dir() . '/template';
rename $restored->data, $template or die "rename: $!";

my ($middle, $last) = (@segments[int(@segments / 2), -1]);

sub try_case {
	my ($codec, $how, $segment) = @_;
	my $name = "$codec: $segment, $how";
	my ($file) = stored_wal($archive{$codec}, $segment);
	my ($other) = stored_wal($archive{$codec}, $segments[2]);
	my $dir = work_dir() . '/kept';
	my $folder = $file =~ s{/[^/]*$}{}r;
	copy_tree($template, $restored->data);
	copy_tree($folder, $dir);
	$get->set(global => { 'repo1-path' => $archive{$codec}->path('repo') });

	$wal_damage{$how}->($file, $other);
	stops_in_recovery($restored, $name, like => qr/ERROR: \[\d{3}\]: (?:.*\n +)*.*$segment/);
	run_command([ 'chmod', '-R', 'u+rwX', $folder ]);
	remove_tree($folder);
	move($dir, $folder) or die "move: $!";
	recovers_whole($restored, $state, $name);
	$restored->stop('immediate') if $restored->running;
	$restored->remove_data;
}

# Every damage, each with another codec in the short run.  The last segment of an archive: nobody can know that a
# missing one existed, but a damaged one did.
srand(210);
my @how = sort keys %wal_damage;
for my $number (0 .. $#how) {
	try_case($_, $how[$number], $middle) for full_run() ? @codecs : $codecs[$number % @codecs];
	try_case($codecs[($number + 1) % @codecs], $how[$number], $last) if full_run() && $how[$number] ne 'missing';
}
try_case('zst', 'a flipped bit', $last);
try_case('lz4', 'empty', $last);

done_testing();
