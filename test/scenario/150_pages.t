# Damaged pages: found by a backup, told exactly, stored as they are, shown by info, and not restored unless asked for.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use Test::More;

use constant PAGE => 8192;

my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1, conf => [ 'autovacuum = off' ]);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'process-max' => 2,
	'compress-type' => 'zst' } });
my $data = $pg->data;
$pg->archive_to($stanza);
$pg->start;
$stanza->run_ok('stanza-create');
my %file;
for my $table (qw(good one many header misaligned segment zeros)) {
	$pg->psql("CREATE TABLE $table AS SELECT id, repeat(md5(id::text), 10) AS t FROM generate_series(1, 400) AS id");
	$file{$table} = $pg->psql("SELECT pg_relation_filepath('$table')");
}
$pg->psql('CHECKPOINT');

sub page_checksum {
	my ($page, $block) = @_;
	substr $page, 8, 2, "\0\0";
	my @seeds = (0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C, 0xF8D4474F,
		0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB, 0xE58F764B, 0x187636BC,
		0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4, 0x783125BB, 0x6CA8EAA2, 0xE407EAC6,
		0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756);
	my @sums = @seeds;
	my @words = (unpack('V*', $page), (0) x 64);
	for my $i (0 .. $#words) {
		my $mixed = $sums[$i % 32] ^ $words[$i];
		$sums[$i % 32] = (($mixed * 16777619) & 0xFFFFFFFF) ^ ($mixed >> 17);
	}
	my $sum = $block;
	$sum ^= $_ for @sums;
	return $sum % 65535 + 1;
}

sub change_page {
	my ($table, $number, $how) = @_;
	open(my $handle, '+<:raw', "$data/$file{$table}") or die "$file{$table}: $!";
	sysseek $handle, $number * PAGE, 0;
	sysread($handle, my $page, PAGE) == PAGE or die "$table has no page $number\n";
	$how->($page);
	sysseek $handle, $number * PAGE, 0;
	syswrite $handle, $page;
}
sub damage { my ($table, @pages) = @_; change_page($table, $_, sub { substr $_[0], 5000, 1, "\xee" }) for @pages }
sub sum_up { my ($page, $block) = @_; substr $_[0], 8, 2, pack('v', page_checksum($page, $block)) }

my $page = substr slurp("$data/$file{good}"), 3 * PAGE, PAGE;
is(unpack('v', substr $page, 8, 2), page_checksum($page, 3), 'this test computes checksums as PostgreSQL does');

# --- all is well ---

my @clean = $stanza->run_ok('backup', '--type=full',
	{ name => 'a healthy cluster', unlike => qr/invalid page|misalignment|checksum warning/ });
is($stanza->info->[0]{backup}[0]{error}, JSON::PP::false(), 'has no errors');

# --- damage of all kinds ---

damage('one', 0);
damage('many', 1 .. 3, 7, 9);
change_page('header', 2, sub { substr $_[0], 14, 2, "\0\0"; sum_up($_[0], 2) });
spew("$data/$file{misaligned}", slurp("$data/$file{misaligned}"), 'x' x 5000);
my $misaligned = -s "$data/$file{misaligned}";
change_page('zeros', 4, sub { $_[0] = "\0" x PAGE });
# The second segment of a table goes on counting pages where the first ends.
my $segment = "$file{segment}.2";
my $first = 2 * (1 << 30) / PAGE;
my @pages = map { my $p = $page; sum_up($p, $first + $_); $p } 0 .. 5;
substr $pages[4], 100, 1, "\x99";
substr $pages[5], 100, 1, "\x99";
spew("$data/$segment", @pages);
# Not of the database's making: checked like all files there, except those without pages.
(my $folder = $file{good}) =~ s{/[^/]+$}{};
spew("$data/$folder/stranger", 'short');
spew("$data/more", 'x' x PAGE);

my %warning = (
	one => "invalid page checksum found in file $data/$file{one} at page 0",
	many => "invalid page checksums found in file $data/$file{many} at pages 1-3, 7, 9",
	header => "invalid page checksum found in file $data/$file{header} at page 2",
	misaligned => "page misalignment in file $data/$file{misaligned}: file size $misaligned is not divisible by page size 8192",
	segment => sprintf("invalid page checksums found in file $data/$segment at pages %d-%d", $first + 4, $first + 5),
	stranger => "page misalignment in file $data/$folder/stranger: file size 5 is not divisible by page size 8192",
);
sub warnings { return join "\n", sort grep { !/retention|resumable backup/ } $_[0] =~ /^P\d+   WARN: (.*)/mg }
sub expected { return join "\n", sort @_, @_ && 'backup command encountered ' . @_ . ' checksum warning(s), check the log file for details' }

my $out = $stanza->run_ok('backup', '--type=full', { name => 'damage does not end a backup' });
is(warnings($out), expected(values %warning), 'all damage is told, and nothing else');
my ($label) = $out =~ /new backup label = (\S+)/;

