# Segments of 1 MiB and 64 MiB (in long runs 1 GiB) through push and get, in the foreground and in the background; a
# size that is not the server's is refused; what archive-header-check=n and archive-check=n leave out, and what not.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Compare qw(compare);
use File::Copy qw(copy);
use PgStrata;
use PgStrata::Recovery;
use Test::More;

# sized(MiB): a server with such segments, and its stanza.
sub sized {
	my ($size) = @_;
	my $pg = PgStrata::Cluster->new(name => "of$size", wal_segsize => $size, conf => [ 'autovacuum = off', 'min_wal_size = '
		. 2 * $size . 'MB', 'max_wal_size = ' . 4 * $size . 'MB', 'wal_keep_size = ' . (64 + 3 * $size) . 'MB' ]);
	my $stanza = PgStrata::Stanza->new(cluster => $pg, id => "of$size", options => { global => {
		'archive-timeout' => $size > 64 ? '300s' : '60s', 'compress-type' => 'lz4', 'archive-get-queue-max' => 3 * $size . 'MiB' } });
	$pg->archive_to($stanza);
	$pg->start;
	$pg->drop_templates;
	$stanza->run_ok('stanza-create', { name => "$size MiB" });
	return ($pg, $stanza);
}

sub same_as_server {
	my ($pg, $stanza, $name, @options) = @_;
	my $dest = $pg->data . '/pg_wal/RECOVERYXLOG';
	$stanza->run_ok(@options, 'archive-get', $name, $dest, { name => "archive-get @options" });
	is(compare($dest, $pg->data . "/pg_wal/$name"), 0, "$name is what the server has");
	unlink $dest;
}

for my $size (1, 64, full_run() ? 1024 : ()) {
	my ($pg, $stanza) = sized($size);
	write_rows($pg, 5);
	$stanza->run_ok('backup', '--type=full', { name => "a backup with $size MiB" });
	my @names;
	for my $async ('n', 'y') {
		$stanza->set(global => { 'archive-async' => $async });
		write_rows($pg, $size > 1 ? 30 : 40);
		push @names, $pg->switch_wal;
		ok($pg->wait_archived($names[-1], 240), "$size MiB, archive-async=$async: $names[-1] is archived") or diag($pg->log_tail);
	}
	for my $async (qw(n y)) {
		same_as_server($pg, $stanza, $_, $async eq 'y' ? '--archive-async' : '--no-archive-async') for @names;
	}
	$stanza->run_ok('check', { name => "check with $size MiB" });
	my $state = row_state($pg);
	my $restored = PgStrata::Cluster->new(name => "r$size", init => 0);
	ok($pg->wait_archived($pg->switch_wal, 240), 'all of it is archived');
	$pg->stop;
	$stanza->set_cluster($restored);
	$stanza->run_ok('restore', '--archive-mode=off', { name => "restore with $size MiB" });
	recovers_whole($restored, $state, "$size MiB, get in the background");
	$restored->stop('immediate');
}

# --- what the options leave out ---

my $pg = PgStrata::Cluster->new(name => 'options', wal_segsize => 1, conf => [ 'wal_keep_size = 64MB', 'autovacuum = off',
	'archive_mode = on', "archive_command = 'true'" ]);
my $stanza = PgStrata::Stanza->new(cluster => $pg, id => 'options', options => { global => { 'archive-timeout' => '1s', 'compress-type' => 'gz' } });
$pg->start;
$stanza->run_ok('stanza-create');
my @names = map { $pg->psql("SELECT pg_logical_emit_message(false, '', 'x')"); $pg->switch_wal } 1 .. 3;
my $foreign = work_dir() . '/foreign';
mkdir $foreign;
my $content = slurp($pg->data . "/pg_wal/$names[0]");
my %changed = (
	'another magic' => [ 46, sub { substr $_[0], 0, 2, "\x34\x12" } ],
	'another system id' => [ 44, sub { substr $_[0], 24, 8, "\x01" x 8 } ],
);
my $number = 0;
for my $what (sort keys %changed) {
	my ($code, $change) = @{ $changed{$what} };
	my $name = $names[$number++];
	my $bytes = slurp($pg->data . "/pg_wal/$name");
	$change->($bytes);
	spew("$foreign/$name", $bytes);
	$stanza->run_fail('archive-push', "$foreign/$name", { code => $code, name => "$what is refused" });
	$stanza->run_ok('--no-archive-header-check', 'archive-push', "$foreign/$name", { name => "$what is taken with archive-header-check=n" });
	my $dest = work_dir() . '/fetched';
	unlink $dest;
	my ($got) = $stanza->run('archive-get', $name, $dest, { dir => '/' });
	ok($got != 0 && !-e $dest, "and delivered only so: exit $got");
	$stanza->run_ok('--no-archive-header-check', 'archive-get', $name, $dest, { dir => '/', name => 'with the same option' });
	is(compare($dest, "$foreign/$name"), 0, 'byte for byte');
	my ($stored) = stored_wal($stanza, $name);
	(my $other = $stored) =~ s/-[0-9a-f]{40}/'-' . 'a' x 40/e;
	rename $stored, $other or die "rename: $!";
	$stanza->run_fail('--no-archive-header-check', 'archive-get', $name, $dest, { dir => '/',
		name => 'but not with another hash than that of its name' });
	rename $other, $stored or die "rename: $!";
}

# archive-check=n leaves out what is said about the settings; check still proves that WAL arrives.
$stanza->run_fail('check', { code => 68, name => 'a foreign archive_command' });
$stanza->run_fail('check', '--no-archive-check', { code => 82, name => 'archive-check=n: the segment is waited for all the same',
	like => qr/was not archived before the 1000ms timeout/ });
$stanza->run_fail('backup', '--type=full', { code => 68, name => 'a backup looks at the settings' });
$stanza->run_ok('backup', '--type=full', '--no-archive-check', { name => 'archive-check=n: and waits for no WAL',
	unlike => qr/check archive for/ });
$stanza->run_fail('backup', '--type=full', '--no-archive-check', '--archive-copy', { name => 'WAL that is not waited for cannot be copied' });

done_testing();
