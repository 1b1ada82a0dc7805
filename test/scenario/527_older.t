# Versions of the protocol: an older side that speaks 1.0 (one request at a time, no blocks) is talked to as it wants, in both directions; another
# major is refused with both versions named, and what is no pgStrata at all is shown to the user.
use strict;
use warnings;
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Wire;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1);
my ($source, $target, $ssh, $dir) = map { work_dir() . "/$_" } qw(source target ssh relay);
my ($segment) = map { m{([0-9A-F]{24})$} } sort glob $pg->data . '/pg_wal/0*';
make_path(map { "$source/$_" } qw(global base/1 pg_wal pg_tblspc));
cp($pg->data . "/$_", "$source/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control', 'base/1/1259', "pg_wal/$segment";
my $wal = slurp("$source/pg_wal/$segment");
spew("$source/base/1/16384", map { pack 'N*', map { $_ * 2654435761 % 4294967296 } $_ * 2048 .. $_ * 2048 + 2047 } 1 .. 256);
relay_script($ssh, $dir);
my %common = ('cmd-ssh' => $ssh, 'compress-type' => 'lz4', 'process-max' => 1, 'log-level-file' => 'off', 'checksum-page' => 'n');
my $host = PgStrata::Stanza->new(id => 'host', options => { global => { %common, 'repo1-retention-full' => 9, 'repo1-bundle' => 'y',
	'repo1-block' => 'y' }, demo => { 'pg1-path' => $source } });
my $there = PgStrata::Stanza->new(id => 'db', options => { global => { %common, 'repo1-path' => undef, 'repo1-host' => '127.0.0.1',
	'repo1-host-cmd' => program(), 'repo1-host-config' => $host->config_file }, demo => { 'pg1-path' => $source } });

sub plan_relay {
	my (%plan) = @_;
	remove_tree($dir);
	mkdir $dir;
	spew("$dir/plan", join(' ', map { "$_=$plan{$_}" } sort keys %plan) . "\n");
}

# What the older side has heard that it cannot understand.
sub understood {
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(-s "$dir/hello.server" && -s "$dir/hello.caller", "$name: two hellos were exchanged");
	is(-e "$dir/notes" ? slurp("$dir/notes") : '', '', "$name: one request at a time, and no blocks");
}

$host->run_ok('stanza-create', '--no-online');
$host->set(demo => { 'pg1-host' => '127.0.0.1', 'pg1-host-cmd' => program(), 'pg1-host-config' => $there->config_file });

# --- an older host with the cluster: blocks are cut by the caller ---

my @offline = ('backup', '--no-online');
plan_relay(mode => 'record');
$host->run_ok(@offline, '--type=full', { name => 'a full backup from a host of this version' });
my @verbs = map { (split)[3] } split /\n/, slurp("$dir/frames");
ok(scalar(grep { $_ eq 'Q' } @verbs) > 2, 'goes through the relay');
plan_relay(mode => 'older');
$host->run_ok(@offline, '--type=full', { name => 'a full backup from an older host' });
understood('full backup');
my ($label) = reverse $host->labels;
ok(-e $host->path("repo/backup/demo/$label/pg_data/base/1/16384.pgbi") || slurp($host->path("repo/backup/demo/$label/backup.manifest")) =~ m{16384=.*"bims?"},
	'has blocks');
my $before = snapshot($source);
open(my $change, '+<:raw', "$source/base/1/16384") or die $!;
sysseek $change, 500_000, 0;
syswrite $change, 'changed in one block';
close $change;
plan_relay(mode => 'older');
$host->run_ok(@offline, '--type=incr', { name => 'an incremental backup from an older host' });
understood('incremental backup');
my ($incr) = reverse $host->labels;
my ($stanza) = grep { $_->{name} eq 'demo' } @{$host->info};
my ($info) = grep { $_->{label} eq $incr } @{$stanza->{backup}};
cmp_ok($info->{info}{repository}{delta}, '<', 500_000, 'which holds the changed blocks only') or diag(explain($info));
plan_relay(mode => 'record');
$host->run_ok('verify');

# --- an older repository host ---

plan_relay(mode => 'older');
$there->run_ok('archive-push', "$source/pg_wal/$segment", { name => 'archive-push to an older host' });
understood('archive-push');
plan_relay(mode => 'older');
$there->run_ok('archive-get', $segment, "$source/pg_wal/RECOVERYXLOG", { name => 'archive-get from an older host' });
understood('archive-get');
ok(-e "$source/pg_wal/RECOVERYXLOG" && slurp("$source/pg_wal/RECOVERYXLOG") eq $wal, 'is what was pushed');
unlink "$source/pg_wal/RECOVERYXLOG";
plan_relay(mode => 'older');
$there->run_fail('archive-get', '0000000100000000000000F0', "$source/pg_wal/RECOVERYXLOG", { code => 1, name => 'what is absent there is absent' });
plan_relay(mode => 'older');
mkdir $target, 0700;
$there->run_ok('restore', "--pg1-path=$target", '--type=none', { name => 'restore from an older host' });
understood('restore');
is(join(' ', grep { slurp("$target/$_") ne slurp("$source/$_") } 'PG_VERSION', 'base/1/1259', 'base/1/16384'), '', 'brings the files back');
plan_relay(mode => 'older');
$there->run_ok('info', { name => 'info of an older host', like => qr/\Q$incr\E/ });
understood('info');

# --- an older caller ---

my @serve = $host->command('--role=archive,restore', '--log-level-console=off', 'serve');
my $wire = PgStrata::Wire->run([ @serve ], errors => work_dir());
my $hello = $wire->greet(minor => 0, capabilities => '', ahead => 0, stanza => 'demo', roles => 3, program => 'pgStrata 0.0.9');
is("$hello->{major}.$hello->{minor}", '1.1', 'the server says what it speaks');
like($hello->{program}, qr/^pgStrata \d/, 'and which program it is');
is($hello->{stanza}, 'demo', 'and its stanza');
is($hello->{roles}, 3, 'and the roles');
is($hello->{rest}, '', 'and nothing else');
is(join(' ', map { "$_->{number} $_->{path} $_->{cipher}" } @{$hello->{places}}), '1 ' . $host->path('repo') . ' none', 'and its places');
like($wire->ask(wire_get(1, 'archive/demo/archive.info'))->{data}, qr/^\[backrest\]/, 'an older caller gets a file');
my ($id) = map { m{/([^/]+)$} } grep { -d } glob $host->path('repo/archive/demo/*');
my $listed = $wire->ask(wire_path('list', 1, "archive/demo/$id/0000000100000000"));
my ($stored) = $listed->{data} =~ /($segment-[0-9a-f]{40}\.lz4)/;
ok($stored, 'and a listing');
my $got = $wire->ask(wire_get(1, "archive/demo/$id/0000000100000000/" . ($stored // ''), spec => wire_spec(expand => 2, 'hash-plain' => 1)));
ok($got->{data} eq $wal, 'and a segment, expanded there');
is($wire->ask(wire_get(1, "archive/demo/$id/00000009.history"))->{answer}, "\x01", 'and is told of what is absent');
ok($wire->goodbye, 'goodbye is answered');
is(($wire->end)[0], 0, 'and the server ends well');

# --- another major ---

plan_relay(mode => 'older', major => 2);
my ($code, $out, $err) = $there->run('archive-get', $segment, "$source/pg_wal/RECOVERYXLOG");
ok($code > 1 && $code <= 125 && $code != 117, 'a server of major 2 is refused, and nothing absent for that') or diag("exit $code\n$out$err");
like("$out$err", qr/127\.0\.0\.1/, 'by name');
like("$out$err", qr/\b2\.0\b.*\b1\.1\b|\b1\.1\b.*\b2\.0\b/s, 'with both versions');
plan_relay(mode => 'older', major => 2);
$host->run_fail(@offline, '--type=full', { code => 39, like => qr/127\.0\.0\.1.*\b2\.0\b.*\b1\.1\b/s, name => 'a host with the cluster too' });
$wire = PgStrata::Wire->run([ @serve ], errors => work_dir());
$wire->greet(major => 2, minor => 0, stanza => 'demo', roles => 3);
$got = $wire->answer(0);
is(($got->{failure} // {})->{code}, 39, 'a caller of major 2 is refused');
like(($got->{failure} // {})->{message} // '', qr/\b2\.0\b.*\b1\.1\b|\b1\.1\b.*\b2\.0\b/s, 'with both versions');
is(($wire->end)[0], 39, 'and the server says so too');
$wire = PgStrata::Wire->run([ @serve ], errors => work_dir());
$wire->greet(minor => 9, capabilities => 'ahead blocks telepathy', stanza => 'demo', roles => 3);
like($wire->ask(wire_get(1, 'archive/demo/archive.info'))->{data}, qr/^\[backrest\]/, 'a caller of a later minor is served');
$wire->goodbye;
is(($wire->end)[0], 0, 'to the end');

# --- no pgStrata at all ---

plan_relay(mode => 'record');
for my $case ([ '/bin/echo', qr/serve/ ], [ '/bin/true', qr/./ ], [ '/no/such/program', qr/no\/such\/program/ ], map { [ $_, qr/protocol|\{|pgBackRest/i ] } pgbackrest() // ()) {
	my ($program, $like) = @$case;
	$there->set(global => { 'repo1-host-cmd' => $program });
	($code, $out, $err) = $there->run('archive-get', $segment, "$source/pg_wal/RECOVERYXLOG");
	ok($code > 1 && $code < 126 && $code != 117, "$program is refused, and is no absence") or diag("exit $code\n$out$err");
	like("$out$err", qr/repo1-host-cmd/, 'and the option is named');
	like("$out$err", $like, 'with what it says');
}
done_testing;
