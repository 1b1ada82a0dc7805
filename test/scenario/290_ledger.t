# Promises P1 and P2 in one journey: writers record each commit that was acknowledged to them, while pushes, in the
# foreground and in the background by turns, are killed, stopped and continued, run against a full disk and against
# folders that cannot be written, and the server itself crashes.  Afterwards each file that PostgreSQL was told to be
# archived can be fetched and is what the server had, and recovery to the end and to named points holds every
# acknowledged commit up to there, and none of later.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use List::Util qw(shuffle);
use PgStrata;
use PgStrata::Ledger;
use PgStrata::Recovery;
use Test::More;

my $rounds = deep_run() ? 30 : full_run() ? 5 : 1;
my $pg = PgStrata::Cluster->new(wal_segsize => 1, conf => [ 'wal_keep_size = 8GB', 'autovacuum = off', 'max_wal_size = 1GB' ]);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => {
	'archive-timeout' => '5s', 'process-max' => 2, 'log-level-console' => 'warn' } });
my @second;
if (full_run()) {
	mkdir $stanza->path('repo2');
	$stanza->set(global => { 'repo2-path' => $stanza->path('repo2') });
	@second = '--repo=2';
}
my $ledger = PgStrata::Ledger->new(cluster => $pg, stanza => $stanza, modes => [ ['--no-archive-async'], ['--archive-async'] ]);
$pg->start;
$pg->drop_templates;
$stanza->run_ok('stanza-create');
$pg->psql('CREATE TABLE numbered (id int)');
$stanza->run_ok('backup', '--type=full', '--archive-timeout=60', '--repo=1');

$ledger->open_books(2);
my @points;
for my $round (1 .. $rounds) {
	for my $weather (shuffle(qw(kill unwritable full slow))) {
		$ledger->weather($weather, 10);
		$ledger->weather(calm => 6) if rand(2) < 1;
		push @points, "$weather$round";
		$ledger->point($points[-1]);
	}
	$ledger->weather(kill => 12);
	$pg->restart('immediate');
}
$ledger->weather(calm => 2);
ok($ledger->close_books, 'everything is archived in the end') or diag("SEED=$ledger->{seed}");
$pg->stop;

my @suffered = $ledger->lines('suffered');
my %ends;
$ends{$_}++ for @suffered;
diag(join ', ', map { "$_: $ends{$_}" } sort keys %ends);
my $commits = $ledger->entries;
cmp_ok($commits, '>', 100 * $rounds, "acknowledged commits: $commits");
cmp_ok(scalar(grep { !/ 0$/ } @suffered), '>', 10 * $rounds, 'the weather was bad enough');
is_deeply([ $ledger->lines('odd') ], [], 'no program ended oddly, and no file was given with two contents');
my @archived = $ledger->archived;
cmp_ok(scalar @archived, '>', 20 * $rounds, 'files archived: ' . @archived);
is_deeply([ $ledger->wrong_files($stanza) ], [], 'each can be fetched, and is what the server had');
is_deeply([ $ledger->wrong_files($stanza, @second) ], [], 'the second repository has them too') if @second;
my @segments = grep { /^[0-9A-F]{24}$/ } @archived;
is_deeply([ wal_names($stanza) ], \@segments, 'the archive has each segment, and once');
ok(wait_until(sub { !$ledger->processes }, 60), 'nothing works on in the background');

my $restored = PgStrata::Cluster->new(name => 'r', init => 0);
$stanza->set_cluster($restored);

# recovered(NAME, POINT, OPTION...): every commit up to this point, or to the end.
sub recovered {
	my ($name, $point, @options) = @_;
	if (-e $restored->data) {
		$restored->stop('immediate');
		$restored->remove_data;
	}
	mkdir $restored->data, 0700 or die "mkdir: $!";
	$stanza->run_ok('restore', '--archive-mode=off', @options, { name => "restore $name" });
	$restored->start;
	$restored->wait_for_recovery_end;
	my @wrong = $ledger->wrong_rows($restored, $point);
	ok(!@wrong, "$name: every acknowledged commit up to there, and none of later")
		or diag(join "\n", "SEED=$ledger->{seed}", splice @wrong, 0, 20);
}

recovered('to the end');
for my $point (full_run() ? @points : $points[rand @points]) {
	$stanza->set(global => { 'archive-async' => rand(2) < 1 ? 'y' : 'n' });
	recovered("to $point", $point, '--type=name', "--target=$point", '--target-action=promote');
	cmp_ok(scalar $ledger->wrong_rows($restored), '>', 0, 'which the books know from the end');
}
$stanza->run_ok('verify', { name => 'and verify finds nothing wrong' });

done_testing();
