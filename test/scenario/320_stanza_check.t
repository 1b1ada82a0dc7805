# stanza-create and check: what they make, what they prove, and how they say what is wrong.
use strict;
use warnings;
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use Test::More;
use Time::HiRes qw(sleep);

my $pg = PgStrata::Cluster->new(wal_segsize => 1);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => {
	'repo2-path' => work_dir() . '/repo2', 'archive-timeout' => '3s' } });
my @repos = ($stanza->path('repo'), work_dir() . '/repo2');
my @files = map { ("archive/demo/$_", "archive/demo/$_.copy") } 'archive.info';
push @files, map { "backup/demo/$_" } qw(backup.info backup.info.copy);
my ($version, $data) = ($pg->version, $pg->data);
my ($system_id) = $pg->must('pg_controldata', '-D', $data) =~ /system identifier: +(\d+)/;

# Time stamps of a repository's files, to see what was written.
sub written { return join ' ', map { my @s = stat "$_[0]/$_"; "$s[1]:$s[9]" } @files }

# --- stanza-create ---

$stanza->run_fail('stanza-create', { code => 56, name => 'no server runs',
	like => qr/WARN:\ unable\ to\ check\ pg1:\ \[DbConnectError\].*
	\[056\]:\ unable\ to\ find\ primary\ cluster\ -\ cannot\ proceed\n\s+HINT:\ are\ all\ available\ clusters\ in\ recovery\?/sx });
ok(!-e "$repos[0]/backup", 'nothing was made');
$pg->start;
my $out = $stanza->run_ok('stanza-create');
like($out, qr/stanza-create for stanza 'demo' on repo1\n.*stanza-create for stanza 'demo' on repo2\n/, 'in both repositories');
for my $repo (@repos) {
	my %tree = %{snapshot($repo)};
	is(join(' ', sort grep { $tree{$_} =~ /^f/ } keys %tree), join(' ', sort @files), 'the four files');
	is(slurp("$repo/$files[0]"), slurp("$repo/$files[1]"), 'archive.info and its copy are equal');
	is(slurp("$repo/$files[2]"), slurp("$repo/$files[3]"), 'backup.info and its copy are equal');
	like(slurp("$repo/$files[0]"), qr/^\[db\]\ndb-id=1\ndb-system-id=$system_id\ndb-version="$version"\n/m, 'archive.info');
	like(slurp("$repo/$files[2]"), qr/^db-system-id=$system_id\ndb-version="$version"\n/m, 'backup.info');
	is(join(' ', map { sprintf '%04o', (stat "$repo/$_")[2] & 07777 } @files, 'archive', 'archive/demo', 'backup/demo'),
		'0640 0640 0640 0640 0750 0750 0750', 'modes');
}
my @before = map { written($_) } @repos;
$out = $stanza->run_ok('stanza-create', { name => 'stanza-create again' });
like($out, qr/stanza 'demo' already exists on repo$_ and is valid/, "repo$_ is valid") for 1, 2;
is_deeply([ map { written($_) } @repos ], \@before, 'nothing was written');
$stanza->run_ok('stanza-create', '--force', { like => qr/WARN: option --force is no longer supported/ });

unlink "$repos[0]/$files[1]", "$repos[1]/$files[2]" or die "unlink: $!";
$stanza->run_ok('stanza-create', { name => 'with lost files', like => qr/already exists on repo1 and is valid/ });
is(scalar(grep { -e } map { ("$repos[0]/$_", "$repos[1]/$_") } @files), 8, 'main file and copy replace each other');

# One of the two is missing: not our leftover, if there are backups or WAL.
make_path("$repos[1]/archive/demo/$version-1/0000000100000000");
for my $case ([ backup => 'archive' ], [ archive => 'backup' ]) {
	my ($lost, $there) = @$case;
	my @lost = map { "$repos[1]/$_" } grep { /\Q$lost.info\E/ } @files;
	rename $_, "$_.x" or die "rename: $!" for @lost;
	$stanza->run_fail('stanza-create', { code => 55, name => "$lost.info is lost",
		like => qr/$there\.info exists but $lost\.info is missing on repo2\n.*HINT: this may be a symptom of repository corruption!/s });
	rename "$_.x", $_ or die "rename: $!" for @lost;
}
my @info = map { "$repos[1]/$_" } @files;
rename $_, "$_.x" or die "rename: $!" for @info;
$stanza->run_fail('stanza-create', { code => 40, name => 'folders without info files are not empty',
	like => qr/\[040\]: backup directory and\/or archive directory not empty/ });
rename "$_.x", $_ or die "rename: $!" for @info;
remove_tree("$repos[1]/archive/demo/$version-1");

