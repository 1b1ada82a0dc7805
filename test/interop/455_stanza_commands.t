# Stanza commands, notes, stop files and locks: the original takes ours for its own and we take its; and info tells of
# its repositories, of each backup too, what it tells itself.
use strict;
use warnings;
use File::Copy qw(cp);
use File::Path qw(make_path remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use PgStrata::Interop;
use Test::More;

need_pgbackrest();

my ($space, $place) = map { work_dir() . "/$_" } qw(space place);
my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => ['autovacuum = off']);
my $other = PgStrata::Cluster->new(name => 'other', wal_segsize => 1);
my $ours = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'repo1-retention-full' => 9, 'repo2-retention-full' => 9,
	'repo2-path' => work_dir() . '/repo2', 'repo2-cipher-type' => 'aes-256-cbc', 'repo2-cipher-pass' => 'secret', 'repo2-bundle' => 'y' } });
my $theirs = $ours->using(pgbackrest());
my @pair = ($ours, $theirs);
my $lock = $ours->path('lock');

# --- info --set, with all that a backup can have ---

make_path($space, "$place/dir");
archive_into($pg, $theirs);
$pg->start;
$theirs->run_ok('stanza-create', { name => 'their stanza' });
drop_templates($pg);
spew("$place/hba.conf", '#');
symlink "$place/dir", $pg->data . '/linked' or die;
symlink '../place/hba.conf', $pg->data . '/hba_link' or die;
$pg->psql($_) for "CREATE TABLESPACE ts1 LOCATION '$space'", 'CREATE TABLE bad AS SELECT generate_series(1, 3000) AS i',
	'CREATE TABLE worse TABLESPACE ts1 AS SELECT * FROM bad', 'CREATE TABLE more AS SELECT * FROM bad', 'CHECKPOINT';
my (@labels, %label);
sub their_backups {
	my ($type, @more) = @_;
	for my $repo (1, 2) {
		push @labels, $label{"$type $repo"} = backup_by($theirs, "--type=$type", "--repo=$repo", @more);
	}
}
their_backups('full', '--annotation=why="a test"');
$pg->psql($_) for 'INSERT INTO more SELECT * FROM bad', 'CHECKPOINT';
their_backups('diff');
my @bad = map { $pg->psql("SELECT pg_relation_filepath('$_')") } qw(bad worse);
flip_bit($pg->data . "/$_", 5000) for @bad;
utime undef, undef, $pg->data . "/$_" for @bad;
their_backups('incr');
same_info(@pair, 'their backups');
same_info_text(@pair, 'their backups');
for my $label (sort { $a cmp $b } keys %{{ map { $_ => 1 } @labels }}) {
	same_info(@pair, 'their backup', "--set=$label");
	same_info_text(@pair, 'their backup', "--set=$label");
}
like($ours->run_ok('info', "--set=$label{'incr 2'}", '--log-level-console=off'), qr/backup reference list: .*symlinks:.*tablespaces:.*error list: /s, 'with all parts');
same_info(@pair, 'of a type', '--type=diff');
same_info(@pair, 'of a repository', '--repo=2');
same_info(@pair, 'an unknown backup', '--set=20200101-000000F');
same_info_text(@pair, 'an unknown backup', '--set=20200101-000000F');
same_info(@pair, 'a backup of another repository', '--repo=1', "--set=$label{'diff 2'}") if $label{'diff 2'} ne $label{'diff 1'};

# --- annotate ---

$ours->run_ok('annotate', "--set=$label{'full 1'}", '--annotation=by=us', '--annotation=why=', '--repo=1');
$theirs->run_ok('annotate', "--set=$label{'full 1'}", '--annotation=and=them', '--repo=1', { name => 'they add a note to ours' });
$theirs->run_ok('annotate', "--set=$label{'diff 2'}", '--annotation=by=them', '--repo=2', { name => 'their note, encrypted' });
$ours->run_ok('annotate', "--set=$label{'diff 2'}", "--annotation=us=caf\xc3\xa9 \"q\"", '--repo=2');
same_info(@pair, 'with notes of both');
same_info_text(@pair, 'with notes of both', "--set=$label{'diff 2'}");
my ($annotated) = grep { $_->{label} eq $label{'full 1'} && $_->{database}{'repo-key'} == 1 } @{$ours->info->[0]{backup}};
is_deeply($annotated->{annotation}, { by => 'us', and => 'them' }, 'both notes and none too many');
$pg->stop;

# --- stop and start ---

my @offline = ('--no-online', '--type=full', '--repo=1');
for my $case ([ 'we' => $ours, $theirs ], [ 'they' => $theirs, $ours ]) {
	my ($who, $stops, $stopped) = @$case;
	$stops->run_ok('stop', { name => "$who stop" });
	$stopped->run_fail('backup', @offline, { code => 62, name => "$who stop: no backup by the other" });
	$stopped->run_ok('stop', { name => "$who stop: the other knows", like => qr/WARN: stop file already exists for stanza demo/ });
	$stopped->run_ok('start', { name => "$who stop, the other starts", unlike => qr/WARN/ });
	$stops->run_ok('start', { name => "$who stop: nothing is left to start", like => qr/WARN: stop file does not exist for stanza demo/ });
}

# --- locks ---

