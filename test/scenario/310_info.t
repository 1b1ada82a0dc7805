# info: both forms, letter by letter, for every state a stanza can be in.
use strict;
use warnings;
use Fcntl qw(:flock);
use File::Path qw(make_path remove_tree);
use FindBin;
use JSON::PP ();
use lib "$FindBin::Bin/../lib";
use PgStrata;
use POSIX ();
use Test::More;

$ENV{TZ} = 'UTC';
my $outside = work_dir() . '/ext';
make_path("$outside/dir", "$outside/space");
my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1);
my $repo2 = work_dir() . '/repo2';
my $one = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'compress-type' => 'zst' } });
my $two = PgStrata::Stanza->new(id => 'two', cluster => $pg, options => { global => { 'compress-type' => 'zst',
	'repo1-path' => $one->path('repo'), 'repo2-path' => $repo2, 'lock-path' => $one->path('lock') } });
my ($version, $data) = ($pg->version, $pg->data);
my ($system_id) = $pg->must('pg_controldata', '-D', $data) =~ /system identifier: +(\d+)/;
my $json = JSON::PP->new->utf8->canonical;
my %free = (backup => { held => JSON::PP::false }, restore => { held => JSON::PP::false });

# info of a configuration without --stanza.
sub info_of_all { my ($stanza, @options) = @_; return run_command([ program(), '--config='
	. $stanza->config_file, 'info', @options ]) }

# A test point: both forms are as expected; exit code 0, nothing on stderr.
sub info_is {
	my ($name, $expected, $text, $stanza, @options) = @_;
	my $run = sub { defined $stanza ? $stanza->run('info', @options, @_) : info_of_all($one, @options, @_) };
	my ($code, $raw, $err) = $run->('--output=json');
	is("$code $err", '0 ', "$name: json: exit code 0, no complaints");
	my $got = eval { $json->decode($raw) } // "no JSON: $raw";
	is($raw, ref $got ? $json->encode($got) : '', "$name: json: keys sorted, no white space, no line feed");
	is_deeply($got, $expected, "$name: json: content") or diag($raw);
	return if !defined $text;
	($code, $raw, $err) = $run->();
	is($raw, $text, "$name: text");
	is("$code $err", '0 ', "$name: text: exit code 0, no complaints");
}

my %message = (0 => 'ok', 1 => 'missing stanza path', 2 => 'no valid backups', 3 => 'missing stanza data', 4 => 'different across repos',
	5 => 'database mismatch across repos', 6 => 'requested backup not found', 99 => 'other');