# Killed half-way: after each file that it writes, and just anywhere.
for my $kept (0 .. 3) {
	unlink map { "$repos[0]/$_" } @files[$kept .. 3];
	spew("$repos[0]/archive/demo/archive.info.12-0a0b0c0d.pgbackrest.tmp", 'half');
	$stanza->run_ok('stanza-create', { name => "with $kept of its files" });
	is(scalar(grep { -e "$repos[0]/$_" } @files), 4, 'all are there again');
}
my $rounds = deep_run() ? 300 : 6;
for my $round (1 .. $rounds) {
	remove_tree(map { ("$_/archive", "$_/backup") } @repos);
	my $process = spawn_command([ $stanza->command('stanza-create') ]);
	sleep 0.1 * rand;
	kill 'KILL', $process->{pid};
	reap($process);
	$stanza->run_ok('stanza-create', { name => "killed in round $round" });
}

# Another cluster.
for my $file (@files) {
	(my $text = slurp("$repos[1]/$file")) =~ s/$system_id/1234567890123456789/g;
	spew("$repos[1]/$file", $text);
}
$stanza->run_fail('stanza-create', { name => 'a damaged info file', like => qr/checksum/i });
remove_tree(map { "$repos[1]/$_" } qw(archive backup));
my $other = PgStrata::Cluster->new(name => 'other', wal_segsize => 1);
my $others = PgStrata::Stanza->new(id => 'other', cluster => $other, options => { global => { 'repo1-path' => $repos[1] } });
$others->run_ok('stanza-create', '--no-online', { name => 'repo2 for another cluster' });
my ($other_id) = $other->must('pg_controldata', '-D', $other->data) =~ /system identifier: +(\d+)/;
my $mismatch = qr/^P00  ERROR: \[028\]: backup and archive info files exist but do not match the database
 +stanza  : version = \Q$version\E, system-id = $other_id
 +database: version = \Q$version\E, system-id = $system_id
 +HINT: is this the correct stanza\?
 +HINT: did an error occur during stanza-upgrade\?
/m;
$stanza->run_fail('stanza-create', { code => 28, name => 'the stanza is of another cluster', like => $mismatch });
$stanza->run_fail('backup', '--repo=2', '--type=full', '--no-archive-check', { code => 51, name => 'backup refuses too', like =>
	qr/PostgreSQL version \Q$version\E, system-id $system_id do not match stanza version \Q$version\E, system-id $other_id.*HINT: is this the correct stanza/s });

spew($stanza->path('lock/demo.stop'));
$stanza->run_fail('stanza-create', { code => 62, like => qr/stop file exists for stanza demo/ });
$stanza->run_fail('backup', { code => 62, like => qr/stop file exists for stanza demo/ });
rename $stanza->path('lock/demo.stop'), $stanza->path('lock/all.stop');
$stanza->run_fail('stanza-create', { code => 62, like => qr/stop file exists for all stanzas/ });
unlink $stanza->path('lock/all.stop');

# --- check ---

