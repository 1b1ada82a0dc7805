# A conversation that is cut, stalled or damaged at a frame, in either direction: the caller ends with a documented code and an error that names the
# host, archive-get never takes it for an absence, nothing half-written counts, the next run works, and no process is left
# on either side.  The conversation is recorded first; each of its frames is then the place of an accident (a sample of
# them without TEST_FULL).
use strict;
use warnings;
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use List::Util qw(shuffle);
use PgStrata;
use PgStrata::Wire;
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{SEED} // time ^ $$;
srand $seed;
note "SEED=$seed";

# --- two hosts on one, and an ssh that reads along ---

my $pg = PgStrata::Cluster->new(wal_segsize => 1);
my ($source, $target, $ssh, $dir) = map { work_dir() . "/$_" } qw(source target ssh relay);
my ($segment) = map { m{([0-9A-F]{24})$} } sort glob $pg->data . '/pg_wal/0*';
make_path(map { "$source/$_" } qw(global base/1 pg_wal pg_tblspc));
cp($pg->data . "/$_", "$source/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control', 'base/1/1259', 'base/1/1247',
	"pg_wal/$segment";
spew("$source/base/1/small", 'small');
my $wal = slurp("$source/pg_wal/$segment");
relay_script($ssh, $dir);
my %times = ('io-timeout' => '20s', 'db-timeout' => '10s', 'protocol-timeout' => '20s');
my %common = ('cmd-ssh' => $ssh, 'compress-type' => 'none', 'process-max' => 1, 'log-level-file' => 'off', %times);
my $host = PgStrata::Stanza->new(id => 'host', options => { global => { %common, 'repo1-retention-full' => 999 } });
my $there = PgStrata::Stanza->new(id => 'db', options => { global => { %common, 'repo1-path' => undef, 'repo1-host' => '127.0.0.1',
	'repo1-host-cmd' => program(), 'repo1-host-config' => $host->config_file }, demo => { 'pg1-path' => $source } });
$host->set(demo => { 'pg1-path' => $source, 'pg1-host' => '127.0.0.1', 'pg1-host-cmd' => program(), 'pg1-host-config' => $there->config_file });
my $repo = $host->path('repo');
# the same with a server that runs
my $live = PgStrata::Stanza->new(id => 'live', options => { global => { %common, 'repo1-path' => undef }, demo => { 'pg1-path' => $pg->data,
	'pg1-port' => $pg->port, 'pg1-socket-path' => $pg->socket_dir, 'pg1-user' => 'postgres' } });
my $online = PgStrata::Stanza->new(id => 'online', options => { global => { %common, 'repo1-retention-full' => 999, 'archive-check' => 'n',
	'repo1-bundle' => 'y', 'start-fast' => 'y' }, demo => { 'pg1-path' => $pg->data, 'pg1-host' => '127.0.0.1', 'pg1-host-cmd' => program(),
	'pg1-host-config' => $live->config_file } });
$pg->conf_add('archive_mode = on', "archive_command = 'true'");
$pg->start;
$pg->drop_templates;

# plan(name => value): what the relay does from here on.
sub plan_relay {
	my (%plan) = @_;
	remove_tree($dir);
	mkdir $dir;
	spew("$dir/plan", join(' ', map { "$_=$plan{$_}" } sort keys %plan) . "\n");
}

# Processes of ours but this one and those it waits for.
sub left_over {
	my @found;
	for my $process (glob '/proc/[0-9]*') {
		open(my $in, '<', "$process/cmdline") or next;
		my $words = join '', <$in> // '';
		push @found, "$process: " . $words =~ s/\0/ /gr if $words =~ /\Q${\work_dir()}\E/ && $words =~ /serve|relay|--stanza|\Q$ssh\E/
			&& $process ne "/proc/$$";
	}
	return @found;
}

# --- what is done, how to begin, and what is wrong with what it left ---

my (%stored, %answers);
sub segments { return grep { m{/$segment} } map { "archive/$_" } keys %{snapshot("$repo/archive")} }
sub half_written { return grep { /\.tmp$/ } map { my $place = $_; map { "$place/$_" } keys %{snapshot($place)} } grep { -d } @_ }

my ($target_tree, @labels);
my %do = (
	'archive-push' => {
		who => $there, words => [ 'archive-push', "$source/pg_wal/$segment" ],
		begin => sub { unlink map { "$repo/$_" } segments() },
		wrong => sub {
			my ($code) = @_;
			my @have = segments();
			return (map({ "half written: $_" } half_written($repo)), map({ "not what was pushed: $_" } grep { slurp("$repo/$_") ne $wal } @have),
				@have > 1 ? 'two of them' : (), $code == 0 && !@have ? 'said to be there, and is not' : ());
		},
	},
	'archive-get' => {
		who => $there, words => [ 'archive-get', $segment, "$source/pg_wal/RECOVERYXLOG" ],
		begin => sub { unlink "$source/pg_wal/RECOVERYXLOG" },
		wrong => sub {
			my ($code) = @_;
			my $file = "$source/pg_wal/RECOVERYXLOG";
			return (map({ "half written: $_" } half_written("$source/pg_wal")), $code == 1 ? 'a cut was taken for an absence' : (),
				-e $file && slurp($file) ne $wal ? 'half a segment' : (), $code == 0 && !-e $file ? 'said to be there, and is not' : ());
		},
	},
	'restore' => {
		who => $there, words => [ 'restore', "--pg1-path=$target", '--type=none' ],
		again => [ 'restore', "--pg1-path=$target", '--type=none', '--delta' ],
		begin => sub { remove_tree($target); mkdir $target, 0700 },
		wrong => sub {
			my ($code) = @_;
			return $code ? (-e "$target/global/pg_control" ? 'what is not whole has a pg_control' : ())
				: $target_tree ? tree_diff($target_tree, snapshot($target, ignore => qr/postgresql\.auto\.conf/)) : ();
		},
	},
	'backup' => {
		who => $host, words => [ 'backup', '--type=full', '--no-online' ],
		begin => sub { @labels = $host->labels },
		wrong => sub {
			my ($code) = @_;
			my @now = $host->labels;
			return $code == 0 && @now != @labels + 1 ? 'said to be there, and is not' : $code && @now != @labels ? 'a failed backup is listed' : ();
		},
	},
);

$do{'online backup'} = {
	who => $online, words => [ 'backup', '--type=full' ],
	begin => sub { @labels = $online->labels },
	wrong => sub {
		my ($code) = @_;
		my @now = $online->labels;
		return ($code == 0 && @now != @labels + 1 ? 'said to be there, and is not' : $code && @now != @labels ? 'a failed backup is listed' : (),
			wait_until(sub { $pg->psql("SELECT count(*) FROM pg_stat_activity WHERE application_name ~ 'pgBackRest|pgStrata|backrest'") == 0 }, 30)
			? () : 'a session is left on the server');
	},
};

sub perform {
	my ($what, $words) = @_;
	my $do = $do{$what};
	my $begun = time;
	my ($code, $out, $err) = $do->{who}->run(@$words, { timeout => 120 });
	return ($code, $out . $err, time - $begun);
}

# One accident: what is wrong with how it ended.
sub accident {
	my ($what, $plan, %limits) = @_;
	my $do = $do{$what};
	$do->{begin}->();
	plan_relay(%$plan);
	$do->{who}->set(global => \%limits);
	my ($code, $text, $seconds) = perform($what, $do->{words});
	$do->{who}->set(global => \%times);
	my @wrong;
	push @wrong, "exit $code" if $code > 125 || $code == 117 || $code == 124;
	push @wrong, "took $seconds s" if $seconds > 45;
	push @wrong, 'a sanitizer' if $text =~ /Sanitizer|runtime error/;
	my $told = join "\n", grep { !/^P\d+ +(?:INFO|DETAIL):/ } split /\n/, $text;
	push @wrong, 'no error that names the host' if $code && ($told !~ /ERROR: \[\d{3}\]/ || $told !~ /127\.0\.0\.1/);
	push @wrong, "left: $_" for wait_until(sub { !left_over() }, 30) ? () : left_over();
	push @wrong, $do->{wrong}->($code);
	plan_relay(mode => 'record');
	my ($next, $more) = $code ? perform($what, $do->{again} // $do->{words}) : (0, '');
	push @wrong, "the next run: exit $next\n$more", $next ? () : $do->{wrong}->(0) if $next || $code && $do->{wrong}->(0);
	return (\@wrong, "exit $code\n$text");
}

# The frames of a run in which nothing happens: [ connection, from, number, type, bytes ].
sub record {
	my ($what) = @_;
	$do{$what}{begin}->();
	plan_relay(mode => 'record');
	my ($code, $text) = perform($what, $do{$what}{words});
	is(join("\n", $code ? "exit $code\n$text" : (), $do{$what}{wrong}->($code)), '', "$what through the relay");
	$stored{$what}{$_} = slurp("$dir/1.$_") for grep { -e "$dir/1.$_" } qw(caller server);
	my @frames = map { [ split ] } split /\n/, slurp("$dir/frames");
	$answers{$what} = [ grep { $_->[1] eq 'server' && $_->[3] eq 'A' } @frames ];
	return @frames;
}

$host->set(demo => { "pg1-host$_" => undef }) for '', '-cmd', '-config';
$host->run_ok('stanza-create', '--no-online');
$host->run_ok('backup', '--no-online', '--type=full');
$host->set(demo => { 'pg1-host' => '127.0.0.1', 'pg1-host-cmd' => program(), 'pg1-host-config' => $there->config_file });

plan_relay(mode => 'record');
$online->run_ok('stanza-create');

# --- cuts and stalls ---

my %sample = ('archive-push' => 16, 'archive-get' => 16, 'restore' => 6, 'backup' => 6, 'online backup' => 4);
for my $what ('archive-push', 'archive-get', 'restore', 'backup', 'online backup') {
	my @frames = record($what);
	$target_tree = snapshot($target, ignore => qr/postgresql\.auto\.conf/) if $what eq 'restore';
	cmp_ok(scalar @frames, '>', 6, "$what is a conversation of " . @frames . ' frames');
	my @points;
	for my $frame (@frames) {
		my ($connection, $from, $number, $type, $bytes) = @$frame;
		my %seen;
		push @points, map { { mode => 'cut', connection => $connection, from => $from, frame => $number, at => $_, type => $type } }
			grep { $_ <= $bytes && !$seen{$_}++ } 0, 5, 12, int((12 + $bytes) / 2), $bytes - 1, $bytes;
	}
	my $most = deep_run() ? @points : full_run() ? 2 * $sample{$what} : $sample{$what};
	@points = (shuffle @points)[0 .. $most - 1] if @points > $most;
	for my $point (@points) {
		my ($wrong, $text) = accident($what, $point);
		ok(!@$wrong, "$what, cut at byte $point->{at} of frame $point->{frame} ($point->{type}) of the $point->{from}, connection $point->{connection}")
			or diag(join "\n", @$wrong, $text);
	}
	@points = map { { %$_, mode => 'stall' } } (shuffle grep { $_->{type} ne 'G' } @points)[0 .. (deep_run() ? 5 : 1)];
	for my $point (@points) {
		my ($wrong, $text) = accident($what, $point, 'io-timeout' => '2s', 'db-timeout' => '1s', 'protocol-timeout' => '3s');
		ok(!@$wrong, "$what, stalled at byte $point->{at} of frame $point->{frame} ($point->{type}) of the $point->{from}") or diag(join "\n", @$wrong, $text);
	}
}

$pg->stop;

# In recovery PostgreSQL must not take it for the end of the archive either.
spew("$source/recovery.signal", '');
plan_relay(mode => 'cut', connection => 1, from => 'server', frame => $answers{'archive-get'}[-1][2], at => 3);
my ($code, $out, $err) = $there->run('archive-get', $segment, "$source/pg_wal/RECOVERYXLOG");
is($code, 200, 'in recovery a cut stops the server') or diag("$out$err");
unlink "$source/recovery.signal";

# The other side is not there at all.
plan_relay(mode => 'record');
$there->set(global => { 'repo1-host-cmd' => '/no/such/program' });
($code, $out, $err) = $there->run('archive-get', $segment, "$source/pg_wal/RECOVERYXLOG");
isnt($code, 1, 'a program that is missing is no absence');
isnt($code, 0, 'but a failure');
like("$out$err", qr{127\.0\.0\.1.*/no/such/program|/no/such/program.*127\.0\.0\.1}s, 'that names host and program');
$there->set(global => { 'repo1-host-cmd' => program() });

# --- kill -9 of either side ---

for my $what ('archive-push', 'restore') {
	for my $side ('the caller', 'the server') {
		$do{$what}{begin}->();
		my ($connection, undef, $frame) = @{$answers{$what}[-1]};
		plan_relay(mode => 'stall', connection => $connection, from => 'server', frame => $frame, at => 0);
		my $running = spawn_command([ $do{$what}{who}->command(@{$do{$what}{words}}) ]);
		wait_until(sub { -e "$dir/reached" || PgStrata::has_ended($running) }, 60);
		if ($side eq 'the caller') {
			kill 'KILL', $running->{pid};
		} else {
			kill 'KILL', map { m{/proc/(\d+): .* serve\s*$} && !/\Q$ssh\E|sh -c/ ? $1 : () } left_over();
			kill 'KILL', map { m{/proc/(\d+): .*\Q$ssh\E} ? $1 : () } left_over();
		}
		my ($code, $text) = reap($running, 90);
		isnt($code, 0, "$what does not survive kill -9 of $side");
		ok(wait_until(sub { !left_over() }, 30), 'and no process is left') or diag(join "\n", left_over());
		is(join("\n", $do{$what}{wrong}->(2)), '', 'nothing half-written counts');
		plan_relay(mode => 'record');
		my ($next, $more) = perform($what, $do{$what}{again} // $do{$what}{words});
		is($next, 0, 'the next run works') or diag($more);
	}
}

# --- truncated and random frames ---

sub frames_of {
	my ($bytes, $magic) = @_;
	my @frames = $magic ? substr($bytes, 0, 8, '') : ();
	push @frames, substr($bytes, 0, 12 + unpack('V', $bytes), '') while length $bytes >= 12;
	return (@frames, length $bytes ? $bytes : ());
}
sub one_of { return $_[int rand @_] }

# Bytes of a conversation as they never were.
sub spoil {
	my ($bytes, $magic) = @_;
	my @frames = frames_of($bytes, $magic);
	for (1 .. 1 + int rand 3) {
		my $at = int rand @frames;
		my $how = int rand 9;
		if ($how == 0) {
			$#frames = $at;
			$frames[$at] = substr $frames[$at], 0, int rand length $frames[$at];
		} elsif ($how == 1 && length $frames[$at]) {
			vec($frames[$at], $_, 1) ^= 1 for map { int rand 8 * length $frames[$at] } 1 .. 1 + int rand 8;
		} elsif ($how == 2) {
			splice @frames, $at, 0, $frames[$at];
		} elsif ($how == 3) {
			splice @frames, $at, 1 if @frames > 1;
		} elsif ($how == 4) {
			@frames[ $at, -1 ] = @frames[ -1, $at ];
		} elsif ($how == 5 && length $frames[$at] >= 12) {
			substr($frames[$at], 0, 4) = pack 'V', one_of(0, 1, 11, 65537, 1 << 20, (1 << 20) + 1, 0xffffffff, int rand 5000);
		} elsif ($how == 6 && length $frames[$at] >= 16) {
			my $field = 12 + int rand(length($frames[$at]) - 15);
			substr($frames[$at], $field, 4) = pack 'V', one_of(0, 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff);
		} elsif ($how == 7) {
			splice @frames, $at, 0, join '', map { chr int rand 256 } 1 .. 1 + int rand 100;
		} elsif ($how == 8) {
			splice @frames, $at, 0, wire_frame(one_of(qw(H Q D O F A E W C P G)), int rand 5, join('', map { chr int rand 256 } 1 .. int rand 60),
				int rand 4);
		}
	}
	return join '', @frames;
}

my $rounds = deep_run() ? 5000 : full_run() ? 200 : 60;
my @bad;
my @serve = ($host->command('--role=archive,restore', '--log-level-console=off', 'serve'));
for my $round (1 .. $rounds) {
	my $bytes = spoil($stored{one_of('archive-push', 'archive-get')}{caller}, 0);
	my ($code, $out, $err) = run_command([ @serve ], stdin => $bytes, timeout => 60);
	next if $code <= 125 && $code != 117 && $code != 124 && $err !~ /Sanitizer|runtime error/;
	push @bad, "round $round: exit $code\n" . substr($err, 0, 3000);
}
is(join("\n", @bad[0 .. ($#bad < 3 ? $#bad : 3)]), '', "$rounds spoiled conversations to the server, SEED=$seed");
@bad = half_written($repo);
is("@bad", '', 'leave nothing half written');
unlink map { "$repo/$_" } segments();
plan_relay(mode => 'record');
$there->run_ok('archive-push', "$source/pg_wal/$segment");
@bad = ();
for my $round (1 .. $rounds) {
	$do{'archive-get'}{begin}->();
	my $bytes = spoil($stored{'archive-get'}{server}, 1);
	plan_relay(mode => 'play', file => "$dir.bytes");
	spew("$dir.bytes", $bytes);
	my ($code, $text) = perform('archive-get', $do{'archive-get'}{words});
	my @wrong = $do{'archive-get'}{wrong}->($code);
	# what lies and is whole may say so: "absent" is then what the other side has said
	@wrong = grep { !/absence/ } @wrong if $bytes ne substr $stored{'archive-get'}{server}, 0, length $bytes;
	push @wrong, "exit $code" if $code > 125 || $code == 117 || $code == 124;
	push @wrong, 'a sanitizer' if $text =~ /Sanitizer|runtime error/;
	push @bad, "round $round: @wrong\n$text" if @wrong;
}
is(join("\n", @bad[0 .. ($#bad < 3 ? $#bad : 3)]), '', "$rounds spoiled conversations to archive-get, SEED=$seed");
ok(wait_until(sub { !left_over() }, 30), 'and no process is left') or diag(join "\n", left_over());
done_testing;
