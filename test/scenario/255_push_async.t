# archive-push with archive-async, by hand: whatever lies in the spool, exit 0 means that every repository has the file
# (or that it was given up, with a note); a repository that is away costs the others nothing; errors come with cause
# and hint; many foregrounds and killed processes do not disturb each other.
use strict;
use warnings;
use Fcntl qw(:flock);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Recovery;
use Test::More;
use Time::HiRes qw(sleep time);

my $pg = PgStrata::Cluster->new(name => 'a b', wal_segsize => 1, conf => ['wal_keep_size = 64MB', 'autovacuum = off']);
my $async = { 'compress-type' => 'none', 'archive-timeout' => '20s', 'archive-async' => 'y', 'process-max' => 2 };
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => $async });
$pg->start;
my @wal;
while (@wal < 12) {
	$pg->psql("SELECT pg_logical_emit_message(false, 'test', repeat(md5(random()::text), 9000))");
	push @wal, $pg->switch_wal;
}
$stanza->run_ok('stanza-create');
$pg->stop;

my $status = $pg->data . '/pg_wal/archive_status';
my $out = $stanza->path('spool', 'archive', 'demo', 'out');
my $archive = $stanza->path('repo', 'archive', 'demo', $pg->version . '-1');
my $log = $stanza->path('log', 'demo-archive-push-async.log');

sub segment { return $pg->data . "/pg_wal/$_[0]" }
sub ready { spew("$status/$_.ready", '') for @_ }
sub acknowledge { unlink "$status/$_.ready" for @_ }
sub logged { return -e $log ? slurp($log) : '' }

# The files of the archive under this name, and whether the only one is what was pushed.
sub is_stored {
	my ($name, $repo) = @_;
	my $root = $repo ? "$repo/archive/demo/" . $pg->version . '-1' : $archive;
	my @files = grep { !/\.tmp$/ } glob "$root/????????????????/$name-*";
	return @files == 1 && slurp($files[0]) eq slurp(segment($name));
}

# No process of the background is left: nobody has the lock.
sub is_idle {
	open(my $lock, '<', $stanza->path('lock', 'demo-archive-1.lock')) or return 1;
	return flock($lock, LOCK_EX | LOCK_NB);
}
sub wait_idle { return wait_until(\&is_idle, 30) }

sub forget {
	my ($name) = @_;
	wait_idle();
	unlink glob("$archive/????????????????/$name-*");
	unlink map { s/ /\\ /gr } glob "$out/$name.*";
	unlink "$out/global.error";
}

