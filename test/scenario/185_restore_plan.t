# restore --dry-run: the plan tells what a restore will do and what it would be refused for, and making it changes
# nothing.  A restore whose WAL cannot reach its target is refused before anything is touched; what cannot be known is
# a warning.
use strict;
use warnings;
use FindBin;
my $small;
BEGIN { $small = $ENV{PGS_SMALL} } # PgStrata removes what looks like PostgreSQL's
use lib "$FindBin::Bin/../lib";
use File::Find ();
use File::Path qw(remove_tree);
use JSON::PP ();
use PgStrata;
use PgStrata::Recovery;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1, conf => ['autovacuum = off']);
my $place = PgStrata::Cluster->new(name => 'copy', init => 0);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'process-max' => 2 } });
$stanza->set(global => { 'repo2-path' => $stanza->path('repo2') });
my ($space, $mapped) = map { work_dir() . "/$_" } qw(space mapped);
my $to = '--pg1-path=' . $place->data;
my @map = ("--tablespace-map=room=$mapped");

# Everything that a dry run could touch but logs and locks: content, and when anything about it was changed last.
sub state_of_all {
	my %all;
	for my $dir ($stanza->path('repo'), $stanza->path('repo2'), $stanza->path('spool'), $pg->data, $place->data,
		$space, $mapped) {
		$all{$dir} = 'absent';
		next if !-e $dir;
		my $tree = snapshot($dir);
		$all{"$dir/$_"} = join ' ', $tree->{$_}, (lstat "$dir/$_")[9, 10] for keys %$tree;
	}
	return \%all;
}