sub repo { my ($key, $code, $text) = @_; return { cipher => 'none', key => $key, status => { code => $code, message => $text // $message{$code} } } }
sub stanza {
	my ($name, $code, %more) = @_;
	return { archive => [], backup => [], cipher => 'none', db => [], name => $name, repo => [ repo(1, $code) ],
		status => { code => $code, lock => \%free, message => $message{$code} }, %more };
}
sub db { return { id => 1, 'repo-key' => $_[0], 'system-id' => $_[1] // 0 + $system_id, version => $version } }
sub archive { my ($key, $min, $max) = @_; return { database => { id => 1, 'repo-key' => $key }, id => "$version-1", max => $max, min => $min } }

# --- nothing, and not much ---

info_is('an empty repository', [], "No stanzas exist in the repository.\n");
info_is('an unknown stanza', [ stanza('demo', 1) ], "stanza: demo\n    status: error (missing stanza path)\n", $one);
make_path($one->path('repo/backup/demo'));
info_is('a folder without info files', [ stanza('demo', 3) ],
	"stanza: demo\n    status: error (missing stanza data)\n    cipher: none\n", $one);
$pg->archive_to($one);
$pg->start;
$one->run_ok('stanza-create');
my @none = (db => [ db(1) ], archive => [ archive(1, undef, undef) ]);
info_is('a new stanza', [ stanza('demo', 2, @none) ], "stanza: demo\n    status: error (no valid backups)\n    cipher: none\n\n"
	. "    db (current)\n        wal archive min/max ($version): none present\n", $one);

# --- backups ---

sub size {
	my ($bytes) = @_;
	for my $unit ([ GB => 1 << 30 ], [ MB => 1 << 20 ], [ KB => 1 << 10 ]) {
		return sprintf('%.1f', int($bytes * 10 / $unit->[1] + 0.5) / 10) =~ s/\.0$//r . $unit->[0] if $bytes >= $unit->[1];
	}
	return $bytes . 'B';
}
is(join(' ', map { size($_) } 1023, 1024, 1075, 1076, 16 << 20, (17 << 20) - 1), '1023B 1KB 1KB 1.1KB 16MB 17MB', 'sizes as the format says');

my $local = sub { POSIX::strftime('%Y-%m-%d %H:%M:%S', gmtime $_[0]) };
# The line of backup.info tells what the numbers must be.
sub listed {
	my ($label, $file) = @_;
	my ($line) = slurp($file // $one->path('repo/backup/demo/backup.info')) =~ /^\Q$label\E=(.*)$/m;
	my $b = $json->decode($line // '{}');
	my %expected = (
		archive => { start => $b->{'backup-archive-start'}, stop => $b->{'backup-archive-stop'} },
		backrest => { format => 5, version => $b->{'backrest-version'} },
		database => { id => 1, 'repo-key' => 1 },
		error => $b->{'backup-error'},
		info => { delta => $b->{'backup-info-size-delta'}, size => $b->{'backup-info-size'},
			repository => { delta => $b->{'backup-info-repo-size-delta'}, size => $b->{'backup-info-repo-size'} } },
		label => $label, prior => undef, reference => undef, type => 'full',
		timestamp => { start => $b->{'backup-timestamp-start'}, stop => $b->{'backup-timestamp-stop'} },
	);
	$expected{lsn} = { start => $b->{'backup-lsn-start'}, stop => $b->{'backup-lsn-stop'} } if $b->{'backup-lsn-start'};
	$expected{annotation} = $b->{'backup-annotation'} if $b->{'backup-annotation'};
	return \%expected;
}
sub text_of {
	my ($b, @more) = @_;
	my $wal = $b->{archive}{start} ? "$b->{archive}{start} / $b->{archive}{stop}" : 'n/a';
	my $time = join ' / ', map { $local->($_) . '+00' } @{$b->{timestamp}}{qw(start stop)};
	my ($lsn, @rest) = @more;
	return "\n        full backup: $b->{label}\n            timestamp start/stop: $time\n            wal start/stop: $wal\n" . ($lsn // '')
		. '            database size: ' . size($b->{info}{size}) . ', database backup size: ' . size($b->{info}{delta}) . "\n"
		. "            repo$b->{database}{'repo-key'}: backup set size: " . size($b->{info}{repository}{size}) . ', backup size: '
		. size($b->{info}{repository}{delta}) . "\n" . join '', @rest;
}
my $head = "stanza: demo\n    status: ok\n    cipher: none\n\n    db (current)\n        wal archive min/max ($version): ";
sub wal_range {
	my @names = sort map { m{/([0-9A-F]{24})-[0-9a-f]{40}[^/]*$} ? $1 : () } glob $one->path("repo/archive/demo/*/*/*");
	return @names[0, -1];
}
sub label_of { my ($label) = $_[0] =~ /new backup label = (\S+)/; return $label // 'none' }

my $plain = label_of($one->run_ok('backup', '--type=full'));
$pg->wait_archived($pg->switch_wal);
my @range = wal_range();
my $first = listed($plain);
info_is('one backup', [ stanza('demo', 0, db => [ db(1) ], archive => [ archive(1, @range) ], backup => [ $first ]) ],
	$head . "$range[0]/$range[1]\n" . text_of($first), $one);
like(scalar(slurp($one->path('repo/backup/demo/backup.info'))), qr/"backup-info-size":\d{8}\b/, 'the numbers are those of a cluster');
my $zone = sub { my (undef, $out) = $one->run('info', { env => { TZ => $_[0] } }); return ($out =~ /start\/stop: (\S+ \S+?)([+-][\d:]+) /)[1] };
is(join(' ', map { $zone->($_) } 'UTC', 'Asia/Kolkata', 'EST5',
	'XXX-0:30'), '+00 +05:30 -05 +00:30', 'local time with its zone');

# Everything that a backup can have at once.
$pg->psql($_) for "CREATE TABLESPACE space LOCATION '$outside/space'", 'CREATE DATABASE appdb', 'CREATE DATABASE "Big"',
	'CREATE TABLE bad AS SELECT generate_series(1, 3000)', 'CREATE TABLE worse TABLESPACE space AS SELECT generate_series(1, 3000)', 'CHECKPOINT';
my @bad = sort map { $pg->psql("SELECT pg_relation_filepath('$_')") } qw(bad worse);
flip_bit("$data/$_", 5000) for @bad;
spew("$outside/hba.conf", '#');
symlink "$outside/dir", "$data/linked" or die;
symlink '../ext/hba.conf', "$data/hba_link" or die;
my $full = label_of($one->run_ok('backup', '--type=full', '--annotation=source=demo db', '--annotation=key=value',
	"--annotation=caf\xc3\xa9=\"\\\xe2\x82\xac\""));
$pg->wait_archived($pg->switch_wal);
@range = wal_range();
my ($second, $shown) = (listed($full), listed($full));
is($second->{error}, JSON::PP::true, 'it has errors');
my @dbs = map { [ split /\|/ ] } split /\n/, $pg->psql("SELECT datname, oid FROM pg_database WHERE datname !~ '^template' ORDER BY datname COLLATE \"C\"");
my $oid = $pg->psql("SELECT oid FROM pg_tablespace WHERE spcname = 'space'");
$shown->{'database-ref'} = [ map { { name => $_->[0], oid => 0 + $_->[1] } } @dbs ];
$shown->{'error-list'} = [ map { s{^pg_data/}{}r } @bad ];
$shown->{link} = [ { destination => '../ext/hba.conf', name => 'hba.conf' }, {
	destination => "$outside/dir", name => 'linked' } ];
$shown->{tablespace} = [ { destination => "$outside/space", name => 'space', oid => 0 + $oid } ];
my @full = (db => [ db(1) ], archive => [ archive(1, @range) ]);
info_is('two backups', [ stanza('demo', 0, @full, backup => [ $first, $second ]) ],
	$head . "$range[0]/$range[1]\n" . text_of($first) . text_of($second, undef, "            error(s) detected during backup\n"), $one);
info_is('everything of one', [ stanza('demo', 0, @full, backup => [ $shown ]) ], $head . "$range[0]/$range[1]\n"
	. text_of($shown, "            lsn start/stop: $shown->{lsn}{start} / $shown->{lsn}{stop}\n",
		'            database list: ' . join(', ', map { "$_->[0] ($_->[1])" } @dbs) . "\n",
		"            symlinks:\n                hba.conf => ../ext/hba.conf\n                linked => $outside/dir\n",
		"            tablespaces:\n                space ($oid) => $outside/space\n",
		'            error list: ' . join(', ', @{$shown->{'error-list'}}) . "\n",
		"            annotation(s)\n                caf\xc3\xa9: \"\\\xe2\x82\xac\"\n                key: value\n                source: demo db\n"),
	$one, "--set=$full");
my $set = listed($plain);
@$set{qw(database-ref link tablespace)} = ([ grep { $_->{name} eq 'postgres' } @{$shown->{'database-ref'}} ], undef, undef);
info_is('nothing special of one', [ stanza('demo', 0, @full, backup => [ $set ]) ], $head . "$range[0]/$range[1]\n"
	. text_of($set, "            lsn start/stop: $set->{lsn}{start} / $set->{lsn}{stop}\n", "            database list: postgres (5)\n" =~ s/5/$set->{'database-ref'}[0]{oid}/r),
	$one, "--set=$plain");
info_is("type $_", [ stanza('demo', 0, @full, backup => $_ eq 'full' ? [ $first, $second ] : []) ],
	$head . "$range[0]/$range[1]\n" . ($_ eq 'full' ? text_of($first) . text_of($second, undef, "            error(s) detected during backup\n") : ''),
	$one, "--type=$_") for qw(full diff incr);
info_is('an unknown backup', [ stanza('demo', 6) ], "stanza: demo\n    status: error (requested backup not found)\n    cipher: none\n", $one,
	'--set=20200101-000000F');
for my $options ([ '--set', "--set=$full" ], [ '--set and progress', "--set=$full", '--stanza=demo', '--detail-level=progress' ]) {
	my ($what, @options) = @$options;
	my ($code, $out, $err) = info_of_all($one, @options);
	is($code, 31, "$what: exit code");
	like($out . $err, qr/\[031\]: option 'set' (not valid without option 'stanza'|cannot be used with option 'detail-level' = 'progress')/, "$what: message");
}

# --- locks ---

sub lock_file {
	my ($name, $content) = @_;
	open(my $handle, '>', $one->path("lock/$name")) or die "$name: $!";
	flock $handle, LOCK_EX | LOCK_NB or die "flock $name: $!";
	syswrite $handle, $content;
	return $handle;
}
my $true = JSON::PP::true;
sub progress { my ($stanza, %lock) = @_; return [ { name => 'demo', status => {
	code => 0, lock => { %free, %lock }, message => 'ok' } } ] }
info_is('progress of nothing', progress($one), "stanza: demo\n    status: ok\n", $one, '--detail-level=progress');
{
	my $held = lock_file('demo-backup-1.lock', '{"execId":"1-aa","pid":1}');
	info_is('a backup begins', progress($one, backup => { held => $true }), "stanza: demo\n    status: ok (backup/expire running)\n", $one,
		'--detail-level=progress');
}
{
	my @held = lock_file('demo-backup-1.lock', '{"execId":"1-aa","pctCplt":5670,"pid":1,"sz":72535153,"szCplt":41132032}}{tail of something longer');
	my %of = (held => $true, size => 72535153, 'size-cplt' => 41132032);
	my %lock = (backup => { %of, repo => [ { key => 1, size => 72535153, 'size-cplt' => 41132032 } ] });
	info_is('a backup runs', progress($one, %lock), "stanza: demo\n    status: ok (backup/expire running - 56.70% complete)\n", $one,
		'--detail-level=progress');
	my $full_text = $head . "$range[0]/$range[1]\n" . text_of($first) . text_of($second, undef, "            error(s) detected during backup\n");
	info_is('a backup runs, full detail', [ stanza('demo', 0, @full, backup => [ $first, $second ],
		status => { code => 0, message => 'ok', lock => { %free, %lock } }) ],
		$full_text =~ s/status: ok/status: ok (backup\/expire running - 56.70% complete)/r, $one);
	push @held, lock_file('demo-restore-1.lock', '{"execId":"1-bb","pctCplt":0,"pid":1,"sz":88142314,"szCplt":0}');
	info_is('a restore too', progress($one, %lock, restore => { held => $true, size => 88142314, 'size-cplt' => 0 }),
		"stanza: demo\n    status: ok (backup/expire running - 56.70% complete, restore running - 0.00% complete)\n", $one, '--detail-level=progress');
}
{
	my @held = (lock_file('demo-backup-1.lock', '{"execId":"1-aa","pctCplt":0,"pid":1,"sz":88142054,"szCplt":42131456}'),
		lock_file('demo-backup-2.lock', '{"execId":"1-bb","pctCplt":0,"pid":1,"sz":88142054,"szCplt":46522368}'));
	info_is('two backups run', progress($two, backup => { held => $true, size => 176284108, 'size-cplt' => 88653824,
		repo => [ { key => 1, size => 88142054, 'size-cplt' => 42131456 }, { key => 2, size => 88142054, 'size-cplt' => 46522368 } ] }),
		"stanza: demo\n    status: ok (backup/expire running - 50.29% complete)\n        repo1 backup: 47.79% complete\n"
		. "        repo2 backup: 52.78% complete\n", $two, '--detail-level=progress');
}
info_is('stale lock files', progress($one), undef, $one, '--detail-level=progress');

# --- two repositories ---

my @both = (backup => [ $first, $second ], @full);
my $mixed = "stanza: demo\n    status: mixed\n";
my $body = ($head =~ s/.*?(?=    cipher)//sr) . "$range[0]/$range[1]\n" . text_of($first)
	. text_of($second, undef, "            error(s) detected during backup\n");
info_is('the stanza is in one repository', [ stanza('demo', 4, @both, repo => [ repo(1, 0), repo(2, 1) ]) ],
	"$mixed        repo1: ok\n        repo2: error (missing stanza path)\n$body", $two);
$two->run_ok('stanza-create');
info_is('the other has no backup', [ stanza('demo', 4, backup => [ $first, $second ], db => [ db(1), db(2) ],
	archive => [ archive(1, @range), archive(2, undef, undef) ], repo => [ repo(1, 0), repo(2, 2) ]) ],
	"$mixed        repo1: ok\n        repo2: error (no valid backups)\n$body", $two);
info_is('only the other is asked for', [ stanza('demo', 2, db => [ db(2) ], archive => [ archive(2, undef, undef) ], repo => [ repo(2, 2) ]) ],
	undef, $two, '--repo=2');
my $third = label_of($two->run_ok('backup', '--type=full', '--repo=2', '--no-archive-check'));
my $in_two = listed($third, "$repo2/backup/demo/backup.info");
$in_two->{database}{'repo-key'} = 2;
info_is('both have backups', [ stanza('demo', 0, backup => [ $first, $second, $in_two ], db => [ db(1), db(2) ],
	archive => [ archive(1, wal_range()), archive(2, undef, undef) ], repo => [ repo(1, 0), repo(2, 0) ]) ],
	$head . join('/', wal_range()) . "\n" . text_of($first) . text_of($second, undef, "            error(s) detected during backup\n")
	. text_of($in_two, undef, "            error(s) detected during backup\n"), $two);

# One backup of the two: where it is not, nothing is wrong, as long as it is somewhere.
my @where = (db => [ db(1), db(2) ], archive => [ archive(1, wal_range()), archive(2, undef, undef) ]);
my $set_two = { %$in_two, map { $_ => $shown->{$_} } qw(database-ref error-list link tablespace) };
info_is('a backup of the second repository', [ stanza('demo', 0, @where, backup => [ $set_two ], repo => [ repo(1, 0), repo(2, 0) ]) ],
	undef, $two, "--set=$third");
info_is('it is not of that type', [ stanza('demo', 0, @where, repo => [ repo(1, 0), repo(2, 0) ]) ], $head . join('/', wal_range()) . "\n",
	$two, "--set=$third", '--type=incr');
info_is('a backup that no repository has', [ stanza('demo', 6, repo => [ repo(1, 6), repo(2, 6) ]) ],
	"stanza: demo\n    status: error (requested backup not found)\n    cipher: none\n", $two, '--set=20200101-000000F');
{
	my $third_repo = PgStrata::Stanza->new(id => 'three', cluster => $pg, options => { global => { 'repo1-path' => $repo2,
		'repo2-path' => work_dir() . '/repo3', 'repo2-cipher-type' => 'aes-256-cbc', 'repo2-cipher-pass' => 'secret', 'lock-path' => $one->path('lock') } });
	$third_repo->run_ok('stanza-create');
	my $aes = repo(2, 2);
	my $first_of_it = { %$in_two, database => { id => 1, 'repo-key' => 1 } };
	$aes->{cipher} = 'aes-256-cbc';
	my $list = "    cipher: mixed\n        repo1: none\n        repo2: aes-256-cbc\n";
	info_is('one is encrypted', [ stanza('demo', 4, backup => [ $first_of_it ], cipher => 'mixed', db => [ db(1), db(2) ],
		archive => [ archive(1, undef, undef), archive(2, undef, undef) ], repo => [ repo(1, 0), $aes ]) ],
		"${mixed}        repo1: ok\n        repo2: error (no valid backups)\n$list\n    db (current)\n        wal archive min/max ($version): none present\n"
		. text_of($first_of_it, undef, "            error(s) detected during backup\n"), $third_repo);
	info_is('the encrypted one alone', [ stanza('demo', 2, cipher => 'aes-256-cbc', db => [ db(2) ], archive => [ archive(2, undef, undef) ], repo => [ $aes ]) ],
		"stanza: demo\n    status: error (no valid backups)\n    cipher: aes-256-cbc\n\n    db (current)\n        wal archive min/max ($version): none present\n",
		$third_repo, '--repo=2');
	info_is('an unknown backup of both', [ stanza('demo', 4, cipher => 'mixed', repo => [ repo(1, 6), $aes ]) ],
		"${mixed}        repo1: error (requested backup not found)\n        repo2: error (no valid backups)\n$list", $third_repo, '--set=20200101-000000F');
	$third_repo->set(global => { 'repo2-cipher-pass' => 'wrong' });
	my (undef, $said) = $third_repo->run('info', '--repo=2');
	like($said, qr/^            HINT: use option --stanza if encryption settings are different for the stanza than the global settings\.$/m, 'a wrong passphrase');
}

sub damaged {
	my ($name, $message, $spoil, $mend) = @_;
	$spoil->();
	my ($code, $raw) = $two->run('info', '--output=json');
	my $got = $json->decode($raw)->[0];
	is("$code $got->{status}{code} $got->{repo}[0]{status}{code} $got->{repo}[1]{status}{code}",
		'0 4 0 99', "$name: codes");
	like($got->{repo}[1]{status}{message}, qr/^\[\w+Error\] $message/, "$name: message");
	my (undef, $text) = $two->run('info');
	like($text, qr/\A$mixed        repo1: ok\n        repo2: error \(other\)\n               \[\w+Error\] $message.*\n(               .*\n)*    cipher: none\n/, "$name: text");
	($code, $raw) = $two->run('info', '--output=json', '--repo=2');
	$got = $json->decode($raw)->[0];
	is("$code $got->{status}{code} $got->{status}{message}", '0 99 other', "$name: alone");
	(undef, $text) = $two->run('info', '--repo=2');
	like($text, qr/\Astanza: demo\n    status: error \(other\)\n            \[\w+Error\] $message.*\n(            .*\n)*    cipher: none\n\z/, "$name: alone as text");
	$mend->();
}
damaged('an unreadable repository', '.*\[13\] Permission denied', sub { chmod 0, $repo2 }, sub { chmod 0750, $repo2 });
my @infos = glob "$repo2/backup/demo/backup.info*";
damaged('damaged info files', 'unable to load info file .*', sub { flip_bit($_, 40) for @infos }, sub { flip_bit($_,
	40) for @infos });
my %sound = map { $_ => scalar slurp($_) } @infos;
spew($_, "[backrest]\nbackrest-format=5\n\n[db:history]\n\xff\x02\xe2\x82\xac\xe2\x82={\"x\":1}\n") for @infos;
my $garbage = $two->info('--repo=2')->[0]{repo}[0]{status}{message};
like($garbage, qr/^\[FormatError\] .*\[db:history\] \?\?\x{20ac}\?\?: /s, 'bytes of a damaged file make no damaged JSON');
spew($_, $sound{$_}) for @infos;
chmod 0, $one->path('repo');
my ($code, $raw) = info_of_all($one, '--output=json');
chmod 0750, $one->path('repo');
my $got = $json->decode($raw)->[0];
is("$code $got->{name} $got->{status}{code}", '0 [invalid] 99', 'without a stanza errors have one of their own');
like($got->{repo}[0]{status}{message}, qr/Permission denied/, 'with the reason');

# Another cluster's stanza in the second repository.
remove_tree("$repo2/$_") for qw(archive backup);
my $other = PgStrata::Cluster->new(name => 'other', wal_segsize => 1);
PgStrata::Stanza->new(id => 'other', cluster => $other, options => { global => {
	'repo1-path' => $repo2 } })->run_ok('stanza-create', '--no-online');
$got = $two->info->[0];
is("$got->{status}{code} $got->{status}{message}", '5 database mismatch across repos', 'different clusters in two repositories');
$two->run_ok('info', { like => qr/^    status: error \(database mismatch across repos\)\n        repo1: ok\n        repo2: error \(no valid backups\)\n    cipher: none\n/m });

# --- several stanzas ---

for my $name (qw(zeta Alpha)) {
	PgStrata::Stanza->new(id => $name, name => $name, cluster => $other, options => { global => { 'repo1-path' => $one->path('repo') } })
		->run_ok('stanza-create', '--no-online', { name => "stanza $name" });
}
my (undef, $text) = info_of_all($one);
is(join(' ', $text =~ /^stanza: (.*)$/mg), 'Alpha demo zeta', 'all stanzas, by name');
is(scalar(my @between = $text =~ /\n\nstanza: /g), 2, 'separated by empty lines');
unlike($text, qr/\n\z\n|\A\n|\n\n\z/, 'and by nothing else');
(undef, $raw) = info_of_all($one, '--output=json');
is(join(' ', map { "$_->{name}:$_->{status}{code}" } @{$json->decode($raw)}), 'Alpha:2 demo:0 zeta:2', 'as JSON too');

done_testing();
