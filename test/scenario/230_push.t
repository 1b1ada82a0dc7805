# archive-push and archive-get by hand: what is stored where, what is refused with which code, and that a refusal
# changes nothing, neither in the archive nor at the destination.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Digest::SHA qw(sha1_hex);
use File::Basename qw(dirname);
use POSIX ();
use PgStrata;
use PgStrata::Recovery;
use Test::More;
use Time::HiRes qw(sleep);

my $pg = PgStrata::Cluster->new(wal_segsize => 1, conf => ['wal_keep_size = 64MB', 'autovacuum = off']);
my $short = { 'compress-type' => 'none', 'archive-timeout' => '100ms' };
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => $short });
my $two = PgStrata::Stanza->new(cluster => $pg, id => 'two', options => { global => $short });
$two->set(global => { 'repo2-path' => $two->path('repo2') });
mkdir $two->path('repo2');

$pg->start;
my @wal;
while (@wal < 8) {
	$pg->psql("SELECT pg_logical_emit_message(false, 'test', repeat(md5(random()::text), 9000))");
	push @wal, $pg->switch_wal;
}
$_->run_ok('stanza-create') for $stanza, $two;
$pg->stop;

my $dir = work_dir() . '/given';
my $dest = work_dir() . '/delivered';
mkdir $dir;

sub segment { return $pg->data . "/pg_wal/$_[0]" }

# A file of this name and content, to be pushed.
sub given {
	my ($name, $content) = @_;
	spew("$dir/$name", $content);
	return "$dir/$name";
}

sub archive { return snapshot($stanza->path('repo')) }

