# Some databases only: the excluded ones come back as zeros, take no room and can be dropped; the others are whole.
use strict;
use warnings;
use Fcntl qw(:mode);
use File::Path qw(remove_tree);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PgStrata;
use Test::More;

my $space = work_dir() . '/space';
mkdir $space, 0700;
my $pg = PgStrata::Cluster->new(wal_segsize => 1, checksums => 1);
my $stanza = PgStrata::Stanza->new(cluster => $pg, options => { global => { 'process-max' => 2 } });
my $data = $pg->data;
$pg->archive_to($stanza);
$pg->start;
$pg->psql("CREATE TABLESPACE s LOCATION '$space'");
for my $db ('one', 'two', 'in_space', 'odd "name" \'', '16000') {
	(my $quoted = $db) =~ s/"/""/g;
	$pg->psql("CREATE DATABASE \"$quoted\"" . ($db eq 'in_space' ? ' TABLESPACE s' : ''));
	$pg->psql($_, db => $db) for 'CREATE TABLE t AS SELECT generate_series(1, 20000) AS id', 'CREATE INDEX ON t (id)',
		'CREATE TABLE elsewhere ' . ($db eq 'in_space' ? '' : 'TABLESPACE s ') . 'AS SELECT 1 AS id';
}
my %oid = map { split /\|/ } split /\n/, $pg->psql('SELECT datname, oid FROM pg_database');
my ($folder) = map { s{.*/}{}r } glob "$space/PG_*";
my @user = sort { $a <=> $b } grep { $_ >= 16384 } values %oid;
my $all = join ', ', sort { $a <=> $b } values %oid;
$stanza->run_ok('stanza-create');
$stanza->run_ok('backup', '--type=full');
my $label = ($stanza->labels)[0];
$pg->stop;

sub wipe { remove_tree($data, "$space/$folder") }
sub restore { return $stanza->run_ok('restore', '--type=immediate', '--target-action=promote', @_) }

# The directories of a database that are there.
sub directories { my ($oid) = @_; return grep { -d } "$data/base/$oid", "$space/$folder/$oid" }

# Files of a database: relative path => [content is all zero, blocks on disk].
sub files_of {
	my %found;
	for my $dir (directories(@_)) {
		for my $name (grep { !-d "$dir/$_" } keys %{snapshot($dir)}) {
			$found{"$dir/$name"} = [ slurp("$dir/$name") !~ /[^\0]/, (stat "$dir/$name")[12] ];
		}
	}
	return \%found;
}

sub is_zeroed {
	my ($oid, $whole, $name) = @_;
	my $files = files_of($oid);
	my @versions = grep { m{/PG_VERSION\z} } keys %$files;
	my @wrong = grep { !m{/PG_VERSION\z} && !$files->{$_}[0] } keys %$files;
	my @fat = grep { -s >= 8192 && $files->{$_}[1] } keys %$files;
	my %sizes = map { $_ => -s } keys %$files;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(@versions && !grep({ slurp($_) ne $pg->version . "\n" } @versions), "$name: PG_VERSION is there");
	is("@wrong", '', "$name: all else is zeros");
	is("@fat", '', "$name: without any block on the disk");
	is_deeply(\%sizes, $whole->{$oid}, "$name: of the full size");
}

# --- what is refused ---

wipe();
for my $case (
	[ 'no such database to include', 80, qr/\[080\]: database to include 'nix' does not exist/, '--db-include=nix' ],
	[ 'no such database to exclude', 80, qr/\[080\]: database to exclude 'nix' does not exist/, '--db-exclude=nix' ],
	[ 'no such oid', 80, qr/database to include '99999' does not exist/, '--db-include=99999' ],
	[ 'a system database to include', 81, qr/\[081\]: system databases \(template0, postgres, etc\.\) are included by default/,
		'--db-include=postgres' ],
	[ 'one by its oid', 81, qr/system databases/, "--db-include=$oid{template1}" ],
	[ 'both included and excluded', 81, qr/\[081\]: database to include '$oid{one}' is in the exclude list/, '--db-include=one',
		"--db-exclude=$oid{one}" ],
) {
	my ($name, $code, $like, @options) = @$case;
	$stanza->run_fail('restore', @options, { code => $code, like => $like, name => $name });
	ok(!-e $data, "$name: nothing was made");
}

