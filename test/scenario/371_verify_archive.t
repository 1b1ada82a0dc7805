# verify --archive: the archive held against the running cluster.  Each state is produced for real: archiving that waits,
# segments that are gone from one repository or all, a server that was promoted elsewhere, WAL that retention removed.
# Exit codes are 0, 1 and 2 as the report says OK, WARNING and FAILURE; the JSON has the keys of WAL-G's wal-verify and
# no others; what cannot be asked is an error and never OK.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use JSON::PP ();
use POSIX ();
use PgStrata;
use PgStrata::Recovery;
use PgStrata::Standby;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1, conf => [ 'autovacuum = off', 'max_wal_senders = 4' ]);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => {
	'repo2-path' => work_dir() . '/repo two', 'repo2-retention-full' => 9, 'repo1-retention-full' => 9,
	'repo2-cipher-type' => 'aes-256-cbc', 'repo2-cipher-pass' => 'open sesame', 'archive-check' => 'n' } });
my $hold = held_archiving($pg, $stanza);
$pg->start;
$pg->drop_templates;
$stanza->run_ok('stanza-create');

# The report as JSON, and a test point on the exit code and its form.
sub report {
	my ($code, $name, @options) = @_;
	my ($is, $out, $err) = $stanza->run('verify', '--archive', '--output=json', @options);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($is, $code, "$name: exit $code") or diag("$out$err");
	my $x = eval { JSON::PP->new->utf8->decode($out) } // {};
	is_deeply([ map { sort keys %$_ } $x, @$x{qw(integrity timeline)}, $x->{timeline}{details} ],
		[ qw(integrity timeline), qw(details status) x 2, qw(current_timeline_id highest_storage_timeline_id) ],
		"$name: the keys of the report") or diag("$out$err");
	my @bad = grep { join(' ', sort keys %$_) ne 'end_segment segments_count start_segment status timeline_id' }
		@{ $x->{integrity}{details} };
	ok(!@bad, "$name: the keys of each row");
	like($out, qr/"timeline_id":\d+,"start_segment":"[0-9A-F]{24}","end_segment":"[0-9A-F]{24}","segments_count":\d+,/,
		"$name: numbers are numbers") if @{ $x->{integrity}{details} // [] };
	return $x;
}

# Rows as text: "FOUND 1 3-7" by number of segments.
sub number { return hex(substr $_[0], 16) }
sub rows {
	my ($x) = @_;
	return join ', ', map { sprintf '%s %d %d-%d', $_->{status}, $_->{timeline_id}, number($_->{start_segment}),
		number($_->{end_segment}) } @{ $x->{integrity}{details} };
}
sub counts_fit {
	my ($x) = @_;
	return !grep { $_->{segments_count} != number($_->{end_segment}) - number($_->{start_segment}) + 1 }
		@{ $x->{integrity}{details} };
}

my $last;
sub archived {
	$pg->psql('CREATE TABLE IF NOT EXISTS filler (n int); INSERT INTO filler VALUES (1)');
	$last = number($pg->switch_wal);
	return $last;
}
sub settle { $pg->wait_archived(sprintf '%08X%08X%08X', 1, 0, $last) or die "nothing is archived\n" . $pg->log_tail }
sub name_of { return sprintf '%08X%08X%08X', $_[1] // 1, 0, $_[0] }
sub stored {
	my ($repo, $number, $timeline) = @_;
	my $root = $repo == 1 ? $stanza->path('repo') : work_dir() . '/repo two';
	my $name = name_of($number, $timeline);
	my $dir = "$root/archive/demo/" . $pg->version . '-1/' . substr($name, 0, 16);
	opendir(my $in, $dir) or return ();
	return map { "$dir/$_" } grep { /^$name-/ } readdir $in;
}

# --- no backup: from segment 1 ---

# initdb has written segments before anybody archived: without a backup they are missed.
my $begun = number($pg->psql('SELECT pg_walfile_name(pg_current_wal_lsn())'));
archived() for 1 .. 3;
settle();
my $x = report($begun > 1 ? 2 : 0, 'no backup');
is(rows($x), ($begun > 1 ? 'MISSING_LOST 1 1-' . ($begun - 1) . ', ' : '') . "FOUND 1 $begun-$last",
	'no backup: from segment 1 to the last complete one');
ok(counts_fit($x), 'no backup: counts fit');
is_deeply($x->{timeline}, { status => 'OK', details => { current_timeline_id => 1, highest_storage_timeline_id => 1 } },
	'no backup: the timeline');

# --- a backup: from its start ---

$stanza->run_ok('backup', '--type=full', "--repo=$_", { name => "backup to repo$_" }) for 1, 2;
my $backup = (grep { $_->{database}{'repo-key'} == 1 } @{ $stanza->info->[0]{backup} })[0];
my $start = number($backup->{archive}{start});
archived() for 1, 2;
settle();
is(rows(report(0, 'backup')), "FOUND 1 $start-$last", 'backup: from the start of the oldest');
$stanza->run_ok('verify', '--archive', { name => 'the table for people',
	like => qr/integrity: OK\n.*FOUND\ntimeline: OK\n +current timeline of the cluster: 1\n +highest timeline in storage: 1/s });
my ($code, $out) = $stanza->run('verify', '--archive', '--output=none', '--log-level-console=off');
is("$code:$out", '0:', '--output=none says nothing on stdout');

# --- archiving that waits ---

spew($hold);
my $held = archived();
archived() for 1, 2;
$x = report(1, 'archiving waits');
is(rows($x), "FOUND 1 $start-" . ($held - 1) . ", MISSING_UPLOADING 1 $held-$last", 'archiving waits: ready and young');
is($x->{integrity}{status}, 'WARNING', 'archiving waits: a warning');
utime time - 3600, time - 3600, $pg->data . '/pg_wal/archive_status/' . name_of($held) . '.ready' or die "utime: $!";
is(rows(report(1, 'archiving waits long')), "FOUND 1 $start-" . ($held - 1) . ", MISSING_DELAYED 1 $held-$held, MISSING_UPLOADING 1 "
	. ($held + 1) . "-$last", 'archiving waits long: delayed');
unlike(rows(report(1, 'a longer time-out', '--archive-timeout=2h')), qr/DELAYED/, 'archive-timeout decides what is delayed');
unlink $hold;
settle();
is(rows(report(0, 'archiving goes on')), "FOUND 1 $start-$last", 'archiving goes on: nothing is missing');

# --- segments that are gone ---

rename $_, "$_.gone" for stored(1, $held + 1);
is(rows(report(0, 'gone from one repository')), "FOUND 1 $start-$last", 'gone from one repository: the other has it');
my $lost = sprintf 'FOUND 1 %d-%d, MISSING_LOST 1 %d-%d, FOUND 1 %d-%d', $start, $held, ($held + 1) x 2, $held + 2, $last;
$x = report(2, 'one repository alone', '--repo=1');
is(rows($x), $lost, 'one repository alone: lost');
is($x->{integrity}{status}, 'FAILURE', 'one repository alone: a failure');
is($x->{timeline}{status}, 'OK', 'one repository alone: the timeline is right');
rename $_, "$_.gone" for stored(2, $held + 1);
is(rows(report(2, 'gone everywhere')), $lost, 'gone everywhere: lost');
$stanza->run_fail('verify', '--archive', { code => 2, name => 'PostgreSQL takes for archived what is not',
	like => qr/\Q${\name_of($held + 1)}\E is still in the cluster, but PostgreSQL takes it for archived/ });
for my $file (map { glob "'$_'" } map { s{/[^/]+$}{/*.gone}r } stored(1, $held), stored(2, $held)) {
	rename $file, $file =~ s/\.gone$//r or die "rename: $!";
}
is(rows(report(0, 'back again')), "FOUND 1 $start-$last", 'back again: nothing is missing');

# --- while the cluster writes, nothing is called lost that is on its way ---

my $writer = fork // die "fork: $!";
if (!$writer) {
	$SIG{TERM} = 'DEFAULT';
	while (getppid() != 1) {
		$pg->psql('INSERT INTO filler SELECT generate_series(1, 9000)', may_fail => 1);
	}
	POSIX::_exit(0);
}
my %codes;
for (1 .. (full_run() ? 30 : 6)) {
	my ($is, $text) = $stanza->run('verify', '--archive', '--log-level-console=off');
	$codes{$is}++;
	diag($text) if $is > 1;
}
kill 'KILL', $writer;
waitpid $writer, 0;
is_deeply([ grep { $_ > 1 } keys %codes ], [], 'while the cluster writes: nothing is lost');
archived();
settle();

# --- what cannot be asked ---

my $archive = $stanza->path('repo', 'archive', 'demo', $pg->version . '-1');
chmod 0, $archive;
$stanza->run_fail('verify', '--archive', '--output=json', { name => 'a repository that cannot be listed', unlike => qr/"OK"/,
	like => qr/Permission denied/ });
chmod 0750, $archive;
rename $stanza->path('repo'), $stanza->path('away');
$stanza->run_fail('verify', '--archive', { code => 55, name => 'a repository that is away', unlike => qr/OK/ });
rename $stanza->path('away'), $stanza->path('repo');
my $other = PgStrata::Cluster->new(name => 'other', wal_segsize => 1);
$other->start;
my $wrong = PgStrata::Stanza->new(id => 'wrong', cluster => $other, options => { global => {
	'repo1-path' => $stanza->path('repo') } });
$wrong->run_fail('verify', '--archive', { code => 28, name => 'another cluster', like => qr/do not match the database/ });
$other->stop;
$wrong->run_fail('verify', '--archive', { code => 56, name => 'no server runs', unlike => qr/OK/ });

# --- options ---

$stanza->run_fail('verify', '--archive', '--repair', { code => 31 });
$stanza->run_fail('verify', '--output=json', { code => 32, name => 'only --archive has a report in JSON' });
$stanza->set(demo => { 'pg2-path' => '/somewhere', 'pg2-host' => 'elsewhere' });
$stanza->set(global => { 'cmd-ssh' => '/bin/false' });
like(join('', ($stanza->run('verify', '--archive'))[1, 2]), qr/unable to check pg2: .*'elsewhere'/, 'a cluster of another host is asked too');
$stanza->run_ok('verify', { name => 'plain verify needs no cluster' });
$stanza->set(demo => { 'pg2-path' => undef, 'pg2-host' => undef });
$stanza->set(global => { 'cmd-ssh' => undef });

# --- promotion elsewhere ---

my $standby = standby_from($stanza, $pg, 'standby', '--repo=1');
my $there = PgStrata::Stanza->new(id => 'there', cluster => $standby, options => { global => {
	%{ $stanza->{sections}{global} }, 'lock-path' => $stanza->path('lock'), 'log-level-file' => 'off' } });
caught_up($pg, $standby);
my ($standby_code, $text) = $there->run('verify', '--archive', '--log-level-console=off');
ok($standby_code <= 1, 'held against a standby') or diag($text);
like($text, qr/current timeline of the cluster: 1\n/, 'held against a standby: its timeline');
$there->{cluster}->archive_to($there);
$standby->restart;
$standby->psql('SELECT pg_promote()');
$standby->wait_for_recovery_end;
$standby->psql('CREATE TABLE here (n int)');
my $second = $standby->switch_wal;
$standby->wait_archived($second) or die $standby->log_tail;
$x = report(2, 'promotion elsewhere');
is_deeply($x->{timeline}, { status => 'FAILURE', details => { current_timeline_id => 1, highest_storage_timeline_id => 2 } },
	'promotion elsewhere: the archive is ahead of this server');
($code, $out) = $there->run('verify', '--archive', '--output=json', '--log-level-console=off');
is($code, 0, 'promotion elsewhere: the new primary') or diag($out);
$x = JSON::PP->new->utf8->decode($out);
like(rows($x), qr/^FOUND 1 $start-(\d+), FOUND 2 (??{ $1 + 1 })-@{[number($second)]}$/, 'promotion elsewhere: along the line of timelines');
is($x->{timeline}{details}{current_timeline_id}, 2, 'promotion elsewhere: its timeline');
$standby->stop;

# --- what retention removed is not lost ---

my @history = glob "'$archive/00000002*'";
run_command([ 'rm', '-rf', @history ]);
$stanza->run('expire', '--repo=2', '--repo2-retention-full=1');
archived() for 1, 2;
$stanza->run_ok('backup', '--type=full', '--repo=1', '--repo1-retention-archive=1', '--repo1-retention-archive-type=full',
	{ name => 'a second backup, and expire' });
archived();
settle();
$x = report(0, 'retention', '--repo=1');
like(rows($x), qr/^FOUND 1 $start-(?!$last)\d+, FOUND 1 \d+-$last$/, 'retention: what it left out is not expected');
$stanza->run_ok('verify', '--archive', '--repo=1', { name => 'retention: it is told', like => qr/not expected: retention/ });

done_testing();
