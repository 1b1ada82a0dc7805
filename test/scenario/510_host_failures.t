# What goes wrong between two hosts is said with host, program and first cause, within the time-outs; nothing that is unknown is taken for
# absent, nothing half written counts, no process is left on either side, and the next command works.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Path qw(remove_tree);
my $small;
BEGIN { $small = $ENV{PGS_SMALL} } # PgStrata removes what looks like PostgreSQL's
use PgStrata;
use PgStrata::Hosts;
use PgStrata::Recovery;
use Test::More;
use Time::HiRes qw(sleep time);

need_sshd();
my %short = ('io-timeout' => '4s', 'db-timeout' => '3s', 'protocol-timeout' => '6s', 'archive-timeout' => '5s', 'process-max' => 2);
my $pg = PgStrata::Cluster->new(wal_segsize => 1, conf => ['autovacuum = off', 'wal_keep_size = 200MB']);
my $hosts = PgStrata::Hosts->new(cluster => $pg, local_pg => 1,
	repo => { global => { %short, 'compress-type' => 'none', 'repo1-retention-full' => 9 } },
	pg => { global => { %short, 'compress-type' => 'none', 'compress-level-network' => -5 } });
my $open = PgStrata::Hosts->new(cluster => $pg, local_pg => 1, forced => 0,
	repo => { global => { %short, 'repo1-path' => $hosts->repo->path('repo') } },
	pg => { global => { %short, 'compress-type' => 'none' } });
my ($repo, $db) = ($hosts->repo, $hosts->pg);
my $copy = PgStrata::Cluster->new(name => 'copy', init => 0);
my $dir = $hosts->sshd->dir;
my $got = work_dir() . '/got';

$pg->archive_to($db);
$pg->start;
$pg->drop_templates;
$repo->run_ok('stanza-create');
write_rows($pg, 5);
# more than what pipes, channels and a relay hold, in files of one size: whoever is killed early is not done
my $noise = "string_agg(md5(random()::text), '')";
$pg->psql("CREATE TABLE big$_ (text text); ALTER TABLE big$_ ALTER text SET STORAGE EXTERNAL;\n"
	. "INSERT INTO big$_ SELECT $noise FROM generate_series(1, 48000) AS n GROUP BY n % 20;") for 1 .. 20;
ok($pg->wait_archived($pg->switch_wal), 'archived');
$repo->run_ok('backup', '--type=full');
ok($pg->wait_archived($pg->switch_wal), 'archived');
my $state = row_state($pg);
my ($there) = wal_names($repo);

# Segments that are not in the archive: a push that must fail tries the first of them, one that must work makes the next
# one the first, so that the archive never has a gap.
$pg->conf_add("archive_command = '/bin/true'");
$pg->reload;
my $message = "SELECT pg_logical_emit_message(false, 'noise', $noise) FROM generate_series(1, 25000)";
my @fresh = map { $pg->psql($message); $pg->switch_wal } 1 .. 40;
$pg->stop;
sub fresh {
	shift @fresh while stored_wal($repo, $fresh[0]);
	return $pg->data . "/pg_wal/$fresh[0]";
}

sub restoring { $copy->remove_data if -e $copy->data; return ('restore', '--pg1-path=' . $copy->data, '--archive-mode=off') }

