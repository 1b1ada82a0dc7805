# info --archive: timelines, what is missing of them and why, and from when to when recovery can stop: of each of two
# repositories, one of them encrypted, and of both together.  Dropped WAL is told by info without being asked.
use strict;
use warnings;
use FindBin;
use JSON::PP ();
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Recovery;
use Test::More;

$ENV{TZ} = 'UTC';
my $repo2 = work_dir() . '/repo2';
my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => ['autovacuum = off']);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'compress-type' => 'lz4',
	'repo2-path' => $repo2, 'repo2-cipher-type' => 'aes-256-cbc', 'repo2-cipher-pass' => 'a secret' } });
my $json = JSON::PP->new->utf8->canonical;
my %root = (1 => $stanza->path('repo'), 2 => $repo2);
my $id = $pg->version . '-1';

sub info {
	my (@options) = @_;
	my ($code, $out, $err) = $stanza->run('info', '--output=json', @options);
	is("$code $err", '0 ', join ' ', 'info', @options);
	my $got = eval { $json->decode($out) } // [];
	is($out, $json->encode($got), 'keys sorted, no white space') or diag($out);
	return $got->[0];
}
sub text { my ($code, $out) = $stanza->run('info', '--log-level-console=error', @_); return $out }

# The archive of one repository, and a timeline of it.
sub archive_of { my ($info, $key) = @_; return (grep { $_->{database}{'repo-key'} == $key } @{$info->{pgstrata}{archive}})[0] // {} }
sub timeline { my ($archive, $number) = @_; return (grep { $_->{id} == $number } @{$archive->{timeline}})[0] // {} }
sub lacks { my ($timeline) = @_; return join ' ', map { "$_->{kind}:$_->{start}-$_->{stop}($_->{count})" } @{$timeline->{missing}} }
sub window { my ($from, $label) = @_; return (grep { $_->{start}{backup} eq $label } sort { $b->{timeline} <=> $a->{timeline} } @{$from->{window}})[0] // {} }
sub statuses { my ($archive) = @_; return join ' ', $archive->{status}, map { $_->{status} } @{$archive->{timeline}} }
sub names {
	my ($key, $timeline) = @_;
	my $start = sprintf '%08X', $timeline;
	return sort map { m{/($start[0-9A-F]{16})-} ? $1 : () } glob "'$root{$key}'/archive/demo/$id/$start*/*";
}
sub stored { my ($key, $name) = @_; return (glob "'$root{$key}'/archive/demo/$id/" . substr($name, 0, 16) . "/$name-*")[0] }
sub lsn_behind { my ($name) = @_; my $n = (hex(substr $name, 8, 8) << 12) + hex(substr $name, 16) + 1; return sprintf '%X/%X', $n >> 12, ($n & 0xfff) << 20 }
sub after { my ($name) = @_; return sprintf '%s%08X', substr($name, 0, 16), 1 + hex substr $name, 16 }

sub promote {
	$pg->stop;
	spew($pg->data . '/standby.signal', '');
	$pg->start;
	$pg->must('pg_ctl', '-D', $pg->data, '-w', '-s', 'promote');
	$pg->wait_for_recovery_end;
}
sub back_up {
	my ($key) = @_;
	my ($label) = $stanza->run_ok('backup', '--type=full', "--repo=$key") =~ /new backup label = (\S+)/;
	return $label;
}

$pg->archive_to($stanza);
$pg->start;
$pg->drop_templates;
$stanza->run_ok('stanza-create');
write_segments($pg, 2);
my %old = map { $_ => back_up($_) } 1, 2;
write_segments($pg, 2);
promote();
write_segments($pg, 4);
promote();
write_segments($pg, 2);
my %new = map { $_ => back_up($_) } 1, 2;
write_segments($pg, 3);
ok($pg->wait_archived($pg->switch_wal), 'all is archived');

# --- all is well ---

my $info = info('--archive');
for my $key (1, 2) {
	my $archive = archive_of($info, $key);
	is(statuses($archive), 'OK OK OK OK', "repo$key: all is well");
	is($archive->{'segment-size'}, 1 << 20, "repo$key: the segment size");
	for my $number (1 .. 3) {
		my $t = timeline($archive, $number);
		my @names = names($key, $number);
		is("$t->{start} $t->{stop} $t->{count}", "$names[0] $names[-1] " . @names, "repo$key: segments of timeline $number");
		is(lacks($t), '', "repo$key: nothing is missing of timeline $number");
		my ($left) = $number == 1 ? ('') : slurp($pg->data . sprintf '/pg_wal/%08X.history', $number) =~ /^@{[ $number - 1 ]}\t(\S+)/m;
		is(join(' ', $t->{parent} // '', $t->{'switch-lsn'} // ''), join(' ', $number == 1 ? '' : $number - 1, $left), "repo$key: where timeline $number begins");
	}
	is(join(' ', map { @{timeline($archive, $_)->{backup}} } 1 .. 3), "$old{$key} $new{$key}", "repo$key: backups by timeline");
	my $window = window($archive, $old{$key});
	my $last = (names($key, 3))[-1];
	is(join(' ', $window->{timeline}, $window->{hole}, @{$window->{stop}}{qw(segment lsn)}), "3 0 $last " . lsn_behind($last), "repo$key: recovery can stop up to the end");
	my ($backup) = grep { $_->{label} eq $old{$key} && $_->{database}{'repo-key'} == $key } @{$info->{backup}};
	is("$window->{start}{lsn} $window->{start}{time}", "$backup->{lsn}{stop} $backup->{timestamp}{stop}", "repo$key: and from the end of the oldest backup");
	cmp_ok($window->{stop}{time}, '>=', $window->{start}{time}, "repo$key: a time that can be");
}
is($json->encode([ map { $_->{'repo-key'} } @{$info->{pgstrata}{combined}} ]), '[[1,2]]', 'both together');
ok(!exists $info->{pgstrata}{dropped}, 'nothing was dropped');
ok(!exists info()->{pgstrata}, 'nothing of it without --archive');
my $text = text('--archive');
my ($old_label, $new_label) = ($old{1}, $new{1});
is(join("\n", grep { length > 120 } split /\n/, $text), '', 'the text has at most 120 columns');
like($text, qr/^stanza: demo\n    status: ok\n.*^    db \(current\)\n.*^        repo1: \Q$id\E, segment size 1MB: OK\n            timeline 1: OK\n/ms, 'text: head');
like($text, qr/^            timeline 3: OK\n                parent: timeline 2, left at \S+\n                wal start\/stop: \S+\/\S+ \(\d+\)\n                backups: $new_label\n/m, 'text: a timeline');
like($text, qr/^            recovery window on timeline 3: 20\S+ \S+ \/ ~ 20.*\n                from \S+, the end of repo1: $old_label\n                to   \S+, the end of 00000003\w+\n/m, 'text: a window');
like($text, qr/^        repo1 and repo2 together, as archive-get reads them:\n            recovery window on/m, 'text: both');
for my $other ([ "--set=$old{1}", "'set'" ], [ '--type=full', "'type'" ], [ '--detail-level=progress', "'detail-level' = 'progress'" ]) {
	$stanza->run_fail('info', '--archive', $other->[0], { code => 31, like => qr/option 'archive' cannot be used with option \Q$other->[1]\E/ });
}

# --- what is damaged ---

my $history = "$root{1}/archive/demo/$id/00000003.history";
my $content = slurp($history);
chmod 0640, $history;
spew($history, "nonsense\n");
$info = info('--archive');
is(statuses(archive_of($info, 1)), 'UNKNOWN OK OK UNKNOWN', 'a history that cannot be used');
is(window(archive_of($info, 1), $new{1})->{timeline}, 3, 'what lies on the timeline itself can be reached');
isnt(window(archive_of($info, 1), $old{1})->{timeline}, 3, 'nobody knows whether it can from before');
is(statuses(archive_of($info, 2)), 'OK OK OK OK', 'the other repository has it');
unlink $history;
is(statuses(archive_of(info('--archive'), 1)), 'LOST_HISTORY OK OK LOST_HISTORY', 'a history that is missing');
spew($history, $content);

my @second = names(1, 2);
my $lost = $second[1];
my $twin = stored(1, $lost) =~ s/-[0-9a-f]{8}/-00000000/r;
spew($twin, 'other');
$info = info('--archive');
is(lacks(timeline(archive_of($info, 1), 2)), "different:$lost-$lost(1)", 'copies with different content are of no use');
is(window(archive_of($info, 1), $old{1})->{next}, $lost, 'recovery ends there');
unlink $twin;
my $right = stored(2, $lost);
my $wrong = $right =~ s/-[0-9a-f]{8}/-00000000/r;
rename $right, $wrong or die "rename: $!";
$info = info('--archive');
is(statuses(archive_of($info, 2)), 'OK OK OK OK', 'one repository alone does not know that the other has another content');
is(window($info->{pgstrata}{combined}[0], $old{1})->{next}, $lost, 'together they show it');
rename $wrong, $right or die "rename: $!";

my ($dir) = map { s{/[^/]*$}{}r } stored(1, $lost);
chmod 0, $dir;
$info = info('--archive');
is($info->{status}{code} . ' ' . $info->{repo}[0]{status}{code}, '4 99', 'a folder that cannot be listed');
is($json->encode({ %{archive_of($info, 1)}, database => 0 }), $json->encode({ database => 0, id => $id, status => 'UNKNOWN' }), 'nobody knows what is there');
is(window(archive_of($info, 2), $old{2})->{timeline}, 3, 'the other repository is shown');
like(text('--archive'), qr/^        repo1: error \(other\)\n.*^        repo1: \Q$id\E: UNKNOWN, it cannot be read\n/ms, 'text: it is said');
chmod 0750, $dir;

# --- retention is no loss, a removed segment is one ---

$stanza->run_ok('expire', '--repo=2', '--repo2-retention-full=9', '--repo2-retention-archive=1');
$info = info('--archive');
my $two = archive_of($info, 2);
unlike(statuses($two), qr/LOST|UNKNOWN/, 'what retention has removed is not lost');
like(join(' ', map { lacks($_) } @{$two->{timeline}}), qr/^(expired:\S+ ?)+$/, 'but it is shown');
ok(window($two, $old{2})->{hole}, 'recovery from the old backup ends with its own WAL');
is(window($two, $new{2})->{timeline}, 3, 'the new one has all it needs');
is(window($info->{pgstrata}{combined}[0], $old{1})->{timeline}, 3, 'the other repository has the rest');

my $away = work_dir() . '/away';
my $place = stored(1, $lost);
rename $place, $away or die "rename: $!";
$info = info('--archive');
my $one = archive_of($info, 1);
is(statuses($one), 'LOST_SEGMENTS OK LOST_SEGMENTS OK', 'a segment is gone');
is(lacks(timeline($one, 2)), "lost:$lost-$lost(1)", 'it is named');
my $window = window($one, $old{1});
is(join(' ', $window->{hole}, $window->{stop}{segment}, $window->{next}), "1 $second[0] $lost", 'the window of the old backup ends before it');
is(join(' ', map { $_->{hole} . $_->{start}{backup} } grep { $_->{timeline} == 3 } @{$one->{window}}), "0$new{1}", 'the next begins with the next backup');
like(text('--archive'), qr/^                LOST: $lost\/$lost \(1\)\n.*^                it ends at a HOLE: $lost cannot be had\n/ms, 'text: it is said');
rename $away, $place or die "rename: $!";
is(statuses(archive_of(info('--archive'), 1)), 'OK OK OK OK', 'it is back');

# --- dropped ---

$pg->psql("ALTER SYSTEM SET archive_command = ''");
$pg->reload;
$pg->wait_sql('SHOW archive_command', '');
my $first = after((names(1, 3))[-1]);
write_segments($pg, 5);
$stanza->set(global => { 'archive-push-queue-max' => '2m' });
$pg->psql('ALTER SYSTEM RESET archive_command');
$pg->reload;
ok($pg->wait_archived($first), 'the queue is too long: the first is given up');
ok($pg->wait_sql("SELECT count(*) <= 2 FROM pg_ls_dir('pg_wal/archive_status') AS name WHERE name LIKE '%.ready'", 't'), 'until it is not any more');
$stanza->set(global => { 'archive-push-queue-max' => undef });
write_segments($pg, 2);
ok($pg->wait_archived($pg->switch_wal), 'archiving goes on');
my @third = names(1, 3);
my ($next) = grep { $_ gt $first } @third;
$info = info();
is(join(' ', map { "$_->{database}{'repo-key'} $_->{reason} $_->{start}" } @{$info->{pgstrata}{dropped}}), "1 queue $first 2 queue $first", 'both repositories know of it without being asked');
is(join(',', keys %{$info->{pgstrata}}), 'dropped', 'and nothing else is said');
my $last = $info->{pgstrata}{dropped}[0]{stop};
is($next, after($last), 'from the first to the last that is missing');
like(text(), qr/^    status: ok\n    warning: WAL was dropped.*\n        repo1: .*$first.*\n        repo2: .*\n    cipher:/m, 'text: a warning');
like(text('--detail-level=more'), qr/^        repo1: .*$first.*\n            \S.*\n        repo2:/m, 'text: with the reason');
is(join("\n", grep { length > 120 } split /\n/, text('--detail-level=more')), '', 'at most 120 columns');
$info = info('--archive');
for my $key (1, 2) {
	my $archive = archive_of($info, $key);
	like(lacks(timeline($archive, 3)), qr/^(expired:\S+ )?dropped:$first-$last\(\d+\)$/, "repo$key: dropped is what is missing");
	is($archive->{status}, 'LOST_SEGMENTS', "repo$key: that is a loss");
	is(join(' ', map { $_->{next} } grep { $_->{timeline} == 3 } @{$archive->{window}}), $first, "repo$key: recovery ends there");
}
$text = text('--archive');
like($text, qr/^                dropped: $first\/$last \(\d+\),\n                    at 20.*: \S/m, 'text: when and why');
is(join("\n", grep { length > 120 } split /\n/, $text), '', 'text: at most 120 columns');

# --- another cluster in the stanza ---

$pg->stop;
my $later = PgStrata::Cluster->new(name => 'later', wal_segsize => 16);
$stanza->set_cluster($later);
$later->archive_to($stanza);
$stanza->run_ok('stanza-upgrade', '--no-online');
$later->start;
ok($later->wait_archived($later->switch_wal), 'its WAL is archived');
$info = info('--archive');
my @archives = grep { $_->{database}{'repo-key'} == 2 } @{$info->{pgstrata}{archive}};
is(join(' ', map { "$_->{id} $_->{'segment-size'} $_->{status}" } @archives), $pg->version . '-1 1048576 LOST_SEGMENTS ' . $later->version . '-2 16777216 OK', 'each cluster by itself');
is(scalar @{$info->{pgstrata}{combined}}, 2, 'both together, for each cluster');
like(text('--archive'), qr/^    db \(prior\)\n.*repo1: \S+-1, segment size 1MB.*^    db \(current\)\n.*repo1: \S+-2, segment size 16MB: OK\n.*recovery window: none/ms, 'text: both');
done_testing();
