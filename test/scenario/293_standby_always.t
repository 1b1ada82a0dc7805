# WAL from a standby with archive_mode=always: it pushes the same segments as the primary, in any order; duplicates are
# proven equal, never stored twice, and either server may be lost at any time.  `check` refuses such a mode unless
# archive-mode-check=n.  At promotion the last segment of the old timeline is archived as .partial: it can be fetched by
# that name, and is never delivered for the name without.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Recovery;
use PgStrata::Standby;
use Test::More;

my $options = { 'archive-timeout' => '30s', 'compress-type' => 'lz4' };
my $pg = PgStrata::Cluster->new(name => 'primary', wal_segsize => 1, conf => [ 'wal_keep_size = 64MB', 'autovacuum = off' ]);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => $options });
$pg->archive_to($stanza);
$pg->start;
$pg->drop_templates;
$stanza->run_ok('stanza-create');
write_rows($pg, 2);
$stanza->run_ok('backup', '--type=full');

my $standby = standby_from($stanza, $pg, 'standby');
my $its = PgStrata::Stanza->new(cluster => $standby, id => 'its', options => {
	global => { %$options, 'repo1-path' => $stanza->path('repo') } });

# mode(CLUSTER, STANZA, ARCHIVE_MODE, OPTION...): archives like this from here on.
sub mode {
	my ($cluster, $of, $mode, @options) = @_;
	(my $command = $of->archive_command(@options)) =~ s/'/''/g;
	$cluster->conf_add("archive_mode = $mode", "archive_command = '$command'");
	$cluster->restart;
}

# Nothing on this server waits for its archiver.
sub all_archived {
	my ($cluster) = @_;
	return wait_until(sub { !glob $cluster->data . '/pg_wal/archive_status/*.ready' }, 60);
}

sub stored_once {
	my ($name) = @_;
	my %times;
	$times{$_}++ for wal_names($stanza);
	is_deeply([ grep { $times{$_} > 1 } sort keys %times ], [], "$name: no segment is stored twice");
}

for my $option ('--no-archive-async', '--archive-async') {
	mode($standby, $its, 'always', $option);
	mode($pg, $stanza, 'on', $option);
	my $pushed = () = $standby->log_text =~ /pushed WAL file/g;
	my $last;
	$last = (write_rows($pg, 20), $pg->switch_wal)[1] for 1 .. 2;
	ok(caught_up($pg, $standby), "$option: the standby follows");
	ok($pg->wait_archived($last) && all_archived($standby), 'both have archived') or diag($standby->log_tail);
	ok((grep { $_ eq $last } wal_names($stanza)), "$last is there");
	cmp_ok(scalar(() = $standby->log_text =~ /pushed WAL file/g), '>', $pushed, 'the standby has pushed too');
	stored_once($option);
	unlike($pg->log_text . $standby->log_text, qr/different checksum|archive command failed/, 'and nobody was refused');
}

# The primary does not archive at all: the standby alone keeps the archive whole.
$pg->conf_add("archive_command = ''");
$pg->reload;
write_rows($pg, 40);
my $alone = $pg->switch_wal;
ok(caught_up($pg, $standby), 'the standby follows');
ok(wait_until(sub { grep { $_ eq $alone } wal_names($stanza) }, 60), 'a standby alone archives') or diag($standby->log_tail);

# What check says.
mode($pg, $stanza, 'always', '--no-archive-async');
$stanza->run_fail('check', { code => 67, like => qr/\[067\]: archive_mode=always not supported/ });
$stanza->run_ok('check', '--no-archive-mode-check', { like => qr/successfully archived/ });
$stanza->run_fail('backup', '--type=full', { code => 67, name => 'a backup refuses always too' });
$stanza->run_ok('backup', '--type=full', '--no-archive-mode-check', { name => 'and takes it on demand' });

# Promotion in the middle of a segment: .partial.
mode($standby, $its, 'on', '--no-archive-async');
write_rows($pg, 25);
ok(caught_up($pg, $standby), 'the standby follows');
my $cut = $standby->psql("SELECT pg_walfile_name(pg_current_wal_flush_lsn())", may_fail => 1)
	// $pg->psql('SELECT pg_walfile_name(pg_current_wal_lsn())');
$pg->stop('immediate');
$standby->must('pg_ctl', '-D', $standby->data, '-w', '-s', 'promote');
write_rows($standby, 3);
my $state = row_state($standby);
ok($standby->wait_archived($standby->switch_wal) && all_archived($standby), 'the new primary has archived everything');
my $dest = work_dir() . '/fetched';
ok(!-e $standby->data . "/pg_wal/$cut" && -e $standby->data . "/pg_wal/$cut.partial", "$cut is partial on the server");
$its->run_ok('archive-get', "$cut.partial", $dest, { dir => '/' });
ok(slurp($dest) eq slurp($standby->data . "/pg_wal/$cut.partial"), 'fetched by its name');
unlink $dest;
my ($code) = $its->run('archive-get', '--archive-timeout=100ms', $cut, $dest, { dir => '/' });
ok($code != 0 && !-e $dest, "and never for the name without: exit $code");
$its->run_ok('archive-push', $standby->data . "/pg_wal/$cut.partial", { like => qr/already exists .* same checksum/ });
spew($dest, slurp($standby->data . "/pg_wal/$cut.partial"));
rename $dest, work_dir() . "/$cut.partial" or die "rename: $!";
flip_bit(work_dir() . "/$cut.partial", 500_000);
$its->run_fail('archive-push', work_dir() . "/$cut.partial", { code => 45, name => 'another content is refused' });

my $restored = PgStrata::Cluster->new(name => 'r', init => 0);
$its->run_ok('restore', '--pg1-path=' . $restored->data, '--archive-mode=off');
recovers_whole($restored, $state, 'along both timelines');

done_testing();