# push_ok(FILE, PATTERN, OPTION...), refused(CODE, FILE, PATTERN, OPTION...): a refused push changes nothing.
sub push_ok {
	my ($file, $like, @options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return $stanza->run_ok(@options, 'archive-push', $file, { like => $like });
}

sub refused {
	my ($code, $file, $like, @options) = @_;
	my $how = ref $options[-1] ? pop @options : {};
	my $before = archive();
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$stanza->run_fail(@options, 'archive-push', $file // (), { %$how, code => $code, like => $like });
	same_tree($before, archive(), 'and the archive is as it was');
}

# Fetch a file: (code, content or undef).  The destination has another content before, and keeps it on failure.
sub fetch {
	my ($from, $name, @options) = @_;
	spew($dest, 'as before');
	my ($code) = $from->run(@options, 'archive-get', $name, $dest, { dir => '/' });
	my $content = slurp($dest);
	my @more = glob "$dest?*";
	ok($code == 0 || ($content eq 'as before' && !@more), "archive-get $name: $code, and leaves nothing behind")
		or diag(join "\n", substr($content, 0, 40), @more);
	return ($code, $content);
}

sub fetch_fails {
	my ($code, $name, @options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is((fetch($stanza, $name, @options))[0], $code, "archive-get $name ends with $code");
}

sub fetches {
	my ($name, $content) = @_;
	my ($code, $got) = fetch($stanza, $name);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($code == 0 && $got eq $content, "archive-get $name delivers what was pushed");
}

# A segment, once and again.
my ($name) = @wal;
my $content = slurp(segment($name));
my $other = substr($content, 0, 500_000) . 'X' . substr($content, 500_001);
push_ok(segment($name), qr/INFO: +pushed WAL file '$name' to the archive/);
my ($stored) = stored_wal($stanza, $name);
my $archive_dir = $stanza->path('repo', 'archive', 'demo', $pg->version . '-1');
is($stored, "$archive_dir/" . substr($name, 0, 16) . "/$name-" . sha1_hex($content), 'it stands where it belongs');
ok(slurp($stored) eq $content, 'with its content');
fetches($name, $content);

my $same = qr/WARN: +WAL file '$name' already exists in the repo1 archive with the same checksum/;
my $as_stored = archive();
push_ok(segment($name), $same);
push_ok(segment($name), $same, "--compress-type=$_") for qw(lz4 zst);
$stanza->run_ok('--no-archive-mode-check', 'archive-push', segment($name), { unlike => qr/WARN/ });
same_tree($as_stored, archive(), 'pushes of the same bytes store nothing');
refused(45, given($name, $other), qr/WAL file '$name' already exists in the repo1 archive with a different checksum/);
refused(45, "$dir/$name", qr/different checksum/, '--compress-type=lz4');

# A damaged copy proves nothing; it is healed under its name.
my %damage = (
	'a flipped bit' => sub { flip_bit($stored, 700_000, 3) },
	'no content' => sub { truncate_file($stored, 0) },
	'half of it' => sub { truncate_file($stored, 524288) },
	'another content' => sub { spew($stored, $other) },
);
for my $how (sort keys %damage) {
	$damage{$how}->();
	fetch_fails(42, $name);
	push_ok(segment($name), qr/WARN: .*is damaged and is stored again/, $how =~ /^a/ ? '--compress-type=zst' : ());
	same_tree($as_stored, archive(), "$how: healed");
}
flip_bit($stored, 700_000, 3);
refused(45, "$dir/$name", qr/different checksum/);
push_ok(segment($name), qr/stored again/);

# Each codec, there and back.
for my $codec (qw(gz lz4 zst)) {
	my $segment = $wal[{ gz => 1, lz4 => 2, zst => 3 }->{$codec}];
	push_ok(segment($segment), qr/pushed/, "--compress-type=$codec");
	like((stored_wal($stanza, $segment))[0], qr/\.$codec$/, "$segment is stored as .$codec");
	fetches($segment, slurp(segment($segment)));
}

# What an interrupted push leaves is neither a segment nor in the way of one.
my $late = $wal[4];
my $temp = dirname($stored) . "/$late-" . sha1_hex(slurp(segment($late))) . '.4711-deadbeef.pgbackrest.tmp';
spew($temp, 'part of it');
fetch_fails(1, $late);
push_ok(segment($late), qr/pushed/);
fetches($late, slurp(segment($late)));
unlink $temp;

# Paths and parameters.
my $unsent = $wal[5];
refused(32, "pg_wal/$unsent", qr/working directory/, { dir => '/' });
refused(55, segment('0000000100000000000000FE'), qr/0000000100000000000000FE/);
refused(43, undef, qr/WAL segment to push required/);
for my $stop (['demo.stop', 'stanza demo'], ['all.stop', 'all stanzas']) {
	spew($stanza->path('lock', $stop->[0]), '');
	refused(62, segment($unsent), qr/stop file exists for $stop->[1]/);
	unlink $stanza->path('lock', $stop->[0]);
}
$stanza->run_ok('archive-push', "pg_wal/$unsent", { dir => $pg->data, name => 'a relative path from there' });
fetches($unsent, slurp(segment($unsent)));

# Contents that cannot be this segment.
my $next = $wal[6];
my $good = slurp(segment($next));
my %bad = (
	'another system id' => [ 44, substr($good, 0, 24) . ("\x01" x 8) . substr($good, 32) ],
	'an unknown magic' => [ 46, "\x34\x12" . substr($good, 2) ],
	'the WAL of another place' => [ 29, $content ],
	'half a segment' => [ 29, substr($good, 0, length($good) / 2) ],
	'more than a segment' => [ 29, $good . 'x' ],
	'nothing' => [ 29, '' ],
	'only zeros' => [ 29, "\0" x length $good ],
);
for my $what (sort keys %bad) {
	my ($code, $bytes) = @{$bad{$what}};
	my ($got, $out, $err) = $stanza->run('archive-push', given($next, $bytes));
	is($got, $code, "$what is refused") or diag($out . $err);
	is_deeply([ stored_wal($stanza, $next) ], [], 'and not stored');
}

# Files of other kinds.
my $history = "1\t0/200000\tno recovery target specified\n";
push_ok(given('00000002.history', $history), qr/pushed/);
ok(-e "$archive_dir/00000002.history", 'a history file stands beside the folders of segments');
push_ok("$dir/00000002.history", qr/pushed/);
refused(45, given('00000002.history', "1\t0/300000\tanother line\n"), qr/different/);
fetches('00000002.history', $history);
refused(29, given('00000003.history', $_), qr/00000003/) for "rubbish\n", '', "1\t0/20";
fetch_fails(1, '00000003.history');

my $label = "$wal[2].00000028.backup";
push_ok(given($label, "START WAL LOCATION: 0/300028 (file $wal[2])\n"), qr/pushed/);
my $beside = dirname($stored) . "/$label";
ok(-e $beside && slurp($beside) eq slurp("$dir/$label"), 'a backup history file stands beside the segments');
push_ok("$dir/$label", qr/pushed/);
refused(45, given($label, "other\n"), qr/different/);

push_ok(given("$next.partial", $good), qr/pushed/);
is(scalar stored_wal($stanza, "$next.partial"), 1, 'a partial segment keeps its suffix');
fetches("$next.partial", $good);
fetch_fails(1, $next);
push_ok(segment($next), qr/pushed/);
fetches($next, $good);
refused(45, given("$next.partial", substr($good, 0, 1_000_000) . 'x' x 48576), qr/different/);

# archive-get: parameters, holes, duplicates, repositories.
$stanza->run_fail('archive-get', { code => 43, like => qr/WAL segment to get required/ });
$stanza->run_fail('archive-get', $name, { code => 43, like => qr/path to copy WAL segment required/ });
$stanza->run_fail('archive-get', $name, $dest, 'more', { code => 96, like => qr/extra parameters found/ });
$stanza->run_fail('archive-get', $name, 'pg_wal/x', { code => 32, dir => '/', like => qr/working directory/ });
$stanza->run_fail('archive-get', $name, work_dir() . '/absent/x', { like => qr{absent/x} });
$stanza->run_fail('archive-get', 'nonsense', $dest, { code => 96, like => qr/nonsense/ });
fetch_fails(1, '0000000100000000000000FE');
fetch_fails(1, $wal[7]);
rename((stored_wal($stanza, $wal[2]))[0], work_dir() . '/kept') or die "rename: $!";
fetch_fails(55, $wal[2]);
fetch_fails(1, $wal[2], '--archive-gap=end');
my $second = dirname($stored) . "/$name-" . sha1_hex($other);
spew($second, $other);
fetch_fails(45, $name);
$stanza->run_fail('archive-push', segment($name), { like => qr/duplicates found in archive for WAL segment $name/ });
unlink $second;
fetches($name, $content);
fetch_fails(103, $name, '--repo1-path=/nonexistent');
fetch_fails(103, $name, '--repo1-path=' . $stanza->path('spool'));
chmod 0, dirname($stored);
my ($code) = fetch($stanza, $name);
ok($code > 1, "an unreadable folder is not called absence: $code");
chmod 0750, dirname($stored);

# Another cluster's WAL neither comes in nor goes out.
my $foreign = PgStrata::Cluster->new(name => 'foreign', wal_segsize => 1);
my @foreign = ('--pg1-path=' . $foreign->data);
refused(103, segment($wal[7]), qr/\[ArchiveMismatchError\] .*system-id/, @foreign);
fetch_fails(103, $name, @foreign);
refused(44, (glob $foreign->data . '/pg_wal/0*')[0], qr/system-id/);

# Two repositories: the healthy one has the segment even though the push fails; a second run only completes.
my $first_two = $wal[0];
my $place = $two->path('repo2', 'archive', 'demo', $pg->version . '-1');
mkdir $place;
chmod 0555, $place;
$two->run_fail('archive-push', segment($first_two), { code => 104, like => qr/repo2: \[\w+\] .*repo2/ });
my @in_first = stored_wal($two, $first_two);
ok(@in_first == 1 && slurp($in_first[0]) eq $content, 'the other repository has it');
chmod 0755, $place;
$two->run_ok('archive-push', segment($first_two), { like => qr/repo1 archive with the same checksum/,
	unlike => qr/repo2 archive with the same/, name => 'a second run completes' });
my @in_second = glob "$place/*/$first_two-*";
ok(@in_second == 1 && slurp($in_second[0]) eq $content, 'both have it');
flip_bit($in_first[0], 1000);
my ($two_code, $got) = fetch($two, $first_two);
ok($two_code == 0 && $got eq $content, 'the second delivers what the first has damaged');
rename $two->path('repo'), $two->path('away') or die "rename: $!";
is((fetch($two, $first_two))[0], 0, 'and what the first cannot be asked for');
my ($unknown) = fetch($two, $wal[7]);
ok($unknown > 1, "absence in one of two repositories is not absence: $unknown");
$two->run_fail('archive-push', segment($wal[1]), { code => 104, like => qr/repo1: / });
is(scalar(() = glob "$place/*/$wal[1]-*"), 1, 'the second repository takes what the first cannot');

# In recovery PostgreSQL must not take any end of archive-get for the end of the archive.
my $place_of_recovery = work_dir() . '/recovery';
mkdir $place_of_recovery;
spew("$place_of_recovery/recovery.signal", '');

sub in_recovery {
	my ($signal, $delay, @command) = @_;
	my $child = fork // die "fork: $!";
	if ($child == 0) {
		$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
		chdir $place_of_recovery;
		open STDOUT, '>', '/dev/null';
		open STDERR, '>', '/dev/null';
		exec @command or POSIX::_exit(127);
	}
	sleep $delay;
	kill $signal, $child if $signal;
	waitpid $child, 0;
	return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}
my @get = ($stanza->command('archive-get', $wal[3], $dest));
unlink $dest;
is(in_recovery(0, 0, @get), 0, 'in recovery a segment is delivered');
is(in_recovery(0, 0, $stanza->command('archive-get', $wal[7], $dest)), 1, 'and its absence is told');
is(in_recovery(0, 0, $stanza->command('archive-get', $wal[2], $dest)), 200, 'a hole is not');
is(in_recovery(0, 0, $stanza->command('--bogus', 'archive-get', $wal[7], $dest)), 200, 'nor a wrong option');
is(in_recovery(0, 0, $stanza->command('archive-get', $wal[7])), 200, 'nor a missing parameter');
is(in_recovery(0, 0, $stanza->command('--repo1-path=/nonexistent', 'archive-get', $wal[7], $dest)), 200,
	'nor a missing repository');

srand(230);
my (%ends, @wrong);
for my $number (1 .. (deep_run() ? 2000 : 40)) {
	unlink $dest;
	my $signal = (qw(TERM KILL INT HUP))[$number % 4];
	my $delay = rand(0.08);
	my $end = in_recovery($signal, $delay, @get);
	$ends{$end}++;
	push @wrong, "SIG$signal after $delay s: $end" unless $end == 0 || $end == 200 || $end > 128;
	push @wrong, "SIG$signal after $delay s: wrong bytes" if -e $dest && slurp($dest) ne slurp(segment($wal[3]));
	push @wrong, "SIG$signal after $delay s: temporary file" if $signal ne 'KILL' && glob "$dest?*";
	unlink glob "$dest?*";
}
diag(join ', ', 'exit codes', map { "$_: $ends{$_} times" } sort keys %ends);
is_deeply(\@wrong, [], 'signals: delivered whole, or above 125');

done_testing();