# Behind the line that shows the options.
my $host = qr/(?:ERROR|WARN|status: error).*?(?:host '127\.0\.0\.1'|'127\.0\.0\.1:|127\.0\.0\.1: |postgres\@127)/s;

# Push, get and restore fail as they must, soon; info says why; nothing of it counts.
sub all_fail {
	my ($side, $name, $like, %how) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $file = fresh();
	my %kinds = (push => [ 'archive-push', $file ], get => [ 'archive-get', $there, $got ], restore => [ restoring() ],
		info => [ 'info' ]);
	for my $kind (@{$how{kinds} // [ qw(push get restore) ]}) {
		my $begin = time;
		unlink $got;
		my $how = { name => "$name: $kind", like => $like, unlike => qr/AddressSanitizer|runtime error|unable to find \w{24} in the/ };
		$how->{code} = $how{code}{$kind} if $how{code}{$kind};
		$kind eq 'info' ? $side->run_ok(@{$kinds{$kind}}, $how) : $side->run_fail(@{$kinds{$kind}}, $how);
		cmp_ok(time - $begin, '<', $how{within} // 20, "$name: $kind is given up in time");
		ok(!-e $got, "$name: nothing that was got") if $kind eq 'get';
		ok(!-e $copy->data . '/global/pg_control', "$name: nothing that would start") if $kind eq 'restore';
		is(scalar(stored_wal($repo, substr $file, -24)), 0, "$name: nothing that was pushed") if $kind eq 'push';
	}
}

# Where the conversation does not begin.
sub none_begins {
	my ($side, $name, $like, %how) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	all_fail($side, $name, $like, code => { push => 103, get => 103, restore => 75 }, %how);
}

sub all_works {
	my ($hosts_, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$hosts_->quiet("after $name");
	$hosts_->pg->run_ok('archive-push', fresh(), { name => "the next push after $name" });
	$hosts_->pg->run_ok('archive-get', $there, $got, { name => "the next get after $name" });
}

sub with {
	my ($side, $options, $code) = @_;
	my %before = map { ($_ => $side->{sections}{global}{$_}) } keys %$options;
	$side->set(global => $options);
	$code->();
	$side->set(global => \%before);
}

# --- nobody to talk to ---

with($db, { 'repo1-host-port' => PgStrata::Sshd::free_port() }, sub {
	none_begins($db, 'no sshd', qr/$host.*Connection refused/s);
});
with($db, { 'repo1-host' => 'no-such-host.invalid' }, sub {
	none_begins($db, 'a host that does not exist', qr/no-such-host\.invalid.*(?:Could not resolve|not known)/s);
});
with($db, { 'repo1-host-user' => 'nobody-here' }, sub {
	none_begins($db, 'a user that does not exist', qr/$host.*Permission denied/s, kinds => [ 'push' ]);
});
my $stranger = "$dir/stranger";
spew($stranger, slurp($hosts->ssh('pg')) =~ s/-i \S+/-i @{[ $hosts->sshd->key('stranger') ]}/r);
chmod 0755, $stranger;
with($db, { 'cmd-ssh' => $stranger }, sub { none_begins($db, 'a key that is not let in', qr/$host.*Permission denied/s) });
spew("$dir/unknowing", slurp($hosts->ssh('pg')) =~ s/UserKnownHostsFile=\S+/UserKnownHostsFile=\/dev\/null/r);
chmod 0755, "$dir/unknowing";
with($db, { 'cmd-ssh' => "$dir/unknowing" }, sub {
	none_begins($db, 'a host key that nobody knows', qr/$host.*Host key verification failed/s, kinds => [ 'push' ]);
});
with($db, { 'cmd-ssh' => 'no-such-ssh' }, sub {
	none_begins($db, 'no ssh', qr/unable to execute 'no-such-ssh': \[\d+\] (?:No such file|Permission denied)/);
});
all_works($hosts, 'nobody was reached');

# --- somebody else to talk to ---

my %foreign = (
	'a program that is not there' => [ '/no/such/pgstrata', qr{/no/such/pgstrata.*(?:No such file|not found)}s ],
	'a program that tells its words' => [ '/bin/echo', qr/--role=\S+.*serve.*repo1-host-cmd/s ],
	'a program that does not know them' => [ '/bin/cat', qr/cat.*exit code 1: .*option/s ],
	'a program that says nothing and ends' => [ '/bin/true', qr/exit code 0/s ],
	'a program that never ends to talk' => [ "$dir/endless", qr/endless talk.*repo1-host-cmd/s ],
	'a program that says nothing and stays' => [ "$dir/silent", qr/has not greeted within 3500 ms.*io-timeout|did not answer within 4s/s ],
	pgbackrest() ? ('pgBackRest' => [ pgbackrest(), qr/pgbackrest.*(?:invalid option|repo1-host-cmd)/s ]) : (),
);
spew("$dir/endless", "#!/bin/sh\nexec yes endless talk\n");
spew("$dir/silent", "#!/bin/sh\nexec sleep 600\n");
chmod 0755, "$dir/endless", "$dir/silent";
for my $name (sort keys %foreign) {
	my ($program, $like) = @{$foreign{$name}};
	with($open->pg, { 'repo1-host-cmd' => $program }, sub {
		none_begins($open->pg, $name, qr/$host.*$like/s, kinds => [ qw(push get info) ]);
	});
}
all_works($open, 'foreign programs');
my $line = $hosts->authorized_line('repo');
sub let_in { $hosts->sshd->authorize_lines(@_, $hosts->authorized_line('pg')) }
let_in($line =~ s/command="/command="echo Welcome to this host; exec /r);
none_begins($db, 'a greeting', qr/$host.*Welcome to this host.*repo1-host-cmd/s, kinds => [ qw(push get) ]);
let_in($line =~ s/command="[^"]*"/command="echo gone to lunch >&2; exit 3"/r);
none_begins($db, 'a forced command that fails', qr/$host.*exit code 3: gone to lunch/s, kinds => [ qw(push get) ]);
let_in($line);
$hosts->through(pg => poke => 'server:20:2');
none_begins($db, 'another major version', qr/$host.*(?:\b2\.\d.*\b1\.\d|\b1\.\d.*\b2\.\d)/s);
$hosts->direct('pg');
all_works($hosts, 'other versions');

# --- it will not, or cannot ---

let_in($line =~ s/command="/command="trap '' XFSZ; ulimit -f 300; /r);
my $pushed = fresh();
$db->run_fail('archive-push', $pushed, { name => 'a full disk', like => qr/$host.*unable to write.*File too large/s });
is(scalar(grep { /\Q@{[ substr $pushed, -24 ]}\E/ } keys %{snapshot($repo->path('repo'))}), 0, 'leaves nothing');
if (defined $small && -d $small && -w $small) {
	my $room = "$small/t$$";
	mkdir $room or die "mkdir $room: $!";
	PgStrata::at_end(sub { remove_tree($room) });
	my $tight = PgStrata::Hosts->new(cluster => $pg, local_pg => 1,
		repo => { global => { %short, 'repo1-path' => "$room/repo" } }, pg => { global => { %short, 'compress-type' => 'none' } });
	$tight->repo->run_ok('stanza-create', '--no-online');
	open(my $ballast, '>:raw', "$room/ballast") or die "ballast: $!";
	1 while (syswrite($ballast, "\0" x 65536)) // 0;
	$tight->pg->run_fail('archive-push', fresh(), { name => 'a disk that is full', like => qr/$host.*No space left/s });
	close $ballast;
	unlink "$room/ballast";
	is(scalar(grep { /-[0-9a-f]{40}|\.tmp$/ } keys %{snapshot("$room/repo")}), 0, 'leaves nothing');
	$tight->pg->run_ok('archive-push', fresh(), { name => 'and works when there is room' });
}
let_in($line =~ s/--stanza=demo/--stanza=other/r);
all_fail($db, 'another stanza there', qr/$host.*(?:stanza|other)/s);
let_in($line =~ s/--role=\S+/--role=restore/r);
$db->run_fail('archive-push', fresh(), { name => 'a role that is missing', like => qr/$host.*archive/s });
let_in($line);
$repo->run_ok('stop');
$db->run_fail('archive-push', fresh(), { name => 'stopped there', code => 104, like => qr/$host.*stop file exists for/s });
$repo->run_ok('start');
all_works($hosts, 'refusals');

# --- cut, held ---

sub through_fails {
	my ($what, $from, $bytes, $kind, $name) = @_;
	$hosts->through(pg => $what => "$from:$bytes");
	all_fail($db, $name, $host, kinds => [ $kind ], within => 30);
	$hosts->quiet("after it was $name");
}
my @points = map { my $from = $_; map { [ $from, $_ ] } 1, 9, 30, 200, 3000, 40000, 300000 } qw(server caller);
for my $point (@points) {
	my ($from, $bytes) = @$point;
	for my $kind (qw(push get restore)) {
		next if $from eq 'caller' && $bytes > ($kind eq 'push' ? 300000 : 200) || $from eq 'server' && $kind eq 'push' && $bytes > 200;
		through_fails('cut', $from, $bytes, $kind, "cut after $bytes bytes of the $from") if deep_run() || $bytes < 50 || $kind ne 'get';
		through_fails('hold', $from, $bytes, $kind, "held after $bytes bytes of the $from") if deep_run() || $bytes == 9 || ($bytes == 40000 && full_run());
	}
}
$hosts->direct('pg');
all_works($hosts, 'cuts');

# --- killed, at points that what they have done by then shows ---

$hosts->through(pg => rate => 600_000);
sub until_so {
	my ($running, $is_so) = @_;
	sleep 0.002 until PgStrata::has_ended($running) || $is_so->();
	return $running;
}

sub restore_until {
	my ($count) = @_;
	my $running = spawn_command([ $db->command(restoring()) ]);
	return until_so($running, sub { (() = slurp("$running->{files}.out") =~ /restore file/g) >= $count });
}

sub push_until_begun {
	my $running = spawn_command([ $db->command('archive-push', fresh()) ]);
	return until_so($running, sub { unfinished() });
}
sub unfinished { return grep { /\.tmp$/ } keys %{snapshot($repo->path('repo', 'archive'))} }

sub kill_servers { kill 'KILL', map { $_->[0] } $hosts->servers }

sub says_where {
	my ($running, $name) = @_;
	my ($code, $out) = reap($running, 60);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($code > 0 && $code < 126, "$name: fails") or diag "exit $code";
	like($out, $host, "$name: and says where");
	return $out;
}

for my $count (1, 5, 12) {
	my $running = restore_until($count);
	kill_servers();
	says_where($running, "what serves is killed after $count restored files");
	ok(!-e $copy->data . '/global/pg_control', 'and nothing is left that would start');
	$hosts->quiet('of it');
	$running = restore_until($count);
	kill 'KILL', $running->{pid};
	is((reap($running, 60))[0], 137, "restore itself is killed after $count files");
	$hosts->quiet('of it');
}
my $running = push_until_begun();
kill_servers();
says_where($running, 'what serves is killed while a segment is pushed');
is(scalar(stored_wal($repo, $fresh[0])), 0, 'nothing is there under its name');
$hosts->quiet('of it');
unlink map { $repo->path('repo', 'archive', $_) } unfinished();
$running = push_until_begun();
kill 'KILL', $running->{pid};
is((reap($running, 60))[0], 137, 'the push itself is killed');
$hosts->quiet('of it');
is(scalar(stored_wal($repo, $fresh[0])), 0, 'nothing is there under its name');
is_deeply([ unfinished() ], [], 'and the other host has undone what was begun');
$hosts->direct('pg');
all_works($hosts, 'kills');
$db->run_ok(restoring(), { name => 'a restore at last' });
recovers_whole($copy, $state, 'at last');
$copy->stop('immediate');
$_->quiet('when all is done') for $hosts, $open;
done_testing;
