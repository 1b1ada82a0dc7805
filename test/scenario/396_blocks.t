# Chains with blocks: a real cluster whose tables grow, shrink, change here and there, go and come, and files of all sizes
# around that of a block.  Every backup of every chain gives back the very files that were there, and stores what has
# changed, no more.  The server is down during the backups, so that each file can be compared.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Find qw(find);
use File::Path qw(remove_tree);
use PgStrata;
use PgStrata::Blocks;
use PgStrata::Interop;
use Test::More;

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => [ 'autovacuum = off', 'min_wal_size = 2MB',
	'max_wal_size = 16MB', 'wal_recycle = off' ]);
my $data = $pg->data;
my $target = work_dir() . '/restored';
my ($clock, $stanza, @made) = (time - 86_400);

# --- what is stored ---

sub rows { return manifest_rows($stanza, $_[0]) }
sub row { my ($label, $name) = @_; return rows($label)->{"pg_data/$name"} }
sub backup_key { my ($label, $key) = @_; return manifest_text($stanza, $label) =~ /^\Q$key\E=(.*)$/m ? $1 : undef }
sub extra { return "$data/extra/$_[0]" }

# --- what happens to the cluster ---

my %sql = (
	0 => [ 'DROP TABLE IF EXISTS wide, short, dropped, later',
		'CREATE TABLE wide AS SELECT id, md5(id::text) AS t FROM generate_series(1, 40000) id', 'CREATE INDEX ON wide (id)',
		'CREATE TABLE short AS SELECT id FROM generate_series(1, 60000) id', 'CREATE TABLE dropped AS TABLE short' ],
	1 => [ 'UPDATE wide SET t = md5(t) WHERE id % 613 = 0', 'DELETE FROM short WHERE id > 9000', 'VACUUM short' ],
	2 => [ 'DROP TABLE dropped', 'CREATE TABLE later AS TABLE short', 'INSERT INTO short SELECT generate_series(1, 30000)' ],
	3 => [ 'UPDATE wide SET t = md5(t) WHERE id % 997 = 1', 'DELETE FROM short', 'VACUUM short' ],
	4 => [ 'INSERT INTO short SELECT generate_series(1, 50000)', 'VACUUM FULL later' ],
	5 => [ 'TRUNCATE later', 'UPDATE wide SET t = md5(t) WHERE id < 300' ],
);