# --- all, to compare with ---

my $out = restore(map({ "--db-include=$_" } grep { !/^(template\d|postgres)\z/ } keys %oid),
	{ name => 'all included', like => qr/INFO: nothing to filter - all user databases have been selected/ });
unlike($out, qr/zeroed/, 'nothing is zeroed');
my $whole = { map { my $oid = $_; $oid => { map { $_ => -s } keys %{files_of($oid)} } } @user };
my %plain = map { $_ => snapshot($_) } $data, "$space/$folder";

# --- included ---

wipe();
$out = restore('--db-include=one', '--db-include=odd "name" \'', { name => 'two included',
	like => qr/DETAIL: databases found for selective restore \(\Q$all\E\)/ });
my @left_out = sort { $a <=> $b } @oid{qw(two in_space 16000)};
my $list = join ', ', @left_out;
like($out, qr/DETAIL: databases excluded \(zeroed\) from selective restore \($list\)/, 'the log names the others');
like($out, qr{restore zeroed file \Q$data\E/base/$oid{two}/\d+ \([^)]*%\)\n}, 'and each file');
like($out, qr{restore file \Q$data\E/base/$oid{two}/PG_VERSION \(}, 'PG_VERSION is no zeroed file');
is_zeroed($_, $whole, "database $_") for @left_out;
my @zeroed = $out =~ /restore zeroed file (\S+)/g;
is(join(' ', grep { my $file = $_; !grep { $file =~ m{/$_/} } @left_out } @zeroed), '', 'no file of another database is zeroed');
$pg->start;
$pg->wait_for_recovery_end;
is($pg->psql('SELECT sum(t.id) + (SELECT id FROM elsewhere) FROM t', db => $_), 200010001, "$_ has its rows")
	for 'one', 'odd "name" \'';
is($pg->psql('SELECT 1', db => 'two', may_fail => 1), undef, 'an excluded one cannot be used');
$pg->psql($_) for 'DROP DATABASE two', 'DROP DATABASE in_space', 'DROP DATABASE "16000"', 'CREATE DATABASE two', 'CHECKPOINT';
ok(!directories($_), "database $_ can be dropped") for @left_out;
is($pg->psql('SELECT count(*) FROM pg_class', db => 'two') > 0, 1, 'and be made again');
$pg->stop;

# --- excluded, over what is there ---

$list = join ', ', sort { $a <=> $b } @oid{qw(one 16000)};
$out = restore('--delta', "--db-exclude=$oid{one}", '--db-exclude=16000', { name => 'two excluded, delta',
	like => qr/zeroed\) from selective restore \($list\)/ });
is_zeroed($oid{$_}, $whole, "$_, excluded") for 'one', '16000';
my $other = snapshot("$data/base/$oid{two}");
delete $_->{'.'} for $other;
is_deeply([ grep { my $name = "base/$oid{two}/$_"; $plain{$data}{$name} ne $other->{$_} } sort keys %$other ], [],
	'a database that was zeroed and is wanted now is whole');
$out = restore('--delta', '--db-exclude=one', '--db-exclude=16000', { name => 'the same again' });
unlike($out, qr{restore (zeroed )?file \S+/base/$oid{one}/\d+ - exists}, 'zeroed files are always made again');
is_zeroed($oid{one}, $whole, 'one, excluded again');

# --- the directory as a whole again ---

restore('--delta', '--force', { name => 'delta by size and time, without selection: zeros are not believed' });
for my $dir ($data, "$space/$folder") {
	my ($was, $is) = ($plain{$dir}, snapshot($dir));
	delete @$_{qw(postgresql.auto.conf global/pg_control)} for $was, $is;
	same_tree($was, $is, 'all is back');
}
$out = restore('--delta', '--db-exclude=postgres', { name => 'a system database that is named',
	like => qr/WARN: system database 'postgres' is excluded/ });
$pg->start;
is($pg->psql('SELECT count(*) FROM t', db => 'one'), 20000, 'the server runs all the same');
$pg->stop;

done_testing();
