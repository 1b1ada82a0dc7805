# Lesson A15: a standby is promoted while the repository is away.  When it is back the history file arrives, and the
# segments; `check` fails as long as the archive has WAL of the earlier timeline and does not know how it goes on; a
# restore follows to the new timeline.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Recovery;
use PgStrata::Standby;
use Test::More;

my $pg = PgStrata::Cluster->new(name => 'primary', wal_segsize => 1, conf => [ 'wal_keep_size = 64MB', 'autovacuum = off' ]);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'archive-timeout' => '30s', 'compress-type' => 'lz4' } });
$pg->archive_to($stanza);
$pg->start;
$pg->drop_templates;
$stanza->run_ok('stanza-create');
write_rows($pg, 2);
$stanza->run_ok('backup', '--type=full');
my $repo = $stanza->path('repo');
my ($standby, $its);

# promoted(NAME, OPTION...): a new standby becomes the primary while the repository is away, and archives by
# archive-push with these options.
sub promoted {
	my ($name, @options) = @_;
	$standby = standby_from($stanza, $pg, $name);
	$its = PgStrata::Stanza->new(cluster => $standby, id => $name, options => {
		global => { 'repo1-path' => $repo, 'archive-timeout' => '2s', 'compress-type' => 'lz4' } });
	(my $command = $its->archive_command(@options)) =~ s/'/''/g;
	$standby->conf_add("archive_command = '$command'");
	$standby->reload;
	write_rows($pg, 20);
	ok(caught_up($pg, $standby), "$name follows");
	ok($pg->wait_archived($pg->switch_wal), 'the old primary has archived everything');
	ok(caught_up($pg, $standby), "$name has it");
	$pg->stop;
	rename $repo, "$repo.away" or die "rename: $!";
	$standby->must('pg_ctl', '-D', $standby->data, '-w', '-s', 'promote');
	return $standby->psql('SELECT timeline_id FROM pg_control_checkpoint()');
}

sub fetched_as_on_server {
	my ($name) = @_;
	my $dest = work_dir() . '/fetched';
	unlink $dest;
	$its->run_ok('archive-get', $name, $dest, { dir => '/' });
	ok(-e $dest && slurp($dest) eq slurp($standby->data . "/pg_wal/$name"), "$name is what the server has");
}

for my $mode ('--no-archive-async', '--archive-async') {
	promoted($mode eq '--archive-async' ? 'background' : 'foreground', $mode);
	my $timeline = substr $standby->psql('SELECT pg_walfile_name(pg_current_wal_lsn())'), 0, 8;
	my $history = "$timeline.history";
	write_rows($standby, 20);
	my $segment = $standby->switch_wal;
	ok($standby->wait_sql('SELECT failed_count > 0 FROM pg_stat_archiver', 't'), "$mode: PostgreSQL learns that it is not archived");
	$its->run_fail('check', { name => 'check fails while the repository is away' });

	# back, but without the history file, whoever is to blame
	$standby->conf_add("archive_command = 'false pgstrata'");
	$standby->restart;
	rename "$repo.away", $repo or die "rename: $!";
	my @ready = sort map { m{([^/]+)\.ready$} } glob $standby->data . '/pg_wal/archive_status/*.ready';
	ok((grep { $_ eq $history } @ready), "$history waits: @ready");
	$its->run_ok('--no-archive-async', 'archive-push', $standby->data . "/pg_wal/$_", { name => "$_ pushed by hand" }) for grep { $_ ne $history } @ready;
	my $status = $standby->data . "/pg_wal/archive_status/$history";
	rename "$status.ready", "$status.done" or die "rename: $!";
	(my $command = $its->archive_command($mode)) =~ s/'/''/g;
	$standby->conf_add("archive_command = '$command'");
	$standby->restart;
	$its->run_fail('check', { code => 55, name => 'check fails while there is no history file',
		like => qr/timeline history file '?\Q$history\E'? .*repo1.*HINT: .*archive-push/s });

	rename "$status.done", "$status.ready" or die "rename: $!";
	$standby->restart;
	ok($standby->wait_archived($standby->switch_wal, 90), 'PostgreSQL goes on by itself');
	ok(wait_until(sub { -e "$status.done" }, 60), 'and has archived the history file');
	$its->run_ok('check', { name => 'check is content' });
	fetched_as_on_server($_) for $history, $segment;

	my $state = row_state($standby);
	ok($standby->wait_archived($standby->switch_wal), 'all of it is archived');
	my $restored = PgStrata::Cluster->new(name => "restored-$timeline", init => 0);
	$its->run_ok('restore', '--pg1-path=' . $restored->data, '--archive-mode=off', { name => 'restore of a backup of the first timeline' });
	recovers_whole($restored, $state, 'along the new timeline');
	$restored->stop('immediate');
	($pg, $stanza) = ($standby, $its);
	$stanza->set(global => { 'archive-timeout' => '30s' });
}
$pg->stop;

done_testing();