my $manifest = slurp($stanza->path("repo/backup/demo/$label/backup.manifest"));
sub pages_of { my ($name) = @_; my ($line) = $manifest =~ /^pg_data\/\Q$name\E=\{(.*)\}$/m; return $line // '' }
like(pages_of($file{good}), qr/"checksum-page":true,/, 'manifest: a good file');
unlike(pages_of($file{good}), qr/checksum-page-error/, 'manifest: without errors');
like(pages_of($file{zeros}), qr/"checksum-page":true,/, 'manifest: pages of zeros are good');
like(pages_of($file{one}), qr/"checksum-page":false,"checksum-page-error":\[0\],/, 'manifest: one page');
like(pages_of($file{many}), qr/"checksum-page":false,"checksum-page-error":\[\[1,3\],7,9\],/, 'manifest: ranges');
like(pages_of($segment), qr/"checksum-page-error":\[\[@{[$first + 4]},@{[$first + 5]}\]\],/, 'manifest: a later segment');
like(pages_of($file{misaligned}), qr/"checksum-page":false,/, 'manifest: misaligned');
unlike(pages_of($file{misaligned}), qr/checksum-page-error/, 'manifest: without pages');
for my $name ("$folder/PG_VERSION", "$folder/pg_filenode.map", 'global/pg_control', 'more', 'postgresql.conf') {
	unlike(pages_of($name), qr/checksum-page/, "manifest: $name is not checked");
}

my ($backup) = grep { $_->{label} eq $label } @{$stanza->info("--set=$label")->[0]{backup}};
is($backup->{error}, JSON::PP::true(), 'info: error');
my @list = sort map({ $file{$_} } qw(one many header misaligned)), $segment, "$folder/stranger";
is_deeply($backup->{'error-list'}, \@list, 'info: error-list');
$stanza->run_ok('info', { like => qr/full backup: \Q$label\E.*\n            error\(s\) detected during backup\n/s });
$stanza->run_ok('info', "--set=$label", { like => qr/\n            error list: \Q@{[join ', ', @list]}\E\n/ });

# --- other answers to damage ---

is(warnings($stanza->run_ok('backup', '--type=full', '--no-page-header-check', { name => 'headers are not looked at' })),
	expected(map { $warning{$_} } grep { $_ ne 'header' } keys %warning), 'then only checksums count');
is(warnings($stanza->run_ok('backup', '--type=full', '--no-checksum-page', { name => 'pages are not looked at' })), '',
	'then nothing is told');
my @labels = $stanza->labels;
my $any = join '|', map { quotemeta } values %warning;
$stanza->run_fail('backup', '--type=full', '--checksum-page-error', { code => 26, like => qr/\[026\]: ($any)\n/ });
is_deeply([ $stanza->labels ], \@labels, 'that backup does not exist');

# --- restore ---

$pg->stop;
my $before = snapshot($data);
my $list = join '|', map { quotemeta } @list;
$stanza->run_fail('restore', '--delta', "--set=$label", '--type=none',
	{ code => 26, like => qr/\[026\]: invalid page checksum\(s\) found in file \Q$data\E\/($list)\n/ });
same_tree($before, snapshot($data), 'nothing was changed');
rename $data, "$data.old" or die "rename: $!";
$out = $stanza->run_ok('restore', "--set=$label", '--no-checksum-page-error', '--type=none');
is(warnings($out), join("\n", sort((map { "invalid page checksum(s) found in file $data/$_" } @list),
	'restore command encountered page checksum error(s) in 6 file(s), check the log file for details')), 'each file is told of');
is(slurp("$data/$_"), slurp("$data.old/$_"), "$_ is restored as it was") for @list;

# --- clusters without checksums, and without a server ---

PgStrata::remove_tree($data);
rename "$data.old", $data or die "rename: $!";
is(warnings($stanza->run_ok('backup', '--type=full', '--no-online', { name => 'offline' })), '',
	'pages are not checked offline');
is(warnings($stanza->run_ok('backup', '--type=full', '--no-online', '--checksum-page', { name => 'offline, on demand' })),
	expected(values %warning), 'unless it is asked for');
$pg->must('pg_checksums', '--disable', '-D', $data);
is(warnings($stanza->run_ok('backup', '--type=full', '--no-online', '--checksum-page', { name => 'without checksums' })),
	'checksum-page option set to true but checksums are not enabled on the cluster, resetting to false', 'there is nothing to check');
$pg->start;
is(warnings($stanza->run_ok('backup', '--type=full', { name => 'online without checksums' })), '', 'and nothing is said');
($label) = reverse $stanza->labels;
$manifest = slurp($stanza->path("repo/backup/demo/$label/backup.manifest"));
unlike($manifest, qr/"checksum-page":/, 'no file is marked as checked');
like($manifest, qr/^option-checksum-page=false$/m, 'and the manifest says so');

done_testing();