# Something that takes long to compress.
my $little = work_dir() . '/little';
make_path("$little/global");
cp($pg->data . "/$_", "$little/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control';
{
	open(my $random, '<:raw', '/dev/urandom') or die;
	open(my $large, '>:raw', "$little/large") or die;
	read $random, my $block, 1 << 20;
	print $large $block for 1 .. 60;
	close $large or die;
}
$ours->set(demo => { 'pg1-path' => $little });
$theirs = $ours->using(pgbackrest());
for my $case ([ 'our backup' => $ours, $theirs ], [ 'their backup' => $theirs, $ours ]) {
	my ($what, $works, $waits) = @$case;
	my $pid = start_background($works, 'backup', @offline, '--compress-type=bz2', '--compress-level=9');
	ok(wait_until(sub { grep { -s } glob "$lock/demo-backup*.lock" }, 30), "$what runs");
	$waits->run_fail(@$_, { code => 50, name => "$what runs: no $_->[0] by the other", like => qr/unable to acquire lock on file/ })
		for [ 'annotate', "--set=$label{'full 1'}", '--annotation=a=b' ], ['stanza-upgrade', '--no-online'], [ 'backup', @offline ];
	# Releases before 2.60 do not look at the locks of single repositories, but make the file.
	my $said = $waits->run_ok('stop', '--force', { name => "$what runs: the other stops all" });
	$said = $ours->run_ok('stop', '--force', { name => "$what runs: we end it", like => qr/WARN: stop file already exists/ }) if $waits == $theirs && $said !~ /sent term/;
	like($said, qr/INFO: sent term signal to process $pid$/m, "$what is told");
	my ($code) = end_background($pid);
	is($code, 63, "$what ends");
	$waits->run_ok('start', { name => "$what has ended" });
	same_info(@pair, "$what was ended");
}
unlink "$little/large";

# --- stanza-upgrade ---

# What decides the keys of an encrypted repository, as the original decrypts it.
sub keys_of {
	return join ' ', map {
		my ($code, $out) = $theirs->run('repo-get', $_, '--repo=2', '--log-level-console=off');
		$out =~ /^cipher-pass="(.+)"$/m ? $1 : die "no key in $_: $out";
	} qw(archive/demo/archive.info backup/demo/backup.info);
}
my $keys = keys_of();
sub current { return join ' ', map { my $r = $_; (sort { $b->{id} <=> $a->{id} } grep { $_->{'repo-key'} == $r } @{$ours->info->[0]{db}})[0]{id} } 1, 2 }
my %other = (main => $little, other => work_dir() . '/little2');
make_path("$other{other}/global");
cp($other->data . "/$_", "$other{other}/$_") or die "$_: $!" for 'PG_VERSION', 'global/pg_control';
my $id = 1;
for my $step ([ other => $ours, $theirs, 'we upgrade' ], [ main => $theirs, $ours, 'they upgrade' ], [ other => $ours, $theirs, 'we upgrade again' ]) {
	my ($cluster, $upgrades, $follows, $what) = @$step;
	$ours->set(demo => { 'pg1-path' => $other{$cluster} });
	$id++;
	$upgrades->run_ok('stanza-upgrade', '--no-online', { name => $what });
	is(current(), "$id $id", "$what: a new id in both");
	$follows->run_ok('stanza-upgrade', '--no-online', { name => "$what: the other has nothing to do", like => qr/(?:stanza 'demo' on repo\d is already up to date.*){2}/s });
	$follows->run_ok('stanza-create', '--no-online', { name => "$what: it is valid for the other", like => qr/already exists on repo2 and is valid/ });
	backup_by($_, '--no-online', '--type=full', '--repo=2') for $follows, $upgrades;
	my ($wal) = glob(($cluster eq 'main' ? $pg : $other)->data . '/pg_wal/' . '?' x 24);
	$follows->run_ok('archive-push', $wal, { name => "$what: the other archives" });
	$upgrades->run_ok('archive-push', $wal, { name => "$what: what is there already" });
	my $got = work_dir() . '/got';
	$upgrades->run_ok('archive-get', $wal =~ m{([^/]+)$}, $got, { name => "$what: and fetches" });
	is(slurp($got), slurp($wal), "$what: the same bytes");
	unlink $got;
	same_info(@pair, $what);
	same_info_text(@pair, $what);
	same_info(@pair, $what, "--set=$label{'full 1'}");
	same_info_text(@pair, $what, "--set=$label{'full 1'}");
}
is(keys_of(), $keys, 'the keys of the encrypted repository are what they were');

# A backup from before all that.
for my $n (0, 1) {
	my $target = work_dir() . "/target$n";
	restore_to($pair[$n], $target, "--set=$label{'diff 2'}", '--repo=2', '--type=none', "--tablespace-map=ts1=$target.ts",
		{ name => 'a backup from before is restored by ' . ($n ? 'them' : 'us') });
	is((stat "$target/$bad[0]")[7], (stat $pg->data . "/$bad[0]")[7], 'with its files');
}

# --- stanza-delete ---

for my $case ([ 'we' => $ours, $theirs, 1 ], [ 'they' => $theirs, $ours, 2 ]) {
	my ($who, $deletes, $stops, $repo) = @$case;
	$deletes->run_fail('stanza-delete', "--repo=$repo", { code => 55, name => "$who want to delete", like => qr/stop file does not exist for stanza 'demo'/ });
	$stops->run_ok('stop', { name => "the other stops for it" });
	$deletes->run_ok('stanza-delete', "--repo=$repo", { name => "$who delete" });
	is($ours->info("--repo=$repo")->[0]{status}{code}, 1, "$who delete: nothing is left");
	$stops->run_ok('start', { name => "$who delete: the stop file too", like => qr/WARN: stop file does not exist/ });
	same_info(@pair, "$who delete");
}

done_testing();