sub push_ok {
	my ($name, $how) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $stanza->run_ok('archive-push', segment($name), $how // { like => qr/pushed WAL file '$name' to the archive asynchronously/ });
}

# One process pushes all that is ready; who comes later finds the answer.
ready(@wal);
push_ok($wal[0]);
ok(is_stored($wal[0]), 'it is stored');
ok(wait_idle(), 'the background ends');
is_deeply([ grep { !is_stored($_) } @wal ], [], 'having pushed all that was ready');
like(logged(), qr/push 12 WAL file\(s\) to archive: $wal[0]\.\.\.$wal[11]/, 'its log says what');
like(logged(), qr/P0[12] DETAIL: pushed WAL file '$wal[11]' to the archive/, 'and how it went');
like(logged(), qr/archive-push:async command end: completed successfully/, 'and that it is done');
my $before = logged();
push_ok($wal[1]);
is(logged(), $before, 'an answer that is there needs no process');
my $valid = slurp("$out/$wal[1].ok");
acknowledge(@wal);
ready($wal[2]);
unlink "$out/$wal[2].ok";
push_ok($wal[2]);
wait_idle();
is_deeply([ map { m{([^/]+)$} } glob "$out/*" ], ["$wal[2].ok"], 'what PostgreSQL has had its answer for is tidied away');
like(logged(), qr/$wal[2]' already exists in the repo1 archive with the same checksum/, 'a lost answer costs one more look');
acknowledge($wal[2]);
push_ok($wal[3], { name => 'a file that is not marked as ready' });
wait_idle();

# Files of other kinds go the same way.
spew(segment('00000002.history'), "1\t0/200000\tno recovery target specified\n");
spew(segment("$wal[2].00000028.backup"), "START WAL LOCATION: 0/300028 (file $wal[2])\n");
spew(segment("$wal[4].partial"), slurp(segment($wal[4])));
push_ok($_) for '00000002.history', "$wal[2].00000028.backup", "$wal[4].partial";
ok(-e "$archive/00000002.history" && is_stored("$wal[4].partial"), 'history, backup and partial files too');
unlink map { segment($_) } '00000002.history', "$wal[2].00000028.backup", "$wal[4].partial";

# Every mixture of what may lie there: the answer is the repository's.  A valid answer about a file that was stored is
# the only one that is believed while the repository cannot be written.
my $name = $wal[1];
my $stale = sub { my $text = $valid; $text =~ s/("mtime":\d*)(\d)/$1 . ($2 + 1) % 10/e; $text };
my %ok = (
	none => undef,
	valid => $valid,
	empty => '',
	original => "0\na warning",
	garbage => "\x00\xff\x01",
	cut => substr($valid, 0, length($valid) / 2),
	stale => $stale->(),
	other => do { (my $text = $valid) =~ s/$name/$wal[2]/; $text },
);
my %old_error = (none => undef, error => "45\nan old story\nHINT: none", both => "44\nolder still", garbage => 'x');
my ($wrong, $mixtures) = ('', 0);
for my $repository (qw(well broken)) {
	for my $ok (sort keys %ok) {
		for my $error (sort keys %old_error) {
			forget($name);
			push_stored() if $ok eq 'valid';
			spew("$out/$name.ok", $ok{$ok}) if defined $ok{$ok};
			spew("$out/$name.error", $old_error{$error}) if defined $old_error{$error};
			spew("$out/global.error", $old_error{$error}) if $error eq 'both';
			chmod 0555, glob "$archive/????????????????" if $repository eq 'broken';
			my ($code, $said, $err) = $stanza->run('archive-push', segment($name));
			wait_idle();
			chmod 0755, glob "$archive/????????????????";
			$mixtures++;
			my $right = $repository eq 'well' || $ok eq 'valid' ? 0 : 104;
			$wrong .= "$repository, ok $ok, error $error: exit $code\n$said$err" if $code != $right;
			$wrong .= "$repository, ok $ok, error $error: told an old story\n" if "$said$err" =~ /old/;
			$wrong .= "$repository, ok $ok, error $error: exit 0 and not stored\n" if $code == 0 && !is_stored($name);
		}
	}
}
is($wrong, '', "$mixtures mixtures of files in the spool: the answer is the repository's");

# In the repository as the valid answer says, by the foreground alone.
sub push_stored {
	my ($code) = $stanza->run('--no-archive-async', 'archive-push', segment($name));
	die "push: $code" if $code;
}

# An error reaches the caller with cause and hint, and what it hints at works.
forget($name);
push_stored();
my $content = slurp(segment($name));
my ($kept_time) = (stat segment($name))[9];
spew(segment($name), substr($content, 0, 900_000) . 'x' . substr($content, 900_001));
ready($name);
my $said = join '', ($stanza->run('archive-push', segment($name)))[1, 2];
like($said, qr/ERROR: \[045\]: WAL file '$name' already exists in the repo1 archive with a different checksum/, 'the cause');
like($said, qr/HINT: are multiple primaries/, 'its hint');
like($said, qr/HINT: if this file can never be stored.*: mv /, 'and the way out');
my ($way_out) = $said =~ /: (mv .*)/;
wait_idle();
is(system($way_out), 0, $way_out);
$stanza->run_ok('archive-push', segment($name), { name => 'an administrator skips it',
	like => qr/WARN: WAL segment '$name' was not pushed due to error \[45\] and was manually skipped: WAL file/ });
my @notes = glob $stanza->path('spool', 'pgstrata', 'demo', 'gap', '*.json');
ok(@notes == 1 && slurp($notes[0]) =~ /$name/, 'a note of it is in the spool');
acknowledge($name);
ready($wal[5]);
push_ok($wal[5]);
is_deeply([ glob $stanza->path('spool', 'pgstrata', 'demo', 'gap', '*.json') ], [], 'the next push takes it along');
@notes = glob "$archive/pgstrata/gap/*.json";
ok(@notes == 1 && slurp($notes[0]) =~ /$name/, 'to the repository');
wait_idle();
spew(segment($name), $content);
push_ok($name, { unlike => qr/skipped/, name => 'a later file of that name is not skipped' });

# Notes that cannot be carried keep success from being reported, even for what is stored.
my $kept = $stanza->path('spool', 'pgstrata', 'demo', 'gap') . '/' . ($notes[0] =~ m{([^/]+)$})[0];
ready($wal[6]);
push_ok($wal[6]);
wait_idle();
rename $notes[0], $kept or die "rename: $!";
chmod 0555, "$archive/pgstrata/gap";
$stanza->run_fail('archive-push', segment($wal[6]), { code => 104, like => qr/note of dropped WAL/ });
wait_idle();
chmod 0755, "$archive/pgstrata/gap";
push_ok($wal[6]);
ok(!-e $kept && -e $notes[0], 'then the note is carried first');
wait_idle();
acknowledge($wal[5], $wal[6]);

# The queue's limit: all that waits is dropped, each file with a warning, and a note names them all.
forget($_) for @wal[0 .. 3];
unlink @notes;
ready(@wal[0 .. 3]);
for my $file (@wal[0 .. 3]) {
	$stanza->run_ok('--archive-push-queue-max=2MB', 'archive-push', segment($file),
		{ like => qr/WARN: dropped WAL file '$file' because archive queue exceeded 2MB/ });
	wait_idle();
}
@notes = glob $stanza->path('spool', 'pgstrata', 'demo', 'gap', '*.json');
ok(@notes == 1, 'one note');
is_deeply([ grep { slurp($notes[0]) !~ /$_/ } @wal[0 .. 3] ], [], 'of all four');
acknowledge(@wal);
push_ok($wal[7]);
ok(-e "$archive/pgstrata/gap/" . ($notes[0] =~ m{([^/]+)$})[0], 'which the next push takes to the repository');
forget($_) for @wal[0 .. 3];

# What cannot be done is said at once or in time.
$stanza->run_fail('archive-push', segment('0000000100000000000000FE'), { code => 55, like => qr/0000000100000000000000FE/ });
spew($stanza->path('lock', 'demo.stop'), '');
$stanza->run_fail('archive-push', segment($wal[0]), { code => 62 });
unlink $stanza->path('lock', 'demo.stop');
my $file = $stanza->path('file');
spew($file, '');
$stanza->run_fail("--spool-path=$file", 'archive-push', segment($wal[0]), { code => 47 });
$stanza->run_fail('--repo1-path=/nonexistent', 'archive-push', segment($wal[0]),
	{ code => 103, like => qr/unable to find a valid repository:.*\n.*repo1: / });
wait_idle();
{
	open(my $lock, '>>', $stanza->path('lock', 'demo-archive-1.lock')) or die "lock: $!";
	flock $lock, LOCK_EX or die "flock: $!";
	$stanza->run_fail('--archive-timeout=300ms', 'archive-push', segment($wal[0]), { code => 82,
		name => 'somebody else has the lock and does nothing',
		like => qr/unable to push WAL file '$wal[0]' to the archive asynchronously after 0\.3 second\(s\)\n.*HINT: check '\Q$log\E' for errors\./ });
}
my $no_pg = PgStrata::Stanza->new(name => 'demo', id => 'no_pg', options => { global => { %$async, 'repo1-path' => $stanza->path('repo') } });
$no_pg->run_fail('archive-push', segment($wal[0]), { code => 37, like => qr/'archive-push' command in async mode requires option 'pg1-path'/ });

# Two repositories, one away: the other gets everything, and nobody is told that all is well.
my $second = $stanza->path('repo2');
mkdir $second;
$stanza->set(global => { 'repo2-path' => $second });
$stanza->run_ok('--no-online', 'stanza-create');
forget($_) for @wal;
rename $second, "$second.away" or die "rename: $!";
ready(@wal);
$stanza->run_fail('archive-push', segment($wal[0]), { code => 104, like => qr/repo2: \[\w+\] / });
ok(wait_idle(), 'the run ends');
is_deeply([ grep { !is_stored($_) } @wal ], [], 'the healthy repository has got everything');
is(scalar(() = glob "$out/*.ok"), 0, 'nothing counts as pushed');
is(scalar(() = glob "$out/*.part"), 12, 'what is proven is known');
rename "$second.away", $second or die "rename: $!";
$before = length logged();
push_ok($wal[0]);
ok(wait_idle(), 'when it is back');
is_deeply([ grep { !is_stored($_) || !is_stored($_, $second) } @wal ], [], 'both have everything');
unlike(substr(logged(), $before), qr/already exists/, 'without a second look at what was proven');
is(scalar(() = glob "$out/*.ok"), 12, 'and that is known');
$stanza->set(global => { 'repo2-path' => $stanza->path('repo3') });
$stanza->run_fail('archive-push', segment($wal[1]), { code => 104, name => 'a repository that was not there before' });
wait_idle();
$stanza->set(global => { 'repo2-path' => undef });

# Many foregrounds at once, processes of both kinds killed at random.
srand(255);
acknowledge(@wal);
my (%acknowledged, @odd);
my $rounds = deep_run() ? 60 : full_run() ? 12 : 4;
for my $round (1 .. $rounds) {
	forget($_) for @wal;
	my @running = map { { file => $_, process => spawn_command([ $stanza->command('archive-push', segment($_)) ]) } }
		map { ($_) x (1 + int rand 3) } @wal[0 .. 5];
	ready(@wal[0 .. 5]);
	for (1 .. 5) {
		sleep rand 0.1;
		if (rand() < 0.5) {
			kill 'KILL', $running[rand @running]{process}{pid};
		} elsif (open my $lock, '<', $stanza->path('lock', 'demo-archive-1.lock')) {
			kill 'KILL', $1 if (<$lock> // '') =~ /"pid":(\d+)/;
		}
	}
	for my $run (@running) {
		my ($code, $output) = reap($run->{process}, 60);
		push @odd, "$run->{file}: exit $code\n$output" if $code != 0 && $code != 137;
		push @odd, "$run->{file}: exit 0 and not stored" if $code == 0 && !is_stored($run->{file});
		$acknowledged{$code}++;
	}
	push @odd, 'the background does not end' if !wait_idle();
}
diag(join ', ', map { "exit $_: $acknowledged{$_} times" } sort keys %acknowledged);
is_deeply(\@odd, [], 'concurrent pushes and kills: exit 0 is the truth, and nothing else ends but what was killed');
ok(($acknowledged{0} // 0) > $rounds, 'most of them succeed');
push_ok($wal[0]);
wait_idle();
is_deeply([ glob "$out/*.tmp" ], [], 'the next run tidies up after the killed');

done_testing();