# plan(NAME, EXIT CODE, OPTION...): what the dry run prints, decoded; the last one's stderr is in $said.
my $said;
sub plan {
	my ($name, $code, @options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $before = state_of_all();
	my ($exit, $out, $err) = $stanza->run('restore', '--dry-run', '--output=json', @options);
	same_tree($before, state_of_all(), "$name: nothing is changed");
	is($exit, $code, "$name: exit code") or diag($out, $err);
	$said = $err;
	my $json = JSON::PP->new->canonical;
	my $plan = eval { $json->decode($out) };
	ok($plan && $json->encode($plan) . "\n" eq $out, "$name: stdout is one object with sorted keys and a line feed")
		or diag($out, $err);
	is($plan->{refusal} ? $plan->{refusal}{code} : 0, $code, "$name: the plan tells the refusal");
	return $plan // {};
}

sub wal_is {
	my ($name, $plan, %expected) = @_;
	my %got = map { $_ => $plan->{wal}{$_} } keys %expected;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_deeply(\%got, \%expected, "$name: WAL") or diag(explain($plan->{wal}));
}

# without([SEGMENT...], [REPOSITORY...], CODE): run it while these are not in the archives of these.
sub without {
	my ($segments, $repos, $code) = @_;
	my %away;
	for my $repo (@$repos) {
		for my $segment (@$segments) {
			my @stored = glob $stanza->path($repo, 'archive', 'demo', '*', substr($segment, 0, 16), "$segment-*");
			@stored == 1 or die "$segment is not in $repo\n";
			$away{$stored[0]} = work_dir() . '/away-' . keys %away;
		}
	}
	rename $_, $away{$_} or die "rename $_: $!" for keys %away;
	my $done = eval { $code->(); 1 };
	rename $away{$_}, $_ or die "rename $_: $!" for keys %away;
	die $@ if !$done;
}

sub next_segment {
	my ($segment, $count) = @_;
	return substr($segment, 0, 8) . sprintf '%016X', hex(substr $segment, 8) + ($count // 1);
}

# One more segment of WAL with a commit in it; its name.
sub fill_segment {
	$pg->psql('INSERT INTO t DEFAULT VALUES');
	return $pg->switch_wal;
}

sub next_second {
	my $now = time;
	wait_until(sub { time > $now + 1 }) or die "the clock stands still\n";
}

sub backup {
	my ($label) = $stanza->run_ok('backup', '--type=full', '--repo=1') =~ /new backup label = (\S+)/;
	my ($found) = grep { $_->{label} eq $label } @{$stanza->info->[0]{backup}};
	return $found;
}

mkdir $_, 0700 or die "mkdir $_: $!" for $stanza->path('repo2'), $space;
$pg->archive_to($stanza);
$pg->start;
$stanza->run_ok('stanza-create');
$pg->psql($_) for "CREATE TABLESPACE room LOCATION '$space'", 'CREATE TABLE t (id serial)',
	'CREATE TABLE u TABLESPACE room AS SELECT generate_series(1, 1000) i';
my $first = backup();
next_second();
my @between = map { fill_segment() } 1 .. 4;
my $lsn = $pg->psql('SELECT pg_current_wal_insert_lsn()');
my $lsn_segment = $pg->psql("SELECT pg_walfile_name('$lsn'::pg_lsn + 1)");
$pg->psql("SELECT pg_create_restore_point('mid')");
my $time = $pg->psql('SELECT now()');
my $xid = $pg->psql('BEGIN; SELECT txid_current(); COMMIT');
push @between, fill_segment();
next_second();
my $second = backup();
fill_segment() for 1 .. 2;
my $last = fill_segment();
ok($pg->wait_archived($last), 'all is archived');
my ($one, $two) = map { $_->{label} } $first, $second;
my ($start, $stop) = @{$first->{archive}}{qw(start stop)};
my $hole = $between[1];
cmp_ok($stop, 'lt', $hole, 'there is WAL between the backup and the hole');

# --- refusals that have nothing to do with WAL; the plan is shown all the same ---

{
	my $before = (stat $pg->data . '/postmaster.pid')[9];
	my ($exit, $out) = $stanza->run('restore', '--dry-run', '--output=json');
	is($exit, 38, 'running: exit code');
	my $plan = JSON::PP::decode_json($out);
	is($plan->{refusal}{code}, 38, 'running: the refusal');
	like($plan->{refusal}{message}, qr/PostgreSQL is running/, 'running: and why');
	is($plan->{backup}{label}, $two, 'running: the plan is there');
	is((stat $pg->data . '/postmaster.pid')[9], $before, 'running: the server is left alone');
}
$pg->stop;
$last = (wal_names($stanza))[-1];
my $plan = plan('not empty', 40);
like($plan->{refusal}{message}, qr/contains files/, 'not empty: why');
like($plan->{refusal}{hint}, qr/--delta/, 'not empty: what to do');
$stanza->run_fail('restore', '--dry-run', '--output=json', $to, '--set=nonsense', { code => 75, unlike => qr/\{/ });
$stanza->run_fail('restore', '--output=json', $to, { code => 31, like => qr/'output' not valid without option 'dry-run'/ });
ok(!-e $place->data, 'no directory was made');

# --- each type ---

$plan = plan('default', 0, $to, @map);
is($plan->{backup}{label}, $two, 'default: the newest backup');
is($plan->{backup}{type}, 'full', 'default: its type');
is($plan->{backup}{stop}, $second->{timestamp}{stop}, 'default: its stop time');
is($plan->{chosen}, 'newest backup of all repositories', 'default: why');
is_deeply([ @$plan{qw(stanza repository)} ], [ 'demo', 1 ], 'default: stanza and repository');
is($plan->{data}{path}, $place->data, 'default: where');
is_deeply([ map { "$_->{name} $_->{destination}" } @{$plan->{tablespaces}} ], ["room $mapped"], 'default: tablespaces');
is($plan->{files}{alike}, undef, 'default: there is nothing to compare with');
is($plan->{recovery}{signal}, 'recovery.signal', 'default: signal file');
like("@{$plan->{recovery}{settings}}", qr/^restore_command = '\S+ .*archive-get %f "%p"'$/, 'default: settings');
is_deeply([ map { $_->{enough} ? 1 : 0 } @{$plan->{space}} ], [1], 'default: one file system, and room enough');
cmp_ok($plan->{space}[0]{need}, '>=', $plan->{files}{bytes}, 'default: whole blocks are needed');
wal_is('default', $plan, from => $second->{archive}{start}, to => $last, 'run-end' => $last, missing => [],
	'missing-count' => 0, repositories => [ 1, 2 ], timeline => 1, verdict => 'reaches', 'unknown-count' => 0);

$plan = plan('immediate', 0, $to, @map, '--type=immediate', "--set=$one");
is($plan->{chosen}, "--set=$one", 'immediate: why');
is_deeply([ grep { /^recovery/ } @{$plan->{recovery}{settings}} ],
	[ "recovery_target = 'immediate'", "recovery_target_timeline = 'current'" ], 'immediate: settings');
wal_is('immediate', $plan, from => $start, to => $stop, verdict => 'reaches');

$plan = plan('time', 0, $to, @map, '--type=time', "--target=$time", '--target-action=promote');
is($plan->{backup}{label}, $one, 'time: the backup before it');
is($plan->{chosen}, 'newest backup that ended before the target', 'time: why');
is_deeply([ @{$plan->{recovery}}{qw(type target target-action)} ], [ 'time', $time, 'promote' ], 'time: target');
wal_is('time, and a later backup proves that there is WAL', $plan, from => $start, verdict => 'reaches');
wal_is('time behind all backups', plan('late time', 0, $to, @map, '--type=time', '--target=2099-01-01 00:00:00+00'),
	from => $second->{archive}{start}, 'run-end' => $last, verdict => 'may-reach');

$plan = plan('lsn', 0, $to, @map, '--type=lsn', "--target=$lsn");
is($plan->{backup}{label}, $one, 'lsn: the backup before it');
is($plan->{chosen}, 'newest backup that ended at or before the target', 'lsn: why');
wal_is('lsn', $plan, from => $start, to => $lsn_segment, verdict => 'reaches');
$plan = plan('lsn behind the archive', 75, $to, @map, '--type=lsn', '--target=7F/0');
wal_is('lsn behind the archive', $plan, 'run-end' => $last, verdict => 'falls-short', to => '000000010000007F00000000');
is(@{$plan->{wal}{missing}}, 10, 'lsn behind the archive: ten are named');
is($plan->{wal}{missing}[0], next_segment($last), 'lsn behind the archive: the first');
cmp_ok($plan->{wal}{'missing-count'}, '>', 500_000, 'lsn behind the archive: all are counted');

for my $how ([ name => 'mid', 'may-reach' ], [ xid => $xid, 'may-reach' ]) {
	my ($type, $target, $verdict) = @$how;
	wal_is($type, plan($type, 0, $to, @map, "--type=$type", "--target=$target", "--set=$one"), from => $start,
		'run-end' => $last, verdict => $verdict);
}
is(plan('standby', 0, $to, @map, '--type=standby')->{recovery}{signal}, 'standby.signal', 'standby: signal file');
for my $type (qw(none preserve)) {
	$plan = plan($type, 0, $to, @map, "--type=$type");
	is_deeply([ @{$plan->{recovery}}{qw(file signal settings)} ], [ undef, undef, [] ], "$type: nothing is written");
}

# --- as text ---

{
	my $before = state_of_all();
	my $text = $stanza->run_ok('restore', '--dry-run', $to, @map, { name => 'text' });
	same_tree($before, state_of_all(), 'text: nothing is changed');
	like($text, qr/^P00   INFO: \[DRY-RUN\] repo1: restore backup set \Q$two\E/m, 'text: log lines are marked')
		or diag($text);
	my @rows = grep { !/DRY-RUN/ } split /\n/, $text;
	cmp_ok(@rows, '<=', 24, 'text: fits a screen');
	for my $row ([ backup => qr/repo1: \Q$two\E \(full\), ended \d{4}-/ ], [ chosen => qr/newest backup of all/ ],
		[ 'data directory' => qr/\Q${\$place->data}\E/ ], [ tablespace => qr/room \(\d+\) -> \Q$mapped\E/ ],
		[ files => qr/\d+, \S+ in the cluster/ ], [ 'free space' => qr/\S+: \S+ needed, \S+ free: enough/ ],
		[ recovery => qr/default/ ], [ settings => qr/restore_command = / ], [ timeline => qr/1/ ],
		[ WAL => qr/$second->{archive}{start} to $last in repo1 and repo2: \d+ there, 0 missing/ ],
		[ verdict => qr/the WAL runs without a hole to $last/ ], [ result => qr/the restore can be done/ ]) {
		my ($label, $value) = @$row;
		ok((grep { /^\Q$label\E +$value/ } @rows), "text: $label") or diag($text);
	}
	without([$hole], [ 'repo', 'repo2' ], sub {
		(undef, $text) = $stanza->run('restore', '--dry-run', $to, @map, "--set=$one");
	});
	like($text, qr/^missing +$hole$/m, 'text: what is missing');
	like($text, qr/^result +the restore would be refused: \[075\]/m, 'text: the refusal');
}

# --- a hole behind the backup ---

without([$hole], [ 'repo', 'repo2' ], sub {
	my @hole = ($to, @map, "--set=$one");
	my $run_end = next_segment($hole, -1);

	$plan = plan('hole, default', 75, @hole);
	wal_is('hole, default', $plan, missing => [$hole], 'missing-count' => 1, 'run-end' => $run_end, to => $last,
		verdict => 'falls-short');
	like($plan->{refusal}{message}, qr/backup '$one' cannot be recovered to the end of the archive: WAL segment $hole is missing from repo1 and repo2$/,
		'hole, default: what and where');
	like($plan->{refusal}{hint}, qr/the WAL of this set ends at $run_end; use --type=immediate or an earlier target/,
		'hole, default: what to do');
	wal_is('hole, immediate', plan('hole, immediate', 0, @hole, '--type=immediate'), verdict => 'reaches');
	wal_is('hole, lsn before it', plan('hole, lsn before it', 0, @hole, '--type=lsn', '--target=' . $first->{lsn}{stop}),
		verdict => 'reaches');
	wal_is('hole, lsn behind it', plan('hole, lsn behind it', 75, @hole, '--type=lsn', "--target=$lsn"),
		verdict => 'falls-short', missing => [$hole], to => $lsn_segment);
	for my $how ([ time => $time ], [ name => 'mid' ], [ xid => $xid ]) {
		my ($type, $target) = @$how;
		wal_is("hole, $type", plan("hole, $type", 0, @hole, "--type=$type", "--target=$target"),
			verdict => 'may-reach', missing => [$hole]);
		like($said, qr/WARN: \[DRY-RUN\] WAL segment $hole is missing .*only if it lies before/, "hole, $type: a warning");
	}
	wal_is('hole, a time that a backup proves to be behind it', plan('hole, late time', 75, @hole, '--type=time',
		'--target=2099-01-01 00:00:00+00'), verdict => 'falls-short');
	for my $how ([ 'standby', '--type=standby' ], [ 'WAL from elsewhere', '--recovery-option=restore-command=false' ],
		[ 'another target', '--recovery-option=recovery_target=immediate' ]) {
		my ($name, @options) = @$how;
		wal_is("hole, $name", plan("hole, $name", 0, @hole, @options), verdict => 'falls-short');
		like($said, qr/WARN: .*WAL segment $hole is missing/, "hole, $name: a warning");
	}
	$plan = plan('hole on purpose', 0, @hole, '--archive-gap=end');
	like($said, qr/WARN: .*recovery will end at WAL segment $run_end \(archive-gap=end\)/, 'hole on purpose: a warning');
	like("@{$plan->{recovery}{settings}}", qr/--archive-gap=end/, 'hole on purpose: archive-get will know');
	wal_is('hole, the newer backup', plan('hole, the newer backup', 0, $to, @map), verdict => 'reaches');

	my $before = state_of_all();
	$stanza->run_fail('restore', @hole, { code => 75, like => qr/WAL segment $hole is missing from repo1 and repo2/ });
	same_tree($before, state_of_all(), 'a refused restore changes nothing');
});

# --- a hole within the backup ---

without([$stop], [ 'repo', 'repo2' ], sub {
	my @hole = ($to, @map, "--set=$one");
	for my $how ([ default => () ], [ immediate => '--type=immediate' ], [ time => '--type=time', "--target=$time" ],
		[ name => '--type=name', '--target=mid' ], [ lsn => '--type=lsn', "--target=$lsn" ],
		[ 'default on purpose', '--archive-gap=end' ]) {
		my ($name, @options) = @$how;
		$plan = plan("no end, $name", 75, @hole, @options);
		like($plan->{refusal}{hint}, qr/needs all WAL from $start to $stop/, "no end, $name: what is needed");
	}
	plan('no end, none', 0, @hole, '--type=none');
	like($said, qr/WARN: .*WAL segment $stop is missing/, 'no end, none: a warning');
});
without([$start], [ 'repo', 'repo2' ], sub {
	wal_is('no beginning', plan('no beginning', 75, $to, @map, "--set=$one"), 'run-end' => undef);
});

# --- two repositories ---

for my $repos ([ 'repo', 1 ], [ 'repo2', 2 ]) {
	my ($repo, $key) = @$repos;
	without([ $start, $hole ], [$repo], sub {
		wal_is("hole in repo$key only", plan("hole in repo$key only", 0, $to, @map, "--set=$one"), verdict => 'reaches',
			'missing-count' => 0);
	});
}
without([$hole], ['repo'], sub {
	wal_is('only repo1 is asked', plan('only repo1 is asked', 75, $to, @map, "--set=$one", '--repo=1'),
		repositories => [1], missing => [$hole]);
	my @info = map { $stanza->path('repo2', 'archive', 'demo', $_) } qw(archive.info archive.info.copy);
	my @text = map { slurp($_) } @info;
	spew($_, 'nonsense') for @info;
	wal_is('the other one cannot be asked', plan('unknown', 0, $to, @map, "--set=$one"), verdict => 'falls-short',
		repositories => [1], 'unknown-count' => 1);
	like($said, qr/WARN: .*repo2: unable to look for WAL/, 'the other one cannot be asked: it is named');
	like($said, qr/WARN: .*not every repository could be asked/, 'the other one cannot be asked: nothing is proven');
	spew($info[$_], $text[$_]) for 0, 1;
});

# --- the plan and the deed ---

$plan = plan('a real one', 0, $to, @map, '--type=none');
$stanza->run_ok('restore', $to, @map, '--type=none', { unlike => qr/DRY-RUN/ });
my ($count, $bytes) = (0, 0);
File::Find::find({ no_chdir => 1, wanted => sub {
	return if !-f || -l;
	$count++;
	$bytes += -s _;
} }, $place->data, $mapped);
is_deeply([ @{$plan->{files}}{qw(count bytes)} ], [ $count, $bytes ], 'as many files and bytes as were planned');

$plan = plan('delta', 0, $to, @map, '--type=none', '--delta');
is($plan->{data}{delta}, JSON::PP::true(), 'delta: in force');
is_deeply([ @{$plan->{files}}{qw(alike write-min write-max)} ], [ $count, 0, $bytes ],
	'delta: all files have the right size');
is($plan->{space}[0]{need}, 0, 'delta: no room is needed');
my $gone = $place->data . '/PG_VERSION';
my $cut = $place->data . '/postgresql.conf';
my $missing_bytes = (-s $gone) + (-s $cut);
truncate_file($cut, 1);
spew($place->data . '/stray', 'x' x 10);
unlink $place->data . '/global/1262' or die "unlink: $!";
unlink $gone or die "unlink: $!";
$plan = plan('delta without PG_VERSION', 40, $to, @map, '--type=none', '--delta');
is($plan->{data}{delta}, JSON::PP::false(), 'delta without PG_VERSION: not in force');
spew($gone, "wrong size\n");
$plan = plan('delta of a damaged directory', 0, $to, @map, '--type=none', '--delta');
is($plan->{files}{alike}, $count - 3, 'delta of a damaged directory: three are not alike');
cmp_ok($plan->{files}{'write-min'}, '>', $missing_bytes, 'delta of a damaged directory: what has to be written');
cmp_ok($plan->{space}[0]{need}, '>', 0, 'delta of a damaged directory: room for it');
$plan = plan('delta by time', 0, $to, @map, '--type=none', '--delta', '--force');
is($plan->{files}{'write-min'}, $plan->{files}{'write-max'}, 'delta by time: known without looking into files');
$plan = plan('settings', 0, $to, @map, '--delta', '--type=name', '--target=mid', "--set=$one", '--archive-mode=off');
$stanza->run_ok('restore', $to, @map, '--delta', '--type=name', '--target=mid', "--set=$one", '--archive-mode=off');
is_deeply($plan->{recovery}{settings},
	[ grep { !/^#/ } split /\n/, slurp($place->data . '/postgresql.auto.conf') =~ s/\A.*?(?=^# Recovery)//msr ],
	'the settings are those that were planned');

# --- another timeline ---

$stanza->run_ok('restore', '--delta', '--type=lsn', "--target=$lsn", '--target-action=promote');
$pg->start;
$pg->wait_for_recovery_end;
my $child = fill_segment();
fill_segment();
ok($pg->wait_archived(fill_segment()), 'the second timeline is archived');
$pg->stop;
my @child = grep { /^00000002/ } wal_names($stanza);
@child = do { my %seen; grep { !$seen{$_}++ } @child };
my @line = ($to, @map, '--delta', "--set=$one");
wal_is('latest timeline', plan('latest timeline', 0, @line), timeline => 2, to => $child[-1], verdict => 'reaches');
wal_is('current timeline', plan('current timeline', 0, @line, '--target-timeline=current'), timeline => 1,
	to => $last, verdict => 'reaches');
without([ $child[0] ], [ 'repo', 'repo2' ], sub {
	wal_is('the first of the child is missing', plan('no child', 75, @line), missing => [ $child[0] ], timeline => 2);
	wal_is('which the parent does not need', plan('parent', 0, @line, '--target-timeline=1'), verdict => 'reaches');
});
without(\@child, [ 'repo', 'repo2' ], sub {
	$plan = plan('a child of which only the history is there', 75, @line);
	like($plan->{refusal}{message}, qr/segment $child[0] is missing .* although 00000002\.history is present/,
		'a child of which only the history is there: the proof');
});

# --- not enough room ---

SKIP: {
	skip 'cannot here: no small file system in PGS_SMALL (test/run.sh as root mounts one)', 1
		if !defined $small || !-d $small || !-w $small;
	my $room = "$small/p$$";
	mkdir $room, 0700 or die "mkdir $room: $!";
	PgStrata::at_end(sub { remove_tree($room) });
	my @small = ("--pg1-path=$room/data", "--tablespace-map=room=" . work_dir() . '/elsewhere', "--set=$one",
		'--type=immediate');
	open(my $out, '>:raw', "$room/ballast") or die "ballast: $!";
	1 while syswrite($out, "\0" x 65536);
	truncate($out, (-s $out) - 4 * 1024 * 1024) or die "truncate: $!";
	$plan = plan('not enough room', 0, @small);
	my %enough = map { $_->{path} => $_->{enough} ? 1 : 0 } @{$plan->{space}};
	is_deeply(\%enough, { "$room/data" => 0, work_dir() . '/elsewhere' => 1 }, 'not enough room: where');
	like($said, qr/WARN: .*not enough room for the restore at '\Q$room\E\/data'/, 'not enough room: a warning');
	ok(!-e "$room/data", 'not enough room: nothing was made');
	$stanza->run_fail('restore', @small, { name => 'a real restore without room warns first',
		like => qr/not enough room for the restore at.*No space left on device/s });
}

done_testing();