# The cluster and the files as they are after so many steps; times are set, so that nothing depends on how fast it goes.
sub live {
	my ($step) = @_;
	$pg->start;
	$pg->psql($_) for @{ $sql{$step} // [] };
	$pg->stop;
	unlink "$data/postmaster.opts", glob("$data/pg_subtrans/*"), glob("$data/pg_stat_tmp/*"), glob("$data/pg_notify/*"),
		glob("$data/base/*/pg_internal.init"), "$data/global/pg_internal.init";
	block_files("$data/extra", $step);
	$clock += 100;
	utime $clock, $clock, glob("$data/extra/*");
	utime $clock, $clock - 10 * 86_400, extra('touched') if $step == 0;
}

sub back_up {
	my ($step, $type, @options) = @_;
	my $out = $stanza->run_ok('backup', '--no-online', '--checksum-page', "--type=$type", @options,
		{ name => "step $step: backup --type=$type @options" });
	my ($label) = $out =~ /new backup label = (\S+)/;
	push @made, { label => $label, tree => restored_tree($data), step => $step };
	return ($label, $out);
}

sub comes_back {
	my ($backup, @options) = @_;
	remove_tree($target);
	mkdir $target, 0700 or die "mkdir $target: $!";
	my ($code, $out, $err) = $stanza->run('restore', "--pg1-path=$target", "--set=$backup->{label}", '--type=none', @options);
	my @differ = $code ? ("exit $code\n$out$err") : tree_diff($backup->{tree}, restored_tree($target));
	ok(!@differ, "step $backup->{step}: $backup->{label} comes back") or diag(join "\n", @differ[ 0 .. ($#differ > 9 ? 9 : $#differ) ]);
}

sub all_come_back {
	comes_back($_) for @made;
	$stanza->run_ok('verify');
	@made = ();
}

mkdir "$data/extra";
$pg->start;
drop_templates($pg);
$pg->stop;

# --- a chain in which everything happens ---

$stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'compress-type' => 'zst', 'process-max' => 2,
	'repo1-bundle' => 'y', 'repo1-bundle-limit' => '64KiB', 'repo1-bundle-size' => '1MiB', 'repo1-block' => 'y',
	'repo1-block-size-map' => [ '8KiB=8KiB', '1MiB=16KiB', '2MiB=24KiB' ], 'expire-auto' => 'n' } });
$stanza->run_ok('stanza-create', '--no-online');
live(0);
my ($full) = back_up(0, 'full');
is(backup_key($full, $_), 'true', "$_ is set") for qw(backup-bundle backup-block-incr backup-bundle-raw);
my ($map) = map { $_->{backup}[0]{info}{repository} } @{ $stanza->info };
ok($map->{'delta-map'} > 0 && $map->{'size-map'} == $map->{'delta-map'}, 'info tells the size of the maps');
my $scattered = row($full, 'extra/scattered');
is_deeply([ @$scattered{qw(bi bni size)} ], [ 3, undef, -s extra('scattered') ], 'a large file: blocks as configured, own file');
ok(-e $stanza->path("repo/backup/demo/$full/pg_data/extra/scattered.pgbi"), 'which has its own suffix');
is(row($full, 'extra/touched')->{bi}, 2, 'an older file has larger blocks');
is(row($full, 'global/pg_control')->{bi}, undef, 'pg_control is stored whole');
is_deeply([ grep { $_->{bi} && !($_->{rck} && $_->{bim}) } values %{ rows($full) } ], [], 'what has blocks has a map and a checksum');

live(1);
my ($incr, $out) = back_up(1, 'incr');
my $now = row($incr, 'extra/scattered');
is($now->{bi}, 3, 'the block size stays');
ok($now->{'repo-size'} - $now->{bim} < 20 * 3 * BLOCK, 'only what has changed is stored');
my $cut = row($incr, 'extra/cut');
is($cut->{'repo-size'}, $cut->{bim}, 'cut between blocks: a map is all that is stored');
my $touched = row($incr, 'extra/touched');
is($touched->{reference}, $full, 'touched: nothing is stored');
like($out, qr{match file from prior backup \Q$data\E/extra/touched}, 'it says so');
is(row($incr, 'extra/shrinks')->{bi}, undef, 'too short for a block: stored whole');
is_deeply([ grep { !$_->{size} && grep { defined } @$_{qw(rck bim bni reference checksum repo-size)} } values %{ rows($incr) } ], [],
	'a file without content has nothing');
live(2);
back_up(2, 'incr', '--repo1-block-size-map=16KiB=32KiB', '--repo1-block-size-super=32KiB');
live(3);
my ($diff) = back_up(3, 'diff', '--delta');
is(row($diff, 'extra/touched')->{reference}, $full, 'by checksum too');
live(4);
my ($last) = back_up(4, 'incr');
ok((grep { $_->{bi} && $_->{bim} && !$_->{reference} } values %{ rows($last) }) > 5, 'there are many new maps');
all_come_back();

# --- options that change on the way, an encrypted repository ---

$stanza = PgStrata::Stanza->new(id => 'flips', name => 'demo', cluster => $pg, options => { global => { 'compress-type' => 'none',
	'repo1-bundle' => 'y', 'repo1-bundle-limit' => '64KiB', 'repo1-block' => 'y', 'repo1-cipher-type' => 'aes-256-cbc',
	'repo1-cipher-pass' => 'pass # word', 'expire-auto' => 'n' } });
$stanza->run_ok('stanza-create', '--no-online');
my @flips = ([ 'full' ], [ 'incr', '--no-repo1-block' ], [ 'incr' ], [ 'incr', '--no-repo1-bundle' ],
	[ 'diff', '--repo1-bundle-limit=8KiB' ],
	[ 'incr', '--repo1-block-checksum-size-map=8KiB=16', '--repo1-block-age-map=0=3' ], [ 'incr', '--no-repo1-bundle', '--repo1-hardlink' ]);
for my $step (0 .. (full_run() ? $#flips : 3)) {
	live($step);
	back_up($step, @{ $flips[$step] });
}
my $content = substr slurp(extra('touched')), 8192 + 100, 40;
my $stored = 0;
find({ no_chdir => 1, wanted => sub { -f && $stored++ && index(slurp($_), $content) >= 0 && fail("$_ holds what is secret") } },
	$stanza->path('repo/backup'));
ok($stored > 20, 'nothing in an encrypted repository can be read');
all_come_back();

# --- what is wrong in the repository ---

$stanza = PgStrata::Stanza->new(id => 'damage', name => 'demo', cluster => $pg, options => { global => { 'compress-type' => 'none',
	'repo1-bundle' => 'y', 'repo1-bundle-limit' => '64KiB', 'repo1-block' => 'y', 'expire-auto' => 'n' } });
$stanza->run_ok('stanza-create', '--no-online');
live(0);
($full) = back_up(0, 'full');
my %first = %{ rows($full) };
is_deeply([ grep { $_->{bi} && !$_->{rck} } values %first ], [], 'blocks have a checksum without codec and cipher');
is_deeply([ grep { !$_->{bi} && $_->{rck} } values %first ], [], 'and nothing else has');

# the listed content is not that of the blocks
my $wrong = 'f' x 40;
edit_info_file($stanza->path("repo/backup/demo/$full/backup.manifest"),
	sub { s{^(pg_data/extra/touched=\{.*"checksum":")[0-9a-f]{40}}{$1$wrong}m or die 'no such row' });
utime $clock, $clock, extra('touched');
($incr, $out) = back_up(1, 'incr');
like($out, qr{WARN: the block map of 'extra/touched' in \Q$full\E does not belong to the content that is listed there},
	'a map that does not fit');
is(row($incr, 'extra/touched')->{reference}, undef, 'is not gone on with');
ok(row($incr, 'extra/touched')->{'repo-size'} > 50_000, 'all of the file is stored');
comes_back($made[-1]);

# a map that nobody can read
live(2);
($last) = back_up(2, 'incr');
$now = row($last, 'extra/scattered');
my $file = $stanza->path("repo/backup/demo/$last/pg_data/extra/scattered.pgbi");
my $offset = $now->{'repo-size'} - $now->{bim};
flip_bit($file, $offset);
live(3);
$stanza->run_fail('backup', '--no-online', '--type=incr', { code => 42, name => 'a map that cannot be read',
	like => qr{unable to read block map for 'extra/scattered' from '\Q$file\E' at offset $offset size $now->{bim}: .*\n.*}
		. qr{HINT: a diff backup does without it} });
is_deeply([ $stanza->labels ], [ map { $_->{label} } @made ], 'no backup was made');
back_up(3, 'diff');
comes_back($made[-1]);
unlink $file;
live(4);
back_up(4, 'incr');
comes_back($made[-1]);

# a page that is damaged in the cluster
my ($relation) = sort { -s $b <=> -s $a || $a cmp $b } glob "$data/base/5/[0-9]*";
flip_bit($relation, 3 * 8192 + 100);
($last, $out) = back_up(5, 'incr');
like($out, qr/WARN: invalid page checksum found in file \Q$relation\E at page 3\n/, 'a damaged page in a changed block');
is_deeply(row($last, substr $relation, 1 + length $data)->{'checksum-page-error'}, [3], 'is listed');
comes_back($made[-1], '--no-checksum-page-error');
flip_bit($relation, 3 * 8192 + 100);

# --- options ---

$stanza->run_fail('backup', '--no-online', '--repo1-block-size-map=16KiB=4KiB', { code => 32,
	like => qr/'16KiB=4KiB' is not valid for 'repo1-block-size-map' option/ });
$stanza->run_fail('backup', '--no-online', '--repo1-block-checksum-size-map=32KiB=5', { code => 32,
	like => qr/not valid for 'repo1-block-checksum-size-map'/ });
$stanza->run_ok('backup', '--no-online', '--type=full', '--no-repo1-bundle', { name => 'without bundles there are no blocks' });
my ($label) = ($stanza->labels)[-1];
is(backup_key($label, 'backup-block-incr'), undef, 'which goes without saying');
is(backup_key($label, 'backup-bundle-raw'), undef, 'nor are there raw forms');
is_deeply([ grep { $_->{bi} } values %{ rows($label) } ], [], 'no file has blocks');

# --- past the end of a segment ---

if (full_run()) {
	$stanza = PgStrata::Stanza->new(id => 'large', name => 'demo', cluster => $pg, options => { global => { 'compress-type' => 'lz4',
		'repo1-bundle' => 'y', 'repo1-block' => 'y', 'expire-auto' => 'n' } });
	$stanza->run_ok('stanza-create', '--no-online');
	live(0);
	@made = ();
	spew(extra('large'), 'begin');
	truncate_file(extra('large'), (1 << 30) + 3 * BLOCK + 5);
	back_up(0, 'full');
	write_at(extra('large'), (1 << 30) - 3, 'across');
	utime $clock + 50, $clock + 50, extra('large');
	my ($second) = back_up(1, 'incr');
	ok(row($second, 'extra/large')->{'repo-size'} < 300_000, 'two blocks of it were stored');
	all_come_back();
}

done_testing();
