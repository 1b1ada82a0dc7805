# Lesson A19: a server crashes while a record spans two segments, the first of which may be archived already; what is
# written there after the crash must fit.  The archive never has another content than the server, and recovery goes
# through every crash, to the end and to a point between two of them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Ledger;
use PgStrata::Recovery;
use Test::More;
use Time::HiRes qw(sleep);

my $rounds = deep_run() ? 200 : full_run() ? 24 : 6;
my $pg = PgStrata::Cluster->new(wal_segsize => 1, conf => [ 'wal_keep_size = 8GB', 'autovacuum = off', 'max_wal_size = 1GB',
	'wal_buffers = 64kB', 'wal_writer_delay = 1ms' ]);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => {
	'archive-timeout' => '30s', 'process-max' => 2, 'compress-type' => 'lz4', 'log-level-console' => 'warn' } });
my $ledger = PgStrata::Ledger->new(cluster => $pg, stanza => $stanza, modes => [ ['--no-archive-async'], ['--archive-async'] ]);
$pg->start;
$pg->drop_templates;
$stanza->run_ok('stanza-create');
$stanza->run_ok('backup', '--type=full');

# A record of many segments: while it is written, and the first of them is archived, the server crashes.
sub crash_within_record {
	my ($from) = $pg->psql('SELECT pg_walfile_name(pg_current_wal_lsn())') =~ /^0{7}1(.*)/;
	my $next = sprintf '%08X%08X%08X', 1, hex(substr $from, 0, 8), hex(substr $from, 8) + 2;
	my $writer = spawn_command([ $pg->bin('psql'), qw(-XAtq -U postgres -d postgres -h), $pg->socket_dir, '-p', $pg->port, '-c',
		"SELECT pg_logical_emit_message(false, '', repeat('y', 100000000))" ]);
	my ($postmaster) = slurp($pg->data . '/postmaster.pid') =~ /^(\d+)/;
	my $late = time + 60;
	until (-e $pg->data . "/pg_wal/archive_status/$next.ready" || -e $pg->data . "/pg_wal/archive_status/$next.done") {
		die "no segment $next\n" if time > $late;
		sleep 0.001;
	}
	kill 'QUIT', $postmaster;
	reap($writer);
	wait_until(sub { !-e $pg->data . '/postmaster.pid' || !kill 0, $postmaster }, 60) or die "the server does not end\n";
	$pg->start;
}

$ledger->open_books(1);
my @points;
for my $round (1 .. $rounds) {
	my $commits = $ledger->entries;
	ok(wait_until(sub { $ledger->entries > $commits + 3 }, 60), "round $round: the writer goes on");
	push @points, "crash$round";
	$ledger->point($points[-1]);
	crash_within_record();
}
$ledger->weather(calm => 2);
ok($ledger->close_books, 'everything is archived');
my @archived = $ledger->archived;
diag("$rounds crashes, " . @archived . ' files archived');
$pg->stop;

is_deeply([ $ledger->lines('odd') ], [], 'no segment was archived before it had its last content');
is_deeply([ $ledger->wrong_files($stanza) ], [], 'the archive has what the server has');

my $restored = PgStrata::Cluster->new(name => 'r', init => 0);
$stanza->set_cluster($restored);
sub recovered {
	my ($name, $point, @options) = @_;
	mkdir $restored->data, 0700 or die "mkdir: $!";
	$stanza->run_ok('restore', '--archive-mode=off', @options, { name => "restore $name" });
	$restored->start;
	$restored->wait_for_recovery_end;
	my @wrong = $ledger->wrong_rows($restored, $point);
	ok(!@wrong, "$name: every acknowledged commit up to there, and none of later") or diag(join "\n", splice @wrong, 0, 20);
	$restored->stop('immediate');
	$restored->remove_data;
}
recovered('through every crash');
my $cut = () = $restored->log_text =~ /successfully skipped missing contrecord/g;
diag("$cut crashes cut a record");
# about one crash in ten does: a few prove nothing
cmp_ok($cut, '>', 0, 'a record was cut by a crash') if $rounds >= 200;
my $middle = $points[@points / 2];
recovered("to $middle", $middle, '--type=name', "--target=$middle", '--target-action=promote');

done_testing();