$stanza->run_fail('check', { code => 87, like => qr/\[087\]: archive_mode must be enabled/ });
$stanza->run_fail('backup', '--type=full', { code => 87, name => 'backup needs archiving' });
sub setting {
	my ($restart, @lines) = @_;
	$pg->conf_add(@lines);
	$restart ? $pg->restart : $pg->reload;
	for my $line (@lines) {
		my ($name, $value) = $line =~ /^(\w+) = '?(.*?)'?$/;
		$pg->wait_sql("SELECT current_setting('$name')", $value =~ s/''/'/gr) or die "$line has no effect\n";
	}
}
setting(1, 'archive_mode = always', q(archive_command = 'true'));
$stanza->run_fail('check', { code => 67, like => qr/\[067\]: archive_mode=always not supported/ });
$stanza->run_fail('check', '--no-archive-mode-check', { code => 68, name => 'always is accepted on demand' });
setting(1, 'archive_mode = on');
$stanza->run_fail('check', { code => 68, like => qr/\[068\]: archive_command 'true' must contain pgstrata or pgbackrest/ });
$stanza->run_fail('backup', '--type=full', { code => 68, name => 'backup looks at it too' });
my $segments = $pg->psql('SELECT pg_current_wal_lsn()');
$stanza->run_fail('check', { code => 68, name => 'check again' });
is($pg->psql('SELECT pg_current_wal_lsn()'), $segments, 'as long as settings are wrong no WAL is switched');

$stanza->run_fail('check', '--no-archive-check', { code => 28, name => 'check of another cluster\'s stanza', like => $mismatch });
$stanza->run_fail('check', '--repo1-path=' . work_dir() . '/none', '--no-archive-check', { code => 55,
	name => 'check without a stanza', like => qr/unable to load info file .*HINT: backup\.info cannot be opened.*HINT: has a stanza-create been performed\?/s });
remove_tree("$repos[1]/$_") for qw(archive backup);
$stanza->run_ok('stanza-create', { name => 'repo2 anew' });
setting(0, q(archive_command = 'false pgbackrest'));
$stanza->run_fail('check', '--archive-timeout=500ms', { code => 82, name => 'archiving fails',
	like => qr/check repo1 archive for WAL \(primary\)\n.*\[082\]: WAL segment [0-9A-F]{24} was not archived before the 500ms timeout\n(\s+HINT: .*\n){3}/s });
$stanza->run_fail('backup', '--repo=1', '--type=full', '--archive-timeout=500ms', { code => 82, name => 'a backup finds out before it copies',
	like => qr/was not archived before the 500ms timeout/, unlike => qr/backup file/ });
is(join(' ', grep { -d } glob "$repos[0]/backup/demo/*"), '', 'and leaves no folder');

(my $command = $stanza->archive_command) =~ s/'/''/g;
setting(0, "archive_command = '$command'");
$out = $stanza->run_ok('check', '--archive-timeout=60s');
for my $n (1, 2) {
	like($out, qr/check repo$n configuration \(primary\)\n/, "check repo$n");
	my ($segment, $path) = $out =~ /WAL segment ([0-9A-F]{24}) successfully archived to '(.*)' on repo$n\n/;
	my $repo = $repos[$n - 1];
	ok(defined $path && -e $path && $path =~ m{^\Q$repo\E/archive/demo/\Q$version\E-1/[0-9A-F]{16}/$segment-[0-9a-f]{40}\.\w+$},
		"its file in repo$n is there");
}
spew($stanza->path('lock/demo.stop'));
$stanza->run_fail('check', '--archive-timeout=500ms', { code => 82, name => 'the stop file does not stop check, but archiving' });
unlink $stanza->path('lock/demo.stop');

# Only one repository gets it: each is checked.
ok($pg->wait_archived($pg->switch_wal), 'archiving goes on');
chmod 0500, glob "$repos[1]/archive/demo/$version-1/*";
$stanza->run_fail('check', '--archive-timeout=2', { code => 82, name => 'one repository gets no WAL', like => qr/archived to '.*' on repo1\n/ });
chmod 0750, glob "$repos[1]/archive/demo/$version-1/*";

# --- a configuration for another server ---

my @theirs = (quotemeta $data, quotemeta $other->data);
$stanza->run_fail('check', '--pg1-path=' . $other->data, { code => 58, name => 'path of another cluster',
	like => qr{version '$version' and path '$theirs[0]' queried from cluster do not match version '$version' and path
		'$theirs[1]' read from '$theirs[1]/global/pg_control'
		HINT: the pg1-path and pg1-port settings likely reference different clusters} =~ s/\s+/\\s+/gr });
$stanza->run_fail('stanza-create', '--pg1-path=' . $other->data, { code => 58, name => 'stanza-create notices too' });
$stanza->run_fail('check', '--pg1-path=/nowhere', { code => 55, like => qr{/nowhere/global/pg_control} });
$stanza->run_fail('check', '--pg1-port=1', { code => 27, name => 'wrong port', like =>
	qr{WARN: unable to check pg1: \[DbConnectError\].*\[027\]: no database found\n\s+HINT: check indexed pg-path/pg-host configurations}s });
$stanza->run_fail('check', '--pg1-user=nobody_here', { code => 27, name => 'wrong user', like => qr/nobody_here/ });
$other->start;
$stanza->run_fail('check', '--pg1-port=' . $other->port, { code => 58, name => 'port of another cluster' });
$other->stop;

# --- format 6 ---

for my $file (map { "$repos[1]/$_" } @files) {
	(my $text = slurp($file)) =~ s/^backrest-format=5$/backrest-format=6/m or die "$file has no format\n";
	spew($file, $text);
}
my %format6 = (check => [], 'stanza-create' => [], backup => [ '--repo=2', '--type=full' ],
	restore => [ '--repo=2', '--pg1-path=' . work_dir() . '/nowhere' ]);
for my $what (sort keys %format6) {
	$stanza->run_fail($what, @{$format6{$what}}, { name => "$what: repository format 6", like => qr/repository format 6/ });
}
like($stanza->info('--repo=2')->[0]{repo}[0]{status}{message}, qr/6/, 'info names it');

done_testing();
